//! A replica that starts again from its own disk, and a parent that sent what this release would not have.

use headwater_tests::wire::{Script, entry, now_ms, set};
use headwater_tests::{Node, NodeBuilder, Replication, Stub};
use serde_json::Value;

/// Waits until a restart would find this position.
async fn stored(node: &Node, position: &str) {
    Replication::until(&node.client(), "stored", |found| found.stored == position).await;
}

#[tokio::test]
async fn fields_behind_a_value_are_no_part_of_it_after_a_restart_either() {
    let directory = tempfile::tempdir().unwrap();
    let mut stub = Stub::start().await;
    let mut near = NodeBuilder::replica("near", directory.path(), &stub.url).start().await;
    let mut visit = stub.visit().await;
    visit.say_all(Script::default().baseline(3, &[entry(3, "first", "1")])).await;
    visit.say(&set(4, 3, "k", r#"1,"later":{"a":2}"#)).await;
    stored(&near, "1000.4").await;
    let before = near.client().entry("c", "k").await;
    assert_eq!(before.json()["value"], 1, "{}", before.text());
    near.kill().await;
    near.start_again().await;
    let after = near.client().entry("c", "k").await;
    assert_eq!(after.text(), before.text());
}

#[tokio::test]
async fn a_line_known_to_be_missing_is_not_forgotten_by_a_restart() {
    let scope = r#"{"c":["p:"]}"#;
    let narrowed = |line: String| line.replace(r#""scope":"**""#, &format!("\"scope\":{scope}"));
    let count = |seq: u64, lines: u64| format!(r#"{{"type":"PING","seq":{seq},"at":{},"lines":{lines}}}"#, now_ms());
    let directory = tempfile::tempdir().unwrap();
    let mut stub = Stub::start().await;
    let build = NodeBuilder::replica("near", directory.path(), &stub.url).option("--scope", scope);
    let mut near = build.start().await;
    let mut visit = stub.visit().await;
    visit.say_all(Script::default().baseline(3, &[entry(3, "p:1", "1")]).into_iter().map(narrowed)).await;
    visit.say(&count(3, 7)).await;
    near.ready().await;
    visit.say(&set(8, 7, "p:2", "2")).await;
    // So that nothing else is there to be stored when the count comes.
    stored(&near, "1000.8").await;
    visit.say(&count(9, 9)).await;
    visit.left().await;
    assert_eq!(stub.visit().await.cursor(), Value::Null, "only a baseline mends it");
    near.stop().await;
    near.start_again().await;
    assert_eq!(stub.visit().await.cursor(), Value::Null, "nor does a restart");
}
