//! What is done in one look, on a log that is made up.

use super::*;
use crate::settings::ArchivePlan;
use crate::wal::file::FileOptions;
use crate::wal::memory::{MemoryWal, RingBounds};
use crate::wal::{BoxFuture, LogReader, OpenOptions, Retention, StoredBaseline, Usage, Wal};
use headwater_core::id::Id;
use headwater_core::node::{NodeOptions, Role};
use headwater_core::position::EpochTable;
use headwater_core::repeats::Bounds;
use headwater_core::scope::Scope;
use headwater_core::store::Progress;
use headwater_core::store::memory::MemoryOptions;
use std::path::PathBuf;
use std::sync::Mutex;

/// Does nothing but note what it was asked for.
struct Asked {
    trimmed: Mutex<Vec<Option<u64>>>,
    begun: Mutex<u64>,
    trim_fails: bool,
    reader: Arc<dyn LogReader>,
}

fn full() -> OpenError {
    OpenError::Io { doing: "writing", path: "log".into(), source: io::ErrorKind::StorageFull.into() }
}

impl Keeper for Asked {
    fn usage(&self) -> Usage {
        Usage { baseline: Some(StoredBaseline { seq: 5, bytes: 0, keys: 0 }), ..Usage::default() }
    }

    fn sealed(&self) -> Vec<(u64, u64)> {
        Vec::new()
    }

    fn history(&self) -> (Option<Id>, EpochTable) {
        (None, EpochTable::default())
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::clone(&self.reader)
    }

    fn begin(&self, _: u64) -> BoxFuture<'_, Result<Box<dyn BaselineSink>, OpenError>> {
        *self.begun.lock().unwrap() += 1;
        Box::pin(async { Err(full()) })
    }

    fn trim<'a>(&'a self, _: &'a Retention, wanted_from: Option<u64>) -> BoxFuture<'a, Result<u64, OpenError>> {
        self.trimmed.lock().unwrap().push(wanted_from);
        Box::pin(async { if self.trim_fails { Err(full()) } else { Ok(0) } })
    }
}

async fn made_up(archive: Option<PathBuf>, trim_fails: bool) -> (Work, Asked, Sender<()>) {
    let store = MemoryStore::new(Progress::new(Scope::Everything), MemoryOptions::single_threaded(7));
    let node = Arc::new(Node::new(store, NodeOptions::new("n", Id::from_bytes([1; 16]), Role::Primary)));
    let state = Arc::new(LogState::new(Bounds::default()));
    let retention = Retention { bytes: 0, age: Duration::MAX, bytes_max: 0 };
    // Due as soon as there is anything.
    let archive = archive.map(|directory| ArchivePlan { directory, after: Duration::MAX });
    let storage = Storage { files: FileOptions::default(), retention, baseline_after_bytes: 0, archive };
    state.lock_bytes().count_for_tests(1);
    let opened =
        MemoryWal::new(RingBounds::default(), None).open(&OpenOptions::default(), &mut |_| Ok(())).await.unwrap();
    let (running, ended) = channel();
    let work = Work { node, state, storage, runtime: Handle::current(), ended };
    (work, Asked { trimmed: Mutex::default(), begun: Mutex::default(), trim_fails, reader: opened.reader }, running)
}

/// Looks once, on a thread that may block.
async fn look(work: Work, keeper: Asked, looks: u64) -> (Work, Asked) {
    let looking = tokio::task::spawn_blocking(move || {
        let mut attempted = Attempted::default();
        (0..looks).for_each(|_| work.look(&keeper, &mut attempted).unwrap());
        (work, keeper)
    });
    looking.await.unwrap()
}

#[tokio::test]
async fn what_fails_keeps_nothing_else_from_being_done() {
    let (work, keeper, _running) = made_up(None, false).await;
    let (work, keeper) = look(work, keeper, 3).await;
    assert_eq!(*keeper.trimmed.lock().unwrap(), [None; 3], "each time, though no baseline can be stored");
    assert_eq!(
        (*keeper.begun.lock().unwrap(), work.state.upkeep_failures()),
        (1, 1),
        "which is not tried at once again"
    );

    let (work, keeper, _running) = made_up(None, true).await;
    let (work, keeper) = look(work, keeper, 3).await;
    assert_eq!((keeper.trimmed.lock().unwrap().len(), *keeper.begun.lock().unwrap()), (1, 1));
    assert_eq!(work.state.upkeep_failures(), 2);
}

#[tokio::test]
async fn what_is_not_archived_is_wanted_whatever_the_archive_does() {
    let (work, keeper, _running) = made_up(Some("archive".into()), false).await;
    let (work, keeper) = look(work, keeper, 1).await;
    work.state.change_archived(|archived| archived.through = 41);
    let (_, keeper) = look(work, keeper, 1).await;
    assert_eq!(*keeper.trimmed.lock().unwrap(), [Some(1), Some(42)]);
}
