//! The thread behind the replica's disk: stores what was noted, several blocks at a time, always together with the progress
//! that belongs to it; stores a baseline beside them when they have become many; or puts a copy of the whole state in place
//! of the content.

use super::disk::{DiskState, bytes};
use crate::settings::Storage;
use crate::stored::StatePieces;
use crate::unhurried::Unhurried;
use crate::wal::file::ReplicaLog;
use crate::wal::file::replica::ReplicaFrame;
use crate::wal::{AppendCause, AppendError};
use bytes::Bytes;
use headwater_core::command::{Line, Trust, decode, lines};
use headwater_core::position::EpochTable;
use headwater_core::store::memory::MemorySnapshot;
use headwater_core::store::{Progress, Snapshot};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long blocks are gathered before they are stored as one: a restart falls back by at most about this.
const GATHER: Duration = Duration::from_millis(20);

/// What the thread is told.
pub(super) enum Note {
    /// Lines that were applied, and the progress after them.
    Applied { lines: Vec<Bytes>, progress: Box<Progress> },
    /// The state as a whole after everything noted before, which leads on to it.
    Baseline { snapshot: MemorySnapshot },
    /// The state as a whole, in place of everything noted before.
    Copy { snapshot: MemorySnapshot, version: u64 },
    /// Store what came so far, and end. `whole` is the state after all of it, for content that does not lead on to it.
    End { whole: Option<(MemorySnapshot, u64)>, done: oneshot::Sender<()> },
}

/// See the module.
pub(super) struct Keeper {
    log: ReplicaLog,
    state: Arc<DiskState>,
    storage: Storage,
    /// The content does not lead on to what is noted: nothing is stored until a copy is through.
    stale: bool,
    /// The table of epochs that the content ends with, once this thread has stored one.
    epochs: Option<Arc<EpochTable>>,
    /// The thread that stores a baseline, or did last.
    baseline: Option<JoinHandle<()>>,
    /// Whether a baseline that is being stored is to be given up.
    ending: Arc<AtomicBool>,
}

/// How a baseline ended. One that a fault of this program ended is told of too, or no other would ever be begun.
struct Reports(Arc<DiskState>);

impl Drop for Reports {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.baseline_failed(&io::Error::other("the thread that stored it failed: a fault of this program"));
        }
    }
}

impl Keeper {
    pub(super) fn new(log: ReplicaLog, state: Arc<DiskState>, storage: Storage) -> Self {
        let ending = Arc::default();
        let keeper = Self { log, state, storage, stale: false, epochs: None, baseline: None, ending };
        keeper.tell_usage();
        keeper
    }

    fn tell_usage(&self) {
        self.state.takes_up(self.log.usage());
    }

    /// Stores what it is told until it is told to end.
    pub(super) fn run(mut self, waiting: &Receiver<Note>) {
        while let Ok(first) = waiting.recv() {
            if !matches!(first, Note::End { .. }) {
                thread::sleep(GATHER);
            }
            let mut notes = vec![first];
            notes.extend(waiting.try_iter());
            if let Some(done) = self.store(notes) {
                self.end();
                // Whoever asked may have stopped waiting.
                done.send(()).ok();
                return;
            }
        }
    }

    fn store(&mut self, notes: Vec<Note>) -> Option<oneshot::Sender<()>> {
        let mut end = None;
        let mut blocks = Vec::new();
        let (mut newest, mut taken) = (None, 0);
        for note in notes {
            match note {
                Note::Applied { lines, progress } => {
                    taken += bytes(&lines);
                    blocks.extend(lines);
                    newest = Some(progress);
                }
                Note::Baseline { snapshot } => {
                    self.store_lines(&mut blocks, &mut newest);
                    self.begin_baseline(snapshot);
                }
                Note::Copy { snapshot, version } => {
                    blocks.clear();
                    newest = None;
                    self.copy_whole(snapshot, version);
                }
                Note::End { whole, done } => end = Some((whole, done)),
            }
        }
        self.store_lines(&mut blocks, &mut newest);
        self.state.is_done(taken);
        let end = end.map(|(whole, done)| {
            match whole.filter(|_| self.stale) {
                Some((snapshot, version)) => self.copy_whole(snapshot, version),
                None if self.stale => {
                    tracing::warn!("the replica's disk ends behind its state: the next start falls back")
                }
                None => {}
            }
            done
        });
        self.tell_usage();
        end
    }

