//! The memory store under the suite, and what it promises beyond the trait.

use super::*;
use crate::record::Parts;
use crate::scope::Scope;
use crate::store::{Write, model};
use alloc::format;
use alloc::vec;

pub(super) fn store_with(shards: usize, snapshots: SnapshotLimits) -> MemoryStore {
    MemoryStore::new(Progress::new(Scope::Everything), MemoryOptions { shards, hash_seed: 42, snapshots })
}

pub(super) fn at(seq: u64) -> Position {
    Position { epoch: 1, seq }
}

pub(super) fn record(key: &str, seq: u64) -> Record {
    Record::new(Parts { key, value: &format!("{seq}"), seq, version: 1, timestamp: 1, extra: "" })
}

/// A store with the collection `c`, in which `keys` keys are written by the seq after the CREATE.
fn filled(keys: usize) -> (MemoryStore, Collection) {
    let store = store_with(4, SnapshotLimits::default());
    let facts = Collection::new("c".into(), 1);
    store.apply(&Effect::Create(facts.clone()), at(1), 1).unwrap();
    let names: Vec<String> = (0..keys).map(|n| format!("{n:04}")).collect();
    for name in &names {
        set(&store, &facts, record(name, 2));
    }
    (store, facts)
}

/// Writes one entry as the command that the record names.
fn set(store: &MemoryStore, facts: &Collection, new: Record) {
    let old = store.record(&facts.name, new.key()).unwrap();
    let writes = [Write { key: new.key(), old, new: Some(new.clone()) }];
    store.apply(&Effect::Write { before: facts, after: facts.clone(), writes: &writes }, at(new.seq()), 1).unwrap();
}

/// Seqs of all entries of `c` that a snapshot shows.
fn seqs(snapshot: &MemorySnapshot) -> Vec<u64> {
    snapshot.scan("c", Bound::Unbounded, usize::MAX).unwrap().records.iter().map(Record::seq).collect()
}

#[test]
fn equals_the_model() {
    for seed in 0..24 {
        let shards = [1, 3, 32][seed as usize % 3];
        model::run(store_with(shards, SnapshotLimits::default()), |store| store, seed, 1_000).unwrap();
    }
}

#[test]
fn a_snapshot_outlives_the_state_it_was_taken_of() {
    let (store, facts) = filled(3);
    let snapshot = store.snapshot().unwrap();
    store.stage().unwrap();
    store.stage_records("c", &[record("0000", 7)]).unwrap();
    store.swap(vec![facts.clone()], &Progress { position: at(7), ..store.progress() }).unwrap();
    set(&store, &facts, record("0001", 8));
    assert_eq!(seqs(&snapshot), [2, 2, 2]);
    assert_eq!(seqs(&store.snapshot().unwrap()), [7, 8]);
}

#[test]
fn a_snapshot_outlives_the_collection_it_shows() {
    let (store, facts) = filled(3);
    let snapshot = store.snapshot().unwrap();
    set(&store, &facts, record("0001", 3));
    store.apply(&Effect::Drop(&facts), at(4), 1).unwrap();
    let recreated = Collection::new("c".into(), 5);
    store.apply(&Effect::Create(recreated.clone()), at(5), 1).unwrap();
    set(&store, &recreated, record("0002", 6));
    assert_eq!(seqs(&snapshot), [2, 2, 2]);
    assert_eq!(seqs(&store.snapshot().unwrap()), [6]);
}

#[test]
fn a_closed_snapshot_is_gone() {
    let (store, _) = filled(1);
    let snapshot = store.snapshot().unwrap();
    snapshot.overlay.close();
    assert_eq!(snapshot.scan("c", Bound::Unbounded, 1), Err(SnapshotError::Gone));
}

#[test]
fn one_scan_goes_on_over_several_locks() {
    let keys = 3 * SCAN_RECORDS_MAX + 1;
    let (store, facts) = filled(keys);
    let snapshot = store.snapshot().unwrap();
    let page = snapshot.scan("c", Bound::Unbounded, keys).unwrap();
    assert_eq!((page.records.len(), page.next), (keys, None));
    let page = snapshot.scan("c", Bound::Unbounded, keys - 1).unwrap();
    assert_eq!((page.records.len(), page.next), (keys - 1, Some("0767".into())));
    // All new: nothing of it belongs to the snapshot, which ends before.
    (1000..1000 + keys).for_each(|n| set(&store, &facts, record(&format!("{n:04}"), 3)));
    assert_eq!(snapshot.scan("c", Bound::Excluded("0768"), 1).unwrap(), Page::default());
}

#[test]
fn a_replaced_value_is_freed_at_once() {
    let (store, facts) = filled(1);
    let old = store.record("c", "0000").unwrap().unwrap();
    set(&store, &facts, record("0000", 3));
    assert_eq!(old.holders(), 1);
}

#[test]
fn a_deleted_entry_is_freed_at_once() {
    let (store, facts) = filled(1);
    let old = store.record("c", "0000").unwrap();
    let writes = [Write { key: "0000", old, new: None }];
    store.apply(&Effect::Write { before: &facts, after: facts.clone(), writes: &writes }, at(3), 1).unwrap();
    assert_eq!(writes[0].old.as_ref().unwrap().holders(), 1);
}

#[test]
fn a_dropped_collection_is_freed_a_little_with_each_command() {
    let keys = 3 * RECLAIMED_PER_COMMAND;
    let (store, facts) = filled(keys);
    let held = store.snapshot().unwrap().scan("c", Bound::Unbounded, keys).unwrap().records;
    let pointers = || held.iter().map(|record| record.holders() - 1).sum::<usize>();
    assert_eq!(pointers(), 2 * keys);
    store.apply(&Effect::Drop(&facts), at(3), 1).unwrap();
    assert_eq!(pointers(), 2 * keys - RECLAIMED_PER_COMMAND);
    store.apply(&Effect::None, at(4), 1).unwrap();
    assert_eq!(pointers(), 2 * keys - 2 * RECLAIMED_PER_COMMAND);
    assert!(store.reclaim(10));
    assert!(!store.reclaim(usize::MAX));
    assert_eq!(pointers(), 0);
}

#[test]
fn replaced_states_and_abandoned_baselines_are_freed() {
    let (store, _) = filled(2);
    let old = store.record("c", "0000").unwrap().unwrap();
    let staged = record("a", 7);
    for _ in 0..2 {
        store.stage().unwrap();
        store.stage_records("c", core::slice::from_ref(&staged)).unwrap();
    }
    store.unstage().unwrap();
    store.stage().unwrap();
    store.stage_records("not in the facts", core::slice::from_ref(&staged)).unwrap();
    store.swap(Vec::new(), &store.progress()).unwrap();
    store.reclaim(usize::MAX);
    assert_eq!((old.holders(), staged.holders()), (1, 1));
    assert_eq!(store.collections().unwrap(), []);
}

#[test]
fn refuses_what_has_nothing_to_work_on() {
    let store = store_with(1, SnapshotLimits::default());
    let facts = Collection::new("c".into(), 1);
    let effect = Effect::Write { before: &facts, after: facts.clone(), writes: &[] };
    assert_eq!(store.apply(&effect, at(1), 1), Err(missing("c")));
    assert_eq!(store.position(), Position::START);
    assert_eq!(store.stage_records("c", &[]), Err(nothing_staged()));
    assert_eq!(store.swap(Vec::new(), &store.progress()), Err(nothing_staged()));
}
