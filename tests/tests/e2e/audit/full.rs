//! A disk of the audit log's own that is full: what goes on, what does not, and what is told of it afterwards.

use crate::api::refused;
use headwater_core::api::Code;
use headwater_tests::machine::Need;
use headwater_tests::medium::Medium;
use headwater_tests::{Lines, Node, NodeBuilder, eventually};
use serde_json::Value;
use std::fs;

/// Room of the disk.
const BYTES: u64 = 1 << 20;

/// The lines in `medium`.
fn entries(medium: &Medium) -> Vec<Value> {
    let text = fs::read_to_string(medium.path().join("audit/audit-0000000001.ndjson")).expect("it is there");
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Whether status tells of trouble.
async fn is_troubled(node: &Node) -> bool {
    let status = node.client().status().await;
    status["audit"]["trouble"]["message"].as_str().is_some_and(|words| words.contains("audit log"))
}

/// Waits until every one of so many writes is noted.
async fn noted(medium: &Medium, writes: u64) {
    eventually("all that waited is there", || async {
        let sets = entries(medium).into_iter().filter(|entry| entry["op"] == "set" && entry["event"] == "write");
        let count: u64 = sets.map(|entry| entry["count"].as_u64().unwrap_or(1)).sum();
        if count == writes { Ok(()) } else { Err((count, writes)) }
    })
    .await;
}

async fn started(place: &std::path::Path, medium: &Medium) -> NodeBuilder {
    let directory = medium.path().join("audit");
    let directory = directory.to_str().expect("temporary paths are UTF-8").to_owned();
    NodeBuilder::writer("writer", place).option("--audit", &directory)
}

#[tokio::test]
async fn while_its_disk_is_full_events_wait_and_writes_go_on_and_the_gap_is_told() {
    if !Need::Mount.is_met("a full disk of the audit log") {
        return;
    }
    let (place, medium) = (tempfile::tempdir().unwrap(), Medium::memory(BYTES));
    let node = started(place.path(), &medium).await.start().await;
    let client = node.client();
    client.create("flags").await;
    medium.fill(0);
    let mut written = 0;
    // The last page of its file takes some more.
    while !is_troubled(&node).await {
        assert!(written < 100_000, "no trouble is told");
        client.fill("flags", written..written + 1).await;
        written += 1;
    }
    client.fill("flags", written..written + 10).await;
    assert_eq!(client.get("/readyz").await.status, 200);
    medium.free();
    noted(&medium, u64::from(written) + 10).await;
    assert!(!is_troubled(&node).await);
    let failed = entries(&medium).into_iter().filter(|entry| entry["event"] == "failed").count();
    assert_eq!(failed, 1, "{:?}", entries(&medium));
}

#[tokio::test]
async fn where_it_is_required_nothing_is_written_that_could_not_be_noted() {
    if !Need::Mount.is_met("a full disk of an audit log that is required") {
        return;
    }
    let (place, medium) = (tempfile::tempdir().unwrap(), Medium::memory(BYTES));
    let node = started(place.path(), &medium).await.flag("--audit-required").start().await;
    let client = node.client();
    client.create("flags").await;
    medium.fill(0);
    // Some are taken before it is noticed: those wait to be noted.
    let mut taken = 0;
    let refusal = loop {
        let reply = client.set("flags", &format!("key-{taken}"), "1").await;
        if reply.status != 200 {
            break reply;
        }
        assert!(taken < 100_000, "nothing is refused");
        taken += 1;
    };
    refused(&refusal, Code::NotReady, &["--audit-required", "audit log"]);
    let before = client.position().await;
    assert_eq!(client.entry("flags", "key-0").await.status, 200, "reads go on");
    Lines::open(&client, "").await.expect("streams go on").until("READY").await;
    assert_eq!(client.position().await, before);
    medium.free();
    eventually("writes are taken again", || async {
        let reply = client.set("flags", "after", "1").await;
        if reply.status == 200 { Ok(()) } else { Err(reply.status) }
    })
    .await;
    noted(&medium, taken + 1).await;
}
