//! The store over the Durable Object's SQLite: core's [`Store`] for a state larger than memory.
//!
//! Lines are not written one by one: [`SqliteStore::apply`](Store::apply) keeps them in memory, where reads look first,
//! and [`SqliteStore::flush`] stores everything that came since, entries and progress, in one transaction. The host
//! decides when: see [`SqliteStore::flush_is_due`]. Nothing of the state is loaded at start.
//!
//! It reads no clock and starts no timer; the runtime commits what one turn wrote as a whole.

mod baseline;
mod cache;
mod flush;
mod fold;
mod pending;
mod rows;
mod schema;
mod snapshot;

use crate::sql::{Bind, Row, Sql};
use baseline::Staging;
use cache::Cache;
use headwater_core::digest::Digest;
use headwater_core::id::Id;
use headwater_core::position::Position;
use headwater_core::record::Record;
use headwater_core::scope::Scope;
use headwater_core::store::snapshot::{Overlays, SnapshotLimits};
use headwater_core::store::{Collection, Effect, Progress, SnapshotError, Store, StoreError};
use pending::Pending;
pub(crate) use snapshot::SqliteSnapshot;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;

/// Bytes of entries kept in memory because they were used lately.
const CACHE_BYTES_MAX: usize = 16 << 20;

/// Bytes of pending changes at which they are stored without waiting for the host's timer.
const FLUSH_BYTES: usize = 512 << 10;

/// An object has 128 MB for everything.
const SNAPSHOT_LIMITS: SnapshotLimits = SnapshotLimits { open_max: 64, bytes_max: 8 << 20, bytes_total_max: 12 << 20 };

/// See the module. Clones share one store.
#[derive(Clone)]
pub(crate) struct SqliteStore(Rc<Inner>);

struct Inner {
    sql: Sql,
    overlays: Overlays,
    state: RefCell<State>,
}

struct State {
    instance: Id,
    progress: Progress,
    progress_changed: bool,
    /// The table of epochs as stored, so that it is written only when it changed.
    epochs_stored: Arc<headwater_core::position::EpochTable>,
    next_part: u64,
    next_part_stored: u64,
    /// What the tables hold; `None` before a state was complete.
    stored: Option<Position>,
    /// Collections met so far; all of them once `all_known`.
    known: BTreeMap<Arc<str>, Held>,
    all_known: bool,
    /// Names whose rows are to go, unless they are in `known` again.
    dropped: BTreeSet<Arc<str>>,
    /// Parts that became garbage and are not yet in its table.
    discarded: BTreeSet<u64>,
    /// Parts of collections dropped while snapshots show them: not to be swept before those are closed.
    shown: BTreeSet<u64>,
    pending: Pending,
    cache: Cache,
    staging: Option<Staging>,
    /// There may be something to fold or to sweep.
    unfolded: bool,
}

/// A collection: its facts, and where its entries are.
#[derive(Clone)]
struct Held {
    facts: Collection,
    parts: Parts,
    changed: bool,
}

/// Where a collection's entries are.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Parts {
    part: u64,
    /// Looked at before `part`: the last baseline's differences, not yet folded in.
    overlay: Option<u64>,
}

impl SqliteStore {
    /// Opens the store of an object; see [`schema::open`] for `scope` and `instance`. Costs the same whatever it holds.
    ///
    /// # Errors
    /// The database cannot be read or is of another format: nothing can be served.
    pub(crate) fn open(sql: Sql, scope: Scope, instance: Id) -> Result<Self, StoreError> {
        let opened = schema::open(&sql, scope, instance)?;
        let state = State {
            instance: opened.instance,
            epochs_stored: Arc::clone(&opened.progress.epochs),
            stored: opened.progress.complete.then_some(opened.progress.position),
            progress: opened.progress,
            progress_changed: false,
            next_part: opened.next_part,
            next_part_stored: opened.next_part,
            known: BTreeMap::new(),
            all_known: false,
            dropped: BTreeSet::new(),
            discarded: BTreeSet::new(),
            shown: BTreeSet::new(),
            pending: Pending::default(),
            cache: Cache::new(CACHE_BYTES_MAX),
            staging: None,
            unfolded: true,
        };
        Ok(Self(Rc::new(Inner { sql, overlays: Overlays::new(SNAPSHOT_LIMITS), state: RefCell::new(state) })))
    }

