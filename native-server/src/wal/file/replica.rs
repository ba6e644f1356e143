//! A replica's own disk, in the form of the file log: a stored baseline, the lines applied since, and how far the replica
//! is, kept together.
//!
//! What [`ReplicaLog::append`] is given is found again as a whole or not at all, so entries and progress that were
//! appended together belong together after any restart. [`ReplicaLog::rebase`] puts a new segment in place of the whole
//! content; until it has finished, the old content is what a restart finds.
//!
//! When to append and when to rebase is the caller's to decide, and so is what progress says. It is never too late to
//! rebase: a log whose medium failed takes nothing any more, and is as new after a rebase that succeeded.

use super::super::error::{AppendCause, AppendError, OpenError, ReplayRefused};
use super::super::manifest::{Backend, Manifest, SegmentPlace};
use super::super::opening::OpenOptions;
use super::super::storage::{Directory, Lock, Storage};
use super::super::{LogReader, Recovered};
use super::frame::{FrameContent, Kind, SEGMENT_HEADER_BYTES};
use super::index::Index;
use super::recover::{Recovery, lock, read_or_create, recover};
use super::scan::Shape;
use super::segment::{Durable, SegmentEnd, SegmentReader, SegmentWriter, Shared, create_segment, empty_end};
use super::segment::{is_segment_name, segment_name};
use std::path::PathBuf;
use std::sync::Arc;

const REBASE_WRITE_BYTES: usize = 1024 * 1024;

/// One piece of what a replica keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaFrame<'a> {
    /// A line of the baseline, its newline included. Only a rebase writes them, before everything else.
    Baseline(&'a [u8]),
    /// A line that was applied, its newline included. Their seqs rise, with holes where the scope leaves records out.
    Line {
        /// The record's place in the parent's log.
        seq: u64,
        /// The line as received.
        line: &'a [u8],
    },
    /// How far the replica is, once everything before this frame is applied: position, scope, epochs, freshness.
    Progress {
        /// Seq of the position.
        seq: u64,
        /// The caller's text, opaque here.
        text: &'a [u8],
    },
}

impl<'a> ReplicaFrame<'a> {
    fn content(self) -> FrameContent<'a> {
        let (kind, seq, text) = match self {
            Self::Baseline(line) => (Kind::Baseline, 0, line),
            Self::Line { seq, line } => (Kind::Line, seq, line),
            Self::Progress { seq, text } => (Kind::Progress, seq, text),
        };
        FrameContent { kind, seq, epoch: None, meta: b"", text }
    }

    fn from_content(content: &FrameContent<'a>) -> Option<Self> {
        match content.kind {
            Kind::Baseline => Some(Self::Baseline(content.text)),
            Kind::Line => Some(Self::Line { seq: content.seq, line: content.text }),
            Kind::Progress => Some(Self::Progress { seq: content.seq, text: content.text }),
            Kind::Epoch => None,
        }
    }
}

/// What takes the frames found on a replica's disk, in the order in which they were written.
pub type ReplicaReplay<'a> = dyn FnMut(ReplicaFrame<'_>) -> Result<(), ReplayRefused> + 'a;

/// A replica's own disk.
pub struct ReplicaLog {
    storage: Arc<dyn Storage>,
    lock: Arc<Lock>,
    manifest: Manifest,
    writer: SegmentWriter,
    /// Number of the next segment that is made. Above every one whose making was tried, for a manifest that could not be
    /// replaced for certain may name any of them.
    next_number: u32,
}

/// An open replica's disk.
pub struct ReplicaOpened {
    /// Where the replica goes on.
    pub log: ReplicaLog,
    /// What recovery had to cut off; `None` when the disk ended cleanly.
    pub recovered: Option<Recovered>,
}

impl ReplicaLog {
    /// Opens the replica's disk in `directory`, new or not, and shows what it holds to `replay`.
    ///
    /// `node` is the node's label, for those who find the directory in use.
    ///
    /// # Errors
    /// See [`OpenError`]. What `replay` built is to be thrown away then.
    pub fn open(
        directory: impl Into<PathBuf>,
        node: &str,
        replay: &mut ReplicaReplay<'_>,
    ) -> Result<ReplicaOpened, OpenError> {
        Self::open_on(Arc::new(Directory::new(directory)), node, replay)
    }

