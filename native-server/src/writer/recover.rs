//! After a failed append: nothing is acknowledged on hope. The log is opened again, what turned out to be durable is
//! published, and a new epoch begins behind it.

use super::commit::Extent;
use super::queue::{Message, closed};
use super::{CannotApply, Writer, unwritable};
use crate::clock::wall_ms;
use crate::wal::{AppendCause, AppendError, GroupBuilder, OpenError, Replayed};
use headwater_core::api::{ApiError, Code};
use headwater_core::position::Term;
use headwater_core::store::Store;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// First wait before the log is opened again; doubled with each failure.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Room beside a refused group that an opening takes: its segment, its manifest and its EPOCH.
const OPENING_BYTES: u64 = 16 << 10;
/// Most room that is waited for: one large write does not keep all the small ones out.
const ROOM_MOST: u64 = 1 << 20;

/// Refusals for want of room that are so close belong together.
const FULL_IN_A_ROW: Duration = Duration::from_secs(60);

/// The log had no room for a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Full {
    /// Bytes of the largest group that was refused since.
    wanted: u64,
    /// How long to wait before the log is opened again, should the next group be refused too: each opening takes some of
    /// the room that is left.
    wait: Duration,
    /// When the last group was refused.
    at: Instant,
}

impl Full {
    /// Bytes that must be free before opening again makes sense.
    fn room(self) -> u64 {
        self.wanted.min(ROOM_MOST) + OPENING_BYTES
    }
}

/// Why nothing is written any more.
#[derive(Debug)]
pub(super) enum Failure {
    /// The log would not take a group.
    Append(AppendError),
    /// What the log holds cannot be applied.
    Apply(CannotApply),
    /// The log could not be opened again.
    Open(OpenError),
    /// The log is not open.
    Closed,
}

impl Failure {
    /// What the writers of the group are told.
    pub(super) fn answer(&self) -> ApiError {
        match self {
            Self::Append(AppendError::NotDone(AppendCause::StorageFull(_))) => storage_full(),
            Self::Open(error) if error.is_storage_full() => storage_full(),
            Self::Closed | Self::Open(_) => unwritable(),
            Self::Append(_) | Self::Apply(_) => {
                ApiError::new(Code::OutcomeUnknown, "the log failed: the write may or may not have happened")
            }
        }
    }

    /// What those are told who come while the log is not open.
    fn later_answer(&self) -> ApiError {
        if self.is_storage_full() { storage_full() } else { unwritable() }
    }

    /// Whether the medium is full.
    fn is_storage_full(&self) -> bool {
        match self {
            Self::Append(error) => matches!(error.cause(), AppendCause::StorageFull(_)),
            Self::Open(error) => error.is_storage_full(),
            Self::Apply(_) | Self::Closed => false,
        }
    }

    /// For the status of the node.
    fn trouble(&self) -> String {
        if self.is_storage_full() {
            "the log's disk is full: writes are refused; free space, and it goes on by itself".into()
        } else if self.is_final() {
            format!("the log cannot be written any more: {}", self.words())
        } else {
            format!("the log failed: {}", self.words())
        }
    }

    /// Whether trying again may help.
    fn is_final(&self) -> bool {
        match self {
            Self::Append(_) | Self::Closed => false,
            Self::Apply(_) => true,
            Self::Open(error) => !error.is_transient(),
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Append(error) => error.to_string(),
            Self::Apply(error) => error.0.clone(),
            Self::Open(error) => error.to_string(),
            Self::Closed => "the log is closed".into(),
        }
    }
}

fn storage_full() -> ApiError {
    ApiError::new(Code::StorageFull, "the log's medium is full: nothing was written; reads go on")
}

