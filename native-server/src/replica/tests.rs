//! The replica's disk: what was noted is what a restart finds, whole or not at all, whatever happened to the disk.

mod baselines;
mod restarts;
mod stalled;

use super::disk::{Disk, DiskState};
use super::open_disk;
use crate::log_view::LogView;
use crate::settings::Storage;
use crate::wal::file::{FileOptions, ReplicaLog};
use crate::wal::{BaselinePiece, Retention, StateFacts};
use bytes::Bytes;
use headwater_core::apply::scope_digest;
use headwater_core::command::{Line, Trust, decode, lines};
use headwater_core::digest::Digest;
use headwater_core::id::Id;
use headwater_core::node::{Node, NodeOptions, Role};
use headwater_core::position::{EpochStart, EpochTable, Position};
use headwater_core::scope::Scope;
use headwater_core::store::memory::{MemoryOptions, MemoryStore};
use headwater_core::store::{Progress, SnapshotError, Store};
use headwater_core::stream::Supply;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const EPOCH: u64 = 1_763_650_000_000;

fn storage() -> Storage {
    let retention = Retention { bytes: 0, age: Duration::ZERO, bytes_max: 0 };
    Storage { files: FileOptions::default(), retention, baseline_after_bytes: 64 << 20, archive: None }
}

fn empty() -> MemoryStore {
    MemoryStore::new(Progress::new(Scope::Everything), MemoryOptions::single_threaded(7))
}

/// A replica's state and its disk.
struct Bench {
    node: Node<MemoryStore>,
    disk: Disk,
    state: Arc<DiskState>,
    log: Arc<LogView>,
}

impl Bench {
    fn start(directory: &Path) -> Self {
        let store = empty();
        let opened = open_disk(directory, FileOptions::default(), "r", &store).unwrap();
        Self::over(store, opened)
    }

    fn over(store: MemoryStore, log: ReplicaLog) -> Self {
        Self::over_with(store, log, storage())
    }

    fn over_with(store: MemoryStore, log: ReplicaLog, storage: Storage) -> Self {
        let restored = store.progress();
        let node = Node::new(store, NodeOptions::new("r", Id::from_bytes([1; 16]), Role::Replica));
        let view = Arc::new(LogView::default());
        let state = Arc::new(DiskState::new(view.clone(), None));
        let disk = Disk::start(log, state.clone(), restored, storage).unwrap();
        Self { node, disk, state, log: view }
    }

    fn apply(&self, block: &Bytes) {
        let mut publication = self.node.publish();
        for (start, line) in lines(block) {
            let Ok(Line::Log(command)) = decode(line, Trust::Checked) else { panic!("{line:?}") };
            publication.apply(&command, block, start..start + line.len() + 1).unwrap();
        }
    }

    /// Applies the commands `from..=to` of the history and notes them.
    fn follow(&mut self, from: u64, to: u64) {
        let block = history(from, to);
        self.apply(&block);
        self.note(vec![block], false);
    }

    fn note(&mut self, lines: Vec<Bytes>, rebased: bool) {
        let store = self.node.store();
        self.disk.note(lines, rebased, store.progress(), || store.snapshot());
    }

    fn facts(&self) -> (Position, Digest) {
        facts(self.node.store())
    }
}

fn facts(store: &MemoryStore) -> (Position, Digest) {
    (store.position(), scope_digest(&store.collections().unwrap()))
}

