//! How far behind a replica is in time, never under-reported.
//!
//! The writer's clock travels with the stream as `at`: the newest proof that nothing before a position is missing. A
//! replica cannot know the difference between the writer's clock and its own, but it is at most the smallest
//! (arrival - `clock`) it ever saw, `clock` being what a parent says the writer's clock shows at that moment; what an
//! `at` is older than that is lag. A difference belongs to one epoch: the next writer may have another clock.

use crate::clock::Now;
use crate::position::Term;

/// The difference between this node's clock and that of the writer of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOffset {
    /// Whose clock.
    pub term: Term,
    /// Own clock less the writer's, in ms, as far as is known: too large by the way of the quickest message at most.
    pub ms: i64,
}

/// The newest proof a node holds, and what it takes to tell its age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    at: u64,
    /// When the newest `at` was first seen, on the monotonic clock; `None` for one restored from disk.
    seen_mono_ms: Option<u64>,
    /// How old it was then at least.
    seen_age_ms: u64,
    /// The newest writer that the state has reached.
    entered: Term,
    offset: Option<ClockOffset>,
    /// That of a writer whose epoch the state has not reached, so that the proof held is by the clock of another one.
    next: Option<ClockOffset>,
    /// The difference to the clock of the epoch before, in ms, as long as the proof held may be by that clock.
    former_ms: Option<i64>,
}

/// What a message from a parent says of the writer's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Whose clock.
    pub term: Term,
    /// What it showed when the message was sent, in Unix ms.
    pub clock: u64,
    /// The message cannot have been on its way for long, so it replaces what was known: own clock may have been set.
    pub is_prompt: bool,
}

impl Freshness {
    /// Goes on from what was stored with a cursor of this term, when the lag was `lag_ms`.
    pub fn restored(at: u64, offset: Option<ClockOffset>, term: Term, lag_ms: u64) -> Self {
        let (next, former_ms) = (None, None);
        Self { at, seen_mono_ms: None, seen_age_ms: lag_ms, entered: term, offset, next, former_ms }
    }

    /// Time goes on from here after a restart: however wrong the wall clock, nothing gets younger.
    pub fn awake(&mut self, now: Now) {
        self.seen_mono_ms.get_or_insert(now.mono_ms);
    }

    /// Takes in that everything older than `timestamp` (writer's ms) is held, as a command's timestamp tells. They never
    /// decrease, so after the writer's clock was set back they are ahead of it: no proof of what is still to come.
    pub fn note(&mut self, timestamp: u64, arrival: Now) {
        let at = self.writer_clock(arrival).map_or(timestamp, |clock| timestamp.min(clock));
        if at > self.at {
            self.see(at, arrival);
        }
    }

    fn see(&mut self, at: u64, arrival: Now) {
        (self.at, self.seen_mono_ms, self.seen_age_ms) = (at, Some(arrival.mono_ms), 0);
    }

    /// Takes in a parent's own proof `at` of the very state that is held.
    pub fn prove(&mut self, at: u64, arrival: Now) {
        if self.former_ms.is_some() {
            // By another clock than the one before, so there is no telling which is newer: the parent's counts, which
            // has told with it what the clock shows.
            self.rebase(at, arrival);
        } else if at > self.at {
            self.see(at, arrival);
        }
    }

    /// Another state was taken in, of which `at` is the proof, older or newer than the one before. What is known of the
    /// clocks stays.
    pub fn rebase(&mut self, at: u64, arrival: Now) {
        self.former_ms = None;
        if at != self.at {
            self.see(at, arrival);
        }
    }

