//! Those who follow a node, and what their streams ask of it.

use super::publication::term;
use super::{Node, Shared};
use crate::clock::Now;
use crate::command::{End, EndReason, Ping, Proof};
use crate::digest::Digest;
use crate::feed::{Lines, RingId, Tail};
use crate::id::Id;
use crate::position::Position;
use crate::scope::Scope;
use crate::store::{Snapshot, SnapshotError, Store, StoreError};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

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
    pub scope: Arc<Scope>,
    /// Seq up to which everything was handed to its connection.
    pub sent_seq: u64,
    /// Bytes handed to its connection.
    pub sent_bytes: u64,
    /// Whether it is being sent a baseline.
    pub in_baseline: bool,
    /// Since when, on the monotonic clock, and how many bytes it had then.
    baseline_begun: (u64, u64),
    /// Whether it has the role node: it serves others.
    pub(super) is_node: bool,
    /// How its stream ends, with its next step; `None` while it goes on.
    pub ending: Option<End>,
    pub(super) ring: RingId,
}

/// Who wants to become a child.
pub(crate) struct Newcomer {
    pub(crate) node: String,
    pub(crate) instance: Option<Id>,
    pub(crate) credential: String,
    /// Whether that has the role node.
    pub(crate) is_node: bool,
    pub(crate) scope: Scope,
}

/// What a child is asked to wait after an END that is not its fault, in ms; it adds jitter.
const RETRY_MS: u64 = 500;

/// An END with the usual wait.
pub(crate) fn end_for(reason: EndReason, detail: &str) -> End {
    End { reason, detail: detail.into(), retry_ms: RETRY_MS, parents: Vec::new() }
}

pub(super) fn retry(detail: &str) -> End {
    end_for(EndReason::Retry, detail)
}

/// Of what there are too many for a child to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinError {
    Children,
    OfCredential,
    Scopes,
}

/// How long a child may take for a baseline, in ms, while others wait for its place: so long at the most, and after so
/// long no more slowly than at this rate in bytes a second, seen over the whole of it.
const BASELINE_AGE_MS_MAX: u64 = 3_600_000;
const BASELINE_PATIENCE_MS: u64 = 15_000;
const BASELINE_BYTES_PER_S_MIN: u64 = 16 << 10;

/// Of the places for baselines, every so many-th is for nodes alone.
const PLACES_FOR_NODES: usize = 4;

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
    pub(crate) scope: Arc<Scope>,
    ring: RingId,
    /// Which of the node's paths the child was told.
    path_version: u64,
    /// As of which of the node's changes of keys the child's credential was judged.
    keys_version: u64,
}

impl Joined {
    pub(crate) fn ring(&self) -> Option<RingId> {
        (self.ring != RingId::EVERYTHING).then_some(self.ring)
    }
}

/// Whose streams may have something to do since [`Node::stirred`] was asked before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stirred {
    /// Everybody's.
    All,
    /// Those of everything, and those that read these rings.
    Rings(Vec<RingId>),
}

/// Up to where somebody was told by [`Node::stirred`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    seq: u64,
    turns: u64,
}

/// What a stream does with its next step.
pub(crate) enum Turn {
    /// It goes on.
    Go,
    /// It tells this path, by which the state comes now.
    Path(Vec<Id>),
    /// Keys have changed: it has the child's credential judged again, and asks once more.
    Judge,
    /// It ends.
    End(End),
}

/// What a stream in the tail does next.
pub(crate) enum Follow {
    /// It hands out these lines.
    Lines(Lines),
    /// It has handed out everything up to this head.
    CaughtUp(Position),
    /// The next lines are not in memory any more.
    Fallen,
    /// Keys have changed since [`Node::attend`]: it takes another turn first.
    Again,
    /// It ends.
    End(End),
}

impl Child {
    /// Whether it takes so long for its baseline that another may have its place.
    fn is_slow(&self, mono_ms: u64) -> bool {
        let (begun_ms, bytes) = self.baseline_begun;
        let ms = mono_ms.saturating_sub(begun_ms);
        let expected = BASELINE_BYTES_PER_S_MIN.saturating_mul(ms) / 1_000;
        let is_below = ms >= BASELINE_PATIENCE_MS && self.sent_bytes.saturating_sub(bytes) < expected;
        self.in_baseline && (is_below || ms >= BASELINE_AGE_MS_MAX)
    }
}

