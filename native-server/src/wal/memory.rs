//! The memory log: a ring of lines that survives nothing. Every opening is a new epoch at seq 1.
//!
//! With a data directory it keeps the cluster id and the last epoch there, so that replicas of an earlier run see a later
//! epoch of the same deployment and take a baseline, instead of mistaking one history for another.

use super::error::{AppendError, OpenError, ReadError};
use super::group::Group;
use super::manifest::{Backend, Manifest};
use super::opening::{Gate, OpenOptions};
use super::storage::{Directory, Lock};
use super::{Appender, BoxFuture, Chunk, LogReader, Opened, Replay, Wal};
use bytes::{Bytes, BytesMut};
use headwater_core::id::Id;
use headwater_core::position::EpochTable;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

/// How much a memory log holds before its oldest lines go. The newest group is held however large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingBounds {
    /// Most bytes of lines.
    pub bytes_max: usize,
    /// Most lines.
    pub records_max: usize,
}

impl Default for RingBounds {
    fn default() -> Self {
        Self { bytes_max: 64 * 1024 * 1024, records_max: 1_000_000 }
    }
}

/// A log in memory.
pub struct MemoryWal {
    bounds: RingBounds,
    directory: Option<PathBuf>,
    lock: Option<Lock>,
    /// What outlives an opening within the process, and the process where there is a directory.
    cluster: Option<Id>,
    epoch: u64,
    current: Option<Arc<Ring>>,
}

impl MemoryWal {
    /// Makes a log of at most `bounds`, which keeps its identity in `directory` if there is one.
    pub fn new(bounds: RingBounds, directory: Option<&Path>) -> Self {
        Self { bounds, directory: directory.map(Path::to_path_buf), lock: None, cluster: None, epoch: 0, current: None }
    }

    fn open_now(&mut self, options: &OpenOptions) -> Result<Opened, OpenError> {
        let storage = self.directory.as_ref().map(Directory::new);
        let mut manifest = Manifest::new(Backend::Memory);
        if let Some(storage) = &storage {
            if self.lock.is_none() {
                self.lock = Some(super::file::lock(storage, options)?);
            }
            if let Some(found) = Manifest::read(storage, Backend::Memory)? {
                manifest = found;
            }
        }
        let previous = manifest.epoch.max(self.epoch);
        manifest.cluster = Some(options.decide_cluster(manifest.cluster.or(self.cluster))?);
        manifest.epoch = options.decide_epoch((previous > 0).then_some(previous))?;
        if let Some(storage) = &storage {
            manifest.write(storage)?;
        }
        (self.cluster, self.epoch) = (manifest.cluster, manifest.epoch);

        if let Some(older) = self.current.take() {
            *older.fenced.lock().unwrap_or_else(PoisonError::into_inner) = true;
        }
        let ring = Arc::new(Ring { bounds: self.bounds, held: RwLock::default(), fenced: Mutex::new(false) });
        self.current = Some(ring.clone());
        Ok(Opened {
            cluster: manifest.cluster.expect("decided above"),
            epoch: manifest.epoch,
            takeover: manifest.takeover,
            last: None,
            epochs: EpochTable::default(),
            appender: Box::new(MemoryAppender { ring: ring.clone(), gate: Gate::new(manifest.epoch, 1) }),
            reader: ring,
            keeper: None,
            recovered: None,
        })
    }
}

impl Wal for MemoryWal {
    fn open<'a>(
        &'a mut self,
        options: &'a OpenOptions,
        _replay: &'a mut Replay<'_>,
    ) -> BoxFuture<'a, Result<Opened, OpenError>> {
        Box::pin(async move { self.open_now(options) })
    }

    fn forgets(&self) -> bool {
        true
    }
}

struct Ring {
    bounds: RingBounds,
    held: RwLock<Held>,
    /// Locked for the length of an append, so that an opening waits for the one under way.
    fenced: Mutex<bool>,
}

/// Lines with consecutive seqs; the oldest is number `trimmed + 1`.
#[derive(Default)]
struct Held {
    lines: VecDeque<Bytes>,
    bytes: usize,
    trimmed: u64,
}

impl Held {
    fn last(&self) -> u64 {
        self.trimmed + self.lines.len() as u64
    }
}

