//! What every request and every task of one running node shares.

use crate::audit::Audit;
use crate::backup::scheduled::Standing;
use crate::bell::Bell;
use crate::clock;
use crate::http::Bodies;
use crate::log_view::LogView;
use crate::pool::{Bound, Pool};
use crate::rates::Rates;
use crate::replica::Upstream;
use crate::settings::Settings;
use crate::tls::ServerTls;
use crate::writer::{LogState, Writes};
use headwater_core::api::{Answer, Counts};
use headwater_core::credentials::Grant;
use headwater_core::node::{Node, Role};
use headwater_core::store::Store;
use headwater_core::store::memory::{MemorySnapshot, MemoryStore};
use headwater_core::store::snapshot::SnapshotLimits;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

/// See the module.
pub(crate) struct Server {
    pub(crate) settings: Settings,
    pub(crate) node: Arc<Node<MemoryStore>>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) log: Arc<LogView>,
    pub(crate) metrics: Arc<Counts>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) work: Work,
    pub(crate) started: Instant,
    /// Whether connections are taken; not while the system has none to give.
    pub(crate) takes_connections: AtomicBool,
    /// Reads that wait for a position.
    pub(crate) waiters: Arc<Pool>,
    /// Requests being answered.
    pub(crate) requests: Arc<Pool>,
    /// Lists whose snapshot is open.
    pub(crate) lists: Arc<Pool>,
    /// Bodies of requests.
    pub(crate) bodies: Bodies,
    /// Bytes of answers on their way.
    pub(crate) answers: Arc<Pool>,
    /// How often somebody may ask.
    pub(crate) rates: Rates,
    /// What the pair of `--dev` grants.
    pub(crate) dev: Option<Arc<Grant>>,
    /// How the backups go that it makes of itself; empty where it makes none.
    pub(crate) backups: OnceLock<Arc<Mutex<Standing>>>,
    /// What it shows to those who connect; empty where it speaks plaintext.
    pub(crate) tls: OnceLock<Arc<ServerTls>>,
    /// Who changes a key at this time: one at a time, each deciding by what the one before has made of it.
    pub(crate) keys_turn: tokio::sync::Mutex<()>,
    draining: AtomicBool,
}

/// What makes a node a writer or a replica.
pub(crate) enum Work {
    /// It owns the log.
    Writer {
        /// Where writes queue up.
        writes: Writes,
        /// What is to be seen of the log.
        log: Arc<LogState>,
    },
    /// It follows.
    Replica(Arc<Upstream>),
}

impl Server {
    pub(crate) fn new(
        settings: Settings,
        node: Arc<Node<MemoryStore>>,
        bell: Arc<Bell>,
        log: Arc<LogView>,
        metrics: Arc<Counts>,
        audit: Arc<Audit>,
        work: Work,
    ) -> Self {
        let rates = Rates::new(settings.rates);
        let bodies = Bodies::new(settings.connections.body, settings.bodies_bytes_max);
        let shared = |of, setting, max, own| {
            Pool::new(Bound { of, all: Some((max, setting)), own: (settings.share_of(max), own) })
        };
        let requests = shared(
            "requests being answered",
            "--requests-max",
            settings.requests_max,
            "--share-per-credential of --requests-max",
        );
        let waiters = shared(
            "reads waiting for a position",
            "--waiters-max",
            settings.waiters_max,
            "--share-per-credential of --waiters-max",
        );
        // How many there are in all is the store's to say, which gives up the oldest when it is too old.
        let lists_max = SnapshotLimits::default().open_max;
        let lists = Pool::new(Bound {
            of: "lists being read",
            all: None,
            own: (settings.share_of(lists_max), "--share-per-credential of all there may be"),
        });
        let bytes_max = settings.answers_bytes_max;
        let answers = Pool::new(Bound {
            of: "bytes of answers that are not taken yet",
            all: Some((bytes_max, "--answers-bytes-max")),
            own: (bytes_max / 2, "half of --answers-bytes-max"),
        });
        Self {
            dev: settings.dev.then(|| Arc::new(Grant::all(headwater_core::api::DEV))),
            settings,
            node,
            bell,
            log,
            metrics,
            audit,
            work,
            started: Instant::now(),
            takes_connections: AtomicBool::new(true),
            waiters,
            requests,
            lists,
            bodies,
            answers,
            rates,
            backups: OnceLock::new(),
            tls: OnceLock::new(),
            keys_turn: tokio::sync::Mutex::default(),
            draining: AtomicBool::new(false),
        }
    }

    /// Whether the node is on its way down.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Begins the way down: not ready, and nobody waits any longer.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.bell.ask();
    }

    /// Adds position and, on a replica, lag to an answer that has none.
    pub(crate) fn as_of(&self, answer: Answer<MemorySnapshot>) -> Answer<MemorySnapshot> {
        let lag_ms = match self.node.options().role {
            Role::Primary => None,
            Role::Replica => self.node.lag_ms(clock::now()),
        };
        answer.as_of(self.node.store().position(), lag_ms)
    }
}
