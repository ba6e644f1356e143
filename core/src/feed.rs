//! The feed: the in-memory tail of encoded lines, one ring per scope, that all children of equal scope share.
//!
//! Plain data without locks or wake-ups: [`crate::node::Node`] guards it, shells wake their children. A child is a seq
//! into a ring ([`crate::stream::Stream`]), not a queue of its own.

use crate::command::{Action, Line, Logged, Op, Trust, decode, lines};
use crate::position::Position;
use crate::scope::{Coverage, Scope};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

/// Lines published together, in one buffer.
#[derive(Debug)]
pub struct Chunk {
    bytes: Bytes,
    /// Seq and start of each line, in order.
    marks: Vec<(u64, u32)>,
}

impl Chunk {
    fn last(&self) -> u64 {
        self.marks.last().map_or(0, |mark| mark.0)
    }

    /// The lines after `seq`.
    fn after(&self, seq: u64) -> Bytes {
        let index = self.marks.partition_point(|mark| mark.0 <= seq);
        self.marks.get(index).map_or_else(Bytes::new, |mark| self.bytes.slice(mark.1 as usize..))
    }
}

/// The tail of one scope.
#[derive(Debug)]
pub(crate) struct Ring {
    chunks: VecDeque<Arc<Chunk>>,
    bytes: usize,
    /// Every line of the scope with a seq above this is held.
    floor: u64,
    /// Lines of the scope published since the ring began.
    pub(crate) lines: u64,
    /// Streams that read it.
    pub(crate) streams: usize,
}

/// What a ring says to a reader who has everything up to some seq.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// The next lines, and the seq up to which the reader then has everything.
    Lines(Bytes, u64),
    /// There are no more.
    Empty,
    /// Lines it lacks are not held any more.
    Fallen,
}

impl Ring {
    fn new(floor: u64) -> Self {
        Self { chunks: VecDeque::new(), bytes: 0, floor, lines: 0, streams: 0 }
    }

    fn push(&mut self, chunk: Arc<Chunk>, bytes_max: usize) {
        self.lines += chunk.marks.len() as u64;
        self.bytes += chunk.bytes.len();
        self.chunks.push_back(chunk);
        while self.bytes > bytes_max {
            let Some(oldest) = self.chunks.pop_front() else { break };
            self.bytes -= oldest.bytes.len();
            self.floor = oldest.last();
        }
    }

    pub(crate) fn after(&self, seq: u64) -> Tail {
        if seq < self.floor {
            return Tail::Fallen;
        }
        let index = self.chunks.partition_point(|chunk| chunk.last() <= seq);
        match self.chunks.get(index) {
            Some(chunk) => Tail::Lines(chunk.after(seq), chunk.last()),
            None => Tail::Empty,
        }
    }

    /// Bytes held after `seq`.
    fn bytes_after(&self, seq: u64) -> usize {
        let behind = self.chunks.iter().rev().take_while(|chunk| chunk.last() > seq);
        behind.map(|chunk| chunk.bytes.len()).sum()
    }
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
    /// Raised when the state is replaced as a whole: what was sent before does not lead here.
    pub(crate) generation: u64,
    all: Ring,
    scoped: BTreeMap<Scope, Ring>,
    limits: FeedLimits,
}

impl Feed {
    pub(crate) fn new(head: Position, limits: FeedLimits) -> Self {
        Self { head, generation: 0, all: Ring::new(head.seq), scoped: BTreeMap::new(), limits }
    }

    /// Begins anew at `head`.
    pub(crate) fn reset(&mut self, head: Position) {
        self.head = head;
        self.generation += 1;
        let fresh = |ring: &Ring| Ring { streams: ring.streams, lines: ring.lines, ..Ring::new(head.seq) };
        self.all = fresh(&self.all);
        for ring in self.scoped.values_mut() {
            *ring = fresh(ring);
        }
    }

    /// Registers a reader of `scope`; `false` when there are too many scopes.
    pub(crate) fn join(&mut self, scope: &Scope) -> bool {
        if *scope != Scope::Everything && !self.scoped.contains_key(scope) {
            if self.scoped.len() >= self.limits.scopes_max {
                return false;
            }
            self.scoped.insert(scope.clone(), Ring::new(self.head.seq));
        }
        if let Some(ring) = self.ring_mut(scope) {
            ring.streams += 1;
        }
        true
    }

    /// Takes a reader of `scope` off again.
    pub(crate) fn leave(&mut self, scope: &Scope) {
        if let Some(ring) = self.ring_mut(scope) {
            ring.streams -= 1;
            if ring.streams == 0 {
                self.scoped.remove(scope);
            }
        }
    }

    fn ring_mut(&mut self, scope: &Scope) -> Option<&mut Ring> {
        if *scope == Scope::Everything { Some(&mut self.all) } else { self.scoped.get_mut(scope) }
    }

    pub(crate) fn ring(&self, scope: &Scope) -> &Ring {
        self.scoped.get(scope).unwrap_or(&self.all)
    }

