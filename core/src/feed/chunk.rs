//! Lines published together, and the part of them that a scope covers.

use crate::command::{Action, Line, Logged, Op, Trust, decode, lines};
use crate::digest::Digest;
use crate::scope::{Coverage, Scope};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Range;

/// Lines published together, in one buffer, with what tells whom they concern.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    bytes: Bytes,
    marks: Vec<Mark>,
    touched: Vec<Touched>,
    /// Whether a line names no collection: such are for every scope.
    is_for_all: bool,
}

/// One line of a chunk.
#[derive(Clone, Copy, Debug)]
struct Mark {
    seq: u64,
    start: u32,
    /// Index into [`Chunk::touched`]; [`NO_COLLECTION`] for a line that names none.
    collection: u32,
    /// Where in the chunk the key of a SET or DELETE stands as it is. Empty where it is spelled with escapes, and for
    /// all other commands: those have to be decoded.
    key: (u32, u32),
}

const NO_COLLECTION: u32 = u32::MAX;

/// A collection that lines of a chunk name.
#[derive(Clone, Debug)]
struct Touched {
    name: Arc<str>,
    /// What the chunk adds to the digests of scopes with this collection, if digests were followed when it was made.
    change: Digest,
}

impl Chunk {
    /// How many lines it holds.
    pub(super) fn commands(&self) -> u64 {
        self.marks.len() as u64
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// What it changes in the digest of a scope.
    pub(super) fn change(&self, scope: &Scope) -> Digest {
        let mut change = Digest::EMPTY;
        for touched in self.touched.iter().filter(|touched| scope.touches(&touched.name)) {
            change.add(touched.change);
        }
        change
    }

    /// Whether any line may be of `scope`. Of keys nothing is looked at.
    pub(super) fn concerns(&self, scope: &Scope) -> bool {
        self.is_for_all || self.touched.iter().any(|touched| scope.touches(&touched.name))
    }

    /// Seq of the last line.
    pub(super) fn last(&self) -> u64 {
        self.marks.last().map_or(0, |mark| mark.seq)
    }

    /// The lines after `seq`.
    pub(super) fn after(&self, seq: u64) -> Lines {
        let index = self.marks.partition_point(|mark| mark.seq <= seq);
        let bytes = self.marks.get(index).map_or_else(Bytes::new, |mark| self.bytes.slice(mark.start as usize..));
        Lines { bytes, commands: (self.marks.len() - index) as u64, through: self.last() }
    }

    /// The line of `self.marks[index]`, without its newline.
    fn line(&self, index: usize) -> &[u8] {
        let end = self.marks.get(index + 1).map_or(self.bytes.len(), |next| next.start as usize);
        &self.bytes[self.marks[index].start as usize..end - 1]
    }

    /// The part that `scope` covers: this chunk itself, a smaller one, or nothing.
    pub(super) fn narrowed(self: &Arc<Self>, scope: &Scope) -> Option<Arc<Self>> {
        let coverages: Vec<_> = self.touched.iter().map(|touched| scope.coverage(&touched.name)).collect();
        if coverages.iter().all(|coverage| *coverage == Coverage::Whole) {
            return Some(Arc::clone(self));
        }
        let mut bytes = Vec::new();
        let mut marks = Vec::new();
        for (index, mark) in self.marks.iter().enumerate() {
            let line = self.line(index);
            let from = bytes.len();
            match coverages.get(mark.collection as usize).copied().unwrap_or(Coverage::Whole) {
                Coverage::None => continue,
                Coverage::Whole => push_line(&mut bytes, line),
                coverage @ Coverage::Prefixes(_) => match self.key(mark) {
                    Some(key) if coverage.covers(key) => push_line(&mut bytes, line),
                    Some(_) => continue,
                    None => push_filtered(scope, line, &mut bytes),
                },
            }
            if bytes.len() > from {
                marks.push(Mark { start: narrow(from), ..*mark });
            }
        }
        (!marks.is_empty()).then(|| Arc::new(Self { bytes: bytes.into(), marks, ..Self::default() }))
    }

    fn key(&self, mark: &Mark) -> Option<&str> {
        let (start, end) = (mark.key.0 as usize, mark.key.1 as usize);
        self.bytes.get(start..end).filter(|key| !key.is_empty()).and_then(|key| core::str::from_utf8(key).ok())
    }
}

/// A chunk in the making.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    marks: Vec<Mark>,
    touched: Vec<Touched>,
    indexes: BTreeMap<Arc<str>, u32>,
    /// The collection of the line before, which most lines share.
    current: Option<u32>,
}

impl Draft {
    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Takes note that the next line names `collection`; `true` when no line before it does.
    pub(crate) fn touch(&mut self, collection: &str) -> bool {
        if self.current.is_some_and(|index| *self.touched[index as usize].name == *collection) {
            return false;
        }
        if let Some(&index) = self.indexes.get(collection) {
            self.current = Some(index);
            return false;
        }
        let (name, index) = (Arc::<str>::from(collection), narrow(self.touched.len()));
        self.indexes.insert(Arc::clone(&name), index);
        self.touched.push(Touched { name, change: Digest::EMPTY });
        self.current = Some(index);
        true
    }

    /// Takes out of the change of the collection touched last what it added to digests before the chunk.
    pub(crate) fn subtract(&mut self, term: Digest) {
        if let Some(index) = self.current {
            self.touched[index as usize].change.subtract(term);
        }
    }

    /// Notes a line that was applied and stands at `place` of the buffer; `key` is where in the same buffer its key
    /// stands. A line with a collection is told by [`Draft::touch`] before.
    pub(crate) fn push(&mut self, command: &Logged<'_>, place: usize, key: Range<usize>) {
        let collection = command.collection.as_ref().and(self.current).unwrap_or(NO_COLLECTION);
        let key = (narrow(key.start), narrow(key.end));
        self.marks.push(Mark { seq: command.seq, start: narrow(place), collection, key });
    }

    /// The collections touched.
    pub(crate) fn touched(&self) -> impl Iterator<Item = Arc<str>> {
        self.touched.iter().map(|touched| Arc::clone(&touched.name))
    }

    /// The chunk, with `terms` the present part of each collection of [`Draft::touched`] in digests.
    pub(crate) fn finish(self, bytes: Bytes, terms: impl IntoIterator<Item = Digest>) -> Chunk {
        let mut touched = self.touched;
        touched.iter_mut().zip(terms).for_each(|(touched, term)| touched.change.add(term));
        let is_for_all = self.marks.iter().any(|mark| mark.collection == NO_COLLECTION);
        Chunk { bytes, marks: self.marks, touched, is_for_all }
    }
}

fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).expect("a published block is shorter than 4 GiB")
}

/// Lines for a reader.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lines {
    pub(crate) bytes: Bytes,
    /// How many there are.
    pub(crate) commands: u64,
    /// The seq up to which the reader then has everything.
    pub(crate) through: u64,
}

fn push_line(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(line);
    out.push(b'\n');
}

/// The lines of `block` that `scope` covers, a batch narrowed to the commands within, and how many they are.
pub(crate) fn filter_lines(scope: &Scope, block: &Bytes) -> (Bytes, u64) {
    if *scope == Scope::Everything {
        return (block.clone(), lines(block).count() as u64);
    }
    let (mut out, mut commands) = (Vec::new(), 0);
    for (_, line) in lines(block) {
        let before = out.len();
        push_filtered(scope, line, &mut out);
        commands += u64::from(out.len() > before);
    }
    (out.into(), commands)
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
