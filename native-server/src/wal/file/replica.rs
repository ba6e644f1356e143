//! A replica's own disk, in the form of the file log: a stored baseline, the lines applied since, and how far the replica
//! is, kept together.
//!
//! What [`ReplicaLog::append`] is given is found again as a whole or not at all, so entries and progress that were
//! appended together belong together after any restart. [`ReplicaLog::baseline`] stores the state as it is after all that
//! was appended, while more is; [`ReplicaLog::rebase`] puts a state in place of the whole content that does not follow
//! from it. Until either has finished, the old content is what a restart finds.
//!
//! When to do which is the caller's to decide, and so is what progress says. It is never too late to rebase: a log whose
//! medium failed takes nothing any more, and is as new after a rebase that succeeded.

use super::super::error::{AppendCause, AppendError, OpenError, ReplayRefused};
use super::super::keeper::{BaselinePiece, Keeper as _, StateFacts, Usage};
use super::super::manifest::Backend;
use super::super::opening::OpenOptions;
use super::super::storage::{Directory, Lock, Storage};
use super::super::{LogReader, Recovered};
use super::baseline::{self, BaselineMaking};
use super::frame::{FrameContent, Kind};
use super::header::{FileKind, Origin};
use super::keeping::Keeping;
use super::making::{MadeEnd, Making, cause};
use super::recover::{Recovering, Recovery, lock, read_or_create};
use super::scan::Shape;
use super::segment::Segment;
use super::tail::{Tail, TailEnd, TailOptions};
use super::trim::FileKeeper;
use super::view::{View, ViewReader};
use super::{FileOptions, MANIFEST_FILE};
use std::path::PathBuf;
use std::sync::Arc;

/// One piece of what a replica keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaFrame<'a> {
    /// A piece of the stored baseline, its progress included. Found before everything else.
    Baseline(BaselinePiece<'a>),
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

/// What takes what is found on a replica's disk, in the order in which it was written.
pub type ReplicaReplay<'a> = dyn FnMut(ReplicaFrame<'_>) -> Result<(), ReplayRefused> + 'a;

