//! The HTTP API of a running writer and of running replicas, row by row: every status, every code, every bad input.
//!
//! What a refusal must look like is written once, here; each file asserts one part of the API. Durability and faults of
//! the log are not tested here, nor what a stream's lines do to a replica.

mod batches;
mod codes;
mod collections;
mod credentials;
mod forwarding;
mod guards;
mod health;
mod hosts;
mod json;
mod keys;
mod limits;
mod lists;
mod loops;
mod methods;
mod paths;
mod positions;
mod repeats;
mod replica_reads;
mod replicate;
mod roles;
mod status;
mod values;

use headwater_core::api::Code;
use headwater_core::position::Position;
use headwater_tests::{Client, Node, NodeBuilder, Reply};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tempfile::TempDir;

/// A running writer with the collection `flags`.
pub(crate) struct Writer {
    pub(crate) directory: TempDir,
    pub(crate) node: Node,
    pub(crate) client: Client,
}

impl Writer {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(options: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let builder = NodeBuilder::writer("writer", directory.path());
        let node = options.iter().fold(builder, |builder, (flag, value)| builder.option(flag, value)).start().await;
        let client = node.client();
        client.create("flags").await;
        Self { directory, node, client }
    }

    pub(crate) fn url(&self) -> &str {
        &self.node.url
    }

    /// A replica of this writer that holds everything written so far.
    pub(crate) async fn replica(&self, options: &[(&str, &str)]) -> Node {
        let builder = NodeBuilder::replica("replica", self.directory.path(), self.url());
        let node = options.iter().fold(builder, |builder, (flag, value)| builder.option(flag, value)).start().await;
        node.ready().await;
        let request = node.client().request(Method::GET, "/v1/collections");
        let request = request.header("headwater-min-position", self.client.position().await);
        let reply = node.client().send(request).await.expect("the replica answers");
        assert_eq!(reply.status, 200, "{}", reply.text());
        node
    }

    /// Writes an entry, which must succeed, and returns the write's position.
    pub(crate) async fn write(&self, key: &str, value: &str) -> Position {
        let reply = self.client.set("flags", key, value).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        position(&reply)
    }
}

/// The position an answer is as of.
pub(crate) fn position(reply: &Reply) -> Position {
    let text = reply.header("headwater-position").unwrap_or_else(|| panic!("no position: {reply:?}"));
    text.parse().expect("a position has its form")
}

/// Any request with more headers, its answer whole.
pub(crate) async fn call(client: &Client, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let request = client.request(method, path).body(body.to_owned());
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    client.send(request).await.unwrap_or_else(|error| panic!("{path}: {error:?}"))
}

/// Asserts that an answer is this error and has the one form of all errors; `words` must be in its message.
pub(crate) fn refused(reply: &Reply, code: Code, words: &[&str]) {
    let text = String::from_utf8_lossy(&reply.body);
    assert_eq!((reply.status, &*reply.code()), (code.status(), code.word()), "{text}");
    let body = reply.json();
    assert_eq!(body["ok"], json!(false), "{text}");
    let message = body["message"].as_str().expect("an error has a message for people");
    assert!(!message.is_empty(), "{text}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
    let known = BTreeSet::from(["ok", "error", "message", "version", "etag", "index"]);
    assert!(fields(&body).is_subset(&known), "{text}");
    assert!(text.starts_with("{\"ok\":false,\"error\":"), "{text}");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let comes_back = matches!(code, Code::Overloaded | Code::NotReady | Code::RateLimited);
    assert_eq!(reply.header("retry-after").is_some(), comes_back, "{text}");
    position(reply);
}

/// Asserts that an answer is 200 with exactly this JSON, member order included.
fn answered(reply: &Reply, body: &str) {
    assert_eq!((reply.status, reply.text()), (200, body));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    position(reply);
}

/// The names of an object's members.
fn fields(object: &Value) -> BTreeSet<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// A position of the same epoch, `by` commands further on.
pub(crate) fn ahead(position: Position, by: u64) -> String {
    Position { seq: position.seq + by, ..position }.to_string()
}
