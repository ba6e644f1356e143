//! Keys made, listed, changed, rotated and revoked through writer and replica alike.

use super::{Pair, assert_refused, listed, made};
use headwater_core::api::Code;
use headwater_local::{server, tools::Tools};
use headwater_tests::node::said;
use headwater_tests::{Client, NodeBuilder, eventually};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn a_key_is_made_used_changed_rotated_and_revoked_through_any_node() {
    let pair = Pair::start().await;
    for node in [&pair.writer, &pair.replica] {
        let admin = node.client();
        let reply = admin.call(Method::POST, "/v1/keys", r#"{"id":"app","roles":["read"]}"#).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(Some(pair.writer.client().position().await.as_str()), reply.header("headwater-position"));
        let secret = reply.json()["secret"].as_str().unwrap().to_owned();
        assert_eq!(secret.len(), 64);
        pair.together().await;
        for client in pair.with("app", &secret) {
            assert_eq!(client.entry("flags", "a").await.status, 200);
            assert_refused(&client.set("flags", "a", "2").await, Code::Forbidden);
        }
        let list = listed(&admin).await;
        assert_eq!(list["app"]["roles"], json!(["read"]));
        assert!(list["app"]["created"].as_str().unwrap().starts_with("20"), "{list}");
        let text = admin.get("/v1/keys").await.text().to_owned();
        assert!(!text.contains(&secret) && !text.contains("sha256"), "{text}");

        let changed = admin.call(Method::PUT, "/v1/keys/app", r#"{"roles":["write"]}"#).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        pair.together().await;
        for client in pair.with("app", &secret) {
            assert_refused(&client.entry("flags", "a").await, Code::Forbidden);
            assert_eq!(client.set("flags", "a", "1").await.status, 200);
        }
        let rotated = admin.call(Method::POST, "/v1/keys/app/rotate", r#"{"graceMs":600000}"#).await;
        let new = rotated.json()["secret"].as_str().unwrap().to_owned();
        assert!(rotated.json()["previousUntil"].is_string() && new != secret, "{}", rotated.text());
        pair.together().await;
        for client in pair.with("app", &secret).into_iter().chain(pair.with("app", &new)) {
            assert_eq!(client.set("flags", "a", "1").await.status, 200);
        }
        let last = admin.call(Method::POST, "/v1/keys/app/rotate", "").await;
        let last = last.json()["secret"].as_str().unwrap().to_owned();
        pair.together().await;
        for (secret, status) in [(&secret, 403), (&new, 403), (&last, 200)] {
            for client in pair.with("app", secret) {
                assert_eq!(client.set("flags", "a", "1").await.status, status);
            }
        }
        let revoked = admin.call(Method::DELETE, "/v1/keys/app", "").await;
        assert_eq!(revoked.text(), r#"{"ok":true,"id":"app"}"#);
        pair.together().await;
        for client in pair.with("app", &last) {
            assert_refused(&client.set("flags", "a", "1").await, Code::Forbidden);
        }
        assert_refused(&admin.call(Method::DELETE, "/v1/keys/app", "").await, Code::NotFound);
        for log in [pair.writer.log(), pair.replica.log()] {
            assert!([&secret, &new, &last].iter().all(|secret| !log.contains(&**secret)), "a secret is in the log");
        }
    }
}

#[tokio::test]
async fn what_is_refused_leaves_everything_as_it_was() {
    let pair = Pair::start().await;
    let (id, secret) = pair.key(r#"{"id":"boss","roles":["admin","read"]}"#).await;
    pair.key(r#"{"id":"all","roles":["read","write","admin","node"]}"#).await;
    let before = pair.writer.client().position().await;
    for client in pair.with(&id, &secret) {
        for (method, path, body, code) in [
            (Method::POST, "/v1/keys", r#"{"id":"x","roles":["write"]}"#, Code::Forbidden),
            (Method::POST, "/v1/keys", r#"{"id":"x","roles":["read","node"]}"#, Code::Forbidden),
            (Method::PUT, "/v1/keys/boss", r#"{"roles":["admin","read","write"]}"#, Code::Forbidden),
            (Method::POST, "/v1/keys/all/rotate", "", Code::Forbidden),
            (Method::POST, "/v1/keys", r#"{"id":"all","roles":["read"]}"#, Code::PreconditionFailed),
            (Method::POST, "/v1/keys", r#"{"id":"a/../b","roles":["read"]}"#, Code::InvalidKey),
            (Method::POST, "/v1/keys", r#"{"id":"x"}"#, Code::InvalidJson),
            (Method::POST, "/v1/keys", r#"{"id":"x","roles":["read"],"more":1}"#, Code::InvalidJson),
            (Method::POST, "/v1/keys/never/rotate", "", Code::NotFound),
            (Method::PUT, "/v1/keys/never", r#"{"roles":["read"]}"#, Code::NotFound),
            (Method::GET, "/v1/keys/all", "", Code::MethodNotAllowed),
            (Method::PATCH, "/v1/keys", "", Code::MethodNotAllowed),
            (Method::GET, "/v1/keys/all/rotate", "", Code::MethodNotAllowed),
        ] {
            let reply = client.call(method.clone(), path, body).await;
            assert_eq!((reply.status, &*reply.code()), (code.status(), code.word()), "{method} {path} {body}");
        }
    }
    assert_eq!(pair.writer.client().position().await, before);
}

#[tokio::test]
async fn the_last_who_manages_keys_stays_however_many_go_at_once() {
    let pair = Pair::start().await;
    let ids: Vec<_> = (0..8).map(|n| format!("admin-{n}")).collect();
    for id in &ids {
        made(&pair.writer.client(), &format!(r#"{{"id":"{id}","roles":["admin"]}}"#)).await;
    }
    let client = pair.writer.client();
    let revoking: Vec<_> = ids
        .iter()
        .map(|id| {
            let (client, path) = (client.clone(), format!("/v1/keys/{id}"));
            tokio::spawn(async move { client.call(Method::DELETE, &path, "").await })
        })
        .collect();
    let mut refused = 0;
    for reply in revoking {
        let reply = reply.await.unwrap();
        if reply.status != 200 {
            assert_refused(&reply, Code::PreconditionFailed);
            assert!(reply.text().contains("last key with role admin"), "{}", reply.text());
            refused += 1;
        }
    }
    assert_eq!(refused, 1);
    assert_eq!(listed(&client).await.as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn keys_are_as_durable_as_all_else_and_a_node_without_an_admin_makes_one() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    // For development there is no pair of its own, and the first key is not an admin's.
    let (id, secret) = made(&writer.client(), r#"{"roles":["read","write"]}"#).await;
    let mut writer = writer;
    writer.stop().await;
    let tools = Tools::load().unwrap();
    let data = writer.data().to_owned();
    let start = async || server::start(&tools, "writer", &data, &[]).await.unwrap();
    let said_so_far = || std::fs::read_to_string(data.join("server.log")).unwrap();
    let (program, url) = start().await;
    assert_eq!(Client::with_pair(&url, Some((&id, &secret))).get("/v1/collections").await.status, 200);
    said("HEADWATER_SECRET=", said_so_far).await;
    program.stop(server::STOP_GRACE).await.unwrap();
    let (program, _url) = start().await;
    program.stop(server::STOP_GRACE).await.unwrap();
    eventually("one pair was shown, and no second", || async {
        let shown = said_so_far().matches("HEADWATER_SECRET=").count();
        if shown == 1 { Ok(()) } else { Err(shown.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn a_list_may_wait_for_what_was_just_changed() {
    let pair = Pair::start().await;
    for n in 0..20 {
        let body = format!(r#"{{"id":"k{n}","roles":["read"]}}"#);
        let reply = pair.replica.client().call(Method::POST, "/v1/keys", body).await;
        let request = pair.replica.client().request(Method::GET, "/v1/keys");
        let request = request.header("headwater-min-position", reply.header("headwater-position").unwrap());
        let list = pair.replica.client().send(request).await.unwrap();
        assert!(list.text().contains(&format!("\"id\":\"k{n}\"")), "{}", list.text());
    }
}
