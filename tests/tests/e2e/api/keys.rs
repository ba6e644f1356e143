//! Keys: every key is reached by `entry?key=`, most by `/keys/`, and both read one key from one text.

use super::{Writer, answered, call, refused};
use headwater_core::api::{Code, encode};
use headwater_tests::{Client, raw};

/// Keys that both forms reach.
const PLAIN: [&str; 19] = [
    "a",
    "checkout:new",
    "a/b/c",
    "a b",
    "a+b",
    "a%b",
    "a%2Fb",
    "%",
    "a&b=c",
    "a?b#c",
    "é",
    "e\u{301}",
    "☃",
    "\u{1f600}",
    "a\0b",
    "\0",
    "\u{7f}\u{1}\n",
    "..a/b..",
    "\"quoted\"",
];
/// Keys that only `entry?key=` reaches.
const TRICKY: [&str; 11] = ["/", "//", "a//b", "a/", "/a", ".", "..", "../../flags", "a/./b", "a\\b", "a/..\\c"];

fn keys_path(key: &str) -> String {
    let mut path = String::from("/v1/collections/flags/keys/");
    encode(key, &mut path);
    path
}

#[tokio::test]
async fn both_forms_read_and_write_the_same_key() {
    let writer = Writer::start().await;
    let client = &writer.client;
    let mut seq = super::position(&client.get("/v1/collections").await).seq;
    for (index, key) in PLAIN.into_iter().enumerate() {
        let (by_path, by_query) = (keys_path(key), Client::entry_path("flags", key));
        let shown = serde_json::to_string(key).unwrap();
        let write = call(client, "PUT", &by_path, &[], &format!("{{\"value\":{index}}}")).await;
        seq += 1;
        answered(&write, &format!("{{\"ok\":true,\"seq\":{seq},\"version\":1}}"));
        let write = call(client, "POST", &by_query, &[], &format!("{{\"value\":{index}}}")).await;
        seq += 1;
        answered(&write, &format!("{{\"ok\":true,\"seq\":{seq},\"version\":2}}"));
        let (read, other) = (client.get(&by_path).await, client.get(&by_query).await);
        assert_eq!(read.body, other.body, "{key:?}");
        assert_eq!(read.header("etag"), other.header("etag"), "{key:?}");
        let entry = read.json();
        assert_eq!((entry["key"].as_str(), entry["value"].as_u64()), (Some(key), Some(index as u64)));
        let start = format!("{{\"key\":{shown},\"value\":{index},\"version\":2,\"seq\":{seq},\"updatedAt\":\"");
        assert!(read.text().starts_with(&start), "{} is not {start}", read.text());
        if index % 2 == 0 {
            seq += 1;
            let form = if index % 4 == 0 { &by_path } else { &by_query };
            let gone = call(client, "DELETE", form, &[], "").await;
            answered(&gone, &format!("{{\"ok\":true,\"seq\":{seq},\"version\":3}}"));
            refused(&client.get(&by_path).await, Code::NotFound, &[]);
            refused(&client.get(&by_query).await, Code::NotFound, &[]);
            refused(&call(client, "DELETE", form, &[], "").await, Code::NotFound, &[]);
        }
    }
    let listed = client.get("/v1/collections/flags/keys").await.json();
    let mut left: Vec<_> = PLAIN.into_iter().skip(1).step_by(2).collect();
    left.sort_unstable();
    assert_eq!(listed.as_array().unwrap().iter().map(|e| e["key"].as_str().unwrap()).collect::<Vec<_>>(), left);
}

#[tokio::test]
async fn the_parameter_reaches_keys_that_paths_cannot_carry() {
    let writer = Writer::start().await;
    for (index, key) in TRICKY.into_iter().enumerate() {
        assert_eq!(writer.client.set("flags", key, &index.to_string()).await.status, 200, "{key:?}");
        let entry = writer.client.entry("flags", key).await.json();
        assert_eq!((entry["key"].as_str(), entry["value"].as_u64()), (Some(key), Some(index as u64)));
        for method in ["GET", "PUT", "DELETE"] {
            let reply = raw::ask(writer.url(), method, &keys_path(key), &[], b"{\"value\":0}").await;
            refused(&reply, Code::InvalidKey, &["entry?key="]);
        }
    }
    for key in TRICKY {
        assert_eq!(writer.client.delete("flags", key).await.status, 200, "{key:?}");
    }
}

#[tokio::test]
async fn a_plus_is_a_plus_and_percent_is_decoded_once() {
    let writer = Writer::start().await;
    let url = writer.url();
    for (target, key) in [
        ("/v1/collections/flags/entry?key=a+b", "a+b"),
        ("/v1/collections/flags/entry?key=a%2Bb", "a+b"),
        ("/v1/collections/flags/entry?key=a%20b", "a b"),
        ("/v1/collections/flags/entry?key=a%252Fb", "a%2Fb"),
        ("/v1/collections/flags/entry?other=1&key=a/b:c@d!$'()*,;", "a/b:c@d!$'()*,;"),
        ("/v1/collections/flags/entry?key=a=b=c", "a=b=c"),
        ("/v1/collections/flags/keys/a+b", "a+b"),
        ("/v1/collections/flags/keys/a%252Fb", "a%2Fb"),
        ("/v1/collections/flags/keys/a%2Fb", "a/b"),
        ("/v1/collections/flags/keys/a%2fb", "a/b"),
        ("/v1/collections/fl%61gs/keys/a%3ab", "a:b"),
    ] {
        let written = raw::ask(url, "PUT", target, &[], b"{\"value\":1}").await;
        assert_eq!(written.status, 200, "{target}: {}", written.text());
        let read = raw::ask(url, "GET", target, &[], b"").await;
        assert_eq!(read.json()["key"].as_str(), Some(key), "{target}");
        assert_eq!(writer.client.entry("flags", key).await.body, read.body, "{target}");
    }
}

#[tokio::test]
async fn text_is_never_normalised() {
    let writer = Writer::start().await;
    writer.write("\u{e9}", "\"composed\"").await;
    writer.write("e\u{301}", "\"decomposed\"").await;
    assert_eq!(writer.client.entry("flags", "\u{e9}").await.json()["value"], "composed");
    assert_eq!(writer.client.entry("flags", "e\u{301}").await.json()["value"], "decomposed");
}
