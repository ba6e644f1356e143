//! What a replica hands to its parent: every write, and reads of what it does not hold.

use super::{Writer, call, position, refused};
use headwater_core::api::Code;
use headwater_tests::{Client, Node, NodeBuilder, eventually, raw};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::test]
async fn a_write_through_a_replica_is_the_writers_answer() {
    let writer = Writer::start().await;
    let near = writer.replica(&[]).await;
    let far = NodeBuilder::replica("far", writer.directory.path(), &near.url).start().await;
    far.ready().await;
    for client in [near.client(), far.client()] {
        let path = Client::entry_path("flags", "a");
        let written = client.set("flags", "a", r#"{"x":1.50}"#).await;
        let at = position(&written);
        assert_eq!(written.text(), format!("{{\"ok\":true,\"seq\":{},\"version\":1}}", at.seq));
        assert_eq!(writer.client.position().await, at.to_string());
        // It is there, with the position to read it by: whoever wrote reads it, at any node.
        for reader in [&near.client(), &far.client(), &writer.client] {
            let read = call(reader, "GET", &path, &[("headwater-min-position", &at.to_string())], "").await;
            assert_eq!(read.json()["value"], serde_json::json!({"x": 1.5}));
            assert!(position(&read) >= at);
        }
        let tag = writer.client.entry("flags", "a").await.header("etag").unwrap().to_owned();
        for (method, headers, body) in [
            ("PUT", &[("if-match", "\"1-1\"")][..], "{\"value\":2}"),
            ("PUT", &[("if-none-match", "*")], "{\"value\":2}"),
            ("POST", &[], "{\"value\":2,\"ifAbsent\":true}"),
        ] {
            let reply = call(&client, method, &path, headers, body).await;
            refused(&reply, Code::PreconditionFailed, &[]);
            assert_eq!(reply.header("etag"), Some(&*tag));
            assert_eq!(reply.json()["etag"].as_str(), Some(&*tag));
        }
        let reply = call(&client, "DELETE", &path, &[("if-match", &tag)], "").await;
        assert_eq!((reply.status, reply.json()["version"].as_u64()), (200, Some(2)), "{}", reply.text());
        for (reply, code) in [
            (client.delete("flags", "a").await, Code::NotFound),
            (client.set("missing", "a", "1").await, Code::MissingCollection),
            (client.set("flags", &"k".repeat(1025), "1").await, Code::TooLarge),
            (client.set("flags", "a", "1e400").await, Code::InvalidJson),
            (client.set("_keys", "a", "1").await, Code::Forbidden),
            (client.call(reqwest::Method::POST, "/v1/collections", "{}").await, Code::UnnamedCollection),
        ] {
            refused(&reply, code, &[]);
        }
        let created = client.call(reqwest::Method::POST, "/v1/collections", "{\"name\":\"made\"}").await;
        assert_eq!(created.text(), r#"{"ok":true,"collection":"made"}"#);
        let dropped = client.call(reqwest::Method::DELETE, "/v1/collections/made", "").await;
        assert_eq!(dropped.text(), r#"{"ok":true,"collection":"made"}"#);
        assert_eq!(position(&dropped).seq, position(&created).seq + 1);
    }
}

#[tokio::test]
async fn what_is_said_of_each_op_of_a_large_batch_comes_back_whole() {
    const OPS: usize = 80_000;
    let writer = Writer::start_with(&[("--batch-commands-max", "100000")]).await;
    let replica = writer.replica(&[]).await;
    let ops: Vec<String> = (0..OPS).map(|number| format!(r#"{{"op":"set","key":"{number:x}","value":1}}"#)).collect();
    let reply = replica.client().batch("flags", &ops.join(",")).await;
    assert_eq!(reply.status, 200, "{}", &reply.text()[..reply.text().len().min(500)]);
    assert!(reply.body.len() > 1 << 20, "{} bytes are no test of this", reply.body.len());
    assert_eq!(reply.json()["results"].as_array().map(Vec::len), Some(OPS));
}

#[tokio::test]
async fn every_key_survives_being_forwarded() {
    let writer = Writer::start().await;
    let replica = writer.replica(&[]).await;
    for key in ["a", "a/b", "..", "//", "a\\b", "a+b", "a b", "a%2Fb", "é", "\u{1f600}", "\0", "a&b=c#d?"] {
        assert_eq!(replica.client().set("flags", key, "1").await.status, 200, "{key:?}");
        assert_eq!(writer.client.entry("flags", key).await.json()["key"].as_str(), Some(key));
    }
    let reply = raw::ask(&replica.url, "PUT", "/v1/collections/flags/keys/x%2Fy%3Az+%41", &[], b"{\"value\":1}").await;
    assert_eq!(reply.status, 200);
    assert_eq!(writer.client.entry("flags", "x/y:z+A").await.status, 200);
}

#[tokio::test]
async fn what_a_replica_does_not_hold_it_reads_from_its_parent() {
    let writer = Writer::start().await;
    writer.client.create("prices").await;
    for (collection, key) in [("flags", "in:1"), ("flags", "out:1"), ("prices", "a")] {
        assert_eq!(writer.client.set(collection, key, "1").await.status, 200);
    }
    let at = writer.client.position().await;
    let builder = NodeBuilder::replica("narrow", writer.directory.path(), writer.url());
    let mut narrow = builder.option("--scope", r#"{"flags":["in:"]}"#).start().await;
    narrow.ready().await;
    let paths = [
        Client::entry_path("flags", "in:1"),
        Client::entry_path("flags", "in:2"),
        "/v1/collections/flags/keys?prefix=in%3A".into(),
    ];
    let elsewhere = [
        Client::entry_path("flags", "out:1"),
        Client::entry_path("flags", "out:2"),
        Client::entry_path("prices", "a"),
        "/v1/collections/prices/keys?limit=1".into(),
        "/v1/collections/flags/keys".into(),
        "/v1/collections/flags/keys?prefix=i".into(),
        "/v1/collections/missing/keys".into(),
        // A part of the names would pass for all of them.
        "/v1/collections".into(),
    ];
    for path in paths.iter().chain(&elsewhere) {
        let (expected, read) = (writer.client.get(path).await, narrow.client().get(path).await);
        assert_eq!((read.status, read.text()), (expected.status, expected.text()), "{path}");
        if path != &paths[2] {
            assert_eq!(read.header("etag"), expected.header("etag"), "{path}");
        }
        assert_eq!(read.header("headwater-position"), Some(&*at), "{path}");
        // A list's tag is of the collection as held, here a part: it is a tag all the same.
        let tag = read.header("etag").unwrap_or("\"none\"");
        let again = call(&narrow.client(), "GET", path, &[("if-none-match", tag)], "").await;
        let is_tagged = expected.header("etag").is_some();
        assert_eq!(again.status, if is_tagged { 304 } else { expected.status }, "{path}");
    }
    // The parent waits for a position in its stead.
    let min = super::ahead(at.parse().unwrap(), 1);
    let headers = [("headwater-min-position", &*min), ("headwater-wait-ms", "0")];
    refused(&call(&narrow.client(), "GET", &elsewhere[0], &headers, "").await, Code::Stale, &[]);

    let mut writer = writer;
    writer.node.kill().await;
    lost(&narrow).await;
    for path in &elsewhere {
        refused(&narrow.client().get(path).await, Code::ParentUnavailable, &[]);
    }
    assert_eq!(narrow.client().get(&paths[0]).await.status, 200);
    narrow.stop().await;
}

/// Waits until a node knows that its parent is gone.
async fn lost(node: &Node) {
    eventually("the parent is gone", || async {
        let connected = node.client().status().await["replication"]["parent_connected"].clone();
        if connected == serde_json::json!(false) { Ok(()) } else { Err(connected) }
    })
    .await;
}

#[tokio::test]
async fn without_its_parent_a_write_is_refused_and_reads_go_on() {
    let mut writer = Writer::start().await;
    writer.write("a", "1").await;
    let replica = writer.replica(&[]).await;
    let entry = replica.client().entry("flags", "a").await;
    // So that there is a kept connection to fall over.
    assert_eq!(replica.client().set("flags", "b", "1").await.status, 200);
    writer.node.kill().await;
    lost(&replica).await;
    for _ in 0..3 {
        refused(&replica.client().set("flags", "a", "2").await, Code::ParentUnavailable, &[]);
        refused(&replica.client().delete("flags", "a").await, Code::ParentUnavailable, &[]);
    }
    assert_eq!(replica.client().entry("flags", "a").await.body, entry.body);
    writer.node.start_again().await;
    let written = replica.client().set("flags", "a", "2").await;
    assert_eq!((written.status, written.json()["version"].as_u64()), (200, Some(2)), "{}", written.text());
}

#[tokio::test]
async fn a_replica_that_never_met_its_parent_reads_nothing_and_forwards_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let replica = NodeBuilder::replica("replica", directory.path(), "http://127.0.0.1:1").start().await;
    let client = replica.client();
    for path in ["/v1/collections", "/v1/collections/flags/keys", "/v1/collections/flags/keys/a"] {
        refused(&client.get(path).await, Code::NotReady, &[]);
    }
    refused(&client.call(reqwest::Method::POST, "/v1/replicate", "").await, Code::NotReady, &[]);
    refused(&client.set("flags", "a", "1").await, Code::ParentUnavailable, &[]);
    let status = client.status().await;
    assert_eq!(status["replication"]["complete"], serde_json::json!(false));
    assert_eq!(client.get("/v1/metrics").await.status, 200);
}

/// A parent that reads a request, answers with these bytes and hangs up. Requests are kept.
async fn strange_parent(answer: &'static [u8]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let url = format!("http://{}", listener.local_addr().expect("a bound socket has an address"));
    let requests = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !is_whole(&request) && connection.read_buf(&mut request).await.is_ok_and(|read| read > 0) {}
                kept.lock().expect("nobody panics with it").push(String::from_utf8_lossy(&request).into_owned());
                // Whoever asked may be gone; that is not this parent's concern.
                drop(connection.write_all(answer).await);
            });
        }
    });
    (url, requests)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    length.is_none_or(|length: usize| body.len() >= length)
}

