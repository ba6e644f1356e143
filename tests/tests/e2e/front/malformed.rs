//! Requests that two programs could read differently: each is refused, the connection is closed, and nothing behind it is
//! carried out.

use super::{SLACK, Wire, writer};

const HOST: &str = "host: localhost\r\n";
const PAIR: &str = "apikey: dev\r\nsecret: dev\r\n";
/// What an attacker would have carried out: a request of its own, hidden behind or in another one.
const HIDDEN: &str = "PUT /v1/collections/c/keys/smuggled HTTP/1.1\r\nhost: localhost\r\napikey: dev\r\nsecret: dev\r\n\
    content-length: 11\r\n\r\n{\"value\":1}";

/// A request, and what it is answered with.
fn corpus() -> Vec<(String, u16, &'static str)> {
    let post =
        |fields: &str, body: &str| format!("POST /v1/collections HTTP/1.1\r\n{HOST}{PAIR}{fields}\r\n{body}{HIDDEN}");
    let get = |first: &str, fields: &str| format!("{first}\r\n{fields}{PAIR}\r\n{HIDDEN}");
    let chunked = "transfer-encoding: chunked\r\n";
    let bad = |request: String| (request, 400, "invalid_request");
    vec![
        bad(post("content-length: 13\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n")),
        bad(post("transfer-encoding: chunked\r\ncontent-length: 4\r\n", "0\r\n\r\n")),
        bad(post("content-length: 0\r\ncontent-length: 0\r\n", "")),
        bad(post("content-length: 0, 0\r\n", "")),
        bad(post("content-length: +0\r\n", "")),
        bad(post("content-length: 0x0\r\n", "")),
        bad(post("content-length: 00000000000000000000\r\n", "")),
        bad(post("content-length : 0\r\n", "")),
        bad(post("transfer-encoding: identity\r\n", "")),
        bad(post("transfer-encoding: chunked, identity\r\n", "0\r\n\r\n")),
        bad(post("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n")),
        bad(post("transfer-encoding: xchunked\r\n", "0\r\n\r\n")),
        bad(post("transfer-encoding:\u{b}chunked\r\n", "0\r\n\r\n")),
        bad(post("x: a\r\n b\r\n", "")),
        bad(post("x: a\r\n\tcontent-length: 5\r\n", "")),
        bad(post("x: a\nb: c\r\n", "")),
        bad(post("x: a\rb: c\r\n", "")),
        bad(post("x: a\0b\r\n", "")),
        bad(post("x\r\n", "")),
        bad(post(": a\r\n", "")),
        bad(post("host: other\r\n", "")),
        bad(post(chunked, "5;name=value\r\n{    \r\n0\r\n\r\n")),
        bad(post(chunked, "5\n{    \r\n0\r\n\r\n")),
        bad(post(chunked, "5\r\n{    0\r\n\r\n")),
        bad(post(chunked, "-1\r\n")),
        bad(post(chunked, "ffffffffffffffff\r\n")),
        bad(post(chunked, "0\r\ntrailer: x\r\n\r\n")),
        bad(get("GET /livez HTTP/1.1", "")),
        bad(get("GET  /livez HTTP/1.1", HOST)),
        bad(get("GET /livez  HTTP/1.1", HOST)),
        bad(get("GET /li vez HTTP/1.1", HOST)),
        bad(get("GET\t/livez HTTP/1.1", HOST)),
        bad(get(" GET /livez HTTP/1.1", HOST)),
        bad(get("GET /livez", HOST)),
        bad(get("GET /livez HTTP/1.2", HOST)),
        bad(get("GET /livez HTTP/3", HOST)),
        bad(get("GET /livez# HTTP/1.1", HOST)),
        bad(get("GET /v1/collections/c/keys/a#/../../x HTTP/1.1", HOST)),
        bad(get("GET /v1/collections/c/entry?key=a#b HTTP/1.1", HOST)),
        bad(get("GET /<livez> HTTP/1.1", HOST)),
        bad(get("GET /live`z HTTP/1.1", HOST)),
        bad(get("GET livez HTTP/1.1", HOST)),
        bad(get("GET /livez\0 HTTP/1.1", HOST)),
        bad(get("GET /live\u{e9} HTTP/1.1", HOST)),
        bad(get("G\u{7f}T /livez HTTP/1.1", HOST)),
        bad("\u{16}\u{3}\u{1}\u{2}\0\u{1}\r\n\r\n".into()),
        bad("not http\r\n\r\n".into()),
        bad(format!("GET /livez HTTP/1.1\nhost: localhost\n\n{HIDDEN}")),
        bad(format!("\r\n\r\nGET /livez HTTP/1.1\r\n{HOST}\r\n{HIDDEN}")),
        (get("GET /v1/collections/c/keys/../../x HTTP/1.1", HOST), 400, "invalid_key"),
        (get("GET /v1/collections/c/keys/%2e%2e/x HTTP/1.1", HOST), 400, "invalid_key"),
        (get("GET /v1/collections/c/keys/a%zz HTTP/1.1", HOST), 400, "invalid_key"),
        (get("GET /v1/collections/c/keys/a%2 HTTP/1.1", HOST), 400, "invalid_key"),
        (get("GET /livez HTTP/1.1", "host: evil.example\r\n"), 421, "misdirected"),
        (get(&format!("GET /{} HTTP/1.1", "a".repeat(20_000)), HOST), 414, "uri_too_long"),
        (get("GET /livez HTTP/1.1", &format!("{HOST}x: {}\r\n", "a".repeat(40_000))), 431, "headers_too_large"),
        (get("GET /livez HTTP/1.1", &format!("{HOST}{}", "x: a\r\n".repeat(120))), 431, "headers_too_large"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_done() {
    let (_directory, node, client) = writer(&[]).await;
    let before = client.position().await;
    let corpus = corpus();
    println!("{} malformed requests", corpus.len());
    for (request, status, code) in corpus {
        let mut wire = Wire::open(&node.url).await;
        wire.send(request.as_bytes()).await;
        let heard = wire.hear(SLACK * 2).await;
        let shown = &request[..request.len().min(200)];
        assert_eq!(heard.answers(), [(status, code.to_owned())], "{shown:?}: {}", heard.text);
        assert!(heard.text.contains("connection: close"), "{shown:?}: {}", heard.text);
        assert!(heard.lasted < SLACK, "{shown:?}: gone after {:?}", heard.lasted);
        assert_eq!(client.position().await, before, "{shown:?}: something was written");
    }
}

#[tokio::test]
async fn what_came_before_a_malformed_request_is_answered_first() {
    let (_directory, node, client) = writer(&[]).await;
    let mut wire = Wire::open(&node.url).await;
    let good = format!("GET /livez HTTP/1.1\r\n{HOST}\r\n");
    let put = "PUT /v1/collections/c/keys/first HTTP/1.1\r\nhost: localhost\r\napikey: dev\r\nsecret: dev\r\n\
        content-length: 11\r\n\r\n{\"value\":1}";
    let bad = format!("GET /livez HTTP/1.1\r\n{HOST}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n");
    wire.send(format!("{good}{put}{good}{bad}{HIDDEN}{good}").as_bytes()).await;
    let heard = wire.hear(SLACK * 2).await;
    let ok = || (200, "-".to_owned());
    assert_eq!(heard.answers(), [ok(), ok(), ok(), (400, "invalid_request".to_owned())], "{}", heard.text);
    assert_eq!(client.entry("c", "first").await.status, 200);
    assert_eq!(client.entry("c", "smuggled").await.status, 404);
}

#[tokio::test]
async fn what_is_odd_and_has_one_reading_is_taken() {
    let (_directory, node, _client) = writer(&[]).await;
    for request in [
        format!("\r\nGET /livez HTTP/1.1\r\n{HOST}connection: close\r\n\r\n"),
        format!("GET /livez HTTP/1.0\r\n{HOST}\r\n"),
        "GET /livez HTTP/1.1\r\nHOST:localhost\r\nConnection:\tclose \r\nx:\r\n\r\n".to_owned(),
        format!("POST /livez HTTP/1.1\r\n{HOST}connection: close\r\nTransfer-Encoding: CHUNKED\r\n\r\n00\r\n\r\n"),
        format!("GET http://localhost/livez HTTP/1.1\r\n{HOST}connection: close\r\n\r\n"),
    ] {
        let mut wire = Wire::open(&node.url).await;
        wire.send(request.as_bytes()).await;
        let heard = wire.hear(SLACK * 2).await;
        let status = heard.answers()[0].0;
        assert!(status == 200 || (status == 405 && request.starts_with("POST")), "{request:?}: {}", heard.text);
    }
}
