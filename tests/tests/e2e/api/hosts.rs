//! The `Host` check: a page of another name in a browser must not reach a node on loopback.

use super::{Writer, refused};
use headwater_core::api::Code;
use headwater_tests::{Reply, raw};

async fn with_host(url: &str, hosts: &[&str]) -> Reply {
    let mut request = String::from("GET /v1/collections HTTP/1.1\r\n");
    for host in hosts {
        request.push_str(&format!("host: {host}\r\n"));
    }
    request.push_str("apikey: dev\r\nsecret: dev\r\nconnection: close\r\n\r\n");
    raw::send(url, request.as_bytes()).await
}

#[tokio::test]
async fn loopback_and_configured_names_are_its_own() {
    let writer = Writer::start_with(&[("--host", "flags.example,Other.Example")]).await;
    let own = raw::authority(writer.url()).to_owned();
    for host in [
        &*own,
        "127.0.0.1",
        "127.0.0.1:9",
        "127.9.9.9",
        "localhost",
        "LocalHost:80",
        "[::1]",
        "[::1]:4077",
        "flags.example",
        "FLAGS.EXAMPLE:443",
        "other.example",
    ] {
        let reply = with_host(writer.url(), &[host]).await;
        assert_eq!(reply.status, 200, "{host}: {}", reply.text());
    }
}

#[tokio::test]
async fn other_names_are_misdirected() {
    let writer = Writer::start_with(&[("--host", "flags.example")]).await;
    for host in [
        "evil.example",
        "flags.example.evil.example",
        "sub.flags.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "[::2]",
        "0.0.0.0",
        "evil.example:4077",
    ] {
        let reply = with_host(writer.url(), &[host]).await;
        refused(&reply, Code::Misdirected, &[host.split(':').next().unwrap()]);
    }
}

#[tokio::test]
async fn the_check_comes_before_everything_else() {
    let writer = Writer::start().await;
    for (method, target) in
        [("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/"), ("POST", "/v1/replicate"), ("GET", "/v1/none")]
    {
        let request = format!("{method} {target} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n");
        let reply = raw::send(writer.url(), request.as_bytes()).await;
        refused(&reply, Code::Misdirected, &["evil.example"]);
    }
    // In the absolute form the target's host is what counts (RFC 9112, section 3.2.2).
    let own = raw::authority(writer.url());
    let request = format!("GET http://evil.example/healthz HTTP/1.1\r\nhost: {own}\r\nconnection: close\r\n\r\n");
    refused(&raw::send(writer.url(), request.as_bytes()).await, Code::Misdirected, &["evil.example"]);
    let request = format!("GET {}/healthz HTTP/1.1\r\nhost: {own}\r\nconnection: close\r\n\r\n", writer.url());
    assert_eq!(raw::send(writer.url(), request.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn no_host_or_two_are_no_request() {
    let writer = Writer::start().await;
    let own = raw::authority(writer.url()).to_owned();
    refused(&with_host(writer.url(), &[]).await, Code::InvalidRequest, &["Host"]);
    refused(&with_host(writer.url(), &[&own, &own]).await, Code::InvalidRequest, &["Host"]);
    refused(&with_host(writer.url(), &[&own, "evil.example"]).await, Code::InvalidRequest, &["Host"]);
    for host in ["", "a b", "a/b", "localhost:port", "user@localhost"] {
        let reply = with_host(writer.url(), &[host]).await;
        assert!(matches!(reply.status, 400 | 421), "{host:?}: {}", reply.text());
        assert!(matches!(&*reply.code(), "invalid_request" | "misdirected"), "{host:?}: {}", reply.text());
    }
}

#[tokio::test]
async fn no_page_of_another_origin_is_invited() {
    let writer = Writer::start().await;
    let headers = [("origin", "http://evil.example"), ("access-control-request-method", "POST")];
    for (method, target, status) in [("OPTIONS", "/v1/collections", 405), ("GET", "/v1/collections", 200)] {
        let reply = raw::ask(writer.url(), method, target, &headers, b"").await;
        assert_eq!(reply.status, status);
        let invited = reply.headers.keys().find(|name| name.as_str().starts_with("access-control"));
        assert_eq!(invited, None);
        assert_eq!(reply.header("set-cookie"), None);
    }
}
