//! State directories that earlier releases wrote, in `tests/fixtures/wal`: every release opens them, finds all that was in
//! them, and goes on.
//!
//! `HEADWATER_WRITE_FIXTURES=1` writes those that are missing, by the program as it is: do that when a form gets a new
//! version, under new names, and never write an old one anew.

use headwater_tests::disk::copy;
use headwater_tests::kills::history;
use headwater_tests::wire::place;
use headwater_tests::{Client, Node, NodeBuilder, State, converge, eventually, state_of};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// All there are.
const FIXTURES: [&str; 5] =
    ["v1-writer-baseline", "v1-writer-unclean", "v1-writer-interval", "v1-replica", "v1-replica-unclean"];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/wal")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_earlier_releases_wrote_is_opened_and_gone_on_with() {
    for name in FIXTURES {
        let fixture = directory().join(name);
        if !fixture.exists() && std::env::var_os("HEADWATER_WRITE_FIXTURES").is_some() {
            write(name, &fixture).await;
        }
        let expected = fs::read(fixture.join("expected.json"));
        let expected = expected.unwrap_or_else(|error| panic!("{}: {error}", fixture.display()));
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        if name.contains("replica") {
            opens_replica(&fixture, &expected).await
        } else {
            opens_writer(&fixture, &expected).await
        }
    }
    let mut there: Vec<_> = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    there.sort();
    let mut known = FIXTURES;
    known.sort_unstable();
    assert_eq!(there, known, "each fixture is opened");
}

async fn opens_writer(fixture: &Path, expected: &Value) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    copy(&fixture.join("state"), &directory.path().join("writer/state"));
    let mut writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let client = writer.client();
    let found = state_of(&client).await.expect("nobody writes");
    assert_eq!(as_json(&found), expected["collections"], "{}", fixture.display());
    let position = expected["position"].as_str().expect("a fixture has it");
    let (then, now) = (place(position), place(&found.position));
    assert!(now.0 > then.0 && now.1 == then.1 + 1, "a new epoch begins behind {position}: {}", found.position);
    let mut lines = history(&client, expected["from"].as_str().expect("a fixture has it"), &found.position).await;
    assert_eq!(lines.pop().map(|line| line["type"].clone()), Some(json!("EPOCH")));
    assert_eq!(json!(lines), expected["lines"], "{}", fixture.display());

    assert_eq!(client.set("c", "after", "1").await.status, 200);
    writer.kill().await;
    writer.start_again().await;
    assert_eq!(client.entry("c", "after").await.json()["value"], 1);
    assert_eq!(client.entry("c", "key-0").await.status, 200);
}

async fn opens_replica(fixture: &Path, expected: &Value) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    copy(&fixture.join("state"), &directory.path().join("near/state"));
    // Nobody listens there: what it serves is what it finds.
    let mut near = NodeBuilder::replica("near", directory.path(), "http://127.0.0.1:1").start().await;
    for _ in 0..2 {
        near.ready().await;
        let found = state_of(&near.client()).await.expect("nobody writes");
        assert_eq!(as_json(&found), expected["collections"], "{}", fixture.display());
        assert_eq!(found.position, expected["position"].as_str().expect("a fixture has it"), "{}", fixture.display());
        near.kill().await;
        near.start_again().await;
    }
}

/// Digest and entries of each collection.
fn as_json(state: &State) -> Value {
    let as_value = |(digest, entries): &(String, Vec<String>)| {
        let entries: Vec<Value> =
            entries.iter().map(|entry| serde_json::from_str(entry).expect("it is JSON")).collect();
        json!({"digest": digest, "entries": entries})
    };
    let collections: BTreeMap<&str, Value> =
        state.collections.iter().map(|(name, collection)| (&**name, as_value(collection))).collect();
    json!(collections)
}

/// Writes a fixture by the program as it is.
async fn write(name: &str, fixture: &Path) {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let settings = |node: NodeBuilder| node.option("--segment-bytes", "4096").option("--baseline-after-bytes", "8192");
    let mut writer = settings(NodeBuilder::writer("writer", temporary.path()));
    if name.contains("interval") {
        writer = writer.option("--sync", "interval:60000");
    }
    let mut writer = writer.start().await;
    let mut near = settings(NodeBuilder::replica("near", temporary.path(), &writer.url)).start().await;
    near.ready().await;
    let client = writer.client();
    let from = client.position().await;
    fill(&client, 0..40).await;
    for node in [&writer, &near] {
        eventually("a baseline is stored", || async {
            let storage = node.client().status().await["storage"].clone();
            if storage["baseline"]["seq"].as_u64() > Some(1) { Ok(()) } else { Err(storage) }
        })
        .await;
    }
    fill(&client, 30..50).await;
    let state = converge(&client, &near.client()).await;
    eventually("the replica has stored it", || async {
        let stored = near.client().status().await["replication"]["storedPosition"].clone();
        if stored == *state.position { Ok(()) } else { Err(stored) }
    })
    .await;
    let lines = history(&client, &from, &state.position).await;
    for node in [&mut near, &mut writer] {
        end(node, name).await;
    }
    let node = if name.contains("replica") { &near } else { &writer };
    copy(&node.data().join("state"), &fixture.join("state"));
    if name.contains("unclean") || name.contains("interval") {
        tear(&fixture.join("state"));
    }
    let mut expected = json!({"from": from, "position": state.position, "collections": as_json(&state)});
    if !name.contains("replica") {
        expected["lines"] = json!(lines);
    }
    let text = serde_json::to_string_pretty(&expected).expect("it is JSON");
    fs::write(fixture.join("expected.json"), text + "\n").expect("the repository can be written");
}

async fn end(node: &mut Node, name: &str) {
    if name.contains("unclean") || name.contains("interval") {
        node.kill().await;
    } else {
        node.stop().await;
    }
}

/// Sets, replaces and deletes entries, one by one and in a batch, makes and drops a collection.
async fn fill(client: &Client, numbers: std::ops::Range<u32>) {
    client.create("c").await;
    client.create("gone").await;
    for number in numbers {
        let value = format!("{{\"n\":{number},\"text\":\"åß{}\"}}", "x".repeat(number as usize * 7 % 300));
        assert_eq!(client.set("c", &format!("key-{}", number % 25), &value).await.status, 200);
        assert_eq!(client.set("gone", "a", "1").await.status, 200);
        if number % 6 == 5 {
            assert_eq!(client.delete("c", &format!("key-{}", number % 25)).await.status, 200);
        }
    }
    let ops = r#"{"ops":[{"op":"set","key":"batch","value":[1.50,null]},{"op":"delete","key":"key-8"}]}"#;
    assert_eq!(client.call(Method::POST, "/v1/collections/c/batch", ops).await.status, 200);
    assert_eq!(client.call(Method::DELETE, "/v1/collections/gone", "").await.status, 200);
}

/// Puts the beginning of a frame behind the end of the segment in use, as a torn write leaves it, and some room.
fn tear(state: &Path) {
    let mut newest = PathBuf::new();
    let mut directories = vec![state.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("it was copied") {
            let path = entry.expect("it was copied").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "wal") {
                newest = newest.max(path);
            }
        }
    }
    let mut bytes = fs::read(&newest).expect("a log has a segment");
    let end = bytes.iter().rposition(|&byte| byte != 0).expect("a segment has a header") + 1;
    bytes.truncate(end);
    bytes.extend_from_slice(b"\x01\x02\x03\x04\x05\x06\x07\x08\xffHL\x01\x20");
    bytes.extend_from_slice(&[0; 100]);
    fs::write(newest, bytes).expect("it was copied");
}
