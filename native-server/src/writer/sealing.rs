//! When what was written is sealed though there is little of it: only what is sealed is archived, and a writer of a few
//! writes an hour would not fill a segment in weeks.

use std::time::{Duration, Instant};

/// Whether something was written that is not sealed.
#[derive(Debug)]
pub(super) struct Sealing {
    after: Duration,
    /// When the oldest of it was written.
    since: Option<Instant>,
}

impl Sealing {
    /// What is written is to be sealed when it is this old.
    pub(super) fn new(after: Duration) -> Self {
        Self { after, since: None }
    }

    /// Notes that something was written.
    pub(super) fn has_written(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// How long until it is to be sealed; `None` where there is nothing.
    pub(super) fn due_in(&self, now: Instant) -> Option<Duration> {
        self.since.map(|since| self.after.saturating_sub(now.saturating_duration_since(since)))
    }

    /// Notes that everything is sealed. Returns whether there was anything.
    pub(super) fn is_sealed(&mut self) -> bool {
        self.since.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_due_by_the_oldest_write_that_is_not_sealed() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut sealing = Sealing::new(5 * second);
        assert_eq!((sealing.due_in(now), sealing.is_sealed()), (None, false));
        sealing.has_written(now);
        sealing.has_written(now + 3 * second);
        assert_eq!(sealing.due_in(now + 3 * second), Some(2 * second));
        assert_eq!(sealing.due_in(now + 9 * second), Some(Duration::ZERO));
        assert!(sealing.is_sealed());
        assert_eq!(sealing.due_in(now + 9 * second), None);
    }
}
