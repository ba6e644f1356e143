//! The write-ahead log: one seam, and the backends behind it.
//!
//! A log is a numbered list of command lines with *meta* stored beside each line. [`connect`] turns a URL into a [`Wal`];
//! [`Wal::open`] fences every older writer, hands what the log holds to the caller and returns the [`Appender`] and a
//! [`LogReader`], all in one step, so nobody can append to a log whose end they have not seen.
//!
//! # What the caller must do
//!
//! 1. Write the EPOCH command of [`Opened::epoch`] as the first record of the opening; every appender refuses another.
//! 2. Publish and acknowledge a record only after [`Appender::append`] returned `Ok` for it.
//! 3. After any error from `append`: acknowledge nothing, and call [`Wal::open`] again on the same [`Wal`], with
//!    [`OpenOptions::replay_after`] at the last record it applied. The old appender refuses everything from then on.
//!
//! # Threads
//!
//! The seam is asynchronous because databases and brokers are. The memory and file backends do their work inside the
//! first poll, on the caller's thread, and never wait for anything else: a writer that owns a thread (a current-thread
//! runtime, or `block_on`) pays no hand-off between taking a group from its queue, having it on disk and answering for
//! it. Do not poll a file appender on a thread that serves connections: a sync can take seconds. Readers are different:
//! they are called from streams, and the file log's reader moves its work to the blocking pool by itself.
//!
//! # What this module does not do
//!
//! It does not look into lines: what must be known about a record (its seq, whether it opens an epoch) is said beside it.
//! It does not decide when a baseline is stored or what may be trimmed; a [`Keeper`] does both when told to.

pub mod error;
pub mod file;
pub mod group;
pub mod keeper;
pub mod manifest;
pub mod memory;
pub mod opening;
mod replace;
pub mod storage;
pub mod url;

#[cfg(test)]
mod conformance;

use bytes::Bytes;
use headwater_core::id::Id;
use headwater_core::position::{EpochTable, Position};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

pub use error::{AppendCause, AppendError, OpenError, ReadError, ReplayRefused};
pub use group::{Group, GroupBuilder};
pub use keeper::{BaselinePiece, BaselineSink, Keeper, Retention, StateFacts, StoredBaseline, Usage};
pub use manifest::MANIFEST_FILE;
pub use opening::OpenOptions;
pub use url::WalUrl;

/// A future that can be kept in a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What takes the content of a log while it is opened: the stored baseline, if there is one, then the records behind it in
/// the order of their seq.
///
/// What it returns an error for ends the opening with [`OpenError::Refused`]: a record that cannot be applied must stop
/// a writer before it appends behind it.
pub type Replay<'a> = dyn FnMut(Replayed<'_>) -> Result<(), ReplayRefused> + Send + 'a;

/// One piece of what a log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed<'a> {
    /// A piece of the stored baseline, as it was handed to [`BaselineSink::push`].
    Baseline(BaselinePiece<'a>),
    /// A record behind it.
    Record(Record<'a>),
}

/// One record of the log as replay shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Place in the log.
    pub seq: u64,
    /// The command line, without its newline.
    pub line: &'a [u8],
    /// What is stored beside the line and never streamed.
    pub meta: &'a [u8],
    /// The epoch that this record opens, when it is an EPOCH command and a writer wrote it.
    pub epoch: Option<u64>,
    /// Whether the line is in its canonical form: a writer wrote it. Otherwise a replica did, as its parent sent it.
    pub is_canonical: bool,
}

/// A place where a log lives. One value per log and process: it holds the lock, if the backend has one, from the first
/// [`Wal::open`] until it and its appenders are dropped.
pub trait Wal: Send {
    /// Opens the log, or opens it again after a failure.
    ///
    /// On return every older appender is fenced, everything `replay` was shown is durable, and the epoch is reserved: it
    /// will not be given out again even if nothing is written in it. `replay` is called during the opening, so what it
    /// builds must not be served before this returns `Ok`. Opening is repeatable: cut short anywhere, the next one
    /// finds the same records.
    ///
    /// # Errors
    /// See [`OpenError`]; [`OpenError::is_transient`] tells what is worth trying again.
    fn open<'a>(
        &'a mut self,
        options: &'a OpenOptions,
        replay: &'a mut Replay<'_>,
    ) -> BoxFuture<'a, Result<Opened, OpenError>>;

    /// Whether the log lets go of its oldest records by itself, so that [`LogReader::floor`] rises.
    fn forgets(&self) -> bool;

    /// Bytes that the medium has left; `None` where that cannot be told.
    fn free_bytes(&self) -> Option<u64> {
        None
    }
}

