//! What a connection may take, in time and in number.

use super::framing::HeadLimits;
use std::time::Duration;

/// How much is still taken in behind an answer that closes the connection, and for how long: closing it on a client that
/// is sending would take the answer with it (RFC 9112, section 9.6). The bytes are those of the longest body, and more.
pub(super) const LINGER: (u64, Duration) = (32 << 20, Duration::from_secs(2));

/// Bounds of connections. All times run only while the node waits for the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionLimits {
    /// Connections open at one time.
    pub(crate) connections_max: usize,
    /// Of those, from one address; of IPv6, from one network of 64 bits.
    pub(crate) address_max: usize,
    /// From the beginning of a connection until its first byte.
    pub(crate) first_byte: Duration,
    /// From a head's first byte until its last, and for a handshake.
    pub(crate) head: Duration,
    /// Between two requests.
    pub(crate) idle: Duration,
    /// How fast the other side has to take an answer.
    pub(crate) write: Pace,
    /// For the other side to take anything of a stream of lines: three PINGs.
    pub(crate) stream_write: Duration,
    /// Bounds of a request's head.
    pub(crate) heads: HeadLimits,
    /// How fast a body has to come.
    pub(crate) body: Pace,
}

/// How fast the other side has to send a body, or to take an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// What may be waited whatever comes.
    pub(crate) grace: Duration,
    /// The least rate, beyond that.
    pub(crate) bytes_per_s: u32,
}

impl Pace {
    /// The patience with one that begins.
    pub(crate) fn patience(&self) -> Patience {
        Patience { pace: *self, left: self.grace }
    }
}

/// How long one is still waited for. What comes earns time, and never more than there was at the beginning: who was
/// quick may not be silent for the longer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pace: Pace,
    left: Duration,
}

impl Patience {
    /// For so long, if nothing comes.
    pub(crate) fn left(&self) -> Duration {
        self.left
    }

    /// Notes that `bytes` came, or were taken, after a wait.
    pub(crate) fn heard(&mut self, waited: Duration, bytes: usize) {
        if waited.is_zero() && self.left == self.pace.grace {
            return;
        }
        let earned = Duration::from_secs_f64(bytes as f64 / f64::from(self.pace.bytes_per_s));
        self.left = (self.left.saturating_sub(waited) + earned).min(self.pace.grace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_spent_by_waiting_earned_by_bytes_and_never_saved() {
        let s = Duration::from_secs;
        let mut patience = Pace { grace: s(10), bytes_per_s: 100 }.patience();
        patience.heard(s(1), 100_000);
        assert_eq!(patience.left(), s(10), "however much came");
        patience.heard(s(6), 200);
        assert_eq!(patience.left(), s(6));
        patience.heard(s(9), 0);
        assert_eq!(patience.left(), s(0));
    }
}
