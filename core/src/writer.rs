//! The writer's rules: what is accepted, under which guard, with which number.
//!
//! The [`Sequencer`] decides writes one after the other on what is durable *and* on what is still on its way to the log,
//! and encodes each accepted one as its line, once. It never touches the store: the shell makes the lines durable,
//! publishes them through the node, and tells the sequencer ([`Sequencer::settle`]) that they are state now. No answer,
//! refusals included, may leave before the last line written up to its decision is durable.

use crate::command::{Action, Logged, Op};
use crate::id::Id;
use crate::limits::{INTEGER_MAX, LINE_BYTES_MAX, Limits};
use crate::name;
use crate::position::{Position, Term};
use crate::store::{Store, StoreError};
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use hashbrown::{HashMap, HashSet};

#[cfg(test)]
mod tests;

/// A write as a client asks for it.
#[derive(Clone, Debug)]
pub struct Write<'a> {
    /// The collection it concerns.
    pub collection: &'a str,
    /// What it asks for.
    pub action: WriteAction<'a>,
    /// Whether the server itself writes: only then may a system collection change.
    pub system: bool,
}

/// What a write asks for.
#[derive(Clone, Debug)]
pub enum WriteAction<'a> {
    /// Make the collection; fine if it exists.
    Create,
    /// Drop it with all its entries.
    Drop,
    /// Change one entry.
    Entry(EntryWrite<'a>),
    /// Change several entries, all or none.
    Batch(Vec<EntryWrite<'a>>),
}

/// A change of one entry.
#[derive(Clone, Debug)]
pub struct EntryWrite<'a> {
    /// Its key.
    pub key: &'a str,
    /// The new value, checked and compact JSON text ([`crate::json::compact`]); `None` to delete.
    pub value: Option<&'a str>,
    /// What must hold before.
    pub guard: Guard,
}

/// Conditions on an entry before it is written. All must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// The entry exists and its tag is one of these.
    pub matches: Option<Tags>,
    /// The entry does not exist, or its tag is none of these.
    pub matches_none: Option<Tags>,
}

/// Entity tags without quotes, as `If-Match` and `If-None-Match` list them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// `*`: every tag.
    Any,
    /// These.
    List(Vec<String>),
}

impl Tags {
    /// Whether `tag` is among them.
    pub fn contain(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::List(tags) => tags.iter().any(|listed| listed == tag),
        }
    }
}

/// What an accepted write has become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// A line was written with this seq. Versions of its entries, in the order asked.
    Written {
        /// The line's seq.
        seq: u64,
        /// Empty for CREATE and DROP.
        versions: Vec<u64>,
    },
    /// It was so already: nothing was written.
    Unchanged,
}

