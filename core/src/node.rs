//! A node: what it holds, what it publishes, and who follows it. Every shell has exactly one.
//!
//! The writer publishes lines after they are durable, a replica those it took from its parent; both through
//! [`Node::publish`], which changes the store and the feed under one lock, so that a PING's digest always belongs to its
//! seq. Readers of entries never take that lock.

use crate::apply::{ApplyError, apply, scope_digest};
use crate::clock::Now;
use crate::command::{End, Logged, Ping, Proof};
use crate::digest::Digest;
use crate::feed::{Feed, FeedLimits, Mark, Tail};
use crate::freshness::Freshness;
use crate::id::Id;
use crate::position::Position;
use crate::scope::Scope;
use crate::store::{Collection, Progress, Snapshot, SnapshotError, Store, StoreError};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whether a node owns the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It does: it numbers writes, and its clock is the proof of freshness.
    Primary,
    /// It follows a parent.
    Replica,
}

impl Role {
    /// The role as the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
        }
    }
}

/// Who a node is and how it treats its children.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Its label, free text.
    pub label: String,
    /// Random id, stored with its state, to begin with: see [`Node::set_instance`].
    pub instance: Id,
    /// Its role.
    pub role: Role,
    /// Longest silence on a stream it serves, in ms.
    pub ping_ms: u64,
    /// Bounds of the feed.
    pub feed: FeedLimits,
    /// Most streams that are being sent a baseline at one time.
    pub baselines_max: usize,
    /// Most children at one time.
    pub children_max: usize,
}

impl NodeOptions {
    /// The default bounds for a node of this name.
    pub fn new(label: impl Into<String>, instance: Id, role: Role) -> Self {
        Self {
            label: label.into(),
            instance,
            role,
            ping_ms: 5_000,
            feed: FeedLimits::default(),
            baselines_max: 16,
            children_max: 10_000,
        }
    }
}

/// A child as status shows it.
#[derive(Clone, Debug)]
pub struct Child {
    /// Its label.
    pub node: String,
    /// Its instance; `None` for one that named none.
    pub instance: Option<Id>,
    /// The credential it came with.
    pub credential: String,
    /// What it follows.
    pub scope: Scope,
    /// Seq up to which everything was handed to its connection.
    pub sent_seq: u64,
    /// Whether it is being sent a baseline.
    pub in_baseline: bool,
    /// A newer connection of the same instance took over.
    pub(crate) superseded: bool,
}

/// See the module.
pub struct Node<S: Store> {
    store: S,
    options: NodeOptions,
    shared: Mutex<Shared<S>>,
}

struct Shared<S: Store> {
    feed: Feed,
    freshness: Freshness,
    clock: SteadyClock,
    /// A primary vouches for nothing newer than this.
    lease_end: Option<u64>,
    instance: Id,
    /// Instances from the primary to this node's parent.
    path: Vec<Id>,
    /// How often `path` or `instance` has changed.
    path_version: u64,
    children: BTreeMap<u64, Child>,
    next_child: u64,
    closing: Option<End>,
    snapshot: Weak<S::Snapshot>,
    /// The newest proof there was when the snapshot was taken.
    snapshot_at: u64,
    pings: BTreeMap<Scope, (Position, Digest)>,
    scratch: Vec<u8>,
}

/// Why a child cannot join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinError {
    TooManyChildren,
    TooManyScopes,
}

impl<S: Store> Node<S> {
    /// A node that holds what `store` holds.
    pub fn new(store: S, options: NodeOptions) -> Self {
        let progress = store.progress();
        let shared = Shared {
            feed: Feed::new(progress.position, options.feed),
            freshness: Freshness::restored(
                progress.at,
                progress.clock_offset,
                progress.position.epoch,
                progress.lag_ms,
            ),
            clock: SteadyClock::default(),
            lease_end: None,
            instance: options.instance,
            path: Vec::new(),
            path_version: 0,
            children: BTreeMap::new(),
            next_child: 1,
            closing: None,
            snapshot: Weak::new(),
            snapshot_at: 0,
            pings: BTreeMap::new(),
            scratch: Vec::new(),
        };
        Self { store, options, shared: Mutex::new(shared) }
    }

    /// What the node holds.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Who the node is.
    pub fn options(&self) -> &NodeOptions {
        &self.options
    }

