//! Targets that URL libraries, proxies or attackers rewrite: refused before routing, whatever they would have reached.

use super::{Writer, call, refused};
use headwater_core::api::Code;
use headwater_tests::raw;

/// Behind `/v1/collections/flags/`: what has no reading as a key.
const BAD_KEYS: [&str; 27] = [
    "keys/",
    "keys//",
    "keys//a",
    "keys/a//b",
    "keys/a/",
    "keys/.",
    "keys/..",
    "keys/../../flags",
    "keys/../../../status",
    "keys/%2e",
    "keys/%2E%2e",
    "keys/.%2e/a",
    "keys/%2e%2e/%2e%2e/flags",
    "keys/a/./b",
    "keys/a/../b",
    "keys/a%2F..%2Fb",
    "keys/a%2F%2Fb",
    "keys/%2Fa",
    "keys/a%2F",
    "keys/a\\b",
    "keys/a%5Cb",
    "keys/..%5c..%5cflags",
    "keys/%",
    "keys/%f",
    "keys/%zz",
    "keys/%ff",
    "keys/%c0%ae%c0%ae/a",
];
/// Whole targets with such pieces elsewhere.
const BAD_PATHS: [&str; 14] = [
    "//",
    "//v1/status",
    "/v1//status",
    "/v1/status/",
    "/v1/collections/",
    "/v1/collections//keys",
    "/v1/./status",
    "/v1/collections/flags/../prices",
    "/v1/%2e%2e/healthz",
    "/healthz/..",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/..%2f..%2fetc/passwd",
    "/a\\b",
    "/v1/collections/%ff/keys",
];

#[tokio::test]
async fn paths_that_others_would_rewrite_reach_nothing() {
    let writer = Writer::start().await;
    writer.write("a", "1").await;
    let before = writer.client.position().await;
    for tail in BAD_KEYS {
        for method in ["GET", "PUT", "POST", "DELETE"] {
            let target = format!("/v1/collections/flags/{tail}");
            let reply = raw::ask(writer.url(), method, &target, &[], b"{\"value\":1}").await;
            assert_eq!(reply.status, 400, "{method} {target}: {}", reply.text());
            refused(&reply, Code::InvalidKey, &[]);
        }
    }
    for target in BAD_PATHS {
        for method in ["GET", "DELETE"] {
            let reply = raw::ask(writer.url(), method, target, &[], b"").await;
            assert_eq!(reply.status, 400, "{method} {target}: {}", reply.text());
            refused(&reply, Code::InvalidKey, &[]);
        }
    }
    assert_eq!(writer.client.position().await, before);
    assert_eq!(writer.client.get("/v1/collections").await.text(), r#"{"collections":["flags"]}"#);
}

#[tokio::test]
async fn a_dropped_collection_is_named_in_its_own_segment() {
    let writer = Writer::start().await;
    writer.client.create("prices").await;
    // Reading these as `flags` would drop it.
    for target in ["/v1/collections/prices/../flags", "/v1/collections/prices%2F..%2Fflags", "/v1/collections/flags/"] {
        refused(&raw::ask(writer.url(), "DELETE", target, &[], b"").await, Code::InvalidKey, &[]);
    }
    let reply = raw::ask(writer.url(), "DELETE", "/v1/collections/prices%2Fflags", &[], b"").await;
    assert!(matches!(&*reply.code(), "missing_collection" | "invalid_key"), "{}", reply.text());
    assert_eq!(writer.client.get("/v1/collections").await.text(), r#"{"collections":["flags","prices"]}"#);
}

#[tokio::test]
async fn the_parameter_is_there_once_and_decodes() {
    let writer = Writer::start().await;
    let before = writer.client.position().await;
    for (query, code) in [
        ("", Code::InvalidKey),
        ("?", Code::InvalidKey),
        ("?key", Code::InvalidKey),
        ("?key=", Code::InvalidKey),
        ("?Key=a", Code::InvalidKey),
        ("?other=a", Code::InvalidKey),
        ("?key=%", Code::InvalidKey),
        ("?key=%2", Code::InvalidKey),
        ("?key=%gg", Code::InvalidKey),
        ("?key=%ff", Code::InvalidKey),
        ("?key=%ed%a0%80", Code::InvalidKey),
        ("?key=a&key=b", Code::InvalidRequest),
        ("?key=a&key=a", Code::InvalidRequest),
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            let target = format!("/v1/collections/flags/entry{query}");
            let reply = raw::ask(writer.url(), method, &target, &[], b"{\"value\":1}").await;
            assert_eq!((&*reply.code(), reply.status), (code.word(), code.status()), "{method} {target}");
            refused(&reply, code, &[]);
        }
    }
    assert_eq!(writer.client.position().await, before);
}

#[tokio::test]
async fn other_parameters_are_passed_over() {
    let writer = Writer::start().await;
    writer.write("a", "1").await;
    for path in [
        "/healthz?x",
        "/v1/status?a=b",
        "/v1/collections?x=%zz",
        "/v1/collections/flags/keys?x=1&x=2&&=&y",
        "/v1/collections/flags/keys/a?key=b",
        "/v1/collections/flags/entry?x=1&key=a&x=2",
    ] {
        assert_eq!(writer.client.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_number_to_list_by_is_a_number() {
    let writer = Writer::start().await;
    for query in ["limit=0", "limit=-1", "limit=x", "limit=", "limit=1.5", "limit=99999999999999999999999", "limit=%20"]
    {
        let reply = writer.client.get(&format!("/v1/collections/flags/keys?{query}")).await;
        refused(&reply, Code::InvalidRequest, &["limit"]);
    }
    for query in ["limit=1&limit=1", "prefix=a&prefix=a", "after=a&after=b"] {
        refused(&writer.client.get(&format!("/v1/collections/flags/keys?{query}")).await, Code::InvalidRequest, &[]);
    }
    for query in ["prefix=%zz", "after=%ff"] {
        refused(&writer.client.get(&format!("/v1/collections/flags/keys?{query}")).await, Code::InvalidKey, &[]);
    }
}

#[tokio::test]
async fn a_target_in_other_forms_is_no_path() {
    let writer = Writer::start().await;
    let reply = raw::ask(writer.url(), "OPTIONS", "*", &[], b"").await;
    refused(&reply, Code::InvalidKey, &[]);
    let reply = call(&writer.client, "GET", "/healthz#fragment", &[], "").await;
    assert_eq!(reply.status, 200, "clients keep fragments to themselves");
}
