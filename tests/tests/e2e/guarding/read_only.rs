//! Read-only nodes: every kind of write is refused and leaves nothing, reads and streams go on.

use crate::api::{Writer, call, position, refused};
use headwater_core::api::Code;
use headwater_tests::{Client, Lines, NodeBuilder, Reply};

/// Each request that would change something, in order.
async fn every_write(client: &Client) -> Vec<Reply> {
    let entry = Client::entry_path("flags", "a");
    let mut replies = Vec::new();
    for (method, path, body) in [
        ("PUT", &*entry, "{\"value\":2}"),
        ("POST", "/v1/collections/flags/keys/a", "{\"value\":2}"),
        ("DELETE", &*entry, ""),
        ("POST", "/v1/collections/flags/batch", "{\"ops\":[{\"op\":\"delete\",\"key\":\"a\"}]}"),
        ("POST", "/v1/collections", "{\"name\":\"more\"}"),
        ("DELETE", "/v1/collections/flags", ""),
    ] {
        replies.push(call(client, method, path, &[], body).await);
    }
    replies
}

#[tokio::test]
async fn a_read_only_writer_serves_reads_and_streams_and_takes_no_write() {
    let mut writer = Writer::start().await;
    writer.write("a", "1").await;
    let before = writer.client.position().await;
    writer.node.stop().await.expect("it runs");
    writer.node.add_flag("--read-only");
    writer.node.start_again().await;
    writer.node.says("started with --read-only").await;
    let opened = writer.client.position().await;
    for reply in every_write(&writer.client).await {
        refused(&reply, Code::ReadOnly, &["--read-only"]);
    }
    let wrong = Client::with_pair(writer.url(), Some(("dev", "wrong")));
    refused(&wrong.set("flags", "a", "2").await, Code::Forbidden, &[]);
    assert_eq!(writer.client.entry("flags", "a").await.json()["value"], 1);
    let mut stream = Lines::open(&writer.client, "").await.expect("a stream");
    stream.until("READY").await;
    let ready = writer.client.get("/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    assert_eq!(writer.client.status().await["readOnly"], true);
    assert_eq!(writer.client.position().await, opened, "a refusal adds nothing to the log");
    assert_ne!(opened, before, "an opening is a line of its own");

    writer.node.stop().await.expect("it runs");
    writer.node.take_flag("--read-only");
    writer.node.start_again().await;
    assert!(writer.client.status().await["readOnly"].is_null());
    writer.write("a", "2").await;
}

#[tokio::test]
async fn a_read_only_replica_hands_no_write_on() {
    let writer = Writer::start().await;
    let before = writer.write("a", "1").await;
    let builder = NodeBuilder::replica("reader", writer.directory.path(), writer.url()).flag("--read-only");
    let reader = builder.start().await;
    reader.ready().await;
    for reply in every_write(&reader.client()).await {
        refused(&reply, Code::ReadOnly, &["--read-only"]);
    }
    assert_eq!(writer.client.position().await, before.to_string());
    let after = writer.write("a", "2").await;
    let headers = [("headwater-min-position", &*after.to_string())];
    let reply = call(&reader.client(), "GET", &Client::entry_path("flags", "a"), &headers, "").await;
    assert_eq!((&reply.json()["value"], position(&reply)), (&serde_json::json!(2), after), "it follows");
}
