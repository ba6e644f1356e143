//! The entries of one collection: found by hash, listed by order, both on the same records.
//!
//! Readers take one short shared lock, of a shard of the hash table or of the ordered index, and leave with counted
//! pointers. One writer at a time changes a table; a reader of several entries may see some of them before and some
//! after a command, which snapshots put right.

use crate::record::Record;
use crate::store::lock::{inner_mut, into_inner, read, write};
use crate::store::{Collection, Page};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::ops::Bound;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::sync::RwLock;
use twox_hash::XxHash3_128;

pub(super) struct Table {
    facts: RwLock<Collection>,
    hash_seed: u64,
    shards: Box<[RwLock<HashTable<Record>>]>,
    /// Holds what the shards hold. A write replaces the record here too, or the old value would live on.
    index: RwLock<BTreeSet<ByKey>>,
}

/// A record that stands for its key among others.
struct ByKey(Record);

impl Borrow<[u8]> for ByKey {
    fn borrow(&self) -> &[u8] {
        self.0.key_utf8()
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key_utf8() == other.0.key_utf8()
    }
}

impl Eq for ByKey {}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key_utf8().cmp(other.0.key_utf8())
    }
}

/// Where a key belongs: its shard, and its hash within.
#[derive(Clone, Copy)]
struct Place {
    shard: usize,
    hash: u64,
}

impl Place {
    fn of(key: &[u8], seed: u64, shards: usize) -> Self {
        let hash = XxHash3_128::oneshot_with_seed(seed, key);
        // Two independent halves, so that the keys of one shard still spread over all of its buckets.
        Self { shard: ((hash >> 64) as u64 % shards as u64) as usize, hash: hash as u64 }
    }
}

impl Table {
    pub(super) fn new(facts: Collection, shards: usize, hash_seed: u64) -> Self {
        Self {
            facts: RwLock::new(facts),
            hash_seed,
            shards: (0..shards.max(1)).map(|_| RwLock::default()).collect(),
            index: RwLock::default(),
        }
    }

    pub(super) fn facts(&self) -> Collection {
        read(&self.facts).clone()
    }

    pub(super) fn set_facts(&self, facts: Collection) {
        *write(&self.facts) = facts;
    }

    fn place(&self, key: &[u8]) -> Place {
        Place::of(key, self.hash_seed, self.shards.len())
    }

    pub(super) fn record(&self, key: &[u8]) -> Option<Record> {
        let Place { shard, hash } = self.place(key);
        read(&self.shards[shard]).find(hash, |record| record.key_utf8() == key).cloned()
    }

    /// Puts `record` in the place of the one with its key, if there is one.
    pub(super) fn put(&self, record: Record) {
        let place = self.place(record.key_utf8());
        let replaced = insert(&mut write(&self.shards[place.shard]), place.hash, record.clone(), self.hasher());
        let indexed = write(&self.index).replace(ByKey(record));
        // Both locks are free again: giving memory back keeps no reader waiting.
        drop((replaced, indexed));
    }

    /// As [`Self::put`], while nobody else has the table.
    pub(super) fn put_mut(&mut self, record: Record) {
        let Place { shard, hash } = self.place(record.key_utf8());
        let hasher = hasher(self.hash_seed, self.shards.len());
        insert(inner_mut(&mut self.shards[shard]), hash, record.clone(), hasher);
        inner_mut(&mut self.index).replace(ByKey(record));
    }

    pub(super) fn remove(&self, key: &[u8]) {
        let Place { shard, hash } = self.place(key);
        let removed = match write(&self.shards[shard]).find_entry(hash, |record| record.key_utf8() == key) {
            Ok(entry) => Some(entry.remove().0),
            Err(_) => None,
        };
        let indexed = write(&self.index).take(key);
        drop((removed, indexed));
    }

    fn hasher(&self) -> impl Fn(&Record) -> u64 {
        hasher(self.hash_seed, self.shards.len())
    }

    /// Up to `limit` records in key order from `from` on, read under one lock.
    pub(super) fn page(&self, from: Bound<&str>, limit: usize) -> Page {
        let index = read(&self.index);
        let mut range = index.range::<[u8], _>((from.map(str::as_bytes), Bound::Unbounded));
        let records: alloc::vec::Vec<_> = range.by_ref().take(limit).map(|ByKey(record)| record.clone()).collect();
        let more = range.next().is_some();
        let next = records.last().filter(|_| more).map(|record| record.key().into());
        Page { records, next }
    }

    /// Takes the table apart, a record at a time, so that it can be freed in small steps.
    pub(super) fn into_records(self) -> impl Iterator<Item = Record> {
        let shards = self.shards.into_iter().flat_map(into_inner);
        shards.chain(into_inner(self.index).into_iter().map(|ByKey(record)| record))
    }
}

fn hasher(seed: u64, shards: usize) -> impl Fn(&Record) -> u64 {
    move |record| Place::of(record.key_utf8(), seed, shards).hash
}

fn insert(shard: &mut HashTable<Record>, hash: u64, record: Record, hasher: impl Fn(&Record) -> u64) -> Option<Record> {
    match shard.entry(hash, |held| held.key_utf8() == record.key_utf8(), hasher) {
        Entry::Occupied(mut entry) => Some(core::mem::replace(entry.get_mut(), record)),
        Entry::Vacant(entry) => {
            entry.insert(record);
            None
        }
    }
}