impl Ring {
    fn held(&self) -> RwLockReadGuard<'_, Held> {
        // A panic while the lock was held leaves whole lines behind: each is pushed in one step.
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, group: &Group) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        for index in 0..group.len() {
            let line = group.line(index);
            held.bytes += line.len();
            held.lines.push_back(line);
        }
        let over = |held: &Held| held.bytes > self.bounds.bytes_max || held.lines.len() > self.bounds.records_max;
        while held.lines.len() > group.len() && over(&held) {
            let line = held.lines.pop_front().expect("more lines than the group's are held");
            held.bytes -= line.len();
            held.trimmed += 1;
        }
    }
}

impl LogReader for Ring {
    fn floor(&self) -> u64 {
        self.held().trimmed + 1
    }

    fn through(&self) -> u64 {
        self.held().last()
    }

    fn read(&self, from: u64, bytes_max: usize) -> BoxFuture<'_, Result<Option<Chunk>, ReadError>> {
        let held = self.held();
        let result = match from.checked_sub(held.trimmed + 1) {
            None => Err(ReadError::Trimmed { floor: held.trimmed + 1 }),
            Some(_) if from > held.last() => Ok(None),
            Some(skip) => {
                let skip = usize::try_from(skip).expect("below the number of lines held");
                let mut lines = BytesMut::new();
                let mut last = from;
                for line in held.lines.range(skip..) {
                    if !lines.is_empty() && lines.len() + line.len() > bytes_max {
                        break;
                    }
                    lines.extend_from_slice(line);
                    last += 1;
                }
                Ok(Some(Chunk { lines: lines.freeze(), through: last - 1 }))
            }
        };
        Box::pin(std::future::ready(result))
    }
}

struct MemoryAppender {
    ring: Arc<Ring>,
    gate: Gate,
}

impl Appender for MemoryAppender {
    fn append<'a>(&'a mut self, group: &'a Group) -> BoxFuture<'a, Result<(), AppendError>> {
        Box::pin(async move {
            let fenced = self.ring.fenced.lock().unwrap_or_else(PoisonError::into_inner);
            self.gate.enter(*fenced, group).map_err(AppendError::NotDone)?;
            self.ring.push(group);
            self.gate.done(group);
            Ok(())
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), OpenError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{
        TestDirectory, append, group, line, open, open_and_write, open_with, options, run,
    };
    use super::super::file::{FileOptions, FileWal};
    use super::*;

    #[test]
    fn holds_no_more_than_its_bounds_and_always_the_newest_group() {
        for bounds in
            [RingBounds { bytes_max: 1, records_max: 1000 }, RingBounds { bytes_max: 1 << 20, records_max: 4 }]
        {
            let mut wal = MemoryWal::new(bounds, None);
            let mut opened = open_and_write(&mut wal, 1000, 1);
            for first in [2, 5, 8] {
                append(&mut opened, &group(first, 3, None)).unwrap();
                let floor = opened.reader.floor();
                assert!(first - floor <= 1, "{bounds:?}: {floor} after {first}");
                let chunk = run(opened.reader.read(floor, 1 << 20)).unwrap().unwrap();
                assert_eq!(chunk.through, first + 2);
                assert!(chunk.lines.starts_with(&line(floor, (floor == 1).then_some(opened.epoch))));
                let error = run(opened.reader.read(floor - 1, 1 << 20)).unwrap_err();
                assert!(matches!(error, ReadError::Trimmed { floor: held } if held == floor), "{error}");
            }
        }
    }

    #[test]
    fn refuses_the_directory_of_a_file_log_and_the_reverse() {
        let directory = TestDirectory::new();
        drop(open_and_write(&mut FileWal::new(directory.path(), FileOptions::default()), 1000, 2));
        let mut memory = MemoryWal::new(RingBounds::default(), Some(directory.path()));
        let error = open_with(&mut memory, &options(2000)).map(|_| ()).unwrap_err();
        assert!(matches!(error, OpenError::Mismatch { .. }), "{error}");
        let directory = TestDirectory::new();
        drop(open(&mut MemoryWal::new(RingBounds::default(), Some(directory.path())), 1000));
        let error = open_with(&mut FileWal::new(directory.path(), FileOptions::default()), &options(2000))
            .map(|_| ())
            .unwrap_err();
        assert!(matches!(error, OpenError::Mismatch { .. }), "{error}");
    }

    #[test]
    fn a_second_opener_of_its_directory_is_refused() {
        let directory = TestDirectory::new();
        let mut first = MemoryWal::new(RingBounds::default(), Some(directory.path()));
        drop(open(&mut first, 1000));
        let mut second = MemoryWal::new(RingBounds::default(), Some(directory.path()));
        let error = open_with(&mut second, &options(2000)).map(|_| ()).unwrap_err();
        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    }
}
