//! What the edge worker answers: the writer's own bytes, or the writer's own word on a write.

use headwater_tests::{Client, Edge, Lines, Node, NodeBuilder, Replication, Reply, eventually};
use reqwest::Method;
use std::path::Path;

async fn pair(directory: &Path) -> (Node, Edge) {
    let writer = NodeBuilder::writer("writer", directory).start().await;
    let edge = Edge::start(directory, &writer.url).await;
    edge.ready().await;
    (writer, edge)
}

/// Sets an entry through `client` and returns the position of the write.
async fn set(client: &Client, key: &str, value: &str) -> String {
    let written = client.set("flags", key, value).await;
    assert_eq!(written.status, 200, "{}", written.text());
    written.header("headwater-position").expect("a write says where it is").to_owned()
}

/// Everything of an answer that must be the same on every node.
fn told(reply: &Reply) -> (u16, Vec<u8>, Vec<Option<String>>) {
    let names = ["content-type", "etag", "link", "allow", "retry-after", "cache-control", "headwater-position"];
    (reply.status, reply.body.clone(), names.map(|name| reply.header(name).map(str::to_owned)).into())
}

#[tokio::test]
async fn reads_are_the_writers_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, edge) = pair(directory.path()).await;
    let (at_writer, at_edge) = (writer.client(), edge.client());
    at_edge.create("flags").await;
    let mut position = String::new();
    for (key, value) in [("a", r#"{"on":true,"n":665e70}"#), ("k\0b", "1.50"), ("é\u{1f600}", r#""\ud83d\ude00""#)] {
        position = set(&at_edge, key, value).await;
    }
    eventually("the edge has the last write", || async {
        let held = at_edge.position().await;
        if held == position { Ok(()) } else { Err(held) }
    })
    .await;
    for path in [
        "/v1/collections",
        "/v1/collections/flags/keys",
        "/v1/collections/flags/keys?limit=1",
        "/v1/collections/flags/keys?prefix=k&after=a",
        "/v1/collections/flags/keys?limit=0",
        "/v1/collections/flags/keys/a",
        "/v1/collections/flags/keys/k%00b",
        "/v1/collections/flags/entry?key=%C3%A9%F0%9F%98%80",
        "/v1/collections/flags/entry?key=nothing",
        "/v1/collections/flags/entry",
        "/v1/collections/nothing/keys",
        "/v1/nothing",
        "/v1/replicate",
    ] {
        assert_eq!(told(&at_edge.get(path).await), told(&at_writer.get(path).await), "{path}");
    }
}

#[tokio::test]
async fn a_read_sees_the_callers_own_write_through_the_edge() {
    let directory = tempfile::tempdir().unwrap();
    let (_writer, edge) = pair(directory.path()).await;
    let client = edge.client();
    client.create("flags").await;
    for n in 0..50 {
        let position = set(&client, "counter", &n.to_string()).await;
        let request = client.request(Method::GET, "/v1/collections/flags/entry?key=counter");
        let read = client.send(request.header("headwater-min-position", position)).await.unwrap();
        assert_eq!(read.json()["value"], n);
    }
}

#[tokio::test]
async fn a_restart_goes_on_from_the_stored_cursor() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, mut edge) = pair(directory.path()).await;
    let client = writer.client();
    client.create("flags").await;
    let stored = set(&client, "a", "1").await;
    Replication::until(&edge.client(), "it is stored", |found| found.stored == stored).await;
    edge.kill().await;
    set(&client, "b", "2").await;
    edge.start_again().await;
    let at_edge = edge.client();
    eventually("the edge has what it missed", || async {
        let reply = at_edge.entry("flags", "b").await;
        if reply.status == 200 { Ok(()) } else { Err(reply.text().to_owned()) }
    })
    .await;
    let status = at_edge.status().await;
    assert_eq!(status["replication"]["baselines"], 0, "{status}");
}

