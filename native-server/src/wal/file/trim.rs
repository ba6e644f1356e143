//! The file log's [`Keeper`]: stored baselines as files, and whole sealed segments let go of.

use super::super::error::OpenError;
use super::super::keeper::{BaselinePiece, BaselineSink, Keeper, Retention, StateFacts, StoredBaseline, Usage};
use super::super::manifest::{Files, SealedPlace};
use super::super::storage::Lock;
use super::super::{BoxFuture, LogReader};
use super::baseline::BaselineMaking;
use super::header::Origin;
use super::keeping::Keeping;
use super::releasing::release;
use super::syncing::Synced;
use super::view::{View, ViewReader};
use headwater_core::id::Id;
use headwater_core::position::EpochTable;
use std::sync::Arc;

/// Most sealed segments, however short: a start opens each of them.
const SEALED_MAX: usize = 1_000;

/// See the module.
pub struct FileKeeper {
    /// Who can change the files keeps other processes out.
    pub(super) lock: Arc<Lock>,
    pub(super) keeping: Arc<Keeping>,
    pub(super) view: Arc<View>,
    pub(super) origin: Origin,
    /// What is durable of this opening.
    pub(super) synced: Synced,
}

impl FileKeeper {
    /// [`Keeper::trim`], on this thread.
    ///
    /// # Errors
    /// The same.
    pub fn trim_now(&self, retention: &Retention, wanted_from: Option<u64>) -> Result<u64, OpenError> {
        let now_ms = crate::clock::wall_ms();
        let active_bytes = self.view.active().end();
        if removable(&self.keeping.files(), active_bytes, retention, wanted_from, now_ms) == 0 {
            return Ok(0);
        }
        let (gone, first_kept) = self.keeping.change(|files| {
            let count = removable(files, active_bytes, retention, wanted_from, now_ms);
            let gone: Vec<_> = files.sealed.drain(..count).collect();
            (gone, files.segment_numbers().next().expect("a log has a segment in use"))
        })?;
        let forgotten = self.view.forget_before(first_kept);
        // Who still reads one of them ends that first.
        forgotten.into_iter().filter_map(Arc::into_inner).for_each(|segment| release(segment.file));
        Ok(gone.iter().map(|place| place.end).sum())
    }
}

/// How many of the oldest sealed segments may go.
fn removable(files: &Files, active_bytes: u64, retention: &Retention, wanted_from: Option<u64>, now_ms: u64) -> usize {
    let Some(baseline) = &files.baseline else { return 0 };
    let mut left = active_bytes + files.sealed.iter().map(|place| place.end).sum::<u64>();
    let mut count = files.sealed.len();
    let age_ms = u64::try_from(retention.age.as_millis()).unwrap_or(u64::MAX);
    let may_go = |place: &&SealedPlace| {
        let is_covered = place.through <= baseline.seq || place.number < baseline.from_segment;
        let is_old = now_ms.saturating_sub(place.sealed_ms) > age_ms;
        let is_beyond = left - place.end >= retention.bytes || count >= SEALED_MAX;
        let is_wanted = wanted_from.is_some_and(|from| from <= place.through);
        let may_go = is_covered && (is_old || is_beyond) && (!is_wanted || left > retention.bytes_max);
        if may_go {
            (left, count) = (left - place.end, count - 1);
        }
        may_go
    };
    files.sealed.iter().take_while(may_go).count()
}

impl Keeper for FileKeeper {
    fn usage(&self) -> Usage {
        let files = self.keeping.files();
        let active = self.view.active().end();
        let covered = files.baseline.as_ref().map_or(0, |baseline| baseline.seq);
        let sealed = files.sealed.iter();
        let to_replay = sealed.clone().filter(|place| place.through > covered);
        Usage {
            log_bytes: active + sealed.clone().map(|place| place.end).sum::<u64>(),
            replay_bytes: active + to_replay.map(|place| place.end).sum::<u64>(),
            segments: sealed.len() as u64 + 1,
            baseline: files.baseline.map(|place| StoredBaseline { seq: place.seq, bytes: place.end, keys: place.keys }),
        }
    }

