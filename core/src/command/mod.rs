//! Commands: the lines of the log and of the stream, and their one wire form.
//!
//! A line is one JSON object in UTF-8, ended by one newline. [`decode()`] turns a line's bytes into a [`Line`] that borrows
//! from them; `write_line` of each type appends the canonical form, field order fixed and `value` (or `commands`) last.
//! Lines with another field order decode to the same command. What a command *means* is [`crate::apply`]'s business.

mod decode;
mod deframe;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::{DecodeError, Trust, decode};
pub use deframe::{Deframer, LineTooLong, lines};

use crate::digest::Digest;
use crate::id::Id;
use crate::position::{EpochTable, Term};
use crate::scope::Scope;
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// The version of the stream protocol this crate speaks, HELLO's `protocol`.
pub const PROTOCOL: u64 = 1;

/// Features of `requires` that this release knows. A log that needs another one is not written on or followed further.
pub const FEATURES: &[&str] = &[];

/// The first of `requires` that this release does not know.
pub fn unknown_feature<'a>(requires: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    requires.into_iter().find(|name| !FEATURES.contains(name))
}

/// One line of a stream or log.
#[derive(Clone, Debug, PartialEq)]
pub enum Line<'a> {
    /// A command of the log: it has a seq and changes state or may do so.
    Log(Logged<'a>),
    /// An entry of a baseline: a SET without `prev`.
    Entry(Logged<'a>),
    /// A command that steers the stream.
    Steer(Steer<'a>),
    /// A type this release does not know, without a seq: passed over.
    Ignored,
}

/// One command of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged<'a> {
    /// Its place: the previous command's + 1.
    pub seq: u64,
    /// Seq of the log's previous command of the collection; `None` for CREATE, EPOCH and entries of a baseline.
    pub prev: Option<u64>,
    /// The collection, `None` for EPOCH and unknown commands that name none.
    pub collection: Option<Cow<'a, str>>,
    /// Unix time of the write in ms.
    pub timestamp: u64,
    /// Optional fields this release does not know, `,"name":value` each, kept and relayed.
    pub extra: Cow<'a, str>,
    /// What it does.
    pub action: Action<'a>,
}

/// What a command of the log does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action<'a> {
    /// A writer opened the log.
    Epoch {
        /// Number of the opening.
        epoch: u64,
        /// The cluster the log belongs to.
        cluster: Id,
        /// The writer's label.
        node: Cow<'a, str>,
        /// Features a reader must know to follow from here.
        requires: Vec<Cow<'a, str>>,
        /// The last takeover of the log, 0 for none.
        takeover: u64,
    },
    /// A collection comes to be.
    Create,
    /// An entry is written.
    Set {
        /// Its key.
        key: Cow<'a, str>,
        /// Writes to the key since it was (re)created.
        version: u64,
        /// The value's JSON text.
        value: &'a str,
    },
    /// An entry goes.
    Delete {
        /// Its key.
        key: Cow<'a, str>,
        /// The next version.
        version: u64,
    },
    /// A collection goes with all its entries.
    Drop,
    /// Several entries of one collection change as one; each key at most once, at least one.
    Batch(Vec<Op<'a>>),
    /// A type this release does not know: kept, counted and relayed, changes no entry.
    Unknown {
        /// The type's name.
        name: Cow<'a, str>,
        /// The whole line, as it came.
        line: &'a str,
    },
}

/// One command of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Op<'a> {
    /// The entry's key.
    pub key: Cow<'a, str>,
    /// Its version after the batch.
    pub version: u64,
    /// The value's JSON text, `None` to delete.
    pub value: Option<&'a str>,
    /// Unknown optional fields, `,"name":value` each.
    pub extra: Cow<'a, str>,
}

/// A command that steers a stream and is no part of the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Steer<'a> {
    /// The first line: who speaks, from where the stream starts.
    Hello(Hello<'a>),
    /// A collection's entries follow.
    BaselineBegin {
        /// The collection.
        collection: Cow<'a, str>,
        /// Seq of its CREATE.
        created: u64,
    },
    /// A collection's entries are through.
    BaselineEnd {
        /// The collection.
        collection: Cow<'a, str>,
        /// How many entries were sent.
        keys: u64,
        /// The sum of their digests.
        digest: Digest,
    },
    /// The baseline is complete and counts as of `seq`.
    Ready(Ready),
    /// Nothing new; before READY without content, afterwards with a proof of what was sent.
    Ping(Option<Ping>),
    /// The instances the data comes through have changed, while the stream is open: from the primary to the parent, both
    /// included.
    Path(Vec<Id>),
    /// The stream ends in good order.
    End(End),
}

impl Steer<'_> {
    /// The line's type as the wire spells it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "HELLO",
            Self::BaselineBegin { .. } => "BASELINE_BEGIN",
            Self::BaselineEnd { .. } => "BASELINE_END",
            Self::Ready(_) => "READY",
            Self::Ping(None) => "a bare PING",
            Self::Ping(Some(_)) => "a full PING",
            Self::Path(_) => "PATH",
            Self::End(_) => "END",
        }
    }
}

