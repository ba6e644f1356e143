//! The replica's side of a stream: a state machine that turns a parent's bytes into state, and never into a wrong one.
//!
//! It does no I/O. The shell asks [`Replica::request`] what to send to which [`Replica::parent`], hands every piece of
//! the answer to [`Replica::receive`], drops the connection on an offence or after [`Replica::deadline`], and asks
//! [`Replica::closed`] when to try again. Whatever happens in between, the node's state is a prefix of the log within its
//! scope, and the cursor says which.

mod follow;
mod offence;
mod receive;
mod staging;
#[cfg(test)]
mod tests;

pub use offence::Offence;
pub use staging::Staging;

use crate::clock::Now;
use crate::command::{BaselineReason, Deframer, End, EndReason};
use crate::id::Id;
use crate::node::Node;
use crate::position::{Position, Term};
use crate::scope::Scope;
use crate::store::Store;
use crate::stream::{Cursor, Request};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use bytes::Bytes;
use follow::Follow;

/// Time, in ms, after which a parent that has not said HELLO yet is given up, whatever else it sent.
const HELLO_DEADLINE_MS: u64 = 15_000;
/// A parent whose proof of freshness stands still for so long, in ms, is left for another one, if there is one. Doubled
/// up to [`STALE_MS_MAX`] while no other has a newer proof: then the writer is gone, not they.
const STALE_MS: u64 = 15_000;
/// See [`STALE_MS`].
const STALE_MS_MAX: u64 = 300_000;
/// Longest time, in ms, for which a parent may ask to be left alone; what is longer is taken for a mistake.
const RETRY_MS_MAX: u64 = 600_000;
/// A longer wait than this, in ms, is no mere restart.
const LONG_RETRY_MS: u64 = 5_000;
/// A parent is dead when silent for this many of its own ping intervals.
const SILENT_PINGS: u64 = 3;

/// What a replica asks for, and of how many.
#[derive(Clone, Debug)]
pub struct ReplicaOptions {
    /// The scope to ask for.
    pub scope: Scope,
    /// How many parents there are to choose from.
    pub parents: usize,
}

/// What happened, for the shell to log, persist and tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A parent was accepted.
    Connected {
        /// Its label.
        node: String,
        /// Its position.
        position: Position,
        /// Why a baseline follows; `None` for the tail.
        baseline: Option<BaselineReason>,
    },
    /// Lines were applied: whole lines in order, newlines included.
    Applied(Bytes),
    /// The position moved without lines, or the proof of freshness did: worth storing.
    Advanced(Position),
    /// A baseline replaced the state.
    Rebased {
        /// Where the state now is.
        position: Position,
        /// Where it was.
        before: Position,
        /// Why the parent sent it.
        reason: BaselineReason,
    },
    /// The parent ended the stream in good order: close it.
    Ended(End),
}

/// Counts since the start, for status and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Commands applied.
    pub commands: u64,
    /// Commands that were held already and passed over.
    pub repeated: u64,
    /// Baselines taken in.
    pub baselines: Baselines,
    /// Missing commands noticed.
    pub gaps: u64,
    /// Differing digests noticed.
    pub divergences: u64,
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections that stopped without an END.
    pub faults: u64,
    /// Lines in the tail the parent sent that this release does not know.
    pub unknown_lines: u64,
}

impl Stats {
    /// Every count with its name in status.
    pub fn fields(&self) -> [(&'static str, u64); 8] {
        let Self { commands, repeated, baselines, gaps, divergences, connections, faults, unknown_lines } = *self;
        [
            ("commands", commands),
            ("repeated", repeated),
            ("baselines", baselines.total()),
            ("gaps", gaps),
            ("divergences", divergences),
            ("connections", connections),
            ("faults", faults),
            ("unknownLines", unknown_lines),
        ]
    }
}

/// Baselines taken in, by why the parent sent them: one that is [`BaselineReason::NotOnHistory`] replaced a history that
/// the parent's does not contain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Baselines([u64; BaselineReason::ALL.len()]);

impl Baselines {
    pub(crate) fn one(&mut self, reason: BaselineReason) {
        self.0[reason as usize] += 1;
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// How many for each reason.
    pub fn by_reason(&self) -> impl Iterator<Item = (BaselineReason, u64)> {
        BaselineReason::ALL.into_iter().zip(self.0)
    }
}

/// Why a connection is over, as the shell saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection came about, or it broke, or it ended without END.
    Lost,
    /// The parent refused with a status and wants to be left alone for this many ms.
    Refused {
        /// From `Retry-After`, 0 when it did not say.
        retry_ms: u64,
    },
    /// The deadline passed.
    Silent,
    /// [`Replica::receive`] named an offence.
    Offence(Offence),
    /// [`Event::Ended`].
    Ended(End),
    /// This node closed it for a reason of its own: a hidden page, a recycle.
    Own,
}

/// What to do after a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Wait this long, in ms.
    pub after_ms: u64,
    /// Draw a new instance first, store it, hand it to [`Node::set_instance`] and warn: another node uses the same one.
    pub new_instance: bool,
}

