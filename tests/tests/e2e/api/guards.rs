//! Entity tags: reads that need not be repeated, and writes that must not overwrite.

use super::{Writer, answered, call, refused};
use headwater_core::api::Code;
use headwater_tests::{Client, Reply};

/// Asserts a 412 that tells what is there: its version and its tag, in the body and as header.
fn failed(reply: &Reply, current: Option<(u64, &str)>) {
    refused(reply, Code::PreconditionFailed, &["condition"]);
    let body = reply.json();
    assert_eq!(body.get("version").and_then(serde_json::Value::as_u64), current.map(|(version, _)| version));
    assert_eq!(body.get("etag").and_then(|etag| etag.as_str()), current.map(|(_, tag)| tag));
    assert_eq!(reply.header("etag"), current.map(|(_, tag)| tag));
}

async fn tag(client: &Client, key: &str) -> String {
    client.entry("flags", key).await.header("etag").expect("an entry has a tag").to_owned()
}

#[tokio::test]
async fn an_unchanged_entry_is_not_sent_again() {
    let writer = Writer::start().await;
    let seq = writer.write("a", "1").await.seq;
    let (client, path) = (&writer.client, Client::entry_path("flags", "a"));
    let entry = client.get(&path).await;
    let tag = entry.header("etag").unwrap();
    let updated_ms = tag.trim_matches('"').split_once('-').unwrap();
    assert_eq!(updated_ms.0, seq.to_string());
    let shown = headwater_core::api::rfc3339(updated_ms.1.parse().unwrap());
    assert_eq!(entry.json()["updatedAt"].as_str(), Some(&*shown));

    for path in [&*path, "/v1/collections/flags/keys/a"] {
        for header in [tag, "*", &format!("\"1-1\", {tag}"), &format!("W/{tag}")] {
            let reply = call(client, "GET", path, &[("if-none-match", header)], "").await;
            assert_eq!((reply.status, reply.body.len()), (304, 0), "{header}");
            assert_eq!(reply.header("etag"), Some(tag));
            super::position(&reply);
        }
        for header in ["\"1-1\"", "\"\"", "\"1-1\", \"2-2\""] {
            let reply = call(client, "GET", path, &[("if-none-match", header)], "").await;
            assert_eq!((reply.status, &reply.body), (200, &entry.body), "{header}");
        }
    }
    writer.write("a", "1").await;
    let reply = call(client, "GET", &path, &[("if-none-match", tag)], "").await;
    assert_eq!(reply.status, 200, "the same value written again is another write");
    refused(
        &call(client, "GET", &Client::entry_path("flags", "b"), &[("if-none-match", "*")], "").await,
        Code::NotFound,
        &[],
    );
}

#[tokio::test]
async fn if_match_writes_over_what_was_read_only() {
    let writer = Writer::start().await;
    let (client, path) = (&writer.client, Client::entry_path("flags", "a"));
    writer.write("a", "1").await;
    let old = tag(client, "a").await;
    writer.write("a", "2").await;
    let new = tag(client, "a").await;
    let before = client.position().await;
    for header in [&*old, "\"1-1\"", "\"\"", &format!("{old}, \"1-1\"")] {
        failed(&call(client, "PUT", &path, &[("if-match", header)], "{\"value\":3}").await, Some((2, &new)));
        failed(&call(client, "DELETE", &path, &[("if-match", header)], "").await, Some((2, &new)));
        let body = format!("{{\"value\":3,\"ifMatch\":{}}}", serde_json::to_string(header).unwrap());
        failed(&call(client, "POST", &path, &[], &body).await, Some((2, &new)));
    }
    assert_eq!(client.position().await, before, "a refusal takes no number");
    let reply = call(client, "PUT", &path, &[("if-match", &new)], "{\"value\":3}").await;
    assert_eq!((reply.status, reply.json()["version"].as_u64()), (200, Some(3)));
    let body = format!("{{\"ifMatch\":{},\"value\":4}}", serde_json::to_string(&tag(client, "a").await).unwrap());
    assert_eq!(call(client, "POST", &path, &[], &body).await.json()["version"].as_u64(), Some(4));
    let reply = call(client, "PUT", &path, &[("if-match", "*")], "{\"value\":5}").await;
    assert_eq!(reply.json()["version"].as_u64(), Some(5));
    let several = format!("\"1-1\", {}", tag(client, "a").await);
    assert_eq!(call(client, "DELETE", &path, &[("if-match", &several)], "").await.json()["version"].as_u64(), Some(6));
    // Nothing is there now: nothing matches.
    for header in ["*", &new] {
        failed(&call(client, "PUT", &path, &[("if-match", header)], "{\"value\":6}").await, None);
        failed(&call(client, "DELETE", &path, &[("if-match", header)], "").await, None);
    }
}

