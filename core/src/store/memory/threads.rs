//! The memory store under threads that read while one writes.

use super::tests::{at, record, store_with};
use super::*;
use crate::store::Write;
use alloc::format;
use core::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const KEYS: u64 = 60;

fn key(n: u64) -> String {
    format!("{n:02}")
}

/// Raises the flag when it is dropped, by a panic too: otherwise the readers would go on for ever.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Runs `write` once, and `read` on two other threads again and again until it is done, at least once.
#[expect(clippy::disallowed_methods, reason = "what threads see is what is tested")]
fn beside(write: impl FnOnce(), read: impl Fn() + Sync) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let last = done.load(Ordering::Acquire);
                    read();
                    if last {
                        break;
                    }
                }
            });
        }
        let _done = Done(&done);
        write();
    });
}

/// A store in which seq `1` made the collection `c` and each of the following `KEYS` wrote one key.
fn filled() -> (MemoryStore, Collection) {
    let store = store_with(4, SnapshotLimits::default());
    let facts = Collection::new("c".into(), 1);
    store.apply(&Effect::Create(facts.clone()), at(1), 1).unwrap();
    (2..2 + KEYS).for_each(|seq| write_next(&store, &facts, seq));
    (store, facts)
}

/// Every seq writes the next key, round and round.
fn write_next(store: &MemoryStore, facts: &Collection, seq: u64) {
    let key = key(seq % KEYS);
    let old = store.record("c", &key).unwrap();
    let writes = [Write { key: &key, old, new: Some(record(&key, seq)) }];
    store.apply(&Effect::Write { before: facts, after: facts.clone(), writes: &writes }, at(seq), 1).unwrap();
}

#[test]
fn an_entry_is_whole_and_no_older_than_the_position_loaded_before() {
    let (store, facts) = filled();
    let write = || (2 + KEYS..40_000).for_each(|seq| write_next(&store, &facts, seq));
    beside(write, || {
        for n in 0..KEYS {
            let position = store.position().seq;
            let found = store.record("c", &key(n)).unwrap().expect("the key is never deleted");
            assert_eq!(found, record(&key(n), found.seq()));
            assert_eq!(found.seq() % KEYS, n);
            assert!(found.seq() + KEYS > position, "{} at {position}", found.seq());
        }
    });
}

/// What the state as of `seq` is: of all keys two thirds, each written by `seq`.
fn entries(seq: u64) -> impl Iterator<Item = Record> {
    (0..KEYS).filter(move |n| !(n + seq).is_multiple_of(3)).map(move |n| record(&key(n), seq))
}

/// Facts that tell of their seq as well.
fn facts(seq: u64) -> Collection {
    Collection { keys: KEYS * 2 / 3, last_seq: seq, ..Collection::new("c".into(), 1) }
}

#[test]
fn a_snapshot_shows_whole_commands_and_whole_baselines_only() {
    let store = store_with(4, SnapshotLimits::default());
    store.apply(&Effect::Create(facts(1)), at(1), 1).unwrap();
    let step = |seq: u64| {
        if seq.is_multiple_of(50) {
            store.stage().unwrap();
            store.stage_records("c", &entries(seq).collect::<Vec<_>>()).unwrap();
            store.swap(Vec::from([facts(seq)]), &Progress { position: at(seq), ..store.progress() }).unwrap();
            return;
        }
        let keys: Vec<String> = (0..KEYS).map(key).collect();
        let mut new = entries(seq).peekable();
        let writes = keys.iter().map(|key| Write {
            key,
            old: store.record("c", key).unwrap(),
            new: new.next_if(|record| record.key() == key),
        });
        let writes: Vec<_> = writes.collect();
        let effect = Effect::Write { before: &facts(seq - 1), after: facts(seq), writes: &writes };
        store.apply(&effect, at(seq), 1).unwrap();
    };
    step(2);
    beside(
        || (3..2_000).for_each(step),
        || {
            let snapshot = store.snapshot().unwrap();
            let seq = snapshot.progress().position.seq;
            assert_eq!(snapshot.collections(), [facts(seq)]);
            let mut found = Vec::new();
            let mut reached: Option<String> = None;
            loop {
                let from = reached.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
                let page = snapshot.scan("c", from, 3).unwrap();
                found.extend(page.records);
                match page.next {
                    None => break,
                    next => reached = next,
                }
            }
            assert_eq!(found, entries(seq).collect::<Vec<_>>());
        },
    );
}

#[test]
fn collections_come_and_go_under_readers() {
    let store = store_with(4, SnapshotLimits::default());
    let write = || {
        for round in 0..2_000 {
            let facts = Collection::new("c".into(), 3 * round + 1);
            store.apply(&Effect::Create(facts.clone()), at(3 * round + 1), 1).unwrap();
            write_next(&store, &facts, 3 * round + 2);
            store.apply(&Effect::Drop(&facts), at(3 * round + 3), 1).unwrap();
        }
    };
    beside(write, || {
        let snapshot = store.snapshot().unwrap();
        let seq = snapshot.progress().position.seq;
        let shown = snapshot.scan("c", Bound::Unbounded, 10).unwrap().records;
        let expected: &[u64] = if seq % 3 == 2 { &[seq] } else { &[] };
        assert_eq!(shown.iter().map(Record::seq).collect::<Vec<_>>(), expected);
        assert_eq!(snapshot.collections().len(), usize::from(!seq.is_multiple_of(3)));
    });
}
