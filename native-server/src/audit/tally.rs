//! Refusals, counted: the first of a kind is noted at once, and how many followed once a minute, so that whoever is refused
//! fills no disk and pushes nothing else out.

use super::event::Refusals;
use headwater_core::api::Code;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long refusals are counted until they are told.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Kinds that are told apart within that time; what else comes is counted by its code alone.
const KINDS_MAX: usize = 64;

/// What makes refusals of one kind.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Kind {
    code: Code,
    network: Option<IpAddr>,
    by: Option<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// When the present window began; `None` while nothing is counted.
    begun: Option<Instant>,
    kinds: HashMap<Kind, Refusals>,
    others: HashMap<Code, Refusals>,
}

impl Tally {
    /// Counts a refusal. `Some`: note it, it is the first of its kind.
    pub(super) fn count(
        &mut self,
        refusal: Refusals,
        network: Option<IpAddr>,
        ms: u64,
        now: Instant,
    ) -> Option<Refusals> {
        self.begun.get_or_insert(now);
        let kind = Kind { code: refusal.code, network, by: refusal.by.clone() };
        if let Some(counted) = self.kinds.get_mut(&kind) {
            counted.count += 1;
            counted.since_ms.get_or_insert(ms);
            return None;
        }
        if self.kinds.len() < KINDS_MAX {
            // Counted from here on: this one is noted by itself.
            let by = refusal.by.clone();
            let first = Refusals { count: 0, since_ms: None, by, claimed: None, op: None, collection: None, ..refusal };
            self.kinds.insert(kind, first);
            return Some(refusal);
        }
        let code = refusal.code;
        let many = || Refusals {
            code,
            count: 0,
            since_ms: Some(ms),
            peer: None,
            by: None,
            claimed: None,
            op: None,
            collection: None,
        };
        self.others.entry(code).or_insert_with(many).count += 1;
        None
    }

    /// When what was counted is to be told.
    pub(super) fn due(&self) -> Option<Instant> {
        self.begun.map(|begun| begun + WINDOW)
    }

    /// What was counted since the window began, and begins another.
    pub(super) fn take(&mut self) -> Vec<Refusals> {
        self.begun = None;
        let counted = self.kinds.drain().map(|(_, counted)| counted).chain(self.others.drain().map(|(_, many)| many));
        counted.filter(|counted| counted.count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(peer: u8) -> (Refusals, Option<IpAddr>) {
        let peer = Some(IpAddr::from([10, 0, 0, peer]));
        let refusal = Refusals {
            code: Code::Forbidden,
            count: 1,
            since_ms: None,
            peer,
            by: None,
            claimed: Some("k".into()),
            op: None,
            collection: Some("c".into()),
        };
        (refusal, peer)
    }

    #[test]
    fn the_first_is_noted_and_the_rest_is_counted() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        let mut count = |peer, ms| {
            let (refusal, network) = refusal(peer);
            tally.count(refusal, network, ms, now)
        };
        assert!(count(1, 5).is_some_and(|first| first.claimed.is_some()));
        for ms in 6..16 {
            assert_eq!(count(1, ms), None);
        }
        assert!(count(2, 7).is_some());
        assert_eq!(tally.due(), Some(now + WINDOW));
        let told = tally.take();
        assert_eq!(told.len(), 1, "there was no second one of the other");
        assert_eq!((told[0].count, told[0].since_ms, &told[0].claimed), (10, Some(6), &None));
        assert!(tally.take().is_empty() && tally.due().is_none());
    }

    #[test]
    fn many_addresses_take_no_more_room_than_some() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        let noted = (0..=255).filter(|&peer| {
            let (refusal, network) = refusal(peer);
            tally.count(refusal, network, 1, now).is_some()
        });
        assert_eq!(noted.count(), KINDS_MAX);
        let told = tally.take();
        assert_eq!((told.len(), told[0].count, told[0].peer), (1, 256 - KINDS_MAX as u64, None));
    }
}
