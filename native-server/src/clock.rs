//! The clocks as core wants them.

use headwater_core::clock::Now;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// This instant: the wall clock, and the time since boot, sleep included.
pub(crate) fn now() -> Now {
    let boot = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(boot.tv_sec).expect("the time since boot is not negative");
    let millis = u64::try_from(boot.tv_nsec / 1_000_000).expect("nanoseconds are not negative");
    Now { wall_ms: wall_ms(), mono_ms: seconds * 1_000 + millis }
}

/// Unix time in ms; 0 for a clock set before 1970.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
