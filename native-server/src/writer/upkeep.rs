//! Bounds the log, on a thread beside the writer's: stores the state as a whole once enough was appended, and lets go of
//! what need not be kept. The writer waits for neither.

use super::{Archived, LogState};
use crate::backup::BackupError;
use crate::backup::archive::Archive;
use crate::settings::Storage;
use crate::stored::{StatePiece, StatePieces, repeats_piece};
use crate::wal::{BaselinePiece, BaselineSink, Keeper, OpenError};
use headwater_core::node::Node;
use headwater_core::store::memory::MemoryStore;
use headwater_core::store::{SnapshotError, Store};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Bytes of lines that are read at once to be archived.
const ARCHIVE_READ_BYTES: usize = 1 << 20;
/// How often it looks whether there is something to do.
const LOOK: Duration = Duration::from_millis(500);
/// First and longest wait after a failure; doubled with each further one.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The running thread.
pub(super) struct Upkeep {
    /// Dropped to end it.
    running: Sender<()>,
    thread: JoinHandle<()>,
}

impl Upkeep {
    /// Starts it.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(
        node: Arc<Node<MemoryStore>>,
        state: Arc<LogState>,
        storage: Storage,
        runtime: Handle,
    ) -> io::Result<Self> {
        let (running, ended) = channel();
        let work = Work { node, state, storage, runtime, ended };
        let thread = std::thread::Builder::new().name("log-upkeep".into()).spawn(move || work.run())?;
        Ok(Self { running, thread })
    }

    /// Ends it, a baseline in the making given up.
    pub(super) fn end(self) {
        drop(self.running);
        if self.thread.join().is_err() {
            tracing::error!("the log's upkeep failed: a fault of this program");
        }
    }
}

struct Work {
    node: Arc<Node<MemoryStore>>,
    state: Arc<LogState>,
    storage: Storage,
    runtime: Handle,
    ended: Receiver<()>,
}

/// Why no baseline was stored.
enum NotStored {
    Log(OpenError),
    Snapshot(SnapshotError),
    /// The node ends.
    Ended,
}

