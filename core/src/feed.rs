//! The feed: the in-memory tail of encoded lines, one ring per scope, that all children of equal scope share.
//!
//! Plain data without wake-ups: [`crate::node::Node`] guards it by a lock, shells wake their children. A child is a seq
//! into a ring ([`crate::stream::Stream`]), not a queue of its own.
//!
//! Who publishes adds to the ring of everything and looks at no other scope. The rings of narrower scopes are filled by
//! the first of their readers who gets there, from the shared chunks and outside the lock (`Unsorted::sort`), so that
//! no scope, however wide, and no number of scopes holds up a write.

mod chunk;

pub(crate) use chunk::{Chunk, Draft, Lines, filter_lines};

use crate::digest::Digest;
use crate::position::Position;
use crate::scope::Scope;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

/// Chunks one behind the other.
#[derive(Debug)]
struct Held {
    chunks: VecDeque<Arc<Chunk>>,
    bytes: usize,
    /// Every line with a seq above this, up to the last one held, is held.
    floor: u64,
}

impl Held {
    fn new(floor: u64) -> Self {
        Self { chunks: VecDeque::new(), bytes: 0, floor }
    }

    fn push(&mut self, chunk: Arc<Chunk>, bytes_max: usize) {
        self.bytes += chunk.bytes();
        self.chunks.push_back(chunk);
        while self.bytes > bytes_max {
            let Some(oldest) = self.chunks.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.floor = oldest.last();
        }
    }

    /// The first chunk with a line after `seq`.
    fn next(&self, seq: u64) -> Option<&Arc<Chunk>> {
        self.chunks.get(self.chunks.partition_point(|chunk| chunk.last() <= seq))
    }

    /// All chunks with a line after `seq`.
    fn all_after(&self, seq: u64) -> impl Iterator<Item = &Arc<Chunk>> {
        self.chunks.range(self.chunks.partition_point(|chunk| chunk.last() <= seq)..)
    }

    /// Bytes held after `seq`.
    fn bytes_after(&self, seq: u64) -> usize {
        let behind = self.chunks.iter().rev().take_while(|chunk| chunk.last() > seq);
        behind.map(|chunk| chunk.bytes()).sum()
    }
}

/// The tail of one scope that leaves something out.
#[derive(Debug)]
struct Ring {
    scope: Arc<Scope>,
    held: Held,
    /// Seq up to which what was published has been looked through.
    filled: u64,
    /// Lines of the scope up to there, and how often that count began anew.
    lines: u64,
    counts: u64,
    /// Digest of the scope as of there, once somebody asked for it. Not for `"*"`: see [`Totals`].
    digest: Option<Digest>,
    /// Streams that read it.
    streams: usize,
}

impl Ring {
    fn new(scope: Arc<Scope>, floor: u64) -> Self {
        Self { scope, held: Held::new(floor), filled: floor, lines: 0, counts: 0, digest: None, streams: 0 }
    }

    fn begin_anew(&mut self, floor: u64) {
        let (scope, counts, streams) = (Arc::clone(&self.scope), self.counts + 1, self.streams);
        *self = Self { counts, streams, ..Self::new(scope, floor) };
    }
}

/// Digests of all collections and of those that are not the system's, as of the head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Totals {
    pub(crate) everything: Digest,
    pub(crate) public: Digest,
}

/// What the feed says to a reader who has everything up to some seq.
#[derive(Debug)]
pub(crate) enum Tail {
    /// The next lines.
    Lines(Lines),
    /// The next lines are in here, to be sorted outside the lock.
    Unsorted(Unsorted),
    /// There are no more.
    Empty,
    /// Lines it lacks are not held any more.
    Fallen,
}

/// A chunk that nobody has looked through for a scope yet.
#[derive(Debug)]
pub(crate) struct Unsorted {
    chunk: Arc<Chunk>,
    scope: Arc<Scope>,
    ring: RingId,
    /// Where the ring was filled up to, and in which generation; `None` for a reader behind what the ring holds, who
    /// is served apart.
    from: Option<(u64, u64)>,
}

/// A chunk that was looked through.
pub(crate) struct Sorted {
    of: Unsorted,
    narrowed: Option<Arc<Chunk>>,
    change: Digest,
}

