//! The writer: owns the log, decides writes one after the other, and publishes what is durable.
//!
//! It runs on a thread of its own, because a sync can take seconds and connections must not wait for it. It takes
//! everything that waits, decides it, appends it as one group, publishes, and only then answers, refusals included: what
//! a refusal was decided on may be in the same group. While a group is being synced ([`commit`]) the next is decided on
//! it; if the first fails, both do.

mod archiving;
mod begin;
mod commit;
mod deciding;
mod log_bytes;
mod noting;
mod origin;
mod queue;
mod recover;
mod sealing;
#[cfg(test)]
mod tests;
mod upkeep;

pub(crate) use archiving::Archived;
pub(crate) use begin::{WriterSettings, open};
pub(crate) use origin::Origin;
pub(crate) use queue::{BatchEntry, RequestAction, WriteRequest, Writes, Written};

use crate::audit::Audit;
use crate::bell::Bell;
use crate::clock::wall_ms;
use crate::log_view::LogView;
use crate::trouble::{Trouble, Troubles};
use crate::wal::{Appender, GroupBuilder, Keeper, OpenOptions, Usage, Wal};
use archiving::Archiving;
use commit::{Commit, Committer, Decided, Extent, Job};
use headwater_core::api::{ApiError, Code, Counts};
use headwater_core::repeats::{Bounds, Repeats};
use headwater_core::writer::Sequencer;
use log_bytes::LogBytes;
use queue::Message;
use sealing::Sealing;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use upkeep::Upkeep;

/// Most writes in one group.
const GROUP_WRITES_MAX: usize = 4_096;
/// Bytes of writes after which a group takes no further one.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// How long the close waits for a piece of the archive that is being written.
const ARCHIVING_ENDS_WITHIN: Duration = Duration::from_secs(2);

/// Shortest and longest time between two looks for writes while a group is under way; doubled while none come.
const PAUSES: (Duration, Duration) = (Duration::from_micros(40), Duration::from_millis(1));

/// What others see of the writer and its log.
#[derive(Default)]
pub(crate) struct LogState {
    /// Whether writes are taken: false from a failure until the log is open again.
    writable: AtomicBool,
    bytes: Mutex<LogBytes>,
    /// Writes that may be sent again.
    repeats: Mutex<Repeats>,
    /// What bounds the log, while it is open; `None` for logs that do it themselves.
    keeper: Mutex<Option<Arc<dyn Keeper>>>,
    upkeep_failures: AtomicU64,
    /// What the log does not take, and what its upkeep cannot do.
    log_trouble: Troubles,
    upkeep_trouble: Troubles,
    archived: Mutex<Option<Archived>>,
    ended: Notify,
}

impl LogState {
    /// Of a log that is not open yet, whose writes may be sent again within `repeats`.
    pub(crate) fn new(repeats: Bounds) -> Self {
        Self { repeats: Mutex::new(Repeats::new(repeats)), ..Self::default() }
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Acquire)
    }

    /// Resolves when the writer's thread has ended, in order or not.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
    }

    fn set_writable(&self, writable: bool) {
        self.writable.store(writable, Ordering::Release);
    }

    /// Bytes of the lines the log holds of `collection`, from its CREATE on.
    pub(crate) fn bytes(&self, collection: &str) -> u64 {
        self.lock_bytes().of(collection)
    }

    /// What the log takes up; `None` for one in memory, or while it is closed.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.keeper().map(|keeper| keeper.usage())
    }

    /// How often a baseline could not be stored, or nothing be let go of.
    pub(crate) fn upkeep_failures(&self) -> u64 {
        self.upkeep_failures.load(Ordering::Relaxed)
    }

    /// What is wrong with the log's disk at this time: that nothing is written weighs more than that nothing is let go of.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.log_trouble.now().or_else(|| self.upkeep_trouble.now())
    }

    /// How far the log is archived; `None` where it is not to be.
    pub(crate) fn archived(&self) -> Option<Archived> {
        self.archived.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change_archived(&self, change: impl FnOnce(&mut Archived)) {
        change(self.archived.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default());
    }

    fn upkeep_failed(&self) {
        self.upkeep_failures.fetch_add(1, Ordering::Relaxed);
    }

    fn keeper(&self) -> Option<Arc<dyn Keeper>> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_keeper(&self, keeper: Option<Arc<dyn Keeper>>) {
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = keeper;
    }

    fn repeats(&self) -> MutexGuard<'_, Repeats> {
        // A panic in there is one of the writer's thread, and ends the node.
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_bytes(&self) -> MutexGuard<'_, LogBytes> {
        // A panic in there could leave a number out, and nothing relies on these.
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells of the end of the thread that holds it, a panic included.
struct TellsOfEnd(Arc<LogState>);

impl Drop for TellsOfEnd {
    fn drop(&mut self) {
        self.0.set_writable(false);
        self.0.ended.notify_one();
    }
}

/// What the writer shares with the rest of the server.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) bell: Arc<Bell>,
    pub(crate) log: Arc<LogView>,
    pub(crate) metrics: Arc<Counts>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) state: Arc<LogState>,
}

