//! Wire vectors: streams as bytes, and what a replica must make of them, on every platform and over every store.
//!
//! A vector is a file of lines; `tests/vectors/README.md` describes the format. [`run`] plays one against a fresh store
//! and returns the outcome as text, to be compared with the file beside it. It does no I/O: hosts read the files.

mod outcome;
mod script;
#[cfg(test)]
mod tests;

pub use script::InvalidVector;

use crate::clock::Now;
use crate::id::Id;
use crate::limits::LINE_BYTES_MAX;
use crate::node::{Node, NodeOptions, Role};
use crate::replica::{Cause, Event, Offence, Replica, ReplicaOptions};
use crate::store::{Progress, Store};
use crate::stream::Request;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use outcome::Outcome;
use script::{Act, Script};

/// The replica's instance, so that a vector can name it.
pub const INSTANCE: Id = Id::from_bytes([0xee; 16]);

/// Bytes of generated text handed over at once, whatever the pieces are: sixteen million single bytes show no more.
const GENERATED_PIECE_BYTES: usize = 64 << 10;

/// How a stream's bytes are handed to the replica. The outcome must not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pieces {
    /// All that arrives between two directives at once.
    Whole,
    /// Byte by byte.
    Bytes,
    /// In random pieces that this seed repeats.
    Seeded(u64),
}

impl From<u64> for Pieces {
    /// How a test outside core names them: 0 for whole, 1 for byte by byte, any other number as a seed.
    fn from(number: u64) -> Self {
        match number {
            0 => Self::Whole,
            1 => Self::Bytes,
            seed => Self::Seeded(seed),
        }
    }
}

/// Plays a vector against `store`, which holds nothing, and returns the outcome: one JSON document, ended by a newline.
///
/// # Errors
/// [`InvalidVector`] when the file is none.
pub fn run<S: Store>(store: S, vector: &[u8], pieces: Pieces) -> Result<String, InvalidVector> {
    run_with(store, vector, pieces, &mut |_, _| {})
}

/// What [`run_with`] tells: the node, and what the bytes just handed over made happen.
pub type Shell<'s, S> = dyn FnMut(&Arc<Node<S>>, &[Event]) + 's;

/// [`run`] with a host beside it: `shell` is called after each piece, as a host is told by [`Replica::receive`].
///
/// # Errors
/// The same.
pub fn run_with<S: Store>(
    store: S,
    vector: &[u8],
    pieces: Pieces,
    shell: &mut Shell<'_, S>,
) -> Result<String, InvalidVector> {
    let script = Script::parse(vector)?;
    store.set_progress(&Progress::new(script.scope.clone())).map_err(|_| InvalidVector("the store failed"))?;
    let mut options = NodeOptions::new("vector", INSTANCE, Role::Replica);
    options.feed.bytes_max = 0;
    let node = Arc::new(Node::new(store, options));
    let replica_options = ReplicaOptions { scope: script.scope.clone(), parents: script.parents };
    let mut player = Player {
        replica: Replica::new(Arc::clone(&node), replica_options),
        start_ms: script.now_ms,
        passed_ms: 0,
        pieces,
        outcome: Outcome::default(),
        connection: None,
        shell,
    };
    player.connect();
    for act in &script.acts {
        player.act(act);
    }
    player.close();
    let next = player.request();
    let outcome = core::mem::take(&mut player.outcome);
    Ok(outcome.finish(&player.replica, player.now(), &next))
}

/// A verdict on the open connection.
#[derive(Default)]
struct Open {
    offence: Option<Offence>,
    ended: Option<crate::command::End>,
}

struct Player<'s, S: Store> {
    shell: &'s mut Shell<'s, S>,
    replica: Replica<S>,
    start_ms: u64,
    passed_ms: u64,
    pieces: Pieces,
    outcome: Outcome,
    connection: Option<Open>,
}

impl<S: Store> Player<'_, S> {
    fn now(&self) -> Now {
        Now { wall_ms: self.start_ms + self.passed_ms, mono_ms: 1_000_000 + self.passed_ms }
    }

    fn request(&mut self) -> Request {
        let now = self.now();
        self.replica.request(now)
    }

    fn connect(&mut self) {
        let request = self.request();
        self.outcome.connected(self.replica.parent(), &request);
        self.connection = Some(Open::default());
    }

    /// The connection is over, as the replica judged it or because it broke.
    fn close(&mut self) {
        let Some(open) = self.connection.take() else { return };
        let cause = match (open.offence, open.ended) {
            (Some(offence), _) => Cause::Offence(offence),
            (None, Some(end)) => Cause::Ended(end),
            (None, None) => Cause::Lost,
        };
        // All random bits set: the longest wait there is.
        let retry = self.replica.closed(cause.clone(), u64::MAX);
        self.outcome.closed(&cause, retry, self.replica.parent());
    }

    fn act(&mut self, act: &Act<'_>) {
        match act {
            Act::Bytes(bytes) => self.receive(bytes, 1),
            Act::Long(bytes) => self.receive(&long_line(*bytes), GENERATED_PIECE_BYTES),
            Act::Deep(levels) => self.receive(&deep_line(*levels), GENERATED_PIECE_BYTES),
            Act::Connect(scope) => {
                self.close();
                if let Some(scope) = scope {
                    self.replica.set_scope(scope.clone());
                }
                self.connect();
            }
            Act::Pass(ms) => self.passed_ms += ms,
        }
    }

    /// Hands bytes over in pieces of at least `least`, as far as there are so many.
    fn receive(&mut self, bytes: &[u8], least: usize) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let at_most = match &mut self.pieces {
                Pieces::Whole => usize::MAX,
                Pieces::Bytes => least,
                Pieces::Seeded(seed) => below(seed, 1 + bytes.len() / 3).max(least),
            };
            let (piece, behind) = rest.split_at(rest.len().min(at_most));
            rest = behind;
            let now = self.now();
            let Some(open) = self.connection.as_mut().filter(|open| open.offence.is_none() && open.ended.is_none())
            else {
                return;
            };
            let mut events = Vec::new();
            let judged = self.replica.receive(piece, now, &mut events);
            open.offence = judged.err();
            for event in &events {
                if let Event::Ended(end) = event {
                    open.ended = Some(end.clone());
                }
                self.outcome.event(event);
            }
            (self.shell)(self.replica.node(), &events);
        }
    }
}

/// A line of unknown type and no seq with so many bytes, and its newline.
fn long_line(bytes: usize) -> Vec<u8> {
    let (head, tail) = (&br#"{"type":"NOTE","text":""#[..], &b"\"}\n"[..]);
    let bytes = bytes.clamp(head.len() + tail.len(), 2 * LINE_BYTES_MAX) + 1;
    let mut line = Vec::with_capacity(bytes);
    line.extend_from_slice(head);
    line.resize(bytes - tail.len(), b'x');
    line.extend_from_slice(tail);
    line
}

/// A line of unknown type and no seq with so many arrays in one another, and its newline.
fn deep_line(levels: usize) -> Vec<u8> {
    let levels = levels.min(LINE_BYTES_MAX / 4);
    let mut line = Vec::from(&br#"{"type":"NOTE","of":"#[..]);
    line.resize(line.len() + levels, b'[');
    line.resize(line.len() + levels, b']');
    line.extend_from_slice(b"}\n");
    line
}

/// A number from 1 to `limit` by SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>).
fn below(seed: &mut u64, limit: usize) -> usize {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    1 + ((mixed ^ (mixed >> 31)) % limit as u64) as usize
}