/// HELLO: the parent introduces itself and says how the stream starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Hello<'a> {
    /// Version of the protocol.
    pub protocol: u64,
    /// The parent's cluster.
    pub cluster: Id,
    /// The parent's newest epoch.
    pub epoch: u64,
    /// The parent's applied seq; of a baseline, READY's too.
    pub seq: u64,
    /// Newest proof the parent holds that nothing before `seq` is missing, in the writer's ms.
    pub at: u64,
    /// The parent's label.
    pub node: Cow<'a, str>,
    /// Instances from the primary to the parent, both included.
    pub path: Vec<Id>,
    /// What follows.
    pub resume: Resume,
    /// The scope granted.
    pub scope: Scope,
    /// Longest silence between two lines, in ms.
    pub ping_ms: u64,
    /// Features a reader must know.
    pub requires: Vec<Cow<'a, str>>,
    /// The parent's clock, Unix ms.
    pub timestamp: u64,
    /// What the writer's clock shows at this moment, in Unix ms, as far as the parent can tell; `None` for `at` itself.
    pub clock: Option<u64>,
    /// The takeover in which the parent's state was written last, 0 for none.
    pub takeover: u64,
}

impl Hello<'_> {
    /// The writer up to whom the parent's state is.
    pub fn term(&self) -> Term {
        Term { takeover: self.takeover, epoch: self.epoch }
    }
}

/// How a stream starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// With the first command behind the child's cursor.
    Tail,
    /// With a full copy of the scope, and why the cursor did not do.
    Baseline(BaselineReason),
    /// Not at all: END follows.
    None,
}

/// Why a child gets a baseline. Variants stand in the order in which they apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaselineReason {
    /// It sent no cursor.
    New,
    /// Its cursor is of another scope.
    ScopeChanged,
    /// Its position is not on this history.
    NotOnHistory,
    /// Commands behind its position are not held any more.
    Trimmed,
}

/// READY: the baseline's end.
#[derive(Clone, Debug, PartialEq)]
pub struct Ready {
    /// The seq the baseline is exact at.
    pub seq: u64,
    /// How many collections were sent.
    pub collections: u64,
    /// The scope's digest.
    pub digest: Digest,
    /// The history's openings up to `seq`.
    pub epochs: EpochTable,
    /// Timestamp of the newest command up to `seq`, Unix ms by the writer's clock; `None` where the parent does not know it.
    pub timestamp: Option<u64>,
}

/// A full PING.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// The sender's applied seq.
    pub seq: u64,
    /// Newest proof the sender holds that nothing before `seq` is missing, in the writer's ms.
    pub at: u64,
    /// As in [`Hello`].
    pub clock: Option<u64>,
    /// What the receiver compares.
    pub proof: Proof,
}

/// By what a PING shows that nothing was lost on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Digest of the scope at the PING's seq, where whole collections are streamed.
    Digest(Digest),
    /// Counts of this scope's commands, where the scope is narrowed by prefix.
    Lines {
        /// The parent's running count, the same for all its children.
        lines: u64,
        /// How many were sent in the tail of this connection. It is there when the running count has no beginning that
        /// the child knows: with the first full PING, and after the parent began to count anew.
        sent: Option<u64>,
    },
}

/// END: the stream ends in good order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// What the child should do.
    pub reason: EndReason,
    /// A word more for logs, such as `shutdown` or `rebaselined`; empty for none.
    pub detail: String,
    /// After how many ms to come back.
    pub retry_ms: u64,
    /// Other parents to try, addresses.
    pub parents: Vec<String>,
}

/// What an END asks of the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Come back after `retry_ms`.
    Retry,
    /// Ask another parent: this one does not hold what was asked for.
    Elsewhere,
    /// The credential's scope changed: come back.
    ScopeChanged,
    /// The token is too old: come back with a new one.
    TokenExpired,
    /// The credential is not accepted any more.
    Revoked,
    /// A newer connection of the same instance took over: come back under a new instance.
    Superseded,
}

/// Words of the wire and what they stand for.
pub(crate) trait Word: Copy + PartialEq + Sized + 'static {
    /// Every word, each once.
    const WORDS: &'static [(&'static str, Self)];

    /// The word's spelling.
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == self).expect("every value is listed").0
    }

    /// The value of a spelling.
    fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(spelling, _)| *spelling == word).map(|(_, value)| *value)
    }
}

impl Word for BaselineReason {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("new", Self::New),
        ("scope_changed", Self::ScopeChanged),
        ("not_on_history", Self::NotOnHistory),
        ("trimmed", Self::Trimmed),
    ];
}

impl Word for EndReason {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("retry", Self::Retry),
        ("elsewhere", Self::Elsewhere),
        ("scope_changed", Self::ScopeChanged),
        ("token_expired", Self::TokenExpired),
        ("revoked", Self::Revoked),
        ("superseded", Self::Superseded),
    ];
}

impl BaselineReason {
    /// Every reason, in the order in which they apply.
    pub const ALL: [Self; 4] = [Self::New, Self::ScopeChanged, Self::NotOnHistory, Self::Trimmed];

    /// The reason as HELLO, logs and metrics spell it.
    pub fn as_str(self) -> &'static str {
        self.word()
    }
}

impl EndReason {
    /// The reason as END, logs and metrics spell it.
    pub fn as_str(self) -> &'static str {
        self.word()
    }
}