async fn replica_of(directory: &Path, parent: &str) -> Node {
    NodeBuilder::replica("replica", directory, parent).start().await
}

#[tokio::test]
async fn a_parent_that_takes_a_write_and_says_nothing_leaves_it_unknown() {
    for answer in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"ok\":true",
        b"this is no HTTP\r\n\r\n",
    ] {
        let (url, requests) = strange_parent(answer).await;
        let directory = tempfile::tempdir().unwrap();
        let replica = replica_of(directory.path(), &url).await;
        let client = replica.client();
        refused(&client.set("flags", "a", "1").await, Code::OutcomeUnknown, &[]);
        refused(&client.delete("flags", "a").await, Code::OutcomeUnknown, &[]);
        let create = client.call(reqwest::Method::POST, "/v1/collections", "{\"name\":\"a\"}").await;
        refused(&create, Code::OutcomeUnknown, &[]);
        // Each was sent once: nobody repeats a write behind the client's back.
        let sets = requests.lock().unwrap().iter().filter(|request| request.starts_with("POST /v1/coll")).count();
        assert_eq!(sets, 2);
    }
}

#[tokio::test]
async fn a_write_is_handed_on_as_it_came() {
    let (url, requests) = strange_parent(b"").await;
    let directory = tempfile::tempdir().unwrap();
    let replica = replica_of(directory.path(), &url).await;
    let own = replica.client().status().await["instance"].as_str().unwrap().to_owned();
    let target = "/v1/collections/fl%61gs/keys/a%2Fb+%7Ec?x=%20";
    let other = "00112233445566778899aabbccddeeff";
    let headers = [
        ("if-match", "\"3-9\""),
        ("headwater-via", other),
        ("x-glue-authentication", "{\"user\":\"root\"}"),
        ("te", "trailers"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic eA=="),
        ("cookie", "session=1"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-user", "root"),
    ];
    let body = b" {\"value\": 1.50 }";
    refused(&raw::ask(&replica.url, "PUT", target, &headers, body).await, Code::OutcomeUnknown, &[]);
    let requests = requests.lock().unwrap();
    let sent = requests.iter().find(|request| request.starts_with("PUT ")).expect("it was handed on");
    let (head, sent_body) = sent.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    assert_eq!(lines.next(), Some(&*format!("PUT {target} HTTP/1.1")));
    assert_eq!(sent_body.as_bytes(), body);
    let headers: Vec<(String, &str)> =
        lines.map(|line| line.split_once(": ").unwrap()).map(|(name, value)| (name.to_lowercase(), value)).collect();
    let header = |name: &str| {
        let mut found = headers.iter().filter(|(known, _)| known == name).map(|(_, value)| *value);
        let first = found.next();
        assert_eq!(found.next(), None, "{name} twice");
        first
    };
    assert_eq!((header("apikey"), header("secret")), (Some("dev"), Some("dev")));
    assert_eq!(header("if-match"), Some("\"3-9\""));
    assert_eq!(header("host"), Some(raw::authority(&url)));
    assert_eq!(header("content-length"), Some(&*body.len().to_string()));
    let via: Vec<_> = header("headwater-via").unwrap().split(',').map(str::trim).collect();
    assert_eq!(via, [other, &own]);
    for name in
        ["x-glue-authentication", "te", "keep-alive", "proxy-authorization", "cookie", "x-forwarded-for", "x-user"]
    {
        assert_eq!(header(name), None, "{name} is of this connection, or of who is beside this node");
    }
}

#[tokio::test]
async fn of_the_parents_answer_comes_back_what_the_api_says() {
    let answer = b"HTTP/1.1 507 Insufficient Storage\r\nconnection: close\r\ncontent-length: 2\r\n\
        content-type: application/json\r\netag: \"1-2\"\r\nretry-after: 7\r\nheadwater-position: 5.6\r\n\
        set-cookie: session=1\r\nserver: proxy\r\nx-internal: 10.0.0.1\r\naccess-control-allow-origin: *\r\n\r\n{}";
    let (url, _requests) = strange_parent(answer).await;
    let directory = tempfile::tempdir().unwrap();
    let replica = replica_of(directory.path(), &url).await;
    let reply = replica.client().set("flags", "a", "1").await;
    assert_eq!((reply.status, reply.text()), (507, "{}"));
    for (name, value) in [("etag", "\"1-2\""), ("retry-after", "7"), ("headwater-position", "5.6")] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    for name in ["set-cookie", "server", "x-internal", "access-control-allow-origin"] {
        assert_eq!(reply.header(name), None, "{name} is not the API's");
    }
}

#[tokio::test]
async fn an_answer_that_no_node_gave_is_not_handed_on() {
    // A proxy or a captive portal in between. A client that followed this would show its pair to a stranger.
    let answer = b"HTTP/1.1 307 Temporary Redirect\r\nconnection: close\r\ncontent-length: 2\r\n\
        location: http://127.0.0.1:1/elsewhere\r\ncontent-type: text/html\r\n\r\nno";
    let (url, _requests) = strange_parent(answer).await;
    let directory = tempfile::tempdir().unwrap();
    let replica = replica_of(directory.path(), &url).await;
    let reply = replica.client().set("flags", "a", "1").await;
    assert_eq!((reply.status, reply.json()["error"].as_str()), (503, Some("outcome_unknown")), "{}", reply.text());
    assert!(reply.text().contains("307") && reply.header("location").is_none(), "{}", reply.text());
}
