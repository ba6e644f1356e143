//! The beginning of a writer: the log is opened and replayed, an epoch begins, and where there are no credentials yet,
//! the first pair is made.

use super::archiving::Archiving;
use super::commit::{Commit, Committer};
use super::deciding::note_found;
use super::queue::Writes;
use super::recover::Failure;
use super::sealing::Sealing;
use super::upkeep::Upkeep;
use super::{LogState, Surroundings, TellsOfEnd, Writer};
use crate::bootstrap::AdminPair;
use crate::clock::wall_ms;
use crate::settings::Storage;
use crate::stored::Restore;
use crate::wal::{Appender, GroupBuilder, OpenError, OpenOptions, Opened, ReplayRefused, Replayed, Wal};
use headwater_core::command::{Line, Trust, decode};
use headwater_core::id::Id;
use headwater_core::limits::Limits;
use headwater_core::name;
use headwater_core::node::Node;
use headwater_core::position::Term;
use headwater_core::store::Store as _;
use headwater_core::store::memory::MemoryStore;
use headwater_core::writer::{Accepted, EntryWrite, Guard, Sequencer, Write, WriteAction};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// What a writer accepts, and how its log is bounded.
pub(crate) struct WriterSettings {
    pub(crate) limits: Limits,
    /// Most writes waiting for the log.
    pub(crate) queue_max: usize,
    /// Most bytes of them.
    pub(crate) queue_bytes_max: usize,
    /// Longest time that one waits before further ones are refused.
    pub(crate) queue_age_max: Duration,
    pub(crate) storage: Storage,
}

/// An open log whose records are in `store`.
pub(crate) struct Opening {
    wal: Box<dyn Wal>,
    opened: Opened,
    options: OpenOptions,
    /// Timestamp of the last record.
    timestamp: u64,
}

/// Opens the log and applies what it holds to the empty `store`.
///
/// # Errors
/// Those of [`Wal::open`]. What the store holds is to be thrown away then.
pub(crate) async fn open(
    mut wal: Box<dyn Wal>,
    options: OpenOptions,
    store: &MemoryStore,
    state: &LogState,
) -> Result<Opening, OpenError> {
    if wal.forgets() {
        state.lock_bytes().forgets();
    }
    let mut restore = Restore::new(store);
    let mut replay = |found: Replayed<'_>| -> Result<(), ReplayRefused> {
        let record = match found {
            Replayed::Baseline(piece) => {
                restore.piece(piece)?;
                for (mark, answered) in restore.take_repeatable() {
                    state.repeats().note(mark, answered);
                }
                return Ok(());
            }
            Replayed::Record(record) => record,
        };
        let trust = if record.is_canonical { Trust::Canonical } else { Trust::Checked };
        let Line::Log(command) = decode(record.line, trust)? else {
            return Err("no command of the log".into());
        };
        restore.command(&command)?;
        note_found(state, store.position().epoch, &command, record.meta)?;
        state.lock_bytes().add(&command, record.line.len() + 1);
        Ok(())
    };
    let opened = wal.open(&options, &mut replay).await?;
    let timestamp = restore.timestamp();
    Ok(Opening { wal, opened, options, timestamp })
}

impl Opening {
    /// What recovery had to cut off.
    pub(crate) fn recovered(&self) -> Option<&crate::wal::Recovered> {
        self.opened.recovered.as_ref()
    }

