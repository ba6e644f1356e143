//! When the whole state may be copied to the replica's disk: one copy at a time, and after one that failed or was outrun
//! by what came in meanwhile, none for a while.

use std::time::{Duration, Instant};

/// First and longest wait until the state is copied anew; doubled with each further one that did not help.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How the copies stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// None is under way.
    #[default]
    No,
    /// One waits for the disk's thread, or is being written.
    Queued {
        /// Something was left out meanwhile: another has to follow it.
        outrun: bool,
    },
    /// None before `until`.
    Paused {
        /// The end of the wait.
        until: Instant,
    },
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Copying {
    state: State,
    /// Length of the last wait.
    pause: Duration,
}

impl Copying {
    /// Whether a copy may be queued.
    pub(super) fn is_free(&self, now: Instant) -> bool {
        match self.state {
            State::No => true,
            State::Queued { .. } => false,
            State::Paused { until } => now >= until,
        }
    }

    /// A copy is on its way to the disk's thread.
    pub(super) fn queued(&mut self) {
        self.state = State::Queued { outrun: false };
    }

    /// Something that the next copy has to make up for was left out.
    pub(super) fn left_out(&mut self) {
        if let State::Queued { outrun } = &mut self.state {
            *outrun = true;
        }
    }

    /// The copy that was queued is stored.
    pub(super) fn stored(&mut self, now: Instant) {
        if matches!(self.state, State::Queued { outrun: true }) {
            // A disk this slow is busy enough.
            self.wait(now);
        } else {
            *self = Self::default();
        }
    }

    /// The copy that was queued is not stored, or could not be made.
    pub(super) fn failed(&mut self, now: Instant) {
        self.wait(now);
    }

    /// Lines could not be stored. A copy that is queued mends it; the next one waits.
    pub(super) fn lines_failed(&mut self, now: Instant) {
        if !matches!(self.state, State::Queued { .. }) {
            self.wait(now);
        }
    }

    /// Length of the last wait.
    pub(super) fn pause(&self) -> Duration {
        self.pause
    }

    fn wait(&mut self, now: Instant) {
        self.pause = (self.pause * 2).clamp(PAUSE.0, PAUSE.1);
        self.state = State::Paused { until: now + self.pause };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_copy_at_a_time() {
        let (mut copying, now) = (Copying::default(), Instant::now());
        assert!(copying.is_free(now));
        copying.queued();
        assert!(!copying.is_free(now + 1_000 * SECOND));
        copying.lines_failed(now);
        assert!(!copying.is_free(now + 1_000 * SECOND), "the queued one mends it");
        copying.stored(now);
        assert!(copying.is_free(now));
    }

    #[test]
    fn waits_grow_until_a_copy_holds_everything() {
        let (mut copying, mut now) = (Copying::default(), Instant::now());
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            copying.queued();
            if seconds % 4 == 0 {
                copying.failed(now);
            } else {
                copying.left_out();
                copying.stored(now);
            }
            now += seconds * SECOND;
            assert!(!copying.is_free(now - SECOND / 1_000), "{seconds}");
            assert!(copying.is_free(now), "{seconds}");
        }
        copying.queued();
        copying.stored(now);
        assert!(copying.is_free(now));
        copying.lines_failed(now);
        assert!(copying.is_free(now + SECOND), "and begin anew");
    }
}