    /// [`ReplicaLog::open`] on a medium of the caller's.
    ///
    /// # Errors
    /// The same.
    pub fn open_on(
        storage: Arc<dyn Storage>,
        node: &str,
        replay: &mut ReplicaReplay<'_>,
    ) -> Result<ReplicaOpened, OpenError> {
        let options = OpenOptions { node: node.into(), ..OpenOptions::default() };
        let lock = Arc::new(lock(&*storage, &options)?);
        let (mut manifest, place) = read_or_create(&*storage, Backend::Replica)?;
        let mut visit = |content: &FrameContent<'_>| {
            let frame = ReplicaFrame::from_content(content).ok_or("a writer's frame on a replica's disk")?;
            replay(frame)
        };
        let recovery = recover(&*storage, Shape::Replica, manifest.opening, place, None, &mut visit)?;
        let Recovery { file, found, recovered } = recovery;

        let path = storage.path(&segment_name(place.number));
        let too_many = || OpenError::damaged(&path, 0, "the directory was opened too many times");
        manifest.opening = manifest.opening.checked_add(1).ok_or_else(too_many)?;
        manifest.segment = Some(SegmentPlace { number: place.number, start: found.end, synced: found.end });
        let next_number = place.number.checked_add(1).ok_or_else(too_many)?;
        manifest.write(&*storage)?;
        remove_others(&*storage, place.number)?;

        let (through, index) = (found.through, found.index);
        let durable = Durable { end: found.end, floor: found.floor, last: found.last, through, index };
        let shared = Arc::new(Shared::new(file, path.clone(), found.salt, durable));
        let end = SegmentEnd { offset: found.end, sum: found.sum, opening: manifest.opening };
        let writer = SegmentWriter::new(shared, lock.clone(), end);
        Ok(ReplicaOpened { log: Self { storage, lock, manifest, writer, next_number }, recovered })
    }

    /// Appends lines and progress as one step, durable on return.
    ///
    /// # Errors
    /// See [`AppendError`]. After any, only [`ReplicaLog::rebase`] makes the log take something again; until then a
    /// restart finds what was appended before.
    pub fn append<'a>(&mut self, frames: &[ReplicaFrame<'a>]) -> Result<(), AppendError> {
        let mut last = self.writer.shared().last();
        for frame in frames {
            match *frame {
                ReplicaFrame::Line { seq, .. } if seq > last => last = seq,
                ReplicaFrame::Progress { .. } => {}
                ReplicaFrame::Line { seq, .. } => return Err(out_of_place(format!("record {seq} after {last}"))),
                ReplicaFrame::Baseline(_) => return Err(out_of_place("a baseline needs a rebase".into())),
            }
        }
        if frames.is_empty() {
            return Ok(());
        }
        self.writer.append(frames.iter().map(|frame| frame.content()))
    }

    /// Bytes of the segment: what the next restart reads.
    pub fn bytes(&self) -> u64 {
        self.writer.shared().end()
    }

    /// Reads the lines back, for children that have fallen off the feed. Goes on showing this content after a rebase.
    pub fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(SegmentReader(self.writer.shared().clone()))
    }

    /// Begins to write new content beside the old: a baseline and the progress that belongs to it.
    ///
    /// # Errors
    /// [`OpenError::Io`]; the log is as it was.
    pub fn rebase(&mut self) -> Result<Rebase<'_>, OpenError> {
        let number = self.next_number;
        let too_many = || OpenError::damaged(&self.storage.path(&segment_name(number)), 0, "too many segments");
        self.next_number = number.checked_add(1).ok_or_else(too_many)?;
        let (file, salt, sum) = create_segment(&*self.storage, number)?;
        let end = empty_end(sum, self.manifest.opening);
        let durable = Durable { end: end.offset, floor: None, last: 0, through: 0, index: Index::default() };
        let shared = Shared::new(file, self.storage.path(&segment_name(number)), salt, durable);
        let writer = SegmentWriter::new(Arc::new(shared), self.lock.clone(), end);
        Ok(Rebase { log: self, writer, number, in_baseline: true, complete: false, offered: false, last: 0 })
    }
}

