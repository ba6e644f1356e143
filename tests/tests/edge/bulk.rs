//! A baseline of 100,000 keys into the edge's database while writes go on.

use headwater_tests::{Edge, Load, NodeBuilder, Random, Replication, bulk, eventually_within, kills};
use std::time::{Duration, Instant};

const KEYS: usize = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_keys_arrive_complete_while_writes_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random::announced("a large baseline for the edge");
    let mut writer = NodeBuilder::writer("writer", directory.path()).start().await;
    bulk::fill(&mut writer, "bulk", KEYS).await;
    let client = writer.client();
    let load = Load::start(&client, "load", 2, &mut random).await;
    load.acknowledges(20).await;
    let start = Instant::now();
    let edge = Edge::start(directory.path(), &writer.url).await;
    eventually_within(Duration::from_secs(120), "the edge is ready", || async {
        let status = edge.client().get("/readyz").await.status;
        if status == 200 { Ok(()) } else { Err(status) }
    })
    .await;
    let ready = start.elapsed();
    load.acknowledges(20).await;
    load.finish().await;
    let state = kills::settle(&client, &[edge.client()]).await;
    println!("{KEYS} keys: ready after {ready:?}, equal after {:?}", start.elapsed());
    assert_eq!(state.collections["bulk"].1.len(), KEYS);
    let found = Replication::of(&edge.client()).await;
    assert_eq!((found.baselines, found.gaps, found.divergences), (1, 0, 0), "{found:?}");
}