impl Work {
    fn run(self) {
        let mut wait = LOOK;
        let mut pause = Duration::ZERO;
        while self.ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            wait = LOOK;
            let Some(keeper) = self.state.keeper() else { continue };
            let error = match self.look(&*keeper) {
                Ok(()) => {
                    pause = Duration::ZERO;
                    continue;
                }
                Err(NotStored::Ended) => return,
                // Lists and streams have all the snapshots there may be: with the next look.
                Err(NotStored::Snapshot(SnapshotError::TooMany)) => continue,
                Err(NotStored::Snapshot(SnapshotError::Gone)) => {
                    "the state changed more than a snapshot may hold".into()
                }
                Err(NotStored::Snapshot(SnapshotError::Store(error))) => error.to_string(),
                Err(NotStored::Log(error)) => error.to_string(),
            };
            pause = (pause * 2).clamp(PAUSE.0, PAUSE.1);
            wait = pause;
            self.state.upkeep_failed();
            tracing::error!(error, ?pause, "the log could not be shortened; writing goes on");
        }
    }

    fn look(&self, keeper: &dyn Keeper) -> Result<(), NotStored> {
        let stored_bytes = keeper.usage().baseline.map_or(0, |baseline| baseline.bytes);
        if self.state.lock_bytes().total() > self.storage.baseline_after_bytes.max(stored_bytes) {
            self.store(keeper)?;
        }
        let children = self.node.children();
        let wanted_by_children =
            children.iter().filter(|child| !child.in_baseline).map(|child| child.sent_seq + 1).min();
        // Like a child that has yet to read it: up to the hard cap.
        let wanted_from = wanted_by_children.into_iter().chain(self.archive(keeper)).min();
        let freed = self.runtime.block_on(keeper.trim(&self.storage.retention, wanted_from));
        match freed.map_err(NotStored::Log)? {
            0 => {}
            bytes => tracing::info!(bytes, "let go of log that a stored baseline covers"),
        }
        Ok(())
    }

    /// Adds the writes up to `seq` that may be sent again. The writer goes on noting others between two pieces.
    fn store_repeats(&self, sink: &mut dyn BaselineSink, seq: u64) -> Result<(), NotStored> {
        let mut after = 0;
        loop {
            let piece = repeats_piece(&self.state.repeats(), after, seq);
            let Some((text, last)) = piece else { return Ok(()) };
            self.runtime.block_on(sink.push(BaselinePiece::Beside(&text))).map_err(NotStored::Log)?;
            after = last;
        }
    }

    /// Archives what was sealed. Returns from which seq on the log is not archived; `None` where it is not to be.
    fn archive(&self, keeper: &dyn Keeper) -> Option<u64> {
        let directory = self.storage.archive.as_deref()?;
        let before = self.state.archived().unwrap_or_default();
        let mut archived = Archived { through: before.through, failure: None };
        let outcome = self.archive_sealed(keeper, directory, &mut archived.through);
        if let Err(error) = outcome {
            let failure = error.to_string();
            if before.failure.as_ref() != Some(&failure) {
                self.state.upkeep_failed();
                let through = archived.through;
                tracing::error!(
                    error = failure,
                    through,
                    "the log could not be archived; it is kept up to its hard cap"
                );
            }
            archived.failure = Some(failure);
        } else if before.failure.is_some() {
            tracing::info!(through = archived.through, "the log is archived again");
        }
        let from = archived.through + 1;
        self.state.set_archived(archived);
        Some(from)
    }

    fn archive_sealed(&self, keeper: &dyn Keeper, directory: &Path, through: &mut u64) -> Result<(), BackupError> {
        let (Some(cluster), epochs) = keeper.history() else { return Ok(()) };
        let (archive, reader) = (Archive::new(directory, cluster), keeper.reader());
        for (after, last) in keeper.sealed() {
            if last <= *through || self.ended.try_recv() == Err(TryRecvError::Disconnected) {
                continue;
            }
            let written = archive.add((after, last), &epochs, &mut |from| {
                let chunk = self.runtime.block_on(reader.read(from, ARCHIVE_READ_BYTES));
                let chunk = chunk.map_err(|error| BackupError::State(format!("the log cannot be read: {error}")))?;
                let chunk = chunk.ok_or_else(|| BackupError::State(format!("the log has no record {from}")))?;
                Ok((chunk.lines, chunk.through))
            })?;
            if written {
                tracing::info!(first = after + 1, last, "archived a part of the log");
            }
            *through = last;
        }
        Ok(())
    }

    fn store(&self, keeper: &dyn Keeper) -> Result<(), NotStored> {
        let started = Instant::now();
        let counted = self.state.lock_bytes().clone();
        let snapshot = self.node.store().snapshot_for_disk().map_err(NotStored::Snapshot)?;
        let mut pieces = StatePieces::new(Arc::new(snapshot));
        let facts = pieces.facts();
        let (seq, keys) = (facts.seq, facts.keys);
        let mut sink = self.runtime.block_on(keeper.begin(seq)).map_err(NotStored::Log)?;
        while let Some(piece) = pieces.next_piece().map_err(NotStored::Snapshot)? {
            if self.ended.try_recv() == Err(TryRecvError::Disconnected) {
                return Err(NotStored::Ended);
            }
            // How far the state is comes last.
            if matches!(piece, StatePiece::Progress(_)) {
                self.store_repeats(&mut *sink, seq)?;
            }
            self.runtime.block_on(sink.push(piece.as_baseline())).map_err(NotStored::Log)?;
        }
        self.runtime.block_on(sink.finish(facts)).map_err(NotStored::Log)?;
        self.state.lock_bytes().subtract(&counted);
        let bytes = keeper.usage().baseline.map_or(0, |baseline| baseline.bytes);
        let ms = started.elapsed().as_millis() as u64;
        tracing::info!(seq, keys, bytes, ms, "stored a baseline of the state");
        Ok(())
    }
}
