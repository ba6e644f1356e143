//! The memory store: the state of a native node and of a browser.
//!
//! Any number of threads read while one writes. A reader waits for the writer no longer than a few pointers take to
//! change; the writer waits for a scan no longer than `SCAN_RECORDS_MAX` records take to be copied out as pointers.
//! Nothing here is durable, and nothing here judges what it is told: see [`crate::apply`] for what a command means.

mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
#[cfg(not(target_family = "wasm"))]
mod threads;

use super::lock::{lock, read, write};
use super::snapshot::{Overlay, Overlays, SnapshotLimits};
use super::{Collection, Effect, Page, Progress, Snapshot, SnapshotError, Store, StoreError};
use crate::position::Position;
use crate::record::Record;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;
use std::sync::{Mutex, RwLock};
use table::Table;

/// Most records that a scan takes under one lock.
const SCAN_RECORDS_MAX: usize = 256;

/// Records of dropped collections and replaced states that are freed with each command.
const RECLAIMED_PER_COMMAND: usize = 64;

/// As [`RECLAIMED_PER_COMMAND`], with each change of the progress: those come at most a few times a second, also when
/// nothing is written.
const RECLAIMED_PER_PROGRESS: usize = 4096;

/// How a [`MemoryStore`] is laid out.
#[derive(Clone, Debug)]
pub struct MemoryOptions {
    /// Parts of each collection's hash table that can be written and read at the same time.
    pub shards: usize,
    /// Where hashes begin. Draw it at random, or whoever chooses keys can choose ones that collide.
    pub hash_seed: u64,
    /// What open snapshots may cost.
    pub snapshots: SnapshotLimits,
}

impl MemoryOptions {
    /// For hosts with one thread: browsers, and tests.
    pub fn single_threaded(hash_seed: u64) -> Self {
        Self { shards: 1, hash_seed, snapshots: SnapshotLimits::default() }
    }

    /// For hosts with many threads.
    pub fn threaded(hash_seed: u64) -> Self {
        Self { shards: 32, ..Self::single_threaded(hash_seed) }
    }
}

/// Keeps everything in memory. Share it in an [`Arc`]; every method takes `&self`.
///
/// # Examples
/// ```
/// use headwater_core::position::Position;
/// use headwater_core::scope::Scope;
/// use headwater_core::store::memory::{MemoryOptions, MemoryStore};
/// use headwater_core::store::{Collection, Effect, Progress, Snapshot, Store};
///
/// let store = MemoryStore::new(Progress::new(Scope::Everything), MemoryOptions::single_threaded(7));
/// let before = store.snapshot().unwrap();
/// let flags = Collection::new("flags".into(), 2);
/// store.apply(&Effect::Create(flags.clone()), Position { epoch: 1, seq: 2 }, 1).unwrap();
/// assert_eq!(store.collections().unwrap(), [flags]);
/// assert_eq!(before.collections(), []);
/// ```
pub struct MemoryStore {
    options: MemoryOptions,
    tables: RwLock<Tables>,
    /// Changed after the entries it speaks of, so that who loads it first never claims too much.
    progress: RwLock<Progress>,
    /// Held while a command is carried out or a snapshot opened, so that no snapshot falls into the middle of a command.
    step: Mutex<Retired>,
    overlays: Overlays,
    staged: Mutex<Option<BTreeMap<Arc<str>, Table>>>,
}

/// The collections by name.
type Tables = BTreeMap<Arc<str>, Arc<Table>>;

/// Records on their way out, freed a few at a time: all at once would hold up the writer for as long as it takes.
type Retired = VecDeque<Box<dyn Iterator<Item = Record> + Send>>;

impl MemoryStore {
    /// An empty store that is as far as `progress` says.
    pub fn new(progress: Progress, options: MemoryOptions) -> Self {
        Self {
            overlays: Overlays::new(options.snapshots.clone()),
            options,
            tables: RwLock::default(),
            progress: RwLock::new(progress),
            step: Mutex::default(),
            staged: Mutex::default(),
        }
    }

