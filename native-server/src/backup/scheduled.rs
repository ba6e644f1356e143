//! Backups that a node makes of itself, on a thread of its own: from a snapshot, so that nothing waits for them. One that was
//! missed while the node was away is made at its start. Older ones go only once a new one is whole.
//!
//! The clock may be wrong for a while and be set right, either way. So nothing that lies in the future is relied on, and which
//! backup is older is told by position first.

use super::error::BackupError;
use super::manifest::Manifest;
use super::schedule::Schedule;
use super::timer::Timer;
use super::write::write;
use crate::clock::wall_ms;
use crate::unhurried::Unhurried;
use crate::wal::storage::make_directory;
use headwater_core::api::{rfc3339, unix_ms};
use headwater_core::node::Node;
use headwater_core::position::Position;
use headwater_core::store::Store;
use headwater_core::store::memory::MemoryStore;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest time between two looks at the clock, which may be set meanwhile.
const LOOK: Duration = Duration::from_secs(5);
/// What the names of these backups begin with.
const NAME: &str = "headwater";

/// When and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The directory they are made in.
    pub directory: PathBuf,
    /// When.
    pub schedule: Schedule,
    /// How many are kept.
    pub keep: usize,
}

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) name: String,
    pub(crate) created: String,
    pub(crate) position: String,
    pub(crate) bytes: u64,
}

/// How it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) last: Option<Made>,
    /// When the next one is due, RFC 3339.
    pub(crate) next: Option<String>,
    /// Why the last attempt failed; `None` where it did not.
    pub(crate) failure: Option<String>,
}

/// The running thread.
pub(crate) struct Scheduled {
    /// Dropped to end it.
    running: Sender<()>,
    thread: JoinHandle<()>,
    standing: Arc<Mutex<Standing>>,
}

impl Scheduled {
    /// Starts it.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn start(node: Arc<Node<MemoryStore>>, plan: Plan) -> io::Result<Self> {
        let (running, ended) = channel();
        let standing = Arc::<Mutex<Standing>>::default();
        let work = Work { node, plan, standing: Arc::clone(&standing), ended };
        let thread = std::thread::Builder::new().name("backups".into()).spawn(move || work.run())?;
        Ok(Self { running, thread, standing })
    }

    /// What is shared with status.
    pub(crate) fn standing(&self) -> Arc<Mutex<Standing>> {
        Arc::clone(&self.standing)
    }

    /// Ends it, a backup in the making given up.
    pub(crate) fn end(self) {
        drop(self.running);
        if self.thread.join().is_err() {
            tracing::error!("the scheduled backups failed: a fault of this program");
        }
    }
}

struct Work {
    node: Arc<Node<MemoryStore>>,
    plan: Plan,
    standing: Arc<Mutex<Standing>>,
    ended: Receiver<()>,
}

