//! What every backend must do, one function per clause; each backend runs all of them.
//!
//! A backend joins by a [`Harness`] and a line in [`suite`]. What only one backend promises is tested beside it.

use super::error::{AppendCause, AppendError, OpenError, ReadError};
use super::file::{FileOptions, FileWal};
use super::memory::{MemoryWal, RingBounds};
use super::{Group, GroupBuilder, OpenOptions, Opened, Wal};
use headwater_core::id::Id;
use headwater_core::position::{EpochStart, Position};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// One log and the way to it.
pub(super) trait Harness {
    /// The log as a process that has just started sees it; the value before is dropped first.
    fn start(&self) -> Box<dyn Wal>;

    /// Whether records are found again by the next start.
    fn keeps_records(&self) -> bool;
}

/// An empty directory that is removed with this value.
pub(super) struct TestDirectory(PathBuf);

impl TestDirectory {
    pub(super) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("headwater-wal-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestDirectory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

struct FileHarness(TestDirectory);

impl Harness for FileHarness {
    fn start(&self) -> Box<dyn Wal> {
        Box::new(FileWal::new(self.0.path().join("a/log"), FileOptions::default()))
    }

    fn keeps_records(&self) -> bool {
        true
    }
}

struct MemoryHarness(TestDirectory);

impl Harness for MemoryHarness {
    fn start(&self) -> Box<dyn Wal> {
        Box::new(MemoryWal::new(RingBounds::default(), Some(self.0.path())))
    }

    fn keeps_records(&self) -> bool {
        false
    }
}

macro_rules! suite {
    ($($clause:ident),+ $(,)?) => {
        mod file {
            $(#[test] fn $clause() { super::$clause(&super::FileHarness(super::TestDirectory::new())); })+
        }
        mod memory {
            $(#[test] fn $clause() { super::$clause(&super::MemoryHarness(super::TestDirectory::new())); })+
        }
    };
}

suite!(
    new_log_is_empty_and_numbers_from_one,
    replays_what_was_appended_byte_for_byte,
    replays_only_above_what_the_caller_holds,
    a_refused_record_stops_the_opening,
    first_record_must_open_the_epoch,
    refuses_a_group_out_of_place_and_then_everything,
    an_epoch_never_repeats,
    epoch_is_above_the_one_asked_for,
    opening_fences_the_older_appender,
    keeps_its_cluster_and_refuses_another,
    takes_a_new_cluster_when_told,
    names_the_epochs_found,
    reads_back_exactly_what_is_durable,
    chunks_keep_to_their_bound_but_hold_a_line,
);

/// Runs a future of a backend that never waits for anything but a blocking pool.
pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The records that an opening replayed.
pub(super) type Replayed = Vec<(u64, Vec<u8>, Vec<u8>, Option<u64>)>;

pub(super) fn open_with(wal: &mut dyn Wal, options: &OpenOptions) -> Result<(Opened, Replayed), OpenError> {
    let mut replayed = Vec::new();
    let mut replay = |found: super::Replayed<'_>| {
        let super::Replayed::Record(record) = found else { return Err("a baseline that nobody stored".into()) };
        replayed.push((record.seq, record.line.to_vec(), record.meta.to_vec(), record.epoch));
        Ok(())
    };
    let opened = run(wal.open(options, &mut replay))?;
    Ok((opened, replayed))
}

pub(super) fn options(now_ms: u64) -> OpenOptions {
    OpenOptions { now_ms, node: "node-a".into(), ..OpenOptions::default() }
}

pub(super) fn open(wal: &mut dyn Wal, now_ms: u64) -> (Opened, Replayed) {
    open_with(wal, &options(now_ms)).unwrap()
}

/// Ends an opening in good order, and with it all that keeps others out.
pub(super) fn close(opened: Opened) {
    run(opened.appender.close()).unwrap();
}

pub(super) fn line(seq: u64, epoch: Option<u64>) -> Vec<u8> {
    match epoch {
        Some(epoch) => format!(r#"{{"type":"EPOCH","seq":{seq},"epoch":{epoch}}}"#).into_bytes(),
        None => format!(r#"{{"type":"SET","seq":{seq},"value":"{}"}}"#, "é".repeat(seq as usize % 50)).into_bytes(),
    }
}

/// A group of `count` records from `first` on; the first opens `epoch` if one is given.
pub(super) fn group(first: u64, count: u64, epoch: Option<u64>) -> Group {
    let mut builder = GroupBuilder::default();
    for seq in first..first + count {
        let epoch = epoch.filter(|_| seq == first);
        builder.push(seq, epoch, format!("meta {seq}").as_bytes(), |buffer| {
            buffer.extend_from_slice(&line(seq, epoch));
            buffer.extend_from_slice(b"\n");
        });
    }
    builder.finish()
}

pub(super) fn append(opened: &mut Opened, group: &Group) -> Result<(), AppendError> {
    run(opened.appender.append(group))
}

/// Opens the log and writes `count` records, EPOCH first, as two groups.
pub(super) fn open_and_write(wal: &mut dyn Wal, now_ms: u64, count: u64) -> Opened {
    let (mut opened, _) = open(wal, now_ms);
    let first = opened.next_seq();
    let epoch = opened.epoch;
    append(&mut opened, &group(first, 1, Some(epoch))).unwrap();
    if count > 1 {
        append(&mut opened, &group(first + 1, count - 1, None)).unwrap();
    }
    opened
}

fn new_log_is_empty_and_numbers_from_one(harness: &dyn Harness) {
    let mut wal = harness.start();
    let (opened, replayed) = open(&mut *wal, 1000);
    assert_eq!((opened.last, opened.next_seq(), opened.epoch), (None, 1, 1000));
    assert_eq!((replayed.len(), opened.epochs.starts().len(), opened.recovered), (0, 0, None));
    assert_eq!(opened.reader.floor(), 1);
    assert_eq!(run(opened.reader.read(1, 100)).unwrap(), None);
}

fn replays_what_was_appended_byte_for_byte(harness: &dyn Harness) {
    drop(open_and_write(&mut *harness.start(), 1000, 100));
    let (opened, replayed) = open(&mut *harness.start(), 2000);
    if !harness.keeps_records() {
        assert_eq!((opened.last, replayed.len()), (None, 0));
        return;
    }
    assert_eq!(opened.last, Some(Position { epoch: 1000, seq: 100 }));
    let expected: Replayed = (1..=100)
        .map(|seq| {
            let epoch = (seq == 1).then_some(1000);
            (seq, line(seq, epoch), format!("meta {seq}").into_bytes(), epoch)
        })
        .collect();
    assert_eq!(replayed, expected);
}

fn replays_only_above_what_the_caller_holds(harness: &dyn Harness) {
    drop(open_and_write(&mut *harness.start(), 1000, 10));
    let (opened, replayed) = open_with(&mut *harness.start(), &OpenOptions { replay_after: 7, ..options(1) }).unwrap();
    if harness.keeps_records() {
        assert_eq!(replayed.iter().map(|record| record.0).collect::<Vec<_>>(), [8, 9, 10]);
        assert_eq!(opened.next_seq(), 11);
    }
}

fn a_refused_record_stops_the_opening(harness: &dyn Harness) {
    drop(open_and_write(&mut *harness.start(), 1000, 10));
    let mut refuse = |found: super::Replayed<'_>| match found {
        super::Replayed::Record(record) if record.seq == 4 => Err("no such feature".into()),
        _ => Ok(()),
    };
    let mut wal = harness.start();
    match run(wal.open(&options(2000), &mut refuse)) {
        Err(OpenError::Refused { seq: 4, .. }) => assert!(harness.keeps_records()),
        Ok(_) => assert!(!harness.keeps_records()),
        Err(other) => panic!("{other}"),
    }
}

fn first_record_must_open_the_epoch(harness: &dyn Harness) {
    for epoch in [None, Some(999), Some(1001)] {
        let mut wal = harness.start();
        let (mut opened, _) = open(&mut *wal, 1000);
        let epoch = epoch.map(|epoch| opened.epoch + epoch - 1000);
        let error = append(&mut opened, &group(1, 1, epoch)).unwrap_err();
        assert!(matches!(error, AppendError::NotDone(AppendCause::OutOfPlace(_))), "{error}");
    }
    let mut wal = harness.start();
    let mut opened = open_and_write(&mut *wal, 1000, 1);
    let epoch = opened.epoch;
    let error = append(&mut opened, &group(2, 1, Some(epoch))).unwrap_err();
    assert!(matches!(error, AppendError::NotDone(AppendCause::OutOfPlace(_))), "{error}");
}

fn refuses_a_group_out_of_place_and_then_everything(harness: &dyn Harness) {
    for seq in [1, 9, 11, 12] {
        let mut wal = harness.start();
        let mut opened = open_and_write(&mut *wal, 1000, 9);
        let head = opened.next_seq() + 8;
        let out_of_place = if seq < 10 { head } else { head + 2 };
        let error = append(&mut opened, &group(out_of_place, 2, None)).unwrap_err();
        assert!(matches!(error, AppendError::NotDone(AppendCause::OutOfPlace(_))), "{error}");
        let error = append(&mut opened, &group(head + 1, 1, None)).unwrap_err();
        assert!(matches!(error, AppendError::NotDone(AppendCause::Poisoned)), "{error}");
        assert_eq!(run(opened.reader.read(head + 1, 100)).unwrap(), None);
    }
    let mut wal = harness.start();
    let (mut opened, _) = open(&mut *wal, 1000);
    assert!(append(&mut opened, &Group::default()).is_err());
}

fn an_epoch_never_repeats(harness: &dyn Harness) {
    let mut epochs = Vec::new();
    for write in [true, false, false, true, false] {
        // The clock stands still, and not every opening writes something.
        let mut wal = harness.start();
        let (mut opened, _) = open(&mut *wal, 1000);
        let (first, epoch) = (opened.next_seq(), opened.epoch);
        if write {
            append(&mut opened, &group(first, 1, Some(epoch))).unwrap();
        }
        epochs.push(epoch);
        epochs.push(open(&mut *wal, 1000).0.epoch);
    }
    assert!(epochs.windows(2).all(|pair| pair[0] < pair[1] && pair[1] <= pair[0] + (1 << 20)), "{epochs:?}");
    assert_eq!(epochs[0], 1000);
}

fn epoch_is_above_the_one_asked_for(harness: &dyn Harness) {
    let mut wal = harness.start();
    let (opened, _) = open_with(&mut *wal, &OpenOptions { epoch_above: Some(5_000), ..options(1000) }).unwrap();
    assert!(opened.epoch > 5_000);
    let (opened, _) = open_with(&mut *wal, &OpenOptions { epoch_above: Some(7), ..options(5_000_000) }).unwrap();
    assert_eq!(opened.epoch, 5_000_000);
}

fn opening_fences_the_older_appender(harness: &dyn Harness) {
    let mut wal = harness.start();
    let mut older = open_and_write(&mut *wal, 1000, 5);
    let mut newer = open_and_write(&mut *wal, 2000, 5);
    let error = append(&mut older, &group(6, 1, None)).unwrap_err();
    assert!(matches!(error, AppendError::NotDone(AppendCause::Fenced)), "{error}");
    let next = newer.next_seq() + 5;
    append(&mut newer, &group(next, 1, None)).unwrap();
    assert!(run(older.reader.read(1, 1 << 20)).unwrap().is_some_and(|chunk| chunk.through == 5));
}

fn keeps_its_cluster_and_refuses_another(harness: &dyn Harness) {
    let first = Id::from_bytes([1; 16]);
    let opened = open_with(&mut *harness.start(), &OpenOptions { cluster: Some(first), ..options(1000) }).unwrap().0;
    assert_eq!(opened.cluster, first);
    drop(opened);
    assert_eq!(open(&mut *harness.start(), 1000).0.cluster, first);
    let other = OpenOptions { cluster: Some(Id::from_bytes([2; 16])), ..options(1000) };
    let error = open_with(&mut *harness.start(), &other).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::OtherCluster { found, .. } if found == first), "{error}");
}

fn takes_a_new_cluster_when_told(harness: &dyn Harness) {
    let first = open(&mut *harness.start(), 1000).0.cluster;
    let renewed = OpenOptions { new_cluster: true, ..options(1000) };
    let second = open_with(&mut *harness.start(), &renewed).unwrap().0.cluster;
    assert_ne!(first, second);
    assert_eq!(open(&mut *harness.start(), 1000).0.cluster, second);
}

fn names_the_epochs_found(harness: &dyn Harness) {
    for now_ms in [1000, 2000] {
        drop(open_and_write(&mut *harness.start(), now_ms, 3));
    }
    drop(open(&mut *harness.start(), 3000));
    let (opened, _) = open(&mut *harness.start(), 4000);
    let expected: &[EpochStart] = if harness.keeps_records() {
        &[EpochStart { epoch: 1000, first: 1 }, EpochStart { epoch: 2000, first: 4 }]
    } else {
        &[]
    };
    assert_eq!(opened.epochs.starts(), expected);
}

fn reads_back_exactly_what_is_durable(harness: &dyn Harness) {
    let mut wal = harness.start();
    let mut opened = open_and_write(&mut *wal, 1000, 20);
    let reader = opened.reader.clone();
    append(&mut opened, &group(21, 3, None)).unwrap();
    for from in 1..=23 {
        let chunk = run(reader.read(from, 1 << 20)).unwrap().unwrap();
        let expected: Vec<u8> =
            (from..=23).flat_map(|seq| [line(seq, (seq == 1).then_some(1000)), b"\n".to_vec()].concat()).collect();
        assert_eq!((&chunk.lines[..], chunk.through), (&expected[..], 23));
    }
    assert_eq!((run(reader.read(24, 1 << 20)).unwrap(), reader.through()), (None, 23));
    let error = run(reader.read(0, 1 << 20)).unwrap_err();
    assert!(matches!(error, ReadError::Trimmed { floor: 1 }), "{error}");
}

fn chunks_keep_to_their_bound_but_hold_a_line(harness: &dyn Harness) {
    let mut wal = harness.start();
    let opened = open_and_write(&mut *wal, 1000, 20);
    for bound in [0, 1, 50, 100, 300] {
        let mut next = 1;
        while let Some(chunk) = run(opened.reader.read(next, bound)).unwrap() {
            let lines = chunk.lines.iter().filter(|&&byte| byte == b'\n').count() as u64;
            assert_eq!(lines, chunk.through + 1 - next, "{bound}");
            assert!(lines == 1 || chunk.lines.len() <= bound, "{bound}");
            next = chunk.through + 1;
        }
        assert_eq!(next, 21, "{bound}");
    }
}