    /// Frees up to `records_max` records of dropped collections and replaced states, and tells whether there are more.
    /// Every command and every change of the progress does a little of this; a host may do the rest when it is idle.
    pub fn reclaim(&self, records_max: usize) -> bool {
        let mut step = lock(&self.step);
        reclaim(&mut step, records_max);
        !step.is_empty()
    }

    /// As [`Store::snapshot`], for a copy that is written to a disk: it is never given up, whatever is written meanwhile, and
    /// holds up to as much memory as the state itself ([`Overlays::open_for_disk`]).
    ///
    /// # Errors
    /// [`SnapshotError::TooMany`] when several are open already: come back.
    pub fn snapshot_for_disk(&self) -> Result<MemorySnapshot, SnapshotError> {
        self.snapshot_by(|position| self.overlays.open_for_disk(position))
    }

    fn snapshot_by(
        &self,
        open: impl FnOnce(Position) -> Result<Arc<Overlay>, SnapshotError>,
    ) -> Result<MemorySnapshot, SnapshotError> {
        let _step = lock(&self.step);
        let progress = self.progress();
        let overlay = open(progress.position)?;
        let tables: Vec<_> = read(&self.tables).values().cloned().collect();
        let collections = tables.iter().map(|table| table.facts()).collect();
        Ok(MemorySnapshot { progress, collections, tables, overlay })
    }

    fn table(&self, facts: Collection) -> Table {
        Table::new(facts, self.options.shards, self.options.hash_seed)
    }

    fn retire_staged(&self, staged: Option<BTreeMap<Arc<str>, Table>>) {
        let tables = staged.into_iter().flat_map(BTreeMap::into_values);
        lock(&self.step).extend(tables.map(retired));
    }
}

fn retired(table: Table) -> Box<dyn Iterator<Item = Record> + Send> {
    Box::new(table.into_records())
}

/// Queues what only this store still held. What a snapshot shows is freed with the snapshot.
fn retire(queue: &mut Retired, tables: impl IntoIterator<Item = Arc<Table>>) {
    queue.extend(tables.into_iter().filter_map(Arc::into_inner).map(retired));
}

fn reclaim(queue: &mut Retired, records_max: usize) {
    let mut left = records_max;
    while let Some(records) = queue.front_mut() {
        left -= records.take(left).count();
        if left == 0 {
            return;
        }
        queue.pop_front();
    }
}

fn missing(name: &str) -> StoreError {
    StoreError(alloc::format!("the collection {name:?} to be changed is not held"))
}

impl Store for MemoryStore {
    type Snapshot = MemorySnapshot;

    fn progress(&self) -> Progress {
        read(&self.progress).clone()
    }

    fn position(&self) -> Position {
        read(&self.progress).position
    }

    fn collection(&self, name: &str) -> Result<Option<Collection>, StoreError> {
        Ok(read(&self.tables).get(name).map(|table| table.facts()))
    }

    fn collections(&self) -> Result<Vec<Collection>, StoreError> {
        Ok(read(&self.tables).values().map(|table| table.facts()).collect())
    }

    fn record(&self, collection: &str, key: &str) -> Result<Option<Record>, StoreError> {
        Ok(read(&self.tables).get(collection).and_then(|table| table.record(key.as_bytes())))
    }

    fn snapshot(&self) -> Result<MemorySnapshot, SnapshotError> {
        self.snapshot_by(|position| self.overlays.open(position))
    }

    fn snapshot_for_reader(&self, mono_ms: u64) -> Result<MemorySnapshot, SnapshotError> {
        self.snapshot_by(|position| self.overlays.open_for_reader(position, mono_ms))
    }

    fn apply(&self, effect: &Effect<'_>, position: Position, timestamp: u64) -> Result<(), StoreError> {
        let mut step = lock(&self.step);
        match effect {
            Effect::None => {}
            Effect::Create(facts) => {
                let table = Arc::new(self.table(facts.clone()));
                let replaced = write(&self.tables).insert(facts.name.clone(), table);
                retire(&mut step, replaced);
            }
            Effect::Drop(facts) => {
                let dropped = write(&self.tables).remove(&*facts.name);
                retire(&mut step, dropped);
            }
            Effect::Write { before, after, writes } => {
                let tables = read(&self.tables);
                let table = tables.get(&*before.name).ok_or_else(|| missing(&before.name))?;
                self.overlays.replacing(before, writes);
                for change in *writes {
                    match &change.new {
                        Some(record) => table.put(record.clone()),
                        None => table.remove(change.key.as_bytes()),
                    }
                }
                table.set_facts(after.clone());
            }
        }
        {
            let mut progress = write(&self.progress);
            (progress.position, progress.timestamp) = (position, timestamp);
        }
        reclaim(&mut step, RECLAIMED_PER_COMMAND);
        Ok(())
    }

