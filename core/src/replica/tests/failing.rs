//! A store whose medium can be switched off.

use crate::position::Position;
use crate::record::Record;
use crate::store::memory::{MemorySnapshot, MemoryStore};
use crate::store::{Collection, Effect, Progress, SnapshotError, Store, StoreError};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;

pub(super) struct FailingStore {
    inner: MemoryStore,
    failing: Rc<Cell<bool>>,
}

impl FailingStore {
    pub(super) fn new(inner: MemoryStore) -> Self {
        Self { inner, failing: Rc::default() }
    }

    /// `true` makes every change fail.
    pub(super) fn switch(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.failing)
    }

    fn works(&self) -> Result<&MemoryStore, StoreError> {
        if self.failing.get() { Err(StoreError("switched off".into())) } else { Ok(&self.inner) }
    }
}

impl Store for FailingStore {
    type Snapshot = MemorySnapshot;

    fn progress(&self) -> Progress {
        self.inner.progress()
    }

    fn position(&self) -> Position {
        self.inner.position()
    }

    fn collection(&self, name: &str) -> Result<Option<Collection>, StoreError> {
        self.inner.collection(name)
    }

    fn collections(&self) -> Result<Vec<Collection>, StoreError> {
        self.inner.collections()
    }

    fn record(&self, collection: &str, key: &str) -> Result<Option<Record>, StoreError> {
        self.inner.record(collection, key)
    }

    fn snapshot(&self) -> Result<MemorySnapshot, SnapshotError> {
        self.inner.snapshot()
    }

    fn snapshot_for_reader(&self, mono_ms: u64) -> Result<MemorySnapshot, SnapshotError> {
        self.inner.snapshot_for_reader(mono_ms)
    }

    fn apply(&self, effect: &Effect<'_>, position: Position, timestamp: u64) -> Result<(), StoreError> {
        self.works()?.apply(effect, position, timestamp)
    }

    fn set_progress(&self, progress: &Progress) -> Result<(), StoreError> {
        self.works()?.set_progress(progress)
    }

    fn stage(&self) -> Result<(), StoreError> {
        self.works()?.stage()
    }

    fn stage_records(&self, collection: &str, records: &[Record]) -> Result<(), StoreError> {
        self.works()?.stage_records(collection, records)
    }

    fn swap(&self, collections: Vec<Collection>, progress: &Progress) -> Result<(), StoreError> {
        self.works()?.swap(collections, progress)
    }

    fn unstage(&self) -> Result<(), StoreError> {
        self.works()?.unstage()
    }
}
