//! A disk that takes its time: what waits for it is bounded, and what was left out is made up for.

use super::*;
use std::cell::Cell;

use crate::wal::storage::{Directory, Lock, Storage, StoredFile};
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

/// A directory in which no file can be made while its gate is held.
#[derive(Debug)]
struct Gated(Directory, Arc<Mutex<()>>);

impl Storage for Gated {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn create_directory(&self) -> io::Result<()> {
        self.0.create_directory()
    }

    fn lock(&self, holder: &str) -> io::Result<Result<Lock, String>> {
        self.0.lock(holder)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.0.names()
    }

    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn StoredFile>>> {
        self.0.open(name)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        drop(self.1.lock().unwrap());
        self.0.create(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.0.sync_directory()
    }

    fn holder(&self) -> io::Result<Option<String>> {
        self.0.holder()
    }

    fn within(&self, name: &str) -> io::Result<Arc<dyn Storage>> {
        self.0.within(name)
    }
}

#[test]
fn one_copy_of_the_state_waits_for_a_disk_that_stalls() {
    let data = tempfile::tempdir().unwrap();
    let gate = Arc::new(Mutex::new(()));
    let storage = Arc::new(Gated(Directory::new(data.path()), gate.clone()));
    let log = ReplicaLog::open_on(storage, FileOptions::default(), "r", &mut |_| Ok(())).unwrap().log;
    let mut bench = Bench::over(empty(), log);
    let held = gate.lock().unwrap();
    let copies = Cell::new(0);
    for seq in 1..=300 {
        bench.apply(&history(seq, seq));
        let store = bench.node.store();
        bench.disk.note(Vec::new(), true, store.progress(), || {
            copies.set(copies.get() + 1);
            store.snapshot()
        });
    }
    assert_eq!(copies.get(), 1, "the others would hold their places against lists and children");
    drop(held);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(bench.disk.finish(bench.node.store()));
    assert_eq!(restarted(data.path()), facts(bench.node.store()), "what was left out is stored with the end");
}