/// A replica's own disk.
pub struct ReplicaLog {
    pub(super) keeping: Arc<Keeping>,
    lock: Arc<Lock>,
    options: TailOptions,
    opening: u32,
    pub(super) tail: Tail,
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
        options: FileOptions,
        node: &str,
        replay: &mut ReplicaReplay<'_>,
    ) -> Result<ReplicaOpened, OpenError> {
        Self::open_on(Arc::new(Directory::new(directory)), options, node, replay)
    }

    /// [`ReplicaLog::open`] on a medium of the caller's.
    ///
    /// # Errors
    /// The same.
    pub fn open_on(
        storage: Arc<dyn Storage>,
        options: FileOptions,
        node: &str,
        replay: &mut ReplicaReplay<'_>,
    ) -> Result<ReplicaOpened, OpenError> {
        let open_options = OpenOptions { node: node.into(), ..OpenOptions::default() };
        let lock = Arc::new(lock(&*storage, &open_options)?);
        let manifest = read_or_create(&*storage, Backend::Replica, Origin::Replica)?;
        let keeping = Arc::new(Keeping::open(storage.clone(), manifest)?);
        let mut held = keeping.lock();
        let new_file = keeping.new_file_under(&mut held, FileKind::Segment)?;
        let mut manifest = held.clone();
        let files = manifest.files.take().expect("read_or_create makes sure");
        if let Some(baseline) = &files.baseline {
            baseline::read(&*storage, baseline, &mut |piece| replay(ReplicaFrame::Baseline(piece)))?;
        }
        let mut visit = |frame: &FrameContent<'_>, _: Origin| match frame.kind {
            Kind::Line => replay(ReplicaFrame::Line { seq: frame.seq, line: frame.text }),
            Kind::Progress => replay(ReplicaFrame::Progress { seq: frame.seq, text: frame.text }),
            Kind::Epoch | Kind::Baseline | Kind::Beside => Err("a frame that has no place on a replica's disk".into()),
        };
        let recovering = Recovering {
            storage: &*storage,
            shape: Shape::Replica,
            origin: Origin::Replica,
            opening: manifest.opening,
            known_synced: None,
            new_file: &new_file,
            segment_bytes: options.segment_bytes,
        };
        let Recovery { files, segments, end, follows, recovered, .. } = recovering.recover(files, &mut visit)?;
        let too_many =
            || OpenError::damaged(&storage.path(MANIFEST_FILE), 0, "the directory was opened too many times");
        let opening = manifest.opening.checked_add(1).ok_or_else(too_many)?;
        (manifest.opening, manifest.files) = (opening, Some(files));
        let new_file = new_file.unless_unused(&manifest);
        keeping.write(&mut held, manifest)?;
        drop((held, new_file));

        let options = TailOptions { files: options, origin: Origin::Replica };
        let end = TailEnd { offset: end, sum: follows.sum, opening };
        let view = Arc::new(View::new(segments));
        let tail = Tail::new(keeping.clone(), view, lock.clone(), options, end);
        Ok(ReplicaOpened { log: Self { keeping, lock, options, opening, tail }, recovered })
    }

    /// Appends lines and progress as one step, durable on return.
    ///
    /// # Errors
    /// See [`AppendError`]. After any, only [`ReplicaLog::rebase`] makes the log take something again; until then a
    /// restart finds what was appended before.
    pub fn append<'a>(&mut self, frames: &[ReplicaFrame<'a>]) -> Result<(), AppendError> {
        let mut last = self.tail.segment().durable().last;
        let mut contents = Vec::with_capacity(frames.len());
        for frame in frames {
            let (kind, seq, text) = match *frame {
                ReplicaFrame::Line { seq, line } if seq > last => {
                    last = seq;
                    (Kind::Line, seq, line)
                }
                ReplicaFrame::Progress { seq, text } => (Kind::Progress, seq, text),
                ReplicaFrame::Line { seq, .. } => return Err(out_of_place(format!("record {seq} after {last}"))),
                ReplicaFrame::Baseline(_) => return Err(out_of_place("a baseline is stored apart".into())),
            };
            contents.push(FrameContent { kind, seq, epoch: None, meta: b"", text });
        }
        if contents.is_empty() { Ok(()) } else { self.tail.append(contents.into_iter()) }
    }

    /// Ends in an orderly way, so that the next start has nothing to make sure of.
    ///
    /// # Errors
    /// [`OpenError::Io`]: the next start merely knows less.
    pub fn close(self) -> Result<(), OpenError> {
        self.tail.finish()
    }

    /// What the disk takes up.
    pub fn usage(&self) -> Usage {
        self.keeper().usage()
    }

    /// Reads the lines back, for children that have fallen off the feed. Goes on showing this content after a rebase.
    pub fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(ViewReader(self.tail.view().clone()))
    }

    /// What lets go of lines that the stored baseline covers.
    pub fn keeper(&self) -> FileKeeper {
        let (lock, keeping, view) = (self.lock.clone(), self.keeping.clone(), self.tail.view().clone());
        FileKeeper { lock, keeping, view, origin: Origin::Replica, synced: self.tail.synced() }
    }

    /// Begins a stored baseline of the state as it is after everything that was appended, at `seq`. It may be written
    /// and finished on another thread while more is appended here.
    ///
    /// # Errors
    /// [`OpenError::Io`]. As after a failed [`ReplicaLog::append`].
    pub fn baseline(&mut self, seq: u64) -> Result<ReplicaBaseline, OpenError> {
        // What is appended from here on is in segments of its own, so that it is known what the baseline covers.
        if let Err(error) = self.tail.roll() {
            self.tail.poison();
            return Err(error);
        }
        let from_segment = self.tail.segment().number;
        let making = BaselineMaking::begin(self.keeping.clone(), Origin::Replica, seq)?;
        Ok(ReplicaBaseline { _lock: self.lock.clone(), making, from_segment })
    }

    /// Begins to write a state as of `seq` that is to be the whole content.
    ///
    /// # Errors
    /// [`OpenError::Io`]; the log is as it was.
    pub fn rebase(&mut self, seq: u64) -> Result<Rebase<'_>, OpenError> {
        let making = BaselineMaking::begin(self.keeping.clone(), Origin::Replica, seq)?;
        Ok(Rebase { log: self, making, seq })
    }
}

