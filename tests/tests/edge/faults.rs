//! What goes wrong between the edge and its parent or its children, and what must happen then.

use headwater_tests::wire::{Script, entry, set};
use headwater_tests::{
    Client, Edge, NodeBuilder, PING_MS, Replication, Stub, behind_relay, converge, eventually, lags_truly, state_of,
    write,
};
use std::time::{Duration, Instant};

headwater_tests::fault_tests!(Edge);

#[tokio::test]
async fn without_state_it_is_not_ready_and_with_state_it_is_with_its_parent_dead() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, relay, mut edge) = behind_relay::<Edge>(directory.path()).await;
    let nobody = directory.path().join("nobody");
    let empty = Edge::start(&nobody, "http://127.0.0.1:1").await;
    let reply = Client::with_pair(&empty.url, None).get("/readyz").await;
    assert_eq!((reply.status, reply.json()["ready"].clone()), (503, false.into()), "{}", reply.text());
    let refused = empty.client().get("/v1/collections").await;
    assert!(matches!(refused.status, 502 | 503), "{}", refused.text());

    let held = state_of(&edge.client()).await.expect("nothing moves it");
    Replication::until(&edge.client(), "it is stored", |found| found.stored == held.position).await;
    writer.kill().await;
    relay.close();
    edge.kill().await;
    edge.start_again().await;
    edge.ready().await;
    assert_eq!(state_of(&edge.client()).await, Some(held));
    let reply = Client::with_pair(&edge.url, None).get("/readyz").await;
    assert_eq!(reply.json()["checks"]["parent_connected"], false, "{}", reply.text());
}

#[tokio::test]
async fn a_write_that_was_not_sent_and_one_of_unknown_outcome_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, relay, edge) = behind_relay::<Edge>(directory.path()).await;
    let client = edge.client();
    relay.lose_answers(true);
    let unknown = client.set("c", "maybe", "1").await;
    assert_eq!((unknown.status, &*unknown.code()), (503, "outcome_unknown"), "{}", unknown.text());
    assert_eq!(writer.client().entry("c", "maybe").await.status, 200, "this one did happen");
    relay.lose_answers(false);
    drop(relay);
    Replication::until(&client, "the parent is gone", |found| !found.connected).await;
    eventually("a write is known not to be sent", || async {
        let reply = client.set("c", "never", "1").await;
        if (reply.status, &*reply.code()) == (502, "parent_unavailable") {
            Ok(())
        } else {
            Err(reply.text().to_owned())
        }
    })
    .await;
    assert_eq!(writer.client().entry("c", "never").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_native_replica_follows_the_edge_and_outlives_it() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, relay, mut edge) = behind_relay::<Edge>(directory.path()).await;
    let mut far = NodeBuilder::replica("far", directory.path(), &edge.url).start().await;
    far.ready().await;
    write(&writer.client(), 3..10).await;
    converge(&writer.client(), &far.client()).await;
    // The first hop goes silent, the second hears PINGs.
    relay.silence();
    let cut = Instant::now();
    Replication::until(&edge.client(), "the edge notices", |found| !found.connected).await;
    let path = "/v1/collections/c/entry?key=key-0";
    lags_truly(&[&edge.client(), &far.client()], path, cut, Duration::from_millis(5 * PING_MS)).await;
    relay.go_on();
    write(&writer.client(), 10..12).await;
    converge(&writer.client(), &far.client()).await;
    let before = Replication::of(&far.client()).await;
    assert_eq!((before.baselines, before.gaps, before.divergences), (1, 0, 0), "{before:?}");
    edge.kill().await;
    Replication::until(&far.client(), "the edge is gone", |found| !found.connected).await;
    assert_eq!(far.client().entry("c", "key-11").await.status, 200);
    edge.start_again().await;
    far.stop().await;
    far.set_option("--parent", &edge.url);
    far.start_again().await;
    write(&writer.client(), 12..14).await;
    converge(&writer.client(), &far.client()).await;
}

#[tokio::test]
async fn another_history_gives_a_baseline_and_another_cluster_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut stub = Stub::start().await;
    let edge = Edge::start(directory.path(), &stub.url).await;
    // The object comes to be with the first request.
    assert_eq!(edge.client().get("/readyz").await.status, 503);
    let script = Script::default();
    let mut visit = stub.visit().await;
    visit.say_all(script.baseline(3, &[entry(3, "first", "1")])).await;
    edge.ready().await;
    visit.say(&set(4, 3, "lost", "2")).await;
    let client = edge.client();
    Replication::until(&client, "it holds seq 4", |found| found.position == "1000.4").await;
    drop(visit);
    let mut visit = stub.visit().await;
    assert_eq!((visit.cursor()["epoch"].as_u64(), visit.cursor()["seq"].as_u64()), (Some(1_000), Some(4)));
    let stranger = Script { cluster: "f".repeat(32), ..Script::default() };
    visit.say(&stranger.hello(9, "tail")).await;
    visit.left().await;
    let found = Replication::until(&client, "it says why", |found| found.offence == "other_cluster").await;
    assert_eq!(found.position, "1000.4");
    let mut visit = stub.visit().await;
    let deposed = Script { epoch: 900, ..Script::default() };
    visit.say(&deposed.hello(9, "tail")).await;
    visit.left().await;
    Replication::until(&client, "it says why", |found| found.offence == "stale_parent").await;
    assert_eq!(client.entry("c", "lost").await.status, 200);
    let mut visit = stub.visit().await;
    let restored = Script { epoch: 2_000, ..Script::default() };
    let mut lines = restored.baseline(3, &[entry(3, "first", "1")]);
    lines[0] = restored.hello(3, "baseline:not_on_history");
    visit.say_all(lines).await;
    Replication::until(&client, "it follows the new history", |found| found.position == "2000.3").await;
    assert_eq!(client.entry("c", "lost").await.status, 404);
}

#[tokio::test]
async fn a_later_takeover_is_followed_though_its_epoch_is_lower_and_kept_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut stub = Stub::start().await;
    let mut edge = Edge::start(directory.path(), &stub.url).await;
    assert_eq!(edge.client().get("/readyz").await.status, 503);
    // An old writer that was started again: nobody has told the object.
    let old = Script { epoch: 2_000, ..Script::default() };
    let mut visit = stub.visit().await;
    assert_eq!(visit.request.json()["takeover"], 0);
    visit.say_all(old.baseline(3, &[entry(3, "lost", "1")])).await;
    edge.ready().await;
    drop(visit);
    let new = Script { epoch: 1_500, takeover: 1_400, ..Script::default() };
    let mut visit = stub.visit().await;
    let mut lines = new.baseline(3, &[entry(3, "first", "1")]);
    lines[0] = new.hello(3, "baseline:not_on_history");
    visit.say_all(lines).await;
    let stored = |found: &Replication| found.stored == "1500.3";
    Replication::until(&edge.client(), "it follows the one who took over", stored).await;
    edge.kill().await;
    edge.start_again().await;
    edge.ready().await;
    let client = edge.client();
    drop(visit);
    let mut visit = stub.visit().await;
    assert_eq!(
        (visit.request.json()["takeover"].as_u64(), visit.cursor()["epoch"].as_u64()),
        (Some(1_400), Some(1_500))
    );
    visit.say(&old.hello(9, "tail")).await;
    visit.left().await;
    let found = Replication::until(&client, "it says why", |found| found.offence == "stale_parent").await;
    assert_eq!(found.position, "1500.3");
    assert_eq!(client.status().await["replication"]["takeover"], 1_400);
    assert_eq!((client.entry("c", "first").await.status, client.entry("c", "lost").await.status), (200, 404));
}
