//! The file log: a directory with a lock, a manifest, segments of framed records, and a stored baseline.
//!
//! # What it promises
//!
//! An acknowledged record survives the kill of the process and, with [`SyncMode::Group`], the loss of power, on a medium
//! that keeps what `fdatasync` returned for and does not change bytes that are not being written. Bytes that are being
//! written when power is lost may be the old ones, the new ones or garbage; nothing that may have been acknowledged is
//! ever written over. It does not survive the loss of the medium. Bytes that change later are found when the log is read,
//! and the log then refuses to open; only in what was appended after the last sync that a record tells of can a changed
//! byte not be told from a torn write, unless the log was closed in an orderly way. Two processes are kept apart by a
//! lock on a local file system.
//!
//! # How
//!
//! One append is one write and one `fdatasync`. A write is begun only after the sync of the one before it, and the first
//! failure ends the opening: nothing is written behind bytes whose fate is unknown. So at most the last write is torn,
//! and the scan at the next opening can tell a torn write from damage. With [`SyncMode::Interval`] more than one write may
//! be without a sync, and each group says how many bytes before it are. The manifest is replaced at each opening, before
//! anything is appended, and whenever the list of files changes: it reserves the epoch, names the files and their order,
//! and says up to where everything is durable. After an end that was not orderly what is not known to be durable is copied
//! to a new segment.
//!
//! Forms: `frame` (what files are made of), `header` (how they begin), [`super::manifest`].

mod baseline;
pub mod create;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod header;
mod index;
pub mod inspect;
mod keeping;
mod making;
pub mod promote;
pub mod reading;
mod recover;
mod releasing;
pub mod repair;
pub mod replica;
mod scan;
mod scanned;
mod segment;
mod survey;
mod syncing;
mod tail;
#[cfg(test)]
mod tests;
mod trim;
mod view;
mod walk;

use super::error::{AppendError, OpenError};
use super::group::Group;
use super::manifest::{Backend, MANIFEST_FILE, add_epochs};
use super::opening::{Gate, OpenOptions};
use super::storage::{Directory, Lock, Storage};
use super::{Appender, BoxFuture, Opened, Record, Replay, Replayed, Wal};
use frame::{FrameContent, Kind};
use header::{FileKind, Origin};
use headwater_core::position::{EpochStart, Position};
use keeping::Keeping;
use recover::{Recovering, Recovery, read_or_create};
use scan::Shape;
use std::path::PathBuf;
use std::sync::Arc;
use syncing::Synced;
use tail::{Tail, TailEnd, TailOptions};
use view::{View, ViewReader};

pub(super) use recover::lock;
pub use replica::ReplicaLog;
pub use syncing::SyncMode;
pub use trim::FileKeeper;

/// How a file log is written. What is there already is read whatever it was written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// Length in bytes from which a segment takes no further group.
    pub segment_bytes: u64,
    /// Bytes of room that are made ready ahead of the end, 0 for none: then a sync need not write down a new length of the
    /// file each time, which takes a quarter off a small group's.
    pub room_bytes: u64,
    /// When what is written becomes durable.
    pub sync: SyncMode,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, room_bytes: 1 << 20, sync: SyncMode::Group }
    }
}

/// A log in a directory.
pub struct FileWal {
    storage: Arc<dyn Storage>,
    options: FileOptions,
    lock: Option<Arc<Lock>>,
    /// The one manifest, whoever changes it: what stores a baseline goes on over a reopening.
    keeping: Option<Arc<Keeping>>,
    current: Option<(Arc<View>, Synced)>,
    /// A segment and up to where it is durable, from the first reopening on until one succeeds.
    known_synced: Option<(u32, u64)>,
}

impl FileWal {
    /// Names the log in `directory`, which need not exist yet.
    pub fn new(directory: impl Into<PathBuf>, options: FileOptions) -> Self {
        Self::on(Arc::new(Directory::new(directory)), options)
    }

    /// Names the log on a medium of the caller's.
    pub fn on(storage: Arc<dyn Storage>, options: FileOptions) -> Self {
        Self { storage, options, lock: None, keeping: None, current: None, known_synced: None }
    }

