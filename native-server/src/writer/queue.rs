//! The way of a write from a request to the writer's thread and back. Bounded by count and by bytes; what finds no room
//! is refused at once.

use super::origin::Origin;
use crate::audit::Op;
use headwater_core::api::{ApiError, Code, KeyFate};
use headwater_core::position::Position;
use headwater_core::writer::{Accepted, EntryWrite, Guard, Tags, Write, WriteAction};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A write as it waits for its turn.
#[derive(Debug)]
pub(crate) struct WriteRequest {
    pub(crate) collection: String,
    pub(crate) action: RequestAction,
    pub(crate) origin: Origin,
    /// Whether the node itself writes, to a collection of the system's.
    pub(crate) system: bool,
    /// What becomes of a key by it; `None` where it is about none.
    pub(crate) fate: Option<KeyFate>,
}

/// What a waiting write asks for.
#[derive(Debug)]
pub(crate) enum RequestAction {
    /// Make the collection.
    Create,
    /// Drop it.
    Drop,
    /// Write (or, without a value, delete) an entry.
    Entry { key: String, value: Option<String>, guard: Guard },
    /// Write and delete several, all or none.
    Batch(Vec<BatchEntry>),
}

/// One entry of a waiting batch.
#[derive(Debug)]
pub(crate) struct BatchEntry {
    pub(crate) key: String,
    /// `None` to delete it.
    pub(crate) value: Option<String>,
    pub(crate) guard: Guard,
}

impl WriteRequest {
    /// What a client asks for.
    pub(crate) fn of(collection: String, action: RequestAction, origin: Origin) -> Self {
        Self { collection, action, origin, system: false, fate: None }
    }

    /// The same as core takes it.
    pub(super) fn as_write(&self) -> Write<'_> {
        let action = match &self.action {
            RequestAction::Create => WriteAction::Create,
            RequestAction::Drop => WriteAction::Drop,
            RequestAction::Entry { key, value, guard } => {
                WriteAction::Entry(EntryWrite { key, value: value.as_deref(), guard: guard.clone() })
            }
            RequestAction::Batch(entries) => {
                let entries = entries.iter().map(|BatchEntry { key, value, guard }| EntryWrite {
                    key,
                    value: value.as_deref(),
                    guard: guard.clone(),
                });
                WriteAction::Batch(entries.collect())
            }
        };
        Write { collection: &self.collection, action, system: self.system }
    }

    /// What it does, as it is noted.
    pub(crate) fn op(&self) -> Op {
        match &self.action {
            RequestAction::Create => Op::Create,
            RequestAction::Drop => Op::Drop,
            RequestAction::Entry { value: Some(_), .. } => Op::Set,
            RequestAction::Entry { value: None, .. } => Op::Delete,
            RequestAction::Batch(_) => Op::Batch,
        }
    }

    fn bytes(&self) -> usize {
        let action = match &self.action {
            RequestAction::Create | RequestAction::Drop => 0,
            RequestAction::Entry { key, value, guard } => {
                key.len() + value.as_ref().map_or(0, String::len) + guard_bytes(guard)
            }
            RequestAction::Batch(entries) => {
                let bytes = |BatchEntry { key, value, guard }: &BatchEntry| {
                    key.len() + value.as_ref().map_or(0, String::len) + guard_bytes(guard)
                };
                // An entry takes room even where its texts are short.
                entries.iter().map(|entry| size_of::<BatchEntry>() + bytes(entry)).sum()
            }
        };
        self.collection.len() + action
    }
}

/// A guard may name as many tags as its body has room for.
fn guard_bytes(guard: &Guard) -> usize {
    let of = |tags: &Option<Tags>| match tags {
        Some(Tags::List(tags)) => tags.iter().map(|tag| size_of::<String>() + tag.len()).sum(),
        Some(Tags::Any) | None => 0,
    };
    of(&guard.matches) + of(&guard.matches_none)
}

/// What became of a write that is durable and published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) accepted: Accepted,
    /// The write's own position, or where it was found to change nothing.
    pub(crate) position: Position,
}

