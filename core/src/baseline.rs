//! A baseline as it is written, to a stream or to a disk: every entry of a scope as of one snapshot, a piece at a time.

use crate::command::Steer;
use crate::digest::Digest;
use crate::scope::{Coverage, Scope};
use crate::store::scan::{Scan, Walk};
use crate::store::{Collection, Progress, Snapshot, SnapshotError};
use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Bytes after which a piece of a baseline is handed out.
pub const PIECE_BYTES: usize = 64 << 10;

/// A baseline on its way out: BASELINE_BEGIN, entries and BASELINE_END of each collection. What ends it, READY on a stream,
/// is the caller's to write.
#[derive(Debug)]
pub struct Baseline<P> {
    snapshot: Arc<P>,
    /// Collections of the scope that are still to be written, last first.
    remaining: Vec<Collection>,
    current: Option<Current>,
    /// Facts of what was written.
    written: Vec<Collection>,
    scratch: Vec<u8>,
}

/// The collection that is being written.
#[derive(Debug)]
struct Current {
    facts: Collection,
    /// Whether its keys and digest are counted on the way, as only a part of it is written.
    counts: bool,
    walk: Walk,
}

/// What [`Baseline::piece`] added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// How many of the lines are entries.
    pub entries: u64,
    /// There is nothing more.
    pub is_last: bool,
}

impl<P: Snapshot> Baseline<P> {
    /// A baseline of what `snapshot` holds of `scope`.
    pub fn new(snapshot: Arc<P>, scope: &Scope) -> Self {
        let covered = snapshot.collections().iter().rev().filter(|facts| scope.touches(&facts.name));
        let remaining = covered.cloned().collect();
        Self { snapshot, remaining, current: None, written: Vec::new(), scratch: Vec::new() }
    }

    /// Of what it is a copy.
    pub fn progress(&self) -> &Progress {
        self.snapshot.progress()
    }

    /// Facts of the collections written so far, in order of their names; of those narrowed by prefix, of the part.
    pub fn written(&self) -> &[Collection] {
        &self.written
    }

    /// Adds the next lines to `out`: until it holds [`PIECE_BYTES`], and one line more at most. `scope` is the one it was
    /// made with.
    ///
    /// # Errors
    /// Those of [`Snapshot::scan`]; the baseline is of no use any more.
    pub fn piece(&mut self, scope: &Scope, out: &mut Vec<u8>) -> Result<Piece, SnapshotError> {
        let mut entries = 0;
        while out.len() < PIECE_BYTES {
            let Some(current) = &mut self.current else {
                let Some(next) = self.remaining.pop() else {
                    return Ok(Piece { entries, is_last: true });
                };
                push(out, &Steer::BaselineBegin { collection: Cow::Borrowed(&next.name), created: next.created });
                self.current = Some(Current::new(next, scope));
                continue;
            };
            let facts = &mut current.facts;
            let Some(record) = current.walk.next_record(&*self.snapshot, &facts.name)? else {
                let (keys, digest) = (facts.keys, facts.digest);
                push(out, &Steer::BaselineEnd { collection: Cow::Borrowed(&facts.name), keys, digest });
                self.written.extend(self.current.take().map(|current| current.facts));
                continue;
            };
            record.write_line(&facts.name, out);
            out.push(b'\n');
            entries += 1;
            if current.counts {
                facts.keys += 1;
                facts.digest.add(record.digest(&facts.name, &mut self.scratch));
            }
        }
        Ok(Piece { entries, is_last: false })
    }
}

fn push(out: &mut Vec<u8>, line: &Steer<'_>) {
    line.write_line(out);
    out.push(b'\n');
}

impl Current {
    fn new(facts: Collection, scope: &Scope) -> Self {
        let coverage = scope.coverage(&facts.name);
        let (counts, walk) = (coverage != Coverage::Whole, Scan::of(coverage).into());
        let facts = if counts { Collection { keys: 0, digest: Digest::EMPTY, ..facts } } else { facts };
        Self { facts, counts, walk }
    }
}