    /// Writes the first records of the opening and starts the writer's thread.
    ///
    /// # Errors
    /// When the log takes nothing, or there is no thread to be had.
    pub(crate) fn start(
        self,
        node: Arc<Node<MemoryStore>>,
        settings: WriterSettings,
        admin: Option<&AdminPair>,
        around: Surroundings,
        runtime: Handle,
    ) -> io::Result<Writes> {
        let Opened { cluster, epoch, takeover, appender, reader, keeper, .. } = self.opened;
        let sequencer = Sequencer::new(node.store(), settings.limits, self.timestamp).map_err(io::Error::other)?;
        around.log.show(Some(reader));
        let upkeep = match &keeper {
            Some(_) => {
                let state = Arc::clone(&around.state);
                Some(Upkeep::start(Arc::clone(&node), state, settings.storage.clone(), runtime.clone())?)
            }
            None => None,
        };
        let plan = settings.storage.archive.clone().filter(|_| keeper.is_some());
        let sealing = plan.as_ref().map(|plan| Sealing::new(plan.after));
        let archiving = match plan {
            Some(plan) => Some(Archiving::start(Arc::clone(&around.state), plan.directory, runtime.clone())?),
            None => None,
        };
        around.state.set_keeper(keeper);
        let appender: Option<Box<dyn Appender>> = Some(appender);
        // A cluster id is renewed by the first opening only, not by those after a failure.
        let options = OpenOptions { new_cluster: false, cluster: Some(cluster), ..self.options };
        let commit = Commit { node, around, runtime };
        let has_another_core = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        let committer = has_another_core.then(|| Committer::start(commit.clone())).transpose()?;
        let (wal, scratch) = (self.wal, Vec::new());
        let mut writer = Writer {
            commit,
            committer,
            wal,
            appender,
            sequencer,
            options,
            full: None,
            upkeep,
            sealing,
            archiving,
            scratch,
        };
        let (writes, receiver) = Writes::new(settings.queue_max, settings.queue_bytes_max, settings.queue_age_max);
        let (begun, has_begun) = std::sync::mpsc::sync_channel(1);
        let admin = admin.cloned();
        let term = Term { takeover, epoch };
        let ends = TellsOfEnd(Arc::clone(&writer.commit.around.state));
        std::thread::Builder::new().name("writer".into()).spawn(move || {
            let _ends = ends;
            let outcome = writer.begin_epoch(term, cluster, admin.as_ref());
            let good = outcome.is_ok();
            writer.commit.around.state.set_writable(good);
            // The starter waits for it.
            drop(begun.send(outcome));
            if good {
                writer.run(&receiver);
            }
            Writer::refuse_rest(&receiver);
        })?;
        match has_begun.recv() {
            Ok(Ok(())) => Ok(writes),
            Ok(Err(Failure::Append(error))) => Err(io::Error::other(error)),
            Ok(Err(failure)) => Err(io::Error::other(format!("the log takes no first record: {failure:?}"))),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl Writer {
    /// Writes EPOCH and, where a pair is given, the system collection of keys with it.
    pub(super) fn begin_epoch(&mut self, term: Term, cluster: Id, admin: Option<&AdminPair>) -> Result<(), Failure> {
        let now_ms = wall_ms();
        let mut group = GroupBuilder::default();
        self.scratch.clear();
        let seq = self.sequencer.open(term, cluster, &self.options.node, now_ms, &mut self.scratch);
        group.push(seq, Some(term.epoch), b"", |lines| lines.extend_from_slice(&self.scratch));
        if let Some(admin) = admin {
            let value = admin.stored_value(now_ms);
            let entry = EntryWrite { key: &admin.apikey, value: Some(&value), guard: Guard::default() };
            for action in [WriteAction::Create, WriteAction::Entry(entry)] {
                self.scratch.clear();
                let write = Write { collection: name::KEYS, action, system: true };
                let decision = self.sequencer.decide(self.commit.node.store(), &write, now_ms, &mut self.scratch);
                match decision {
                    Ok(Accepted::Written { seq, .. }) => {
                        group.push(seq, None, b"", |lines| lines.extend_from_slice(&self.scratch));
                    }
                    Ok(Accepted::Unchanged) => {}
                    Err(refusal) => {
                        return Err(Failure::Apply(super::CannotApply(format!("the first credentials: {refusal}"))));
                    }
                }
            }
        }
        let group = group.finish();
        let appender = self.appender.as_mut().ok_or(Failure::Closed)?;
        self.commit.append(&mut **appender, &group)?;
        group.last().into_iter().for_each(|last| self.sequencer.settle(last));
        Ok(())
    }
}
