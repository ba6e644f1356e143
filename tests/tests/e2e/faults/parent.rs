//! A parent that stops, stalls or restarts: noticed in time, lived through, gone on from without a baseline.

use super::{PING_MS, replica, write, writer};
use headwater_local::program::Stopped;
use headwater_tests::{Lines, Load, NOTICED_WITHIN, Node, Random, Replication, converge, kills, lags_truly};
use std::path::Path;
use std::time::{Duration, Instant};

/// A writer, its replica and that one's replica, all with the same five keys.
async fn chain(directory: &Path) -> (Node, Node, Node) {
    let writer = writer(directory).await;
    let near = replica("near", directory, &writer.url).await;
    let far = replica("far", directory, &near.url).await;
    // Commands carry the writer's time: afterwards both know how short the way can be.
    write(&writer.client(), 0..5).await;
    converge(&writer.client(), &far.client()).await;
    (writer, near, far)
}

async fn lag_truly(nodes: &[&Node], cut: Instant, span: Duration) {
    let clients: Vec<_> = nodes.iter().map(|node| node.client()).collect();
    lags_truly(&clients.iter().collect::<Vec<_>>(), "/v1/collections/c/entry?key=key-0", cut, span).await;
}

/// Waits until the node follows again and is fresh, and checks how it got there.
async fn resumed(node: &Node, before: &Replication) {
    let fresh = |found: &Replication| found.connected && found.lag_ms.is_some_and(|lag| lag < 2 * PING_MS + 500);
    let found = Replication::until(&node.client(), "it is fresh again", fresh).await;
    assert_eq!(found.baselines, before.baselines, "{}: no baseline where the log has everything", node.url);
    assert_eq!((found.gaps, found.divergences), (0, 0), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_writer_is_noticed_one_and_two_hops_away() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, near, far) = chain(directory.path()).await;
    let before = [Replication::of(&near.client()).await, Replication::of(&far.client()).await];
    writer.stall();
    let cut = Instant::now();
    Replication::until(&near.client(), "the silence is noticed", |found| !found.connected).await;
    assert!(cut.elapsed() < NOTICED_WITHIN, "only after {:?}", cut.elapsed());
    lag_truly(&[&near, &far], cut, Duration::from_millis(5 * PING_MS)).await;
    assert!(Replication::of(&far.client()).await.connected, "its own parent still speaks");
    writer.go_on();
    resumed(&near, &before[0]).await;
    resumed(&far, &before[1]).await;
    write(&writer.client(), 5..8).await;
    converge(&writer.client(), &near.client()).await;
    converge(&writer.client(), &far.client()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_replica_is_noticed_by_its_own_replica() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, near, far) = chain(directory.path()).await;
    let before = Replication::of(&far.client()).await;
    near.stall();
    let cut = Instant::now();
    Replication::until(&far.client(), "the silence is noticed", |found| !found.connected).await;
    assert!(cut.elapsed() < NOTICED_WITHIN, "only after {:?}", cut.elapsed());
    lag_truly(&[&far], cut, Duration::from_millis(2 * PING_MS)).await;
    write(&writer.client(), 5..8).await;
    near.go_on();
    resumed(&far, &before).await;
    converge(&writer.client(), &far.client()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_writer_says_end_and_is_resumed_from_the_cursor() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, near, far) = chain(directory.path()).await;
    let before = [Replication::of(&near.client()).await, Replication::of(&far.client()).await];
    let mut stream = Lines::open(&writer.client(), "").await.unwrap();
    stream.until("PING").await;
    let stopped = writer.stop().await;
    let cut = Instant::now();
    assert!(matches!(stopped, Some(Stopped::Ended(status)) if status.success()), "{stopped:?}");
    let end = stream.until("END").await.pop().unwrap();
    assert_eq!((end["reason"].as_str(), end["detail"].as_str()), (Some("retry"), Some("shutdown")), "{end}");
    assert!(end["retryMs"].is_u64(), "{end}");
    assert_eq!(stream.line().await, None, "END is the last line");
    Replication::until(&near.client(), "END was seen", |found| !found.connected).await;
    lag_truly(&[&near, &far], cut, Duration::from_millis(4 * PING_MS)).await;
    assert_eq!(Replication::of(&far.client()).await.faults, before[1].faults, "a stream with END is no fault");
    writer.start_again().await;
    resumed(&near, &before[0]).await;
    resumed(&far, &before[1]).await;
    write(&writer.client(), 5..8).await;
    converge(&writer.client(), &far.client()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_under_load_loses_nothing_and_is_done_within_the_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random::announced("SIGTERM under load");
    let mut writer = writer(directory.path()).await;
    let near = replica("near", directory.path(), &writer.url).await;
    let client = writer.client();
    let first = client.position().await;
    let load = Load::start(&client, "load", 6, &mut random).await;
    for _ in 0..3 {
        load.acknowledges(50).await;
        let asked = Instant::now();
        let stopped = writer.stop().await;
        assert!(matches!(stopped, Some(Stopped::Ended(status)) if status.success()), "{stopped:?}");
        assert!(asked.elapsed() < Duration::from_secs(8), "took {:?}", asked.elapsed());
        writer.start_again().await;
    }
    load.acknowledges(1).await;
    let record = load.finish().await;
    let state = kills::settle(&client, &[near.client()]).await;
    kills::check(&client, &first, &state, &record).await;
    let found = Replication::of(&near.client()).await;
    assert_eq!((found.baselines, found.gaps), (1, 0), "{found:?}");
}

#[tokio::test]
async fn a_replica_that_stops_says_end_to_its_own_children() {
    let directory = tempfile::tempdir().unwrap();
    let (_writer, mut near, far) = chain(directory.path()).await;
    near.stop().await;
    Replication::until(&far.client(), "END was seen", |found| !found.connected).await;
    near.start_again().await;
    let found = Replication::until(&far.client(), "it follows again", |found| found.connected).await;
    assert_eq!(found.baselines, 1);
    far.says("shutdown").await;
}