pub(crate) type Outcome = Result<Written, ApiError>;

/// A write in the queue, with the one who waits for it.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) request: WriteRequest,
    answer: oneshot::Sender<Outcome>,
    bytes: usize,
    queue: Arc<Queue>,
}

/// What waits for the log.
#[derive(Debug, Default)]
struct Queue {
    bytes: AtomicUsize,
    /// When each came that is not answered, the oldest first: writes are answered in the order in which they came.
    since: Mutex<VecDeque<Instant>>,
}

impl Queue {
    fn since(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        // Times alone: a panic leaves at worst one too many.
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entered(&self, bytes: usize) -> usize {
        self.since().push_back(Instant::now());
        self.bytes.fetch_add(bytes, Ordering::Relaxed)
    }

    /// One has been answered, or `found_no_room`.
    fn left(&self, bytes: usize, found_no_room: bool) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let mut since = self.since();
        if found_no_room {
            since.pop_back()
        } else {
            since.pop_front()
        };
    }

    /// How long the oldest has waited.
    fn age(&self) -> Duration {
        self.since().front().map_or(Duration::ZERO, Instant::elapsed)
    }
}

impl Pending {
    /// Its weight in the queue.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Answers. One who has gone away meanwhile does not hear it. What was asked for is given back.
    pub(super) fn answer(self, outcome: Outcome) -> WriteRequest {
        self.queue.left(self.bytes, false);
        drop(self.answer.send(outcome));
        self.request
    }
}

/// What the writer's thread is sent.
#[derive(Debug)]
pub(super) enum Message {
    Write(Pending),
    /// Finish what is queued, close the log, and say so.
    Close(oneshot::Sender<()>),
}

/// The sending end.
#[derive(Debug)]
pub(crate) struct Writes {
    sender: SyncSender<Message>,
    queue: Arc<Queue>,
    bytes_max: usize,
    age_max: Duration,
}

impl Writes {
    /// A queue for at most `count_max` writes of at most `bytes_max` bytes together, that takes none while one has waited
    /// for `age_max`.
    pub(super) fn new(count_max: usize, bytes_max: usize, age_max: Duration) -> (Self, Receiver<Message>) {
        let (sender, receiver) = sync_channel(count_max);
        (Self { sender, queue: Arc::default(), bytes_max, age_max }, receiver)
    }

    /// Queues a write and waits until it, and everything it was decided on, is durable and published.
    ///
    /// # Errors
    /// The answer to give: a refusal by the rules, 503 `overloaded` when there is no room, 503 `outcome_unknown` or 507
    /// when the log failed.
    pub(crate) async fn write(&self, request: WriteRequest) -> Outcome {
        let age = self.queue.age();
        if age >= self.age_max {
            let words =
                format!("writes have waited for the log for {} s: nothing was written, come back", age.as_secs());
            return Err(ApiError::new(Code::Overloaded, words));
        }
        let bytes = request.bytes();
        let (answer, answered) = oneshot::channel();
        let before = self.queue.entered(bytes);
        let pending = Message::Write(Pending { request, answer, bytes, queue: Arc::clone(&self.queue) });
        let sent = if before + bytes > self.bytes_max && before > 0 {
            Err(TrySendError::Full(pending))
        } else {
            self.sender.try_send(pending)
        };
        if let Err(error) = sent {
            self.queue.left(bytes, true);
            return Err(match error {
                TrySendError::Full(_) => {
                    ApiError::new(Code::Overloaded, "too many writes wait for the log: nothing was written, come back")
                }
                TrySendError::Disconnected(_) => closed(),
            });
        }
        answered.await.unwrap_or_else(|_| {
            Err(ApiError::new(Code::OutcomeUnknown, "the writer stopped: the write may or may not have happened"))
        })
    }

    /// Lets the writer finish what is queued and close the log. Blocks the thread until there is room for the message.
    pub(crate) fn close(&self) -> oneshot::Receiver<()> {
        let (closed, is_closed) = oneshot::channel();
        // A thread that has ended already drops the message, which the receiver sees.
        drop(self.sender.send(Message::Close(closed)));
        is_closed
    }
}

