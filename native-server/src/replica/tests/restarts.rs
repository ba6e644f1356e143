//! Whatever a parent sent, good or bad: a restart goes on with the state that was held, byte for byte.

use super::*;
use headwater_core::clock::Now;
use headwater_core::replica::{Replica, ReplicaOptions};
use headwater_core::store::Snapshot;
use headwater_core::store::scan::Scan;
use headwater_core::vectors::{Pieces, run_with};
use std::fs;
use tokio::task::JoinSet;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors");

/// How far the state is, and all of it: facts and lines. A baseline does not say which command was a collection's last.
fn state(store: &MemoryStore) -> (Progress, Vec<String>) {
    let snapshot = store.snapshot().unwrap();
    let mut held = Vec::new();
    for facts in snapshot.collections() {
        held.push(format!("{} created {} keys {} {:?}", facts.name, facts.created, facts.keys, facts.digest));
        let mut scan = Scan::under("", None);
        while let Some(records) = scan.next_page(&snapshot, &facts.name, 256).unwrap() {
            for record in records {
                let mut line = Vec::new();
                record.write_line(&facts.name, &mut line);
                held.push(String::from_utf8(line).unwrap());
            }
        }
    }
    (store.progress(), held)
}

/// Plays a vector to a replica with a disk. Returns its node, once everything noted is stored.
async fn play(vector: &[u8], pieces: Pieces, data: &Path) -> Arc<Node<MemoryStore>> {
    let store = empty();
    let opened = open_disk(data, FileOptions::default(), "r", &store).unwrap();
    let disk_state = Arc::new(DiskState::new(Arc::default(), None));
    let mut disk = Disk::start(opened, disk_state.clone(), store.progress(), storage()).unwrap();
    let mut played = None;
    run_with(store, vector, pieces, &mut |node, events| {
        disk.follow(events, node.store());
        played = Some(node.clone());
    })
    .unwrap();
    let played = played.unwrap();
    disk.finish(played.store()).await;
    assert_eq!(disk_state.failures(), 0);
    played
}

#[tokio::test]
async fn a_restart_after_any_vector_finds_the_state_that_was_held() {
    let mut names: Vec<_> = fs::read_dir(VECTORS).unwrap().map(|file| file.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|ending| ending == "ndjson"));
    assert!(names.len() > 100, "only {} vectors", names.len());
    // At the same time, for most of it is waiting for disks.
    let mut playing = JoinSet::new();
    for path in names {
        for pieces in [Pieces::Whole, Pieces::Seeded(7)] {
            let path = path.clone();
            playing.spawn(async move {
                let data = tempfile::tempdir().unwrap();
                let node = play(&fs::read(&path).unwrap(), pieces, data.path()).await;
                let found = empty();
                open_disk(data.path(), FileOptions::default(), "r", &found).unwrap();
                assert_eq!(state(&found), state(node.store()), "{}", path.display());
            });
        }
    }
    while let Some(played) = playing.join_next().await {
        played.unwrap();
    }
}

#[tokio::test]
async fn a_gap_told_by_a_count_of_lines_is_known_after_a_restart() {
    let vector = fs::read(Path::new(VECTORS).join("gap-lines.ndjson")).unwrap();
    let data = tempfile::tempdir().unwrap();
    // Byte by byte, so that nothing but the offence comes with the last line.
    play(&vector, Pieces::Bytes, data.path()).await;
    let store = empty();
    open_disk(data.path(), FileOptions::default(), "r", &store).unwrap();
    assert_eq!(store.position().seq, 8, "the line behind the gap is applied");
    let node = Arc::new(Node::new(store, NodeOptions::new("r", Id::from_bytes([1; 16]), Role::Replica)));
    let scope = node.store().progress().scope;
    let request = Replica::new(node, ReplicaOptions { scope, parents: 1 }).request(Now { wall_ms: 1, mono_ms: 1 });
    assert_eq!(request.cursor, None, "no parent could tell what is missing");
}
