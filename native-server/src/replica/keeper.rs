//! The thread behind the replica's disk: stores what was noted, several blocks at a time, always together with the progress
//! that belongs to it, or puts a copy of the whole state in place of the content.

use super::disk::DiskState;
use crate::wal::file::ReplicaLog;
use crate::wal::file::replica::ReplicaFrame;
use crate::wal::{AppendCause, AppendError, OpenError};
use bytes::Bytes;
use headwater_core::command::{Line, Steer, Trust, decode, lines};
use headwater_core::position::EpochTable;
use headwater_core::store::memory::MemorySnapshot;
use headwater_core::store::scan::{Scan, Walk};
use headwater_core::store::{Progress, Snapshot};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long blocks are gathered before they are stored as one: a restart falls back by at most about this.
const GATHER: Duration = Duration::from_millis(20);
/// Bytes of lines beyond the baseline, and beyond its size, after which the state is copied anew.
const GROWTH_BYTES: u64 = 64 << 20;

/// What the thread is told.
pub(super) enum Note {
    /// Lines that were applied, and the progress after them.
    Applied { lines: Vec<Bytes>, progress: Box<Progress> },
    /// The state as a whole, everything noted before included.
    Copy { snapshot: MemorySnapshot, version: u64 },
    /// Store what came so far, and end.
    End(oneshot::Sender<()>),
}

/// See the module.
pub(super) struct Keeper {
    log: ReplicaLog,
    state: Arc<DiskState>,
    /// The content does not lead on to what is noted: nothing is stored until a copy is through.
    stale: bool,
    /// Bytes of the content when it was last copied.
    copied_bytes: u64,
    /// The table of epochs that the content ends with, once this thread has stored one.
    epochs: Option<Arc<EpochTable>>,
}

impl Keeper {
    pub(super) fn new(log: ReplicaLog, state: Arc<DiskState>) -> Self {
        let copied_bytes = log.bytes();
        state.holds_bytes(copied_bytes);
        Self { log, state, stale: false, copied_bytes, epochs: None }
    }

    /// Stores what it is told until it is told to end.
    pub(super) fn run(mut self, waiting: &Receiver<Note>) {
        while let Ok(first) = waiting.recv() {
            if !matches!(first, Note::End(_)) {
                thread::sleep(GATHER);
            }
            let mut notes = vec![first];
            notes.extend(waiting.try_iter());
            if let Some(done) = self.store(notes) {
                // Whoever asked may have stopped waiting.
                done.send(()).ok();
                return;
            }
        }
    }

    fn store(&mut self, notes: Vec<Note>) -> Option<oneshot::Sender<()>> {
        let mut end = None;
        let mut blocks = Vec::new();
        let mut newest = None;
        let mut copy = None;
        for note in notes {
            match note {
                Note::Applied { lines, progress } => {
                    self.state.is_taken(&lines);
                    blocks.extend(lines);
                    newest = Some(progress);
                }
                Note::Copy { snapshot, version } => {
                    (copy, newest) = (Some((snapshot, version)), None);
                    blocks.clear();
                }
                Note::End(done) => end = Some(done),
            }
        }
        if let Some((snapshot, version)) = copy {
            let copied = self.copy(&snapshot);
            self.stale = copied.is_err();
            match copied {
                Ok(()) => {
                    self.copied_bytes = self.log.bytes();
                    self.epochs = Some(Arc::clone(&snapshot.progress().epochs));
                    self.state.copied(snapshot.progress().position, self.log.reader(), version);
                }
                Err(error) => self.state.copy_failed(&*error),
            }
        }
        if let Some(progress) = newest.filter(|_| !self.stale) {
            if let Err(error) = self.append(&blocks, &progress) {
                self.stale = true;
                self.state.lines_failed(&error);
            } else {
                self.epochs = Some(Arc::clone(&progress.epochs));
                self.state.is_stored(progress.position);
                if self.log.bytes() > self.copied_bytes * 2 + GROWTH_BYTES {
                    self.state.want_copy();
                }
            }
        }
        self.state.holds_bytes(self.log.bytes());
        end
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
    fn copy(&mut self, snapshot: &MemorySnapshot) -> Result<(), Box<dyn std::error::Error>> {
        let progress = snapshot.progress();
        let mut rebase = self.log.rebase().map_err(|error: OpenError| error)?;
        let mut line = Vec::new();
        for facts in snapshot.collections() {
            let begin = Steer::BaselineBegin { collection: Cow::Borrowed(&facts.name), created: facts.created };
            push(&mut line, |line| begin.write_line(line), |frame| rebase.push(frame))?;
            let mut walk = Walk::from(Scan::under("", None));
            while let Some(record) = walk.next_record(snapshot, &facts.name)? {
                push(&mut line, |line| record.write_line(&facts.name, line), |frame| rebase.push(frame))?;
            }
            let (keys, digest) = (facts.keys, facts.digest);
            let end = Steer::BaselineEnd { collection: Cow::Borrowed(&facts.name), keys, digest };
            push(&mut line, |line| end.write_line(line), |frame| rebase.push(frame))?;
        }
        let text = progress.to_json();
        rebase.push(ReplicaFrame::Progress { seq: progress.position.seq, text: text.as_bytes() })?;
        Ok(rebase.finish()?)
    }
}

/// Writes one line of the baseline into `line` and hands it on.
fn push(
    line: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>),
    hand_on: impl FnOnce(ReplicaFrame<'_>) -> Result<(), AppendError>,
) -> Result<(), AppendError> {
    line.clear();
    write(line);
    line.push(b'\n');
    hand_on(ReplicaFrame::Baseline(line))
}
