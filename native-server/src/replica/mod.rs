//! A replica: follows a parent, keeps what it took on its own disk, and hands on what it cannot answer.
//!
//! Three parts that wait for nothing of each other: [`client`] feeds core's state machine from the parent's stream,
//! [`disk`] notes what changed for a thread of its own ([`keeper`]) to store, [`forward`] carries requests to the parent.

mod client;
mod copying;
mod disk;
pub(crate) mod forward;
mod keeper;
mod restore;
#[cfg(test)]
mod tests;

pub(crate) use restore::open_disk;

use crate::bell::Bell;
use crate::log_view::LogView;
use crate::parent::Parent;
use crate::settings::{Pair, Storage};
use crate::tls::client::Connector;
use crate::trouble::Trouble;
use crate::wal::Usage;
use bytes::Bytes;
use disk::Disk;
use headwater_core::node::Node;
use headwater_core::position::Position;
use headwater_core::replica::Stats;
use headwater_core::scope::Scope;
use headwater_core::store::Store;
use headwater_core::store::memory::MemoryStore;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Longest time until a parent has accepted a connection.
pub(crate) const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// The client towards parents. It sends a target byte for byte as it came, and follows no redirects.
type HttpClient = Client<Connector, Full<Bytes>>;

/// What following takes.
pub(crate) struct Following {
    pub(crate) node: Arc<Node<MemoryStore>>,
    pub(crate) parents: Vec<Parent>,
    pub(crate) pair: Pair,
    /// Connects to parents, within [`CONNECT_WITHIN`].
    pub(crate) connector: Connector,
    pub(crate) scope: Scope,
    /// Where a new instance is stored.
    pub(crate) data: PathBuf,
    pub(crate) bell: Arc<Bell>,
    pub(crate) log: Arc<LogView>,
    pub(crate) storage: Storage,
}

/// The parent as the rest of the node sees it.
pub(crate) struct Upstream {
    parents: Vec<Parent>,
    current: AtomicUsize,
    view: Mutex<ParentView>,
    client: HttpClient,
    disk: Arc<disk::DiskState>,
}

/// What is known of the connection to the parent.
#[derive(Clone, Debug, Default)]
pub(crate) struct ParentView {
    /// The parent was accepted and its stream is open.
    pub(crate) connected: bool,
    /// Counts since the start.
    pub(crate) stats: Stats,
    /// Why no parent is followed, and when the next is tried; `None` while one is.
    pub(crate) waiting: Option<(String, Instant)>,
    /// The last thing a parent did wrong, by its short name and in words.
    pub(crate) last_offence: Option<(&'static str, String)>,
}

impl Upstream {
    /// The parent that is being followed or tried.
    pub(crate) fn parent(&self) -> &Parent {
        &self.parents[self.current.load(Ordering::Relaxed)]
    }

    /// What is known of it.
    pub(crate) fn view(&self) -> ParentView {
        self.lock_view().clone()
    }

    /// How often the replica's own disk failed.
    pub(crate) fn disk_failures(&self) -> u64 {
        self.disk.failures()
    }

    /// What the replica's own disk does not do at this time.
    pub(crate) fn disk_trouble(&self) -> Option<Trouble> {
        self.disk.trouble()
    }

    /// What the replica's own disk takes up.
    pub(crate) fn disk_usage(&self) -> Usage {
        self.disk.usage()
    }

    /// What a restart would find on the replica's own disk.
    pub(crate) fn stored(&self) -> Option<Position> {
        self.disk.stored()
    }

    fn lock_view(&self) -> MutexGuard<'_, ParentView> {
        // It is only ever assigned to.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tasks of a replica.
pub(crate) struct Running {
    stop: watch::Sender<bool>,
    /// `None` once it has ended by itself.
    following: Option<JoinHandle<()>>,
}

/// Starts to follow.
///
/// # Errors
/// When there is no thread to be had.
pub(crate) fn start(following: Following, log: crate::wal::file::ReplicaLog) -> io::Result<(Arc<Upstream>, Running)> {
    let client = Client::builder(TokioExecutor::new()).build(following.connector.clone());
    // What is on disk is what was restored from it.
    let restored = following.node.store().progress();
    let stored = restored.complete.then_some(restored.position);
    let state = Arc::new(disk::DiskState::new(Arc::clone(&following.log), stored));
    let disk = Disk::start(log, Arc::clone(&state), restored, following.storage.clone())?;
    let upstream = Arc::new(Upstream {
        parents: following.parents.clone(),
        current: AtomicUsize::new(0),
        view: Mutex::default(),
        client,
        disk: state,
    });
    let (stop, stopped) = watch::channel(false);
    let client = client::Client::new(following, Arc::clone(&upstream), disk, stopped);
    let following = tokio::spawn(client.follow());
    Ok((upstream, Running { stop, following: Some(following) }))
}

impl Running {
    /// Resolves when following has ended by itself, and names it.
    pub(crate) async fn ended(&mut self) -> &'static str {
        let Some(following) = &mut self.following else { return std::future::pending().await };
        let ended = following.await;
        self.following = None;
        if let Err(error) = ended {
            tracing::error!(%error, "following failed");
        }
        "following"
    }

    /// Leaves the parent and stores what is held.
    pub(crate) async fn end(self) {
        self.stop.send_replace(true);
        let Some(following) = self.following else { return };
        if let Err(error) = following.await {
            tracing::error!(%error, "following failed");
        }
    }
}