/// The answer to a write that comes when the log is closed.
pub(super) fn closed() -> ApiError {
    ApiError::new(Code::NotReady, "this node is shutting down: nothing was written")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(value_bytes: usize) -> WriteRequest {
        let value = Some("v".repeat(value_bytes));
        let action = RequestAction::Entry { key: "k".into(), value, guard: Guard::default() };
        WriteRequest::of("c".into(), action, Origin::default())
    }

    const AGE_MAX: Duration = Duration::from_secs(600);

    async fn refused(writes: &Writes, request: WriteRequest) -> Code {
        writes.write(request).await.unwrap_err().code
    }

    #[tokio::test]
    async fn refuses_what_finds_no_room() {
        let (writes, receiver) = Writes::new(1, 100, AGE_MAX);
        let writes = Arc::new(writes);
        let first = tokio::spawn({
            let writes = Arc::clone(&writes);
            async move { writes.write(set(90)).await }
        });
        while writes.queue.bytes.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(refused(&writes, set(9)).await, Code::Overloaded, "by bytes");
        assert_eq!(refused(&writes, set(1)).await, Code::Overloaded, "by count");
        let Ok(Message::Write(pending)) = receiver.recv() else { panic!("no write") };
        pending.answer(Err(closed()));
        assert_eq!(first.await.unwrap().unwrap_err().code, Code::NotReady);
        assert_eq!(writes.queue.bytes.load(Ordering::Relaxed), 0);
        drop(receiver);
        assert_eq!(refused(&writes, set(1)).await, Code::NotReady);
    }

    #[tokio::test]
    async fn takes_none_while_one_has_waited_too_long_and_some_as_soon_as_it_is_answered() {
        let (writes, receiver) = Writes::new(9, 1_000, Duration::from_millis(20));
        let writes = Arc::new(writes);
        let send = || {
            let writes = Arc::clone(&writes);
            tokio::spawn(async move { writes.write(set(1)).await })
        };
        let first = send();
        while writes.queue.age() < Duration::from_millis(20) {
            tokio::task::yield_now().await;
        }
        assert_eq!(refused(&writes, set(1)).await, Code::Overloaded);
        let take = || {
            let Ok(Message::Write(pending)) = receiver.recv() else { panic!("no write") };
            pending.answer(Err(closed()));
        };
        take();
        assert_eq!(first.await.unwrap().unwrap_err().code, Code::NotReady);
        let second = send();
        while writes.queue.age().is_zero() {
            tokio::task::yield_now().await;
        }
        take();
        assert_eq!(second.await.unwrap().unwrap_err().code, Code::NotReady, "it was taken");
        assert!(writes.queue.since().is_empty());
    }

    #[test]
    fn everything_that_waits_weighs() {
        let tags = Some(Tags::List(vec!["t".repeat(1_000), "u".repeat(2_000)]));
        let guard = Guard { matches: tags.clone(), matches_none: tags };
        let weight = |action| WriteRequest::of("c".into(), action, Origin::default()).bytes();
        let value = || Some("v".repeat(100));
        let alone = RequestAction::Entry { key: "k".into(), value: value(), guard: guard.clone() };
        assert!((6_102..6_400).contains(&weight(alone)));
        let entry = || BatchEntry { key: "k".into(), value: value(), guard: guard.clone() };
        assert!((12_203..13_200).contains(&weight(RequestAction::Batch(vec![entry(), entry()]))));
    }

    #[tokio::test]
    async fn a_single_write_above_the_bound_in_bytes_passes_an_empty_queue() {
        let (writes, receiver) = Writes::new(1, 10, AGE_MAX);
        let answering = std::thread::spawn(move || {
            let Ok(Message::Write(pending)) = receiver.recv() else { panic!("no write") };
            pending.answer(Err(closed()));
        });
        assert_eq!(refused(&writes, set(90)).await, Code::NotReady);
        answering.join().unwrap();
    }
}
