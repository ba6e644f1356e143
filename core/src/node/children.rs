//! Those who follow a node, and what their streams ask of it.

use super::Node;
use super::publication::term;
use crate::clock::Now;
use crate::command::{End, EndReason, Ping, Proof};
use crate::digest::Digest;
use crate::feed::{Lines, RingId, Tail};
use crate::id::Id;
use crate::position::Position;
use crate::scope::Scope;
use crate::shares::BeyondShare;
use crate::store::{Store, StoreError};
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
    /// What it follows.
    pub scope: Arc<Scope>,
    /// Seq up to which everything was handed to its connection.
    pub sent_seq: u64,
    /// Bytes handed to its connection.
    pub sent_bytes: u64,
    /// Whether it is being sent a baseline.
    pub in_baseline: bool,
}

/// What a node knows of one who follows.
pub(super) struct Member {
    node: String,
    pub(super) instance: Option<Id>,
    credential: String,
    /// See [`Newcomer::caller`].
    caller: Option<String>,
    scope: Arc<Scope>,
    sent_seq: u64,
    pub(super) sent_bytes: u64,
    /// How its stream ends, with its next step; `None` while it goes on.
    pub(super) ending: Option<End>,
    ring: RingId,
}

/// Who wants to become a child.
pub(crate) struct Newcomer {
    pub(crate) node: String,
    pub(crate) instance: Option<Id>,
    /// The credential it came with.
    pub(crate) credential: String,
    /// Of whose share its stream is; `None` for one with the role node, which serves others and needs none.
    pub(crate) caller: Option<String>,
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
    /// The caller has its share of them.
    BeyondShare(usize),
    Scopes,
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

impl Member {
    pub(super) fn is_node(&self) -> bool {
        self.caller.is_none()
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
        let Newcomer { node, instance, credential, caller, scope } = newcomer;
        if let Some(caller) = &caller {
            let taken = shared.shares.take(caller.as_str(), 1);
            taken.map_err(|BeyondShare(limit)| JoinError::BeyondShare(limit))?;
        }
        let Some((ring, scope)) = shared.feed.join(scope) else {
            if let Some(caller) = &caller {
                shared.shares.give_back(caller.as_str(), 1);
            }
            return Err(JoinError::Scopes);
        };
        let id = shared.next_child;
        shared.next_child += 1;
        let ending = shared.closing.clone();
        let path_version = shared.path_version;
        // A key may have changed since the request was let in: the first turn looks.
        let joined = Joined { id, ring, scope: Arc::clone(&scope), path_version, keys_version: 0 };
        shared.instances.extend(instance.map(|instance| (instance, id)));
        let member = Member { node, instance, credential, caller, scope, sent_seq: 0, sent_bytes: 0, ending, ring };
        shared.children.insert(id, member);
        Ok(joined)
    }

    /// The stream is open: it takes the place of older ones of the same instance and credential.
    pub(crate) fn supersede(&self, joined: &Joined) {
        let mut shared = self.lock();
        let newer = shared.attended(joined);
        let (Some(instance), credential) = (newer.instance, newer.credential.clone()) else { return };
        let older: Vec<u64> = shared.instances.range((instance, 0)..(instance, joined.id)).map(|(_, id)| *id).collect();
        for id in older {
            if shared.children.get(&id).is_some_and(|child| child.credential == credential) {
                shared.end_one(id, end_for(EndReason::Superseded, ""));
            }
        }
    }

    pub(crate) fn leave(&self, id: u64) {
        let mut shared = self.lock();
        shared.baselines.end(id);
        if let Some(child) = shared.children.remove(&id) {
            shared.feed.leave(child.ring);
            if let Some(instance) = child.instance {
                shared.instances.remove(&(instance, id));
            }
            if let Some(caller) = &child.caller {
                shared.shares.give_back(caller.as_str(), 1);
            }
        }
    }

    /// How many follow this node.
    pub fn children_count(&self) -> usize {
        self.lock().children.len()
    }

    /// Those who follow this node.
    pub fn children(&self) -> Vec<Child> {
        let shared = self.lock();
        let shown = shared.children.iter().map(|(id, member)| Child {
            node: member.node.clone(),
            instance: member.instance,
            scope: Arc::clone(&member.scope),
            sent_seq: member.sent_seq,
            sent_bytes: member.sent_bytes,
            in_baseline: shared.baselines.has(*id),
        });
        shown.collect()
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
        // While the lock is held nothing newer than the head is published, so the proof is of no more than that.
        let at = self.at(&mut shared, now);
        let clock = self.clock(&mut shared, now).filter(|&clock| clock != at);
        Ok(Some((Ping { seq: shared.feed.head.seq, at, clock, proof }, count)))
    }

    fn scope_digest(&self, shared: &mut super::Shared<S>, joined: &Joined) -> Result<Digest, StoreError> {
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