impl Unsorted {
    /// Takes out what the scope covers. Costs as much as the chunk is long; call it outside the lock.
    pub(crate) fn sort(self) -> Sorted {
        let (narrowed, change) = (self.chunk.narrowed(&self.scope), self.chunk.change(&self.scope));
        Sorted { of: self, narrowed, change }
    }
}

impl Sorted {
    /// The lines after `seq` for a reader who is served apart; `None` when they belong into the ring.
    pub(crate) fn apart(&self, seq: u64) -> Option<Lines> {
        let through = self.of.chunk.last();
        let nothing = Lines { bytes: Bytes::new(), commands: 0, through };
        let lines = || self.narrowed.as_ref().map_or(nothing, |chunk| Lines { through, ..chunk.after(seq) });
        self.of.from.is_none().then(lines)
    }
}

/// Names a ring without comparing scopes. No other ring of the node ever gets the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RingId(u64);

impl RingId {
    pub(crate) const EVERYTHING: Self = Self(0);
}

/// Bounds of the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedLimits {
    /// Bytes of lines kept for streams of everything.
    pub bytes_max: usize,
    /// Bytes of lines kept for each other scope while somebody follows it.
    pub scope_bytes_max: usize,
    /// Most scopes followed at one time.
    pub scopes_max: usize,
}

impl Default for FeedLimits {
    fn default() -> Self {
        Self { bytes_max: 16 << 20, scope_bytes_max: 1 << 20, scopes_max: 256 }
    }
}

/// All rings of a node.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) head: Position,
    /// Raised when the state is replaced as a whole: what was sorted before does not lead here.
    generation: u64,
    all: Held,
    rings: BTreeMap<RingId, Ring>,
    ids: BTreeMap<Arc<Scope>, RingId>,
    next_ring: u64,
    totals: Option<Totals>,
    limits: FeedLimits,
}

impl Feed {
    pub(crate) fn new(head: Position, limits: FeedLimits) -> Self {
        Self {
            head,
            generation: 0,
            all: Held::new(head.seq),
            rings: BTreeMap::new(),
            ids: BTreeMap::new(),
            next_ring: 1,
            totals: None,
            limits,
        }
    }

    /// Begins anew at `head`.
    pub(crate) fn reset(&mut self, head: Position) {
        self.head = head;
        self.generation += 1;
        self.all = Held::new(head.seq);
        self.rings.values_mut().for_each(|ring| ring.begin_anew(head.seq));
        self.totals = None;
    }

    /// Registers a reader of `scope` and returns its ring, with the one value of the scope that all its readers share;
    /// `None` when there are too many scopes.
    pub(crate) fn join(&mut self, scope: Scope) -> Option<(RingId, Arc<Scope>)> {
        if scope == Scope::Everything {
            return Some((RingId::EVERYTHING, Arc::new(scope)));
        }
        let id = match self.ids.get(&scope) {
            Some(&id) => id,
            None if self.rings.len() >= self.limits.scopes_max => return None,
            None => {
                let (id, scope) = (RingId(self.next_ring), Arc::new(scope));
                self.next_ring += 1;
                self.ids.insert(Arc::clone(&scope), id);
                self.rings.insert(id, Ring::new(scope, self.head.seq));
                id
            }
        };
        let ring = self.rings.get_mut(&id)?;
        ring.streams += 1;
        Some((id, Arc::clone(&ring.scope)))
    }

    /// Takes a reader off again.
    pub(crate) fn leave(&mut self, id: RingId) {
        let Some(ring) = self.rings.get_mut(&id) else { return };
        ring.streams -= 1;
        if ring.streams == 0 {
            self.ids.remove(&ring.scope);
            self.rings.remove(&id);
        }
    }

    /// The lowest seq after which every line is in memory.
    pub(crate) fn floor(&self) -> u64 {
        self.all.floor
    }

    pub(crate) fn bytes_after(&self, seq: u64) -> usize {
        self.all.bytes_after(seq)
    }

