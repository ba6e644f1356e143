//! kill -9 of the writer and of workerd under concurrent writes, seen from the edge.

use headwater_tests::kills::{self, check, kill_writer, settle};
use headwater_tests::{Client, Edge, Load, NodeBuilder, Random, Replication};

/// What the edge has had of its parent since it started.
async fn counts(client: &Client) -> (u64, u64, u64) {
    let found = Replication::of(client).await;
    (found.baselines, found.gaps, found.divergences)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_edge_follows_a_writer_that_is_killed_again_and_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random::announced("kill -9 of the writer, with an edge");
    let mut writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let edge = Edge::start(directory.path(), &writer.url).await;
    edge.ready().await;
    kill_writer(&mut writer, &[edge.client()], kills::rounds(25), &mut random).await;
    assert_eq!(counts(&edge.client()).await, (1, 0, 0), "one baseline at its beginning, and no fault");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_workerd_goes_on_from_its_database() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random::announced("kill -9 of workerd");
    let mut writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let mut edge = Edge::start(directory.path(), &writer.url).await;
    edge.ready().await;
    let client = writer.client();
    let first = client.position().await;
    let load = Load::start(&client, "load", 4, &mut random).await;
    for round in 0..kills::rounds(6) {
        // Long enough for the database to have some of it: it takes what is new every quarter of a second.
        load.acknowledges(1 + random.below(800)).await;
        // Every third time both go, and the edge comes back first, with nobody to ask.
        let alone = round % 3 == 2;
        if alone {
            writer.kill().await;
        }
        edge.kill().await;
        edge.start_again().await;
        edge.ready().await;
        if alone {
            let found = Replication::of(&edge.client()).await;
            assert!(!found.connected && found.connections == 0, "{found:?}");
            assert_eq!(edge.client().get("/v1/collections").await.status, 200);
            writer.start_again().await;
        }
        let found = Replication::until(&edge.client(), "it follows again", |found| found.connections == 1).await;
        assert_eq!(found.baselines, 0, "round {round}: it had everything it needed in its database");
    }
    load.acknowledges(1).await;
    let record = load.finish().await;
    let state = settle(&client, &[edge.client()]).await;
    check(&client, &first, &state, &record).await;
    assert_eq!(counts(&edge.client()).await, (0, 0, 0));
}
