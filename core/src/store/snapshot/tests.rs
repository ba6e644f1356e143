//! What overlays promise, without a store under them.

use super::*;
use crate::record::Parts;
use alloc::format;
use alloc::vec;

fn record(key: &str, seq: u64) -> Record {
    Record::new(Parts { key, value: "1", seq, version: 1, timestamp: 1, extra: "" })
}

fn collection(created: u64) -> Collection {
    Collection::new("c".into(), created)
}

fn at(seq: u64) -> Position {
    Position { epoch: 1, seq }
}

/// Tells of one entry that changes from `old` to something else.
fn replace(overlays: &Overlays, key: &str, old: Option<u64>) {
    let old = old.map(|seq| record(key, seq));
    overlays.replacing(&collection(1), &[Write { key, old, new: Some(record(key, 99)) }]);
}

/// What the store holds now; a key with `+` was written since, the others were not.
fn live(keys: &[&str], next: Option<&str>) -> Page {
    let records = keys.iter().map(|key| match key.strip_prefix('+') {
        Some(key) => record(key, 99),
        None => record(key, 4),
    });
    Page { records: records.collect(), next: next.map(Into::into) }
}

/// Key and seq of each record of a merged page, and where it ends.
fn merged(overlay: &Overlay, from: Bound<&str>, live: Page, limit: usize) -> (Vec<(String, u64)>, Option<String>) {
    let page = overlay.merge("c", from, live, limit).unwrap();
    (page.records.iter().map(|record| (record.key().into(), record.seq())).collect(), page.next)
}

fn limits(open_max: usize, bytes_max: usize, bytes_total_max: usize) -> SnapshotLimits {
    SnapshotLimits { open_max, bytes_max, bytes_total_max }
}

fn is_gone(overlay: &Overlay) -> bool {
    overlay.merge("c", Bound::Unbounded, Page::default(), 1) == Err(SnapshotError::Gone)
}

/// What one collected record of the key `k` is counted as.
const COLLECTED_BYTES: usize = COLLECTED_OVERHEAD_BYTES + 1 + 2 * size_of::<usize>() + 7;

#[test]
fn shows_what_was_there_and_not_what_came() {
    let overlays = Overlays::new(SnapshotLimits::default());
    let overlay = overlays.open(at(5)).unwrap();
    replace(&overlays, "a", None);
    replace(&overlays, "b", Some(2));
    replace(&overlays, "b", Some(7));
    replace(&overlays, "d", Some(3));
    let (records, next) = merged(&overlay, Bound::Unbounded, live(&["+a", "+b", "c"], None), 10);
    assert_eq!(records, [("b".into(), 2), ("c".into(), 4), ("d".into(), 3)]);
    assert_eq!(next, None);
}

#[test]
fn a_piece_ends_where_the_live_piece_ends_or_the_limit_cuts() {
    let overlays = Overlays::new(SnapshotLimits::default());
    let overlay = overlays.open(at(5)).unwrap();
    for key in ["b", "d", "f"] {
        replace(&overlays, key, Some(2));
    }
    let (records, next) = merged(&overlay, Bound::Excluded("b"), live(&["c"], Some("e")), 10);
    assert_eq!((records, next), (vec![("c".into(), 4), ("d".into(), 2)], Some("e".into())));
    let (records, next) = merged(&overlay, Bound::Included("b"), live(&["c"], None), 2);
    assert_eq!((records, next), (vec![("b".into(), 2), ("c".into(), 4)], Some("c".into())));
    let (records, next) = merged(&overlay, Bound::Excluded("d"), live(&[], None), 1);
    assert_eq!((records, next), (vec![("f".into(), 2)], None));
}

#[test]
fn a_piece_may_be_empty_although_more_follow() {
    let overlays = Overlays::new(SnapshotLimits::default());
    let overlay = overlays.open(at(5)).unwrap();
    replace(&overlays, "a", None);
    assert_eq!(merged(&overlay, Bound::Unbounded, live(&["+a"], Some("a")), 1), (vec![], Some("a".into())));
}

