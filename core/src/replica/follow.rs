//! Whom to follow next, and when: back-off with jitter over a list of parents.

/// First wait after a failure, in ms; doubled with each further one.
const FIRST_MS: u64 = 250;
/// Longest wait, in ms.
const LONGEST_MS: u64 = 30_000;

/// The state of trying.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Follow {
    parents: usize,
    current: usize,
    /// Parents tried in a row without success.
    tried: usize,
    /// Rounds through all parents without success.
    rounds: u32,
    /// The present parent has offended since it was taken or last did well.
    has_offended: bool,
}

impl Follow {
    pub(super) fn new(parents: usize) -> Self {
        Self { parents: parents.max(1), ..Self::default() }
    }

    /// Index of the parent to ask.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// A parent was good.
    pub(super) fn succeeded(&mut self) {
        self.tried = 0;
        self.rounds = 0;
        self.has_offended = false;
    }

    /// The present parent did wrong; returns whether it had before.
    pub(super) fn offended(&mut self) -> bool {
        core::mem::replace(&mut self.has_offended, true)
    }

    /// The present parent was of no use. Goes to the next one if `move_on`; returns how long to wait, at least
    /// `least_ms`. `random` is any 64 random bits.
    pub(super) fn failed(&mut self, move_on: bool, least_ms: u64, random: u64) -> u64 {
        if move_on && self.parents > 1 {
            self.current = (self.current + 1) % self.parents;
            self.has_offended = false;
            self.tried += 1;
            if self.tried < self.parents {
                return jitter(FIRST_MS, random);
            }
            self.tried = 0;
        }
        let longest = FIRST_MS.saturating_mul(1 << self.rounds.min(16)).min(LONGEST_MS);
        self.rounds += 1;
        least_ms + jitter(longest, random)
    }
}

/// Between half of `ms` and all of it, so that thousands who fail together come back apart.
fn jitter(ms: u64, random: u64) -> u64 {
    ms / 2 + random % (ms / 2 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_each_time_up_to_the_limit() {
        let mut follow = Follow::new(1);
        let waits: alloc::vec::Vec<_> = (0..10).map(|_| follow.failed(false, 0, u64::MAX - 1)).collect();
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1] || pair[1] > LONGEST_MS / 2), "{waits:?}");
        assert!(waits.iter().all(|&wait| wait <= LONGEST_MS) && waits[9] > LONGEST_MS / 2);
        follow.succeeded();
        assert!(follow.failed(false, 0, 0) <= FIRST_MS);
        assert!(follow.failed(false, 5_000, 0) >= 5_000);
    }

    #[test]
    fn tries_every_parent_before_it_backs_off() {
        let mut follow = Follow::new(3);
        assert!(follow.failed(true, 9_000, 0) <= FIRST_MS);
        assert!(follow.failed(true, 9_000, 0) <= FIRST_MS);
        assert_eq!(follow.current(), 2);
        assert!(follow.failed(true, 9_000, 0) >= 9_000);
        assert_eq!(follow.current(), 0);
    }
}
