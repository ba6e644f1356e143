//! Copies what the log has sealed to the archive, on a thread of its own. The archive is somebody else's medium, often far
//! away: it may fail, and it may hang for hours without a word. So nothing waits for it. How far it is, and since when it
//! has not moved, is published; the log's upkeep goes by that, and lets go of what the hard cap does not keep.

use super::LogState;
use super::upkeep::TellsOfPanic;
use crate::backup::BackupError;
use crate::backup::archive::Archive;
use crate::wal::LogReader;
use headwater_core::position::EpochTable;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Bytes of lines that are read at once to be archived.
const READ_BYTES: usize = 1 << 20;
/// How often it looks whether there is something to do.
const LOOK: Duration = Duration::from_millis(500);
/// How long one step, the writing of at most [`READ_BYTES`] or the syncing of a piece, may take without being told.
const STALLED: Duration = Duration::from_secs(10);
/// Holes that are remembered; of more, the newest.
const MISSING_MAX: usize = 16;

/// How far the log is archived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Archived {
    /// Seq up to which everything that was sealed is, but for `missing`; 0 for nothing yet, or not known yet.
    pub(crate) through: u64,
    /// First and last seq each of the records below that no piece has, the oldest first.
    pub(crate) missing: Vec<(u64, u64)>,
    /// Why the last attempt failed; `None` where it did not.
    failure: Option<String>,
    /// Since when the present step is under way.
    busy_since: Option<Instant>,
}

impl Archived {
    /// What is wrong at this moment: the last attempt failed, or the present one does not get on.
    pub(crate) fn failure(&self) -> Option<String> {
        let busy = self.busy_since.map(|since| since.elapsed()).filter(|&busy| busy >= STALLED);
        let stalled = busy.map(|busy| format!("no progress for {} s: the archive does not answer", busy.as_secs()));
        stalled.or_else(|| self.failure.clone())
    }

    fn misses(&mut self, first: u64, last: u64) {
        self.missing.push((first, last));
        if self.missing.len() > MISSING_MAX {
            self.missing.remove(0);
        }
    }
}

/// The running thread.
pub(super) struct Archiving {
    /// Dropped to end it.
    running: Sender<()>,
    /// Disconnected when it has ended.
    finished: Receiver<()>,
}

impl Archiving {
    /// Starts it.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(state: Arc<LogState>, directory: PathBuf, runtime: Handle) -> io::Result<Self> {
        let (running, ended) = channel();
        let (finishes, finished) = channel();
        state.change_archived(|_| {});
        let work = Work { state, directory, runtime, ended, log_after: None, has_begun: false };
        std::thread::Builder::new().name("log-archive".into()).spawn(move || {
            let _told = TellsOfPanic { state: Arc::clone(&work.state), what: "nothing is archived any more" };
            work.run();
            drop::<Sender<()>>(finishes);
        })?;
        Ok(Self { running, finished })
    }

    /// Ends it once what is sealed by now is archived too. One that hangs, or takes longer, is left to the end of the process:
    /// it holds nothing that anybody else needs, and what it leaves is the next start's.
    pub(super) fn end(self, within: Duration) {
        drop(self.running);
        if self.finished.recv_timeout(within) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the archive does not answer: what is not archived yet is left to the next start");
        }
    }
}

struct Work {
    state: Arc<LogState>,
    directory: PathBuf,
    runtime: Handle,
    ended: Receiver<()>,
    /// Seq before the log's first record when this began.
    log_after: Option<u64>,
    /// Whether it is known how far the archive was.
    has_begun: bool,
}

/// What there is to be archived, free of the log's files and lock: a step may never come to an end.
struct Sealed {
    archive: Archive,
    epochs: EpochTable,
    /// Seq before the first record and that of the last of each segment.
    segments: Vec<(u64, u64)>,
    reader: Arc<dyn LogReader>,
}