    fn store_lines(&mut self, blocks: &mut Vec<Bytes>, newest: &mut Option<Box<Progress>>) {
        let blocks = std::mem::take(blocks);
        let Some(progress) = newest.take().filter(|_| !self.stale) else { return };
        if let Err(error) = self.append(&blocks, &progress) {
            self.stale = true;
            self.state.lines_failed(&error);
            return;
        }
        self.epochs = Some(Arc::clone(&progress.epochs));
        self.state.is_stored(progress.position);
        let usage = self.log.usage();
        let stored_bytes = usage.baseline.map_or(0, |baseline| baseline.bytes);
        if usage.replay_bytes > self.storage.baseline_after_bytes.max(stored_bytes) {
            self.state.want_baseline();
        }
    }

    fn copy_whole(&mut self, snapshot: MemorySnapshot, version: u64) {
        let snapshot = Arc::new(snapshot);
        let copied = self.copy(Arc::clone(&snapshot));
        self.stale = copied.is_err();
        match copied {
            Ok(()) => {
                self.epochs = Some(Arc::clone(&snapshot.progress().epochs));
                self.state.copied(snapshot.progress().position, self.log.reader(), version);
            }
            Err(error) => self.state.copy_failed(&*error),
        }
    }

    /// Stores the state beside the lines that follow, on a thread of its own.
    fn begin_baseline(&mut self, snapshot: MemorySnapshot) {
        if self.stale {
            // The next copy is the baseline.
            return self.state.baseline_stored();
        }
        let mut pieces = StatePieces::new(Arc::new(snapshot));
        let facts = pieces.facts();
        let mut baseline = match self.log.baseline(facts.seq) {
            Ok(baseline) => baseline,
            Err(error) => {
                self.stale = true;
                return self.state.baseline_not_begun(&error);
            }
        };
        let state = Arc::clone(&self.state);
        let (keeper, retention) = (self.log.keeper(), self.storage.retention.clone());
        let ending = Arc::clone(&self.ending);
        let work = move || -> Result<(), Box<dyn std::error::Error>> {
            let mut unhurried = Unhurried::begin();
            while let Some(piece) = pieces.next_piece()? {
                if ending.load(Ordering::Relaxed) {
                    return Ok(());
                }
                baseline.push(piece.as_baseline())?;
                unhurried.step();
            }
            baseline.finish(facts)?;
            keeper.trim_now(&retention, None)?;
            Ok(())
        };
        let reports = Reports(Arc::clone(&self.state));
        let thread = thread::Builder::new().name("replica-baseline".into()).spawn(move || match work() {
            Ok(()) => reports.0.baseline_stored(),
            Err(error) => reports.0.baseline_failed(&*error),
        });
        match thread {
            Ok(thread) => self.baseline = Some(thread),
            Err(error) => state.baseline_failed(&error),
        }
    }

    /// Ends in good order: a baseline that is being stored beside is given up.
    fn end(self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.baseline
            && thread.join().is_err()
        {
            tracing::error!("storing a baseline failed: a fault of this program");
        }
        if let Err(error) = self.log.close() {
            tracing::warn!(%error, "the replica's disk could not be marked as closed in good order; nothing is lost");
        }
    }

    fn append(&mut self, blocks: &[Bytes], progress: &Progress) -> Result<(), AppendError> {
        let mut frames = Vec::new();
        for block in blocks {
            for (start, line) in lines(block) {
                // They were checked before they were applied, and the value is not looked at.
                let Ok(Line::Log(command)) = decode(line, Trust::Canonical) else {
                    let words = "an applied line that is no command of the log".into();
                    return Err(AppendError::NotDone(AppendCause::OutOfPlace(words)));
                };
                frames.push(ReplicaFrame::Line { seq: command.seq, line: &block[start..start + line.len() + 1] });
            }
        }
        // The table of epochs may be a hundred times as long as the rest, and there are up to fifty of these a second.
        let is_known = self.epochs.as_ref() == Some(&progress.epochs);
        let text = if is_known { progress.to_json_without_epochs() } else { progress.to_json() };
        frames.push(ReplicaFrame::Progress { seq: progress.position.seq, text: text.as_bytes() });
        self.log.append(&frames)
    }

    /// Puts a copy of the whole state in place of the content.
    fn copy(&mut self, snapshot: Arc<MemorySnapshot>) -> Result<(), Box<dyn std::error::Error>> {
        let mut pieces = StatePieces::new(snapshot);
        let facts = pieces.facts();
        let mut rebase = self.log.rebase(facts.seq)?;
        while let Some(piece) = pieces.next_piece()? {
            rebase.push(piece.as_baseline())?;
        }
        Ok(rebase.finish(facts)?)
    }
}
