//! The store: what a node holds, behind a small synchronous trait that memory and SQLite both can keep.
//!
//! A store keeps entries, the facts of each collection, and how far along history they are ([`Progress`]). It neither
//! judges commands nor counts digests: [`crate::apply`] works out the [`Effect`] of a command, the store carries it out.
//! All methods take `&self`; one caller at a time changes a store, any number may read it meanwhile.

mod lock;
pub mod memory;
#[cfg(any(test, feature = "model"))]
pub mod model;
mod progress;
pub mod scan;
pub mod snapshot;

pub use progress::{InvalidProgress, Progress, UnknownFeature, check_features};

use crate::digest::Digest;
use crate::position::Position;
use crate::record::Record;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Bound;

/// Facts of one collection, kept up to date with every write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Its name.
    pub name: Arc<str>,
    /// Seq of the CREATE that made it.
    pub created: u64,
    /// Entries held.
    pub keys: u64,
    /// Seq of the last command applied to it, its CREATE included.
    pub last_seq: u64,
    /// Sum of its entries' digests.
    pub digest: Digest,
}

impl Collection {
    /// A collection just created, without entries.
    pub fn new(name: Arc<str>, created: u64) -> Self {
        Self { name, created, keys: 0, last_seq: created, digest: Digest::EMPTY }
    }
}

/// What one command changes, worked out by [`crate::apply`].
#[derive(Debug)]
pub enum Effect<'a> {
    /// Nothing but the position.
    None,
    /// A new, empty collection.
    Create(Collection),
    /// A collection and all its entries go.
    Drop(&'a Collection),
    /// Entries of one collection change, each at most once.
    Write {
        /// The collection's facts before.
        before: &'a Collection,
        /// The collection's facts after.
        after: Collection,
        /// The entries, in the command's order.
        writes: &'a [Write<'a>],
    },
}

/// One entry before and after.
#[derive(Debug)]
pub struct Write<'a> {
    /// Its key.
    pub key: &'a str,
    /// What the store held, `None` for nothing.
    pub old: Option<Record>,
    /// What it holds from now on, `None` for nothing.
    pub new: Option<Record>,
}

/// The store's medium failed; what it held before the call is unchanged. The caller stops applying and reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError(pub String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store failed: {}", self.0)
    }
}

impl core::error::Error for StoreError {}

/// Keeps entries, collections and progress. See the module for who does what.
pub trait Store {
    /// An exact picture as of one position, readable while writes go on.
    type Snapshot: Snapshot;

    /// How far the state is. Load it *before* an entry, and the entry is at least as new.
    fn progress(&self) -> Progress;

    /// The position alone, cheap enough for every read.
    fn position(&self) -> Position;

    /// Facts of one collection, `None` when it does not exist.
    fn collection(&self, name: &str) -> Result<Option<Collection>, StoreError>;

    /// Facts of all collections, in name order.
    fn collections(&self) -> Result<Vec<Collection>, StoreError>;

    /// One entry.
    fn record(&self, collection: &str, key: &str) -> Result<Option<Record>, StoreError>;

    /// Takes an exact picture of the present state, for the node itself: a baseline, a copy on its disk.
    ///
    /// # Errors
    /// [`SnapshotError::TooMany`] when the cap of open snapshots is reached: answer 503 and let the client come back.
    fn snapshot(&self) -> Result<Self::Snapshot, SnapshotError>;

    /// As [`Store::snapshot`], for a client that may read it as slowly as it likes: out of a share of its own, and not
    /// for ever ([`snapshot::READER_AGE_MS_MAX`]). `mono_ms` is the time now on the monotonic clock.
    ///
    /// # Errors
    /// The same.
    fn snapshot_for_reader(&self, mono_ms: u64) -> Result<Self::Snapshot, SnapshotError>;

    /// Carries out the effect of one command of `timestamp` and moves to `position`, as one step: no snapshot shows half
    /// of it.
    fn apply(&self, effect: &Effect<'_>, position: Position, timestamp: u64) -> Result<(), StoreError>;

    /// Replaces the progress, position included; durable no earlier than the effects applied before it.
    fn set_progress(&self, progress: &Progress) -> Result<(), StoreError>;

    /// Begins a baseline apart from the state, throwing away one begun before. No command is applied from here on until
    /// it is swapped in or thrown away, so that a store may stage the difference from its state.
    fn stage(&self) -> Result<(), StoreError>;

    /// Adds records, in key order and behind those added before, to a collection of the staged baseline.
    /// Collections come one after the other in name order; one without records is staged with an empty list.
    fn stage_records(&self, collection: &str, records: &[Record]) -> Result<(), StoreError>;

    /// Makes the staged baseline the state, in constant time: nothing else exists afterwards. `collections` are the
    /// facts of what was staged, in name order; no entry is of a seq above the position of `progress`. Snapshots of the state before stay exact, or are given up.
    fn swap(&self, collections: Vec<Collection>, progress: &Progress) -> Result<(), StoreError>;

    /// Throws the staged baseline away.
    fn unstage(&self) -> Result<(), StoreError>;
}

/// Why a snapshot could not be taken or read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// As many snapshots are open as may be: try again later.
    TooMany,
    /// It outgrew its share of memory or was closed by the host: begin again with a new one.
    Gone,
    /// The medium failed.
    Store(StoreError),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => f.write_str("too many snapshots are open"),
            Self::Gone => f.write_str("the snapshot was given up: too much changed under it"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SnapshotError {}

/// An exact picture of a store as of [`Snapshot::progress`].
pub trait Snapshot {
    /// How far along history the picture is.
    fn progress(&self) -> &Progress;

    /// All collections in name order.
    fn collections(&self) -> &[Collection];

    /// Up to `limit` entries of a collection in key order, from `from` on.
    ///
    /// # Errors
    /// [`SnapshotError::Gone`] when the snapshot was given up; [`SnapshotError::Store`] when the medium failed.
    fn scan(&self, collection: &str, from: Bound<&str>, limit: usize) -> Result<Page, SnapshotError>;
}

/// A piece of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Entries in key order; may be empty although more follow.
    pub records: Vec<Record>,
    /// Where to go on, behind this key; `None` when the collection is exhausted.
    pub next: Option<String>,
}