fn out_of_place(detail: String) -> AppendError {
    AppendError::NotDone(AppendCause::OutOfPlace(detail))
}

/// A stored baseline of a replica in the making. Dropped before [`ReplicaBaseline::finish`], it changes nothing.
pub struct ReplicaBaseline {
    _lock: Arc<Lock>,
    making: BaselineMaking,
    from_segment: u32,
}

impl ReplicaBaseline {
    /// Adds a piece; progress is the last.
    ///
    /// # Errors
    /// [`OpenError::Io`]; the baseline is of no use any more.
    pub fn push(&mut self, piece: BaselinePiece<'_>) -> Result<(), OpenError> {
        self.making.push(piece)
    }

    /// Makes it durable, and what the next start begins with.
    ///
    /// # Errors
    /// [`OpenError::Io`]; the next start begins with the older content or with this.
    pub fn finish(self, facts: StateFacts) -> Result<(), OpenError> {
        let from_segment = self.from_segment;
        // After a rebase meanwhile the state that was copied is not this history's any more.
        self.making.finish(facts, from_segment, |files| files.segment_numbers().any(|number| number == from_segment))
    }
}

/// New content of a replica's disk while it is being written. Dropped before [`Rebase::finish`], it changes nothing.
pub struct Rebase<'l> {
    log: &'l mut ReplicaLog,
    making: BaselineMaking,
    seq: u64,
}

impl Rebase<'_> {
    /// Adds a piece of the state; progress is the last.
    ///
    /// # Errors
    /// [`OpenError::Io`]; the rebase is of no use any more, and the old content stands.
    pub fn push(&mut self, piece: BaselinePiece<'_>) -> Result<(), OpenError> {
        self.making.push(piece)
    }

    /// Puts the new content in place of the old, durably and as one step.
    ///
    /// # Errors
    /// [`AppendError::NotDone`]: the old content stands and the log goes on with it. [`AppendError::Unknown`]: a restart
    /// finds the old content or the new one; the log takes nothing until another rebase succeeds.
    pub fn finish(mut self, facts: StateFacts) -> Result<(), AppendError> {
        let Self { log, seq, .. } = &mut self;
        let (keeping, opening, seq) = (log.keeping.clone(), log.opening, *seq);
        let not_done = |error| AppendError::NotDone(cause(error));
        self.making.write_out().map_err(not_done)?;
        let new_file = keeping.new_file(FileKind::Segment).map_err(not_done)?;
        let (number, storage) = (new_file.make(), keeping.storage());
        let made = Making::begin(&**storage, FileKind::Segment, Origin::Replica, number, seq, 0, opening)
            .and_then(|mut making| Ok((making.finish(&**storage)?, making)));
        let (MadeEnd { end, sum }, making) = made.map_err(not_done)?;

        let replaced = self.making.finish(facts, number, |files| {
            baseline::only(files, number, end);
            true
        });
        if let Err(error) = replaced {
            self.log.tail.poison();
            return Err(AppendError::Unknown(cause(error)));
        }
        let Making { file, path, header, .. } = making;
        let segment = Segment::empty(file, path, number, header.salt, end, (seq, seq));
        let view = Arc::new(View::new(vec![Arc::new(segment)]));
        let end = TailEnd { offset: end, sum, opening };
        let log = self.log;
        log.tail = Tail::new(keeping.clone(), view, log.lock.clone(), log.options, end);
        Ok(())
    }
}
