//! Keys at an edge object: it decides from its own state alone, and hears of every change.

use headwater_tests::{Client, Edge, Lines, Node, NodeBuilder, Reply, eventually, raw};
use reqwest::Method;
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const NARROW: &str = r#"{"id":"narrow","grants":[{"roles":["read"],"scope":{"flags":[""],"prices":["eu:"]}},{"roles":["write"],"scope":{"prices":["eu:"]}}]}"#;

async fn pair(directory: &Path) -> (Node, Edge) {
    let writer = NodeBuilder::writer("writer", directory).start().await;
    let edge = Edge::start(directory, &writer.url).await;
    edge.ready().await;
    let client = writer.client();
    for (collection, keys) in [("flags", &["a"][..]), ("prices", &["eu:1", "us:1"]), ("hidden", &["a"])] {
        client.create(collection).await;
        for key in keys {
            assert_eq!(client.set(collection, key, "1").await.status, 200);
        }
    }
    (writer, edge)
}

async fn together(writer: &Node, edge: &Edge) {
    eventually("the edge holds what the writer does", || async {
        let (there, here) = (writer.client().position().await, edge.client().position().await);
        if there == here { Ok(()) } else { Err(format!("{here} of {there}")) }
    })
    .await;
}

/// Makes a key through the edge, which must succeed, and gives back its secret.
async fn made(edge: &Edge, body: &str) -> String {
    let reply = edge.client().call(Method::POST, "/v1/keys", body.to_owned()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["secret"].as_str().unwrap_or_default().to_owned()
}

fn assert_forbidden(reply: &Reply) {
    assert_eq!((reply.status, &*reply.code()), (403, "forbidden"), "{}", reply.text());
}

async fn ends_revoked(lines: &mut Lines) {
    let ended = tokio::time::timeout(Duration::from_secs(5), lines.until("END")).await;
    assert_eq!(
        ended.expect("the stream ends within 5 s").pop().expect("until gives at least one")["reason"],
        "revoked"
    );
    assert_eq!(lines.line().await, None);
}

#[tokio::test]
async fn a_key_is_made_limited_and_revoked_through_the_edge() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, edge) = pair(directory.path()).await;
    let secret = made(&edge, NARROW).await;
    together(&writer, &edge).await;
    let client = Client::with_pair(&edge.url, Some(("narrow", &secret)));
    assert_eq!(client.get("/v1/collections").await.text(), r#"{"collections":["flags","prices"]}"#);
    for (path, status) in [
        ("/v1/collections/flags/keys", 200),
        ("/v1/collections/prices/keys?prefix=eu:", 200),
        ("/v1/collections/prices/keys/eu:1", 200),
        ("/v1/collections/prices/keys", 403),
        ("/v1/collections/prices/keys/us:1", 403),
        ("/v1/collections/hidden/keys/a", 403),
        ("/v1/collections/%68idden/entry?key=a", 403),
        ("/v1/collections/_keys/keys/narrow", 403),
        // The client's own library takes it for another path; what is sent is outside.
        ("/v1/collections/flags/../hidden/keys/a", 403),
        ("/v1/collections/flags/keys/%2e%2e%2f%2e%2e%2fhidden%2fkeys%2fa", 400),
        ("/v1/status", 403),
        ("/v1/keys", 403),
    ] {
        let reply = client.get(path).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
    }
    let before = writer.client().position().await;
    for (collection, key) in [("prices", "us:1"), ("flags", "a"), ("hidden", "a"), ("_keys", "narrow")] {
        assert_forbidden(&client.set(collection, key, "2").await);
        assert_forbidden(&client.delete(collection, key).await);
        let ops = format!(r#"{{"op":"set","key":"eu:1","value":2}},{{"op":"set","key":"{key}","value":2}}"#);
        assert_forbidden(&client.batch(collection, &ops).await);
    }
    assert_forbidden(&client.call(Method::POST, "/v1/collections", r#"{"name":"hidden"}"#).await);
    assert_forbidden(&client.call(Method::DELETE, "/v1/collections/prices", "").await);
    assert_eq!(writer.client().position().await, before, "nothing was written");
    assert_eq!(client.set("prices", "eu:1", "2").await.status, 200);

    let mut wide = Lines::open(&client, "").await.unwrap();
    assert_eq!(wide.command().await["scope"], json!({"flags": [""], "prices": ["eu:"]}));
    wide.until("READY").await;
    let mut narrow = Lines::open(&client, r#"{"scope":{"flags":["a"]}}"#).await.unwrap();
    narrow.until("READY").await;
    // Narrowed: what goes beyond ends, what does not goes on.
    let change = r#"{"grants":[{"roles":["read"],"scope":{"flags":[""]}}]}"#;
    assert_eq!(writer.client().call(Method::PUT, "/v1/keys/narrow", change).await.status, 200);
    ends_revoked(&mut wide).await;
    assert_eq!(writer.client().set("flags", "a", "2").await.status, 200);
    assert_eq!(narrow.until("SET").await.pop().unwrap()["key"], "a");
    assert_eq!(client.entry("flags", "a").await.status, 200);
    assert_forbidden(&client.entry("prices", "eu:1").await);
    // Revoked, through the edge again.
    assert_eq!(edge.client().call(Method::DELETE, "/v1/keys/narrow", "").await.status, 200);
    ends_revoked(&mut narrow).await;
    assert_forbidden(&client.entry("flags", "a").await);
    assert_forbidden(&Lines::open(&client, "").await.unwrap_err());
}

#[tokio::test]
async fn what_everybody_may_read_everybody_reads_at_the_edge() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, edge) = pair(directory.path()).await;
    let nobody = Client::with_pair(&edge.url, None);
    assert_forbidden(&nobody.entry("flags", "a").await);
    made(&edge, r#"{"id":"anonymous","grants":[{"roles":["read"],"scope":{"flags":[""]}}]}"#).await;
    together(&writer, &edge).await;
    assert_eq!(nobody.entry("flags", "a").await.status, 200);
    assert_forbidden(&nobody.entry("prices", "eu:1").await);
    assert_forbidden(&nobody.set("flags", "a", "2").await);
    for (name, value) in [("apikey", "dev"), ("secret", ""), ("authorization", "Bearer x")] {
        let request = nobody.request(Method::GET, "/v1/collections/flags/keys/a").header(name, value);
        assert_forbidden(&nobody.send(request).await.unwrap());
    }
    let mut lines = Lines::open(&nobody, "").await.unwrap();
    lines.until("READY").await;
    assert_eq!(writer.client().call(Method::DELETE, "/v1/keys/anonymous", "").await.status, 200);
    ends_revoked(&mut lines).await;
    assert_forbidden(&nobody.entry("flags", "a").await);
}

#[tokio::test]
async fn the_edge_lists_the_keys_as_the_writer_does() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, edge) = pair(directory.path()).await;
    made(&edge, NARROW).await;
    made(&edge, r#"{"id":"app","roles":["read","write"]}"#).await;
    together(&writer, &edge).await;
    let [there, here] = [writer.client().get("/v1/keys").await, edge.client().get("/v1/keys").await];
    assert_eq!((here.status, here.text()), (200, there.text()));
    assert!(here.text().contains("\"app\"") && !here.text().contains("sha256"), "{}", here.text());
}

#[tokio::test]
async fn a_token_is_made_and_judged_by_the_edge_alone_and_ends_with_its_time() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, edge) = pair(directory.path()).await;
    let secret = made(&edge, NARROW).await;
    together(&writer, &edge).await;
    let own = Client::with_pair(&edge.url, Some(("narrow", &secret)));
    let token = async |body: &'static str| {
        let reply = own.call(Method::POST, "/v1/tokens", body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["token"].as_str().expect("a token").to_owned()
    };
    let all = token("").await;
    assert_eq!(Client::with_token(&writer.url, &all).entry("prices", "eu:1").await.status, 200);
    assert_eq!(
        Client::with_token(&edge.url, &all).set("prices", "eu:9", "1").await.status,
        200,
        "handed on as it came"
    );
    writer.kill().await;
    let short = token(r#"{"ttlMs":3000,"grants":[{"roles":["read"],"scope":{"flags":[""]}}]}"#).await;
    let client = Client::with_token(&edge.url, &short);
    assert_eq!(client.entry("flags", "a").await.status, 200);
    assert_forbidden(&client.entry("prices", "eu:1").await);
    let mut lines = Lines::open(&client, "").await.expect("it reads");
    lines.until("READY").await;
    let ended = tokio::time::timeout(Duration::from_secs(8), lines.until("END")).await;
    assert_eq!(ended.expect("the stream ends with the token").pop().expect("END")["reason"], "token_expired");
    assert_forbidden(&client.entry("flags", "a").await);
    let (head, signature) = all.rsplit_once('.').expect("three parts");
    for wrong in [format!("{head}."), format!("{head}.{}", "A".repeat(signature.len())), String::new()] {
        assert_forbidden(&Client::with_token(&edge.url, &wrong).entry("flags", "a").await);
    }
}

#[tokio::test]
async fn who_sends_a_body_while_the_key_goes_gets_nothing_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, edge) = pair(directory.path()).await;
    let secret = made(&edge, r#"{"id":"k","roles":["read"]}"#).await;
    together(&writer, &edge).await;
    let mut begun = Vec::new();
    for target in ["/v1/tokens", "/v1/replicate"] {
        let host = raw::authority(&edge.url);
        let mut connection = TcpStream::connect(host).await.unwrap();
        let head = format!(
            "POST {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\napikey: k\r\nsecret: {secret}\r\n\
             content-length: 2\r\n\r\n{{"
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        begun.push((target, connection));
    }
    assert_eq!(edge.client().call(Method::DELETE, "/v1/keys/k", "").await.status, 200);
    together(&writer, &edge).await;
    for (target, mut connection) in begun {
        connection.write_all(b"}").await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{target}: {answer}");
    }
}
