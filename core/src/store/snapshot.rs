//! Overlays: what keeps a snapshot exact while the state under it changes.
//!
//! A store does not copy anything when a snapshot is opened. From then on, before it changes an entry, it tells
//! [`Overlays::replacing`], and every open overlay keeps what that key held when it was opened. Reading a snapshot is
//! reading the present state and putting the overlay on top ([`Overlay::merge`]).
//!
//! What is collected is bounded in number, per snapshot and in sum; a snapshot that goes beyond is given up. Readers, who
//! may be as slow as they like, and the node itself, which copies its state for children, have shares of their own, so
//! that no number of readers stands in a copy's way. A reader's snapshot is bounded in time as well: when it is old, it is
//! given up as soon as another reader wants one.
//!
//! Copies that the node writes to a disk, for itself or as a backup, are a third kind ([`Overlays::open_for_disk`]). There
//! are few, and each must come to an end under any load, or the log behind it could never be let go of; so they are not
//! given up for their size. They are bounded all the same: an overlay keeps only what was there when it was opened, each
//! key once, so it never exceeds that state. The same holds for the oldest of those that the node copies for children:
//! under a load that outgrows every other one, children get their copies one after the other, and not never.
//!
//! Which collections a snapshot shows, and facts about them, are the store's business: it copies them when it opens one.

use super::lock::lock;
use super::{Collection, Page, SnapshotError, Write};
use crate::position::Position;
use crate::record::Record;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Bound;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

/// How much open snapshots may cost, readers' and the node's own each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotLimits {
    /// Most snapshots of one share open at one time.
    pub open_max: usize,
    /// Most bytes that one snapshot may collect.
    pub bytes_max: usize,
    /// Most bytes that all snapshots of one share may collect together; beyond it, the oldest is given up first.
    pub bytes_total_max: usize,
}

impl Default for SnapshotLimits {
    fn default() -> Self {
        Self { open_max: 256, bytes_max: 64 * 1024 * 1024, bytes_total_max: 128 * 1024 * 1024 }
    }
}

/// How long a reader's snapshot may be open, in ms, while others want one.
pub const READER_AGE_MS_MAX: u64 = 600_000;

/// Whose snapshot it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// A client's, opened at this moment of the monotonic clock.
    Reader {
        opened_mono_ms: u64,
    },
    Own,
    Disk,
}

/// Most snapshots for a disk open at one time: a stored baseline, a scheduled backup, and as many to spare.
const DISK_OPEN_MAX: usize = 4;

/// What a collected key costs beside its record: its place in a tree, a count and an allocation's rounding.
const COLLECTED_OVERHEAD_BYTES: usize = 64;

/// All open overlays of one store.
#[derive(Debug)]
pub struct Overlays {
    limits: SnapshotLimits,
    readers: Arc<Sums>,
    own: Arc<Sums>,
    disk: Arc<Sums>,
    opened: Mutex<Opened>,
}

/// Weak, so that a snapshot nobody holds is freed. Oldest first.
#[derive(Debug, Default)]
struct Opened {
    /// Those that follow the present state.
    following: Vec<Weak<Overlay>>,
    /// Those of states before.
    detached: Vec<Weak<Overlay>>,
}

impl Opened {
    fn forget_dropped(&mut self) {
        self.following.retain(|overlay| overlay.strong_count() > 0);
        self.detached.retain(|overlay| overlay.strong_count() > 0);
    }
}

/// What the limits bound of one share, counted where both [`Overlays`] and each [`Overlay`] reach it.
#[derive(Debug, Default)]
struct Sums {
    /// Overlays that exist and are not given up. They hand over no data, only a hint and a cap: relaxed is enough.
    open: AtomicUsize,
    bytes: AtomicUsize,
}

impl Overlays {
    /// Keeps to `limits`.
    pub fn new(limits: SnapshotLimits) -> Self {
        Self { limits, readers: Arc::default(), own: Arc::default(), disk: Arc::default(), opened: Mutex::default() }
    }

    /// Opens an overlay of the present state, which is as of `position`, for the node itself.
    ///
    /// The caller makes sure that no command is half applied meanwhile, and that what [`Self::replacing`] is told of
    /// happens either before or after.
    ///
    /// # Errors
    /// [`SnapshotError::TooMany`] when as many are open as may be.
    pub fn open(&self, position: Position) -> Result<Arc<Overlay>, SnapshotError> {
        self.open_in(Share::Own, position)
    }