#[test]
fn ignores_a_collection_created_after_it() {
    let overlays = Overlays::new(SnapshotLimits::default());
    let overlay = overlays.open(at(5)).unwrap();
    let write = Write { key: "a", old: None, new: Some(record("a", 8)) };
    overlays.replacing(&collection(6), &[write]);
    replace(&overlays, "b", Some(2));
    let (records, _) = merged(&overlay, Bound::Unbounded, live(&["a"], None), 10);
    assert_eq!(records, [("a".into(), 4), ("b".into(), 2)]);
}

#[test]
fn refuses_more_than_may_be_open_until_one_is_dropped_or_closed() {
    let overlays = Overlays::new(limits(2, 1000, 1000));
    let (first, second) = (overlays.open(at(1)).unwrap(), overlays.open(at(1)).unwrap());
    assert_eq!(overlays.open(at(1)).unwrap_err(), SnapshotError::TooMany);
    drop(first);
    let third = overlays.open(at(1)).unwrap();
    assert_eq!(overlays.open(at(1)).unwrap_err(), SnapshotError::TooMany);
    third.close();
    assert!(is_gone(&third) && !is_gone(&second));
    overlays.open(at(1)).unwrap();
}

#[test]
fn gives_up_what_outgrows_its_share_and_frees_it() {
    let overlays = Overlays::new(limits(9, COLLECTED_BYTES, 1000));
    let overlay = overlays.open_for_reader(at(5), 0).unwrap();
    replace(&overlays, "k", Some(2));
    replace(&overlays, "k", Some(7));
    assert!(!is_gone(&overlay));
    assert_eq!(overlays.readers.bytes.load(Ordering::Relaxed), COLLECTED_BYTES);
    replace(&overlays, "m", None);
    assert!(!is_gone(&overlay), "what came since takes nothing");
    replace(&overlays, "l", Some(3));
    assert!(is_gone(&overlay));
    assert_eq!(overlays.readers.bytes.load(Ordering::Relaxed), 0);
    assert!(!overlays.any_open());
}

#[test]
fn gives_up_the_oldest_when_all_together_outgrow_the_total() {
    let overlays = Overlays::new(limits(9, 10_000, 3 * COLLECTED_BYTES));
    let oldest = overlays.open_for_reader(at(5), 0).unwrap();
    replace(&overlays, "k", Some(2));
    let newer = overlays.open_for_reader(at(6), 0).unwrap();
    replace(&overlays, "l", Some(2));
    assert!(!is_gone(&oldest) && !is_gone(&newer));
    replace(&overlays, "m", Some(2));
    assert!(is_gone(&oldest) && !is_gone(&newer));
    assert_eq!(overlays.readers.bytes.load(Ordering::Relaxed), 2 * COLLECTED_BYTES);
}

#[test]
fn the_oldest_of_the_nodes_own_comes_to_an_end_whatever_is_written_and_then_the_next() {
    let overlays = Overlays::new(limits(9, COLLECTED_BYTES, 2 * COLLECTED_BYTES));
    let oldest = overlays.open(at(5)).unwrap();
    for key in ["a", "b", "c", "d"] {
        replace(&overlays, key, Some(2));
    }
    let (second, third) = (overlays.open(at(6)).unwrap(), overlays.open(at(6)).unwrap());
    replace(&overlays, "e", Some(2));
    assert!(!is_gone(&oldest) && !is_gone(&second) && !is_gone(&third), "what the oldest holds is not theirs");
    drop(oldest);
    replace(&overlays, "f", Some(2));
    assert!(!is_gone(&second) && is_gone(&third), "now the second is the oldest");
}

#[test]
fn a_detached_overlay_stays_as_it_is() {
    let overlays = Overlays::new(SnapshotLimits::default());
    let overlay = overlays.open(at(5)).unwrap();
    overlays.detach_all();
    replace(&overlays, "a", Some(2));
    assert_eq!(merged(&overlay, Bound::Unbounded, live(&["a"], None), 10).0, [("a".into(), 4)]);
}

