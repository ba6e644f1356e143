//! How far behind a replica is in time, never under-reported.
//!
//! The writer's clock travels with the stream as `at`: the newest proof that nothing before a position is missing. A
//! replica cannot know the difference between the writer's clock and its own, but it is at most the smallest
//! (arrival - `at`) it ever saw in an epoch; what exceeds that is lag.

use crate::clock::Now;

/// The newest proof a node holds, and what it takes to tell its age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    at: u64,
    offset: Option<i64>,
    /// `offset` is of an epoch before: good for the proof held, and replaced by the next one.
    former: bool,
    /// When the newest `at` was first seen, on the monotonic clock; `None` for one restored from disk.
    seen_mono_ms: Option<u64>,
}

impl Freshness {
    /// Goes on from what was stored with the cursor.
    pub fn restored(at: u64, offset: Option<i64>) -> Self {
        Self { at, offset, former: false, seen_mono_ms: None }
    }

    /// Takes in a proof: everything older than `at` (writer's ms) is held, as heard at `arrival`.
    pub fn note(&mut self, at: u64, arrival: Now) {
        if self.former && at <= self.at {
            // The old proof again, from a parent that has no newer one either: no word of the new writer's clock.
            return;
        }
        self.compare_clocks(at, arrival);
        if at > self.at {
            self.at = at;
            self.seen_mono_ms = Some(arrival.mono_ms);
        }
    }

    /// Another state was taken in, of which `at` is the proof, older or newer than the one before. What is known of the
    /// clocks stays.
    pub fn rebase(&mut self, at: u64, arrival: Now) {
        if !self.former || at > self.at {
            self.compare_clocks(at, arrival);
        }
        if at != self.at {
            self.at = at;
            self.seen_mono_ms = Some(arrival.mono_ms);
        }
    }

    fn compare_clocks(&mut self, at: u64, arrival: Now) {
        let offset = arrival.wall_ms.cast_signed() - at.cast_signed();
        let kept = self.offset.filter(|_| !self.former);
        self.offset = Some(kept.map_or(offset, |smallest| smallest.min(offset)));
        self.former = false;
    }

    /// Another writer's clock counts from here on: the next proof replaces the clock difference. Until it comes, the
    /// age of the one held counts on as before.
    pub fn new_epoch(&mut self) {
        self.former = true;
    }

    /// The newest proof, in the writer's ms; 0 for none.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The smallest difference seen, in ms.
    pub fn offset(&self) -> Option<i64> {
        self.offset
    }

    /// Lag in ms; `None` when there never was a proof.
    pub fn lag_ms(&self, now: Now) -> Option<u64> {
        if self.at == 0 {
            return None;
        }
        let by_wall = now.wall_ms.cast_signed() - self.at.cast_signed() - self.offset.unwrap_or(0);
        let by_mono = self.seen_mono_ms.map_or(0, |seen| now.mono_ms.saturating_sub(seen));
        Some(by_wall.max(0).cast_unsigned().max(by_mono))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(ms: u64) -> Now {
        Now { wall_ms: 1_000_000 + ms, mono_ms: ms }
    }

    #[test]
    fn lag_grows_while_no_newer_proof_comes() {
        let mut freshness = Freshness::default();
        assert_eq!(freshness.lag_ms(now(0)), None);
        freshness.note(999_000, now(10));
        assert_eq!(freshness.lag_ms(now(10)), Some(0));
        freshness.note(999_000, now(500));
        assert_eq!(freshness.lag_ms(now(510)), Some(500), "the same proof again is no fresher");
    }

    #[test]
    fn buffered_proofs_show_their_age() {
        let mut freshness = Freshness::default();
        freshness.note(999_000, now(0));
        freshness.note(1_000_000, now(3_600_000));
        assert_eq!(freshness.lag_ms(now(3_600_000)), Some(3_599_000));
    }

    #[test]
    fn a_wall_clock_set_back_cannot_hide_lag() {
        let mut freshness = Freshness::default();
        freshness.note(1_000_000, now(0));
        let later = Now { wall_ms: 5, mono_ms: 60_000 };
        assert_eq!(freshness.lag_ms(later), Some(60_000));
    }

    #[test]
    fn a_new_epoch_makes_an_old_proof_no_fresher() {
        // The own clock is 10 s behind the old writer's.
        let mut freshness = Freshness::default();
        freshness.note(1_010_000, now(0));
        freshness.note(1_010_500, now(5_500));
        assert_eq!(freshness.lag_ms(now(5_500)), Some(5_000));
        freshness.new_epoch();
        freshness.note(1_010_500, now(6_500));
        assert_eq!(freshness.lag_ms(now(6_500)), Some(6_000));
        // The new one's clock is right.
        freshness.note(1_011_000, now(11_000));
        assert_eq!(freshness.offset(), Some(0));
        assert_eq!(freshness.lag_ms(now(11_200)), Some(200));
    }

    #[test]
    fn a_baseline_changes_the_proof_and_not_what_is_known_of_the_clocks() {
        let mut freshness = Freshness::default();
        freshness.note(1_000_000, now(7));
        freshness.rebase(999_000, now(60_000));
        assert_eq!((freshness.at(), freshness.offset()), (999_000, Some(7)));
        assert_eq!(freshness.lag_ms(now(60_000)), Some(60_993), "its parent is a minute behind");
        let mut first = Freshness::default();
        first.rebase(999_000, now(60_000));
        assert_eq!(first.lag_ms(now(60_500)), Some(500));
    }

    #[test]
    fn a_restart_does_not_look_fresh() {
        let freshness = Freshness::restored(1_000_000, Some(20));
        assert_eq!(freshness.lag_ms(now(86_400_000)), Some(86_399_980));
    }
}
