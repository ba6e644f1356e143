//! A key that is limited to collections and prefixes, on every route of writer and replica.

use super::{Pair, assert_refused};
use headwater_core::api::Code;
use headwater_tests::{Client, Lines};
use reqwest::Method;
use serde_json::{Value, json};

fn keys(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|entry| entry["key"].as_str().expect("a key")).collect()
}

#[tokio::test]
async fn reads_end_where_the_grant_does() {
    let pair = Pair::start().await;
    for client in pair.narrow().await {
        assert_eq!(client.get("/v1/collections").await.text(), r#"{"collections":["flags","prices"]}"#);
        for (path, keys_there) in [
            ("/v1/collections/flags/keys", &["a"][..]),
            ("/v1/collections/prices/keys?prefix=eu:", &["eu:1", "eu:2"]),
            ("/v1/collections/prices/keys?prefix=eu:&limit=1", &["eu:1"]),
            ("/v1/collections/prices/keys?prefix=eu:&after=eu:1", &["eu:2"]),
            ("/v1/collections/prices/keys?prefix=eu:&after=eu:9", &[]),
            ("/v1/collections/prices/keys?prefix=eu%3A2", &["eu:2"]),
        ] {
            let reply = client.get(path).await;
            assert_eq!(reply.status, 200, "{path}: {}", reply.text());
            assert_eq!(keys(&reply.json()), keys_there, "{path}");
            // What changes beyond the prefix is nobody's business here.
            assert_eq!(reply.header("etag").is_some(), path.contains("/flags/"), "{path}");
        }
        for path in ["/v1/collections/prices/keys/eu:1", "/v1/collections/prices/entry?key=eu%3A1"] {
            assert_eq!(client.get(path).await.status, 200, "{path}");
        }
        assert_refused(&client.get("/v1/collections/prices/keys/eu:9").await, Code::NotFound);
        for path in [
            "/v1/collections/prices/keys",
            "/v1/collections/prices/keys?prefix=",
            "/v1/collections/prices/keys?prefix=e",
            "/v1/collections/prices/keys?prefix=eu&limit=1",
            "/v1/collections/prices/keys?prefix=us:",
            "/v1/collections/prices/keys?after=eu:",
            "/v1/collections/prices/keys/us:1",
            "/v1/collections/prices/keys/never",
            "/v1/collections/prices/entry?key=us%3A1",
            "/v1/collections/hidden/keys/a",
            "/v1/collections/hidden/keys",
            "/v1/collections/never/keys",
            "/v1/collections/never/keys/a",
            "/v1/collections/_keys/keys",
            "/v1/collections/_keys/keys/narrow",
            "/v1/status",
            "/v1/metrics",
            "/v1/keys",
        ] {
            assert_refused(&client.get(path).await, Code::Forbidden);
        }
    }
}

#[tokio::test]
async fn a_stream_carries_what_the_grant_covers_and_no_more() {
    let pair = Pair::start().await;
    for client in pair.narrow().await {
        let mut lines = Lines::open(&client, "").await.unwrap();
        let baseline = lines.until("READY").await;
        assert_eq!(baseline[0]["scope"], json!({"flags": [""], "prices": ["eu:"]}));
        let held: Vec<_> =
            baseline.iter().filter(|line| line["type"] == "SET").map(|line| line["key"].clone()).collect();
        assert_eq!(held, ["a", "eu:1", "eu:2"]);
        for scope in [r#"{"prices":["us:"]}"#, r#"{"hidden":[""]}"#, r#"{"_keys":[""]}"#] {
            let refused = Lines::open(&client, &format!("{{\"scope\":{scope}}}")).await.unwrap_err();
            assert_refused(&refused, Code::Forbidden);
        }
        for scope in ["\"**\"", r#"{"prices":[""],"_keys":[""],"hidden":[""],"flags":["a"]}"#] {
            let mut lines = Lines::open(&client, &format!("{{\"scope\":{scope}}}")).await.unwrap();
            let hello = lines.command().await;
            let cut = if scope.starts_with('"') { json!([""]) } else { json!(["a"]) };
            assert_eq!(hello["scope"], json!({"flags": cut, "prices": ["eu:"]}));
        }
        let writer = pair.writer.client();
        let ops = r#"{"op":"set","key":"us:1","value":2},{"op":"set","key":"eu:1","value":2},{"op":"set","key":"x","value":2}"#;
        assert_eq!(writer.batch("prices", ops).await.status, 200);
        assert_eq!(writer.set("hidden", "a", "2").await.status, 200);
        assert_eq!(writer.set("flags", "last", "2").await.status, 200);
        let mut seen = Vec::new();
        while !seen.contains(&json!("last")) {
            let line = lines.command().await;
            assert!(line["collection"].is_null() || line["collection"] == "flags" || line["collection"] == "prices");
            let ops = line["commands"].as_array().cloned().unwrap_or_default();
            seen.extend(ops.iter().chain([&line]).map(|line| line["key"].clone()).filter(Value::is_string));
        }
        assert_eq!(seen, ["eu:1", "last"]);
        assert_eq!(writer.delete("flags", "last").await.status, 200);
        pair.together().await;
    }
}

#[tokio::test]
async fn writes_end_where_the_grant_does_and_a_batch_is_all_or_nothing() {
    let pair = Pair::start().await;
    for client in pair.narrow().await {
        let set = |key: &str| format!(r#"{{"op":"set","key":"{key}","value":3}}"#);
        let before = pair.writer.client().position().await;
        for (collection, key) in [("prices", "us:1"), ("prices", "eu"), ("flags", "a"), ("hidden", "a"), ("_keys", "x")]
        {
            assert_refused(&client.set(collection, key, "3").await, Code::Forbidden);
            assert_refused(&client.delete(collection, key).await, Code::Forbidden);
            let batch = client.batch(collection, &[set("eu:1"), set(key)].join(",")).await;
            assert_refused(&batch, Code::Forbidden);
            if collection == "prices" {
                assert_eq!(batch.json()["index"], json!(1));
            }
        }
        for name in ["prices2", "hidden2", "_made"] {
            let body = format!("{{\"name\":\"{name}\"}}");
            assert_refused(&client.call(Method::POST, "/v1/collections", body).await, Code::Forbidden);
        }
        for collection in ["made", "prices", "hidden", "_keys"] {
            let path = format!("/v1/collections/{collection}");
            assert_refused(&client.call(Method::DELETE, &path, "").await, Code::Forbidden);
        }
        assert_eq!(pair.writer.client().position().await, before, "nothing was written");
        client.create("made").await;
        assert_eq!(client.set("made", "anything", "1").await.status, 200);
        assert_eq!(client.set("prices", "eu:3", "3").await.status, 200);
        assert_eq!(client.batch("prices", &[set("eu:1"), set("eu:4")].join(",")).await.status, 200);
        for key in ["eu:3", "eu:4"] {
            assert_eq!(client.delete("prices", key).await.status, 200);
        }
        // Writing is not reading.
        assert_refused(&client.entry("made", "anything").await, Code::Forbidden);
        assert_eq!(pair.writer.client().call(Method::DELETE, "/v1/collections/made", "").await.status, 200);
        pair.together().await;
    }
}

#[tokio::test]
async fn what_a_node_must_ask_its_parent_for_is_judged_before_and_there() {
    let pair = Pair::start_with(&[("--scope", r#"{"flags":[""],"_keys":[""]}"#)]).await;
    let [_, near] = pair.narrow().await;
    // It holds the flags itself and the prices not.
    for (collection, key, status) in [("flags", "a", 200), ("prices", "eu:1", 200), ("prices", "us:1", 403)] {
        assert_eq!(near.entry(collection, key).await.status, status, "{collection} {key}");
    }
    assert_eq!(near.get("/v1/collections").await.text(), r#"{"collections":["flags","prices"]}"#);
    assert_eq!(near.get("/v1/collections/prices/keys?prefix=eu:").await.json().as_array().map(Vec::len), Some(2));
    assert_refused(&near.get("/v1/collections/prices/keys").await, Code::Forbidden);
    assert_eq!(pair.replica.client().get("/v1/metrics").await.json()["reads_forwarded_total"], json!(3));
    assert_eq!(Client::dev(&pair.replica.url).get("/v1/keys").await.status, 200);
}