    /// As [`Self::open`], for a client. `mono_ms` is the time now: readers' snapshots that have been open for
    /// [`READER_AGE_MS_MAX`] are given up.
    ///
    /// # Errors
    /// The same, and of readers alone.
    pub fn open_for_reader(&self, position: Position, mono_ms: u64) -> Result<Arc<Overlay>, SnapshotError> {
        let opened = lock(&self.opened);
        let all = opened.following.iter().chain(&opened.detached).filter_map(Weak::upgrade);
        let is_old = |overlay: &Arc<Overlay>| match overlay.share {
            Share::Reader { opened_mono_ms } => mono_ms.saturating_sub(opened_mono_ms) >= READER_AGE_MS_MAX,
            Share::Own | Share::Disk => false,
        };
        let old: Vec<_> = all.filter(is_old).collect();
        drop(opened);
        old.iter().for_each(|overlay| overlay.close());
        self.open_in(Share::Reader { opened_mono_ms: mono_ms }, position)
    }

    /// As [`Self::open`], for a copy that the node writes to a disk: it is not given up, however much is written meanwhile,
    /// and may come to hold as much as the present state does, and 64 bytes and the key for each entry.
    ///
    /// # Errors
    /// The same, and of these copies alone.
    pub fn open_for_disk(&self, position: Position) -> Result<Arc<Overlay>, SnapshotError> {
        self.open_in(Share::Disk, position)
    }

    fn open_in(&self, share: Share, position: Position) -> Result<Arc<Overlay>, SnapshotError> {
        // Under the lock, so that two callers cannot both take the last place.
        let mut opened = lock(&self.opened);
        opened.forget_dropped();
        let (sums, open_max) = match share {
            Share::Reader { .. } => (&self.readers, self.limits.open_max),
            Share::Own => (&self.own, self.limits.open_max),
            Share::Disk => (&self.disk, DISK_OPEN_MAX),
        };
        if sums.open.load(Ordering::Relaxed) >= open_max {
            return Err(SnapshotError::TooMany);
        }
        sums.open.fetch_add(1, Ordering::Relaxed);
        let collected = Mutex::new(Some(Collected::default()));
        let overlay = Arc::new(Overlay { position, share, sums: Arc::clone(sums), collected });
        opened.following.push(Arc::downgrade(&overlay));
        Ok(overlay)
    }

    /// Whether a snapshot is open, so that a store may spare itself reading what [`Self::replacing`] would be told.
    pub fn any_open(&self) -> bool {
        [&self.readers, &self.own, &self.disk].iter().any(|sums| sums.open.load(Ordering::Relaxed) > 0)
    }

    /// Tells that `writes` are about to change entries of `collection`, as its facts are before. Call it before the state
    /// changes. Costs three atomic loads when no snapshot is open.
    ///
    /// A store whose DROP destroys entries that open snapshots show tells of each of them as a deletion first.
    pub fn replacing(&self, collection: &Collection, writes: &[Write<'_>]) {
        if !self.any_open() {
            return;
        }
        let SnapshotLimits { bytes_max, bytes_total_max, .. } = self.limits;
        // What the oldest of the node's own holds, which is not counted against the others.
        let mut spared = None;
        lock(&self.opened).following.retain(|overlay| {
            let Some(overlay) = overlay.upgrade() else { return false };
            let is_spared = overlay.share == Share::Own && spared.is_none();
            let bounds = match overlay.share {
                Share::Disk => None,
                Share::Own => spared.map(|spared| (bytes_max, bytes_total_max.saturating_add(spared))),
                Share::Reader { .. } => Some((bytes_max, bytes_total_max)),
            };
            let bytes = overlay.collect(collection, writes, bounds);
            if is_spared {
                spared = bytes;
            }
            bytes.is_some()
        });
    }

    /// Tells that what the open overlays lie on changes no more, because the store goes on with another state and keeps
    /// the old one for them. They stay readable and count as open.
    pub fn detach_all(&self) {
        let opened = &mut *lock(&self.opened);
        opened.detached.append(&mut opened.following);
        opened.forget_dropped();
    }

    /// Gives up every snapshot that follows the present state.
    pub fn close_all(&self) {
        let following = core::mem::take(&mut lock(&self.opened).following);
        following.iter().filter_map(Weak::upgrade).for_each(|overlay| overlay.close());
    }
}

/// The difference between the state as of one position and the present. Freed when dropped.
#[derive(Debug)]
pub struct Overlay {
    position: Position,
    share: Share,
    sums: Arc<Sums>,
    /// `None` once given up.
    collected: Mutex<Option<Collected>>,
}

/// Per collection and key what the key held.
#[derive(Debug, Default)]
struct Collected {
    collections: BTreeMap<Arc<str>, BTreeMap<String, Record>>,
    bytes: usize,
}

impl Overlay {
    /// What the snapshot is exact as of.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Gives the snapshot up and frees what it collected; reading it on is [`SnapshotError::Gone`].
    pub fn close(&self) {
        self.take(&mut lock(&self.collected));
    }

