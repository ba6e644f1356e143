//! Entries lately read or written, so that hot reads spare a statement. Bounded in bytes; nothing depends on a hit.
//!
//! Two generations instead of a list of uses: what is used moves to the young one, and when that has half of the bytes,
//! the old one is forgotten and the young one becomes old. Close to least-recently-used, at one map operation a use.

use hashbrown::{Equivalent, HashMap};
use headwater_core::record::Record;
use std::hash::{Hash, Hasher};

/// What an element costs beside its texts: its place in a table and two allocations' rounding.
const OVERHEAD_BYTES: usize = 96;

/// Where an entry lives: the part of the table and the key.
struct Place {
    part: u64,
    key: Box<str>,
}

/// A borrowed [`Place`].
struct At<'a>(u64, &'a str);

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        At(self.part, &self.key).hash(state);
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.part == other.part && self.key == other.key
    }
}

impl Eq for Place {}

impl Hash for At<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
        self.1.hash(state);
    }
}

impl Equivalent<Place> for At<'_> {
    fn equivalent(&self, place: &Place) -> bool {
        self.0 == place.part && *self.1 == *place.key
    }
}

/// See the module. `None` is kept for a key that is known to hold nothing.
pub(super) struct Cache {
    young: HashMap<Place, Option<Record>>,
    old: HashMap<Place, Option<Record>>,
    young_bytes: usize,
    bytes_max: usize,
}

impl Cache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), young_bytes: 0, bytes_max }
    }

    /// What is known of the key; the outer `None` is "nothing known".
    pub(super) fn find(&mut self, part: u64, key: &str) -> Option<Option<Record>> {
        if let Some(held) = self.young.get(&At(part, key)) {
            return Some(held.clone());
        }
        let (place, held) = self.old.remove_entry(&At(part, key))?;
        self.keep(place, held.clone());
        Some(held)
    }

    /// Takes in what the key holds from now on.
    pub(super) fn put(&mut self, part: u64, key: &str, held: Option<Record>) {
        self.old.remove(&At(part, key));
        if let Some(known) = self.young.get_mut(&At(part, key)) {
            let before = bytes(key, known.as_ref());
            self.young_bytes += bytes(key, held.as_ref());
            self.young_bytes -= before;
            *known = held;
            self.turn_over();
        } else {
            self.keep(Place { part, key: key.into() }, held);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.bytes_max);
    }

    fn keep(&mut self, place: Place, held: Option<Record>) {
        self.young_bytes += bytes(&place.key, held.as_ref());
        self.young.insert(place, held);
        self.turn_over();
    }

    fn turn_over(&mut self) {
        if self.young_bytes > self.bytes_max / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}

fn bytes(key: &str, held: Option<&Record>) -> usize {
    OVERHEAD_BYTES + key.len() + held.map_or(0, Record::memory_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::record::Parts;

    fn record(key: &str, seq: u64) -> Record {
        Record::new(Parts { key, value: "1", seq, version: 1, timestamp: 1, extra: "" })
    }

    #[test]
    fn keeps_what_is_used_and_forgets_the_rest() {
        let mut cache = Cache::new(20_000);
        cache.put(1, "hot", Some(record("hot", 1)));
        for n in 0..1_000 {
            cache.put(1, &format!("cold{n}"), None);
            assert_eq!(cache.find(1, "hot"), Some(Some(record("hot", 1))), "after {n} others");
        }
        assert_eq!(cache.find(1, "cold0"), None);
        assert!(cache.young.len() + cache.old.len() < 200);
    }

    #[test]
    fn an_older_generation_never_answers_for_a_newer_write() {
        let mut cache = Cache::new(2_000);
        cache.put(1, "k", Some(record("k", 1)));
        for n in 0..8 {
            cache.put(1, &format!("other{n}"), None);
        }
        cache.put(1, "k", None);
        assert_eq!(cache.find(1, "k"), Some(None));
        assert_eq!(cache.find(2, "k"), None, "another part's key is another key");
    }
}
