//! The audit log: who changed what, when and from where, and who was refused, as a file of its own whose lines are chained
//! by hashes. `docs/audit.md` says what is in it.
//!
//! Whoever has something to note puts it into a bounded queue and goes on; one thread writes. What finds no room is
//! counted, and that it was lost is a line of its own. With `--audit-required` writes are refused instead, from the moment
//! that the file cannot be written or the queue fills up.

mod book;
mod chain;
mod event;
mod reading;
mod tally;
#[cfg(test)]
mod tests;
mod thread;

pub(crate) use book::{Author, Book, Keep};
pub(crate) use chain::{Entry, Hash, Head};
pub(crate) use event::{Changes, Event, Op, Refusals, Way};
pub(crate) use reading::{Findings, Following, Place, files, lines_of};

use crate::clock::wall_ms;
use crate::trouble::{Trouble, Troubles};
use crate::wal::storage::{Directory, Storage};
use headwater_core::api::{ApiError, Code, Counts};
use headwater_core::network::network;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tally::Tally;
use thread::{Message, Scribe};

/// Notes what a command does to a node's state in that node's audit log, while it does not run. `author` is the command's
/// name.
///
/// # Errors
/// The medium's, and where a node runs after all.
pub(crate) fn note_of_command(directory: &Path, author: &str, event: Event) -> io::Result<()> {
    let author = Author { node: author.into(), instance: String::new() };
    // What is kept is the node's to decide.
    let keep = Keep { file_bytes: u64::MAX, bytes: u64::MAX, age: Duration::MAX };
    let (mut book, _) = Book::open(Arc::new(Directory::new(directory)), directory, author, keep)?;
    book.add(event, wall_ms());
    book.write()?;
    book.sync()
}

/// Most events that wait to be written.
const QUEUE_MAX: usize = 16_384;
/// Events that wait beyond which a node that must note everything takes no further write: those under way find room.
const QUEUE_ADMITS: usize = QUEUE_MAX / 4;

/// Where the audit log is, and how much is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) directory: PathBuf,
    pub(crate) keep: Keep,
    /// Whether writes are refused where they could not be noted.
    pub(crate) required: bool,
}

/// What the thread shares with those who note.
struct Shared {
    tally: Mutex<Tally>,
    /// Events that wait.
    waiting: AtomicUsize,
    /// Events that found no room, and since when.
    lost: AtomicU64,
    lost_since_ms: AtomicU64,
    troubles: Troubles,
    head: Mutex<Head>,
    is_ending: AtomicBool,
    metrics: Arc<Counts>,
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        // Counts alone: a panic leaves nothing behind that could mislead more than one missing number.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The audit log of a node, or none.
pub(crate) struct Audit(Option<Running>);

struct Running {
    sender: SyncSender<Message>,
    shared: Arc<Shared>,
    required: bool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How the audit log stands, for the node's status.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) head: Head,
    pub(crate) trouble: Option<Trouble>,
}

impl Audit {
    /// None: nothing is noted.
    pub(crate) fn off() -> Self {
        Self(None)
    }

    /// Opens it and starts its thread. What the time before has left there is told in the node's log.
    ///
    /// # Errors
    /// When the directory cannot be used. That it is full is no error: events wait then.
    pub(crate) fn start(plan: &Plan, author: Author, metrics: Arc<Counts>) -> io::Result<Self> {
        Self::start_on(Arc::new(Directory::new(&plan.directory)), plan, author, metrics)
    }

    fn start_on(storage: Arc<dyn Storage>, plan: &Plan, author: Author, metrics: Arc<Counts>) -> io::Result<Self> {
        let (book, before) = Book::open(storage, &plan.directory, author, plan.keep.clone())?;
        if let Some(bytes) = before.torn {
            tracing::warn!(bytes, "the audit log ended within a line, which is noted in it");
        }
        let shared = Arc::new(Shared {
            tally: Mutex::default(),
            waiting: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            lost_since_ms: AtomicU64::new(0),
            troubles: Troubles::default(),
            head: Mutex::new(book.head()),
            is_ending: AtomicBool::new(false),
            metrics,
        });
        if let Some(place) = before.broken {
            tracing::error!(place, "the audit log was changed while the node was down: headwater audit verify");
            shared.metrics.audit_failures_total.one();
        }
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let scribe = Scribe::new(book, Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("audit".into()).spawn(move || scribe.run(&receiver))?;
        Ok(Self(Some(Running { sender, shared, required: plan.required, thread: Mutex::new(Some(thread)) })))
    }

    /// Notes an event. Never waits: where there is no room for it, that is noted as soon as there is.
    pub(crate) fn note(&self, event: Event) {
        if let Some(running) = &self.0 {
            running.note(event);
        }
    }

    /// Notes a refusal, or counts it where there were others of its kind.
    pub(crate) fn refused(&self, refusal: Refusals) {
        self.refused_to(refusal, || None);
    }

    /// The same of one who claimed to be somebody: what that is, is asked for where it is noted.
    pub(crate) fn refused_to(&self, refusal: Refusals, claimed: impl FnOnce() -> Option<String>) {
        let Some(running) = &self.0 else { return };
        let network = refusal.peer.map(network);
        let first = running.shared.tally().count(refusal, network, wall_ms(), Instant::now());
        if let Some(first) = first {
            running.note(Event::Refused(Refusals { claimed: claimed().or(first.claimed), ..first }));
        }
    }

    /// Whether a write may be taken: always, unless everything must be noted and cannot be.
    ///
    /// # Errors
    /// 503 `not_ready`.
    pub(crate) fn admits(&self) -> Result<(), ApiError> {
        let Some(running) = self.0.as_ref().filter(|running| running.required) else { return Ok(()) };
        let why = match running.shared.troubles.now() {
            Some(trouble) => trouble.message,
            None if running.shared.waiting.load(Ordering::Relaxed) > QUEUE_ADMITS => {
                "more happens than can be written to it".into()
            }
            None => return Ok(()),
        };
        let words = format!(
            "the audit log takes nothing now, and this node writes nothing without it (--audit-required): {why}"
        );
        Err(ApiError::new(Code::NotReady, words))
    }

    /// How it stands; `None` where there is none.
    pub(crate) fn standing(&self) -> Option<Standing> {
        let shared = &self.0.as_ref()?.shared;
        let head = *shared.head.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Standing { head, trouble: shared.troubles.now() })
    }

    /// Notes a last event, writes everything and ends. Blocks the thread meanwhile.
    pub(crate) fn end(&self, last: Event) {
        let Some(running) = &self.0 else { return };
        running.note(last);
        running.shared.is_ending.store(true, Ordering::Release);
        let thread = running.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        // Wakes it where nothing came for a while; where the queue is full it is awake.
        drop(running.sender.try_send(Message::Look));
        thread.thread().unpark();
        if thread.join().is_err() {
            tracing::error!("the audit log's thread has failed");
        }
    }
}

impl Running {
    fn note(&self, event: Event) {
        let at_ms = wall_ms();
        // Counted first: the thread may have taken it before this one goes on.
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        let Err(error) = self.sender.try_send(Message::Event(Box::new(event), at_ms)) else { return };
        self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        self.shared.metrics.audit_lost_total.one();
        if self.shared.lost.fetch_add(1, Ordering::Relaxed) == 0 {
            self.shared.lost_since_ms.store(at_ms, Ordering::Relaxed);
        }
        if let TrySendError::Disconnected(_) = error {
            self.shared.troubles.failed("its thread has ended".into());
        }
    }
}