    /// Takes in what a parent says of the writer's clock.
    pub fn hear(&mut self, heard: Heard, arrival: Now) {
        let Heard { term, clock, is_prompt } = heard;
        let said = ClockOffset { term, ms: difference(clock, arrival) };
        let better =
            |known: ClockOffset| if is_prompt { said } else { ClockOffset { term, ms: known.ms.min(said.ms) } };
        match (&mut self.offset, self.next) {
            (Some(offset), _) if offset.term > term => {}
            (Some(offset), _) if offset.term == term => *offset = better(*offset),
            (_, Some(next)) if next.term > term => {}
            (_, Some(next)) if next.term == term => self.next = Some(better(next)),
            _ => self.next = Some(said),
        }
        self.settle();
    }

    /// The state has reached this writer: proofs are by its writer's clock from here on.
    pub fn enter(&mut self, term: Term) {
        self.entered = self.entered.max(term);
        self.settle();
    }

    /// A difference counts once the state has reached its epoch, and where there is no other.
    fn settle(&mut self) {
        if self.next.is_some_and(|next| next.term <= self.entered || self.offset.is_none()) {
            self.former_ms = self.smallest_ms().filter(|_| self.at > 0 && self.offset.is_some());
            self.offset = self.next.take();
        }
    }

    /// The newest proof, in the writer's ms; 0 for none.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// When, on the monotonic clock, the newest proof came; `None` when it was not since the start.
    pub fn seen_mono_ms(&self) -> Option<u64> {
        self.seen_mono_ms
    }

    /// What is known of the clock by which the proof is counted.
    pub fn offset(&self) -> Option<ClockOffset> {
        self.offset.map(|offset| ClockOffset { ms: self.former_ms.map_or(offset.ms, |ms| ms.min(offset.ms)), ..offset })
    }

    /// What the writer's clock shows now, as far as is known: what the proof is older than that is lag.
    pub fn writer_clock(&self, now: Now) -> Option<u64> {
        u64::try_from(now.wall_ms.cast_signed() - self.smallest_ms()?).ok()
    }

    /// While there is a doubt by which clock the proof is, the difference that makes it older counts.
    fn smallest_ms(&self) -> Option<i64> {
        let offsets = [self.offset, self.next].into_iter().flatten().map(|offset| offset.ms);
        offsets.chain(self.former_ms).min()
    }

    /// Lag in ms; `None` when there never was a proof.
    pub fn lag_ms(&self, now: Now) -> Option<u64> {
        if self.at == 0 {
            return None;
        }
        let by_wall = now.wall_ms.cast_signed() - self.at.cast_signed() - self.smallest_ms().unwrap_or(0);
        let by_mono = self.seen_age_ms + self.seen_mono_ms.map_or(0, |seen| now.mono_ms.saturating_sub(seen));
        Some(by_wall.max(0).cast_unsigned().max(by_mono))
    }
}