    /// Whether reads can be answered: the state was complete once.
    pub fn is_complete(&self) -> bool {
        self.store.progress().complete
    }

    fn lock(&self) -> MutexGuard<'_, Shared<S>> {
        // A panic while it was held leaves at worst lines applied and not yet fed, which the next publication's gap
        // rule shows to the children.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a publication: the commands applied through it reach store and feed as one.
    pub fn publish(&self) -> Publication<'_, S> {
        Publication { store: &self.store, shared: self.lock(), block: Bytes::new(), range: 0..0, commands: Vec::new() }
    }

    /// Replaces the whole state by the staged baseline, and the proof of its freshness with it. Children's streams end;
    /// they come back for a baseline.
    ///
    /// # Errors
    /// When the store fails; the old state stays.
    pub fn rebase(
        &self,
        collections: Vec<Collection>,
        progress: &Progress,
        freshness: Freshness,
    ) -> Result<(), StoreError> {
        let mut shared = self.lock();
        self.store.swap(collections, progress)?;
        shared.freshness = freshness;
        shared.feed.reset(progress.position);
        shared.snapshot = Weak::new();
        shared.pings.clear();
        Ok(())
    }

    /// Moves the position forward without commands, as a PING of the parent does.
    ///
    /// # Errors
    /// When the store fails.
    pub fn advance(&self, progress: &Progress) -> Result<(), StoreError> {
        let mut shared = self.lock();
        self.store.set_progress(progress)?;
        shared.feed.head = progress.position;
        Ok(())
    }

    /// Hides what lies outside `scope` at once; the position stays. Children's streams end.
    ///
    /// # Errors
    /// When the store fails.
    pub fn narrow(&self, progress: &Progress) -> Result<(), StoreError> {
        let mut shared = self.lock();
        self.store.set_progress(progress)?;
        shared.feed.reset(progress.position);
        Ok(())
    }

    /// The newest proof of freshness and how it was judged.
    pub fn freshness(&self) -> Freshness {
        self.lock().freshness
    }

    /// Changes what is known of freshness.
    pub fn update_freshness(&self, update: impl FnOnce(&mut Freshness)) {
        update(&mut self.lock().freshness);
    }

    /// How far this node is behind the writer in ms: 0 on a primary, `None` on a replica that never had a proof.
    pub fn lag_ms(&self, now: Now) -> Option<u64> {
        match self.options.role {
            Role::Primary => Some(0),
            Role::Replica => self.lock().freshness.lag_ms(now),
        }
    }

    /// Another writer may own the log from here on: this primary goes on serving what it holds, and vouches for nothing
    /// newer any more.
    pub fn end_lease(&self, now: Now) {
        let mut shared = self.lock();
        let end = shared.clock.read(now);
        shared.lease_end.get_or_insert(end);
    }

    /// What the writer's clock shows now, as far as this node can tell.
    pub(crate) fn writer_clock(&self, now: Now) -> Option<u64> {
        self.lock().writer_clock(self.options.role, now)
    }

    /// Remembers through whom the state comes: the instances of the parent's HELLO. Children's streams end when that has
    /// changed; they come back and learn it, and one through whom the state now comes finds itself in it. Otherwise two
    /// that lose their parent at the same moment could follow each other for ever.
    pub fn set_path(&self, path: &[Id]) {
        let mut shared = self.lock();
        if shared.path != path {
            shared.path = path.into();
            shared.path_version += 1;
        }
    }

    /// Instances from the primary to this node.
    pub fn path(&self) -> Vec<Id> {
        let shared = self.lock();
        let mut path = shared.path.clone();
        path.push(shared.instance);
        path
    }

    /// The random id that tells this node from all others.
    pub fn instance(&self) -> Id {
        self.lock().instance
    }

    /// Goes on under another id, as another node uses the one before. Children's streams end, so that they learn it.
    pub fn set_instance(&self, instance: Id) {
        let mut shared = self.lock();
        shared.instance = instance;
        shared.path_version += 1;
    }

    /// Ends every stream, and every one that comes, with `end`.
    pub fn close(&self, end: End) {
        self.lock().closing = Some(end);
    }

    /// Whether the node is ending its streams.
    pub fn closing(&self) -> Option<End> {
        self.lock().closing.clone()
    }

    /// Those who follow this node.
    pub fn children(&self) -> Vec<Child> {
        self.lock().children.values().cloned().collect()
    }

    /// The lowest seq after which every line is in the feed.
    pub fn feed_floor(&self) -> u64 {
        self.lock().feed.floor()
    }

    pub(crate) fn join(&self, child: Child) -> Result<Joined, JoinError> {
        let mut shared = self.lock();
        if shared.children.len() >= self.options.children_max {
            return Err(JoinError::TooManyChildren);
        }
        if !shared.feed.join(&child.scope) {
            return Err(JoinError::TooManyScopes);
        }
        for older in shared.children.values_mut() {
            if child.instance.is_some() && older.instance == child.instance && older.credential == child.credential {
                older.superseded = true;
            }
        }
        let id = shared.next_child;
        shared.next_child += 1;
        shared.children.insert(id, child);
        Ok(Joined { id, generation: shared.feed.generation, path_version: shared.path_version })
    }

    pub(crate) fn leave(&self, id: u64) {
        let mut shared = self.lock();
        if let Some(child) = shared.children.remove(&id) {
            shared.feed.leave(&child.scope);
            shared.pings.remove(&child.scope);
        }
    }

    /// What a stream needs to know before its next step.
    pub(crate) fn tick(&self, joined: &Joined, sent_seq: u64) -> Tick {
        let mut shared = self.lock();
        if let Some(end) = &shared.closing {
            return Tick::Closing(end.clone());
        }
        if shared.feed.generation != joined.generation {
            return Tick::Rebased;
        }
        if shared.path_version != joined.path_version {
            return Tick::Moved;
        }
        let head = shared.feed.head;
        match shared.children.get_mut(&joined.id) {
            None => Tick::Superseded,
            Some(child) if child.superseded => Tick::Superseded,
            Some(child) => {
                child.sent_seq = sent_seq;
                Tick::Go(head)
            }
        }
    }

    pub(crate) fn tail(&self, scope: &Scope, seq: u64) -> Tail {
        self.lock().feed.after(scope, seq)
    }

    /// A place among those who are sent a baseline, with the snapshot they share; `None` when all places are taken.
    pub(crate) fn begin_baseline(&self, id: u64, now: Now) -> Result<Option<Proven<S::Snapshot>>, SnapshotError> {
        let mut shared = self.lock();
        if shared.children.values().filter(|child| child.in_baseline).count() >= self.options.baselines_max {
            return Ok(None);
        }
        let snapshot = match shared.snapshot.upgrade() {
            // Shared while what came since is a small tail; beyond, a new copy is cheaper for the child.
            Some(open) if shared.feed.bytes_after(open.progress().position.seq) <= SHARED_TAIL_BYTES_MAX => open,
            _ => {
                shared.snapshot_at = shared.at(self.options.role, now);
                Arc::new(self.store.snapshot()?)
            }
        };
        shared.snapshot = Arc::downgrade(&snapshot);
        if let Some(child) = shared.children.get_mut(&id) {
            child.in_baseline = true;
        }
        Ok(Some(Proven { snapshot, at: shared.snapshot_at }))
    }

    pub(crate) fn end_baseline(&self, id: u64) {
        if let Some(child) = self.lock().children.get_mut(&id) {
            child.in_baseline = false;
        }
    }

    /// A full PING for `scope` as of the head; `None` when a reader at `sent_seq` has not been handed everything yet.
    pub(crate) fn ping(&self, scope: &Scope, sent_seq: u64, now: Now) -> Result<Option<Ping>, StoreError> {
        let mut shared = self.lock();
        if shared.feed.after(scope, sent_seq) != Tail::Empty {
            return Ok(None);
        }
        let head = shared.feed.head;
        let at = shared.at(self.options.role, now);
        let clock = shared.writer_clock(self.options.role, now).filter(|&clock| clock != at);
        let proof = if scope.is_narrowed_by_prefix() {
            Proof::Lines(shared.feed.ring(scope).lines)
        } else {
            let cached = shared.pings.get(scope).filter(|(position, _)| *position == head).map(|(_, digest)| *digest);
            let digest = match cached {
                Some(digest) => digest,
                None => {
                    let collections = self.store.collections()?;
                    let digest = scope_digest(collections.iter().filter(|c| scope.touches(&c.name)));
                    shared.pings.insert(scope.clone(), (head, digest));
                    digest
                }
            };
            Proof::Digest(digest)
        };
        Ok(Some(Ping { seq: head.seq, at, clock, proof }))
    }

    /// The `at` of a HELLO that leads to a tail. Load it before the position that it is a proof for.
    pub(crate) fn hello_at(&self, now: Now) -> u64 {
        self.lock().at(self.options.role, now)
    }
}

