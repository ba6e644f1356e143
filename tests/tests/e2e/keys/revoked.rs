//! A key that is revoked, narrowed or rotated is so at once, on the writer and on a replica: what it has open ends, and its
//! next request is refused.

use super::{Pair, assert_refused, end_of};
use headwater_core::api::Code;
use headwater_local::tools::Tools;
use headwater_tests::prometheus::Numbers;
use headwater_tests::{Client, Lines, NodeBuilder, eventually, raw};
use reqwest::Method;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Streams of a key at both nodes, caught up.
async fn open(pair: &Pair, id: &str, secret: &str, body: &str) -> Vec<Lines> {
    let mut open = Vec::new();
    for client in pair.with(id, secret) {
        let mut lines = Lines::open(&client, body).await.expect("the key reads");
        lines.until("READY").await;
        open.push(lines);
    }
    open
}

#[tokio::test]
async fn whatever_takes_a_right_away_ends_the_streams_that_had_it() {
    let pair = Pair::start().await;
    let change = |method, path: &'static str, body: &'static str| (method, path, body);
    for (change, still_reads) in [
        (change(Method::DELETE, "/v1/keys/k", ""), false),
        (change(Method::PUT, "/v1/keys/k", r#"{"roles":["write"]}"#), false),
        (change(Method::PUT, "/v1/keys/k", r#"{"grants":[{"roles":["read"],"scope":{"flags":["a"]}}]}"#), true),
        (change(Method::POST, "/v1/keys/k/rotate", ""), false),
        (change(Method::POST, "/v1/keys/k/rotate", r#"{"graceMs":1}"#), false),
    ] {
        for by in [&pair.writer, &pair.replica] {
            let (id, secret) = pair.key(r#"{"id":"k","roles":["read"]}"#).await;
            let mut streams = open(&pair, &id, &secret, "").await;
            let mut narrow = open(&pair, &id, &secret, r#"{"scope":{"flags":["a"]}}"#).await;
            let (method, path, body) = change.clone();
            let reply = by.client().call(method, path, body).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            for lines in &mut streams {
                assert_eq!(end_of(lines).await, json!(["revoked", ""]), "{change:?}");
            }
            pair.together().await;
            for (client, lines) in pair.with(&id, &secret).iter().zip(&mut narrow) {
                let reply = client.entry("flags", "a").await;
                if still_reads {
                    assert_eq!(reply.status, 200);
                    // What is still covered goes on as if nothing had been.
                    assert_eq!(pair.writer.client().set("flags", "a", "2").await.status, 200);
                    assert_eq!(lines.until("SET").await.pop().unwrap()["key"], json!("a"));
                    assert_refused(&client.entry("prices", "eu:1").await, Code::Forbidden);
                } else {
                    assert_refused(&reply, Code::Forbidden);
                    assert_eq!(end_of(lines).await, json!(["revoked", ""]));
                }
            }
            pair.writer.client().call(Method::DELETE, "/v1/keys/k", "").await;
            pair.together().await;
        }
    }
}

#[tokio::test]
async fn nothing_that_came_after_is_sent() {
    let pair = Pair::start().await;
    for _ in 0..10 {
        let (id, secret) = pair.key(r#"{"id":"k","roles":["read"]}"#).await;
        let streams = open(&pair, &id, &secret, "").await;
        let writer = pair.writer.client();
        // The three are on their way at once: the writer decides their order.
        let (revoked, first, second) = tokio::join!(
            writer.call(Method::DELETE, "/v1/keys/k", ""),
            writer.set("flags", "x", "1"),
            writer.set("flags", "y", "1"),
        );
        assert_eq!([revoked.status, first.status, second.status], [200; 3]);
        let seq = |text: &str| text.rsplit('.').next().unwrap().parse::<u64>().unwrap();
        let end = seq(revoked.header("headwater-position").unwrap());
        for mut lines in streams {
            for line in lines.until("END").await {
                assert!(line["seq"].as_u64().is_none_or(|seq| seq < end), "{line} was sent, though revoked at {end}");
            }
        }
    }
}

/// A program that starts a node with this pair for its parent.
fn with_pair_of_its_own(directory: &Path, id: &str, secret: &str) -> PathBuf {
    let (script, server) = (directory.join(format!("{id}.sh")), Tools::load().expect("the tools are listed").server);
    let pair = format!("HEADWATER_PARENT_APIKEY={id} HEADWATER_PARENT_SECRET={secret}");
    fs::write(&script, format!("#!/bin/sh\n{pair} exec {} \"$@\"\n", server.display())).expect("it can be written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).expect("it is ours");
    script
}

#[tokio::test]
async fn a_replica_whose_parent_sends_it_no_keys_says_so_and_is_not_ready() {
    let pair = Pair::start().await;
    let (id, secret) = pair.key(r#"{"id":"far","roles":["read"]}"#).await;
    let script = with_pair_of_its_own(pair.directory.path(), &id, &secret);
    let builder = NodeBuilder::replica("far", pair.directory.path(), &pair.writer.url).under(script);
    let mut far = builder.without("--dev").start().await;
    far.says("sends no keys").await;
    let reply = Client::with_pair(&far.url, None).get("/readyz").await;
    let (is_complete, follows_keys) =
        (&reply.json()["checks"]["state_complete"], &reply.json()["checks"]["keys_followed"]);
    assert_eq!((reply.status, is_complete, follows_keys), (503, &json!(true), &json!(false)), "{}", reply.text());
    let reply = pair.writer.client().call(Method::PUT, "/v1/keys/far", r#"{"roles":["node"]}"#).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    // A stream goes on as it was granted.
    far.stop().await;
    far.start_again().await;
    far.ready().await;
    assert_eq!(Client::with_pair(&far.url, Some((&id, &secret))).entry("flags", "a").await.status, 200);
}

#[tokio::test]
async fn a_replica_whose_own_key_was_revoked_says_so_and_serves_what_it_has() {
    let pair = Pair::start().await;
    let (id, secret) = pair.key(r#"{"id":"far","roles":["node"]}"#).await;
    let script = with_pair_of_its_own(pair.directory.path(), &id, &secret);
    let far = NodeBuilder::replica("far", pair.directory.path(), &pair.replica.url).under(script).start().await;
    far.ready().await;
    assert_eq!(pair.writer.client().call(Method::DELETE, "/v1/keys/far", "").await.status, 200);
    far.says("revoked").await;
    let reply = pair.with(&id, &secret)[0].entry("flags", "a").await;
    assert_refused(&reply, Code::Forbidden);
    assert_eq!(far.client().entry("flags", "a").await.status, 200);
    // It has not heard of the end of its own key, and nobody tells it any more: this is what a bound on the lag is for.
    assert_eq!(Client::with_pair(&far.url, Some((&id, &secret))).entry("flags", "a").await.status, 200);
}

#[tokio::test]
async fn a_request_that_has_been_waiting_is_judged_when_it_goes_on() {
    let pair = Pair::start().await;
    let (id, secret) = pair.key(r#"{"id":"k","roles":["read","write"]}"#).await;
    let seq = pair.writer.client().position().await;
    let (epoch, seq) = seq.split_once('.').unwrap();
    let next = format!("{epoch}.{}", seq.parse::<u64>().unwrap() + 1);
    // Reads that wait for the very command by which their key goes.
    let waiting: Vec<_> = pair
        .with(&id, &secret)
        .into_iter()
        .map(|client| {
            let request = client.request(Method::GET, &Client::entry_path("flags", "a"));
            let request = request.header("headwater-min-position", &next).header("headwater-wait-ms", "20000");
            tokio::spawn(async move { client.send(request).await.unwrap() })
        })
        .collect();
    // And a write whose body has not come to its end, so long that it is to be seen how much of it there is.
    let url = &pair.writer.url;
    let mut connection = TcpStream::connect(raw::authority(url)).await.unwrap();
    let body = format!(r#"{{"value":"{}"}}"#, "late".repeat(50_000));
    let (most, end) = body.split_at(body.len() - 8);
    let head = format!(
        "PUT /v1/collections/flags/keys/a HTTP/1.1\r\nhost: {}\r\nconnection: close\r\napikey: {id}\r\nsecret: {secret}\r\n\
         content-length: {}\r\n\r\n",
        raw::authority(url),
        body.len()
    );
    connection.write_all(format!("{head}{most}").as_bytes()).await.unwrap();
    // A request that is not in yet would be refused as well, and for less.
    let is_in = async |client: Client, name: &str| {
        eventually(name, || async {
            let numbers = Numbers::read(client.get("/metrics").await.text());
            if numbers.number(name, &[]) > Some(0.0) { Ok(()) } else { Err(numbers.number(name, &[])) }
        })
        .await;
    };
    is_in(pair.writer.client(), "headwater_reads_waiting").await;
    is_in(pair.replica.client(), "headwater_reads_waiting").await;
    is_in(pair.writer.client(), "headwater_bodies_bytes").await;
    assert_eq!(pair.writer.client().call(Method::DELETE, "/v1/keys/k", "").await.status, 200);
    connection.write_all(end.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    for reply in waiting {
        assert_refused(&reply.await.unwrap(), Code::Forbidden);
    }
    assert_eq!(pair.writer.client().entry("flags", "a").await.json()["value"], json!(1));
}

#[tokio::test]
async fn who_sends_a_body_while_the_key_goes_gets_nothing_for_it() {
    let pair = Pair::start().await;
    let (id, secret) = pair.key(r#"{"id":"k","roles":["read","write"]}"#).await;
    let mut begun = Vec::new();
    for url in [&pair.writer.url, &pair.replica.url] {
        for (method, target, body) in [
            ("POST", "/v1/tokens", "{}"),
            ("POST", "/v1/replicate", "{}"),
            ("PUT", "/v1/collections/flags/keys/a", r#"{"value":2}"#),
            ("DELETE", "/v1/collections/flags/keys/a", "{}"),
        ] {
            let host = raw::authority(url);
            let mut connection = TcpStream::connect(host).await.unwrap();
            let head = format!(
                "{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\napikey: {id}\r\nsecret: {secret}\r\n\
                 expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            connection.write_all(head.as_bytes()).await.unwrap();
            // The body is asked for when the pair was found to be right.
            let mut asked = [0; 25];
            connection.read_exact(&mut asked).await.unwrap();
            assert_eq!(asked, *b"HTTP/1.1 100 Continue\r\n\r\n");
            begun.push((format!("{method} {url}{target}"), connection, body));
        }
    }
    assert_eq!(pair.writer.client().call(Method::DELETE, "/v1/keys/k", "").await.status, 200);
    pair.together().await;
    for (what, mut connection, body) in begun {
        connection.write_all(body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{what}: {answer}");
    }
    assert_eq!(pair.writer.client().entry("flags", "a").await.json()["value"], json!(1));
}