    /// The random id of this copy of the state.
    pub(crate) fn instance(&self) -> Id {
        self.0.state.borrow().instance
    }

    /// Gives this copy of the state another id.
    ///
    /// # Errors
    /// The database refused: the id stays until it is opened again.
    pub(crate) fn set_instance(&self, instance: Id) -> Result<(), StoreError> {
        schema::put(&self.0.sql, "instance", &instance.to_string())?;
        self.0.state.borrow_mut().instance = instance;
        Ok(())
    }

    /// Whether something applied is not stored yet.
    pub(crate) fn needs_flush(&self) -> bool {
        self.0.state.borrow().is_changed()
    }

    /// What the next opening would find.
    pub(crate) fn stored(&self) -> Option<Position> {
        self.0.state.borrow().stored
    }

    /// Whether so much is pending that the host should not wait for its timer.
    pub(crate) fn flush_is_due(&self) -> bool {
        self.0.state.borrow().pending.bytes() >= FLUSH_BYTES
    }

    /// Whether a baseline is being staged.
    #[cfg(feature = "selftest")]
    pub(crate) fn is_staging(&self) -> bool {
        self.0.state.borrow().staging.is_some()
    }

    /// Bytes the database takes on disk.
    pub(crate) fn bytes_stored(&self) -> u64 {
        self.0.sql.bytes()
    }
}

impl Inner {
    /// Where the collection is, and its facts.
    fn held(&self, state: &mut State, name: &str) -> Result<Option<Held>, StoreError> {
        if let Some(held) = state.known.get(name) {
            return Ok(Some(held.clone()));
        }
        if state.all_known || state.dropped.contains(name) {
            return Ok(None);
        }
        let query = format!("SELECT {COLUMNS} FROM collections WHERE name = ?");
        let held = self.sql.row(&query, &[Bind::Text(name)], read_collection)?;
        if let Some(held) = &held {
            state.known.insert(held.facts.name.clone(), held.clone());
        }
        Ok(held)
    }

    /// Brings all collections into memory: their facts, not their entries.
    fn know_all(&self, state: &mut State) -> Result<(), StoreError> {
        if !state.all_known {
            for held in self.sql.rows(&format!("SELECT {COLUMNS} FROM collections"), &[], read_collection)? {
                // What is known already may be newer than its row.
                if !state.dropped.contains(&held.facts.name) {
                    state.known.entry(held.facts.name.clone()).or_insert(held);
                }
            }
            state.all_known = true;
        }
        Ok(())
    }

    fn find(&self, state: &mut State, parts: Parts, key: &str) -> Result<Option<Record>, StoreError> {
        if let Some(held) = state.pending.find(parts.part, key) {
            return Ok(held);
        }
        if let Some(held) = state.cache.find(parts.part, key) {
            return Ok(held);
        }
        let mut held = None;
        for part in parts.overlay.into_iter().chain([parts.part]) {
            held = rows::find(&self.sql, part, key)?;
            if held.is_some() {
                break;
            }
        }
        let held = held.flatten();
        state.cache.put(parts.part, key, held.clone());
        Ok(held)
    }

    /// A piece of a collection as it is now.
    fn scan(&self, parts: Parts, from: Bound<&str>, limit: usize) -> Result<rows::Run, StoreError> {
        let mut run = rows::scan(&self.sql, parts.part, from, limit)?;
        if let Some(overlay) = parts.overlay {
            run = rows::scan(&self.sql, overlay, from, limit)?.over(run);
        }
        let pending = self.state.borrow().pending.run(parts.part, from, run.until.as_deref());
        Ok(pending.over(run))
    }
}

impl State {
    fn is_changed(&self) -> bool {
        // Every change of entries or collections moves the position too.
        self.progress_changed
    }

    fn new_part(&mut self) -> u64 {
        self.next_part += 1;
        self.next_part - 1
    }

    fn move_to(&mut self, position: Position, timestamp: u64) {
        (self.progress.position, self.progress.timestamp) = (position, timestamp);
        self.progress_changed = true;
    }
}

const COLUMNS: &str = "name, part, overlay, created, keys, last_seq, digest";

