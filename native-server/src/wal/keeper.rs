//! What bounds a log: stored baselines, so that a start need not read everything ever written, and trimming, so that the
//! medium need not hold it.

use super::error::OpenError;
use super::{BoxFuture, LogReader};
use headwater_core::id::Id;
use headwater_core::position::EpochTable;
use std::sync::Arc;
use std::time::Duration;

/// Stores baselines and trims, beside the appender and without keeping it from appending. One baseline at a time is the
/// caller's to see to.
pub trait Keeper: Send + Sync {
    /// What the log takes up.
    fn usage(&self) -> Usage;

    /// The segments that take no further record, oldest first: of each the seq before its first record and that of its
    /// last. One without records is left out.
    fn sealed(&self) -> Vec<(u64, u64)>;

    /// The deployment and the openings up to now.
    fn history(&self) -> (Option<Id>, EpochTable);

    /// Reads the records back.
    fn reader(&self) -> Arc<dyn LogReader>;

    /// Begins a baseline that is exact at `seq`, which must be durable in this log.
    ///
    /// # Errors
    /// [`OpenError::Io`]; the log is as it was.
    fn begin(&self, seq: u64) -> BoxFuture<'_, Result<Box<dyn BaselineSink>, OpenError>>;

    /// Lets go of records that the stored baseline covers and `retention` does not keep, whole segments at a time.
    /// `wanted_from` is the lowest seq that somebody who is connected still has to read.
    ///
    /// # Errors
    /// [`OpenError::Io`]; nothing is lost, and another time may let go of the same.
    fn trim<'a>(&'a self, retention: &'a Retention, wanted_from: Option<u64>) -> BoxFuture<'a, Result<u64, OpenError>>;
}

/// Takes one baseline. Dropped before [`BaselineSink::finish`], it changes nothing.
pub trait BaselineSink: Send {
    /// Adds a piece, behind those before.
    ///
    /// # Errors
    /// [`OpenError::Io`]; the baseline is of no use any more, and the log is as it was.
    fn push<'a>(&'a mut self, piece: BaselinePiece<'a>) -> BoxFuture<'a, Result<(), OpenError>>;

    /// Makes the baseline durable, and what the next opening begins with.
    ///
    /// # Errors
    /// [`OpenError::Io`]; the next opening begins with the older one or with this one.
    fn finish(self: Box<Self>, facts: StateFacts) -> BoxFuture<'static, Result<(), OpenError>>;
}

/// One piece of a stored baseline, no longer than the longest line. Opaque here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaselinePiece<'a> {
    /// Whole lines, as a stream's baseline has them, each ended by `\n`.
    Lines(&'a [u8]),
    /// What belongs to the state and lines do not say, as JSON.
    Beside(&'a [u8]),
    /// How far the state is: the last piece.
    Progress(&'a [u8]),
}

/// What a state is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFacts {
    /// The seq it is exact at.
    pub seq: u64,
    /// Entries in it.
    pub keys: u64,
    /// Its digest, as the stream writes it.
    pub digest: String,
}

/// What a log keeps though a stored baseline covers it, so that children which were away can go on from where they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Bytes of the log that are kept however old they are...
    pub bytes: u64,
    /// ...unless they are older than this.
    pub age: Duration,
    /// Bytes of the log up to which more is kept for children that are connected and have yet to read it.
    pub bytes_max: u64,
}

/// What a log takes up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all segments.
    pub log_bytes: u64,
    /// Bytes of the segments that a start has to apply, beside the baseline.
    pub replay_bytes: u64,
    /// Segments.
    pub segments: u64,
    /// The stored baseline: the seq it is exact at, its bytes and entries.
    pub baseline: Option<StoredBaseline>,
}

/// A stored baseline, from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBaseline {
    /// The seq it is exact at.
    pub seq: u64,
    /// Length of its file.
    pub bytes: u64,
    /// Entries in it.
    pub keys: u64,
}