#[tokio::test]
async fn without_its_parent_it_serves_reads_and_says_that_a_write_was_not_sent() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, edge) = pair(directory.path()).await;
    let client = edge.client();
    client.create("flags").await;
    let position = set(&client, "a", "1").await;
    eventually("the edge has it", || async {
        let held = client.position().await;
        if held == position { Ok(()) } else { Err(held) }
    })
    .await;
    writer.kill().await;
    eventually("the edge knows", || async {
        let status = client.status().await;
        let connected = status["replication"]["parent_connected"].clone();
        if connected == false { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    assert_eq!(client.entry("flags", "a").await.json()["value"], 1);
    let refused = client.set("flags", "a", "2").await;
    assert_eq!((refused.status, &*refused.code()), (502, "parent_unavailable"), "{}", refused.text());
    assert!(refused.header("headwater-lag-ms").is_some());
}

#[tokio::test]
async fn what_it_says_of_itself_has_the_members_of_every_node() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, edge) = pair(directory.path()).await;
    let near = NodeBuilder::replica("near", directory.path(), &writer.url).start().await;
    near.ready().await;
    let names = |json: serde_json::Value| json.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let metrics = async |client: &Client| names(client.get("/v1/metrics").await.json());
    assert_eq!(metrics(&edge.client()).await, metrics(&writer.client()).await);
    let (here, there) = (edge.client().status().await, near.client().status().await);
    assert_eq!(names(here["replication"].clone()), names(there["replication"].clone()));
    // What has a disk and a machine of its own tells of them.
    let of_machine = |name: &String| ["audit", "setup"].contains(&name.as_str());
    let there: Vec<_> = names(there).into_iter().filter(|name| !of_machine(name)).collect();
    assert_eq!(names(here), there);
}

#[tokio::test]
async fn what_it_hands_to_its_children_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, edge) = pair(directory.path()).await;
    writer.client().create("flags").await;
    for key in ["a", "b", "c"] {
        set(&writer.client(), key, "1").await;
    }
    let position = writer.client().position().await;
    let client = edge.client();
    eventually("the edge has it", || async {
        let held = client.position().await;
        if held == position { Ok(()) } else { Err(held) }
    })
    .await;
    let sent = async || client.get("/v1/metrics").await.json()["replication_commands_sent_total"].as_u64().unwrap();
    assert_eq!(sent().await, 0);
    let mut lines = Lines::open(&client, r#"{"node":"visitor"}"#).await.unwrap();
    lines.until("READY").await;
    assert_eq!(sent().await, 3, "entries of the baseline, and no line that steers");
    set(&writer.client(), "d", "1").await;
    lines.until("SET").await;
    assert_eq!(sent().await, 4);
}

#[tokio::test]
async fn a_write_sent_again_under_its_key_is_answered_alike_at_the_edge_and_at_the_writer() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, edge) = pair(directory.path()).await;
    let (at_writer, at_edge) = (writer.client(), edge.client());
    at_edge.create("flags").await;
    let write = async |client: &Client, keys: &[&str], method: Method, path: &str, body: &str| {
        let request = client.request(method, path).body(body.to_owned());
        let request = keys.iter().fold(request, |request, key| request.header("idempotency-key", *key));
        client.send(request).await.expect("it answers")
    };
    let entry = "/v1/collections/flags/entry?key=a%2Fb%20%C3%A9";
    let batch = "/v1/collections/flags/batch";
    for (key, method, path, body) in [
        ("1", Method::PUT, entry, r#"{"value": 1.50}"#),
        ("2", Method::POST, batch, r#"{"ops":[{"op":"set","key":"b","value":1},{"op":"set","key":"c","value":1}]}"#),
        ("3", Method::DELETE, entry, ""),
    ] {
        let first = write(&at_edge, &[key], method.clone(), path, body).await;
        assert_eq!(first.status, 200, "{}", first.text());
        for client in [&at_edge, &at_writer] {
            let again = write(client, &[key], method.clone(), path, body).await;
            assert_eq!(told(&again), told(&first), "{method} {path}");
        }
        let other = write(&at_edge, &[key], Method::PUT, entry, r#"{"value":2}"#).await;
        assert_eq!((other.status, &*other.code()), (422, "idempotency_mismatch"), "{}", other.text());
    }
    for keys in [&["a", "a"][..], &["a b"], &[""]] {
        let refused = write(&at_edge, keys, Method::PUT, entry, r#"{"value":1}"#).await;
        assert_eq!((refused.status, &*refused.code()), (400, "invalid_request"), "{keys:?}: {}", refused.text());
    }
}
