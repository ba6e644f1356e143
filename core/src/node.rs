//! A node: what it holds, what it publishes, and who follows it. Every shell has exactly one.
//!
//! The writer publishes lines after they are durable, a replica those it took from its parent; both through
//! [`Node::publish`], which changes the store and the feed under one lock, so that a PING's digest always belongs to its
//! seq. Readers of entries never take that lock: how old a replica's state is has a small one of its own.

mod baselines;
mod children;
mod publication;
mod steady;
#[cfg(test)]
#[cfg(not(target_family = "wasm"))]
mod threads;

pub use children::{Child, Stirred, Told};
pub(crate) use children::{Follow, JoinError, Joined, Newcomer, Turn, end_for};
pub use publication::Publication;

use crate::apply::scope_digest;
use crate::clock::Now;
use crate::command::End;
use crate::credentials::Signatures;
use crate::digest::Digest;
use crate::feed::{Feed, FeedLimits, Totals};
use crate::freshness::Freshness;
use crate::id::Id;
use crate::name;
use crate::position::Term;
use crate::scope::Scope;
use crate::shares::Shares;
use crate::store::{Collection, Progress, Store, StoreError};
use crate::stream::Cursor;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Weak;
use alloc::vec::Vec;
use baselines::Baselines;
use children::{Member, retry};
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use steady::SteadyClock;

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
    /// Most of them of one caller whose credential has not the role node.
    pub children_per_credential_max: usize,
    /// On a replica, the lag in ms from which on it trusts no key that it holds; `None` for never.
    pub auth_staleness_ms_max: Option<u64>,
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
            children_per_credential_max: 10_000,
            auth_staleness_ms_max: None,
        }
    }
}

/// See the module.
pub struct Node<S: Store> {
    store: S,
    options: NodeOptions,
    shared: Mutex<Shared<S>>,
    /// What is known of freshness. Apart from the rest, as every read asks, which is not to wait for a publication.
    ///
    /// A proof is put here after the entries that it is of (a position that moves without them may follow it), and whoever
    /// answers takes it *before* looking at the state: so what is answered is at least as new as the proof says, however far a publication is meanwhile, and no lag is told
    /// too small. Where both locks are held, this one is taken second.
    freshness: Mutex<Freshness>,
    met: Mutex<Met>,
    /// Whether the state's scope reaches the keys. Apart from it, as every request asks.
    follows_keys: AtomicBool,
    signatures: Signatures,
}

/// What a primary heard of other writers.
#[derive(Clone, Copy, Default)]
struct Met {
    /// The highest that a node came with. An epoch of 0: only the takeover is known.
    highest: Term,
    /// The highest of those that was told of.
    told: Term,
}

struct Shared<S: Store> {
    feed: Feed,
    clock: SteadyClock,
    /// A primary vouches for nothing newer than this.
    lease_end: Option<u64>,
    instance: Id,
    /// Instances from the primary to this node's parent.
    path: Vec<Id>,
    /// How often `path` or `instance` has changed.
    path_version: u64,
    /// How often a key has changed, and once more: a stream that has seen none of it yet begins with 0.
    keys_version: u64,
    children: BTreeMap<u64, Member>,
    /// Those of them that named an instance.
    instances: BTreeSet<(Id, u64)>,
    /// Which of them are being sent a baseline.
    baselines: Baselines,
    /// How many of them each caller has.
    shares: Shares<String>,
    next_child: u64,
    /// How often streams were told to end.
    turns: u64,
    /// How every stream ends that comes.
    closing: Option<End>,
    snapshot: Weak<S::Snapshot>,
    /// The newest proof there was when the snapshot was taken.
    snapshot_at: u64,
    /// Baselines begun for children.
    baselines_begun: u64,
    scratch: Vec<u8>,
}

impl<S: Store> Shared<S> {
    fn end(&mut self, how: impl Fn(&Member) -> Option<End>) {
        self.turns += 1;
        for (id, child) in self.children.iter_mut().filter(|(_, child)| child.ending.is_none()) {
            child.ending = how(child);
            if child.ending.is_some() {
                self.baselines.end(*id);
            }
        }
    }

    /// Ends one stream, unless it is ending already.
    fn end_one(&mut self, id: u64, end: End) {
        if let Some(child) = self.children.get_mut(&id) {
            child.ending.get_or_insert(end);
            self.baselines.end(id);
        }
    }

    /// The path has changed. Those who are in it themselves are told to go at once: following them is following this
    /// node. The others are told the new path by their streams, and tell it on; so a circle of any length comes to
    /// each of its nodes as a path that it is in.
    fn path_changed(&mut self) {
        self.path_version += 1;
        let path = self.path.clone();
        let within = |child: &Member| child.instance.is_some_and(|instance| path.contains(&instance));
        self.end(|child| within(child).then(|| retry("path_changed")));
    }