/// Why a write is refused. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The collection's name is none.
    InvalidName(String),
    /// A name or key is longer than the limit, or the key is empty.
    KeyLength {
        /// `collection name` or `key`.
        what: &'static str,
        /// Its bytes.
        bytes: usize,
        /// The most allowed.
        limit: usize,
    },
    /// A value, batch or line is over its limit.
    TooLarge {
        /// `value`, `batch` (its commands), `encoded batch` or `line`.
        what: &'static str,
        /// Its bytes or commands.
        size: usize,
        /// The most allowed.
        limit: usize,
    },
    /// There are as many collections as may be.
    TooManyCollections(usize),
    /// The collection belongs to the system.
    SystemCollection(String),
    /// The collection may not be dropped, see [`Limits::protected`].
    Protected(String),
    /// The collection does not exist.
    MissingCollection(String),
    /// The entry to delete does not exist.
    NotFound(String),
    /// A guard does not hold; the entry's version and tag, `None` when it does not exist.
    Precondition(Option<(u64, String)>),
    /// A batch names a key twice, or has no command.
    InvalidBatch(String),
    /// A command of a batch is refused.
    InBatch {
        /// Which, from 0.
        index: usize,
        /// Why.
        refusal: alloc::boxed::Box<Self>,
    },
    /// Another request was written under the same `Idempotency-Key` ([`crate::repeats`]).
    KeyTaken,
    /// The log's numbers are used up.
    Exhausted,
    /// The store failed.
    Store(StoreError),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidName(name) => write!(
                f,
                "{name:?} is not a collection name: it begins with a letter or digit, and letters, digits, '.', '_', ':' and '-' follow"
            ),
            Self::KeyLength { what, bytes: 0, .. } => write!(f, "the {what} is empty"),
            Self::KeyLength { what, bytes, limit } => write!(f, "the {what} has {bytes} bytes, the limit is {limit}"),
            Self::TooLarge { what: "batch", size, limit } => {
                write!(f, "the batch has {size} commands, the limit is {limit}")
            }
            Self::TooLarge { what, size, limit } => write!(f, "the {what} has {size} bytes, the limit is {limit}"),
            Self::TooManyCollections(limit) => write!(f, "there are {limit} collections already, the limit"),
            Self::SystemCollection(name) => {
                write!(f, "the collection {name:?} belongs to the system and is written by the admin API only")
            }
            Self::Protected(name) => write!(
                f,
                "the collection {name:?} is protected by the writer's setting --protect: take it out there to drop it"
            ),
            Self::MissingCollection(name) => write!(f, "the collection {name:?} does not exist: create it first"),
            Self::NotFound(key) => write!(f, "the key {key:?} does not exist"),
            Self::Precondition(Some((version, tag))) => {
                write!(f, "the condition does not hold: the entry has version {version} and ETag \"{tag}\"")
            }
            Self::Precondition(None) => f.write_str("the condition does not hold: the entry does not exist"),
            Self::InvalidBatch(why) => f.write_str(why),
            Self::InBatch { index, refusal } => write!(f, "command {index} of the batch: {refusal}"),
            Self::KeyTaken => {
                f.write_str("this Idempotency-Key came with another request before: give each write a key of its own")
            }
            Self::Exhausted => write!(f, "the log's numbers are used up at {INTEGER_MAX}"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Refusal {}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Sequencer {
    limits: Limits,
    /// The last command written.
    position: Position,
    timestamp: u64,
    collections: HashMap<String, PendingCollection>,
    entries: HashMap<String, HashMap<String, PendingEntry>>,
    /// Collections there are once everything pending is state.
    collection_count: usize,
    /// The last takeover of the log.
    takeover: u64,
    /// What a reader of the log must know.
    requires: Arc<[String]>,
}

/// A collection changed by lines that are not state yet.
#[derive(Clone, Copy, Debug)]
struct PendingCollection {
    /// Its last command; `None` when it is dropped.
    last_seq: Option<u64>,
    /// The newest line that changed it.
    seq: u64,
    /// The newest pending line that created or dropped it: until that is state, the store's entries are not its.
    renewed: Option<u64>,
}

#[derive(Clone, Debug)]
struct PendingEntry {
    seq: u64,
    /// `None` when it is deleted.
    current: Option<Current>,
}

/// What a guard looks at.
#[derive(Clone, Debug)]
struct Current {
    version: u64,
    tag: String,
}

impl Sequencer {
    /// A sequencer that goes on behind what `store` holds. `timestamp` is the last command's, or 0.
    ///
    /// # Errors
    /// When the store fails.
    pub fn new<S: Store>(store: &S, limits: Limits, timestamp: u64) -> Result<Self, StoreError> {
        let progress = store.progress();
        Ok(Self {
            limits,
            position: progress.position,
            timestamp,
            collections: HashMap::new(),
            entries: HashMap::new(),
            collection_count: store.collections()?.len(),
            takeover: progress.takeover,
            requires: progress.requires,
        })
    }

    /// The position of the last line written.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The timestamp of the last line written, Unix ms.
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// Begins a new epoch: the first line of an opening of the log. The line, with its newline, goes to `out`. It carries
    /// on what the log requires, and its last takeover, which is that of `term` or one that what the log holds tells of.
    pub fn open(&mut self, term: Term, cluster: Id, node: &str, now_ms: u64, out: &mut Vec<u8>) -> u64 {
        let epoch = term.epoch;
        self.takeover = self.takeover.max(term.takeover);
        let requires = Arc::clone(&self.requires);
        let action = Action::Epoch {
            epoch,
            cluster,
            node: Cow::Borrowed(node),
            requires: requires.iter().map(|name| Cow::Borrowed(name.as_str())).collect(),
            takeover: self.takeover,
        };
        let seq = self.position.seq + 1;
        self.timestamp = self.timestamp.max(now_ms);
        self.emit(
            Logged { seq, prev: None, collection: None, timestamp: self.timestamp, extra: Cow::Borrowed(""), action },
            out,
        );
        self.position = Position { epoch, seq };
        seq
    }

    /// Decides one write at `now_ms` (Unix ms). When it is accepted its line, with its newline, is appended to `out`.
    ///
    /// # Errors
    /// A [`Refusal`]; `out` and the sequencer are unchanged.
    pub fn decide<S: Store>(
        &mut self,
        store: &S,
        write: &Write<'_>,
        now_ms: u64,
        out: &mut Vec<u8>,
    ) -> Result<Accepted, Refusal> {
        let collection = write.collection;
        if name::is_system(collection) && !write.system {
            return Err(Refusal::SystemCollection(collection.into()));
        }
        if self.position.seq >= INTEGER_MAX {
            return Err(Refusal::Exhausted);
        }
        let last_seq = self.last_seq(store, collection)?;
        match &write.action {
            WriteAction::Create => self.create(collection, last_seq, now_ms, out),
            action => {
                let prev = last_seq.ok_or_else(|| Refusal::MissingCollection(collection.into()))?;
                match action {
                    WriteAction::Create => Ok(Accepted::Unchanged),
                    WriteAction::Drop => self.drop_collection(collection, prev, now_ms, out),
                    WriteAction::Entry(entry) => self.entry(store, collection, prev, entry, now_ms, out),
                    WriteAction::Batch(entries) => self.batch(store, collection, prev, entries, now_ms, out),
                }
            }
        }
    }

    /// Everything up to `seq` is state now.
    pub fn settle(&mut self, seq: u64) {
        if seq >= self.position.seq {
            self.collections.clear();
            self.entries.clear();
            return;
        }
        self.collections.retain(|_, pending| {
            pending.renewed = pending.renewed.filter(|&renewed| renewed > seq);
            pending.seq > seq
        });
        self.entries.retain(|_, entries| {
            entries.retain(|_, pending| pending.seq > seq);
            !entries.is_empty()
        });
    }

    /// Forgets every line that is not state: they were not written, or nobody knows. Goes on behind what `store` holds.
    ///
    /// # Errors
    /// When the store fails.
    pub fn abandon<S: Store>(&mut self, store: &S) -> Result<(), StoreError> {
        *self = Self::new(store, self.limits.clone(), self.timestamp)?;
        Ok(())
    }

    fn create(
        &mut self,
        collection: &str,
        last_seq: Option<u64>,
        now_ms: u64,
        out: &mut Vec<u8>,
    ) -> Result<Accepted, Refusal> {
        if !name::is_valid(collection) {
            return Err(Refusal::InvalidName(collection.into()));
        }
        check_length("collection name", collection, self.limits.name_bytes_max)?;
        if last_seq.is_some() {
            return Ok(Accepted::Unchanged);
        }
        if self.collection_count >= self.limits.collections_max {
            return Err(Refusal::TooManyCollections(self.limits.collections_max));
        }
        let seq = self.write(collection, None, Action::Create, now_ms, out)?;
        self.collection_count += 1;
        self.renew(collection, Some(seq), seq);
        Ok(Accepted::Written { seq, versions: Vec::new() })
    }

    fn drop_collection(
        &mut self,
        collection: &str,
        prev: u64,
        now_ms: u64,
        out: &mut Vec<u8>,
    ) -> Result<Accepted, Refusal> {
        if self.limits.protected.contains(collection) {
            return Err(Refusal::Protected(collection.into()));
        }
        let seq = self.write(collection, Some(prev), Action::Drop, now_ms, out)?;
        self.collection_count -= 1;
        self.renew(collection, None, seq);
        Ok(Accepted::Written { seq, versions: Vec::new() })
    }

    fn entry<S: Store>(
        &mut self,
        store: &S,
        collection: &str,
        prev: u64,
        entry: &EntryWrite<'_>,
        now_ms: u64,
        out: &mut Vec<u8>,
    ) -> Result<Accepted, Refusal> {
        let version = self.judge(store, collection, entry)?;
        let key = Cow::Borrowed(entry.key);
        let action = match entry.value {
            Some(value) => Action::Set { key, version, value },
            None => Action::Delete { key, version },
        };
        let seq = self.write(collection, Some(prev), action, now_ms, out)?;
        self.note(collection, seq, core::iter::once((entry, version)));
        Ok(Accepted::Written { seq, versions: alloc::vec![version] })
    }

    fn batch<S: Store>(
        &mut self,
        store: &S,
        collection: &str,
        prev: u64,
        entries: &[EntryWrite<'_>],
        now_ms: u64,
        out: &mut Vec<u8>,
    ) -> Result<Accepted, Refusal> {
        if entries.is_empty() {
            return Err(Refusal::InvalidBatch("a batch has at least one command".into()));
        }
        let limit = self.limits.batch_commands_max;
        if entries.len() > limit {
            return Err(Refusal::TooLarge { what: "batch", size: entries.len(), limit });
        }
        let mut keys = HashSet::new();
        let mut ops = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let in_batch = |refusal| Refusal::InBatch { index, refusal: alloc::boxed::Box::new(refusal) };
            if !keys.insert(entry.key) {
                let words = alloc::format!("the key {:?} was named before, and a batch names a key once", entry.key);
                return Err(in_batch(Refusal::InvalidBatch(words)));
            }
            let version = self.judge(store, collection, entry).map_err(in_batch)?;
            ops.push(Op { key: Cow::Borrowed(entry.key), version, value: entry.value, extra: Cow::Borrowed("") });
        }
        let versions: Vec<u64> = ops.iter().map(|op| op.version).collect();
        let seq = self.write(collection, Some(prev), Action::Batch(ops), now_ms, out)?;
        self.note(collection, seq, entries.iter().zip(versions.iter().copied()));
        Ok(Accepted::Written { seq, versions })
    }

    /// Checks one change of an entry and returns the version it will have.
    fn judge<S: Store>(&self, store: &S, collection: &str, entry: &EntryWrite<'_>) -> Result<u64, Refusal> {
        check_length("key", entry.key, self.limits.key_bytes_max)?;
        if let Some(value) = entry.value {
            let (size, limit) = (value.len(), self.limits.value_bytes_max);
            if size > limit {
                return Err(Refusal::TooLarge { what: "value", size, limit });
            }
        }
        let current = self.current(store, collection, entry.key)?;
        let tag = current.as_ref().map(|current| current.tag.as_str());
        let matches = entry.guard.matches.as_ref().is_none_or(|tags| tag.is_some_and(|tag| tags.contain(tag)));
        let matches_none =
            entry.guard.matches_none.as_ref().is_none_or(|tags| !tag.is_some_and(|tag| tags.contain(tag)));
        if !(matches && matches_none) {
            return Err(Refusal::Precondition(current.map(|current| (current.version, current.tag))));
        }
        match (current, entry.value) {
            (Some(current), _) => Ok(current.version + 1),
            (None, Some(_)) => Ok(1),
            (None, None) => Err(Refusal::NotFound(entry.key.into())),
        }
    }

    fn write(
        &mut self,
        collection: &str,
        prev: Option<u64>,
        action: Action<'_>,
        now_ms: u64,
        out: &mut Vec<u8>,
    ) -> Result<u64, Refusal> {
        let seq = self.position.seq + 1;
        let timestamp = self.timestamp.max(now_ms);
        let collection = Some(Cow::Borrowed(collection));
        let (what, limit) = match &action {
            Action::Batch(_) => ("encoded batch", self.limits.batch_bytes_max.min(LINE_BYTES_MAX)),
            _ => ("line", LINE_BYTES_MAX),
        };
        let before = out.len();
        self.emit(Logged { seq, prev, collection, timestamp, extra: Cow::Borrowed(""), action }, out);
        let size = out.len() - before - 1;
        if size > limit {
            out.truncate(before);
            return Err(Refusal::TooLarge { what, size, limit });
        }
        self.timestamp = timestamp;
        self.position.seq = seq;
        Ok(seq)
    }

    fn emit(&self, command: Logged<'_>, out: &mut Vec<u8>) {
        command.write_line(out);
        out.push(b'\n');
    }

    fn renew(&mut self, collection: &str, last_seq: Option<u64>, seq: u64) {
        self.entries.remove(collection);
        self.collections.insert(collection.into(), PendingCollection { last_seq, seq, renewed: Some(seq) });
    }

    fn note<'a>(&mut self, collection: &str, seq: u64, writes: impl Iterator<Item = (&'a EntryWrite<'a>, u64)>) {
        let renewed = self.collections.get(collection).and_then(|pending| pending.renewed);
        self.collections.insert(collection.into(), PendingCollection { last_seq: Some(seq), seq, renewed });
        let entries = self.entries.entry_ref(collection).or_default();
        for (write, version) in writes {
            let tag = || alloc::format!("{seq}-{}", self.timestamp);
            let current = write.value.map(|_| Current { version, tag: tag() });
            entries.insert(write.key.into(), PendingEntry { seq, current });
        }
    }

    fn last_seq<S: Store>(&self, store: &S, collection: &str) -> Result<Option<u64>, StoreError> {
        match self.collections.get(collection) {
            Some(pending) => Ok(pending.last_seq),
            None => Ok(store.collection(collection)?.map(|facts| facts.last_seq)),
        }
    }

    fn current<S: Store>(&self, store: &S, collection: &str, key: &str) -> Result<Option<Current>, StoreError> {
        if let Some(pending) = self.entries.get(collection).and_then(|entries| entries.get(key)) {
            return Ok(pending.current.clone());
        }
        if self.collections.get(collection).is_some_and(|pending| pending.renewed.is_some()) {
            return Ok(None);
        }
        let record = store.record(collection, key)?;
        Ok(record.map(|record| Current { version: record.version(), tag: record.tag() }))
    }
}

fn check_length(what: &'static str, text: &str, limit: usize) -> Result<(), Refusal> {
    let bytes = text.len();
    if bytes == 0 || bytes > limit { Err(Refusal::KeyLength { what, bytes, limit }) } else { Ok(()) }
}