    /// What follows after `seq` for readers of this ring.
    pub(crate) fn after(&mut self, id: RingId, seq: u64) -> Tail {
        let Some(ring) = self.rings.get_mut(&id) else {
            return match self.all.next(seq) {
                _ if seq < self.all.floor => Tail::Fallen,
                Some(chunk) => Tail::Lines(chunk.after(seq)),
                None => Tail::Empty,
            };
        };
        if ring.filled < self.all.floor {
            // Nobody read it for so long that lines went by which nobody looked through.
            ring.begin_anew(self.all.floor);
        }
        let unsorted = |ring: &Ring, chunk: &Arc<Chunk>, from| {
            Tail::Unsorted(Unsorted { chunk: Arc::clone(chunk), scope: Arc::clone(&ring.scope), ring: id, from })
        };
        if seq < ring.held.floor {
            return match self.all.next(seq) {
                _ if seq < self.all.floor => Tail::Fallen,
                Some(chunk) => unsorted(ring, chunk, None),
                None => Tail::Empty,
            };
        }
        match (ring.held.next(seq), self.all.next(ring.filled)) {
            (Some(chunk), _) => Tail::Lines(chunk.after(seq)),
            (None, Some(chunk)) => unsorted(ring, chunk, Some((ring.filled, self.generation))),
            (None, None) => Tail::Empty,
        }
    }

    /// The rings that have got lines after `seq`, or may have some among those that nobody has looked through yet. What
    /// plainly is nothing for a ring counts as looked through.
    pub(crate) fn stirred(&mut self, seq: u64) -> Vec<RingId> {
        let mut stirred = Vec::new();
        for (&id, ring) in &mut self.rings {
            while let Some(chunk) = self.all.next(ring.filled)
                && ring.filled >= self.all.floor
                && !chunk.concerns(&ring.scope)
            {
                ring.filled = chunk.last();
            }
            let mut unsorted = self.all.all_after(seq.max(ring.filled));
            let is_held = ring.held.chunks.back().is_some_and(|chunk| chunk.last() > seq);
            if is_held || unsorted.any(|chunk| chunk.concerns(&ring.scope)) {
                stirred.push(id);
            }
        }
        stirred
    }

    /// Adds what was sorted to its ring, unless another reader was quicker.
    pub(crate) fn fill(&mut self, sorted: Sorted) {
        let Sorted { of, narrowed, change } = sorted;
        let Some(ring) = self.rings.get_mut(&of.ring) else { return };
        if of.from != Some((ring.filled, self.generation)) {
            return;
        }
        ring.filled = of.chunk.last();
        if let Some(digest) = &mut ring.digest {
            digest.add(change);
        }
        if let Some(chunk) = narrowed {
            ring.lines += chunk.commands();
            ring.held.push(chunk, self.limits.scope_bytes_max);
        }
    }

    /// The running count of the ring's lines, and which of its counts it is. Right for who was told [`Tail::Empty`].
    pub(crate) fn lines(&self, id: RingId) -> (u64, u64) {
        self.rings.get(&id).map_or((0, 0), |ring| (ring.lines, ring.counts))
    }

    /// The digest of the ring's scope as of the head, if it is known. Right for who was told [`Tail::Empty`].
    pub(crate) fn digest(&self, id: RingId) -> Option<Digest> {
        match self.rings.get(&id) {
            None => self.totals.map(|totals| totals.everything),
            Some(ring) if *ring.scope == Scope::Public => self.totals.map(|totals| totals.public),
            Some(ring) => ring.digest,
        }
    }

    /// Notes the digest of a ring that was told [`Tail::Empty`]; it is followed from here on.
    pub(crate) fn set_digest(&mut self, id: RingId, digest: Digest) {
        if let Some(ring) = self.rings.get_mut(&id) {
            ring.digest = Some(digest);
        }
    }

    pub(crate) fn totals(&self) -> Option<Totals> {
        self.totals
    }

    /// Notes the totals as of the head; they are followed from here on.
    pub(crate) fn set_totals(&mut self, totals: Totals) {
        self.totals = Some(totals);
    }

    /// Whether a chunk must say what it changes in digests.
    pub(crate) fn follows_digests(&self) -> bool {
        self.totals.is_some() || self.rings.values().any(|ring| ring.digest.is_some())
    }

    /// Forgets all digests, as a change of them could not be told.
    pub(crate) fn forget_digests(&mut self) {
        self.totals = None;
        self.rings.values_mut().for_each(|ring| ring.digest = None);
    }

    /// Adds lines that were just applied.
    pub(crate) fn publish(&mut self, chunk: Chunk) {
        self.head.seq = self.head.seq.max(chunk.last());
        if let Some(totals) = &mut self.totals {
            totals.everything.add(chunk.change(&Scope::Everything));
            totals.public.add(chunk.change(&Scope::Public));
        }
        self.all.push(Arc::new(chunk), self.limits.bytes_max);
    }
}

#[cfg(test)]
mod tests;