    /// The lowest seq after which every line is in memory.
    pub(crate) fn floor(&self) -> u64 {
        self.all.floor
    }

    pub(crate) fn bytes_after(&self, seq: u64) -> usize {
        self.all.bytes_after(seq)
    }

    /// The lines of `scope` after `seq`.
    pub(crate) fn after(&self, scope: &Scope, seq: u64) -> Tail {
        let own = self.ring(scope).after(seq);
        if own != Tail::Fallen || *scope == Scope::Everything {
            return own;
        }
        match self.all.after(seq) {
            Tail::Lines(bytes, last) => Tail::Lines(filter_lines(scope, &bytes), last),
            other => other,
        }
    }

    /// Adds lines that were just applied. `block` holds them one after the other.
    pub(crate) fn publish(&mut self, block: Bytes, commands: &[(Mark, usize)]) {
        let Some((last, _)) = commands.last() else { return };
        self.head.seq = self.head.seq.max(last.seq);
        let marks = commands.iter().map(|(mark, start)| (mark.seq, narrow(*start))).collect();
        let whole = Arc::new(Chunk { bytes: block, marks });
        for (scope, ring) in &mut self.scoped {
            if let Some(chunk) = narrowed(scope, &whole, commands) {
                ring.push(chunk, self.limits.scope_bytes_max);
            }
        }
        self.all.push(whole, self.limits.bytes_max);
    }
}

fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).expect("a published block is shorter than 4 GiB")
}

/// What the feed must know of a published line to tell whom it concerns.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) seq: u64,
    pub(crate) collection: Option<Arc<str>>,
}

/// The part of a chunk that `scope` covers: the same chunk, a smaller copy, or nothing.
fn narrowed(scope: &Scope, whole: &Arc<Chunk>, commands: &[(Mark, usize)]) -> Option<Arc<Chunk>> {
    let coverage = |mark: &Mark| mark.collection.as_deref().map_or(Coverage::Whole, |name| scope.coverage(name));
    if commands.iter().all(|(mark, _)| coverage(mark) == Coverage::Whole) {
        return Some(Arc::clone(whole));
    }
    let mut bytes = Vec::new();
    let mut marks = Vec::new();
    for (index, (mark, start)) in commands.iter().enumerate() {
        let end = commands.get(index + 1).map_or(whole.bytes.len(), |next| next.1);
        let line = &whole.bytes[*start..end - 1];
        let from = bytes.len();
        match coverage(mark) {
            Coverage::None => continue,
            Coverage::Whole => push_line(&mut bytes, line),
            Coverage::Prefixes(_) => push_filtered(scope, line, &mut bytes),
        }
        if bytes.len() > from {
            marks.push((mark.seq, narrow(from)));
        }
    }
    (!marks.is_empty()).then(|| Arc::new(Chunk { bytes: bytes.into(), marks }))
}

fn push_line(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(line);
    out.push(b'\n');
}

/// The lines of `block` that `scope` covers, a batch narrowed to the commands within.
pub(crate) fn filter_lines(scope: &Scope, block: &Bytes) -> Bytes {
    if *scope == Scope::Everything {
        return block.clone();
    }
    let mut out = Vec::new();
    for (_, line) in lines(block) {
        push_filtered(scope, line, &mut out);
    }
    out.into()
}

fn push_filtered(scope: &Scope, line: &[u8], out: &mut Vec<u8>) {
    // Lines in the feed and in the log were decoded before they got there, and the value of a SET is not looked at here.
    let Ok(Line::Log(command)) = decode(line, Trust::Canonical) else { return };
    match narrow_command(scope, &command) {
        Narrowed::Outside => {}
        Narrowed::Whole => push_line(out, line),
        Narrowed::Batch(ops) => {
            Logged { action: Action::Batch(ops), ..command }.write_line(out);
            out.push(b'\n');
        }
    }
}

/// How much of a command a scope covers.
enum Narrowed<'a> {
    Outside,
    Whole,
    Batch(Vec<Op<'a>>),
}

fn narrow_command<'a>(scope: &Scope, command: &Logged<'a>) -> Narrowed<'a> {
    let coverage = command.collection.as_deref().map_or(Coverage::Whole, |name| scope.coverage(name));
    let covered = match &command.action {
        _ if matches!(coverage, Coverage::Whole) => true,
        Action::Set { key, .. } | Action::Delete { key, .. } => coverage.covers(key),
        Action::Batch(ops) => {
            let within: Vec<_> = ops.iter().filter(|op| coverage.covers(&op.key)).cloned().collect();
            return if within.len() == ops.len() {
                Narrowed::Whole
            } else if within.is_empty() {
                Narrowed::Outside
            } else {
                Narrowed::Batch(within)
            };
        }
        _ => coverage != Coverage::None,
    };
    if covered { Narrowed::Whole } else { Narrowed::Outside }
}
