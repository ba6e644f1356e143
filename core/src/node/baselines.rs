//! Who is being sent a baseline: there are only so many places, and who takes next to nothing loses its own.

use super::children::retry;
use super::{Node, Shared};
use crate::clock::Now;
use crate::store::{Snapshot, SnapshotError, Store};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// How long a child may take for a baseline, in ms, while others wait for its place: so long at the most, and after so
/// long no more slowly than at this rate in bytes a second, seen over the whole of it.
const AGE_MS_MAX: u64 = 3_600_000;
const PATIENCE_MS: u64 = 15_000;
const BYTES_PER_S_MIN: u64 = 16 << 10;

/// Every so many-th of the places is for nodes alone.
const PLACES_FOR_NODES: usize = 4;

/// Bytes of lines behind an open snapshot up to which newcomers share it.
const SHARED_TAIL_BYTES_MAX: usize = 1 << 20;

/// A snapshot and the newest proof there was of it.
pub(crate) struct Proven<P> {
    pub(crate) snapshot: Arc<P>,
    pub(crate) at: u64,
}

/// The places that are taken. A child that is to end has none, though it may be so slow that it has not heard of that.
#[derive(Default)]
pub(super) struct Baselines {
    sent: BTreeMap<u64, Begun>,
    /// How many of them are no nodes.
    others: usize,
}

/// How a baseline began.
struct Begun {
    /// When, on the monotonic clock.
    mono_ms: u64,
    /// Bytes that the child had been handed before.
    bytes: u64,
    is_node: bool,
}

impl Baselines {
    /// Whether this child is being sent one.
    pub(super) fn has(&self, child: u64) -> bool {
        self.sent.contains_key(&child)
    }

    /// Whether `places` leave one more for a child that `is_node` or is none.
    fn has_place(&self, places: usize, is_node: bool) -> bool {
        self.sent.len() < places && (is_node || self.others < places - places / PLACES_FOR_NODES)
    }

    fn begin(&mut self, child: u64, begun: Begun) {
        self.end(child);
        self.others += usize::from(!begun.is_node);
        self.sent.insert(child, begun);
    }

    /// Frees the place of a child, if it has one.
    pub(super) fn end(&mut self, child: u64) {
        if let Some(begun) = self.sent.remove(&child) {
            self.others -= usize::from(!begun.is_node);
        }
    }
}

impl Begun {
    /// Whether a child that has been handed `sent_bytes` takes so long that another may have its place.
    fn is_slow(&self, sent_bytes: u64, mono_ms: u64) -> bool {
        let ms = mono_ms.saturating_sub(self.mono_ms);
        let expected = BYTES_PER_S_MIN.saturating_mul(ms) / 1_000;
        (ms >= PATIENCE_MS && sent_bytes.saturating_sub(self.bytes) < expected) || ms >= AGE_MS_MAX
    }
}

impl<S: Store> Shared<S> {
    /// Ends those who are too slow. Whoever is refused a place asks again, so this looks at those who have one and at no
    /// other child.
    fn end_slow_baselines(&mut self, mono_ms: u64) {
        let sent_bytes = |id| self.children.get(id).map_or(0, |child| child.sent_bytes);
        let slow = self.baselines.sent.iter().filter(|(id, begun)| begun.is_slow(sent_bytes(*id), mono_ms));
        let slow: Vec<u64> = slow.map(|(id, _)| *id).collect();
        slow.into_iter().for_each(|id| self.end_one(id, retry("baseline_too_slow")));
    }
}

impl<S: Store> Node<S> {
    /// A place among those who are sent a baseline, with the snapshot they share; `None` when all places are taken.
    pub(crate) fn begin_baseline(&self, id: u64, now: Now) -> Result<Option<Proven<S::Snapshot>>, SnapshotError> {
        let mut shared = self.lock();
        let places = self.options.baselines_max;
        let (is_node, bytes) = shared.children.get(&id).map_or((false, 0), |child| (child.is_node(), child.sent_bytes));
        if !shared.baselines.has_place(places, is_node) {
            shared.end_slow_baselines(now.mono_ms);
            if !shared.baselines.has_place(places, is_node) {
                return Ok(None);
            }
        }
        let snapshot = match shared.snapshot.upgrade() {
            // Shared while what came since is a small tail; beyond, a new copy is cheaper for the child.
            Some(open) if shared.feed.bytes_after(open.progress().position.seq) <= SHARED_TAIL_BYTES_MAX => open,
            _ => {
                // Before the copy is made: what is published meanwhile waits for the lock, and its proof for that.
                shared.snapshot_at = self.at(&mut shared, now);
                Arc::new(self.store.snapshot()?)
            }
        };
        shared.snapshot = Arc::downgrade(&snapshot);
        shared.baselines.begin(id, Begun { mono_ms: now.mono_ms, bytes, is_node });
        shared.baselines_begun += 1;
        Ok(Some(Proven { snapshot, at: shared.snapshot_at }))
    }

    pub(crate) fn end_baseline(&self, id: u64) {
        self.lock().baselines.end(id);
    }
}