    fn set_progress(&self, progress: &Progress) -> Result<(), StoreError> {
        let mut step = lock(&self.step);
        *write(&self.progress) = progress.clone();
        reclaim(&mut step, RECLAIMED_PER_PROGRESS);
        Ok(())
    }

    fn stage(&self) -> Result<(), StoreError> {
        let before = lock(&self.staged).replace(BTreeMap::new());
        self.retire_staged(before);
        Ok(())
    }

    fn stage_records(&self, collection: &str, records: &[Record]) -> Result<(), StoreError> {
        let mut staged = lock(&self.staged);
        let tables = staged.as_mut().ok_or_else(nothing_staged)?;
        if !tables.contains_key(collection) {
            let name: Arc<str> = collection.into();
            // The facts are handed in when the baseline is whole.
            tables.insert(name.clone(), self.table(Collection::new(name, 0)));
        }
        let table = tables.get_mut(collection).expect("inserted above");
        records.iter().for_each(|record| table.put_mut(record.clone()));
        reclaim(&mut lock(&self.step), records.len());
        Ok(())
    }

    fn swap(&self, collections: Vec<Collection>, progress: &Progress) -> Result<(), StoreError> {
        let mut staged = lock(&self.staged).take().ok_or_else(nothing_staged)?;
        let mut tables = Tables::new();
        for facts in collections {
            let name = facts.name.clone();
            let table = match staged.remove(&*name) {
                None => self.table(facts),
                Some(table) => {
                    table.set_facts(facts);
                    table
                }
            };
            tables.insert(name, Arc::new(table));
        }
        {
            let mut step = lock(&self.step);
            self.overlays.detach_all();
            let replaced = core::mem::replace(&mut *write(&self.tables), tables);
            *write(&self.progress) = progress.clone();
            retire(&mut step, replaced.into_values());
        }
        self.retire_staged(Some(staged));
        Ok(())
    }

    fn unstage(&self) -> Result<(), StoreError> {
        let before = lock(&self.staged).take();
        self.retire_staged(before);
        Ok(())
    }
}

fn nothing_staged() -> StoreError {
    StoreError("no baseline is staged".into())
}

/// An exact picture of a [`MemoryStore`]. Holds on to what it shows until it is dropped.
pub struct MemorySnapshot {
    progress: Progress,
    collections: Vec<Collection>,
    /// In the order of `collections`. Dropped and replaced ones live on here.
    tables: Vec<Arc<Table>>,
    overlay: Arc<Overlay>,
}

impl Snapshot for MemorySnapshot {
    fn progress(&self) -> &Progress {
        &self.progress
    }

    fn collections(&self) -> &[Collection] {
        &self.collections
    }

    fn scan(&self, collection: &str, from: Bound<&str>, limit: usize) -> Result<Page, SnapshotError> {
        let Ok(index) = self.collections.binary_search_by(|facts| (*facts.name).cmp(collection)) else {
            return Ok(Page::default());
        };
        let limit = limit.max(1);
        let mut page = Page::default();
        let mut reached: Option<String> = None;
        loop {
            let from = reached.as_deref().map_or(from, Bound::Excluded);
            let wanted = (limit - page.records.len()).min(SCAN_RECORDS_MAX);
            let live = self.tables[index].page(from, wanted);
            let piece = self.overlay.merge(collection, from, live, wanted)?;
            page.records.extend(piece.records);
            match piece.next {
                Some(next) if page.records.len() < limit => reached = Some(next),
                next => return Ok(Page { next, ..page }),
            }
        }
    }
}
