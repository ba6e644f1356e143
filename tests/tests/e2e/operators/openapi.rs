//! `GET /openapi.json`: what nodes answer is of the forms that the document tells, with statuses that it knows.

use headwater_tests::schema::check;
use headwater_tests::{Client, NodeBuilder, Reply, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Headers that are HTTP's own, or of how an answer is sent.
const PLAIN: [&str; 7] =
    ["cache-control", "connection", "content-length", "content-type", "date", "transfer-encoding", "x-accel-buffering"];

/// A document, and which of its answers were seen.
struct Document {
    document: Value,
    seen: BTreeSet<(String, u16)>,
}

impl Document {
    async fn of(client: &Client) -> Self {
        let reply = client.get("/openapi.json").await;
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
        Self { document: reply.json(), seen: BTreeSet::new() }
    }

    /// Holds an answer's headers against those that are told of it, where their being there hangs on nothing that the
    /// answer itself does not show.
    fn hold_headers(id: &str, told: &Value, reply: &Reply) {
        let told: BTreeSet<_> =
            told["headers"].as_object().expect("an object").keys().map(|n| n.to_lowercase()).collect();
        let seen: BTreeSet<_> = reply.headers.keys().map(|name| name.as_str().to_owned()).collect();
        let unknown: Vec<_> = seen.iter().filter(|name| !told.contains(*name) && !PLAIN.contains(&&***name)).collect();
        assert!(unknown.is_empty(), "{id} {}: {unknown:?} is told of nowhere", reply.status);
        let error = if reply.status >= 400 && !reply.body.is_empty() { reply.json() } else { Value::Null };
        let comes_back = matches!(error["error"].as_str(), Some("overloaded" | "not_ready" | "rate_limited"));
        for name in told.difference(&seen) {
            let may_lack = match name.as_str() {
                "headwater-lag-ms" | "link" => true,
                "retry-after" => !comes_back,
                "etag" => reply.status == 412 && error["etag"].is_null(),
                _ => false,
            };
            assert!(may_lack, "{id} {}: {name} is missing", reply.status);
        }
    }

    /// Holds the answer to a method that a path does not take.
    fn hold_not_allowed(&self, reply: &Reply) {
        let told = &self.document["components"]["responses"]["MethodNotAllowed"];
        Self::hold_headers("MethodNotAllowed", told, reply);
        let schema = &told["content"]["application/json"]["schema"];
        check(&self.document, schema, &reply.json()).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Holds an answer against the operation of this id.
    fn hold(&mut self, id: &str, reply: &Reply) {
        let paths = self.document["paths"].as_object().expect("an object");
        let operations = paths.values().flat_map(|item| item.as_object().expect("an object").values());
        let operation = operations.into_iter().find(|operation| operation["operationId"] == id);
        let operation = operation.unwrap_or_else(|| panic!("there is no {id}"));
        let answer = &operation["responses"][reply.status.to_string()];
        assert!(answer.is_object(), "{id} does not know {}: {}", reply.status, reply.text());
        Self::hold_headers(id, answer, reply);
        let kind = reply.header("content-type").unwrap_or_default().to_owned();
        if reply.body.is_empty() {
            assert!(answer.get("content").is_none(), "{id} {}", reply.status);
        } else {
            let schema = &answer["content"][&kind]["schema"];
            assert!(schema.is_object(), "{id} {} does not know {kind}", reply.status);
            if kind == "application/json" {
                check(&self.document, schema, &reply.json()).unwrap_or_else(|error| panic!("{id}: {error}"));
                let code = reply.json()["error"].clone();
                let about = answer["description"].as_str().expect("words");
                assert!(
                    code.as_str().is_none_or(|code| about.contains(&format!("{code}:"))),
                    "{id}: {code} in {about}"
                );
            }
        }
        self.seen.insert((id.to_owned(), reply.status));
    }
}

/// A request: the operation, method, path, headers, body.
type Asked<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

#[tokio::test]
async fn answers_are_of_the_forms_that_the_document_tells() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).option("--value-bytes-max", "1000").start().await;
    let near = NodeBuilder::replica("near", directory.path(), &writer.url).start().await;
    near.ready().await;
    let large = format!("{{\"value\":\"{}\"}}", "x".repeat(1_000));
    let longer = "x".repeat(70_000);
    let (long_line, long_head) = (format!("/v1/collections/c/keys/{}", "a".repeat(16 << 10)), "x".repeat(40 << 10));
    let (entry, keys) = ("/v1/collections/c/entry?key=a", "/v1/collections/c/keys/a");
    let stale = [("headwater-min-position", "9999999999999.1"), ("headwater-wait-ms", "0")];
    let requests: &[Asked<'_>] = &[
        ("createCollection", "POST", "/v1/collections", &[], r#"{"name":"c"}"#),
        ("createCollection", "POST", "/v1/collections", &[], "{}"),
        ("createCollection", "POST", "/v1/collections", &[], r#"{"name":"a/b"}"#),
        ("createCollection", "POST", "/v1/collections", &[], "nonsense"),
        ("setEntry", "PUT", entry, &[], r#"{"value":{"a":[1,null]}}"#),
        ("setEntry", "PUT", entry, &[("if-none-match", "*")], r#"{"value":1}"#),
        ("setEntry", "PUT", entry, &[("if-match", "nonsense")], r#"{"value":1}"#),
        ("setEntry", "PUT", entry, &[("idempotency-key", "k")], r#"{"value":1}"#),
        ("setEntry", "PUT", entry, &[("idempotency-key", "k")], r#"{"value":2}"#),
        ("setEntry", "PUT", "/v1/collections/missing/entry?key=a", &[], r#"{"value":1}"#),
        ("setEntry", "PUT", "/v1/collections/_keys/entry?key=a", &[], r#"{"value":1}"#),
        ("setEntry", "PUT", "/v1/collections/c/entry?key=", &[], r#"{"value":1}"#),
        ("setEntry", "PUT", entry, &[], &*large),
        ("createCollection", "POST", "/v1/collections", &[], &*longer),
        ("getEntryByPath", "GET", &*long_line, &[], ""),
        ("getEntry", "GET", entry, &[("x-more", &*long_head)], ""),
        ("postEntry", "POST", entry, &[], r#"{"value":1,"ifAbsent":true}"#),
        ("postEntry", "POST", entry, &[], r#"{"value":"x"}"#),
        ("postEntryByPath", "POST", keys, &[], "{}"),
        ("postEntryByPath", "POST", keys, &[], r#"{"value":-1.5}"#),
        ("setEntryByPath", "PUT", keys, &[], r#"{"value":[]}"#),
        ("getEntry", "GET", entry, &[], ""),
        ("getEntry", "GET", "/v1/collections/c/entry?key=none", &[], ""),
        ("getEntry", "GET", "/v1/collections/none/entry?key=a", &[], ""),
        ("getEntry", "GET", entry, &stale, ""),
        ("getEntry", "GET", entry, &[("headwater-min-position", "1.1")], ""),
        ("getEntryByPath", "GET", keys, &[], ""),
        ("getEntryByPath", "GET", keys, &[("if-none-match", "*")], ""),
        ("getEntryByPath", "GET", "/v1/collections/c/keys/%zz", &[], ""),
        ("listEntries", "GET", "/v1/collections/c/keys", &[], ""),
        ("listEntries", "GET", "/v1/collections/c/keys", &[("accept", "application/x-ndjson")], ""),
        ("listEntries", "GET", "/v1/collections/c/keys?limit=0", &[], ""),
        ("listCollections", "GET", "/v1/collections", &[], ""),
        ("writeBatch", "POST", "/v1/collections/c/batch", &[], r#"{"ops":[{"op":"set","key":"b","value":1}]}"#),
        ("writeBatch", "POST", "/v1/collections/c/batch", &[], r#"{"ops":[{"op":"delete","key":"none"}]}"#),
        ("writeBatch", "POST", "/v1/collections/c/batch", &[], r#"{"ops":[{"op":"set"}]}"#),
        ("deleteEntry", "DELETE", entry, &[], ""),
        ("deleteEntry", "DELETE", entry, &[], ""),
        ("setEntryByPath", "PUT", keys, &[], r#"{"value":[]}"#),
        ("deleteEntryByPath", "DELETE", keys, &[("if-match", "\"1-1\"")], ""),
        ("deleteEntryByPath", "DELETE", keys, &[], ""),
        (
            "createKey",
            "POST",
            "/v1/keys",
            &[],
            r#"{"id":"ci","roles":["read"],"grants":[{"roles":["write"],"scope":{"c":["a"]}}]}"#,
        ),
        ("createKey", "POST", "/v1/keys", &[], r#"{"id":"ci","roles":["read"]}"#),
        ("createKey", "POST", "/v1/keys", &[], r#"{"id":"a b","roles":["read"]}"#),
        ("createKey", "POST", "/v1/keys", &[], "{}"),
        ("changeKey", "PUT", "/v1/keys/ci", &[], r#"{"roles":["write"]}"#),
        ("changeKey", "PUT", "/v1/keys/none", &[], r#"{"roles":["write"]}"#),
        ("rotateKey", "POST", "/v1/keys/ci/rotate", &[], r#"{"graceMs":1000}"#),
        ("rotateKey", "POST", "/v1/keys/ci/rotate", &[], r#"{"graceMs":-1}"#),
        ("listKeys", "GET", "/v1/keys", &[], ""),
        ("createToken", "POST", "/v1/tokens", &[], ""),
        ("revokeKey", "DELETE", "/v1/keys/ci", &[], ""),
        ("revokeKey", "DELETE", "/v1/keys/ci", &[], ""),
        ("follow", "POST", "/v1/replicate", &[], "nonsense"),
        ("health", "GET", "/healthz", &[], ""),
        ("liveness", "GET", "/livez", &[], ""),
        ("startup", "GET", "/startupz", &[], ""),
        ("readiness", "GET", "/readyz", &[], ""),
        ("status", "GET", "/v1/status", &[], ""),
        ("metrics", "GET", "/v1/metrics", &[], ""),
        ("exposition", "GET", "/metrics", &[], ""),
        ("document", "GET", "/openapi.json", &[], ""),
        ("dropCollection", "DELETE", "/v1/collections/c", &[], ""),
        ("dropCollection", "DELETE", "/v1/collections/c", &[], ""),
        ("dropCollection", "DELETE", "/v1/collections/_keys", &[], ""),
    ];
    for node in [&writer, &near] {
        let client = node.client();
        let mut document = Document::of(&client).await;
        for &(id, method, path, headers, body) in requests {
            let reply = super::super::api::call(&client, method, path, headers, body).await;
            document.hold(id, &reply);
            let nobody =
                super::super::api::call(&Client::with_pair(&node.url, None), method, path, headers, body).await;
            document.hold(id, &nobody);
        }
        let made = client.call(Method::POST, "/v1/keys", r#"{"roles":["read"]}"#).await.json();
        let [id, secret] = ["id", "secret"].map(|member| made[member].as_str().expect("a text"));
        eventually("the node has heard of the key", || async {
            let (here, there) = (client.position().await, writer.client().position().await);
            if here == there { Ok(()) } else { Err(format!("{here} of {there}")) }
        })
        .await;
        let pair = Client::with_pair(&node.url, Some((id, secret)));
        for body in ["", r#"{"ttlMs":60000,"roles":["read"]}"#, r#"{"ttlMs":1}"#, r#"{"roles":["write"]}"#] {
            document.hold("createToken", &pair.call(Method::POST, "/v1/tokens", body).await);
        }
        for path in ["/v1/collections", "/healthz", keys] {
            document.hold_not_allowed(&super::super::api::call(&client, "PATCH", path, &[], "").await);
        }
        for status in [400, 403, 404, 405, 409, 412, 413, 414, 422, 431, 504] {
            let is_seen = status == 405 || document.seen.iter().any(|(_, seen)| *seen == status);
            assert!(is_seen, "{status}: {:?}", document.seen);
        }
        // Every operation was asked, answered well, and refused where it may be.
        for item in document.document["paths"].as_object().unwrap().values() {
            for operation in item.as_object().unwrap().values() {
                let id = operation["operationId"].as_str().unwrap();
                let is_public = operation["security"] == json!([]);
                let seen = |status| document.seen.contains(&(id.to_owned(), status));
                // A stream has no end to wait for.
                assert!(seen(200) || id == "follow", "{id}");
                assert!(is_public || seen(403), "{id}: {:?}", document.seen);
            }
        }
    }
    let limited = NodeBuilder::writer("limited", directory.path()).option("--rate-per-address", "1/m:5").start().await;
    let mut document = Document::of(&limited.client()).await;
    while !document.seen.contains(&("getEntry".into(), 429)) {
        document.hold("getEntry", &limited.client().get(entry).await);
    }
    let orphan = NodeBuilder::replica("orphan", directory.path(), "http://127.0.0.1:1").start().await;
    let lonely = orphan.client();
    let mut document = Document::of(&lonely).await;
    document.hold("readiness", &lonely.get("/readyz").await);
    document.hold("getEntry", &lonely.get(entry).await);
    document.hold("setEntry", &lonely.call(Method::PUT, entry, r#"{"value":1}"#).await);
    let (statuses, all) = (document.seen.iter().map(|(_, status)| *status).collect::<BTreeSet<_>>(), [502, 503]);
    assert_eq!(statuses, all.into());
}
