//! The clock a primary proves freshness by.

use crate::clock::Now;

/// A primary's clock for proofs. The wall clock may be set back, which replicas would take for lag as long as the epoch
/// lasts; this one then goes on at its own pace.
#[derive(Default)]
pub(super) struct SteadyClock(Now);

impl SteadyClock {
    pub(super) fn read(&mut self, now: Now) -> u64 {
        let expected = self.0.wall_ms + now.mono_ms.saturating_sub(self.0.mono_ms);
        if now.wall_ms >= expected {
            self.0 = now;
        }
        now.wall_ms.max(expected)
    }
}