impl<S: Store> Shared<S> {
    /// Whether `places` leave one more for a child that `is_node` or is none. One that is to end has none, though it may be
    /// so slow that it has not heard of that.
    fn has_place(&self, places: usize, is_node: bool) -> bool {
        let sent = || self.in_baseline().filter(|child| child.ending.is_none());
        let others = places - places / PLACES_FOR_NODES;
        sent().count() < places && (is_node || sent().filter(|child| !child.is_node).count() < others)
    }

    /// Those who are being sent a baseline. Whoever is refused one asks again: it must not take a look at every child.
    fn in_baseline(&self) -> impl Iterator<Item = &Child> {
        self.baselines.iter().filter_map(|id| self.children.get(id))
    }
}

impl<S: Store> Node<S> {
    /// Whose streams have to be woken for what has happened since `told`, which then is of now. Streams of scopes that left
    /// all of it out may sleep, [`SKIPPED_PING_MS`](crate::stream::SKIPPED_PING_MS) long at the most: so a crowd that
    /// follows what does not change costs those nothing who follow what does.
    pub fn stirred(&self, told: &mut Told) -> Stirred {
        let mut shared = self.lock();
        let (before, turns) = (*told, shared.turns + shared.keys_version + shared.path_version);
        *told = Told { seq: shared.feed.head.seq, turns };
        if turns != before.turns { Stirred::All } else { Stirred::Rings(shared.feed.stirred(before.seq)) }
    }

    pub(crate) fn join(&self, newcomer: Newcomer) -> Result<Joined, JoinError> {
        let mut shared = self.lock();
        if shared.children.len() >= self.options.children_max {
            return Err(JoinError::Children);
        }
        let Newcomer { node, instance, credential, is_node, scope } = newcomer;
        let of_credential = shared.credentials.get(&credential).copied().unwrap_or(0);
        if of_credential >= self.options.children_per_credential_max {
            return Err(JoinError::OfCredential);
        }
        let (ring, scope) = shared.feed.join(scope).ok_or(JoinError::Scopes)?;
        shared.credentials.insert(credential.clone(), of_credential + 1);
        let id = shared.next_child;
        shared.next_child += 1;
        let ending = shared.closing.clone();
        let path_version = shared.path_version;
        // A key may have changed since the request was let in: the first turn looks.
        let joined = Joined { id, ring, scope: Arc::clone(&scope), path_version, keys_version: 0 };
        let child = Child {
            node,
            instance,
            credential,
            scope,
            sent_seq: 0,
            sent_bytes: 0,
            in_baseline: false,
            baseline_begun: (0, 0),
            is_node,
            ending,
            ring,
        };
        shared.children.insert(id, child);
        Ok(joined)
    }

    /// The stream is open: it takes the place of older ones of the same instance and credential.
    pub(crate) fn supersede(&self, joined: &Joined) {
        let mut shared = self.lock();
        let newer = shared.attended(joined);
        let (Some(instance), credential) = (newer.instance, newer.credential.clone()) else { return };
        let same = |child: &Child| child.instance == Some(instance) && child.credential == credential;
        for (_, older) in shared.children.range_mut(..joined.id).filter(|(_, child)| same(child)) {
            older.ending.get_or_insert_with(|| end_for(EndReason::Superseded, ""));
        }
    }

    pub(crate) fn leave(&self, id: u64) {
        let mut shared = self.lock();
        shared.baselines.remove(&id);
        if let Some(child) = shared.children.remove(&id) {
            shared.feed.leave(child.ring);
            if let Some(count) = shared.credentials.get_mut(&child.credential) {
                *count -= 1;
                if *count == 0 {
                    shared.credentials.remove(&child.credential);
                }
            }
        }
    }

    /// What a stream that has handed out this much needs to know before its next step.
    pub(crate) fn attend(&self, joined: &mut Joined, sent_seq: u64, sent_bytes: u64) -> Turn {
        let mut shared = self.lock();
        if let Some(end) = shared.attended(joined).ending.clone() {
            return Turn::End(end);
        }
        let child = shared.attended(joined);
        (child.sent_seq, child.sent_bytes) = (sent_seq, sent_bytes);
        if shared.keys_version != joined.keys_version {
            joined.keys_version = shared.keys_version;
            return Turn::Judge;
        }
        if shared.path_version != joined.path_version {
            joined.path_version = shared.path_version;
            return Turn::Path(shared.full_path());
        }
        Turn::Go
    }

