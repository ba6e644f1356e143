//! Bodies sent to an edge object: each as long as its route takes, at a pace, and no one's all that may be held.

use headwater_tests::{Client, Edge, Node, NodeBuilder, Reply, eventually, raw};
use reqwest::Method;
use std::path::Path;
use std::time::Duration;

/// Longest silence within a body.
const PIECE: Duration = Duration::from_secs(5);

async fn pair(directory: &Path) -> (Node, Edge) {
    let writer = NodeBuilder::writer("writer", directory).start().await;
    let edge = Edge::start(directory, &writer.url).await;
    edge.ready().await;
    writer.client().create("flags").await;
    (writer, edge)
}

/// Makes a key that writes, which the edge knows then; its secret.
async fn key(writer: &Node, edge: &Edge, id: &str) -> String {
    let body = format!(r#"{{"id":"{id}","roles":["write"]}}"#);
    let reply = writer.client().call(Method::POST, "/v1/keys", body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    eventually("the edge knows the key", || async {
        let (there, here) = (writer.client().position().await, edge.client().position().await);
        if there == here { Ok(()) } else { Err(format!("{here} of {there}")) }
    })
    .await;
    reply.json()["secret"].as_str().expect("a secret").to_owned()
}

/// The head of a request that announces `length` bytes, and the first `sent` of them.
fn part(edge: &Edge, method: &str, target: &str, pair: (&str, &str), length: usize, sent: usize) -> Vec<u8> {
    let (host, (apikey, secret)) = (raw::authority(&edge.url), pair);
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: {host}\r\napikey: {apikey}\r\nsecret: {secret}\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), &vec![b' '; sent]].concat()
}

fn assert_is(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, &*reply.code()), (status, code), "{}", reply.text());
    assert!(reply.header("headwater-position").is_some(), "{:?}", reply.headers);
}

const DEV: (&str, &str) = ("dev", "dev");
const ENTRY: &str = "/v1/collections/flags/entry?key=a";

#[tokio::test]
async fn a_body_may_be_as_long_as_its_route_takes_and_no_longer() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, edge) = pair(directory.path()).await;
    let secret = key(&writer, &edge, "maker").await;
    for (method, target, pair, longest) in [
        ("POST", "/v1/replicate", DEV, 1 << 20),
        // The development pair makes no tokens.
        ("POST", "/v1/tokens", ("maker", &*secret), 64 << 10),
        ("POST", "/v1/keys", DEV, 64 << 10),
        ("POST", "/v1/collections", DEV, 64 << 10),
        ("PUT", ENTRY, DEV, (8 << 20) + (64 << 10)),
    ] {
        let reply = raw::send_part(&edge.url, &part(&edge, method, target, pair, longest + 1, 0)).await;
        assert_is(&reply, 413, "too_large");
    }
    // Nothing is announced: it is counted as it comes.
    let host = raw::authority(&edge.url);
    let head = format!(
        "POST /v1/replicate HTTP/1.1\r\nhost: {host}\r\napikey: dev\r\nsecret: dev\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let chunk = format!("100001\r\n{}", " ".repeat((1 << 20) + 1));
    let reply = raw::send_part(&edge.url, &[head.as_bytes(), chunk.as_bytes()].concat()).await;
    assert_is(&reply, 413, "too_large");
}

#[tokio::test]
async fn who_is_silent_within_a_body_is_answered_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, edge) = pair(directory.path()).await;
    let secret = key(&writer, &edge, "maker").await;
    let silent = async |method: &'static str, target: &'static str, pair| {
        let begun = std::time::Instant::now();
        let reply = raw::send_part(&edge.url, &part(&edge, method, target, pair, 1_000, 10)).await;
        assert_is(&reply, 408, "request_timeout");
        assert!((PIECE..PIECE * 3).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    };
    tokio::join!(
        silent("POST", "/v1/replicate", DEV),
        silent("PUT", ENTRY, DEV),
        silent("POST", "/v1/tokens", ("maker", &*secret))
    );
    assert!(!edge.log().contains("object_failed"), "a client's slowness is none of the object's: {}", edge.log());
}

#[tokio::test]
async fn who_holds_half_of_all_bodies_keeps_nobody_else_from_writing() {
    const LENGTH: usize = 8 << 20;
    let directory = tempfile::tempdir().unwrap();
    let (writer, edge) = pair(directory.path()).await;
    let (greedy, other) = (key(&writer, &edge, "greedy").await, key(&writer, &edge, "other").await);
    let greedy_pair = ("greedy", &*greedy);
    let held = async || {
        let bytes = part(&edge, "PUT", ENTRY, greedy_pair, LENGTH, LENGTH - 1);
        raw::send_part(&edge.url, &bytes).await
    };
    // Two do not fit into its share: one is refused at once, the other is waited for.
    let both = async { tokio::join!(held(), held()) };
    let meanwhile = async {
        let small = Client::with_pair(&edge.url, Some(greedy_pair)).set("flags", "small", "1").await;
        assert_eq!(small.status, 200, "{}", small.text());
        let large = format!("\"{}\"", "x".repeat(900 << 10));
        let client = Client::with_pair(&edge.url, Some(("other", &other)));
        assert_eq!(client.set("flags", "large", &large).await.status, 200);
    };
    let ((one, two), ()) = tokio::join!(both, meanwhile);
    let (refused, waited) = if one.status == 503 { (one, two) } else { (two, one) };
    assert_is(&refused, 503, "overloaded");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(refused.text().contains("with this credential"), "{}", refused.text());
    assert_is(&waited, 408, "request_timeout");
    // What was given up is held no longer.
    let again = Client::with_pair(&edge.url, Some(greedy_pair));
    assert_eq!(again.set("flags", "large", &format!("\"{}\"", "y".repeat(900 << 10))).await.status, 200);
}