    fn sealed(&self) -> Vec<(u64, u64)> {
        let mut after = self.view.before();
        let sealed = self.keeping.files().sealed;
        let ranges = sealed.iter().map(|place| (std::mem::replace(&mut after, place.through), place.through));
        ranges.filter(|(after, through)| after < through).collect()
    }

    fn history(&self) -> (Option<Id>, EpochTable) {
        let manifest = self.keeping.lock();
        (manifest.cluster, manifest.epochs.clone())
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(ViewReader(self.view.clone()))
    }

    fn begin(&self, seq: u64) -> BoxFuture<'_, Result<Box<dyn BaselineSink>, OpenError>> {
        Box::pin(async move {
            let making = BaselineMaking::begin(self.keeping.clone(), self.origin, seq)?;
            let (lock, synced) = (self.lock.clone(), self.synced.clone());
            Ok(Box::new(FileSink { _lock: lock, making, seq, synced }) as Box<dyn BaselineSink>)
        })
    }

    fn trim<'a>(&'a self, retention: &'a Retention, wanted_from: Option<u64>) -> BoxFuture<'a, Result<u64, OpenError>> {
        Box::pin(async move { self.trim_now(retention, wanted_from) })
    }
}

struct FileSink {
    _lock: Arc<Lock>,
    making: BaselineMaking,
    seq: u64,
    synced: Synced,
}

impl BaselineSink for FileSink {
    fn push<'a>(&'a mut self, piece: BaselinePiece<'a>) -> BoxFuture<'a, Result<(), OpenError>> {
        Box::pin(async move { self.making.push(piece) })
    }

    fn finish(self: Box<Self>, facts: StateFacts) -> BoxFuture<'static, Result<(), OpenError>> {
        Box::pin(async move {
            // A log that ends before its baseline is taken for damaged, and rightly: so nothing may be named that tells
            // of records which are not durable yet.
            self.synced.sync_through(self.seq)?;
            self.making.finish(facts, 0, |_| true)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::manifest::{ActivePlace, BaselinePlace, Sum};
    use super::*;
    use std::time::Duration;

    /// Segments of 100 bytes and ten records each, the first sealed at 1,000 ms and each next one 1,000 ms later; a
    /// baseline at `covered`; 50 bytes in use.
    fn removed(covered: u64, retention: &Retention, wanted_from: Option<u64>, now_ms: u64) -> usize {
        let place =
            |n: u64| SealedPlace { number: n as u32, through: n * 10, end: 100, sum: Sum(0), sealed_ms: n * 1000 };
        let files = Files {
            baseline: Some(BaselinePlace {
                number: 9,
                seq: covered,
                from_segment: 0,
                end: 1,
                sum: Sum(0),
                keys: 0,
                digest: String::new(),
            }),
            sealed: (1..=5).map(place).collect(),
            active: ActivePlace { number: 10, start: 0, synced: 0 },
            next_number: 11,
        };
        removable(&files, 50, retention, wanted_from, now_ms)
    }

    const LONG: Duration = Duration::from_secs(1_000);

    #[test]
    fn lets_go_of_what_is_covered_beyond_the_bytes_or_too_old() {
        let bytes = |bytes| Retention { bytes, age: LONG, bytes_max: u64::MAX };
        assert_eq!(removed(50, &bytes(0), None, 6_000), 5);
        assert_eq!(removed(39, &bytes(0), None, 6_000), 3, "what the baseline does not cover stays");
        assert_eq!(removed(50, &bytes(250), None, 6_000), 3, "250 bytes are left");
        assert_eq!(removed(50, &bytes(251), None, 6_000), 2);
        let age = Retention { age: Duration::from_millis(2_500), ..bytes(1_000) };
        assert_eq!(removed(50, &age, None, 6_000), 3, "those sealed at 1,000, 2,000 and 3,000 ms");
    }

    #[test]
    fn keeps_what_a_child_has_yet_to_read_up_to_the_hard_cap() {
        let retention = |bytes_max| Retention { bytes: 0, age: LONG, bytes_max };
        assert_eq!(removed(50, &retention(u64::MAX), Some(25), 6_000), 2);
        assert_eq!(removed(50, &retention(450), Some(1), 6_000), 1, "550 bytes are too many, 450 are not");
        assert_eq!(removed(50, &retention(0), Some(1), 6_000), 5);
    }
}
