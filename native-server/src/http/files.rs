//! The console's files, embedded in the binary.

use super::reply;
use crate::server::Server;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use headwater_core::api::{Answer, ApiError, Body, Code, parse_tags};
use headwater_core::store::memory::MemorySnapshot;
use std::sync::LazyLock;
use twox_hash::XxHash3_64;

static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/console_files.rs"));

/// Nothing but this node's own files runs or is asked.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:; \
                      font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file as it is served.
struct File {
    name: &'static str,
    bytes: &'static [u8],
    tag: String,
}

static SERVED: LazyLock<Vec<File>> = LazyLock::new(|| {
    let tag = |bytes| format!("{:016x}", XxHash3_64::oneshot(bytes));
    FILES.iter().map(|&(name, bytes)| File { name, bytes, tag: tag(bytes) }).collect()
});

/// `GET` of any path outside the API.
pub(super) fn file(server: &Server, path: &str, parts: &Parts) -> Response {
    let name = path.trim_start_matches('/');
    let is_page = matches!(name, "" | "index.html");
    if is_page && !SERVED.iter().any(|file| file.name == "pkg/headwater_web.js") {
        return with_headers(server, unbuilt(), "text/html; charset=utf-8");
    }
    let name = if name.is_empty() { "index.html" } else { name };
    let Some(file) = SERVED.iter().find(|file| file.name == name) else {
        return reply::error(server, ApiError::new(Code::NotFound, format!("there is nothing at {path:?}")));
    };
    let tags = parts.headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).and_then(parse_tags);
    let mut answer = Answer::json(Bytes::from_static(file.bytes)).with("etag", format!("\"{}\"", file.tag));
    if tags.is_some_and(|tags| tags.contain(&file.tag)) {
        answer.status = 304;
        answer.body = Body::Full(Bytes::new());
    }
    with_headers(server, answer, content_type(name))
}

fn with_headers(server: &Server, answer: Answer<MemorySnapshot>, kind: &'static str) -> Response {
    let mut response = reply::respond(server.as_of(answer));
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    debug_assert!(headers.contains_key(ETAG) || response.status() == 503, "files have tags");
    response
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// The page of a binary that was built without the browser package.
fn unbuilt() -> Answer<MemorySnapshot> {
    let page = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Headwater</title>\
                <p>This build of Headwater lacks the browser package, so there is no console here. \
                Build it with <code>./dev build web server</code>. The HTTP API works.</p></html>\n";
    Answer { status: 503, ..Answer::json(page) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_is_embedded_with_the_type_browsers_want() {
        assert!(SERVED.iter().any(|file| file.name == "index.html" && !file.bytes.is_empty()));
        assert_eq!(content_type("pkg/headwater_web_bg.wasm"), "application/wasm");
        assert_eq!(content_type("console.js"), "text/javascript; charset=utf-8");
    }
}