impl<S: Store> Shared<S> {
    /// The newest proof this node holds that nothing older is missing in its state.
    fn at(&mut self, role: Role, now: Now) -> u64 {
        match role {
            Role::Primary => self.clock.read(now).min(self.lease_end.unwrap_or(u64::MAX)),
            Role::Replica => self.freshness.at(),
        }
    }

    fn writer_clock(&mut self, role: Role, now: Now) -> Option<u64> {
        match role {
            Role::Primary => Some(self.clock.read(now)),
            Role::Replica => self.freshness.writer_clock(now),
        }
    }
}

/// A primary's clock for proofs. The wall clock may be set back, which replicas would take for lag as long as the epoch
/// lasts; this one then goes on at its own pace.
#[derive(Default)]
struct SteadyClock(Now);

impl SteadyClock {
    fn read(&mut self, now: Now) -> u64 {
        let expected = self.0.wall_ms + now.mono_ms.saturating_sub(self.0.mono_ms);
        if now.wall_ms >= expected {
            self.0 = now;
        }
        now.wall_ms.max(expected)
    }
}

/// Bytes of lines behind an open snapshot up to which newcomers share it.
const SHARED_TAIL_BYTES_MAX: usize = 1 << 20;

/// A snapshot and the newest proof there was of it.
pub(crate) struct Proven<P> {
    pub(crate) snapshot: Arc<P>,
    pub(crate) at: u64,
}