    fn take(&self, collected: &mut Option<Collected>) {
        if let Some(collected) = collected.take() {
            self.sums.open.fetch_sub(1, Ordering::Relaxed);
            self.sums.bytes.fetch_sub(collected.bytes, Ordering::Relaxed);
        }
    }

    /// Keeps what the written keys held, unless kept before; `bounds` are the most bytes of this snapshot and of its
    /// share. Returns the bytes it holds; `None` where it is not open any more.
    fn collect(&self, collection: &Collection, writes: &[Write<'_>], bounds: Option<(usize, usize)>) -> Option<usize> {
        let mut guard = lock(&self.collected);
        let collected = guard.as_mut()?;
        // Created after the snapshot was taken: nothing in it belongs to the picture.
        if collection.created > self.position.seq {
            return Some(collected.bytes);
        }
        if !collected.collections.contains_key(&*collection.name) {
            collected.collections.insert(collection.name.clone(), BTreeMap::new());
        }
        let keys = collected.collections.get_mut(&*collection.name).expect("inserted above");
        let mut added = 0;
        for write in writes {
            // What came since is left out by its seq and need not be kept.
            let Some(old) = write.old.as_ref().filter(|old| old.seq() <= self.position.seq) else { continue };
            if !keys.contains_key(write.key) {
                added += COLLECTED_OVERHEAD_BYTES + write.key.len() + old.memory_bytes();
                keys.insert(write.key.into(), old.clone());
            }
        }
        collected.bytes += added;
        let total = self.sums.bytes.fetch_add(added, Ordering::Relaxed) + added;
        let bytes = collected.bytes;
        if bounds.is_some_and(|(most, most_of_all)| bytes > most || total > most_of_all) {
            self.take(&mut guard);
            return None;
        }
        Some(bytes)
    }

    /// Turns a piece of the present state into the same piece as of [`Self::position`].
    ///
    /// `live` is what the store holds of `collection` from `from` on: all of it, or all up to and including `live.next`,
    /// but no more than `limit` records. It must have been read before this call, so that a change it does not show is in
    /// the overlay. Where the store itself holds nothing any more of what the snapshot shows (dropped or re-created
    /// since), `live` is empty.
    ///
    /// Returns at most `limit` records, which is at least one.
    ///
    /// # Errors
    /// [`SnapshotError::Gone`] when the snapshot was given up.
    pub fn merge(&self, collection: &str, from: Bound<&str>, live: Page, limit: usize) -> Result<Page, SnapshotError> {
        let guard = lock(&self.collected);
        let collected = guard.as_ref().ok_or(SnapshotError::Gone)?;
        let (covered, count) = (live.next.as_deref(), live.records.len());
        let keys = collected.collections.get(collection);
        let range = keys.into_iter().flat_map(|keys| keys.range::<str, _>((from, Bound::Unbounded)));
        let mut changed = range.take_while(|(key, _)| covered.is_none_or(|covered| key.as_str() <= covered)).peekable();
        // What a key held then, if anything, is among the changed ones where it holds something newer now.
        let is_of_then = |record: &Record| record.seq() <= self.position.seq;
        let mut present = live.records.into_iter().filter(is_of_then).peekable();
        let mut records = Vec::with_capacity(count);
        loop {
            let order = match (present.peek(), changed.peek()) {
                (None, None) => break,
                (Some(_), None) => core::cmp::Ordering::Less,
                (None, Some(_)) => core::cmp::Ordering::Greater,
                (Some(record), Some((key, _))) => record.key_utf8().cmp(key.as_bytes()),
            };
            if records.len() >= limit.max(1) {
                let next = records.last().map(|record: &Record| record.key().into());
                return Ok(Page { records, next });
            }
            if order.is_lt() {
                records.extend(present.next());
            } else {
                if order.is_eq() {
                    present.next();
                }
                records.extend(changed.next().map(|(_, held)| held.clone()));
            }
        }
        Ok(Page { records, next: live.next })
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
