//! The key that needs no secret: what everybody may read who shows no credentials, decided by every node alike.

use super::{NARROW, Pair, assert_refused, end_of};
use headwater_core::api::Code;
use headwater_tests::{Client, Lines};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn nobody_reads_what_the_anonymous_key_says_and_writes_nothing() {
    let pair = Pair::start().await;
    for client in pair.as_nobody() {
        assert_refused(&client.entry("flags", "a").await, Code::Forbidden);
    }
    let (id, secret) = pair.key(r#"{"id":"anonymous","grants":[{"roles":["read"],"scope":{"flags":[""]}}]}"#).await;
    assert_eq!((&*id, &*secret), ("anonymous", ""));
    let before = pair.writer.client().position().await;
    for client in pair.as_nobody() {
        assert_eq!(client.entry("flags", "a").await.status, 200);
        assert_eq!(client.get("/v1/collections/flags/keys").await.status, 200);
        assert_eq!(client.get("/v1/collections").await.text(), r#"{"collections":["flags"]}"#);
        assert_refused(&client.entry("prices", "eu:1").await, Code::Forbidden);
        assert_refused(&client.set("flags", "a", "2").await, Code::Forbidden);
        assert_refused(&client.delete("flags", "a").await, Code::Forbidden);
        assert_refused(&client.batch("flags", "").await, Code::Forbidden);
        for (method, path) in [
            (Method::POST, "/v1/collections"),
            (Method::DELETE, "/v1/collections/flags"),
            (Method::GET, "/v1/status"),
            (Method::GET, "/v1/metrics"),
            (Method::GET, "/v1/keys"),
            (Method::POST, "/v1/keys"),
            (Method::DELETE, "/v1/keys/anonymous"),
            (Method::GET, "/v1/collections/_keys/keys"),
        ] {
            assert_refused(&client.call(method, path, r#"{"name":"more","roles":["read"]}"#).await, Code::Forbidden);
        }
        let mut lines = Lines::open(&client, "").await.unwrap();
        assert_eq!(lines.command().await["scope"], json!({"flags": [""]}));
    }
    assert_eq!(pair.writer.client().position().await, before);
}

#[tokio::test]
async fn wrong_credentials_are_not_none_at_all() {
    let pair = Pair::start().await;
    pair.key(r#"{"id":"anonymous","roles":["read"]}"#).await;
    for url in [&pair.writer.url, &pair.replica.url] {
        let nobody = Client::with_pair(url, None);
        let longest = "x".repeat(8_000);
        for headers in [
            &[("apikey", "dev")][..],
            &[("secret", "dev")],
            &[("apikey", ""), ("secret", "")],
            &[("apikey", "dev"), ("secret", "wrong")],
            &[("apikey", "anonymous"), ("secret", "")],
            &[("apikey", "anonymous"), ("secret", "anonymous")],
            &[("apikey", &longest), ("secret", &longest)],
            &[("apikey", "dev"), ("apikey", "dev"), ("secret", "dev")],
            &[("authorization", "Bearer eyJhbGciOiJub25lIn0.e30.")],
            &[("authorization", "")],
        ] {
            let request = nobody.request(Method::GET, "/v1/collections/flags/keys/a");
            let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            assert_refused(&nobody.send(request).await.unwrap(), Code::Forbidden);
        }
        assert_eq!(nobody.entry("flags", "a").await.status, 200);
    }
}

#[tokio::test]
async fn it_only_ever_reads_and_ends_at_once() {
    let pair = Pair::start().await;
    let admin = pair.writer.client();
    for body in
        [r#"{"id":"anonymous","roles":["read","write"]}"#, &format!(r#"{{"id":"anonymous","grants":{NARROW}}}"#)]
    {
        assert_refused(&admin.call(Method::POST, "/v1/keys", body.to_owned()).await, Code::InvalidJson);
    }
    pair.key(r#"{"id":"anonymous","roles":["read"]}"#).await;
    let mut open = Vec::new();
    for client in pair.as_nobody() {
        let mut lines = Lines::open(&client, "").await.unwrap();
        lines.until("READY").await;
        open.push(lines);
    }
    assert_eq!(admin.call(Method::DELETE, "/v1/keys/anonymous", "").await.status, 200);
    for lines in &mut open {
        assert_eq!(end_of(lines).await, json!(["revoked", ""]));
    }
    for client in pair.as_nobody() {
        assert_refused(&client.entry("flags", "a").await, Code::Forbidden);
    }
}
