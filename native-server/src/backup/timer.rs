//! When the next backup is due. No clock is read here.

use headwater_core::api::rfc3339;

/// First and longest wait after a failure; doubled with each further one.
const PAUSE_MS: (u64, u64) = (60_000, 3_600_000);

/// When the next backup is due.
#[derive(Default)]
pub(super) struct Timer {
    /// Unix ms; `None` until it is known what there is.
    pub(super) next: Option<u64>,
    /// Length of the wait after the last failure, in ms.
    pause_ms: u64,
}

impl Timer {
    /// When the next one is due, seen from `now`. `due` is the first time later than another by the schedule: a clock that
    /// was set back must not put off what is due before that.
    pub(super) fn at(&mut self, now: u64, due: &dyn Fn(u64) -> u64) -> u64 {
        let (at, latest) = (self.next.unwrap_or(now), due(now));
        if at > latest {
            let (was, next) = (rfc3339(at), rfc3339(latest));
            tracing::warn!(was, next, "the clock was set back: the next backup is due earlier than it seemed");
        }
        *self.next.insert(at.min(latest))
    }

    pub(super) fn made(&mut self, now: u64, due: &dyn Fn(u64) -> u64) {
        *self = Self { next: Some(due(now)), pause_ms: 0 };
    }

    pub(super) fn failed(&mut self, now: u64, due: &dyn Fn(u64) -> u64) {
        self.pause_ms = (self.pause_ms * 2).clamp(PAUSE_MS.0, PAUSE_MS.1);
        self.next = Some(due(now).min(now + self.pause_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::schedule::Schedule;

    #[test]
    fn a_clock_that_is_set_back_makes_the_next_one_due_at_its_next_time() {
        let schedule: Schedule = "0 3 * * *".parse().unwrap();
        let hours = |count: u64| count * 3_600_000;
        // Due at three each night.
        let (begin, mut timer) = (1_763_596_800_000, Timer::default());
        let due = |ms| schedule.next_after(ms).unwrap();
        timer.made(begin + hours(24 * 365), &due);
        assert_eq!(timer.at(begin + hours(4), &due), begin + hours(27), "not in a year");
        timer.made(begin + hours(27), &due);
        assert_eq!(timer.at(begin + hours(28), &due), begin + hours(51), "as ever");
        assert_eq!(timer.at(begin + hours(26), &due), begin + hours(27), "a second one is better than none");
    }
}
