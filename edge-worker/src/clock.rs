//! Time for core: the runtime's wall clock, and one made of it that never runs back.

use headwater_core::clock::Now;
use std::cell::Cell;

/// The clocks of one object. The runtime's other clock, `performance.now()`, is its wall clock too; so the monotonic one
/// stands still while the wall clock is set back, and jumps with it when it is set forward.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    newest: Cell<u64>,
    /// By how much the wall clock was set back in sum.
    behind: Cell<u64>,
}

impl Clock {
    /// This instant. The runtime's time stands still within a turn.
    pub(crate) fn now(&self) -> Now {
        self.at(worker::Date::now().as_millis())
    }

    fn at(&self, wall_ms: u64) -> Now {
        let set_back = self.newest.get().saturating_sub(wall_ms);
        self.behind.set(self.behind.get() + set_back);
        self.newest.set(wall_ms);
        Now { wall_ms, mono_ms: wall_ms + self.behind.get() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_runs_back_with_the_wall_clock() {
        let clock = Clock::default();
        let mono = [1_000, 1_500, 200, 700, 600, 601].map(|wall_ms| clock.at(wall_ms).mono_ms);
        assert_eq!(mono, [1_000, 1_500, 1_500, 2_000, 2_000, 2_001]);
    }
}
