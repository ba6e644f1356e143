//! The writer: owns the log, decides writes one after the other, and publishes what is durable.
//!
//! It runs on a thread of its own, because a sync can take seconds and connections must not wait for it. It takes
//! everything that waits, decides it, appends it as one group, publishes, and only then answers, refusals included: what
//! a refusal was decided on may be in the same group.

mod begin;
mod deciding;
mod log_bytes;
mod origin;
mod queue;
mod recover;
#[cfg(test)]
mod tests;
mod upkeep;

pub(crate) use begin::{WriterSettings, open};
pub(crate) use origin::Origin;
pub(crate) use queue::{BatchEntry, RequestAction, WriteRequest, Writes, Written};

use crate::bell::Bell;
use crate::clock::wall_ms;
use crate::log_view::LogView;
use crate::wal::{Appender, Group, GroupBuilder, Keeper, OpenOptions, Usage, Wal};
use headwater_core::api::{ApiError, Code, Counts};
use headwater_core::apply::ApplyError;
use headwater_core::command::{Line, Trust, decode};
use headwater_core::node::Node;
use headwater_core::position::Position;
use headwater_core::repeats::{Bounds, Repeats};
use headwater_core::store::memory::MemoryStore;
use headwater_core::writer::{Accepted, Refusal, Sequencer};
use log_bytes::LogBytes;
use queue::{Message, Outcome, Pending};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use upkeep::Upkeep;

/// Most writes in one group.
const GROUP_WRITES_MAX: usize = 4_096;
/// Bytes of writes after which a group takes no further one.
const GROUP_BYTES_MAX: usize = 8 << 20;

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
    pub(crate) state: Arc<LogState>,
}

/// The writer's thread.
pub(crate) struct Writer {
    node: Arc<Node<MemoryStore>>,
    wal: Box<dyn Wal>,
    /// `None` from a failure until the log is open again.
    appender: Option<Box<dyn Appender>>,
    sequencer: Sequencer,
    options: OpenOptions,
    around: Surroundings,
    runtime: Handle,
    /// `None` where the log bounds itself.
    upkeep: Option<Upkeep>,
    scratch: Vec<u8>,
}

/// A record of the log cannot be applied: nothing behind it may be published.
#[derive(Debug)]
struct CannotApply(String);

impl Writer {
    fn run(mut self, receiver: &Receiver<Message>) {
        while let Ok(message) = receiver.recv() {
            let closing = match message {
                Message::Write(first) => self.take_turn(first, receiver),
                Message::Close(closed) => Some(closed),
            };
            if let Some(closed) = closing {
                return self.close(receiver, closed);
            }
        }
    }

    /// Writes a group of everything that waits.
    fn take_turn(&mut self, first: Pending, receiver: &Receiver<Message>) -> Option<oneshot::Sender<()>> {
        let mut bytes = first.bytes();
        let mut waiting = vec![first];
        let mut closing = None;
        while waiting.len() < GROUP_WRITES_MAX && bytes < GROUP_BYTES_MAX {
            match receiver.try_recv() {
                Ok(Message::Write(pending)) => {
                    bytes += pending.bytes();
                    waiting.push(pending);
                }
                Ok(Message::Close(closed)) => {
                    closing = Some(closed);
                    break;
                }
                Err(_) => break,
            }
        }
        let failure = self.write_group(waiting, bytes);
        match failure {
            Some(failure) => self.recover(failure, receiver, closing),
            None => closing,
        }
    }

    /// Decides, appends, publishes and answers; returns why the log failed, if it did.
    fn write_group(&mut self, waiting: Vec<Pending>, bytes: usize) -> Option<recover::Failure> {
        let now_ms = wall_ms();
        let mut group = GroupBuilder::with_capacity(bytes + 128 * waiting.len());
        let mut decided = Vec::with_capacity(waiting.len());
        for pending in waiting {
            let (decision, decided_at) = self.decide(&pending.request, now_ms, &mut group);
            decided.push((pending, decision, decided_at));
        }
        let group = group.finish();
        if let Err(failure) = self.append(&group) {
            self.around.metrics.writes_failed_total.add(decided.len() as u64);
            for (pending, ..) in decided {
                pending.answer(Err(failure.answer()));
            }
            return Some(failure);
        }
        for (pending, decision, decided_at) in decided {
            pending.answer(self.outcome(decision, decided_at));
        }
        None
    }

    /// The answer to a decision, as of the position it was decided at: writes behind it in the group may undo what it
    /// says.
    fn outcome(&self, decision: Result<Accepted, Refusal>, decided_at: Position) -> Outcome {
        match decision {
            Ok(accepted) => {
                self.around.metrics.writes_total.one();
                Ok(Written { accepted, position: decided_at })
            }
            Err(refusal) => {
                self.around.metrics.writes_refused_total.one();
                Err(ApiError::from(refusal).as_of(decided_at, None))
            }
        }
    }

    /// Makes a group durable, then publishes it.
    fn append(&mut self, group: &Group) -> Result<(), recover::Failure> {
        let Some(last) = group.last() else { return Ok(()) };
        let Some(appender) = &mut self.appender else { return Err(recover::Failure::Closed) };
        self.runtime.block_on(appender.append(group)).map_err(recover::Failure::Append)?;
        self.publish(group).map_err(recover::Failure::Apply)?;
        self.sequencer.settle(last);
        self.around.metrics.log_groups_total.one();
        self.around.bell.ask();
        Ok(())
    }

    /// Applies and feeds durable lines.
    fn publish(&self, group: &Group) -> Result<(), CannotApply> {
        let mut start = 0;
        let mut published = Vec::with_capacity(group.len());
        let mut publication = self.node.publish();
        for record in group.records() {
            let range = start..start + record.line.len();
            start = range.end;
            let line = &record.line[..record.line.len() - 1];
            let command = match decode(line, Trust::Canonical) {
                Ok(Line::Log(command)) => command,
                Ok(_) => return Err(CannotApply(format!("record {} is no command of the log", record.seq))),
                Err(error) => return Err(CannotApply(format!("record {}: {error}", record.seq))),
            };
            let applied = publication.apply(&command, group.lines(), range);
            applied.map_err(|error: ApplyError| CannotApply(format!("record {}: {error}", record.seq)))?;
            published.push((command, record.line.len()));
        }
        drop(publication);
        let mut bytes = self.around.state.lock_bytes();
        published.iter().for_each(|(command, len)| bytes.add(command, *len));
        if let Some(floor) = self.around.log.floor() {
            bytes.forget_before(floor + 1);
        }
        Ok(())
    }

    /// Ends: what is still queued is written, later writes are refused, the log is closed.
    fn close(mut self, receiver: &Receiver<Message>, closed: oneshot::Sender<()>) {
        let mut closers = vec![closed];
        while let Ok(message) = receiver.try_recv() {
            match message {
                Message::Write(first) if self.appender.is_some() => closers.extend(self.take_turn(first, receiver)),
                Message::Write(pending) => pending.answer(Err(queue::closed())),
                Message::Close(closed) => closers.push(closed),
            }
        }
        self.around.state.set_writable(false);
        if let Some(upkeep) = self.upkeep.take() {
            upkeep.end();
        }
        self.around.state.set_keeper(None);
        if let Some(appender) = self.appender.take()
            && let Err(error) = self.runtime.block_on(appender.close())
        {
            tracing::warn!(%error, "the log could not be marked as closed in good order; nothing acknowledged is lost");
        }
        // Whoever is told may open the log at once.
        drop(self);
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
