//! The store as a host's timers treat it: it stores and folds between any two calls.

use crate::store::SqliteStore;
use headwater_core::position::Position;
use headwater_core::record::Record;
use headwater_core::store::{Collection, Effect, Progress, SnapshotError, Store, StoreError};
use std::cell::Cell;

/// A store that stores and folds at any time, as a host's timers make it do. By odd seeds it folds only while a baseline
/// is staged, so that one always lies unfolded under the next.
pub(super) struct Busy {
    pub(super) store: SqliteStore,
    pub(super) chance: Cell<u64>,
    pub(super) late: bool,
}

impl Busy {
    fn work(&self) -> Result<(), StoreError> {
        // Any spread will do; the generator is Knuth's MMIX one.
        self.chance
            .set(self.chance.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
        match (self.chance.get() >> 33) % 12 {
            0 => self.store.flush(),
            1..4 if self.late && !self.store.is_staging() => Ok(()),
            1..4 => self.store.fold_step((self.chance.get() >> 40) % 5 + 1).map(drop),
            _ => Ok(()),
        }
    }
}

impl Store for Busy {
    type Snapshot = <SqliteStore as Store>::Snapshot;

    fn progress(&self) -> Progress {
        self.store.progress()
    }

    fn position(&self) -> Position {
        self.store.position()
    }

    fn collection(&self, name: &str) -> Result<Option<Collection>, StoreError> {
        self.work()?;
        self.store.collection(name)
    }

    fn collections(&self) -> Result<Vec<Collection>, StoreError> {
        self.work()?;
        self.store.collections()
    }

    fn record(&self, collection: &str, key: &str) -> Result<Option<Record>, StoreError> {
        self.work()?;
        self.store.record(collection, key)
    }

    fn snapshot(&self) -> Result<Self::Snapshot, SnapshotError> {
        self.store.snapshot()
    }

    fn snapshot_for_reader(&self, mono_ms: u64) -> Result<Self::Snapshot, SnapshotError> {
        self.store.snapshot_for_reader(mono_ms)
    }

    fn apply(&self, effect: &Effect<'_>, position: Position, timestamp: u64) -> Result<(), StoreError> {
        self.work()?;
        self.store.apply(effect, position, timestamp)
    }

    fn set_progress(&self, progress: &Progress) -> Result<(), StoreError> {
        self.store.set_progress(progress)
    }

    fn stage(&self) -> Result<(), StoreError> {
        self.store.stage()
    }

    fn stage_records(&self, collection: &str, records: &[Record]) -> Result<(), StoreError> {
        self.work()?;
        self.store.stage_records(collection, records)
    }

    fn swap(&self, collections: Vec<Collection>, progress: &Progress) -> Result<(), StoreError> {
        self.store.swap(collections, progress)
    }

    fn unstage(&self) -> Result<(), StoreError> {
        self.store.unstage()
    }
}