impl Work {
    fn run(mut self) {
        while self.ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            self.look();
        }
        self.look();
    }

    fn look(&mut self) {
        if let Some(sealed) = self.sealed() {
            let before = self.state.archived().unwrap_or_default().failure;
            let outcome = self.archive(&sealed);
            let through = self.through();
            let failure = outcome.err().map(|error| error.to_string());
            match (&before, &failure) {
                (_, Some(error)) if before != failure => {
                    self.state.upkeep_failed();
                    let text = "the log could not be archived; it is kept up to its hard cap";
                    tracing::error!(error, through, "{text}");
                }
                (Some(_), None) => tracing::info!(through, "the log is archived again"),
                _ => {}
            }
            self.state.change_archived(|archived| (archived.failure, archived.busy_since) = (failure, None));
        }
    }

    fn sealed(&self) -> Option<Sealed> {
        let keeper = self.state.keeper()?;
        let (cluster, epochs) = keeper.history();
        let archive = Archive::new(&self.directory, cluster?);
        Some(Sealed { archive, epochs, segments: keeper.sealed(), reader: keeper.reader() })
    }

    fn through(&self) -> u64 {
        self.state.archived().map_or(0, |archived| archived.through)
    }

    /// A step begins: the one before has come to its end.
    fn step(&self) {
        self.state.change_archived(|archived| archived.busy_since = Some(Instant::now()));
    }

    /// Archives what is not yet. What was done is noted after each piece.
    fn archive(&mut self, sealed: &Sealed) -> Result<(), BackupError> {
        self.step();
        self.log_after = self.log_after.or(sealed.segments.first().map(|(after, _)| *after));
        if !self.has_begun {
            self.has_begun = self.begin(sealed)?;
            // What cannot be made is told now, not when the first part is sealed.
            sealed.archive.try_out()?;
        }
        for &(after, last) in &sealed.segments {
            let through = self.through();
            if last <= through {
                continue;
            }
            if after > through {
                self.miss(through + 1, after);
            }
            self.step();
            let written = sealed.archive.add((after, last), &sealed.epochs, &mut |from| {
                self.step();
                let chunk = self.runtime.block_on(sealed.reader.read(from, READ_BYTES));
                let chunk = chunk.map_err(|error| BackupError::State(format!("the log cannot be read: {error}")))?;
                let chunk = chunk.ok_or_else(|| BackupError::State(format!("the log has no record {from}")))?;
                Ok((chunk.lines, chunk.through))
            })?;
            if written {
                tracing::info!(first = after + 1, last, "archived a part of the log");
            }
            self.state.change_archived(|archived| archived.through = last);
        }
        Ok(())
    }

    /// Finds out how far the archive is, and which records it misses; an empty one begins where the log does, once a part
    /// of that is sealed. What was before that, or before the first piece, is not missed. Returns whether it is known.
    fn begin(&self, sealed: &Sealed) -> Result<bool, BackupError> {
        let mut reach: Option<u64> = None;
        for (after, through) in sealed.archive.reach(&sealed.epochs)? {
            if let Some(reach) = reach.filter(|&reach| after > reach) {
                self.miss(reach + 1, after);
            }
            reach = reach.max(Some(through));
        }
        let Some(through) = reach.or(self.log_after) else { return Ok(false) };
        self.state.change_archived(|archived| archived.through = through);
        Ok(true)
    }

    fn miss(&self, first: u64, last: u64) {
        tracing::error!(
            first,
            last,
            "the archive misses records: make a backup, as none before them leads beyond them"
        );
        self.state.upkeep_failed();
        self.state.change_archived(|archived| {
            archived.misses(first, last);
            archived.through = last;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_takes_long_is_told_and_what_failed_before_is_not() {
        let mut archived = Archived { failure: Some("no".into()), ..Archived::default() };
        assert_eq!(archived.failure(), Some("no".into()));
        archived.busy_since = Some(Instant::now());
        assert_eq!(archived.failure(), Some("no".into()));
        let long_ago = Instant::now().checked_sub(STALLED + Duration::from_secs(2));
        archived.busy_since = Some(long_ago.expect("the machine has run longer than that"));
        assert!(archived.failure().unwrap().starts_with("no progress for 12 s"));
    }

    #[test]
    fn the_newest_holes_are_remembered() {
        let mut archived = Archived::default();
        (0..20).for_each(|n| archived.misses(n * 10 + 1, n * 10 + 5));
        assert_eq!((archived.missing.len(), archived.missing[0]), (MISSING_MAX, (41, 45)));
    }
}