fn read_collection(row: &Row) -> Result<Held, StoreError> {
    let digest = Digest::from_hex(&row.text(6)?).ok_or_else(|| sql_error("collections.digest"))?;
    let facts = Collection {
        name: row.text(0)?.into(),
        created: row.number(3)?,
        keys: row.number(4)?,
        last_seq: row.number(5)?,
        digest,
    };
    Ok(Held { facts, parts: Parts { part: row.number(1)?, overlay: row.optional_number(2)? }, changed: false })
}

/// A row holds what this release never writes.
fn sql_error(place: &str) -> StoreError {
    StoreError(format!("{place} in the object's tables is not readable"))
}

impl Store for SqliteStore {
    type Snapshot = SqliteSnapshot;

    fn progress(&self) -> Progress {
        self.0.state.borrow().progress.clone()
    }

    fn position(&self) -> Position {
        self.0.state.borrow().progress.position
    }

    fn collection(&self, name: &str) -> Result<Option<Collection>, StoreError> {
        Ok(self.0.held(&mut self.0.state.borrow_mut(), name)?.map(|held| held.facts))
    }

    fn collections(&self) -> Result<Vec<Collection>, StoreError> {
        let mut state = self.0.state.borrow_mut();
        self.0.know_all(&mut state)?;
        Ok(state.known.values().map(|held| held.facts.clone()).collect())
    }

    fn record(&self, collection: &str, key: &str) -> Result<Option<Record>, StoreError> {
        let mut state = self.0.state.borrow_mut();
        match self.0.held(&mut state, collection)? {
            Some(held) => self.0.find(&mut state, held.parts, key),
            None => Ok(None),
        }
    }

    fn snapshot(&self) -> Result<Self::Snapshot, SnapshotError> {
        SqliteSnapshot::open(&self.0, |overlays, position| overlays.open(position))
    }

    fn snapshot_for_reader(&self, mono_ms: u64) -> Result<Self::Snapshot, SnapshotError> {
        SqliteSnapshot::open(&self.0, |overlays, position| overlays.open_for_reader(position, mono_ms))
    }

    fn apply(&self, effect: &Effect<'_>, position: Position, timestamp: u64) -> Result<(), StoreError> {
        let mut state = self.0.state.borrow_mut();
        match effect {
            Effect::None => {}
            Effect::Create(facts) => {
                let parts = Parts { part: state.new_part(), overlay: None };
                let held = Held { facts: facts.clone(), parts, changed: true };
                state.known.insert(facts.name.clone(), held);
            }
            Effect::Drop(facts) => {
                let held = self.0.held(&mut state, &facts.name)?.ok_or_else(|| missing(&facts.name))?;
                state.known.remove(&facts.name);
                state.dropped.insert(facts.name.clone());
                let parts = held.parts.overlay.into_iter().chain([held.parts.part]);
                if self.0.overlays.any_open() {
                    // Open snapshots go on reading these parts, what is pending for them included.
                    state.shown.extend(parts.clone());
                } else {
                    state.pending.forget(held.parts.part);
                }
                state.discarded.extend(parts);
                state.unfolded = true;
            }
            Effect::Write { before, after, writes } => {
                let mut held = self.0.held(&mut state, &after.name)?.ok_or_else(|| missing(&after.name))?;
                self.0.overlays.replacing(before, writes);
                for write in *writes {
                    let was_long = write.old.as_ref().is_some_and(|old| !rows::Batch::takes(old));
                    state.pending.put(held.parts.part, write.key, write.new.clone(), was_long);
                }
                held.facts = after.clone();
                held.changed = true;
                state.known.insert(after.name.clone(), held);
            }
        }
        state.move_to(position, timestamp);
        Ok(())
    }

    fn set_progress(&self, progress: &Progress) -> Result<(), StoreError> {
        let mut state = self.0.state.borrow_mut();
        state.progress_changed |= state.progress != *progress;
        state.progress = progress.clone();
        Ok(())
    }

    fn stage(&self) -> Result<(), StoreError> {
        self.begin_staging()
    }

    fn stage_records(&self, collection: &str, records: &[Record]) -> Result<(), StoreError> {
        self.add_to_staging(collection, records)
    }

    fn swap(&self, collections: Vec<Collection>, progress: &Progress) -> Result<(), StoreError> {
        self.swap_staging(collections, progress)
    }

    fn unstage(&self) -> Result<(), StoreError> {
        self.give_up_staging();
        Ok(())
    }
}

fn missing(collection: &str) -> StoreError {
    StoreError(format!("a change to the collection {collection:?}, which is not held"))
}
