//! Bounds the log, on a thread beside the writer's: stores the state as a whole once enough was appended, and lets go of
//! what need not be kept. The writer waits for neither.

use super::LogState;
use crate::settings::Storage;
use crate::stored::{StatePiece, StatePieces, repeats_piece};
use crate::unhurried::Unhurried;
use crate::wal::{BaselinePiece, BaselineSink, Keeper, OpenError};
use headwater_core::node::Node;
use headwater_core::store::SnapshotError;
use headwater_core::store::memory::MemoryStore;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

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
        let thread = std::thread::Builder::new().name("log-upkeep".into()).spawn(move || {
            let _told = TellsOfPanic { state: Arc::clone(&work.state), what: "nothing bounds the log any more" };
            work.run();
        })?;
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

/// Tells at once when the thread that holds it ends by a fault of this program.
pub(super) struct TellsOfPanic {
    pub(super) state: Arc<LogState>,
    /// What that means.
    pub(super) what: &'static str,
}

impl Drop for TellsOfPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.state.upkeep_failed();
            tracing::error!("a fault of this program: {}; start the node again", self.what);
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

/// The node ends.
#[derive(Debug, PartialEq, Eq)]
struct Ended;

/// Why no baseline was stored.
enum NotStored {
    Log(OpenError),
    Snapshot(SnapshotError),
    /// The node ends.
    Ended,
}

/// After a failure, when the next attempt may be.
#[derive(Default)]
struct Attempts {
    length: Duration,
    until: Option<Instant>,
}

impl Attempts {
    fn may_begin(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() >= until)
    }

    fn failed(&mut self) -> Duration {
        self.length = (self.length * 2).clamp(PAUSE.0, PAUSE.1);
        self.until = Some(Instant::now() + self.length);
        self.length
    }
}

/// How the two things that are done go, each by itself: neither keeps the other from being tried.
#[derive(Default)]
struct Attempted {
    trimming: Attempts,
    storing: Attempts,
}

impl Attempted {
    /// Whether neither has failed when it was last tried.
    fn is_well(&self) -> bool {
        self.trimming.until.is_none() && self.storing.until.is_none()
    }
}

impl Work {
    fn run(self) {
        let mut attempted = Attempted::default();
        while self.ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            let Some(keeper) = self.state.keeper() else { continue };
            if self.look(&*keeper, &mut attempted) == Err(Ended) {
                return;
            }
            if attempted.is_well() {
                self.state.upkeep_trouble.is_over();
            }
        }
    }

    /// Does what is to be done. Trimming comes first, since on a full disk it makes the room that a baseline needs, and once
    /// more behind a new baseline, for what that covers.
    fn look(&self, keeper: &dyn Keeper, attempted: &mut Attempted) -> Result<(), Ended> {
        self.attempt_trimming(keeper, &mut attempted.trimming);
        let stored_bytes = keeper.usage().baseline.map_or(0, |baseline| baseline.bytes);
        let is_due = self.state.lock_bytes().total() > self.storage.baseline_after_bytes.max(stored_bytes);
        let storing = &mut attempted.storing;
        if !is_due || !storing.may_begin() {
            return Ok(());
        }
        let what = "the log could not be shortened, as no baseline could be stored";
        match self.store(keeper) {
            Ok(()) => {
                *storing = Attempts::default();
                self.attempt_trimming(keeper, &mut attempted.trimming);
            }
            Err(NotStored::Ended) => return Err(Ended),
            // The disk has all the snapshots there may be: with the next look.
            Err(NotStored::Snapshot(SnapshotError::TooMany)) => {}
            Err(NotStored::Snapshot(error)) => self.failed(storing, &error.to_string(), what),
            Err(NotStored::Log(error)) => self.failed(storing, &error.to_string(), what),
        }
        Ok(())
    }

    fn attempt_trimming(&self, keeper: &dyn Keeper, attempts: &mut Attempts) {
        if !attempts.may_begin() {
            return;
        }
        match self.trim(keeper) {
            Ok(()) => *attempts = Attempts::default(),
            Err(error) => self.failed(attempts, &error.to_string(), "the log could not be shortened"),
        }
    }

    fn failed(&self, attempts: &mut Attempts, error: &str, what: &str) {
        let pause = attempts.failed();
        self.state.upkeep_failed();
        self.state.upkeep_trouble.failed(format!("{what}: {error}"));
        tracing::error!(error, ?pause, "{what}; writing goes on");
    }

    fn trim(&self, keeper: &dyn Keeper) -> Result<(), OpenError> {
        let children = self.node.children();
        let wanted_by_children =
            children.iter().filter(|child| !child.in_baseline).map(|child| child.sent_seq + 1).min();
        // The archive is like a child that has yet to read it: up to the hard cap.
        let wanted_by_archive =
            self.storage.archive.as_ref().map(|_| self.state.archived().map_or(1, |archived| archived.through + 1));
        let wanted_from = wanted_by_children.into_iter().chain(wanted_by_archive).min();
        match self.runtime.block_on(keeper.trim(&self.storage.retention, wanted_from))? {
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

    fn store(&self, keeper: &dyn Keeper) -> Result<(), NotStored> {
        let started = Instant::now();
        let counted = self.state.lock_bytes().clone();
        let snapshot = self.node.store().snapshot_for_disk().map_err(NotStored::Snapshot)?;
        let mut pieces = StatePieces::new(Arc::new(snapshot));
        let facts = pieces.facts();
        let (seq, keys) = (facts.seq, facts.keys);
        let mut sink = self.runtime.block_on(keeper.begin(seq)).map_err(NotStored::Log)?;
        // Those who write wait for the same medium, unless the log has to become shorter now.
        let mut unhurried = (keeper.usage().log_bytes <= self.storage.retention.bytes_max).then(Unhurried::begin);
        while let Some(piece) = pieces.next_piece().map_err(NotStored::Snapshot)? {
            if self.ended.try_recv() == Err(TryRecvError::Disconnected) {
                return Err(NotStored::Ended);
            }
            // How far the state is comes last.
            if matches!(piece, StatePiece::Progress(_)) {
                self.store_repeats(&mut *sink, seq)?;
            }
            self.runtime.block_on(sink.push(piece.as_baseline())).map_err(NotStored::Log)?;
            unhurried.iter_mut().for_each(Unhurried::step);
        }
        self.runtime.block_on(sink.finish(facts)).map_err(NotStored::Log)?;
        self.state.lock_bytes().subtract(&counted);
        let bytes = keeper.usage().baseline.map_or(0, |baseline| baseline.bytes);
        let ms = started.elapsed().as_millis() as u64;
        tracing::info!(seq, keys, bytes, ms, "stored a baseline of the state");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
