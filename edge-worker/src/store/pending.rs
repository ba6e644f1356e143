//! Lines applied but not yet stored: the newest state of each key they touched, where reads look first.

use super::rows::Run;
use headwater_core::record::Record;
use std::collections::BTreeMap;
use std::ops::Bound;

/// What a key costs beside its texts: its place in a tree and two allocations' rounding.
const OVERHEAD_BYTES: usize = 64;

/// One key as it will be.
pub(super) struct Change {
    pub(super) record: Option<Record>,
    /// Some state of the key before was long, so pieces of it may lie in the table.
    pub(super) was_long: bool,
}

/// See the module. By part, then key.
#[derive(Default)]
pub(super) struct Pending {
    parts: BTreeMap<u64, BTreeMap<Box<str>, Change>>,
    bytes: usize,
}

impl Pending {
    /// Takes in what a key holds from now on.
    pub(super) fn put(&mut self, part: u64, key: &str, record: Option<Record>, was_long: bool) {
        let keys = self.parts.entry(part).or_default();
        self.bytes += bytes(key, record.as_ref());
        match keys.get_mut(key) {
            Some(change) => {
                self.bytes -= bytes(key, change.record.as_ref());
                change.record = record;
                change.was_long |= was_long;
            }
            None => {
                keys.insert(key.into(), Change { record, was_long });
            }
        }
    }

    /// What the key will hold; the outer `None` when no line touched it.
    pub(super) fn find(&self, part: u64, key: &str) -> Option<Option<Record>> {
        Some(self.parts.get(&part)?.get(key)?.record.clone())
    }

    /// All changed keys of a part from `from` up to and including `until`.
    pub(super) fn run(&self, part: u64, from: Bound<&str>, until: Option<&str>) -> Run {
        let keys = self.parts.get(&part).into_iter().flat_map(|keys| keys.range::<str, _>((from, Bound::Unbounded)));
        let within = keys.take_while(|(key, _)| until.is_none_or(|until| &***key <= until));
        Run { items: within.map(|(key, change)| (key.clone(), change.record.clone())).collect(), until: None }
    }

    /// Forgets what was to be stored in a part.
    pub(super) fn forget(&mut self, part: u64) {
        for (key, change) in self.parts.remove(&part).unwrap_or_default() {
            self.bytes -= bytes(&key, change.record.as_ref());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Bytes of memory the changes take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All changes by part and key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &BTreeMap<Box<str>, Change>)> {
        self.parts.iter().map(|(part, keys)| (*part, keys))
    }
}

fn bytes(key: &str, record: Option<&Record>) -> usize {
    OVERHEAD_BYTES + key.len() + record.map_or(0, Record::memory_bytes)
}
