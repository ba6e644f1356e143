//! Backups that a node makes of itself, on a thread of its own: from a snapshot, so that nothing waits for them. One that was
//! missed while the node was away is made at its start. Older ones go only once a new one is whole.

use super::error::BackupError;
use super::manifest::Manifest;
use super::schedule::Schedule;
use super::write::write;
use crate::clock::wall_ms;
use headwater_core::api::rfc3339;
use headwater_core::node::Node;
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
/// First and longest wait after a failure; doubled with each further one.
const PAUSE_MS: (u64, u64) = (60_000, 3_600_000);
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
        let mut next: Option<u64> = None;
        let mut pause_ms = 0;
        let mut wait = Duration::ZERO;
        while self.ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            let now = wall_ms();
            // A replica may have nothing yet.
            let Some(cluster) = self.node.store().progress().cluster.filter(|_| self.node.is_complete()) else {
                wait = Duration::from_millis(200);
                continue;
            };
            let cluster = cluster.to_string();
            let at = *next.get_or_insert_with(|| {
                self.clear(&cluster);
                let last = self.newest(&cluster);
                let at = last.as_ref().map_or(now, |(ms, _)| due(*ms));
                self.tell(|standing| standing.last = last.map(|(_, made)| made));
                at
            });
            self.tell(|standing| standing.next = Some(rfc3339(at)));
            if now < at {
                wait = LOOK.min(Duration::from_millis(at - now));
                continue;
            }
            match self.make(&cluster, now) {
                Ok(made) => {
                    let Made { name, position, bytes, .. } = &made;
                    tracing::info!(name, position, bytes, "made a backup");
                    pause_ms = 0;
                    next = Some(due(now));
                    self.tell(|standing| {
                        *standing = Standing { last: Some(made), next: Some(rfc3339(due(now))), failure: None };
                    });
                    self.let_go(&cluster);
                }
                Err(_) if self.ended.try_recv() == Err(TryRecvError::Disconnected) => return,
                Err(error) => {
                    pause_ms = (pause_ms * 2).clamp(PAUSE_MS.0, PAUSE_MS.1);
                    next = Some(due(now).min(now + pause_ms));
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
        fs::create_dir_all(directory).map_err(BackupError::io("making", directory))?;
        let snapshot = Arc::new(self.node.store().snapshot_for_disk()?);
        let position = headwater_core::store::Snapshot::progress(&*snapshot).position;
        let time = rfc3339(now)[..19].replace(['-', ':'], "");
        let name = format!("{NAME}-{cluster}-{time}Z-{position}");
        let source = &self.node.options().label;
        let manifest = write(&snapshot, &directory.join(&name), source, 0, &mut |_| match self.ended.try_recv() {
            Err(TryRecvError::Disconnected) => Err(BackupError::State("the node ends".into())),
            _ => Ok(()),
        })?;
        Ok(made(name, &manifest))
    }

    /// The backups of this cluster that are whole, as far as their manifests tell, oldest first.
    fn own(&self, cluster: &str) -> io::Result<Vec<(String, Manifest)>> {
        let mut own = Vec::new();
        for entry in fs::read_dir(&self.plan.directory)? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            if name.starts_with(&format!("{NAME}-{cluster}-"))
                && let Ok(manifest) = Manifest::read(&self.plan.directory.join(&name))
                && manifest.cluster == cluster
            {
                own.push((name, manifest));
            }
        }
        // The time is the first thing in which the names differ.
        own.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(own)
    }

    fn newest(&self, cluster: &str) -> Option<(u64, Made)> {
        // One that cannot be read now is none to rely on.
        let (name, manifest) = self.own(cluster).ok()?.pop()?;
        let ms = crate::cli::unix_ms(&manifest.created)?;
        Some((ms, made(name, &manifest)))
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
mod tests {
    use super::*;
    use headwater_core::command::{Line, decode};
    use headwater_core::id::Id;
    use headwater_core::node::{NodeOptions, Role};
    use headwater_core::scope::Scope;
    use headwater_core::store::Progress;
    use headwater_core::store::memory::MemoryOptions;

    fn work(directory: &Path, keep: usize) -> (Work, Sender<()>) {
        let progress = Progress { complete: true, ..Progress::new(Scope::Everything) };
        let store = MemoryStore::new(progress, MemoryOptions::single_threaded(7));
        let cluster = Id::from_bytes([7; 16]);
        for line in [
            format!(
                r#"{{"type":"EPOCH","seq":1,"timestamp":5,"epoch":5,"cluster":"{cluster}","node":"n","requires":[]}}"#
            ),
            r#"{"type":"CREATE","collection":"c","seq":2,"timestamp":6}"#.into(),
            r#"{"type":"SET","collection":"c","seq":3,"prev":2,"key":"a","version":1,"timestamp":7,"value":1}"#.into(),
        ] {
            let Ok(Line::Log(command)) = decode(line.as_bytes(), headwater_core::command::Trust::Checked) else {
                panic!()
            };
            headwater_core::apply::apply(&store, &command, &mut Vec::new()).unwrap();
        }
        let node = Arc::new(Node::new(store, NodeOptions::new("n", Id::from_bytes([1; 16]), Role::Primary)));
        let plan = Plan { directory: directory.into(), schedule: "0 3 * * *".parse().unwrap(), keep };
        let (running, ended) = channel();
        (Work { node, plan, standing: Arc::default(), ended }, running)
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_oldest_of_its_own_go_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let (work, _running) = work(place.path(), 2);
        let cluster = Id::from_bytes([7; 16]).to_string();
        let others = ["mine.txt".into(), format!("headwater-{cluster}-20200101T000000Z-1.1")];
        fs::write(place.path().join(&others[0]), "x").unwrap();
        fs::create_dir(place.path().join(&others[1])).unwrap();
        fs::create_dir(place.path().join(format!(".headwater-{cluster}-20200101T000000Z-1.1.77.part"))).unwrap();
        work.clear(&cluster);
        let mut made = Vec::new();
        for hour in 0..4 {
            made.push(work.make(&cluster, 1_763_650_000_000 + hour * 3_600_000).unwrap().name);
            work.let_go(&cluster);
        }
        let mut expected = [&others[..], &made[2..]].concat();
        expected.sort();
        assert_eq!(names(place.path()), expected);
        assert_eq!(made[3], format!("headwater-{cluster}-20251120T174640Z-5.3"));
        assert_eq!(work.newest(&cluster).unwrap().1.name, made[3]);
    }

    #[test]
    fn a_backup_that_fails_leaves_those_before_it() {
        let place = tempfile::tempdir().unwrap();
        let (work, running) = work(place.path(), 1);
        let cluster = Id::from_bytes([7; 16]).to_string();
        let made = work.make(&cluster, 1_763_650_000_000).unwrap();
        drop(running);
        assert!(work.make(&cluster, 1_763_660_000_000).is_err(), "the node ends");
        assert_eq!(names(place.path()), [made.name]);
    }
}
