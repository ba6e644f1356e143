//! Those who were refused: the first of a kind at once, the others as a count, and nothing that could be a secret.

use super::{content, told, verified};
use crate::api::{Writer, call, refused};
use headwater_core::api::Code;
use headwater_core::credentials::{Claims, Rights, Role};
use headwater_core::id::Id;
use headwater_tests::{Client, raw};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn wrong_pairs_are_one_line_and_a_count() {
    let mut writer = Writer::start().await;
    let entry = Client::entry_path("flags", "a");
    for index in 0..30 {
        let secret = format!("a wrong guess {index}");
        let client = Client::with_pair(writer.url(), Some(("dev", &secret)));
        refused(&call(&client, "PUT", &entry, &[], "{\"value\":1}").await, Code::Forbidden, &[]);
    }
    let swapped = Client::with_pair(writer.url(), Some(("a secret in the wrong place", "dev")));
    refused(&swapped.get("/v1/status").await, Code::Forbidden, &[]);
    let noted = told(&writer.node, "refused", |found| !found.is_empty()).await;
    assert_eq!(noted.len(), 1, "{noted:?}");
    let first = &noted[0];
    assert_eq!((&first["code"], &first["status"], &first["count"]), (&json!("forbidden"), &json!(403), &json!(1)));
    assert_eq!((&first["peer"], &first["claimed"], &first["by"]), (&json!("127.0.0.1"), &json!("dev"), &json!(null)));
    assert_eq!((&first["op"], &first["collection"]), (&json!("set"), &json!("flags")));
    writer.node.stop().await.expect("it runs");
    let counted = told(&writer.node, "refused", |found| found.len() > 1).await;
    assert_eq!((counted.len(), &counted[1]["count"]), (2, &json!(30)), "{counted:?}");
    let verified = verified(&writer.node).await;
    assert_eq!(verified["stopped"], true, "the counts stand before its end: {verified}");
    let content = content(&writer.node);
    for hidden in ["guess", "wrong place"] {
        assert!(!content.contains(hidden), "{hidden:?} in {content}");
    }
}

#[tokio::test]
async fn a_token_that_is_wrong_is_noted_with_the_key_it_says_it_is_of_if_there_is_one() {
    let writer = Writer::start().await;
    let made = writer.client.call(Method::POST, "/v1/keys", r#"{"id":"app","roles":["read"]}"#).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let claims = Claims { cluster: Id::from_bytes([7; 16]), rights: Rights::of([Role::Read]), issued_s: 1, until_s: 2 };
    // One line for each kind: what is refused of the same kind from the same address is counted.
    for (method, id) in [(Method::GET, "app"), (Method::POST, "nobodys")] {
        let client = Client::with_token(writer.url(), &claims.sign(id, "guessed"));
        refused(&client.call(method, "/v1/collections", r#"{"name":"c"}"#).await, Code::Forbidden, &[]);
        let noted = told(&writer.node, "refused", |found| !found.is_empty()).await;
        assert_eq!((&noted[0]["claimed"], &noted[0]["by"], noted.len()), (&json!("app"), &json!(null), 1), "{noted:?}");
    }
    let other = Writer::start().await;
    let client = Client::with_token(other.url(), &claims.sign("app", "guessed"));
    refused(&client.get("/v1/collections").await, Code::Forbidden, &[]);
    let noted = told(&other.node, "refused", |found| !found.is_empty()).await;
    assert_eq!(noted[0]["claimed"], json!(null), "nobody is called so there: {noted:?}");
    for node in [&writer.node, &other.node] {
        assert!(!content(node).contains("nobodys"));
    }
}

#[tokio::test]
async fn each_kind_of_refusal_is_noted_with_what_is_known_of_it() {
    let writer = Writer::start_with(&[("--protect", "flags")]).await;
    refused(&call(&writer.client, "DELETE", "/v1/collections/flags", &[], "").await, Code::Protected, &[]);
    refused(&writer.client.set("_keys", "a", "1").await, Code::Forbidden, &[]);
    raw::send(writer.url(), b"GET /healthz HTTP/1.1\r\n\r\n").await;
    raw::send(writer.url(), b"GET /healthz HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n").await;
    raw::ask(writer.url(), "GET", "/v1/collections/flags/keys/a/../b", &[], b"").await;
    let noted = told(&writer.node, "refused", |found| found.len() >= 5).await;
    let by_code = |code: Code| {
        noted.iter().find(|entry| entry["code"] == code.word()).unwrap_or_else(|| panic!("{code:?}: {noted:?}"))
    };
    let protected = by_code(Code::Protected);
    assert_eq!(
        (&protected["by"], &protected["op"], &protected["collection"]),
        (&json!("dev"), &json!("drop"), &json!("flags"))
    );
    let system = by_code(Code::Forbidden);
    assert_eq!((&system["by"], &system["collection"]), (&json!("dev"), &json!("_keys")));
    for code in [Code::InvalidRequest, Code::Misdirected, Code::InvalidKey] {
        assert_eq!(by_code(code)["peer"], "127.0.0.1");
    }
    let ordinary = noted.len();
    // What clients meet in their daily work is nobody's attempt at anything.
    assert_eq!(writer.client.entry("flags", "missing").await.status, 404);
    assert_eq!(writer.client.set("flags", "a", "1e400").await.status, 400);
    writer.write("a", "1").await;
    told(&writer.node, "write", |found| found.len() >= 2).await;
    assert_eq!(told(&writer.node, "refused", |_| true).await.len(), ordinary);
}