/// A child's registration.
pub(crate) struct Joined {
    pub(crate) id: u64,
    generation: u64,
    path_version: u64,
}

/// The state of the node as a stream meets it.
pub(crate) enum Tick {
    Go(Position),
    Closing(End),
    Rebased,
    /// The state comes through others than when the stream began.
    Moved,
    Superseded,
}

/// Commands on their way into store and feed. What was applied is fed when this is dropped.
pub struct Publication<'n, S: Store> {
    store: &'n S,
    shared: MutexGuard<'n, Shared<S>>,
    block: Bytes,
    range: Range<usize>,
    commands: Vec<(Mark, usize)>,
}

impl<S: Store> Publication<'_, S> {
    /// Applies one command whose line, newline included, is `block[range]`. Lines that follow one another in the same
    /// block are fed as one piece.
    ///
    /// # Errors
    /// See [`ApplyError`]; this command is neither applied nor fed, those before it are.
    pub fn apply(&mut self, command: &Logged<'_>, block: &Bytes, range: Range<usize>) -> Result<(), ApplyError> {
        apply(self.store, command, &mut self.shared.scratch)?;
        let continues = self.block.as_ptr() == block.as_ptr()
            && self.block.len() == block.len()
            && self.range.end == range.start
            && !self.commands.is_empty();
        if !continues {
            self.feed();
            self.block = block.clone();
            self.range = range.start..range.start;
        }
        // Most commands are of the same collection as the one before, whose name they then share.
        let before = self.commands.last().and_then(|(mark, _)| mark.collection.as_ref());
        let collection = command.collection.as_deref().map(|name| match before {
            Some(before) if **before == *name => Arc::clone(before),
            _ => Arc::from(name),
        });
        self.commands.push((Mark { seq: command.seq, collection }, range.start - self.range.start));
        self.range.end = range.end;
        self.shared.feed.head = self.store.position();
        Ok(())
    }

    fn feed(&mut self) {
        if !self.commands.is_empty() {
            let block = self.block.slice(self.range.clone());
            self.shared.feed.publish(block, &self.commands);
            self.commands.clear();
        }
    }
}

impl<S: Store> Drop for Publication<'_, S> {
    fn drop(&mut self) {
        self.feed();
    }
}
