//! The Durable Object: one replica of everything, kept alive by an alarm.
//!
//! All its tasks share one [`Object`] and run on one thread; a `RefCell` here is never borrowed across an await.

mod bodies;
mod children;
mod follow;
mod held;
mod inside;
mod keep;
mod serve;
mod share;

pub(crate) use bodies::ms_max as body_ms_max;

use crate::clock::Clock;
use crate::http;
use crate::log::log;
use crate::settings::Settings;
use crate::signal::Signal;
use crate::sql::Sql;
use crate::store::SqliteStore;
use headwater_core::api::{ApiError, Code, Count, Counts};
use headwater_core::credentials::PairMemory;
use headwater_core::feed::FeedLimits;
use headwater_core::id::Id;
use headwater_core::node::{Node, NodeOptions, Role};
use headwater_core::replica::{self, ReplicaOptions};
use headwater_core::scope::Scope;
use headwater_core::store::{Store as _, StoreError};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

/// What the name of an object begins with; its region follows.
pub(crate) const NAME_PREFIX: &str = "replica:";

/// The region of an object when the request tells none: on a developer's machine.
pub(crate) const LOCAL_REGION: &str = "local";

/// Lines kept in memory for children: an object has 128 MB for everything.
const FEED: FeedLimits = FeedLimits { bytes_max: 8 << 20, scope_bytes_max: 512 << 10, scopes_max: 32 };

/// Streams to children of one object.
const CHILDREN_MAX: usize = 1_000;

/// Reads that wait for a position at one time.
const WAITING_READS_MAX: usize = 1_000;

/// What part of either one caller may have, a node excepted: a quarter.
const SHARE: usize = 4;

/// The object as the runtime sees it.
#[durable_object]
pub struct Replica {
    object: std::result::Result<Rc<Object>, StoreError>,
    #[cfg_attr(not(feature = "selftest"), expect(dead_code, reason = "its values were read in `new`"))]
    state: Rc<State>,
}

/// What the object's tasks share.
struct Object {
    state: Rc<State>,
    settings: Rc<Settings>,
    clock: Clock,
    store: SqliteStore,
    node: Arc<Node<SqliteStore>>,
    replica: RefCell<replica::Replica<SqliteStore>>,
    /// The state moved: lines, a position or a baseline.
    published: Rc<Signal>,
    started_mono_ms: u64,
    /// Number of the newest task that follows the parent; older ones stop.
    follower: Cell<u64>,
    /// When the task that follows the parent must have been heard of again.
    follower_due_mono_ms: Cell<u64>,
    /// A task that stores and folds is running.
    keeper_runs: Cell<bool>,
    /// The log says that `DEV` is set where others reach the node.
    told_of_dev: Cell<bool>,
    /// The pair of credentials that was right last.
    pairs: PairMemory,
    /// Reads that wait for a position.
    waiting_reads: RefCell<held::Held>,
    /// Bodies of requests that are being read and answered.
    bodies: bodies::Bodies,
    counts: Counts,
    /// How often the database refused what was to be stored.
    flush_failures: Count,
}

impl DurableObject for Replica {
    fn new(state: State, env: Env) -> Self {
        let state = Rc::new(state);
        let object = Object::open(Rc::clone(&state), Settings::of(&env)).map(Rc::new);
        if let Err(error) = &object {
            log("error", "store_unusable", &[("why", &error)]);
        }
        Self { object, state }
    }

    #[cfg_attr(not(feature = "selftest"), expect(unused_mut, reason = "the self-test reads the body"))]
    async fn fetch(&self, mut request: Request) -> Result<Response> {
        #[cfg(feature = "selftest")]
        if let Some(answer) = crate::selftest::answer(&self.state, &mut request).await? {
            return Ok(answer);
        }
        match &self.object {
            Ok(object) => {
                object.ensure_awake();
                serve::answer(object, request).await
            }
            Err(_) => http::error(ApiError::new(Code::InternalError, "the object's store cannot be used"), false),
        }
    }

    async fn alarm(&self) -> Result<Response> {
        if let Ok(object) = &self.object {
            object.heartbeat().await;
        }
        Response::empty()
    }
}

impl Object {
    fn open(state: Rc<State>, settings: Rc<Settings>) -> std::result::Result<Self, StoreError> {
        let store = SqliteStore::open(Sql::new(&state.storage()), Scope::Everything, random_id())?;
        store.progress().check_features().map_err(|error| StoreError(error.to_string()))?;
        let instance = store.instance();
        let options = NodeOptions {
            feed: FEED,
            children_max: CHILDREN_MAX,
            children_per_credential_max: CHILDREN_MAX / SHARE,
            auth_staleness_ms_max: settings.auth_staleness_ms_max,
            ..NodeOptions::new(label(&settings.node, state.id().name().as_deref()), instance, Role::Replica)
        };
        #[expect(clippy::arc_with_non_send_sync, reason = "core's nodes are shared by threads elsewhere")]
        let node = Arc::new(Node::new(store.clone(), options));
        let options = ReplicaOptions { scope: Scope::Everything, parents: settings.parents.len() };
        let replica = RefCell::new(replica::Replica::new(Arc::clone(&node), options));
        let clock = Clock::default();
        let started_mono_ms = clock.now().mono_ms;
        Ok(Self {
            state,
            settings,
            clock,
            store,
            node,
            replica,
            published: Rc::default(),
            started_mono_ms,
            follower: Cell::new(0),
            follower_due_mono_ms: Cell::new(0),
            keeper_runs: Cell::new(false),
            told_of_dev: Cell::new(false),
            pairs: PairMemory::default(),
            waiting_reads: RefCell::new(held::Held::new(
                "reads that wait for a position",
                WAITING_READS_MAX,
                WAITING_READS_MAX / SHARE,
            )),
            bodies: bodies::Bodies::default(),
            counts: Counts::default(),
            flush_failures: Count::default(),
        })
    }
}

/// The node's label: regions are told apart.
fn label(node: &str, name: Option<&str>) -> String {
    match name.and_then(|name| name.strip_prefix(NAME_PREFIX)) {
        Some(region) if region != LOCAL_REGION => format!("{node}-{region}"),
        _ => node.into(),
    }
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the runtime has a random source");
    bytes
}

fn random_id() -> Id {
    Id::from_bytes(random_bytes())
}

fn random_u64() -> u64 {
    u64::from_le_bytes(random_bytes())
}