impl Work {
    fn run(self) {
        let due = |after| self.plan.schedule.next_after(after).unwrap_or(u64::MAX);
        let mut timer = Timer::default();
        let mut wait = Duration::ZERO;
        while self.ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            let now = wall_ms();
            // A replica may have nothing yet.
            let Some(cluster) = self.node.store().progress().cluster.filter(|_| self.node.is_complete()) else {
                wait = Duration::from_millis(200);
                continue;
            };
            let cluster = cluster.to_string();
            if timer.next.is_none() {
                self.clear(&cluster);
                let found = self.found(&cluster, now);
                self.tell(|standing| standing.last = found.newest);
                timer.next = Some(found.last_ms.map_or(now, due));
            }
            let at = timer.at(now, &due);
            self.tell(|standing| standing.next = Some(rfc3339(at)));
            if now < at {
                wait = LOOK.min(Duration::from_millis(at - now));
                continue;
            }
            match self.make(&cluster, now) {
                Ok(made) => {
                    let Made { name, position, bytes, .. } = &made;
                    tracing::info!(name, position, bytes, "made a backup");
                    timer.made(now, &due);
                    self.tell(|standing| {
                        *standing = Standing { last: Some(made), next: Some(rfc3339(due(now))), failure: None };
                    });
                    self.let_go(&cluster);
                }
                Err(_) if self.ended.try_recv() == Err(TryRecvError::Disconnected) => return,
                Err(error) => {
                    timer.failed(now, &due);
                    tracing::error!(%error, "the backup failed; those before it are kept");
                    self.tell(|standing| standing.failure = Some(error.to_string()));
                }
            }
            wait = Duration::ZERO;
        }
    }

    fn tell(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn make(&self, cluster: &str, now: u64) -> Result<Made, BackupError> {
        let directory = &self.plan.directory;
        make_directory(directory).map_err(BackupError::io("making", directory))?;
        let snapshot = Arc::new(self.node.store().snapshot_for_disk()?);
        let position = headwater_core::store::Snapshot::progress(&*snapshot).position;
        let time = rfc3339(now)[..19].replace(['-', ':'], "");
        let name = format!("{NAME}-{cluster}-{time}Z-{position}");
        let source = &self.node.options().label;
        let mut unhurried = Unhurried::begin();
        let mut step = |_| {
            unhurried.step();
            match self.ended.try_recv() {
                Err(TryRecvError::Disconnected) => Err(BackupError::State("the node ends".into())),
                _ => Ok(()),
            }
        };
        let manifest = write(&snapshot, &directory.join(&name), source, (now, 0), &mut step)?;
        Ok(made(name, &manifest))
    }

    /// The backups of this cluster that are whole, as far as their manifests tell, oldest first.
    fn own(&self, cluster: &str) -> io::Result<Vec<(String, Manifest)>> {
        let mut own = Vec::new();
        for entry in fs::read_dir(&self.plan.directory)? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            if is_own(&name, cluster)
                && let Ok(manifest) = Manifest::read(&self.plan.directory.join(&name))
                && manifest.cluster == cluster
            {
                own.push((name, manifest));
            }
        }
        // By what they hold; the clock may have been wrong when one was made.
        own.sort_by_cached_key(|(name, manifest)| {
            (manifest.position.parse::<Position>().ok(), manifest.created.clone(), name.clone())
        });
        Ok(own)
    }

    /// What is there already at this time.
    fn found(&self, cluster: &str, now: u64) -> Found {
        // One that cannot be read now is none to rely on.
        let own = self.own(cluster).unwrap_or_default();
        let times = || own.iter().filter_map(|(name, manifest)| Some((name, unix_ms(&manifest.created)?)));
        for (name, _) in times().filter(|&(_, ms)| ms > now) {
            tracing::warn!(
                name,
                "a backup is of a time to come: the clock was or is wrong; it is kept as the others are"
            );
        }
        let last_ms = times().map(|(_, ms)| ms).filter(|&ms| ms <= now).max();
        Found { newest: own.last().map(|(name, manifest)| made(name.clone(), manifest)), last_ms }
    }

    /// Removes what backups left that were cut short by the end of the process.
    fn clear(&self, cluster: &str) {
        let Ok(names) = fs::read_dir(&self.plan.directory) else { return };
        let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let begin = format!(".{NAME}-{cluster}-");
        for name in names.filter(|name| name.starts_with(&begin) && name.ends_with(".part")) {
            if let Err(error) = fs::remove_dir_all(self.plan.directory.join(&name)) {
                tracing::warn!(name, %error, "what is left of a backup that was cut short cannot be removed");
            }
        }
    }

    /// Removes the oldest beyond those that are kept.
    fn let_go(&self, cluster: &str) {
        let outcome = self.own(cluster).map_err(BackupError::io("reading", &self.plan.directory)).and_then(|own| {
            let gone = own.len().saturating_sub(self.plan.keep);
            own.iter().take(gone).try_for_each(|(name, _)| remove(&self.plan.directory, name))
        });
        if let Err(error) = outcome {
            tracing::error!(%error, "an old backup could not be removed");
            self.tell(|standing| standing.failure = Some(error.to_string()));
        }
    }
}

/// What is there when the node starts.
struct Found {
    /// The one that holds most.
    newest: Option<Made>,
    /// When the last one was made, of those that were made before now.
    last_ms: Option<u64>,
}

/// Whether a name is one that is given here, and all of it. One that somebody added to is that person's.
fn is_own(name: &str, cluster: &str) -> bool {
    let rest =
        name.strip_prefix(NAME).and_then(|rest| rest.strip_prefix('-')?.strip_prefix(cluster)?.strip_prefix('-'));
    let Some((time, position)) = rest.and_then(|rest| rest.split_once("Z-")) else { return false };
    time.bytes().all(|byte| byte.is_ascii_digit() || byte == b'T') && position.parse::<Position>().is_ok()
}

fn made(name: String, manifest: &Manifest) -> Made {
    let bytes = manifest.files.iter().map(|file| file.bytes).sum();
    Made { name, created: manifest.created.clone(), position: manifest.position.clone(), bytes }
}

/// Takes its name away first: what is half removed is no backup.
fn remove(directory: &Path, name: &str) -> Result<(), BackupError> {
    let (path, part) = (directory.join(name), directory.join(format!(".{name}.part")));
    fs::rename(&path, &part).map_err(BackupError::io("removing", &path))?;
    fs::remove_dir_all(&part).map_err(BackupError::io("removing", &part))?;
    tracing::info!(name, "removed an old backup");
    Ok(())
}

#[cfg(test)]
mod tests;
