//! A disk that is full, and is not any more.

use super::{build_replica, build_writer};
use headwater_tests::kills::{check_lines, settle};
use headwater_tests::machine::Need;
use headwater_tests::medium::Medium;
use headwater_tests::moment::restless;
use headwater_tests::tape::Tape;
use headwater_tests::wire::place;
use headwater_tests::{Load, Node, Random, Replication, eventually};

/// Room that is left at first: less than what is written, or than two stored baselines of the load and the log between.
const LEFT_BYTES: u64 = 120 << 10;
const BYTES: u64 = 4 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_with_a_full_disk_refuses_writes_serves_reads_and_goes_on_when_there_is_room() {
    if Need::Mount.is_met("a full disk under a writer") {
        fills_up(false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_while_a_baseline_is_stored_takes_writes_and_baselines_when_there_is_room() {
    if Need::Mount.is_met("a disk that fills up while a baseline is stored") {
        fills_up(true).await;
    }
}

/// A writer fills its disk up and is given room, under load; with `baselines`, so does what it stores beside the writes.
async fn fills_up(baselines: bool) {
    let (directory, medium) = (tempfile::tempdir().expect("a temporary directory"), Medium::memory(BYTES));
    let mut random = Random::announced("a full disk");
    medium.fill(LEFT_BYTES);
    let writer = build_writer(directory.path()).on(&medium);
    let mut writer = if baselines { restless(writer, 0) } else { writer }.start().await;
    let near = super::replica("near", directory.path(), &writer.url).await;
    let client = writer.client();
    let first = client.position().await;
    let tape = Tape::start(&client, &first);
    let load = Load::start(&client, "load", 4, &mut random).await;
    load.is_told("storage_full", 5).await;
    if baselines {
        writer.says("the log could not be shortened").await;
    }
    for path in ["/v1/collections/load/keys", "/v1/collections", "/v1/status"] {
        assert_eq!(client.get(path).await.status, 200, "reads go on: {path}");
    }
    let stored = baseline_seq(&writer).await;
    eventually("health and status say that the disk is full", || async {
        let (ready, status) = (client.get("/readyz").await.status, client.status().await);
        let trouble = &status["storage"]["trouble"];
        let is_told = trouble["message"].as_str().is_some_and(|words| words.contains("disk is full"));
        if ready == 503 && is_told && trouble["since"].is_string() { Ok(()) } else { Err((ready, status)) }
    })
    .await;
    let opened = client.status().await["replication"]["epoch"].clone();
    medium.free();
    load.acknowledges(300).await;
    assert_ne!(client.status().await["replication"]["epoch"], opened, "it was closed while there was no room");
    eventually("nothing is wrong any more", || async {
        let (ready, status) = (client.get("/readyz").await.status, client.status().await);
        if ready == 200 && status["storage"]["trouble"].is_null() { Ok(()) } else { Err((ready, status)) }
    })
    .await;
    eventually("baselines are stored as before", || async {
        let now = baseline_seq(&writer).await;
        if now > stored || !baselines { Ok(()) } else { Err(now) }
    })
    .await;
    let record = load.finish().await;
    settle(&client, &[near.client()]).await;
    // What is held now was not read back yet.
    writer.kill().await;
    writer.start_again().await;
    let state = settle(&client, &[near.client()]).await;
    check_lines(&tape.up_to(place(&state.position).1).await, &state, &record);
    let found = Replication::of(&near.client()).await;
    assert_eq!((found.gaps, found.divergences), (0, 0), "{found:?}");
    println!("{} writes acknowledged, told {:?}", record.acknowledged.len(), record.codes);
}

/// The seq of the stored baseline; `None` when there is none.
async fn baseline_seq(node: &Node) -> Option<u64> {
    node.client().status().await["storage"]["baseline"]["seq"].as_u64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_a_full_disk_serves_on_and_stores_again_when_there_is_room() {
    if !Need::Mount.is_met("a full disk under a replica") {
        return;
    }
    let (directory, medium) = (tempfile::tempdir().expect("a temporary directory"), Medium::memory(BYTES));
    let mut random = Random::announced("a full disk under a replica");
    let mut writer = build_writer(directory.path()).start().await;
    let mut near = restless(build_replica("near", directory.path(), &writer.url).on(&medium), 0).start().await;
    near.ready().await;
    let client = writer.client();
    let load = Load::start(&client, "load", 4, &mut random).await;
    load.acknowledges(20).await;
    Replication::until(&near.client(), "it has stored something", |found| place(&found.stored).1 > 1).await;
    medium.fill(0);
    let mut rounds = 0;
    while !near.log().contains("the replica's disk fell behind") {
        load.acknowledges(20).await;
        rounds += 1;
        assert!(rounds < 500, "its disk takes more than there is");
    }
    load.acknowledges(100).await;
    let aim = place(&client.position().await);
    let reaches = |position: &str| !position.is_empty() && place(position) >= aim;
    let found = Replication::until(&near.client(), "it serves on", |found| reaches(&found.position)).await;
    assert!(!reaches(&found.stored), "what it says is stored is: {found:?}");
    medium.free();
    // What was left out is made up for with what comes next.
    eventually("it stores again", || async {
        load.acknowledges(1).await;
        let found = Replication::of(&near.client()).await;
        if reaches(&found.stored) { Ok(()) } else { Err(found) }
    })
    .await;
    load.finish().await;
    let state = settle(&client, &[near.client()]).await;
    Replication::until(&near.client(), "all of it is stored", |found| found.stored == state.position).await;
    writer.kill().await;
    near.kill().await;
    near.start_again().await;
    near.ready().await;
    assert_eq!(headwater_tests::state_of(&near.client()).await, Some(state));
}
