//! Collections: created, listed, dropped, created again; the system's own are out of reach.

use super::{Writer, answered, call, position, refused};
use headwater_core::api::Code;
use headwater_tests::Client;

async fn create(client: &Client, name: &str) -> headwater_tests::Reply {
    call(client, "POST", "/v1/collections", &[], &format!("{{\"name\":\"{name}\"}}")).await
}

#[tokio::test]
async fn creating_is_idempotent_and_takes_one_number() {
    let writer = Writer::start().await;
    let first = create(&writer.client, "prices").await;
    answered(&first, r#"{"ok":true,"collection":"prices"}"#);
    let again = create(&writer.client, "prices").await;
    answered(&again, r#"{"ok":true,"collection":"prices"}"#);
    assert_eq!(position(&again), position(&first), "nothing was written");
    let other = call(&writer.client, "POST", "/v1/collections", &[], " {\"x\":1, \"name\" : \"pri\\u0063es\"} ").await;
    answered(&other, r#"{"ok":true,"collection":"prices"}"#);
    assert_eq!(position(&other), position(&first));
    assert_eq!(position(&create(&writer.client, "more").await).seq, position(&first).seq + 1);
}

#[tokio::test]
async fn names_are_listed_in_the_order_of_their_bytes() {
    let writer = Writer::start().await;
    let mut names = ["b", "a", "B", "a.b", "a-b", "a:b", "a_b", "0", "Z9", "a0"].map(String::from).to_vec();
    for name in &names {
        assert_eq!(create(&writer.client, name).await.status, 200, "{name}");
    }
    names.push("flags".into());
    names.sort_unstable();
    let expected = format!("{{\"collections\":{}}}", serde_json::to_string(&names).unwrap());
    answered(&writer.client.get("/v1/collections").await, &expected);
}

#[tokio::test]
async fn a_dropped_collection_is_gone_and_comes_back_empty() {
    let writer = Writer::start().await;
    let client = &writer.client;
    writer.write("a", "1").await;
    writer.write("a", "2").await;
    let last = writer.write("b", "1").await;
    let dropped = call(client, "DELETE", "/v1/collections/flags", &[], "").await;
    answered(&dropped, r#"{"ok":true,"collection":"flags"}"#);
    assert_eq!(position(&dropped).seq, last.seq + 1);
    answered(&client.get("/v1/collections").await, r#"{"collections":[]}"#);
    let path = Client::entry_path("flags", "a");
    for (method, path, body) in [
        ("GET", &*path, ""),
        ("PUT", &path, "{\"value\":1}"),
        ("DELETE", &path, ""),
        ("GET", "/v1/collections/flags/keys", ""),
        ("DELETE", "/v1/collections/flags", ""),
    ] {
        let reply = call(client, method, path, &[], body).await;
        assert_eq!(reply.status, 404, "{method} {path}");
        refused(&reply, Code::MissingCollection, &["flags"]);
    }
    assert_eq!(client.position().await, position(&dropped).to_string(), "refusals take no number");
    assert_eq!(create(client, "flags").await.status, 200);
    assert_eq!(client.get("/v1/collections/flags/keys").await.text(), "[]");
    refused(&client.entry("flags", "a").await, Code::NotFound, &["a"]);
    refused(&client.delete("flags", "a").await, Code::NotFound, &["a"]);
    assert_eq!(client.set("flags", "a", "3").await.json()["version"].as_u64(), Some(1));
}

#[tokio::test]
async fn the_systems_collections_are_shown_nowhere_and_written_by_nobody() {
    let writer = Writer::start().await;
    let replica = writer.replica(&[]).await;
    let before = writer.client.position().await;
    for client in [&writer.client, &replica.client()] {
        for name in ["_keys", "_other", "_"] {
            let entry = Client::entry_path(name, "a");
            let (keys, drop) = (format!("/v1/collections/{name}/keys/a"), format!("/v1/collections/{name}"));
            for (method, path, body) in [
                ("POST", &*entry, "{\"value\":1}"),
                ("PUT", &keys, "{\"value\":1}"),
                ("DELETE", &entry, ""),
                ("DELETE", &keys, ""),
                ("DELETE", &drop, ""),
                ("POST", "/v1/collections", &format!("{{\"name\":\"{name}\"}}")),
                ("POST", "/v1/collections", "{\"name\":\"\\u005fkeys\"}"),
                ("DELETE", "/v1/collections/%5Fkeys", ""),
                ("PUT", "/v1/collections/%5fkeys/entry?key=a", "{\"value\":1}"),
            ] {
                let reply = call(client, method, path, &[], body).await;
                refused(&reply, Code::Forbidden, &[]);
            }
        }
        answered(&client.get("/v1/collections").await, r#"{"collections":["flags"]}"#);
        let status = client.status().await;
        assert_eq!(super::fields(&status["collections"]), ["flags"].into());
    }
    assert_eq!(writer.client.position().await, before);
}