    fn attended(&mut self, joined: &Joined) -> &mut Member {
        self.children.get_mut(&joined.id).expect("a stream is registered until it is dropped")
    }

    fn full_path(&self) -> Vec<Id> {
        let mut path = self.path.clone();
        path.push(self.instance);
        path
    }
}

impl<S: Store> Node<S> {
    /// A node that holds what `store` holds.
    pub fn new(store: S, options: NodeOptions) -> Self {
        let progress = store.progress();
        let shared = Shared {
            feed: Feed::new(progress.position, options.feed),
            clock: SteadyClock::default(),
            lease_end: None,
            instance: options.instance,
            path: Vec::new(),
            path_version: 0,
            keys_version: 1,
            children: BTreeMap::new(),
            instances: BTreeSet::new(),
            baselines: Baselines::default(),
            shares: Shares::new(options.children_per_credential_max),
            next_child: 1,
            turns: 0,
            closing: None,
            snapshot: Weak::new(),
            snapshot_at: 0,
            baselines_begun: 0,
            scratch: Vec::new(),
        };
        let shared = Mutex::new(shared);
        let freshness = Freshness::restored(progress.at, progress.clock_offset, progress.term(), progress.lag_ms);
        let follows_keys = AtomicBool::new(progress.scope.touches(name::KEYS));
        let (freshness, met, signatures) = (Mutex::new(freshness), Mutex::default(), Signatures::default());
        Self { store, options, shared, freshness, met, follows_keys, signatures }
    }

    /// What the node holds.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Who the node is.
    pub fn options(&self) -> &NodeOptions {
        &self.options
    }

    /// The signatures of tokens that it has seen to hold.
    pub(crate) fn signatures(&self) -> &Signatures {
        &self.signatures
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
        Publication::new(&self.store, self.lock())
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
        // Before it is so: better nobody is known for a moment than somebody who should not be.
        self.follows_keys.fetch_and(progress.scope.touches(name::KEYS), Ordering::AcqRel);
        {
            // As one: who took the proof before goes by one of an earlier state, who takes it behind by that of the new.
            // A baseline is never of an earlier state than the one that it replaces, but where history itself was put
            // back; there a read that is under way tells of the position that was, too.
            let mut proof = self.proof();
            self.store.swap(collections, progress)?;
            *proof = freshness;
        }
        self.scope_is(&progress.scope);
        shared.feed.reset(progress.position);
        shared.snapshot = Weak::new();
        shared.end(|_| Some(retry("rebaselined")));
        Ok(())
    }

    /// Moves the position forward without commands, as a PING of the parent does.
    ///
    /// # Errors
    /// When the store fails.
    pub fn advance(&self, progress: &Progress) -> Result<(), StoreError> {
        let mut shared = self.lock();
        self.store.set_progress(progress)?;
        self.scope_is(&progress.scope);
        shared.feed.head = progress.position;
        Ok(())
    }

    /// Hides what lies outside `scope` at once; the position stays. Children's streams end.
    ///
    /// # Errors
    /// When the store fails.
    pub fn narrow(&self, progress: &Progress) -> Result<(), StoreError> {
        let mut shared = self.lock();
        // The same.
        self.scope_is(&progress.scope);
        self.store.set_progress(progress)?;
        shared.feed.reset(progress.position);
        shared.end(|_| Some(retry("narrowed")));
        Ok(())
    }

    /// The digest of everything this node holds, counted once and from then on followed.
    ///
    /// # Errors
    /// When the store fails.
    pub fn digest(&self) -> Result<Digest, StoreError> {
        Ok(self.totals(&mut self.lock())?.everything)
    }

    fn totals(&self, shared: &mut Shared<S>) -> Result<Totals, StoreError> {
        if let Some(totals) = shared.feed.totals() {
            return Ok(totals);
        }
        let collections = self.store.collections()?;
        let everything = scope_digest(&collections);
        let public = scope_digest(collections.iter().filter(|facts| !name::is_system(&facts.name)));
        let totals = Totals { everything, public };
        shared.feed.set_totals(totals);
        Ok(totals)
    }

    fn proof(&self) -> MutexGuard<'_, Freshness> {
        // A few numbers are compared and copied under it, but for a baseline, whose store says what it leaves behind.
        self.freshness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest proof of freshness and how it was judged.
    pub fn freshness(&self) -> Freshness {
        *self.proof()
    }

    /// Changes what is known of freshness. A proof comes here after the entries that it is of were published.
    pub fn update_freshness(&self, update: impl FnOnce(&mut Freshness)) {
        update(&mut self.proof());
    }

    /// How far this node is behind the writer in ms: 0 on a primary, `None` on a replica that never had a proof. For an
    /// answer, ask before you look at the state that it is of.
    pub fn lag_ms(&self, now: Now) -> Option<u64> {
        match self.options.role {
            Role::Primary => Some(0),
            Role::Replica => self.freshness().lag_ms(now),
        }
    }