    /// What follows after `seq` for a stream in the tail.
    pub(crate) fn tail(&self, joined: &Joined, seq: u64) -> Follow {
        loop {
            let unsorted = {
                let mut shared = self.lock();
                // Under the same lock: what is in the feed now may be another history than the stream began with.
                if let Some(end) = &shared.attended(joined).ending {
                    return Follow::End(end.clone());
                }
                // What was published with a change of keys is not for who lost the right to it by that.
                if shared.keys_version != joined.keys_version {
                    return Follow::Again;
                }
                match shared.feed.after(joined.ring, seq) {
                    Tail::Lines(lines) => return Follow::Lines(lines),
                    Tail::Empty => return Follow::CaughtUp(shared.feed.head),
                    Tail::Fallen => return Follow::Fallen,
                    Tail::Unsorted(unsorted) => unsorted,
                }
            };
            let sorted = unsorted.sort();
            match sorted.apart(seq) {
                Some(lines) => return Follow::Lines(lines),
                None => self.lock().feed.fill(sorted),
            }
        }
    }

    /// A place among those who are sent a baseline, with the snapshot they share; `None` when all places are taken.
    pub(crate) fn begin_baseline(&self, id: u64, now: Now) -> Result<Option<Proven<S::Snapshot>>, SnapshotError> {
        let mut shared = self.lock();
        let (places, is_node) =
            (self.options.baselines_max, shared.children.get(&id).is_some_and(|child| child.is_node));
        if !shared.has_place(places, is_node) {
            if shared.in_baseline().any(|child| child.is_slow(now.mono_ms)) {
                shared.end(|child| child.is_slow(now.mono_ms).then(|| retry("baseline_too_slow")));
            }
            if !shared.has_place(places, is_node) {
                return Ok(None);
            }
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
            (child.in_baseline, child.baseline_begun) = (true, (now.mono_ms, child.sent_bytes));
            shared.baselines.insert(id);
        }
        shared.baselines_begun += 1;
        Ok(Some(Proven { snapshot, at: shared.snapshot_at }))
    }

    pub(crate) fn end_baseline(&self, id: u64) {
        let mut shared = self.lock();
        shared.baselines.remove(&id);
        if let Some(child) = shared.children.get_mut(&id) {
            child.in_baseline = false;
        }
    }

    /// A full PING as of the head, and which count its lines are of; `None` when a reader at `seq` has not been handed
    /// everything yet.
    pub(crate) fn ping(&self, joined: &Joined, seq: u64, now: Now) -> Result<Option<(Ping, u64)>, StoreError> {
        let mut shared = self.lock();
        let is_due = shared.attended(joined).ending.is_some() || shared.keys_version != joined.keys_version;
        if is_due || !matches!(shared.feed.after(joined.ring, seq), Tail::Empty) {
            return Ok(None);
        }
        let (lines, count) = shared.feed.lines(joined.ring);
        let proof = if joined.scope.is_narrowed_by_prefix() {
            Proof::Lines { lines, sent: None }
        } else {
            Proof::Digest(self.scope_digest(&mut shared, joined)?)
        };
        let at = shared.at(self.options.role, now);
        let clock = shared.writer_clock(self.options.role, now).filter(|&clock| clock != at);
        Ok(Some((Ping { seq: shared.feed.head.seq, at, clock, proof }, count)))
    }

    fn scope_digest(&self, shared: &mut Shared<S>, joined: &Joined) -> Result<Digest, StoreError> {
        Ok(match (shared.feed.digest(joined.ring), &*joined.scope) {
            (Some(digest), _) => digest,
            (None, Scope::Everything) => self.totals(shared)?.everything,
            (None, Scope::Public) => self.totals(shared)?.public,
            (None, Scope::Only(collections)) => {
                let mut digest = Digest::EMPTY;
                for (name, _) in collections.iter() {
                    digest.add(term(&self.store, name)?);
                }
                shared.feed.set_digest(joined.ring, digest);
                digest
            }
        })
    }
}
