//! Limits of how often somebody may ask: told before anything is read, and felt by nobody else.

use crate::api::{Writer, call, refused};
use headwater_core::api::Code;
use headwater_tests::{Client, Lines, NodeBuilder, raw};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

/// Asserts a refusal that says when to come back.
fn limited(reply: &headwater_tests::Reply, words: &str) {
    refused(reply, Code::RateLimited, &[words]);
    let after: u32 = reply.header("retry-after").and_then(|text| text.parse().ok()).expect("a number of seconds");
    assert!((1..=60).contains(&after), "{after}");
}

#[tokio::test]
async fn wrong_pairs_are_told_to_come_back_and_keep_no_right_one_out() {
    let writer = Writer::start_with(&[("--rate-of-wrong-pairs", "1/m:5")]).await;
    let wrong = Client::with_pair(writer.url(), Some(("dev", "wrong")));
    let missing = Client::with_pair(writer.url(), None);
    for client in [&wrong, &missing, &wrong, &missing, &wrong] {
        refused(&client.set("flags", "a", "1").await, Code::Forbidden, &[]);
    }
    for client in [&wrong, &missing] {
        limited(&client.set("flags", "a", "1").await, "--rate-of-wrong-pairs");
        limited(&client.get("/v1/collections").await, "--rate-of-wrong-pairs");
        limited(&client.entry("flags", "a").await, "--rate-of-wrong-pairs");
    }
    writer.write("a", "1").await;
    assert_eq!(writer.client.entry("flags", "a").await.status, 200);
    assert_eq!(missing.get("/readyz").await.status, 200);
    let metrics = writer.client.get("/v1/metrics").await.json();
    assert_eq!(metrics["requests_limited_total"], 6);
}