    fn open_now(&mut self, options: &OpenOptions, replay: &mut Replay<'_>) -> Result<Opened, OpenError> {
        let storage = &*self.storage;
        if let Some((view, synced)) = self.current.take() {
            view.fence();
            self.known_synced = Some(synced.place());
        }
        let lock = match &self.lock {
            Some(lock) => lock.clone(),
            None => self.lock.insert(Arc::new(lock(storage, options)?)).clone(),
        };
        let keeping = match &self.keeping {
            Some(keeping) => keeping.clone(),
            None => {
                let manifest = read_or_create(storage, Backend::File, Origin::Writer)?;
                self.keeping.insert(Arc::new(Keeping::open(self.storage.clone(), manifest)?)).clone()
            }
        };
        // Nobody changes the files from here until the new opening has its manifest.
        let mut held = keeping.lock();
        let new_file = keeping.new_file_under(&mut held, FileKind::Segment)?;
        let mut manifest = held.clone();
        let cluster = options.decide_cluster(manifest.cluster)?;
        let epoch = options.decide_epoch((manifest.epoch > 0).then_some(manifest.epoch))?;

        let files = manifest.files.take().expect("read_or_create makes sure");
        if let Some(baseline) = files.baseline.as_ref().filter(|_| options.replay_after == 0) {
            baseline::read(storage, baseline, &mut |piece| replay(Replayed::Baseline(piece)))?;
        }
        let mut visit = |frame: &FrameContent<'_>, origin: Origin| match frame.kind {
            Kind::Line | Kind::Epoch if frame.seq <= options.replay_after => Ok(()),
            Kind::Line | Kind::Epoch => {
                let line = frame.text.strip_suffix(b"\n").ok_or("the line has no end")?;
                let is_canonical = origin == Origin::Writer;
                let FrameContent { seq, meta, epoch, .. } = *frame;
                replay(Replayed::Record(Record { seq, line, meta, epoch, is_canonical }))
            }
            // How far the replica was whose log this once was: its lines tell as much.
            Kind::Progress if origin == Origin::Replica => Ok(()),
            Kind::Baseline | Kind::Beside | Kind::Progress => Err("a frame that has no place in a writer's log".into()),
        };
        let recovering = Recovering {
            storage,
            shape: Shape::Writer,
            origin: Origin::Writer,
            opening: manifest.opening,
            known_synced: self.known_synced,
            new_file: &new_file,
            segment_bytes: self.options.segment_bytes,
        };
        let Recovery { files, segments, end, follows, epochs, recovered } = recovering.recover(files, &mut visit)?;

        let contradiction = |detail: &str| OpenError::damaged(&storage.path(MANIFEST_FILE), 0, detail);
        add_epochs(&mut manifest.epochs, epochs).map_err(contradiction)?;
        let last = match follows.last {
            0 => None,
            seq => {
                let epoch = manifest.epochs.epoch_of(seq);
                let epoch = epoch.ok_or_else(|| contradiction("no epoch is known for the last record"))?;
                Some(Position { epoch, seq })
            }
        };
        manifest.cluster = Some(cluster);
        manifest.epoch = epoch;
        manifest.opening =
            manifest.opening.checked_add(1).ok_or_else(|| contradiction("the log was opened too many times"))?;
        manifest.files = Some(files);
        let new_file = new_file.unless_unused(&manifest);
        keeping.write(&mut held, manifest.clone())?;
        drop((held, new_file));

        let view = Arc::new(View::new(segments));
        let tail_options = TailOptions { files: self.options, origin: Origin::Writer };
        let end = TailEnd { offset: end, sum: follows.sum, opening: manifest.opening };
        let tail = Tail::new(keeping.clone(), view.clone(), lock.clone(), tail_options, end);
        let synced = tail.synced();
        self.current = Some((view.clone(), synced.clone()));
        self.known_synced = None;
        Ok(Opened {
            cluster,
            epoch,
            takeover: manifest.takeover,
            last,
            epochs: manifest.epochs,
            appender: Box::new(FileAppender {
                keeping: keeping.clone(),
                tail,
                gate: Gate::new(epoch, follows.last + 1),
            }),
            reader: Arc::new(ViewReader(view.clone())),
            keeper: Some(Arc::new(FileKeeper { lock: lock.clone(), keeping, view, origin: Origin::Writer, synced })),
            recovered,
        })
    }
}

impl Wal for FileWal {
    fn open<'a>(
        &'a mut self,
        options: &'a OpenOptions,
        replay: &'a mut Replay<'_>,
    ) -> BoxFuture<'a, Result<Opened, OpenError>> {
        Box::pin(async move { self.open_now(options, replay) })
    }

    fn forgets(&self) -> bool {
        false
    }

    fn free_bytes(&self) -> Option<u64> {
        self.storage.free_bytes()
    }
}

struct FileAppender {
    keeping: Arc<Keeping>,
    tail: Tail,
    gate: Gate,
}

impl FileAppender {
    fn append_now(&mut self, group: &Group) -> Result<(), AppendError> {
        self.gate.enter(false, group).map_err(AppendError::NotDone)?;
        self.tail.append(group.records().map(|record| FrameContent {
            kind: if record.epoch.is_some() { Kind::Epoch } else { Kind::Line },
            seq: record.seq,
            epoch: record.epoch,
            meta: record.meta,
            text: record.line,
        }))?;
        for record in group.records() {
            if let Some(epoch) = record.epoch {
                // No manifest may know of an epoch whose record a power cut takes away: the next opening, which begins at
                // the same seq, would not be told from it.
                self.tail.sync()?;
                self.keeping.learn(EpochStart { epoch, first: record.seq });
            }
        }
        self.gate.done(group);
        Ok(())
    }
}

impl Appender for FileAppender {
    fn append<'a>(&'a mut self, group: &'a Group) -> BoxFuture<'a, Result<(), AppendError>> {
        Box::pin(async move { self.append_now(group) })
    }

    fn seal(&mut self) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(async move { self.tail.seal() })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), OpenError>> {
        Box::pin(async move { self.tail.finish() })
    }
}
