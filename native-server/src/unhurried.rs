//! Work in the background that leaves the machine to those who wait for an answer: after each stretch of it, a break as long.

use std::thread;
use std::time::{Duration, Instant};

/// A break after less would cost more than it gives.
const STRETCH: Duration = Duration::from_millis(1);
/// Longest break, whatever the medium took: what ends the work is looked at between two steps.
const BREAK: Duration = Duration::from_millis(200);

/// See the module. Time that was waited for something else counts as work: whoever else waits for the same is let before.
#[derive(Debug)]
pub(crate) struct Unhurried {
    /// When the present stretch was begun.
    begun: Instant,
}

impl Unhurried {
    /// The work begins.
    pub(crate) fn begin() -> Self {
        Self { begun: Instant::now() }
    }

    /// A step is done. Takes a break when there is to be one.
    pub(crate) fn step(&mut self) {
        if let Some(time) = due(self.begun.elapsed()) {
            thread::sleep(time);
            self.begun = Instant::now();
        }
    }
}

/// The break after a stretch that has taken `worked` so far.
fn due(worked: Duration) -> Option<Duration> {
    (worked >= STRETCH).then(|| worked.min(BREAK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_time_is_left_to_others() {
        assert_eq!(due(STRETCH / 2), None);
        assert_eq!(due(STRETCH * 5), Some(STRETCH * 5));
        assert_eq!(due(Duration::from_secs(9)), Some(BREAK));
    }

    #[test]
    fn a_stretch_begins_behind_the_break() {
        let mut unhurried = Unhurried::begin();
        thread::sleep(Duration::from_millis(20));
        let begun = Instant::now();
        unhurried.step();
        assert!(begun.elapsed() >= Duration::from_millis(20));
        let begun = Instant::now();
        (0..100).for_each(|_| unhurried.step());
        assert!(begun.elapsed() < Duration::from_millis(20), "nothing was done meanwhile");
    }
}