fn difference(clock: u64, arrival: Now) -> i64 {
    arrival.wall_ms.cast_signed() - clock.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(ms: u64) -> Now {
        Now { wall_ms: 1_000_000 + ms, mono_ms: ms }
    }

    /// An opening of a log that nobody ever took over.
    fn first(epoch: u64) -> Term {
        Term { takeover: 0, epoch }
    }

    /// A message from the writer of `epoch` itself, whose `at` is its clock.
    fn from_writer(freshness: &mut Freshness, epoch: u64, at: u64, arrival: Now) {
        freshness.hear(Heard { term: first(epoch), clock: at, is_prompt: false }, arrival);
        freshness.prove(at, arrival);
    }

    #[test]
    fn lag_grows_while_no_newer_proof_comes() {
        let mut freshness = Freshness::default();
        assert_eq!(freshness.lag_ms(now(0)), None);
        from_writer(&mut freshness, 1, 999_000, now(10));
        assert_eq!(freshness.lag_ms(now(10)), Some(0));
        freshness.note(999_000, now(500));
        assert_eq!(freshness.lag_ms(now(510)), Some(500), "the same proof again is no fresher");
    }

    #[test]
    fn buffered_proofs_show_their_age() {
        let mut freshness = Freshness::default();
        from_writer(&mut freshness, 1, 999_000, now(0));
        from_writer(&mut freshness, 1, 1_000_000, now(3_600_000));
        assert_eq!(freshness.lag_ms(now(3_600_000)), Some(3_599_000));
    }

    #[test]
    fn a_wall_clock_set_back_cannot_hide_lag() {
        let mut freshness = Freshness::default();
        from_writer(&mut freshness, 1, 1_000_000, now(0));
        let later = Now { wall_ms: 5, mono_ms: 60_000 };
        assert_eq!(freshness.lag_ms(later), Some(60_000));
    }

    #[test]
    fn commands_of_long_ago_are_no_word_of_any_clock() {
        let mut freshness = Freshness::default();
        from_writer(&mut freshness, 1, 1_000_000, now(0));
        let back = now(60_000);
        // The writer has opened its log again; the tail begins with what was written a minute ago.
        freshness.hear(Heard { term: first(2), clock: 1_060_000, is_prompt: true }, back);
        freshness.note(1_001_000, back);
        assert_eq!(freshness.lag_ms(back), Some(59_000));
        freshness.enter(first(2));
        freshness.note(1_030_000, back);
        assert_eq!(freshness.lag_ms(back), Some(30_000));
        from_writer(&mut freshness, 2, 1_060_500, now(60_500));
        assert_eq!(freshness.lag_ms(now(60_500)), Some(0));
    }

    #[test]
    fn a_timestamp_ahead_of_the_writers_clock_proves_nothing_ahead_of_it() {
        let mut freshness = Freshness::default();
        from_writer(&mut freshness, 1, 1_000_000, now(0));
        for ms in [1_000, 2_000, 3_000] {
            freshness.note(4_600_000, now(ms));
            assert_eq!((freshness.at(), freshness.lag_ms(now(ms))), (1_000_000 + ms, Some(0)));
            from_writer(&mut freshness, 1, 1_000_100 + ms, now(ms + 100));
            assert_eq!(freshness.lag_ms(now(ms + 100)), Some(0));
        }
    }

    #[test]
    fn a_new_epoch_makes_an_old_proof_no_fresher() {
        // The own clock is 10 s behind the old writer's.
        let mut freshness = Freshness::default();
        from_writer(&mut freshness, 1, 1_010_000, now(0));
        freshness.note(1_010_500, now(5_500));
        assert_eq!(freshness.lag_ms(now(5_500)), Some(5_000));
        // The new one's clock is right. Its word counts at once, the difference to it when the state is that far.
        freshness.hear(Heard { term: first(2), clock: 1_006_500, is_prompt: true }, now(6_500));
        freshness.note(1_010_500, now(6_500));
        assert_eq!(freshness.lag_ms(now(6_500)), Some(6_000));
        freshness.enter(first(2));
        assert_eq!(freshness.lag_ms(now(6_600)), Some(6_100), "the proof is still the old one, by the old clock");
        assert_eq!(freshness.writer_clock(now(6_600)), Some(1_016_600), "who asks is told no less");
        from_writer(&mut freshness, 2, 1_006_700, now(6_700));
        assert_eq!(freshness.lag_ms(now(6_900)), Some(200), "an older number, but a newer proof");
        assert_eq!(freshness.offset(), Some(ClockOffset { term: first(2), ms: 0 }));
        // Nothing of an epoch before counts any longer.
        freshness.hear(Heard { term: first(1), clock: 1_999_000, is_prompt: true }, now(11_300));
        assert_eq!(freshness.offset(), Some(ClockOffset { term: first(2), ms: 0 }));
    }

    #[test]
    fn the_clock_of_one_who_took_over_counts_though_its_epoch_is_lower() {
        // The own clock is 10 s behind the old writer's.
        let mut freshness = Freshness::default();
        from_writer(&mut freshness, 9, 1_010_000, now(0));
        let new = Term { takeover: 5, epoch: 6 };
        freshness.hear(Heard { term: new, clock: 1_000_100, is_prompt: true }, now(100));
        freshness.enter(new);
        freshness.prove(1_000_100, now(100));
        assert_eq!(freshness.offset(), Some(ClockOffset { term: new, ms: 0 }));
        assert_eq!(freshness.lag_ms(now(2_100)), Some(2_000));
        // The old one started again has no say, and the state does not get back to it.
        freshness.hear(Heard { term: first(10), clock: 1_999_000, is_prompt: true }, now(2_200));
        freshness.enter(first(10));
        assert_eq!(freshness.offset(), Some(ClockOffset { term: new, ms: 0 }));
    }

    #[test]
    fn an_epoch_without_a_word_of_its_clock_keeps_the_difference_until_there_is_one() {
        let mut freshness = Freshness::default();
        from_writer(&mut freshness, 1, 1_000_000, now(0));
        freshness.enter(first(2));
        freshness.note(990_000, now(100));
        assert_eq!(freshness.lag_ms(now(100)), Some(100));
        // 10 s behind the former writer's clock.
        from_writer(&mut freshness, 2, 990_200, now(200));
        assert_eq!(freshness.lag_ms(now(200)), Some(0));
        assert_eq!(freshness.offset(), Some(ClockOffset { term: first(2), ms: 10_000 }));
    }

    #[test]
    fn a_baseline_changes_the_proof_and_not_what_is_known_of_the_clocks() {
        let mut freshness = Freshness::default();
        from_writer(&mut freshness, 1, 1_000_000, now(7));
        freshness.rebase(999_000, now(60_000));
        assert_eq!((freshness.at(), freshness.offset()), (999_000, Some(ClockOffset { term: first(1), ms: 7 })));
        assert_eq!(freshness.lag_ms(now(60_000)), Some(60_993), "its parent is a minute behind");
    }

    #[test]
    fn a_newcomer_behind_a_parent_that_is_cut_off_knows_how_old_its_state_is() {
        let mut relay = Freshness::default();
        from_writer(&mut relay, 1, 999_000, now(0));
        let hello = now(3_600_000);
        let mut newcomer = Freshness::default();
        let clock = relay.writer_clock(hello).unwrap();
        newcomer.hear(Heard { term: first(1), clock, is_prompt: true }, hello);
        newcomer.rebase(999_000, hello);
        assert_eq!(newcomer.lag_ms(hello), Some(3_600_000));
    }

    #[test]
    fn a_prompt_word_mends_what_a_set_clock_has_spoilt() {
        let mut freshness = Freshness::default();
        from_writer(&mut freshness, 1, 1_000_000, now(0));
        // The own wall clock is set an hour ahead.
        let later = |ms: u64| Now { wall_ms: 4_600_000 + ms, mono_ms: ms };
        from_writer(&mut freshness, 1, 1_001_000, later(1_000));
        assert_eq!(freshness.lag_ms(later(1_000)), Some(3_600_000));
        freshness.hear(Heard { term: first(1), clock: 1_002_000, is_prompt: true }, later(2_000));
        freshness.note(1_002_000, later(2_000));
        assert_eq!(freshness.lag_ms(later(2_000)), Some(0));
    }

    #[test]
    fn a_restart_does_not_look_fresh() {
        let offset = Some(ClockOffset { term: first(1), ms: 20 });
        let mut freshness = Freshness::restored(1_000_000, offset, first(1), 5_000);
        assert_eq!(freshness.lag_ms(now(86_400_000)), Some(86_399_980));
        // Nor does one whose wall clock is slow.
        let slow = |ms: u64| Now { wall_ms: 1_000, mono_ms: ms };
        freshness.awake(slow(300));
        assert_eq!(freshness.lag_ms(slow(1_300)), Some(6_000));
        from_writer(&mut freshness, 1, 2_000_000, slow(1_400));
        assert_eq!(freshness.lag_ms(slow(1_500)), Some(100));
    }
}
