//! The file log: a directory with a lock, a manifest and a segment of framed records.
//!
//! # What it promises
//!
//! An acknowledged record survives the kill of the process and the loss of power, on a medium that keeps what
//! `fdatasync` returned for and does not change bytes that are not being written. Bytes that are being written when power
//! is lost may be the old ones, the new ones or garbage, so no acknowledged record is ever the only copy of itself while
//! it is written again. It does not survive the loss of the medium. Bytes that change later are found when the log is read, and the log
//! then refuses to open; only in the records of the very last append can a changed byte not be told from a torn write,
//! unless the log was closed in an orderly way. Two processes are kept apart by a lock on a local file system.
//!
//! # How
//!
//! One append is one write and one `fdatasync`. A write is begun only after the sync of the one before it, and the first
//! failure ends the opening: nothing is written behind bytes whose fate is unknown. So at most the last write is torn,
//! and the scan at the next opening can tell a torn write from damage. The manifest is replaced at each opening, before
//! anything is appended: it reserves the epoch, and says up to where everything is durable. After an end that was not
//! orderly the last group is written again, from a spare copy that was made durable first (the module `spare` says why).
//!
//! It does not trim, seal or compress segments.

mod frame;
mod index;
mod recover;
pub mod replica;
mod scan;
mod segment;
mod spare;
#[cfg(test)]
mod tests;
mod walk;

use super::error::{AppendError, OpenError};
use super::group::Group;
use super::manifest::{Backend, MANIFEST_FILE, Manifest, SegmentPlace};
use super::opening::{Gate, OpenOptions};
use super::storage::{Directory, Lock, Storage};
use super::{Appender, BoxFuture, Opened, Record, Replay, Wal};
use frame::{FrameContent, Kind};
use headwater_core::position::Position;
use recover::{Recovery, read_or_create, recover};
use scan::Shape;
use segment::{Durable, SegmentEnd, SegmentReader, SegmentWriter, Shared, segment_name};
use std::path::PathBuf;
use std::sync::Arc;

pub(super) use recover::lock;
pub use replica::ReplicaLog;

/// A log in a directory.
pub struct FileWal {
    storage: Arc<dyn Storage>,
    lock: Option<Arc<Lock>>,
    current: Option<Arc<Shared>>,
    /// Up to where the segment is durable, from the first reopening on until one succeeds.
    known_synced: Option<u64>,
}

impl FileWal {
    /// Names the log in `directory`, which need not exist yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self::on(Arc::new(Directory::new(directory)))
    }

    /// Names the log on a medium of the caller's.
    pub fn on(storage: Arc<dyn Storage>) -> Self {
        Self { storage, lock: None, current: None, known_synced: None }
    }

    fn open_now(&mut self, options: &OpenOptions, replay: &mut Replay<'_>) -> Result<Opened, OpenError> {
        let storage = &*self.storage;
        if let Some(older) = self.current.take() {
            self.known_synced = Some(older.fence());
        }
        let lock = match &self.lock {
            Some(lock) => lock.clone(),
            None => self.lock.insert(Arc::new(lock(storage, options)?)).clone(),
        };
        let (mut manifest, place) = read_or_create(storage, Backend::File)?;
        let cluster = options.decide_cluster(manifest.cluster)?;
        let epoch = options.decide_epoch((manifest.epoch > 0).then_some(manifest.epoch))?;

        let mut visit = |frame: &FrameContent<'_>| match frame.kind {
            Kind::Line | Kind::Epoch if frame.seq <= options.replay_after => Ok(()),
            Kind::Line | Kind::Epoch => {
                let line = frame.text.strip_suffix(b"\n").ok_or("the line has no end")?;
                replay(Record { seq: frame.seq, line, meta: frame.meta, epoch: frame.epoch })
            }
            Kind::Baseline | Kind::Progress => Err("a replica's frame in a writer's log".into()),
        };
        let Recovery { file, found, recovered } =
            recover(storage, Shape::Writer, manifest.opening, place, self.known_synced, &mut visit)?;

        let path = storage.path(&segment_name(place.number));
        let contradiction = |detail: &str| OpenError::damaged(&storage.path(MANIFEST_FILE), 0, detail);
        for &start in &found.epochs {
            if manifest.epochs.newest().is_none_or(|newest| start.epoch > newest.epoch) && !manifest.epochs.push(start)
            {
                return Err(contradiction("the epochs of the segment do not follow the manifest's"));
            }
        }
        let last = match found.last {
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
        manifest.segment = Some(SegmentPlace { number: place.number, start: found.end, synced: found.end });
        manifest.write(storage)?;

        let (through, index) = (found.through, found.index);
        let durable = Durable { end: found.end, floor: found.floor, last: found.last, through, index };
        let shared = Arc::new(Shared::new(file, path, found.salt, durable));
        self.current = Some(shared.clone());
        self.known_synced = None;
        let end = SegmentEnd { offset: found.end, sum: found.sum, opening: manifest.opening };
        let appender = FileAppender {
            writer: SegmentWriter::new(shared.clone(), lock, end),
            gate: Gate::new(epoch, found.last + 1),
            storage: self.storage.clone(),
            manifest: manifest.clone(),
        };
        Ok(Opened {
            cluster,
            epoch,
            last,
            epochs: manifest.epochs,
            appender: Box::new(appender),
            reader: Arc::new(SegmentReader(shared)),
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
}

struct FileAppender {
    writer: SegmentWriter,
    gate: Gate,
    storage: Arc<dyn Storage>,
    manifest: Manifest,
}

impl FileAppender {
    fn append_now(&mut self, group: &Group) -> Result<(), AppendError> {
        self.gate.enter(false, group).map_err(AppendError::NotDone)?;
        self.writer.append(group.records().map(|record| FrameContent {
            kind: if record.epoch.is_some() { Kind::Epoch } else { Kind::Line },
            seq: record.seq,
            epoch: record.epoch,
            meta: record.meta,
            text: record.line,
        }))?;
        self.gate.done(group);
        Ok(())
    }

    /// Notes in the manifest that everything acknowledged is durable, so that damage to it is never taken for a torn
    /// write. Not after a failure: then the next opening has to look.
    fn close_now(mut self) -> Result<(), OpenError> {
        self.writer.finish(|synced| {
            if let Some(place) = &mut self.manifest.segment {
                place.synced = synced;
            }
            self.manifest.write(&*self.storage)
        })
    }
}

impl Appender for FileAppender {
    fn append<'a>(&'a mut self, group: &'a Group) -> BoxFuture<'a, Result<(), AppendError>> {
        Box::pin(async move { self.append_now(group) })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), OpenError>> {
        Box::pin(async move { self.close_now() })
    }
}
