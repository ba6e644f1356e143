//! The simplest thing a store can be compared with: ordered maps, copied whole for each snapshot.

use super::random::Random;
use crate::digest::Digest;
use crate::record::{Parts, Record};
use crate::store::{Collection, Page, Progress, Write};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Bound;

/// All that a store holds.
#[derive(Clone)]
pub(super) struct Picture {
    pub(super) progress: Progress,
    pub(super) collections: BTreeMap<String, (Collection, BTreeMap<String, Record>)>,
}

impl Picture {
    pub(super) fn facts(&self) -> Vec<Collection> {
        self.collections.values().map(|(facts, _)| facts.clone()).collect()
    }

    pub(super) fn record(&self, collection: &str, key: &str) -> Option<&Record> {
        self.collections.get(collection)?.1.get(key)
    }

    /// The entries of a collection from `from` on.
    pub(super) fn range(&self, collection: &str, from: Bound<&str>) -> Vec<Record> {
        let entries = self.collections.get(collection).map(|(_, entries)| entries);
        let range = entries.into_iter().flat_map(|entries| entries.range::<str, _>((from, Bound::Unbounded)));
        range.map(|(_, record)| record.clone()).collect()
    }

    /// Changes entries of a collection that is held, and returns its facts before.
    pub(super) fn write(&mut self, collection: &str, writes: &[Write<'_>], seq: u64) -> Collection {
        let (facts, entries) = self.collections.get_mut(collection).expect("the run chose a held collection");
        let before = facts.clone();
        for write in writes {
            match write.new.clone() {
                Some(record) => entries.insert(write.key.into(), record),
                None => entries.remove(write.key),
            };
        }
        *facts = Collection { last_seq: seq, ..summed(facts, entries) };
        before
    }

    /// Another picture that shares some of this one: what a baseline may bring.
    pub(super) fn altered(&self, random: &mut Random) -> Self {
        let mut altered = self.clone();
        let seq = &mut altered.progress.position.seq;
        if random.once_in(3) {
            // Another history: its numbers may be lower.
            let epoch = &mut altered.progress.position.epoch;
            if random.once_in(2) {
                // And after a takeover its epoch.
                altered.progress.takeover += 1;
                *epoch = random.among(1..*epoch + 2);
            } else {
                *epoch += random.among(1..5);
            }
            *seq = random.among(1..*seq + 2);
        } else {
            *seq += random.among(1..1000);
        }
        let seq = *seq;
        let term = altered.progress.term();
        altered.progress.accept(term);
        altered.progress.complete = true;
        altered.collections.retain(|_, _| !random.once_in(4));
        for (facts, entries) in altered.collections.values_mut() {
            facts.created = facts.created.min(seq);
            facts.last_seq = facts.last_seq.min(seq);
            // No entry of a state is newer than its position.
            entries.retain(|_, record| record.seq() <= seq);
            *facts = summed(facts, entries);
        }
        for name in super::random::NAMES {
            if !random.once_in(3) {
                continue;
            }
            let created = random.among(1..seq + 1);
            let (facts, entries) = altered
                .collections
                .entry((*name).into())
                .or_insert_with(|| (Collection::new((*name).into(), created), BTreeMap::new()));
            entries.retain(|_, _| !random.once_in(3));
            for _ in 0..random.among(0..30) {
                let key = random.key();
                let record = random_record(random, &key, seq);
                entries.insert(record.key().into(), record);
            }
            *facts = Collection { last_seq: seq, ..summed(facts, entries) };
        }
        altered
    }
}

/// A record as the command `seq` might write it.
pub(super) fn random_record(random: &mut Random, key: &str, seq: u64) -> Record {
    let (value, extra) = (random.value(), random.extra());
    let (version, timestamp) = (random.among(1..1 << 20), random.among(0..1 << 53));
    Record::new(Parts { key, value: &value, seq, version, timestamp, extra: &extra })
}

/// The facts with count and digest taken from the entries.
fn summed(facts: &Collection, entries: &BTreeMap<String, Record>) -> Collection {
    let (mut digest, mut scratch) = (Digest::EMPTY, Vec::new());
    for record in entries.values() {
        digest.add(record.digest(&facts.name, &mut scratch));
    }
    Collection { keys: entries.len() as u64, digest, ..facts.clone() }
}

/// Enough of a record to find the mistake, without its value.
pub(super) fn brief(record: Option<&Record>) -> String {
    match record {
        None => "nothing".into(),
        Some(record) => format!(
            "{:?} of seq {} version {} with {} bytes of value",
            record.key().get(..20).unwrap_or(record.key()),
            record.seq(),
            record.version(),
            record.value().len()
        ),
    }
}

/// A walk through one collection of a snapshot, compared page by page.
pub(super) struct Walk {
    pub(super) collection: String,
    expected: Vec<Record>,
    delivered: usize,
    reached: Bound<String>,
}

impl Walk {
    pub(super) fn new(picture: &Picture, collection: &str, from: Bound<String>) -> Self {
        let expected = picture.range(collection, borrowed(&from));
        Self { collection: collection.into(), expected, delivered: 0, reached: from }
    }

    /// Where the next page begins.
    pub(super) fn from(&self) -> Bound<&str> {
        borrowed(&self.reached)
    }

    /// Compares a page. Returns whether more follow.
    pub(super) fn check(&mut self, page: &Page, limit: usize) -> Result<bool, String> {
        let place = |index: usize| format!("entry {index} of {:?} from {:?} on", self.collection, self.reached);
        if page.records.len() > limit {
            return Err(format!("{} records where {limit} were asked for", page.records.len()));
        }
        for record in &page.records {
            let expected = self.expected.get(self.delivered);
            if expected != Some(record) {
                let (expected, found) = (brief(expected), brief(Some(record)));
                return Err(format!("{}: expected {expected}, found {found}", place(self.delivered)));
            }
            self.delivered += 1;
        }
        let covered = page.next.as_deref();
        let left_out =
            self.expected.get(self.delivered).filter(|record| covered.is_none_or(|next| record.key() <= next));
        if left_out.is_some() {
            return Err(format!("{}: {} was left out", place(self.delivered), brief(left_out)));
        }
        let Some(next) = &page.next else { return Ok(false) };
        let behind = match &self.reached {
            Bound::Unbounded => false,
            Bound::Included(from) => next < from,
            Bound::Excluded(from) => next <= from,
        };
        if behind {
            return Err(format!("the walk from {:?} on turned back to {next:?}", self.reached));
        }
        self.reached = Bound::Excluded(next.clone());
        Ok(true)
    }
}

fn borrowed(bound: &Bound<String>) -> Bound<&str> {
    bound.as_ref().map(String::as_str)
}
