//! The second half of a write: its group is made durable and published, and everybody in it is answered.
//!
//! A group of one goes through on the writer's own thread: nothing else waits, and a hand-over would only cost time. A
//! larger one goes to a thread beside it, so that the next is decided and encoded while this one is synced; unless there is
//! only one core for both, which then would do the same work and change between them.

use super::noting::Noting;
use super::queue::{Outcome, Pending};
use super::recover::Failure;
use super::{CannotApply, Surroundings, Written};
use crate::wal::{Appender, Group};
use headwater_core::api::ApiError;
use headwater_core::apply::ApplyError;
use headwater_core::command::{Line, Trust, decode};
use headwater_core::node::Node;
use headwater_core::position::Position;
use headwater_core::store::memory::MemoryStore;
use headwater_core::writer::{Accepted, Refusal};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// A write whose fate hangs on its group.
pub(super) struct Decided {
    pub(super) pending: Pending,
    pub(super) decision: Result<Accepted, Refusal>,
    /// The position it is as of: writes behind it in the group may undo what it says.
    pub(super) at: Position,
}

/// A group and those who wait for it.
pub(super) struct Job {
    pub(super) group: Group,
    pub(super) decided: Vec<Decided>,
}

/// How far a job reaches, and what it takes up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extent {
    /// Seq of its last record; `None` when it has none.
    pub(super) last: Option<u64>,
    /// Bytes of its lines.
    pub(super) bytes: u64,
}

impl Job {
    pub(super) fn extent(&self) -> Extent {
        Extent { last: self.group.last(), bytes: self.group.lines().len() as u64 }
    }
}

/// How a job ended. Those in it are answered, either way.
pub(super) struct Done {
    pub(super) appender: Box<dyn Appender>,
    pub(super) outcome: Result<(), Failure>,
}

/// What it takes to carry out a job.
#[derive(Clone)]
pub(super) struct Commit {
    pub(super) node: Arc<Node<MemoryStore>>,
    pub(super) around: Surroundings,
    pub(super) runtime: Handle,
}

impl Commit {
    /// Makes the group durable, publishes it and answers.
    ///
    /// # Errors
    /// Why the log failed; it takes nothing any more then.
    pub(super) fn run(&self, appender: &mut dyn Appender, job: Job) -> Result<(), Failure> {
        let outcome = self.append(appender, &job.group);
        match &outcome {
            Ok(()) => {
                let mut noting = Noting::of(&self.around.audit, &job.group);
                for Decided { pending, decision, at } in job.decided {
                    let written = noting.is_new(&decision);
                    let request = pending.answer(self.answer(decision, at));
                    if let Some((seq, version)) = written {
                        noting.note(request, seq, version);
                    }
                }
            }
            Err(failure) => self.fail(job.decided, failure),
        }
        outcome
    }

    /// Answers those whose writes the log failed to take, or that were decided on such.
    pub(super) fn fail(&self, decided: Vec<Decided>, failure: &Failure) {
        self.around.metrics.writes_failed_total.add(decided.len() as u64);
        for Decided { pending, .. } in decided {
            pending.answer(Err(failure.answer()));
        }
    }

    fn answer(&self, decision: Result<Accepted, Refusal>, at: Position) -> Outcome {
        match decision {
            Ok(accepted) => {
                self.around.metrics.writes_total.one();
                Ok(Written { accepted, position: at })
            }
            Err(refusal) => {
                self.around.metrics.writes_refused_total.one();
                Err(ApiError::from(refusal).as_of(at, None))
            }
        }
    }

    /// Makes a group durable, then publishes it.
    ///
    /// # Errors
    /// As [`Commit::run`].
    pub(super) fn append(&self, appender: &mut dyn Appender, group: &Group) -> Result<(), Failure> {
        if group.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        self.runtime.block_on(appender.append(group)).map_err(Failure::Append)?;
        self.publish(group).map_err(Failure::Apply)?;
        self.around.metrics.commit_durations.observe(begun.elapsed());
        self.around.metrics.log_groups_total.one();
        self.around.bell.ask();
        Ok(())
    }

    /// Applies and feeds durable lines.
    pub(super) fn publish(&self, group: &Group) -> Result<(), CannotApply> {
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
}

/// The thread beside the writer's.
pub(super) struct Committer {
    jobs: Sender<(Box<dyn Appender>, Job)>,
    done: Receiver<Done>,
    /// The job under way; `None` while there is none.
    under_way: Option<Extent>,
}

impl Committer {
    /// Starts it.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(commit: Commit) -> io::Result<Self> {
        let (jobs, waiting) = channel::<(Box<dyn Appender>, Job)>();
        let (ended, done) = channel();
        std::thread::Builder::new().name("log-commit".into()).spawn(move || {
            while let Ok((mut appender, job)) = waiting.recv() {
                let outcome = commit.run(&mut *appender, job);
                if ended.send(Done { appender, outcome }).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { jobs, done, under_way: None })
    }

    /// Whether a job is under way. One at a time: the next may be decided on what this one writes.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way.is_some()
    }

    /// Hands a job over.
    ///
    /// # Panics
    /// If one is under way: it has the appender.
    pub(super) fn begin(&mut self, appender: Box<dyn Appender>, job: Job) {
        assert!(!self.is_busy(), "one job at a time");
        self.under_way = Some(job.extent());
        // A thread that has ended is found by the wait for its answer.
        drop(self.jobs.send((appender, job)));
    }

    /// Waits for the job under way, `within` at most; `None`: it goes on.
    ///
    /// # Panics
    /// If the thread has ended, which only a fault of this program can make it: those in its job are told that their
    /// outcome is unknown as it goes, and the node has to end.
    pub(super) fn wait(&mut self, within: Duration) -> Option<(Done, Extent)> {
        match self.done.recv_timeout(within) {
            Ok(done) => Some((done, self.under_way.take().unwrap_or_default())),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the thread that commits has failed"),
        }
    }
}