/// See the module.
pub struct Replica<S: Store> {
    node: Arc<Node<S>>,
    options: ReplicaOptions,
    follow: Follow,
    connection: Option<Connection>,
    /// Ask for a baseline: what is held cannot be trusted to lead on.
    without_cursor: bool,
    /// Where the last gap was.
    gap_at: Option<Position>,
    stats: Stats,
    last_offence: Option<Offence>,
    /// A new instance was asked for since the parent had this node's, and no parent was accepted since.
    renewed_for_parent: bool,
    /// How long a parent's proof may stand still.
    stale_ms: u64,
    /// When progress was last stored for freshness alone.
    stored_mono_ms: u64,
}

struct Connection {
    deframer: Deframer,
    phase: Phase,
    /// A baseline was begun in the store and not swapped in.
    staged: bool,
    sent_cursor: Option<Cursor>,
    requested_mono_ms: u64,
    last_byte_mono_ms: u64,
    ping_ms: Option<u64>,
    hello: Option<Greeting>,
    /// Commands of any collection up to this seq were delivered or are known not to exist.
    floor: u64,
    /// The parent's count at its last PING, and commands applied since.
    lines: Option<u64>,
    lines_since: u64,
    /// Commands applied in the tail of this connection.
    tail_commands: u64,
    caught_up: bool,
    /// A PING proved the state, and another one is to show that it lasted.
    proven: bool,
    /// Something new came in by it and stays.
    progressed: bool,
}

impl Connection {
    /// When the parent counts as dead if no byte comes; before HELLO, bytes that are none do not count.
    fn dead_at(&self) -> u64 {
        match self.ping_ms {
            None => self.requested_mono_ms.saturating_add(HELLO_DEADLINE_MS),
            Some(ping_ms) => self.last_byte_mono_ms.saturating_add(ping_ms.saturating_mul(SILENT_PINGS)),
        }
    }
}

/// What HELLO said that is needed later.
struct Greeting {
    term: Term,
    seq: u64,
    at: u64,
    arrival: Now,
    /// Its proof was taken in.
    noted: bool,
    cluster: Id,
    scope: Scope,
    path: alloc::vec::Vec<Id>,
    node: String,
}

enum Phase {
    Greeting,
    Staging(Box<Staging>, BaselineReason),
    Tail,
    /// HELLO said that nothing follows but END.
    AwaitEnd,
    Ended,
}

impl Phase {
    fn name(&self) -> &'static str {
        match self {
            Self::Greeting => "the beginning, where HELLO is awaited",
            Self::Staging(..) => "a baseline",
            Self::Tail => "the tail",
            Self::AwaitEnd => "a stream that only ends",
            Self::Ended => "a stream that has ended",
        }
    }
}

impl<S: Store> Replica<S> {
    /// A replica that goes on from what the node's store holds.
    pub fn new(node: Arc<Node<S>>, options: ReplicaOptions) -> Self {
        let follow = Follow::new(options.parents);
        Self {
            node,
            options,
            follow,
            connection: None,
            without_cursor: false,
            gap_at: None,
            stats: Stats::default(),
            last_offence: None,
            renewed_for_parent: false,
            stale_ms: STALE_MS,
            stored_mono_ms: 0,
        }
    }

    /// The node it keeps.
    pub fn node(&self) -> &Arc<Node<S>> {
        &self.node
    }

    /// Index of the parent to connect to.
    pub fn parent(&self) -> usize {
        self.follow.current()
    }

    /// Counts since the start.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The last thing a parent did wrong.
    pub fn last_offence(&self) -> Option<&Offence> {
        self.last_offence.as_ref()
    }

