//! The one that writes: gathers what comes for a moment, joins what belongs together, and writes it with one call.

use super::Shared;
use super::book::Book;
use super::event::Event;
use crate::clock::wall_ms;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How long it waits for more once something came.
const GATHERED: Duration = Duration::from_millis(50);
/// Most events that are written at once.
const BATCH_MAX: usize = 4_096;
/// Lines of a batch that are looked through for one to join with.
const JOINED_WITH: usize = 32;
/// Time after which what was written is made to last.
const SYNCED_WITHIN: Duration = Duration::from_secs(1);
/// Time between two tries on a medium that takes nothing.
const RETRIED: Duration = Duration::from_millis(500);
/// How often it looks whether a file is to go.
const TIDIED: Duration = Duration::from_secs(60);
/// Longest time that nothing is looked at.
const LOOKED: Duration = Duration::from_secs(60);

/// What the thread is sent.
pub(super) enum Message {
    /// Something that happened, and when.
    Event(Box<Event>, u64),
    /// Nothing: it is to look around.
    Look,
}

/// What was taken from the queue.
enum Gathered {
    /// All that was there.
    All,
    /// As much as is written at once.
    Some,
    /// Nobody will send more.
    Closed,
}

/// See the module.
pub(super) struct Scribe {
    book: Book,
    shared: Arc<Shared>,
    /// Since when nothing could be written or made to last, and why.
    failing: Option<(u64, String)>,
    /// When what was written is to be made to last.
    sync_due: Option<Instant>,
    tidy_due: Instant,
    /// Whether the last try was of use.
    is_tidy: bool,
}

impl Scribe {
    pub(super) fn new(book: Book, shared: Arc<Shared>) -> Self {
        Self { book, shared, failing: None, sync_due: None, tidy_due: Instant::now() + TIDIED, is_tidy: true }
    }

    /// Writes until it is told to end.
    pub(super) fn run(mut self, receiver: &Receiver<Message>) {
        // What opening it has to say.
        self.write();
        loop {
            let mut is_ending = self.shared.is_ending.load(Ordering::Acquire);
            if self.failing.is_some() && !is_ending {
                // What comes meanwhile waits in the queue, as much as it takes.
                std::thread::park_timeout(RETRIED);
            } else {
                match self.gather(receiver, is_ending) {
                    Gathered::All => {}
                    // More is there: it ends with that.
                    Gathered::Some => is_ending = false,
                    Gathered::Closed => return,
                }
            }
            let is_told = is_ending || self.shared.tally().due().is_some_and(|due| due <= Instant::now());
            if is_told {
                self.add_counted(wall_ms());
            }
            self.write();
            if self.sync_due.is_some_and(|due| due <= Instant::now()) || is_ending {
                self.sync();
            }
            if is_ending {
                if self.book.pending() > 0 {
                    tracing::error!(events = self.book.pending(), "the audit log ends without what it could not write");
                }
                return;
            }
        }
    }

    /// Adds how many were refused since that was told last.
    fn add_counted(&mut self, at_ms: u64) {
        let counted = self.shared.tally().take();
        counted.into_iter().for_each(|refusals| self.book.add(Event::Refused(refusals), at_ms));
    }

    /// Takes what comes, for a moment from the first on; while it ends, what is there.
    fn gather(&mut self, receiver: &Receiver<Message>, is_ending: bool) -> Gathered {
        let now = Instant::now();
        let due = [self.sync_due, self.shared.tally().due(), Some(self.tidy_due)];
        let due = due.into_iter().flatten().min().unwrap_or(now + LOOKED);
        let mut until = if is_ending { now } else { due };
        let mut batch: Vec<(Event, u64)> = Vec::new();
        let mut taken = 0;
        while taken < BATCH_MAX {
            let message = match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Gathered::Closed,
            };
            let Message::Event(event, at_ms) = message else { break };
            if taken == 0 {
                until = until.min(Instant::now() + GATHERED);
            }
            taken += 1;
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            if !joins(&mut batch, &event) {
                batch.push((*event, at_ms));
            }
        }
        for (event, at_ms) in batch {
            if matches!(event, Event::Stop { .. }) {
                // It is the last line of an orderly end.
                self.add_counted(at_ms);
            }
            self.book.add(event, at_ms);
        }
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let since_ms = self.shared.lost_since_ms.load(Ordering::Relaxed);
            self.book.add(Event::Lost { count: lost, since_ms }, wall_ms());
        }
        if taken < BATCH_MAX { Gathered::All } else { Gathered::Some }
    }

    fn write(&mut self) {
        if self.failing.is_some() {
            return self.retry();
        }
        let lines = self.book.pending();
        if lines > 0 {
            if let Err(error) = self.book.write() {
                return self.failed("writing", &error);
            }
            self.has_written(lines);
        }
        // A file that is full goes on until the next one can be made, and that is not tried with every line.
        if self.tidy_due <= Instant::now() || (self.book.is_full() && self.is_tidy) {
            self.tidy_due = Instant::now() + TIDIED;
            let tidied = self.book.tidy(wall_ms());
            self.is_tidy = tidied.is_ok();
            if let Err(error) = tidied {
                self.failed("beginning a file or letting go of one", &error);
            }
        }
    }

    /// Tries what has failed again, and says behind it that it had.
    fn retry(&mut self) {
        let Some((since_ms, why)) = self.failing.clone() else { return };
        self.book.add(Event::Failed { why, since_ms }, wall_ms());
        let lines = self.book.pending();
        match self.book.write() {
            Ok(()) => {
                tracing::info!("the audit log is written again");
                self.failing = None;
                self.shared.troubles.is_over();
                self.has_written(lines);
            }
            Err(error) => {
                self.book.take_back();
                self.failed("writing", &error);
            }
        }
    }

    fn has_written(&mut self, lines: usize) {
        self.shared.metrics.audit_lines_total.add(lines as u64);
        self.sync_due.get_or_insert_with(|| Instant::now() + SYNCED_WITHIN);
        *self.shared.head.lock().unwrap_or_else(PoisonError::into_inner) = self.book.head();
    }

    fn sync(&mut self) {
        self.sync_due = None;
        if let Err(error) = self.book.sync() {
            self.failed("syncing", &error);
        }
    }

    fn failed(&mut self, what: &str, error: &io::Error) {
        let why = format!("{what}: {error}");
        if self.failing.is_none() {
            self.shared.metrics.audit_failures_total.one();
            tracing::error!(error = why, "the audit log cannot be written; events wait, as many as there is room for");
        }
        self.shared.troubles.failed(format!("the audit log cannot be written: {why}"));
        let since_ms = self.failing.as_ref().map_or_else(wall_ms, |(since_ms, _)| *since_ms);
        self.failing = Some((since_ms, why));
    }
}

/// Joins changes to those of their kind that came shortly before.
fn joins(batch: &mut [(Event, u64)], event: &Event) -> bool {
    let Event::Changes(next) = event else { return false };
    let near = batch.iter_mut().rev().take(JOINED_WITH).filter_map(|(event, _)| match event {
        Event::Changes(changes) => Some(changes),
        _ => None,
    });
    near.into_iter().any(|changes| changes.join(next))
}
