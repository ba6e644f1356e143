//! Which methods each path takes; the others get 405 and `Allow`.

use super::{Writer, call, refused};
use headwater_core::api::Code;
use headwater_tests::{Client, raw};

const PATHS: [(&str, &str); 11] = [
    ("/healthz", "GET"),
    ("/livez", "GET"),
    ("/startupz", "GET"),
    ("/readyz", "GET"),
    ("/v1/status", "GET"),
    ("/v1/metrics", "GET"),
    ("/v1/collections", "GET, POST"),
    ("/v1/collections/flags", "DELETE"),
    ("/v1/collections/flags/keys", "GET"),
    ("/v1/collections/flags/keys/a", "GET, POST, PUT, DELETE"),
    ("/v1/collections/flags/entry?key=a", "GET, POST, PUT, DELETE"),
];
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE"];

#[tokio::test]
async fn other_methods_are_refused_with_those_the_path_takes() {
    let writer = Writer::start().await;
    let before = writer.client.position().await;
    let paths = PATHS.into_iter().chain([("/v1/replicate", "POST"), ("/v1/collections/flags/batch", "POST")]);
    for (path, allow) in paths {
        for method in METHODS {
            let taken = allow.split(", ").any(|taken| taken == method || (method, taken) == ("HEAD", "GET"));
            if taken {
                continue;
            }
            let reply = raw::ask(writer.url(), method, path, &[], b"{\"value\":1}").await;
            assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
            if method == "HEAD" {
                assert_eq!((reply.status, reply.body.len()), (405, 0), "{path}");
            } else {
                refused(&reply, Code::MethodNotAllowed, &[allow]);
            }
        }
    }
    assert_eq!(writer.client.position().await, before);
}

#[tokio::test]
async fn paths_that_are_not_there_are_not_found() {
    let writer = Writer::start().await;
    for path in [
        "/v1",
        "/v1/nothing",
        "/v2/status",
        "/nothing",
        "/nothing.js",
        "/v1/status/more",
        "/v1/collections/flags/nothing",
        "/v1/collections/flags/entry/more",
        "/v1/collections/flags/batch/more",
        "/V1/STATUS",
        "/metrics/more",
    ] {
        refused(&writer.client.get(path).await, Code::NotFound, &[]);
        let reply = call(&writer.client, "POST", path, &[], "").await;
        assert!(matches!(reply.status, 404 | 405), "{path}: {}", reply.text());
    }
    // Which paths there are is no secret.
    let anyone = Client::with_pair(writer.url(), None);
    refused(&anyone.get("/v1/nothing").await, Code::NotFound, &[]);
}

#[tokio::test]
async fn head_answers_as_get_without_the_body() {
    let writer = Writer::start().await;
    writer.write("a", r#"{"on":true}"#).await;
    for path in [
        "/healthz",
        "/readyz",
        "/v1/collections",
        "/v1/collections/flags/keys/a",
        "/v1/collections/flags/entry?key=a",
        "/v1/collections/flags/entry?key=missing",
        "/v1/collections/missing/keys",
    ] {
        let get = raw::ask(writer.url(), "GET", path, &[], b"").await;
        let head = raw::ask(writer.url(), "HEAD", path, &[], b"").await;
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        for name in ["content-type", "etag", "headwater-position", "content-length", "cache-control"] {
            assert_eq!(head.header(name), get.header(name), "{name} of {path}");
        }
    }
    let list = raw::ask(writer.url(), "HEAD", "/v1/collections/flags/keys?limit=1", &[], b"").await;
    assert_eq!((list.status, list.body.len()), (200, 0));
    assert!(list.header("etag").is_some());
}
