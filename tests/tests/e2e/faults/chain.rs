//! Lag down a chain: counted from the writer's own clock, whatever is cut and whatever arrives late.

use super::{PING_MS, replica, write, writer};
use headwater_tests::wire::{Script, now_ms};
use headwater_tests::{LAG_PRECISION_MS, NodeBuilder, Relay, Replication, Stub, converge};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_first_hop_cut_the_second_hears_pings_and_its_lag_grows_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(directory.path()).await;
    let relay = Relay::start(&writer.url).await;
    let near = replica("near", directory.path(), &relay.url).await;
    let far = replica("far", directory.path(), &near.url).await;
    write(&writer.client(), 0..5).await;
    converge(&writer.client(), &far.client()).await;
    relay.close();
    let cut = Instant::now();
    // What comes after the cut is what nobody behind it has.
    write(&writer.client(), 5..6).await;
    Replication::until(&near.client(), "the cut is noticed", |found| !found.connected).await;
    while cut.elapsed() < Duration::from_millis(6 * PING_MS) {
        let least = cut.elapsed().as_millis() as u64;
        let found = Replication::of(&far.client()).await;
        assert!(found.connected, "its own parent goes on pinging: {found:?}");
        assert!(found.lag_ms.is_some_and(|lag| lag + LAG_PRECISION_MS >= least), "cut {least} ms ago: {found:?}");
    }
    relay.go_on();
    converge(&writer.client(), &far.client()).await;
    let fresh = |found: &Replication| found.lag_ms.is_some_and(|lag| lag < 2 * PING_MS + 500);
    let found = Replication::until(&far.client(), "fresh again", fresh).await;
    assert_eq!((found.baselines, found.connections), (1, 1), "its stream never broke: {found:?}");
}

#[tokio::test]
async fn pings_that_were_held_up_on_their_way_show_their_age() {
    let directory = tempfile::tempdir().unwrap();
    let mut stub = Stub::start().await;
    let near = NodeBuilder::replica("near", directory.path(), &stub.url).start().await;
    let script = Script::default();
    let mut visit = stub.visit().await;
    visit.say_all(script.baseline(2, &[])).await;
    let start = now_ms();
    visit.say(&script.ping(2, start, &[])).await;
    near.ready().await;
    // Older proofs are no news: the newest one counts, and ages.
    let cut = Instant::now();
    while cut.elapsed() < Duration::from_millis(700) {
        visit.say(&script.ping(2, start, &[])).await;
        let least = cut.elapsed().as_millis() as u64;
        let found = Replication::of(&near.client()).await;
        let lags = found.lag_ms.is_some_and(|lag| lag + LAG_PRECISION_MS >= least);
        assert!(lags, "the same proof for {least} ms: {found:?}");
    }
    // Proofs that come ten times slower than time passes: what is missing is lag.
    let slow = now_ms();
    while now_ms() < slow + 1_000 {
        let passed = now_ms() - slow;
        visit.say(&script.ping(2, slow + passed / 10, &[])).await;
        let found = Replication::of(&near.client()).await;
        let least = (passed - passed / 10).saturating_sub(LAG_PRECISION_MS);
        assert!(found.lag_ms.is_some_and(|lag| lag >= least), "{passed} ms: {found:?}");
    }
}