/// Commands 1 EPOCH, 2 CREATE, then SETs of ten keys in turn.
fn history(from: u64, to: u64) -> Bytes {
    let cluster = Id::from_bytes([9; 16]);
    let mut text = String::new();
    for seq in from..=to {
        text.push_str(&match seq {
            1 => format!(
                r#"{{"type":"EPOCH","seq":1,"timestamp":{EPOCH},"epoch":{EPOCH},"cluster":"{cluster}","node":"w","requires":[]}}"#
            ),
            2 => format!(r#"{{"type":"CREATE","collection":"c","seq":2,"timestamp":{EPOCH}}}"#),
            _ => {
                let (prev, key, version) = (seq - 1, seq % 10, seq / 10 + 1);
                format!(
                    r#"{{"type":"SET","collection":"c","seq":{seq},"prev":{prev},"key":"k{key}","version":{version},"timestamp":{EPOCH},"value":{seq}}}"#
                )
            }
        });
        text.push('\n');
    }
    text.into()
}

fn restarted(directory: &Path) -> (Position, Digest) {
    let store = empty();
    open_disk(directory, FileOptions::default(), "r", &store).unwrap();
    facts(&store)
}

#[tokio::test]
async fn a_restart_finds_lines_and_progress() {
    let data = tempfile::tempdir().unwrap();
    let mut bench = Bench::start(data.path());
    bench.follow(1, 50);
    bench.follow(51, 60);
    let facts = bench.facts();
    bench.disk.end().await;
    assert_eq!(restarted(data.path()), facts);
}

#[tokio::test]
async fn a_replaced_state_is_found_whole_with_what_came_after_it() {
    let data = tempfile::tempdir().unwrap();
    let mut bench = Bench::start(data.path());
    bench.follow(1, 50);
    // Whatever the lines before it were: a baseline stands for itself.
    bench.note(Vec::new(), true);
    bench.follow(51, 70);
    let facts = bench.facts();
    bench.disk.end().await;
    assert_eq!(restarted(data.path()), facts);
    let mut again = Bench::start(data.path());
    again.follow(71, 80);
    let facts = again.facts();
    again.disk.end().await;
    assert_eq!(restarted(data.path()), facts);
}

#[tokio::test]
async fn without_a_snapshot_to_be_had_a_restart_falls_back_and_the_next_note_makes_up_for_it() {
    let data = tempfile::tempdir().unwrap();
    let mut bench = Bench::start(data.path());
    bench.follow(1, 50);
    let before = bench.facts();
    let block = history(51, 60);
    bench.apply(&block);
    let progress = bench.node.store().progress();
    bench.disk.note(Vec::new(), true, progress, || Err(SnapshotError::TooMany));
    bench.disk.end().await;
    assert_eq!(restarted(data.path()), before, "older, and not half of the newer");
    let mut bench = Bench::start(data.path());
    let progress = bench.node.store().progress();
    bench.disk.note(Vec::new(), true, progress, || Err(SnapshotError::TooMany));
    bench.follow(51, 70);
    let facts = bench.facts();
    bench.disk.end().await;
    assert_eq!(restarted(data.path()), facts);
}

#[tokio::test]
async fn a_disk_that_fails_is_left_in_peace_for_a_while() {
    let data = tempfile::tempdir().unwrap();
    let mut bench = Bench::start(data.path());
    bench.follow(1, 10);
    eventually("it is stored", || bench.state.stored().is_some_and(|stored| stored.seq == 10)).await;
    std::fs::remove_dir_all(data.path()).unwrap();
    bench.follow(11, 11);
    eventually("it is noticed", || bench.state.failures() > 0).await;
    for seq in 12..60 {
        bench.follow(seq, seq);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (failures, stored) = (bench.state.failures(), bench.state.stored());
    assert!(failures <= 2, "{failures} attempts in a quarter of a second");
    assert_eq!(stored.map(|stored| stored.seq), Some(10));
}

/// Waits until something is true, ten seconds at most.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within ten seconds: {what}");
}

#[tokio::test]
async fn streams_read_from_the_disk_only_while_it_leads_on_to_the_state() {
    let data = tempfile::tempdir().unwrap();
    let mut bench = Bench::start(data.path());
    bench.follow(1, 50);
    bench.disk.end().await;
    let mut bench = Bench::start(data.path());
    let held = history(21, 50);
    assert_eq!(bench.log.after(20).await.unwrap(), Supply::Lines { bytes: held, through: 50 });
    assert_eq!(bench.log.after(50).await.unwrap(), Supply::NotYet);
    assert_eq!(
        (bench.log.floor_up_to(50), bench.log.floor_up_to(51)),
        (Some(0), None),
        "only while it reaches to the feed"
    );
    bench.disk.doubt();
    assert_eq!((bench.log.floor_up_to(50), bench.log.after(20).await.unwrap()), (None, Supply::Gone));
    bench.disk.trust();
    assert_eq!(bench.log.floor_up_to(50), Some(0));
    // Until the copy is through, the disk still holds the older state.
    bench.note(Vec::new(), true);
    let shown = bench.log.floor_up_to(50);
    assert!(shown.is_none() || shown == Some(50), "{shown:?}");
    let log = bench.log.clone();
    bench.disk.end().await;
    assert_eq!(log.floor_up_to(50), Some(50));
    assert_eq!(bench.state.failures(), 0);
}

#[tokio::test]
async fn the_table_of_epochs_is_stored_when_it_changes_and_only_then() {
    let data = tempfile::tempdir().unwrap();
    let mut bench = Bench::start(data.path());
    let table = |count: u64| {
        let starts = (1..=count).map(|n| EpochStart { epoch: EPOCH - 2_000 + n, first: n }).collect();
        Arc::new(EpochTable::new(starts).unwrap())
    };
    let position = Position { epoch: EPOCH, seq: 1_000 };
    let progress = Progress { epochs: table(900), position, ..bench.node.store().progress() };
    bench.node.store().set_progress(&progress).unwrap();
    let mut sizes = Vec::new();
    for round in 1..=12 {
        let mut progress = bench.node.store().progress();
        progress.position.seq += 1;
        if round == 6 {
            progress.epochs = table(901);
        }
        bench.node.store().set_progress(&progress).unwrap();
        bench.note(Vec::new(), false);
        // What it takes up is told after how far it is.
        let before = sizes.last().copied();
        let is_told = || before != Some(bench.state.usage().log_bytes);
        eventually("it is stored", || bench.state.stored() == Some(progress.position) && is_told()).await;
        sizes.push(bench.state.usage().log_bytes);
    }
    let grown: Vec<_> = sizes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (round, grown) in (2..).zip(grown) {
        assert_eq!(grown > 10_000, round == 6, "{grown} bytes in round {round}");
    }
    let progress = bench.node.store().progress();
    bench.disk.end().await;
    let found = empty();
    open_disk(data.path(), FileOptions::default(), "r", &found).unwrap();
    assert_eq!(found.progress(), progress);
}

#[test]
fn a_stored_baseline_that_contradicts_itself_is_refused() {
    let begin = r#"{"type":"BASELINE_BEGIN","collection":"c","created":2}"#;
    let entry = r#"{"type":"SET","collection":"c","seq":3,"key":"k","version":1,"timestamp":1,"value":1}"#;
    let other = entry.replace(r#""k""#, r#""j""#);
    let of_another = entry.replace(r#""c""#, r#""b""#);
    let end = |keys, entries: &[&str]| {
        let mut digest = Digest::EMPTY;
        entries.iter().for_each(|entry| digest.add(Digest::of(entry.as_bytes())));
        let digest = digest.to_wire();
        format!(r#"{{"type":"BASELINE_END","collection":"c","keys":{keys},"digest":"{digest}"}}"#)
    };
    for (lines, seq, is_good) in [
        (vec![begin, entry, &end(1, &[entry])], 3, true),
        (vec![begin, &other, entry, &end(2, &[entry, &other])], 3, true),
        (vec![begin, entry, &other, &end(2, &[entry, &other])], 3, false),
        (vec![begin, entry, &end(1, &[entry])], 2, false),
        (vec![begin, &of_another, &end(1, &[&of_another])], 3, false),
        (vec![begin, entry, &end(2, &[entry])], 3, false),
        (vec![begin, entry], 3, false),
        (vec![begin, &end(1, &[entry])], 3, false),
        (vec![entry, &end(1, &[entry])], 3, false),
    ] {
        let data = tempfile::tempdir().unwrap();
        let mut log = open_disk(data.path(), FileOptions::default(), "r", &empty()).unwrap();
        let mut rebase = log.rebase(seq).unwrap();
        for line in &lines {
            rebase.push(BaselinePiece::Lines(format!("{line}\n").as_bytes())).unwrap();
        }
        let position = Position { epoch: EPOCH, seq };
        let progress = Progress { complete: true, position, ..Progress::new(Scope::Everything) }.to_json();
        rebase.push(BaselinePiece::Progress(progress.as_bytes())).unwrap();
        rebase.finish(StateFacts { seq, keys: 0, digest: String::new() }).unwrap();
        drop(log);
        assert_eq!(
            open_disk(data.path(), FileOptions::default(), "r", &empty()).is_ok(),
            is_good,
            "{lines:?} at {seq}"
        );
    }
}
