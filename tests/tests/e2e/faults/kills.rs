//! kill -9 of the writer and of a native replica under concurrent writes.

use super::{PING_MS, build_replica, build_writer};
use headwater_tests::kills::{self, Campaign, followed_while_it_dies, goes_on_from_what_it_kept, settle};
use headwater_tests::moment::{self, restless};
use headwater_tests::wire::place;
use headwater_tests::{Load, Node, NodeBuilder, Random, Replication, converge, eventually, state_of};
use std::time::Instant;

headwater_tests::kill_tests!(Node);

/// Log that is kept though a stored baseline covers it: more than the load writes between two ends, so that nobody who
/// follows falls behind, and less than it writes in all.
pub(super) const RETAIN_BYTES: u64 = 768 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_by_killing_a_writer_that_rolls_stores_baselines_and_trims() {
    let mut random = Random::announced("kill -9 of a writer that rolls");
    for rounds in kills::campaigns() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = restless(build_writer(directory.path()), RETAIN_BYTES).start().await;
        let campaign = Campaign { rounds, trims: true };
        let mut moments = random.split();
        let end = async |writer: &mut Node| {
            moment::drawn(writer, &mut moments).await;
            writer.kill().await;
        };
        followed_while_it_dies::<Node>(directory.path(), &mut writer, campaign, &mut random, end).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replica_that_rolls_stores_baselines_and_trims_goes_on_from_what_it_kept() {
    let mut random = Random::announced("kill -9 of a replica that rolls");
    for rounds in kills::campaigns() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = build_writer(directory.path()).start().await;
        let mut near = restless(build_replica("near", directory.path(), &writer.url), 0).start().await;
        near.ready().await;
        let mut moments = random.split();
        let end = async |near: &mut Node| {
            moment::drawn(near, &mut moments).await;
            near.kill().await;
        };
        goes_on_from_what_it_kept(&mut writer, &mut near, rounds, &mut random, end).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_replica_of_a_killed_replica_goes_on_without_a_baseline() {
    let mut random = Random::announced("kill -9 in the middle of a chain");
    for rounds in kills::campaigns() {
        chain_is_broken(rounds, &mut random).await;
    }
}

async fn chain_is_broken(rounds: u64, random: &mut Random) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let writer = build_writer(directory.path()).start().await;
    let mut near = build_replica("near", directory.path(), &writer.url).start().await;
    let far = build_replica("far", directory.path(), &near.url).start().await;
    near.ready().await;
    far.ready().await;
    let client = writer.client();
    let load = Load::start(&client, "load", 4, random).await;
    for _ in 0..rounds {
        load.acknowledges(1 + random.below(100)).await;
        near.kill().await;
        near.start_again().await;
        // What it lost of its memory it has again before its child can go on.
        let aim = place(&client.position().await);
        eventually("the far end goes on", || async {
            let position = far.client().position().await;
            if !position.is_empty() && place(&position) >= aim { Ok(()) } else { Err(position) }
        })
        .await;
    }
    load.finish().await;
    settle(&client, &[near.client(), far.client()]).await;
    let found = Replication::of(&far.client()).await;
    assert_eq!((found.baselines, found.gaps, found.divergences), (1, 0, 0), "{found:?}");
}

#[tokio::test]
async fn a_replica_killed_with_its_parent_dead_comes_back_with_a_prefix_and_owns_up_to_its_age() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = super::writer(directory.path()).await;
    let mut near = super::replica("near", directory.path(), &writer.url).await;
    super::write(&writer.client(), 0..20).await;
    let before = converge(&writer.client(), &near.client()).await;
    // Its first copy of the state, of which a prefix is found again.
    Replication::until(&near.client(), "something is stored", |found| !found.stored.is_empty()).await;
    writer.kill().await;
    near.kill().await;
    let down = Instant::now();
    near.start_again().await;
    near.ready().await;
    let client = near.client();
    let found = state_of(&client).await.expect("nothing moves it");
    let (epoch, seq) = place(&found.position);
    assert_eq!(epoch, place(&before.position).0);
    // Every write made a key, so what a prefix holds is what was written up to its end.
    let prefix: Vec<&String> = before.collections["c"].1.iter().filter(|entry| seq_of(entry) <= seq).collect();
    let entries = found.collections.get("c").map_or(&[][..], |(_, entries)| entries);
    assert_eq!(entries.iter().collect::<Vec<_>>(), prefix, "at {}", found.position);
    let least = down.elapsed().as_millis() as u64;
    let lag = Replication::of(&client).await.lag_ms;
    assert!(lag.is_some_and(|lag| lag >= least), "a restart must not look fresh: {lag:?} ms after {least} ms");
}

fn seq_of(entry: &str) -> u64 {
    let entry: serde_json::Value = serde_json::from_str(entry).expect("an entry is JSON");
    entry["seq"].as_u64().expect("an entry has a seq")
}

#[tokio::test]
async fn a_replica_stopped_in_good_order_has_everything_on_its_disk() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = super::writer(directory.path()).await;
    let mut near = super::replica("near", directory.path(), &writer.url).await;
    super::write(&writer.client(), 0..50).await;
    let before = converge(&writer.client(), &near.client()).await;
    near.stop().await;
    writer.kill().await;
    near.start_again().await;
    near.ready().await;
    assert_eq!(state_of(&near.client()).await, Some(before));
}

#[tokio::test]
async fn a_killed_memory_writer_is_followed_into_its_new_history() {
    let directory = tempfile::tempdir().unwrap();
    let builder = NodeBuilder::writer("writer", directory.path()).option("--ping-ms", &PING_MS.to_string());
    let mut writer = builder.option("--wal", "memory:").start().await;
    writer.client().create("c").await;
    super::write(&writer.client(), 0..5).await;
    let near = super::replica("near", directory.path(), &writer.url).await;
    converge(&writer.client(), &near.client()).await;
    writer.kill().await;
    writer.start_again().await;
    writer.client().create("c").await;
    super::write(&writer.client(), 100..101).await;
    let state = converge(&writer.client(), &near.client()).await;
    assert_eq!(state.collections["c"].1.len(), 1, "what the memory log lost is gone everywhere");
    assert_eq!(Replication::of(&near.client()).await.baselines, 2);
}
