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
    /// The smallest difference known of the new epoch while `offset` is of the former one.
    next_offset: Option<i64>,
    /// When the newest `at` was first seen, on the monotonic clock; `None` for one restored from disk.
    seen_mono_ms: Option<u64>,
}

impl Freshness {
    /// Goes on from what was stored with the cursor.
    pub fn restored(at: u64, offset: Option<i64>) -> Self {
        Self { at, offset, former: false, next_offset: None, seen_mono_ms: None }
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

    /// Takes in what the writer's clock showed at `arrival`, as a parent reckons. A parent that is cut off itself sends
    /// an old `at`, by which alone a newcomer would take the parent's lag for a difference of clocks.
    pub fn note_clock(&mut self, clock: u64, arrival: Now) {
        let known = if self.former { &mut self.next_offset } else { &mut self.offset };
        *known = Some(smaller(*known, clock, arrival));
    }

    /// What the writer's clock shows at least, as far as is known.
    pub fn writer_clock(&self, now: Now) -> Option<u64> {
        let offset = if self.former { self.next_offset } else { self.offset }?;
        u64::try_from(now.wall_ms.cast_signed() - offset).ok()
    }

    fn compare_clocks(&mut self, at: u64, arrival: Now) {
        let kept = if self.former { self.next_offset.take() } else { self.offset };
        self.offset = Some(smaller(kept, at, arrival));
        self.former = false;
    }

    /// Another writer's clock counts from here on: the next proof replaces the clock difference. Until it comes, the
    /// age of the one held counts on as before.
    pub fn new_epoch(&mut self) {
        self.former = true;
        self.next_offset = None;
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

/// The smaller difference of clocks.
fn smaller(known: Option<i64>, clock: u64, arrival: Now) -> i64 {
    let offset = arrival.wall_ms.cast_signed() - clock.cast_signed();
    known.map_or(offset, |known| known.min(offset))
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
    fn a_newcomer_behind_a_parent_that_is_cut_off_knows_how_old_its_state_is() {
        let mut relay = Freshness::default();
        relay.note(999_000, now(0));
        let hello = now(3_600_000);
        let mut newcomer = Freshness::default();
        newcomer.note_clock(relay.writer_clock(hello).unwrap(), hello);
        newcomer.rebase(999_000, hello);
        assert_eq!(newcomer.lag_ms(hello), Some(3_600_000));
        // The same behind one that follows a new writer, whose clock is 5 s behind.
        newcomer.new_epoch();
        assert_eq!(newcomer.writer_clock(hello), None);
        newcomer.note_clock(4_594_000, hello);
        assert_eq!(newcomer.writer_clock(hello), Some(4_594_000));
        newcomer.note(4_593_000, hello);
        assert_eq!(newcomer.lag_ms(hello), Some(1_000));
    }

    #[test]
    fn a_restart_does_not_look_fresh() {
        let freshness = Freshness::restored(1_000_000, Some(20));
        assert_eq!(freshness.lag_ms(now(86_400_000)), Some(86_399_980));
    }
}