#[test]
fn closes_all_that_follow_the_state() {
    let overlays = Overlays::new(SnapshotLimits::default());
    let (first, second) = (overlays.open(at(5)).unwrap(), overlays.open(at(5)).unwrap());
    overlays.close_all();
    assert!(is_gone(&first) && is_gone(&second));
    assert!(!is_gone(&overlays.open(at(5)).unwrap()));
}

#[test]
fn what_it_collected_is_freed_with_the_last_holder() {
    let overlays = Overlays::new(SnapshotLimits::default());
    let overlay = overlays.open(at(5)).unwrap();
    let old = record("a", 2);
    overlays.replacing(&collection(1), &[Write { key: "a", old: Some(old.clone()), new: None }]);
    assert_eq!(old.holders(), 2);
    drop(overlay);
    assert_eq!(old.holders(), 1);
    assert_eq!(overlays.own.bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn readers_and_the_node_do_not_take_each_others_place() {
    let overlays = Overlays::new(limits(1, 1000, 2 * COLLECTED_BYTES));
    let reader = overlays.open_for_reader(at(1), 0).unwrap();
    assert_eq!(overlays.open_for_reader(at(1), 0).unwrap_err(), SnapshotError::TooMany);
    let own = overlays.open(at(1)).unwrap();
    assert_eq!(overlays.open(at(1)).unwrap_err(), SnapshotError::TooMany);
    for key in ["k", "l"] {
        replace(&overlays, key, Some(0));
    }
    assert!(!is_gone(&reader) && !is_gone(&own), "each has the whole of its bytes");
    drop((reader, own));
    assert!(!overlays.any_open());
}

#[test]
fn an_old_readers_snapshot_is_given_up_when_another_reader_comes() {
    let overlays = Overlays::new(limits(2, 1000, 1000));
    let detached = overlays.open_for_reader(at(1), 5).unwrap();
    overlays.detach_all();
    let (following, own) = (overlays.open_for_reader(at(1), 1_000).unwrap(), overlays.open(at(1)).unwrap());
    let soon = READER_AGE_MS_MAX + 4;
    assert_eq!(overlays.open_for_reader(at(1), soon).unwrap_err(), SnapshotError::TooMany);
    assert!(!is_gone(&detached));
    let next = overlays.open_for_reader(at(1), soon + 1).unwrap();
    assert!(is_gone(&detached) && !is_gone(&following) && !is_gone(&own));
    drop(overlays.open_for_reader(at(1), READER_AGE_MS_MAX + 1_000).unwrap());
    assert!(is_gone(&following) && !is_gone(&own) && !is_gone(&next));
}

#[test]
fn a_copy_for_a_disk_comes_to_an_end_whatever_is_written_and_never_exceeds_what_was_there() {
    let overlays = Overlays::new(limits(1, 1, 1));
    let copy = overlays.open_for_disk(at(5)).unwrap();
    for round in 0..3 {
        for key in ["k", "l"] {
            replace(&overlays, key, Some(if round == 0 { 2 } else { 7 }));
        }
        // Keys that came and went since, any number of them.
        for came in 0..100 {
            let key = format!("came-{round}-{came}");
            replace(&overlays, &key, None);
            replace(&overlays, &key, Some(8));
        }
        assert_eq!(overlays.disk.bytes.load(Ordering::Relaxed), 2 * COLLECTED_BYTES);
    }
    let shown = merged(&copy, Bound::Unbounded, live(&["+came-0-0", "+k", "u"], None), 10).0;
    assert_eq!(shown, [("k".into(), 2), ("l".into(), 2), ("u".into(), 4)]);
    let others: Vec<_> = (1..DISK_OPEN_MAX).map(|_| overlays.open_for_disk(at(5)).unwrap()).collect();
    assert_eq!(overlays.open_for_disk(at(5)).unwrap_err(), SnapshotError::TooMany);
    assert!(overlays.open(at(5)).is_ok() && overlays.open_for_reader(at(5), 0).is_ok(), "shares of their own");
    drop((copy, others));
    assert_eq!(overlays.disk.bytes.load(Ordering::Relaxed), 0);
}
