//! Writes that may be sent again: which request an `Idempotency-Key` stood for, and what it was answered.
//!
//! A client that never heard the answer to a write sends it again under the same key. [`Repeats`] tells, from two hashes
//! of a request, whether it is new, the same again, or another one under a key that is taken. It remembers what was
//! written and nothing else: a refusal did nothing, so the next attempt is judged anew. It is bounded in number, in
//! versions and in age, oldest first; behind its bounds a repeat is a new write.
//!
//! The shell asks before a write is decided, notes each one that a line was written for, and stores the [`Mark`] beside
//! the line, so that the window can be built again from the log, and with every baseline what the log will let go of.

use crate::command::Action;
use crate::id::{Id, InvalidId};
use crate::position::Position;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Bound;
use core::str::FromStr;
use hashbrown::HashMap;
use sha2::{Digest as _, Sha256};

#[cfg(test)]
mod tests;

/// What is kept of a request that carries a key: who sent which key, and what the request was.
///
/// Both are SHA-256 cut to 128 bits. The digests elsewhere in this crate are XXH3, which whoever chooses the input can
/// make collide; here a client could so take another one's key, or have a write answered that was never done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    key: Id,
    request: Id,
}

impl Mark {
    /// The mark of a request under `key` by `credential`. `request` is all that makes it this request, part by part.
    ///
    /// # Examples
    /// ```
    /// use headwater_core::repeats::Mark;
    /// let mark = Mark::new("alice", "7f", &[b"PUT", b"/a", b"{}"]);
    /// assert_eq!(mark.to_string().parse(), Ok(mark));
    /// assert_ne!(mark, Mark::new("alice", "7f", &[b"PUT", b"/a{", b"}"]));
    /// ```
    pub fn new(credential: &str, key: &str, request: &[&[u8]]) -> Self {
        Self { key: hash(&[credential.as_bytes(), key.as_bytes()]), request: hash(request) }
    }
}

/// Of the parts and where each ends.
fn hash(parts: &[&[u8]]) -> Id {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let hash: [u8; 32] = hasher.finalize().into();
    Id::from_bytes(*hash.first_chunk().expect("SHA-256 has more bytes than that"))
}

/// As it is stored: both hashes in hex, a `-` between them.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.key, self.request)
    }
}

impl FromStr for Mark {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (key, request) = text.split_once('-').unwrap_or((text, ""));
        Ok(Self { key: key.parse()?, request: request.parse()? })
    }
}

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most writes.
    pub writes: usize,
    /// Most versions that they wrote together: a batch writes several, and all of them are its answer.
    pub versions: usize,
    /// Age of a write, in ms, from which on it is forgotten.
    pub age_ms: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { writes: 100_000, versions: 1_000_000, age_ms: 24 * 60 * 60 * 1_000 }
    }
}

/// What a write under a key was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Its own position.
    pub position: Position,
    /// When it was written, Unix ms.
    pub timestamp: u64,
    /// Versions of the entries it wrote, in the order asked.
    pub versions: Vec<u64>,
}

/// What a request under a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing is known of the key: it is to be decided.
    New,
    /// The same was written: it is to be answered so again, and nothing is to be done.
    Repeated(Answered),
    /// Something else was written under this key.
    Other,
}

/// The window: see the module.
#[derive(Debug, Default)]
pub struct Repeats {
    bounds: Bounds,
    /// By seq, which is by age.
    writes: BTreeMap<u64, (Mark, Answered)>,
    /// Where each key is.
    seqs: HashMap<Id, u64>,
    /// Versions in all of `writes`.
    versions: usize,
}

impl Repeats {
    /// An empty window.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// What a request is, at `now_ms` (Unix ms).
    pub fn look(&mut self, mark: Mark, now_ms: u64) -> Seen {
        self.forget_older(now_ms);
        match self.seqs.get(&mark.key).and_then(|seq| self.writes.get(seq)) {
            None => Seen::New,
            Some((written, answered)) if written.request == mark.request => Seen::Repeated(answered.clone()),
            Some(_) => Seen::Other,
        }
    }

    /// Notes that a line was written for a request. What exceeds the bounds is forgotten, oldest first.
    pub fn note(&mut self, mark: Mark, answered: Answered) {
        let seq = answered.position.seq;
        let before = self.seqs.get(&mark.key).copied();
        [before, Some(seq)].into_iter().flatten().for_each(|seq| self.forget(seq));
        self.versions += answered.versions.len();
        self.seqs.insert(mark.key, seq);
        self.writes.insert(seq, (mark, answered));
        while self.writes.len() > self.bounds.writes || self.versions > self.bounds.versions {
            self.forget_oldest();
        }
    }

    /// Forgets what was noted behind `seq`: it was not written, or nobody knows.
    pub fn forget_after(&mut self, seq: u64) {
        while let Some((&last, _)) = self.writes.last_key_value()
            && last > seq
        {
            self.forget(last);
        }
    }

    /// What is remembered of writes behind `after` and up to `through`, oldest first: from 0 on, what a baseline of
    /// `through` has to carry.
    pub fn between(&self, after: u64, through: u64) -> impl Iterator<Item = (Mark, &Answered)> {
        let behind = self.writes.range((Bound::Excluded(after), Bound::Unbounded));
        let within = behind.take_while(move |(seq, _)| **seq <= through);
        within.map(|(_, (mark, answered))| (*mark, answered))
    }

    /// Number of writes remembered.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether there is nothing to repeat.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    fn forget_older(&mut self, now_ms: u64) {
        while let Some((_, (_, oldest))) = self.writes.first_key_value()
            && now_ms.saturating_sub(oldest.timestamp) >= self.bounds.age_ms
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((&seq, _)) = self.writes.first_key_value() {
            self.forget(seq);
        }
    }

    fn forget(&mut self, seq: u64) {
        if let Some((mark, answered)) = self.writes.remove(&seq) {
            self.versions -= answered.versions.len();
            self.seqs.remove(&mark.key);
        }
    }
}

/// Versions of the entries that a command writes, in its order: what its writer was told.
pub fn versions(action: &Action<'_>) -> Vec<u64> {
    match action {
        Action::Set { version, .. } | Action::Delete { version, .. } => alloc::vec![*version],
        Action::Batch(ops) => ops.iter().map(|op| op.version).collect(),
        _ => Vec::new(),
    }
}
