//! A scope that grows or shrinks in a replica's settings while it holds a cursor.

use super::{build_replica, reads};
use headwater_tests::{Client, Fate, Node, Relay, Replication, eventually};
use std::path::Path;

async fn writer(directory: &Path) -> Node {
    let writer = super::writer(directory).await;
    let client = writer.client();
    for (collection, key) in [("a", "eu:1"), ("a", "us:1"), ("b", "x"), ("c", "y")] {
        client.create(collection).await;
        assert_eq!(client.set(collection, key, "1").await.status, 200);
    }
    writer
}

/// The collections a node holds something of, by its status: the list of all is not a part's to answer.
async fn held(client: &Client) -> Vec<String> {
    let status = client.status().await;
    status["collections"].as_object().expect("an object").keys().cloned().collect()
}

async fn turn(near: &mut Node, scope: &str) {
    near.stop().await;
    near.set_option("--scope", scope);
    near.start_again().await;
}

#[tokio::test]
async fn what_a_narrower_scope_leaves_out_is_hidden_before_the_baseline_is_through() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(directory.path()).await;
    let relay = Relay::start(&writer.url).await;
    let build = build_replica("near", directory.path(), &relay.url).option("--scope", r#"{"a":[""],"b":[""]}"#);
    let mut near = build.start().await;
    near.ready().await;
    assert_eq!(held(&near.client()).await, ["a", "b"]);
    assert_eq!(near.client().entry("b", "x").await.status, 200);

    relay.rule(|line| if line.contains("BASELINE_BEGIN") { Fate::Hold } else { Fate::Pass });
    turn(&mut near, r#"{"a":["eu:"]}"#).await;
    let client = near.client();
    eventually("b is hidden", || async {
        let found = held(&client).await;
        if found == ["a"] { Ok(()) } else { Err(found) }
    })
    .await;
    assert_eq!(Replication::of(&client).await.baselines, 0, "the baseline is held up");
    assert!(relay.hellos().pop().unwrap().contains("\"reason\":\"scope_changed\""), "{:?}", relay.hellos());
    // What is not covered is never answered from here: it is asked of the parent, which does not answer now.
    let request = client.request(reqwest::Method::GET, &Client::entry_path("b", "x"));
    let hidden = client.send(request.timeout(std::time::Duration::from_millis(500))).await;
    assert!(!hidden.is_ok_and(|reply| reply.status == 200), "what lies outside is not answered from here");
    assert_eq!(client.entry("a", "eu:1").await.status, 200, "what both cover is served on");
    relay.honest();
    relay.go_on();
    Replication::until(&client, "the baseline is through", |found| found.baselines == 1).await;
    assert_eq!(held(&client).await, ["a"]);
    let listed = client.get("/v1/collections/a/keys?prefix=eu:").await;
    assert!(listed.text().contains("eu:1") && !listed.text().contains("us:1"), "{}", listed.text());
}

#[tokio::test]
async fn what_a_wider_scope_adds_comes_with_a_baseline() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(directory.path()).await;
    let relay = Relay::start(&writer.url).await;
    let build = build_replica("near", directory.path(), &relay.url).option("--scope", r#"{"a":["eu:"]}"#);
    let mut near = build.start().await;
    near.ready().await;
    turn(&mut near, r#"{"a":[""],"b":[""]}"#).await;
    let found = Replication::until(&near.client(), "the wider scope", |found| found.baselines == 1).await;
    assert_eq!(found.divergences, 0);
    assert!(relay.hellos().pop().unwrap().contains("\"reason\":\"scope_changed\""), "{:?}", relay.hellos());
    relay.close();
    assert_eq!(held(&near.client()).await, ["a", "b"]);
    for (collection, key) in [("a", "eu:1"), ("a", "us:1"), ("b", "x")] {
        assert_eq!(near.client().entry(collection, key).await.status, 200, "{collection} {key} is held here");
    }
    relay.go_on();
    writer.client().set("c", "outside", "1").await;
    writer.client().set("b", "x", "2").await;
    eventually("b's new value", || async {
        let found = near.client().entry("b", "x").await.text().to_owned();
        if found.contains("\"value\":2,") { Ok(()) } else { Err(found) }
    })
    .await;
}

#[tokio::test]
async fn the_same_scope_spelled_otherwise_is_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(directory.path()).await;
    let build =
        build_replica("near", directory.path(), &writer.url).option("--scope", r#"{"c":[""],"a":["eu:","eu:x"]}"#);
    let mut near = build.start().await;
    near.ready().await;
    turn(&mut near, r#"{"a":["eu:"],"c":["","k"]}"#).await;
    near.ready().await;
    writer.client().set("c", "key", "7").await;
    reads(&near.client(), "key", "7").await;
    assert_eq!(Replication::of(&near.client()).await.baselines, 0);
}
