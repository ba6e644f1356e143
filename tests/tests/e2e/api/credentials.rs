//! Who may ask at all: the headers `apikey` and `secret`.

use super::{Writer, refused};
use headwater_core::api::Code;
use headwater_core::credentials::CREDENTIAL_BYTES_MAX;
use headwater_local::{server, tools::Tools};
use headwater_tests::node::said;
use headwater_tests::{Client, Reply, raw};

/// One request of every internal route.
const INTERNAL: [(&str, &str); 18] = [
    ("GET", "/v1/status"),
    ("GET", "/v1/metrics"),
    ("GET", "/v1/collections"),
    ("POST", "/v1/collections"),
    ("DELETE", "/v1/collections/flags"),
    ("GET", "/v1/collections/flags/keys"),
    ("GET", "/v1/collections/flags/keys/a"),
    ("POST", "/v1/collections/flags/keys/a"),
    ("PUT", "/v1/collections/flags/entry?key=a"),
    ("GET", "/v1/collections/flags/entry?key=a"),
    ("DELETE", "/v1/collections/flags/keys/a"),
    ("POST", "/v1/collections/flags/batch"),
    ("POST", "/v1/replicate"),
    ("GET", "/v1/keys"),
    ("POST", "/v1/keys"),
    ("PUT", "/v1/keys/a"),
    ("POST", "/v1/keys/a/rotate"),
    ("DELETE", "/v1/keys/a"),
];

async fn with_headers(url: &str, method: &str, target: &str, headers: &str, body: &str) -> Reply {
    let (host, length) = (raw::authority(url), body.len());
    let head =
        format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n");
    raw::send(url, format!("{head}{headers}\r\n{body}").as_bytes()).await
}

#[tokio::test]
async fn every_internal_route_refuses_whoever_shows_nothing() {
    let writer = Writer::start().await;
    writer.write("a", "1").await;
    let before = writer.client.position().await;
    for (method, target) in INTERNAL {
        for body in ["", r#"{"value":2,"name":"more"}"#, "{"] {
            let reply = with_headers(writer.url(), method, target, "", body).await;
            refused(&reply, Code::Forbidden, &[]);
        }
    }
    assert_eq!(writer.client.position().await, before);
}

#[tokio::test]
async fn whatever_is_wrong_with_them_the_answer_is_the_same() {
    let writer = Writer::start().await;
    let longest = "x".repeat(CREDENTIAL_BYTES_MAX + 1);
    let huge = "x".repeat(8_000);
    let mut bodies = Vec::new();
    for headers in [
        String::new(),
        "apikey: dev\r\n".into(),
        "secret: dev\r\n".into(),
        "apikey: \r\nsecret: \r\n".into(),
        "apikey: dev\r\nsecret: \r\n".into(),
        "apikey: dev\r\nsecret: Dev\r\n".into(),
        "apikey: dev\r\nsecret: wrong\r\n".into(),
        "apikey: nobody\r\nsecret: dev\r\n".into(),
        format!("apikey: dev\r\nsecret: {longest}\r\n"),
        format!("apikey: {longest}\r\nsecret: dev\r\n"),
        format!("apikey: {huge}\r\nsecret: {huge}\r\n"),
        "apikey: dev\r\napikey: dev\r\nsecret: dev\r\n".into(),
        "apikey: dev\r\nsecret: dev\r\nsecret: dev\r\n".into(),
        "apikey: dev\r\nsecret: dev\r\nsecret: wrong\r\n".into(),
        "apikey: dev, dev\r\nsecret: dev\r\n".into(),
        "authorization: Basic ZGV2OmRldg==\r\n".into(),
    ] {
        let reply = with_headers(writer.url(), "GET", "/v1/collections", &headers, "").await;
        refused(&reply, Code::Forbidden, &["apikey", "secret"]);
        bodies.push(reply.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "the words tell what was wrong");
    // Neither in the URL.
    let reply = with_headers(writer.url(), "GET", "/v1/collections?apikey=dev&secret=dev", "", "").await;
    refused(&reply, Code::Forbidden, &[]);
    // Bytes that are no text.
    let host = raw::authority(writer.url());
    let head = format!("GET /v1/collections HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\napikey: dev\r\nsecret: ");
    let reply = raw::send(writer.url(), &[head.as_bytes(), b"\xff\xfe", b"\r\n\r\n"].concat()).await;
    refused(&reply, Code::Forbidden, &["apikey", "secret"]);
}

#[tokio::test]
async fn header_names_in_any_case_and_the_right_pair_are_enough() {
    let writer = Writer::start().await;
    let reply = with_headers(writer.url(), "GET", "/v1/collections", "APIKEY: dev\r\nSecret:dev\r\n", "").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn secrets_are_not_in_the_log_of_the_node() {
    let writer = Writer::start().await;
    let reply = with_headers(writer.url(), "GET", "/v1/collections", "apikey: dev\r\nsecret: hush-hush\r\n", "").await;
    refused(&reply, Code::Forbidden, &[]);
    assert!(!reply.text().contains("hush-hush"));
    assert!(!writer.node.log().contains("hush-hush"));
}

#[tokio::test]
async fn a_first_start_makes_one_pair_and_shows_it_once() {
    let directory = tempfile::tempdir().unwrap();
    let tools = Tools::load().unwrap();
    let start = async || server::start(&tools, "writer", directory.path(), &[]).await.unwrap();
    let said_so_far = || std::fs::read_to_string(directory.path().join("server.log")).unwrap();
    let (program, url) = start().await;
    // What it shows and what it logs come by pipes of their own, in any order.
    said("HEADWATER_SECRET=", said_so_far).await;
    let shown = |name: &str| {
        let mark = format!("{name}=");
        let log = said_so_far();
        assert_eq!(log.matches(&mark).count(), 1, "{log}");
        let rest = &log[log.find(&mark).unwrap() + mark.len()..];
        rest.split_whitespace().next().unwrap().to_owned()
    };
    let (apikey, secret) = (shown("HEADWATER_APIKEY"), shown("HEADWATER_SECRET"));
    assert!(secret.len() >= 43, "256 bits");
    refused(&Client::dev(&url).get("/v1/collections").await, Code::Forbidden, &[]);
    refused(&Client::with_pair(&url, Some((&apikey, "wrong"))).get("/v1/collections").await, Code::Forbidden, &[]);
    let admin = Client::with_pair(&url, Some((&apikey, &secret)));
    admin.create("flags").await;
    assert_eq!(admin.set("flags", "a", "1").await.status, 200);
    assert_eq!(admin.get("/v1/collections").await.text(), r#"{"collections":["flags"]}"#);
    program.stop(server::STOP_GRACE).await.unwrap();

    let (program, url) = start().await;
    let admin = Client::with_pair(&url, Some((&apikey, &secret)));
    assert_eq!(admin.entry("flags", "a").await.status, 200, "the pair is as durable as what it wrote");
    assert_eq!(shown("HEADWATER_APIKEY"), apikey, "shown once only");
    assert_eq!(said_so_far().matches(&secret).count(), 1, "and in no log line");
    program.stop(server::STOP_GRACE).await.unwrap();
}