    /// Whether a parent was accepted and the stream is open.
    pub fn is_connected(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.hello.is_some())
    }

    /// Whether a baseline is coming in.
    pub fn is_staging(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| matches!(connection.phase, Phase::Staging(..)))
    }

    /// Whether everything the parent had when it last spoke is applied.
    pub fn is_caught_up(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.caught_up)
    }

    /// Label of the parent connected to.
    pub fn parent_node(&self) -> Option<&str> {
        Some(&self.connection.as_ref()?.hello.as_ref()?.node)
    }

    /// Asks for another scope from the next connection on.
    pub fn set_scope(&mut self, scope: Scope) {
        self.options.scope = scope;
    }

    /// What to POST to the parent's `/v1/replicate`. Begins a connection: the one before, if any, is forgotten.
    pub fn request(&mut self, now: Now) -> Request {
        let progress = self.node.store().progress();
        self.node.update_freshness(|freshness| freshness.awake(now));
        let usable = progress.position.seq > 0 && !progress.baseline_due && !self.without_cursor;
        let takeover = Some(progress.takeover);
        let cursor = usable.then_some(Cursor { position: progress.position, takeover, scope: progress.scope });
        self.connection = Some(Connection {
            deframer: Deframer::new(),
            phase: Phase::Greeting,
            staged: false,
            sent_cursor: cursor.clone(),
            requested_mono_ms: now.mono_ms,
            last_byte_mono_ms: now.mono_ms,
            ping_ms: None,
            hello: None,
            floor: progress.position.seq,
            lines: None,
            lines_since: 0,
            tail_commands: 0,
            caught_up: false,
            proven: false,
            progressed: false,
        });
        Request {
            node: self.node.options().label.clone(),
            instance: Some(self.node.instance()),
            cursor,
            takeover: Some(progress.takeover_highest),
            scope: self.options.scope.clone(),
        }
    }

    /// When, on the monotonic clock, the connection is to be given up if nothing comes, or nothing newer; `None` without
    /// one.
    pub fn deadline(&self) -> Option<u64> {
        let connection = self.connection.as_ref()?;
        let dead = connection.dead_at();
        Some(self.stale_at(connection).map_or(dead, |stale| stale.min(dead)))
    }

    /// When the parent's proof will have stood still for too long, where there is another parent.
    fn stale_at(&self, connection: &Connection) -> Option<u64> {
        let ping_ms = connection.ping_ms.filter(|_| connection.caught_up && self.options.parents > 1)?;
        let seen = self.node.freshness().seen_mono_ms().unwrap_or(0).max(connection.requested_mono_ms);
        Some(seen.saturating_add(self.stale_ms.max(ping_ms.saturating_mul(SILENT_PINGS))))
    }

    /// The connection is over: throws a staged baseline away and says when to come back. `random` is any 64 random bits.
    pub fn closed(&mut self, cause: Cause, random: u64) -> Retry {
        let staged = self.connection.as_ref().is_some_and(|connection| connection.staged);
        if staged && self.node.store().unstage().is_err() {
            // It is thrown away by the next stage() at the latest; nothing reads it before.
            self.without_cursor = true;
        }
        let connection = self.connection.take();
        let stale = connection.as_ref().is_some_and(|connection| {
            cause == Cause::Silent && self.stale_at(connection).is_some_and(|stale| stale < connection.dead_at())
        });
        let good = connection.is_some_and(|connection| connection.progressed || connection.caught_up);
        if stale {
            self.stale_ms = (self.stale_ms * 2).min(STALE_MS_MAX);
        } else if good && matches!(cause, Cause::Lost | Cause::Silent | Cause::Ended(_)) {
            // A link that breaks off again and again while it brings in what is missing is no reason to wait longer.
            self.follow.succeeded();
        }
        let (move_on, least_ms) = match &cause {
            Cause::Own => return Retry { after_ms: 0, new_instance: false },
            Cause::Lost | Cause::Silent => {
                self.stats.faults += u64::from(!stale);
                (true, 0)
            }
            Cause::Refused { retry_ms } => (true, (*retry_ms).min(RETRY_MS_MAX)),
            Cause::Offence(offence) => {
                self.note_offence(offence);
                let again = self.follow.offended();
                (offence.blames_parent_choice() || (again && !matches!(offence, Offence::Store(_))), 0)
            }
            // One that is gone for long is left for another parent meanwhile.
            Cause::Ended(end) => {
                let is_long = end.retry_ms > LONG_RETRY_MS;
                (end.reason == EndReason::Elsewhere || is_long, end.retry_ms.min(RETRY_MS_MAX))
            }
        };
        let new_instance = match &cause {
            Cause::Ended(end) => end.reason == EndReason::Superseded,
            // A copy of this node's directory, unless it still is so after the change: then it is this node itself.
            Cause::Offence(Offence::SameInstance) => !core::mem::replace(&mut self.renewed_for_parent, true),
            _ => false,
        };
        Retry { after_ms: self.follow.failed(move_on, least_ms, random), new_instance }
    }

    fn note_offence(&mut self, offence: &Offence) {
        match offence {
            Offence::Gap { held, .. } => {
                self.stats.gaps += 1;
                self.without_cursor |= self.gap_at == Some(*held);
                self.gap_at = Some(*held);
            }
            Offence::Diverged { .. } => {
                self.stats.divergences += 1;
                self.without_cursor = true;
            }
            _ => {}
        }
        self.last_offence = Some(offence.clone());
    }
}