impl Writer {
    /// Tries until the log is open again, or the node is to close; `closers` asked for that.
    pub(super) fn recover(
        &mut self,
        failure: Failure,
        extent: Extent,
        receiver: &Receiver<Message>,
        closers: &mut Vec<oneshot::Sender<()>>,
    ) {
        let mut failure = failure;
        let mut wait = FIRST_WAIT;
        if failure.is_storage_full() {
            let before = self.full.filter(|full| full.at.elapsed() < FULL_IN_A_ROW);
            let (wanted, next) = before.map_or((0, FIRST_WAIT), |full| (full.wanted, full.wait));
            wait = next;
            let (wanted, next) = (wanted.max(extent.bytes), (next * 2).min(LONGEST_WAIT));
            self.full = Some(Full { wanted, wait: next, at: Instant::now() });
        }
        self.commit.around.state.log_trouble.failed(failure.trouble());
        self.commit.around.state.set_writable(false);
        self.commit.around.metrics.log_failures_total.one();
        tracing::error!(error = failure.words(), position = %self.sequencer.position(), "the log failed; writing stops");
        // Those who queued up behind the failed group may have decided on its outcome.
        while let Ok(message) = receiver.try_recv() {
            match message {
                Message::Write(pending) => drop(pending.answer(Err(failure.answer()))),
                Message::Close(closed) => closers.push(closed),
            }
        }
        self.appender = None;
        while closers.is_empty() {
            if failure.is_final() {
                tracing::error!(error = failure.words(), "the log cannot be written any more; reads go on");
                closers.extend(self.refuse_until(None, &failure, receiver));
                return;
            }
            closers.extend(self.refuse_until(Some(Instant::now() + wait), &failure, receiver));
            if failure.is_storage_full() && self.lacks_room() {
                // To open it would only take some of what is left.
                continue;
            }
            wait = (wait * 2).min(LONGEST_WAIT);
            match self.reopen() {
                Ok(()) => {
                    if self.full.is_none() || self.wal.free_bytes().is_some() {
                        self.commit.around.state.log_trouble.is_over();
                    }
                    self.commit.around.state.set_writable(true);
                    tracing::info!(position = %self.sequencer.position(), "the log is open again");
                    return;
                }
                Err(next) => {
                    tracing::warn!(error = next.words(), wait_ms = wait.as_millis() as u64, "the log stays closed");
                    self.commit.around.state.log_trouble.failed(next.trouble());
                    failure = next;
                }
            }
        }
    }

    /// Whether the medium has less room than what was refused takes.
    fn lacks_room(&self) -> bool {
        let free = self.full.and_then(|full| Some((full, self.wal.free_bytes()?)));
        free.is_some_and(|(full, free)| free < full.room())
    }

    /// A group is durable: where there was no room for one as large, there is now.
    pub(super) fn has_written(&mut self, extent: Extent) {
        if self.full.is_some_and(|full| extent.bytes >= full.wanted) {
            self.full = None;
            self.commit.around.state.log_trouble.is_over();
        }
    }

    /// Refuses what comes until `until`, or for ever.
    fn refuse_until(
        &self,
        until: Option<Instant>,
        failure: &Failure,
        receiver: &Receiver<Message>,
    ) -> Option<oneshot::Sender<()>> {
        loop {
            let message = match until {
                Some(until) => receiver.recv_timeout(until.saturating_duration_since(Instant::now())),
                None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match message {
                Ok(Message::Write(pending)) => drop(pending.answer(Err(failure.later_answer()))),
                Ok(Message::Close(closed)) => return Some(closed),
                Err(_) => return None,
            }
        }
    }

    /// Opens the log, publishes what it holds beyond the state, and begins a new epoch.
    fn reopen(&mut self) -> Result<(), Failure> {
        self.options.now_ms = wall_ms();
        let held_before = self.commit.node.store().position();
        self.options.replay_after = held_before.seq;
        let mut found = GroupBuilder::default();
        let opened = self.commit.runtime.block_on(self.wal.open(&self.options, &mut |found_there| {
            let Replayed::Record(record) = found_there else {
                return Err("a baseline, though the state is held".into());
            };
            found.push(record.seq, record.epoch, record.meta, |lines| {
                lines.extend_from_slice(record.line);
                lines.extend_from_slice(b"\n");
            });
            Ok(())
        }));
        let opened = opened.map_err(Failure::Open)?;
        let found = found.finish();
        self.commit.publish(&found).map_err(Failure::Apply)?;
        let noted = self.note_outcome(held_before, &found);
        noted.map_err(|error| Failure::Apply(CannotApply(error.to_string())))?;
        self.commit.around.bell.ask();
        let (held, last) = (self.commit.node.store().position().seq, opened.last.map_or(0, |last| last.seq));
        if held != last {
            let words = format!("the log ends at seq {last}, but what it acknowledged reaches to {held}");
            return Err(Failure::Apply(CannotApply(words)));
        }
        self.sequencer
            .abandon(self.commit.node.store())
            .map_err(|error| Failure::Apply(CannotApply(error.to_string())))?;
        self.commit.around.log.show(Some(opened.reader));
        self.commit.around.state.set_keeper(opened.keeper);
        self.appender = Some(opened.appender);
        let term = Term { takeover: opened.takeover, epoch: opened.epoch };
        let begun = self.begin_epoch(term, opened.cluster, None);
        if begun.is_err() {
            self.appender = None;
        }
        begun
    }

    /// For those who queue after the end.
    pub(super) fn refuse_rest(receiver: &Receiver<Message>) {
        while let Ok(message) = receiver.try_recv() {
            match message {
                Message::Write(pending) => drop(pending.answer(Err(closed()))),
                Message::Close(done) => drop(done.send(()).ok()),
            }
        }
    }
}