/// An open log.
pub struct Opened {
    /// The deployment the log belongs to.
    pub cluster: Id,
    /// The number of this opening, above every earlier one; the caller writes its EPOCH command first.
    pub epoch: u64,
    /// The last takeover of the log, for its EPOCH command; 0 for none.
    pub takeover: u64,
    /// Where the log ended; `None` when it holds nothing. The next record is numbered one above, or 1.
    pub last: Option<Position>,
    /// The epochs found, this opening's not yet among them.
    pub epochs: EpochTable,
    /// Where records are added.
    pub appender: Box<dyn Appender>,
    /// Where streams read what fell out of memory. Readers of an earlier opening keep showing what was durable then.
    pub reader: Arc<dyn LogReader>,
    /// Stores baselines and trims; `None` where the log does without.
    pub keeper: Option<Arc<dyn Keeper>>,
    /// What recovery had to cut off; `None` when the log ended cleanly. Worth a warning in the log.
    pub recovered: Option<Recovered>,
}

impl Opened {
    /// The seq that the next record must carry.
    pub fn next_seq(&self) -> u64 {
        self.last.map_or(0, |last| last.seq) + 1
    }
}

/// What opening removed behind the last valid record: bytes of writes that were never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The file that was cut.
    pub file: String,
    /// Its length after the cut.
    pub offset: u64,
    /// Bytes removed.
    pub truncated_bytes: u64,
}

/// Adds records at the end of the log.
pub trait Appender: Send {
    /// Makes `group` durable as one step and returns only then.
    ///
    /// After the first error, of either kind, every call fails with [`AppendCause::Poisoned`].
    ///
    /// # Errors
    /// [`AppendError::NotDone`]: none of the group is or will be in the log. [`AppendError::Unknown`]: any prefix of it
    /// may be found by the next opening.
    fn append<'a>(&'a mut self, group: &'a Group) -> BoxFuture<'a, Result<(), AppendError>>;

    /// Seals what was written up to here, so that it can be archived; nothing where nothing was written since the last time,
    /// or the log has no parts to seal.
    ///
    /// # Errors
    /// As [`Appender::append`] of a group without records.
    fn seal(&mut self) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(async { Ok(()) })
    }

    /// Ends the opening in an orderly way, so that the next one can tell damage at the very end from a torn write.
    ///
    /// # Errors
    /// Nothing acknowledged is lost by an error here; the next opening merely knows less.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), OpenError>>;
}

/// Reads durable records back, for streams whose place has left the feed. Shared by cloning the `Arc`.
pub trait LogReader: Send + Sync {
    /// The lowest seq from which everything is still held; one above the head when nothing is.
    fn floor(&self) -> u64;

    /// The seq up to which everything is durable. In a replica's log it may lie beyond the last line: its scope leaves
    /// some out.
    fn through(&self) -> u64;

    /// Reads lines from `from` on, until `bytes_max` bytes are reached or the durable end. `None`: the log does not reach
    /// to `from` yet.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn read(&self, from: u64, bytes_max: usize) -> BoxFuture<'_, Result<Option<Chunk>, ReadError>>;
}

/// All that a log holds from the seq asked for up to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The lines, each ended by `\n`, at least one however long. None only in a replica's log, where there are none up
    /// to its end.
    pub lines: Bytes,
    /// The seq up to which they are all: the last line's, or at the end of the log what is durable.
    pub through: u64,
}

/// Turns a URL into the log it names, without touching it yet.
///
/// `data` is the node's data directory: the memory log keeps its cluster id and last epoch there. `files` is for logs made
/// of files.
pub fn connect(url: &WalUrl, data: Option<&Path>, files: file::FileOptions) -> Box<dyn Wal> {
    match url {
        WalUrl::Memory(bounds) => Box::new(memory::MemoryWal::new(*bounds, data)),
        WalUrl::File(directory) => Box::new(file::FileWal::new(directory, files)),
    }
}