fn out_of_place(detail: String) -> AppendError {
    AppendError::NotDone(AppendCause::OutOfPlace(detail))
}

/// Removes the segments that the manifest does not name: what a rebase replaced, or left unfinished.
fn remove_others(storage: &dyn Storage, number: u32) -> Result<(), OpenError> {
    let kept = segment_name(number);
    let names = storage.names().map_err(OpenError::io("listing the directory of", &storage.path(&kept)))?;
    for name in names.iter().filter(|name| is_segment_name(name) && **name != kept) {
        storage.remove(name).map_err(OpenError::io("removing", &storage.path(name)))?;
    }
    Ok(())
}

/// New content of a replica's disk while it is being written. Dropped before [`Rebase::finish`], it changes nothing.
pub struct Rebase<'l> {
    log: &'l mut ReplicaLog,
    writer: SegmentWriter,
    number: u32,
    /// Whether only baseline lines were pushed so far.
    in_baseline: bool,
    /// Whether progress was pushed last.
    complete: bool,
    /// Whether the manifest may name the new segment.
    offered: bool,
    last: u64,
}

impl Rebase<'_> {
    /// Adds a frame: the lines of the baseline first, then its progress, then any lines applied since, with theirs.
    ///
    /// # Errors
    /// See [`AppendError`]; the rebase is of no use any more, and the old content stands.
    pub fn push(&mut self, frame: ReplicaFrame<'_>) -> Result<(), AppendError> {
        match frame {
            ReplicaFrame::Baseline(_) if !self.in_baseline => {
                return Err(out_of_place("a line of the baseline behind what follows it".into()));
            }
            ReplicaFrame::Line { seq, .. } if seq <= self.last => {
                return Err(out_of_place(format!("record {seq} after {}", self.last)));
            }
            ReplicaFrame::Line { seq, .. } => self.last = seq,
            ReplicaFrame::Baseline(_) | ReplicaFrame::Progress { .. } => {}
        }
        self.in_baseline &= matches!(frame, ReplicaFrame::Baseline(_));
        self.complete = matches!(frame, ReplicaFrame::Progress { .. });
        self.writer.stage(&frame.content(), true).map_err(AppendError::NotDone)?;
        if self.writer.staged_bytes() >= REBASE_WRITE_BYTES { self.writer.flush(false) } else { Ok(()) }
    }

    /// Puts the new content in place of the old, durably and as one step.
    ///
    /// # Errors
    /// [`AppendError::NotDone`]: the old content stands and the log goes on with it. [`AppendError::Unknown`]: a restart
    /// finds the old content or the new one; the log takes nothing until another rebase succeeds.
    pub fn finish(mut self) -> Result<(), AppendError> {
        if !self.complete {
            return Err(out_of_place("a rebase ends with the progress that belongs to its lines".into()));
        }
        self.writer.flush(true).map_err(|error| match error {
            // Nothing names the new segment yet.
            AppendError::NotDone(cause) | AppendError::Unknown(cause) => AppendError::NotDone(cause),
        })?;
        let synced = self.writer.shared().end();
        let start = SEGMENT_HEADER_BYTES as u64;
        let mut manifest = self.log.manifest.clone();
        manifest.segment = Some(SegmentPlace { number: self.number, start, synced });
        self.offered = true;
        if let Err(error) = manifest.write(&*self.log.storage) {
            self.log.writer.poison();
            return Err(AppendError::Unknown(match error {
                OpenError::Io { source, .. } => source.into(),
                other => AppendCause::Io(std::io::Error::other(other)),
            }));
        }
        self.log.manifest = manifest;
        std::mem::swap(&mut self.log.writer, &mut self.writer);
        // A file that cannot be removed now is removed at the next opening: it costs room, and nothing reads it.
        drop(remove_others(&*self.log.storage, self.number));
        Ok(())
    }
}

impl Drop for Rebase<'_> {
    fn drop(&mut self) {
        if !self.offered {
            // The same: what stays behind is removed at the next opening.
            drop(self.log.storage.remove(&segment_name(self.number)));
        }
    }
}