#[tokio::test]
async fn if_none_match_creates_only() {
    let writer = Writer::start().await;
    let client = &writer.client;
    for (key, headers, body) in [
        ("a", &[("if-none-match", "*")][..], "{\"value\":1}"),
        ("b", &[], "{\"value\":1,\"ifAbsent\":true}"),
        ("c", &[("if-none-match", "*")], "{\"value\":1,\"ifAbsent\":true}"),
    ] {
        let path = Client::entry_path("flags", key);
        assert_eq!(call(client, "PUT", &path, headers, body).await.json()["version"].as_u64(), Some(1), "{key}");
        let (current, before) = (tag(client, key).await, client.position().await);
        failed(&call(client, "PUT", &path, headers, body).await, Some((1, &current)));
        failed(&call(client, "POST", &path, headers, body).await, Some((1, &current)));
        assert_eq!(client.position().await, before);
        // Deleted, it may be created again, with version 1.
        assert_eq!(client.delete("flags", key).await.status, 200);
        assert_eq!(call(client, "PUT", &path, headers, body).await.json()["version"].as_u64(), Some(1), "{key}");
    }
    let path = Client::entry_path("flags", "a");
    let current = tag(client, "a").await;
    failed(&call(client, "PUT", &path, &[("if-none-match", &current)], "{\"value\":2}").await, Some((1, &current)));
    let reply = call(client, "PUT", &path, &[("if-none-match", "\"1-1\"")], "{\"value\":2,\"ifAbsent\":false}").await;
    assert_eq!(reply.json()["version"].as_u64(), Some(2));
}

#[tokio::test]
async fn a_condition_that_cannot_be_read_is_refused_and_named() {
    let writer = Writer::start().await;
    writer.write("a", "1").await;
    let (client, path) = (&writer.client, Client::entry_path("flags", "a"));
    let (current, before) = (tag(client, "a").await, client.position().await);
    for header in ["1-1", "\"1-1", "'1-1'", "\"1-1\",", "*, \"1-1\"", "", "w/\"1-1\""] {
        for name in ["if-match", "if-none-match"] {
            let reply = call(client, "PUT", &path, &[(name, header)], "{\"value\":2}").await;
            refused(&reply, Code::InvalidRequest, &[]);
            assert!(reply.text().to_lowercase().contains(name), "{}", reply.text());
        }
        refused(&call(client, "GET", &path, &[("if-none-match", header)], "").await, Code::InvalidRequest, &[]);
        let list = call(client, "GET", "/v1/collections/flags/keys", &[("if-none-match", header)], "").await;
        refused(&list, Code::InvalidRequest, &[]);
    }
    // Two that say different things.
    let body = "{\"value\":2,\"ifMatch\":\"\\\"9-9\\\"\"}";
    let reply = call(client, "PUT", &path, &[("if-match", &current)], body).await;
    refused(&reply, Code::InvalidRequest, &["ifMatch"]);
    let reply = call(client, "PUT", &path, &[("if-match", &current), ("if-match", "\"9-9\"")], "{\"value\":2}").await;
    assert!(matches!(reply.status, 200 | 400), "{}", reply.text());
    if reply.status == 400 {
        refused(&reply, Code::InvalidRequest, &[]);
        assert_eq!(client.position().await, before);
    }
}

#[tokio::test]
async fn the_same_tag_on_every_node_and_after_a_restart() {
    let mut writer = Writer::start().await;
    writer.write("a", "1").await;
    let entry = writer.client.entry("flags", "a").await;
    let replica = writer.replica(&[]).await;
    writer.node.kill().await;
    writer.node.start_again().await;
    for client in [replica.client(), writer.node.client()] {
        let read = client.entry("flags", "a").await;
        assert_eq!((read.header("etag"), &read.body), (entry.header("etag"), &entry.body));
        let path = Client::entry_path("flags", "a");
        let reply = call(&client, "GET", &path, &[("if-none-match", entry.header("etag").unwrap())], "").await;
        assert_eq!(reply.status, 304);
    }
    let guard = [("if-match", entry.header("etag").unwrap())];
    answered(
        &call(&writer.node.client(), "PUT", &Client::entry_path("flags", "a"), &guard, "{\"value\":2}").await,
        &format!(
            "{{\"ok\":true,\"seq\":{},\"version\":2}}",
            super::position(&writer.node.client().entry("flags", "a").await).seq
        ),
    );
}