#[tokio::test]
async fn a_credential_has_its_share_and_nodes_their_streams_beyond_it() {
    let writer = Writer::start_with(&[("--rate-per-credential", "1/m:20")]).await;
    let mut served = 1;
    while writer.client.entry("flags", "a").await.status == 404 {
        served += 1;
        assert!(served <= 20, "no limit");
    }
    assert_eq!(served, 20);
    for (method, path) in [("GET", "/v1/collections/flags/keys"), ("DELETE", "/v1/collections/flags")] {
        limited(&call(&writer.client, method, path, &[], "").await, "--rate-per-credential");
    }
    // It announces a mebibyte and sends nothing: the answer does not wait for it.
    let announced = format!(
        "PUT /v1/collections/flags/entry?key=a HTTP/1.1\r\nhost: {}\r\napikey: dev\r\nsecret: dev\r\n\
         connection: close\r\ncontent-length: 1000000\r\n\r\n",
        raw::authority(writer.url())
    );
    limited(&raw::send(writer.url(), announced.as_bytes()).await, "--rate-per-credential");
    // Another one's guesses are not its own.
    let wrong = Client::with_pair(writer.url(), Some(("dev", "wrong")));
    refused(&wrong.entry("flags", "a").await, Code::Forbidden, &[]);
    let mut stream = Lines::open(&writer.client, "").await.expect("a node's stream");
    stream.until("READY").await;
    assert_eq!(writer.client.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn an_address_has_its_share_and_may_ask_for_health_beyond_it() {
    let place = tempfile::tempdir().unwrap();
    let node = NodeBuilder::writer("writer", place.path()).option("--rate-per-address", "1/m:3").start().await;
    for client in [node.client(), Client::with_pair(&node.url, None), node.client()] {
        assert_ne!(client.get("/v1/status").await.status, 429);
    }
    limited(&node.client().get("/v1/status").await, "--rate-per-address");
    limited(&node.client().entry("flags", "a").await, "--rate-per-address");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(node.client().get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_rate_that_is_none_is_refused_with_what_one_is() {
    let place = tempfile::tempdir().unwrap();
    for (flag, text) in
        [("--rate-per-address", "5"), ("--rate-per-credential", "0/s"), ("--rate-of-wrong-pairs", "none")]
    {
        let refused = NodeBuilder::writer("writer", place.path()).option(flag, text).try_start().await;
        let said = refused.err().expect("it is refused");
        assert!(said.contains(flag) && said.contains("100/s:500"), "{said}");
    }
}

#[tokio::test]
async fn a_limit_of_the_address_counts_what_is_refused_too_and_keeps_no_other_address_out() {
    let writer = Writer::start_with(&[("--rate-per-address", "1/m:12")]).await;
    let url = writer.url();
    let mut seen = Vec::new();
    for round in 0..14 {
        let reply = match round % 4 {
            0 => raw::ask(url, "GET", "/v1/nothing", &[], b"").await,
            1 => raw::ask(url, "PATCH", "/v1/collections", &[], b"").await,
            2 => raw::ask(url, "GET", "/v1/collections/f/keys/a/../b", &[], b"").await,
            // No header at all.
            _ => raw::send(url, b"GET /v1/nothing HTTP/1.1\r\nno header\r\n\r\n").await,
        };
        seen.push(reply.status);
    }
    assert_eq!(seen[..8], [404, 405, 400, 400, 404, 405, 400, 400]);
    assert_eq!(seen[12..], [429, 429], "{seen:?}");
    let malformed = raw::send(url, b"GET /v1/nothing HTTP/1.1\r\nno header\r\n\r\n").await;
    limited(&malformed, "--rate-per-address");
    assert_eq!(writer.client.get("/healthz").await.status, 200);
    let target = Client::entry_path("flags", "a");
    assert_eq!(ask_from("127.0.0.2:0", url, &target, "apikey: dev\r\nsecret: dev\r\n").await, "404");
}

#[tokio::test]
async fn who_has_used_up_the_rate_of_its_key_keeps_no_other_key_from_asking() {
    let writer = Writer::start_with(&[("--rate-per-credential", "1/m:10")]).await;
    let made = writer.client.call(reqwest::Method::POST, "/v1/keys", r#"{"id":"other","roles":["read"]}"#).await;
    let secret = made.json()["secret"].as_str().expect("a secret").to_owned();
    let other = Client::with_pair(writer.url(), Some(("other", &secret)));
    while writer.client.entry("flags", "a").await.status != 429 {}
    for _ in 0..10 {
        assert_eq!(other.entry("flags", "a").await.status, 404);
        limited(&writer.client.entry("flags", "a").await, "--rate-per-credential");
    }
    limited(&other.entry("flags", "a").await, "--rate-per-credential");
}

/// The status of a GET from this address of the machine, with these lines in its head.
async fn ask_from(from: &str, url: &str, target: &str, lines: &str) -> String {
    let socket = TcpSocket::new_v4().expect("there are sockets");
    socket.bind(from.parse().expect("an address")).expect("the whole of 127/8 is this machine's");
    let address = raw::authority(url).parse().expect("an address");
    let mut connection = socket.connect(address).await.expect("it listens");
    let host = raw::authority(url);
    let request = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{lines}\r\n");
    connection.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.expect("it answers");
    answer.split(' ').nth(1).expect("a status").to_owned()
}

#[tokio::test]
async fn who_shows_no_credentials_has_the_rate_of_their_address() {
    let writer = Writer::start_with(&[("--rate-per-credential", "1/m:5")]).await;
    let made = writer.client.call(reqwest::Method::POST, "/v1/keys", r#"{"id":"anonymous","roles":["read"]}"#).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let target = Client::entry_path("flags", "a");
    let ask = async |from: &str| ask_from(from, writer.url(), &target, "").await;
    for _ in 0..5 {
        assert_eq!(ask("127.0.0.2:0").await, "404");
    }
    assert_eq!(ask("127.0.0.2:0").await, "429");
    assert_eq!(ask("127.0.0.3:0").await, "404", "another stranger has used up nothing");
}
