//! Lines of a narrower scope that are missing. Those of everything are lost, repeated and altered for every kind of replica.

use super::{build_replica, reads, write};
use headwater_tests::faults::{lose_once, shown_by_the_next_line};
use headwater_tests::{Relay, Replication};

/// A replica of `scope` behind a relay that loses one line of it.
async fn loses_one_of(scope: &str) -> Replication {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let writer = super::writer(directory.path()).await;
    let relay = Relay::start(&writer.url).await;
    let near = build_replica("near", directory.path(), &relay.url).option("--scope", scope).start().await;
    near.ready().await;
    write(&writer.client(), 0..2).await;
    reads(&near.client(), "key-1", "{\"n\":1}").await;
    // The count of lines is compared between two PINGs: one must have come.
    let position = writer.client().position().await;
    Replication::until(&near.client(), "at the writer's position", |found| found.position == position).await;
    relay.rule(shown_by_the_next_line(lose_once("\"key-2\"")));
    write(&writer.client(), 2..4).await;
    reads(&near.client(), "key-3", "{\"n\":3}").await;
    reads(&near.client(), "key-2", "{\"n\":2}").await;
    Replication::of(&near.client()).await
}

#[tokio::test]
async fn a_missing_line_of_a_collection_is_noticed_by_its_predecessor() {
    let found = loses_one_of(r#"{"c":[""]}"#).await;
    assert!(found.gaps >= 1 && found.baselines == 1, "{found:?}");
}

#[tokio::test]
async fn a_missing_line_of_a_prefix_is_noticed_by_counting() {
    let found = loses_one_of(r#"{"c":["key"]}"#).await;
    assert!(found.gaps >= 1, "{found:?}");
}
