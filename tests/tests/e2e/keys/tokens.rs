//! Tokens: made by any node from a pair, good at every node for what they say, and over with their time, their secret and
//! what their key may.

use super::{NARROW, Pair, assert_refused, end_of};
use headwater_core::api::{Code, unix_ms};
use headwater_core::credentials::{Claims, Rights, Role};
use headwater_tests::{Client, Lines, raw};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

async fn token(client: &Client, body: &str) -> Value {
    let reply = client.call(Method::POST, "/v1/tokens", body.to_owned()).await;
    assert_eq!(reply.status, 200, "{body}: {}", reply.text());
    reply.json()
}

fn text(made: &Value) -> &str {
    made["token"].as_str().expect("a token")
}

#[tokio::test]
async fn a_token_of_either_node_is_good_at_both_for_what_it_says() {
    let pair = Pair::start().await;
    let (id, secret) = pair.key(&format!(r#"{{"id":"app","roles":["admin"],"grants":{NARROW}}}"#)).await;
    let before = pair.writer.client().position().await;
    for maker in pair.with(&id, &secret) {
        let all = token(&maker, "").await;
        assert_eq!((&all["roles"], all["grants"].as_array().map(Vec::len)), (&json!([]), Some(2)), "{all}");
        let reads = r#"{"ttlMs":60000,"grants":[{"roles":["read"],"scope":{"prices":["eu:1"]}}]}"#;
        let asked_ms = now_ms();
        let narrow = token(&maker, reads).await;
        let good_ms = unix_ms(narrow["expiresAt"].as_str().unwrap()).unwrap().saturating_sub(asked_ms);
        assert!((60_000..=70_000).contains(&good_ms), "no less than was asked for: {good_ms}");
        for url in [&pair.writer.url, &pair.replica.url] {
            let (all, narrow) = (Client::with_token(url, text(&all)), Client::with_token(url, text(&narrow)));
            let reads = async |client: &Client, collection: &str, key: &str| client.entry(collection, key).await.status;
            assert_eq!([reads(&all, "flags", "a").await, reads(&all, "prices", "eu:2").await], [200, 200]);
            assert_eq!([reads(&all, "prices", "us:1").await, reads(&all, "hidden", "a").await], [403, 403]);
            assert_eq!([reads(&narrow, "prices", "eu:1").await, reads(&narrow, "prices", "eu:2").await], [200, 403]);
            assert_eq!(narrow.set("prices", "eu:1", "2").await.status, 403);
            // Managing, insight, and further tokens take the secret.
            for (method, path) in [
                (Method::GET, "/v1/keys"),
                (Method::GET, "/v1/status"),
                (Method::GET, "/metrics"),
                (Method::POST, "/v1/tokens"),
                (Method::DELETE, "/v1/collections/prices"),
                (Method::GET, "/v1/collections/_keys/keys"),
            ] {
                assert_refused(&all.call(method, path, "").await, Code::Forbidden);
            }
        }
    }
    assert_eq!(pair.writer.client().position().await, before, "nothing of all this was written");
    let [writer, replica] = [&pair.writer.url, &pair.replica.url];
    let made = token(&Client::with_pair(replica, Some((&id, &secret))), "").await;
    assert_eq!(Client::with_token(replica, text(&made)).set("prices", "eu:3", "1").await.status, 200, "handed on");
    assert_eq!(Client::with_token(writer, text(&made)).entry("prices", "eu:3").await.status, 200);
}

#[tokio::test]
async fn nobody_gets_a_token_for_more_than_they_have_or_without_a_pair() {
    let pair = Pair::start().await;
    let (id, secret) = pair.key(r#"{"id":"app","roles":["read","admin"]}"#).await;
    for client in pair.with(&id, &secret) {
        for body in [r#"{"roles":["write"]}"#, r#"{"roles":["admin"]}"#, r#"{"roles":["read","node"]}"#] {
            assert_refused(&client.call(Method::POST, "/v1/tokens", body).await, Code::Forbidden);
        }
        for body in [
            r#"{"ttlMs":999}"#,
            r#"{"ttlMs":86400001}"#,
            r#"{"ttlMs":"60000"}"#,
            r#"{"ttl":60000}"#,
            r#"{"roles":[]}"#,
            r#"{"roles":["boss"]}"#,
            "[]",
            "{",
        ] {
            assert_refused(&client.call(Method::POST, "/v1/tokens", body).await, Code::InvalidJson);
        }
    }
    let (boss, secret) = pair.key(r#"{"id":"boss","roles":["admin"]}"#).await;
    for client in pair.with(&boss, &secret).iter().chain(&pair.as_nobody()).chain([&pair.writer.client()]) {
        assert_refused(&client.call(Method::POST, "/v1/tokens", "").await, Code::Forbidden);
    }
}

#[tokio::test]
async fn a_tokens_streams_end_with_it_and_say_so() {
    let pair = Pair::start().await;
    let (id, secret) = pair.key(r#"{"id":"app","roles":["read"]}"#).await;
    let made = token(&pair.with(&id, &secret)[0], r#"{"ttlMs":3000}"#).await;
    let until = unix_ms(made["expiresAt"].as_str().unwrap()).unwrap();
    let mut streams = Vec::new();
    for url in [&pair.writer.url, &pair.replica.url] {
        let mut lines = Lines::open(&Client::with_token(url, text(&made)), "").await.expect("it reads");
        lines.until("READY").await;
        streams.push(lines);
    }
    let left = Duration::from_millis(until.saturating_sub(now_ms()));
    let begun = Instant::now();
    for lines in &mut streams {
        assert_eq!(end_of(lines).await, json!(["token_expired", ""]));
        assert!(begun.elapsed() >= left, "not before");
    }
    for url in [&pair.writer.url, &pair.replica.url] {
        assert_refused(&Client::with_token(url, text(&made)).entry("flags", "a").await, Code::Forbidden);
    }
}

#[tokio::test]
async fn a_token_ends_at_once_with_its_key_its_secret_and_its_rights() {
    let pair = Pair::start().await;
    for (method, path, body) in [
        (Method::DELETE, "/v1/keys/k", ""),
        (Method::POST, "/v1/keys/k/rotate", ""),
        (Method::PUT, "/v1/keys/k", r#"{"grants":[{"roles":["read"],"scope":{"flags":[""]}}]}"#),
    ] {
        let (id, secret) = pair.key(r#"{"id":"k","roles":["read"]}"#).await;
        let made = token(&pair.with(&id, &secret)[1], "").await;
        let clients = [&pair.writer.url, &pair.replica.url].map(|url| Client::with_token(url, text(&made)));
        let mut streams = Vec::new();
        for client in &clients {
            let mut lines = Lines::open(client, "").await.expect("it reads");
            lines.until("READY").await;
            streams.push(lines);
        }
        let reply = pair.writer.client().call(method.clone(), path, body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        for lines in &mut streams {
            assert_eq!(end_of(lines).await, json!(["revoked", ""]), "{method} {path}");
        }
        for client in &clients {
            assert_refused(&client.entry("flags", "a").await, Code::Forbidden);
        }
        pair.writer.client().call(Method::DELETE, "/v1/keys/k", "").await;
        pair.together().await;
    }
}

#[tokio::test]
async fn no_token_outlives_the_grace_of_its_secret() {
    let pair = Pair::start().await;
    let (id, secret) = pair.key(r#"{"id":"k","roles":["read"]}"#).await;
    let before = token(&pair.with(&id, &secret)[0], r#"{"ttlMs":3600000}"#).await;
    let mut streams = Vec::new();
    for url in [&pair.writer.url, &pair.replica.url] {
        let mut lines = Lines::open(&Client::with_token(url, text(&before)), "").await.expect("it reads");
        lines.until("READY").await;
        streams.push(lines);
    }
    let rotated = pair.writer.client().call(Method::POST, "/v1/keys/k/rotate", r#"{"graceMs":4000}"#).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text());
    let grace_ends = now_ms() + 4_000;
    pair.together().await;
    for client in pair.with(&id, &secret) {
        let made = token(&client, r#"{"ttlMs":3600000}"#).await;
        let until = unix_ms(made["expiresAt"].as_str().unwrap()).unwrap();
        assert!(until <= grace_ends, "{until} of {grace_ends}");
    }
    for lines in &mut streams {
        assert_eq!(end_of(lines).await, json!(["revoked", ""]));
    }
    assert!(now_ms() + 500 >= grace_ends, "not before");
    for url in [&pair.writer.url, &pair.replica.url] {
        assert_refused(&Client::with_token(url, text(&before)).entry("flags", "a").await, Code::Forbidden);
    }
}

#[tokio::test]
async fn a_token_that_would_be_too_long_is_refused_and_a_part_of_it_is_not() {
    let pair = Pair::start().await;
    let prefixes: Vec<_> = (0..400).map(|number| format!("a prefix of some length {number:03}")).collect();
    let grants = json!([{"roles": ["read"], "scope": {"prices": prefixes}}]);
    let (id, secret) = pair.key(&json!({"id": "wide", "grants": grants}).to_string()).await;
    for client in pair.with(&id, &secret) {
        let refused = client.call(Method::POST, "/v1/tokens", "").await;
        assert_refused(&refused, Code::TooLarge);
        assert!(refused.text().contains("8192"), "{}", refused.text());
        let part = json!({"grants": [{"roles": ["read"], "scope": {"prices": [prefixes[0]]}}]});
        token(&client, &part.to_string()).await;
    }
}

#[tokio::test]
async fn whoever_has_the_secret_makes_tokens_alone_and_tricks_are_refused_by_every_node() {
    let pair = Pair::start().await;
    let (id, secret) = pair.key(r#"{"id":"app","roles":["read"]}"#).await;
    let cluster = pair.writer.client().status().await["cluster"].as_str().unwrap().parse().unwrap();
    let now_s = now_ms() / 1_000;
    let claims = Claims { cluster, rights: Rights::of([Role::Read]), issued_s: now_s, until_s: now_s + 600 };
    let good = claims.sign(&id, &secret);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let none = "eyJhbGciOiJub25lIiwia2lkIjoiYXBwIn0"; // {"alg":"none","kid":"app"}
    let payload = head.split_once('.').unwrap().1;
    let huge = format!("{head}{}.{signature}", "A".repeat(9_000));
    for url in [&pair.writer.url, &pair.replica.url] {
        assert_eq!(Client::with_token(url, &good).entry("flags", "a").await.status, 200);
        let wider = Claims { rights: Rights::of([Role::Read, Role::Write]), ..claims.clone() };
        let long = Claims { until_s: now_s + 90_000, ..claims.clone() };
        for token in [
            &*format!("{none}.{payload}."),
            &format!("{none}.{payload}.{signature}"),
            &format!("{head}."),
            head,
            &huge,
            &claims.sign("other", &secret),
            &claims.sign(&id, "another secret"),
            &wider.sign(&id, &secret),
            &long.sign(&id, &secret),
            "",
        ] {
            let headers = [("authorization", &*format!("Bearer {token}"))];
            let answer = alone(url, &headers).await;
            assert_refused(&answer, Code::Forbidden);
            assert!(!answer.text().contains(signature), "nothing of it is repeated");
        }
        let bearer = format!("Bearer {good}");
        for headers in [
            &[("authorization", &*bearer), ("authorization", &*bearer)][..],
            &[("authorization", &*bearer), ("apikey", &*id), ("secret", &*secret)],
            &[("authorization", &*format!("Token {good}"))],
            &[("authorization", &*good)],
        ] {
            assert_refused(&alone(url, headers).await, Code::Forbidden);
        }
    }
}

/// A read of `flags/a` with these headers and no others that could be credentials.
async fn alone(url: &str, headers: &[(&str, &str)]) -> headwater_tests::Reply {
    let path = Client::entry_path("flags", "a");
    let mut head = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", raw::authority(url));
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    raw::send(url, format!("{head}\r\n").as_bytes()).await
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