    /// The newest proof this node holds that nothing older is missing in its state.
    fn at(&self, shared: &mut Shared<S>, now: Now) -> u64 {
        match self.options.role {
            Role::Primary => shared.clock.read(now).min(shared.lease_end.unwrap_or(u64::MAX)),
            Role::Replica => self.freshness().at(),
        }
    }

    /// What the writer's clock shows now, as far as this node can tell.
    fn clock(&self, shared: &mut Shared<S>, now: Now) -> Option<u64> {
        match self.options.role {
            Role::Primary => Some(shared.clock.read(now)),
            Role::Replica => self.freshness().writer_clock(now),
        }
    }

    /// Another writer may own the log from here on: this primary goes on serving what it holds, and vouches for nothing
    /// newer any more.
    pub fn end_lease(&self, now: Now) {
        let mut shared = self.lock();
        let end = shared.clock.read(now);
        shared.lease_end.get_or_insert(end);
    }

    fn scope_is(&self, scope: &Scope) {
        self.follows_keys.store(scope.touches(name::KEYS), Ordering::Release);
    }

    /// Whether the state's scope reaches the keys, so that they are the writer's as of its position.
    pub fn follows_keys(&self) -> bool {
        self.follows_keys.load(Ordering::Acquire)
    }

    /// Whether this is a replica that has been without proof of the writer's state for longer than it may trust its keys:
    /// one that was revoked meanwhile would still be good here.
    pub fn is_cut_off(&self, now: Now) -> bool {
        let (Some(ms_max), Role::Replica) = (self.options.auth_staleness_ms_max, self.options.role) else {
            return false;
        };
        self.lag_ms(now).is_none_or(|lag_ms| lag_ms > ms_max)
    }

    /// What the writer's clock shows now, as far as this node can tell.
    pub(crate) fn writer_clock(&self, now: Now) -> Option<u64> {
        self.clock(&mut self.lock(), now)
    }

    /// Remembers through whom the state comes: the instances of the parent's path. When that has changed, children learn
    /// it by their streams; those who are in it themselves are ended. Otherwise nodes that lose their parent at the same
    /// moment could follow each other in a circle for ever.
    pub fn set_path(&self, path: &[Id]) {
        let mut shared = self.lock();
        if shared.path != path {
            shared.path = path.into();
            shared.path_changed();
        }
    }

    /// Instances from the primary to this node.
    pub fn path(&self) -> Vec<Id> {
        self.lock().full_path()
    }

    /// The random id that tells this node from all others.
    pub fn instance(&self) -> Id {
        self.lock().instance
    }

    /// Goes on under another id, as another node uses the one before. Children learn it by their streams.
    pub fn set_instance(&self, instance: Id) {
        let mut shared = self.lock();
        shared.instance = instance;
        shared.path_changed();
    }

    /// Ends every stream, and every one that comes, with `end`.
    pub fn close(&self, end: End) {
        let mut shared = self.lock();
        shared.end(|_| Some(end.clone()));
        shared.closing = Some(end);
    }

    /// Whether the node is ending its streams.
    pub fn closing(&self) -> Option<End> {
        self.lock().closing.clone()
    }

    /// On a primary: a node that follows has this cursor, and has accepted this takeover.
    pub(crate) fn meet(&self, cursor: Option<&Cursor>, takeover: Option<u64>) {
        let own = self.store.progress().takeover;
        // Who does not say of which takeover its epoch is does not know of any.
        let held = cursor.map(|cursor| Term { takeover: cursor.takeover.unwrap_or(own), epoch: cursor.position.epoch });
        let accepted = takeover.map(|takeover| Term { takeover, epoch: 0 });
        if let Some(term) = held.max(accepted) {
            let mut met = self.met();
            met.highest = met.highest.max(term);
        }
    }

    fn met(&self) -> MutexGuard<'_, Met> {
        // Two numbers are copied under it, and nothing there panics.
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer that took over from this one, as far as nodes that follow tell; `None` while this one is the newest. Its
    /// epoch is 0 where only its takeover is known.
    pub fn deposed_by(&self) -> Option<Term> {
        let met = self.met().highest;
        (met > self.store.progress().term()).then_some(met)
    }

    /// As [`Node::deposed_by`], once for each such writer: for the shell to tell of.
    pub fn deposed_news(&self) -> Option<Term> {
        let by = self.deposed_by()?;
        let mut met = self.met();
        let told = met.told;
        met.told = told.max(by);
        (told < by).then_some(by)
    }

    /// How many baselines were begun for children.
    pub fn baselines_begun(&self) -> u64 {
        self.lock().baselines_begun
    }

    /// The lowest seq after which every line is in the feed.
    pub fn feed_floor(&self) -> u64 {
        self.lock().feed.floor()
    }

    /// The `at` of a HELLO that leads to a tail. Load it before the position that it is a proof for.
    pub(crate) fn hello_at(&self, now: Now) -> u64 {
        self.at(&mut self.lock(), now)
    }
}
