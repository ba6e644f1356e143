//! The way of a write from a request to the writer's thread and back. Bounded by count and by bytes; what finds no room
//! is refused at once.

use super::origin::Origin;
use headwater_core::api::{ApiError, Code};
use headwater_core::position::Position;
use headwater_core::writer::{Accepted, EntryWrite, Guard, Tags, Write, WriteAction};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use tokio::sync::oneshot;

/// A write as it waits for its turn.
#[derive(Debug)]
pub(crate) struct WriteRequest {
    pub(crate) collection: String,
    pub(crate) action: RequestAction,
    pub(crate) origin: Origin,
    /// Whether the node itself writes, to a collection of the system's.
    pub(crate) system: bool,
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
        Self { collection, action, origin, system: false }
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
    queued_bytes: Arc<AtomicUsize>,
}

impl Pending {
    /// Its weight in the queue.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Answers. One who has gone away meanwhile does not hear it.
    pub(super) fn answer(self, outcome: Outcome) {
        self.queued_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        drop(self.answer.send(outcome));
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
    queued_bytes: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl Writes {
    /// A queue for at most `count_max` writes of at most `bytes_max` bytes together.
    pub(super) fn new(count_max: usize, bytes_max: usize) -> (Self, Receiver<Message>) {
        let (sender, receiver) = sync_channel(count_max);
        (Self { sender, queued_bytes: Arc::default(), bytes_max }, receiver)
    }

    /// Queues a write and waits until it, and everything it was decided on, is durable and published.
    ///
    /// # Errors
    /// The answer to give: a refusal by the rules, 503 `overloaded` when there is no room, 503 `outcome_unknown` or 507
    /// when the log failed.
    pub(crate) async fn write(&self, request: WriteRequest) -> Outcome {
        let bytes = request.bytes();
        let (answer, answered) = oneshot::channel();
        let before = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let queued_bytes = Arc::clone(&self.queued_bytes);
        let pending = Message::Write(Pending { request, answer, bytes, queued_bytes });
        let sent = if before + bytes > self.bytes_max && before > 0 {
            Err(TrySendError::Full(pending))
        } else {
            self.sender.try_send(pending)
        };
        if let Err(error) = sent {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
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

    async fn refused(writes: &Writes, request: WriteRequest) -> Code {
        writes.write(request).await.unwrap_err().code
    }

    #[tokio::test]
    async fn refuses_what_finds_no_room() {
        let (writes, receiver) = Writes::new(1, 100);
        let writes = Arc::new(writes);
        let first = tokio::spawn({
            let writes = Arc::clone(&writes);
            async move { writes.write(set(90)).await }
        });
        while writes.queued_bytes.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(refused(&writes, set(9)).await, Code::Overloaded, "by bytes");
        assert_eq!(refused(&writes, set(1)).await, Code::Overloaded, "by count");
        let Ok(Message::Write(pending)) = receiver.recv() else { panic!("no write") };
        pending.answer(Err(closed()));
        assert_eq!(first.await.unwrap().unwrap_err().code, Code::NotReady);
        assert_eq!(writes.queued_bytes.load(Ordering::Relaxed), 0);
        drop(receiver);
        assert_eq!(refused(&writes, set(1)).await, Code::NotReady);
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
        let (writes, receiver) = Writes::new(1, 10);
        let answering = std::thread::spawn(move || {
            let Ok(Message::Write(pending)) = receiver.recv() else { panic!("no write") };
            pending.answer(Err(closed()));
        });
        assert_eq!(refused(&writes, set(90)).await, Code::NotReady);
        answering.join().unwrap();
    }
}