/// The writer's thread.
pub(crate) struct Writer {
    commit: Commit,
    /// `None` on one processor, where two threads would only get into each other's way.
    committer: Option<Committer>,
    wal: Box<dyn Wal>,
    /// `None` while the committer has it, and from a failure until the log is open again.
    appender: Option<Box<dyn Appender>>,
    sequencer: Sequencer,
    options: OpenOptions,
    /// From a refusal for want of room until a group as large was written.
    full: Option<recover::Full>,
    /// `None` where the log bounds itself.
    upkeep: Option<Upkeep>,
    /// `None` where nothing is to be archived.
    sealing: Option<Sealing>,
    /// The same.
    archiving: Option<Archiving>,
    scratch: Vec<u8>,
}

/// A record of the log cannot be applied: nothing behind it may be published.
#[derive(Debug)]
struct CannotApply(String);

/// Writes that are decided and not yet on their way to the log.
#[derive(Default)]
struct Gathering {
    group: GroupBuilder,
    decided: Vec<Decided>,
    bytes: usize,
}

impl Gathering {
    fn is_full(&self) -> bool {
        self.decided.len() >= GROUP_WRITES_MAX || self.bytes >= GROUP_BYTES_MAX
    }

    fn into_job(self) -> Job {
        Job { group: self.group.finish(), decided: self.decided }
    }
}

