//! A baseline as a parent writes it: every entry of a scope as of one snapshot, a piece at a time.

use super::push;
use crate::apply::scope_digest;
use crate::command::{Ready, Steer};
use crate::digest::Digest;
use crate::scope::{Coverage, Scope};
use crate::store::scan::{Scan, Walk};
use crate::store::{Collection, Progress, Snapshot, SnapshotError, Store};
use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

/// Bytes after which a piece of a baseline is handed out.
const PIECE_BYTES: usize = 64 << 10;

/// A baseline on its way out.
pub(super) struct Baseline<S: Store> {
    snapshot: Arc<S::Snapshot>,
    /// Collections of the scope that are still to be sent, last first.
    remaining: Vec<Collection>,
    current: Option<Current>,
    /// Facts of what was sent, for READY.
    sent: Vec<Collection>,
    scratch: Vec<u8>,
}

/// The collection that is being sent.
struct Current {
    facts: Collection,
    /// Whether its keys and digest are counted on the way, as only a part of it is sent.
    counts: bool,
    walk: Walk,
}

/// The next lines of a baseline.
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    /// How many of them are entries.
    pub(super) entries: u64,
    /// READY is among them.
    pub(super) is_last: bool,
}

impl<S: Store> Baseline<S> {
    pub(super) fn new(snapshot: Arc<S::Snapshot>, scope: &Scope) -> Self {
        let covered = snapshot.collections().iter().rev().filter(|facts| scope.touches(&facts.name));
        let remaining = covered.cloned().collect();
        Self { snapshot, remaining, current: None, sent: Vec::new(), scratch: Vec::new() }
    }

    /// Of what it is a copy.
    pub(super) fn progress(&self) -> &Progress {
        self.snapshot.progress()
    }

    /// The next lines: about 64 KiB, and one line more at most.
    ///
    /// # Errors
    /// Those of [`Snapshot::scan`]; the baseline is of no use any more.
    pub(super) fn piece(&mut self, scope: &Scope) -> Result<Piece, SnapshotError> {
        let mut out = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4);
        let mut entries = 0;
        while out.len() < PIECE_BYTES {
            let Some(current) = &mut self.current else {
                let Some(next) = self.remaining.pop() else {
                    push(&mut out, &self.ready());
                    return Ok(Piece { bytes: out.into(), entries, is_last: true });
                };
                push(&mut out, &Steer::BaselineBegin { collection: Cow::Borrowed(&next.name), created: next.created });
                self.current = Some(Current::new(next, scope));
                continue;
            };
            let facts = &mut current.facts;
            let Some(record) = current.walk.next_record(&*self.snapshot, &facts.name)? else {
                let (keys, digest) = (facts.keys, facts.digest);
                push(&mut out, &Steer::BaselineEnd { collection: Cow::Borrowed(&facts.name), keys, digest });
                self.sent.extend(self.current.take().map(|current| current.facts));
                continue;
            };
            record.write_line(&facts.name, &mut out);
            out.push(b'\n');
            entries += 1;
            if current.counts {
                facts.keys += 1;
                facts.digest.add(record.digest(&facts.name, &mut self.scratch));
            }
        }
        Ok(Piece { bytes: out.into(), entries, is_last: false })
    }

    fn ready(&self) -> Steer<'static> {
        let progress = self.snapshot.progress();
        Steer::Ready(Ready {
            seq: progress.position.seq,
            collections: self.sent.len() as u64,
            digest: scope_digest(&self.sent),
            epochs: (*progress.epochs).clone(),
        })
    }
}

impl Current {
    fn new(facts: Collection, scope: &Scope) -> Self {
        let coverage = scope.coverage(&facts.name);
        let (counts, walk) = (coverage != Coverage::Whole, Scan::of(coverage).into());
        let facts = if counts { Collection { keys: 0, digest: Digest::EMPTY, ..facts } } else { facts };
        Self { facts, counts, walk }
    }
}
