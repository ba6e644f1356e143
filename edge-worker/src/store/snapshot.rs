//! An exact picture of the store, read while lines are applied: the present state, with what was replaced since on top.

use super::{Inner, Parts};
use headwater_core::position::Position;
use headwater_core::record::Record;
use headwater_core::store::snapshot::{Overlay, Overlays};
use headwater_core::store::{Collection, Page, Progress, Snapshot, SnapshotError};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;

/// See the module. Gone once a baseline is swapped in.
pub(crate) struct SqliteSnapshot {
    store: Rc<Inner>,
    overlay: Arc<Overlay>,
    progress: Progress,
    collections: Vec<Collection>,
    parts: BTreeMap<Arc<str>, Parts>,
}

impl SqliteSnapshot {
    pub(super) fn open(
        store: &Rc<Inner>,
        overlay: impl FnOnce(&Overlays, Position) -> Result<Arc<Overlay>, SnapshotError>,
    ) -> Result<Self, SnapshotError> {
        let mut state = store.state.borrow_mut();
        store.know_all(&mut state).map_err(SnapshotError::Store)?;
        Ok(Self {
            store: Rc::clone(store),
            overlay: overlay(&store.overlays, state.progress.position)?,
            progress: state.progress.clone(),
            collections: state.known.values().map(|held| held.facts.clone()).collect(),
            parts: state.known.iter().map(|(name, held)| (name.clone(), held.parts)).collect(),
        })
    }
}

impl Snapshot for SqliteSnapshot {
    fn progress(&self) -> &Progress {
        &self.progress
    }

    fn collections(&self) -> &[Collection] {
        &self.collections
    }

    fn scan(&self, collection: &str, from: Bound<&str>, limit: usize) -> Result<Page, SnapshotError> {
        let Some(parts) = self.parts.get(collection) else {
            return self.overlay.merge(collection, from, Page::default(), limit);
        };
        let run = self.store.scan(*parts, from, limit).map_err(SnapshotError::Store)?;
        let mut records: Vec<Record> = run.items.into_iter().filter_map(|(_, record)| record).collect();
        let mut next = run.until.map(String::from);
        // Layers over one another may hold more together than each was asked for.
        let limit = limit.max(1);
        if records.len() > limit {
            records.truncate(limit);
            next = records.last().map(|record| record.key().into());
        }
        let live = Page { records, next };
        self.overlay.merge(collection, from, live, limit)
    }
}