impl Writer {
    /// Takes what waits, decides it, and sees to it that it becomes durable, until told to close.
    fn run(mut self, receiver: &Receiver<Message>) {
        let mut gathering = Gathering::default();
        let mut closers = Vec::new();
        let mut pause = PAUSES.0;
        loop {
            let before = gathering.decided.len();
            self.gather(&mut gathering, receiver, &mut closers);
            let seal_in = self.sealing.as_ref().and_then(|sealing| sealing.due_in(Instant::now()));
            if let Some(committer) = self.committer.as_mut().filter(|committer| committer.is_busy()) {
                // Nobody wakes this thread for a write while one is under way: it looks again by itself, soon where many
                // come.
                let came = gathering.decided.len() > before;
                pause = if came { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
                let within = if gathering.is_full() { Duration::MAX } else { pause };
                let Some((done, extent)) = committer.wait(within) else { continue };
                self.appender = Some(done.appender);
                self.settle(done.outcome, extent, &mut gathering, receiver, &mut closers);
            } else if seal_in == Some(Duration::ZERO) {
                self.seal(&mut gathering, receiver, &mut closers);
            } else if !gathering.decided.is_empty() {
                self.send(std::mem::take(&mut gathering), receiver, &mut closers);
            } else if !closers.is_empty() {
                return self.close(receiver, closers);
            } else {
                match receiver.recv_timeout(seal_in.unwrap_or(Duration::MAX)) {
                    Ok(message) => self.take(message, &mut gathering, &mut closers),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        }
    }

    /// Decides what waits, as much as one group takes.
    fn gather(
        &mut self,
        gathering: &mut Gathering,
        receiver: &Receiver<Message>,
        closers: &mut Vec<oneshot::Sender<()>>,
    ) {
        while !gathering.is_full()
            && let Ok(message) = receiver.try_recv()
        {
            self.take(message, gathering, closers);
        }
    }

    fn take(&mut self, message: Message, gathering: &mut Gathering, closers: &mut Vec<oneshot::Sender<()>>) {
        match message {
            Message::Write(pending) => {
                gathering.bytes += pending.bytes();
                let (decision, at) = self.decide(&pending.request, wall_ms(), &mut gathering.group);
                gathering.decided.push(Decided { pending, decision, at });
            }
            Message::Close(closed) => closers.push(closed),
        }
    }

    /// Sends a group on its way.
    fn send(&mut self, gathering: Gathering, receiver: &Receiver<Message>, closers: &mut Vec<oneshot::Sender<()>>) {
        let job = gathering.into_job();
        let Some(mut appender) = self.appender.take() else {
            return self.commit.fail(job.decided, &recover::Failure::Closed);
        };
        match &mut self.committer {
            Some(committer) if job.decided.len() > 1 => committer.begin(appender, job),
            _ => {
                let extent = job.extent();
                let outcome = self.commit.run(&mut *appender, job);
                self.appender = Some(appender);
                self.settle(outcome, extent, &mut Gathering::default(), receiver, closers);
            }
        }
    }

    /// A group has ended: what it wrote is state now, or the log failed, and with it all that was decided since.
    fn settle(
        &mut self,
        outcome: Result<(), recover::Failure>,
        extent: Extent,
        gathering: &mut Gathering,
        receiver: &Receiver<Message>,
        closers: &mut Vec<oneshot::Sender<()>>,
    ) {
        match outcome {
            Ok(()) => {
                if let Some(last) = extent.last {
                    self.sequencer.settle(last);
                    self.sealing.iter_mut().for_each(|sealing| sealing.has_written(Instant::now()));
                }
                self.has_written(extent);
            }
            Err(failure) => {
                self.commit.fail(std::mem::take(gathering).decided, &failure);
                self.recover(failure, extent, receiver, closers);
            }
        }
    }

    /// Seals what was written, so that it is archived.
    fn seal(
        &mut self,
        gathering: &mut Gathering,
        receiver: &Receiver<Message>,
        closers: &mut Vec<oneshot::Sender<()>>,
    ) {
        let (Some(sealing), Some(appender)) = (&mut self.sealing, &mut self.appender) else { return };
        sealing.is_sealed();
        let outcome = self.commit.runtime.block_on(appender.seal()).map_err(recover::Failure::Append);
        self.settle(outcome, Extent::default(), gathering, receiver, closers);
    }

    /// Ends: later writes are refused, the log is closed.
    fn close(mut self, receiver: &Receiver<Message>, mut closers: Vec<oneshot::Sender<()>>) {
        let state = Arc::clone(&self.commit.around.state);
        state.set_writable(false);
        // First of all: whatever else hangs, the log is in good order.
        if let Some(mut appender) = self.appender.take() {
            if self.sealing.as_mut().is_some_and(Sealing::is_sealed)
                && let Err(error) = self.commit.runtime.block_on(appender.seal())
            {
                tracing::warn!(%error, "what was written last is archived only after the next start");
            }
            if let Err(error) = self.commit.runtime.block_on(appender.close()) {
                tracing::warn!(%error, "the log could not be marked as closed in good order; nothing acknowledged is lost");
            }
        }
        if let Some(upkeep) = self.upkeep.take() {
            upkeep.end();
        }
        if let Some(archiving) = self.archiving.take() {
            archiving.end(ARCHIVING_ENDS_WITHIN);
        }
        state.set_keeper(None);
        // Whoever is told may open the log at once.
        drop(self);
        while let Ok(message) = receiver.try_recv() {
            match message {
                Message::Write(pending) => drop(pending.answer(Err(queue::closed()))),
                Message::Close(closed) => closers.push(closed),
            }
        }
        for closed in closers {
            // Whoever asked may have stopped waiting.
            closed.send(()).ok();
        }
    }
}

/// The answer while the log is closed for writing.
fn unwritable() -> ApiError {
    ApiError::new(Code::NotReady, "the log is not open for writing at this time: nothing was written, come back")
}
