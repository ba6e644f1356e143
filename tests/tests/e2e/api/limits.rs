//! Every limit: what is exactly at it is taken, one more is refused with both numbers, and nothing is written.

use super::{Writer, refused};
use headwater_core::api::Code;
use headwater_tests::{Client, Reply, raw};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MIB: usize = 1 << 20;

/// A JSON string of this many bytes, quotes included.
fn text_of(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes - 2))
}

/// Asserts a refusal that names what was sent and what is allowed.
fn too_large(reply: &Reply, sent: usize, limit: usize) {
    refused(reply, Code::TooLarge, &[&sent.to_string(), &limit.to_string()]);
}

#[tokio::test]
async fn keys_have_up_to_a_kibibyte_of_utf8() {
    let writer = Writer::start().await;
    let client = &writer.client;
    for key in ["k".repeat(1024), "é".repeat(512), "\0".repeat(1024)] {
        assert_eq!(client.set("flags", &key, "1").await.status, 200);
        assert_eq!(client.entry("flags", &key).await.json()["key"].as_str(), Some(&*key));
    }
    let before = client.position().await;
    for (key, bytes) in [("k".repeat(1025), 1025), ("é".repeat(513), 1026), ("k".repeat(9_000), 9_000)] {
        too_large(&client.set("flags", &key, "1").await, bytes, 1024);
        too_large(&client.delete("flags", &key).await, bytes, 1024);
        let target = format!("/v1/collections/flags/keys/{}", key.replace('é', "%C3%A9"));
        too_large(&raw::ask(writer.url(), "PUT", &target, &[], b"{\"value\":1}").await, bytes, 1024);
        // Nothing can be there.
        refused(&client.entry("flags", &key).await, Code::NotFound, &[]);
    }
    assert_eq!(client.position().await, before);
}

#[tokio::test]
async fn names_have_up_to_128_bytes() {
    let writer = Writer::start().await;
    let name = "n".repeat(128);
    writer.client.create(&name).await;
    assert_eq!(writer.client.set(&name, "a", "1").await.status, 200);
    let before = writer.client.position().await;
    let body = format!("{{\"name\":\"{name}n\"}}");
    too_large(&raw::ask(writer.url(), "POST", "/v1/collections", &[], body.as_bytes()).await, 129, 128);
    assert_eq!(writer.client.position().await, before);
}

#[tokio::test]
async fn values_have_up_to_a_mebibyte_without_their_white_space() {
    let writer = Writer::start().await;
    let client = &writer.client;
    let exact = text_of(MIB);
    assert_eq!(client.set("flags", "exact", &exact).await.status, 200);
    let entry = client.entry("flags", "exact").await;
    assert_eq!(entry.json()["value"].as_str().map(str::len), Some(MIB - 2));
    // White space around and within does not count.
    let spaced = format!("[{}{}  ]", " ".repeat(10_000), text_of(MIB - 2));
    assert_eq!(client.set("flags", "spaced", &spaced).await.status, 200);
    let before = client.position().await;
    for bytes in [MIB + 1, MIB + 1_000] {
        too_large(&client.set("flags", "exact", &text_of(bytes)).await, bytes, MIB);
    }
    assert_eq!(client.entry("flags", "exact").await.body, entry.body);
    assert_eq!(client.position().await, before);
    let replica = writer.replica(&[]).await;
    assert_eq!(replica.client().entry("flags", "exact").await.body, entry.body);
}

#[tokio::test]
async fn limits_are_what_the_settings_say() {
    let settings = [("--value-bytes-max", "10"), ("--key-bytes-max", "3"), ("--collections-max", "4")];
    let writer = Writer::start_with(&settings).await;
    let client = &writer.client;
    assert_eq!(client.set("flags", "abc", "1234567890").await.status, 200);
    // `flags` is there; the system's own count, too.
    let mut made = Vec::new();
    let refusal = loop {
        let name = format!("more-{}", made.len());
        let reply = client.call(reqwest::Method::POST, "/v1/collections", format!("{{\"name\":\"{name}\"}}")).await;
        if reply.status != 200 {
            break reply;
        }
        made.push(name);
        assert!(made.len() < 4, "no limit");
    };
    refused(&refusal, Code::TooLarge, &["4 collections"]);
    let before = client.position().await;
    too_large(&client.set("flags", "abcd", "1").await, 4, 3);
    too_large(&client.set("flags", "abc", "12345678901").await, 11, 10);
    let again = client.call(reqwest::Method::POST, "/v1/collections", "{\"name\":\"last\"}").await;
    refused(&again, Code::TooLarge, &["4 collections"]);
    assert_eq!(client.position().await, before);
    // One that exists is still fine, and dropping one makes room.
    client.create("flags").await;
    let path = format!("/v1/collections/{}", made[0]);
    assert_eq!(client.call(reqwest::Method::DELETE, &path, "").await.status, 200);
    client.create("last").await;
}

#[tokio::test]
async fn bodies_over_their_limit_are_not_read() {
    let writer = Writer::start().await;
    let before = writer.client.position().await;
    let announced = 1usize << 40;
    for (method, target) in [
        ("PUT", "/v1/collections/flags/entry?key=a"),
        ("POST", "/v1/collections"),
        ("POST", "/v1/collections/flags/batch"),
        ("POST", "/v1/replicate"),
        ("DELETE", "/v1/collections/flags/entry?key=a"),
        ("DELETE", "/v1/collections/flags"),
    ] {
        // It announces a tebibyte and sends nothing: the answer must not wait for it.
        let host = raw::authority(writer.url());
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: {host}\r\napikey: dev\r\nsecret: dev\r\nconnection: close\r\n\
             content-length: {announced}\r\n\r\n"
        );
        let reply = raw::send(writer.url(), head.as_bytes()).await;
        refused(&reply, Code::TooLarge, &[&announced.to_string(), "limit"]);
    }
    assert_eq!(writer.client.position().await, before);
}

#[tokio::test]
async fn who_sends_a_body_to_its_end_hears_that_it_is_too_long() {
    let writer = Writer::start().await;
    let bytes = 20 * MIB;
    let head = format!(
        "PUT /v1/collections/flags/entry?key=a HTTP/1.1\r\nhost: {}\r\napikey: dev\r\nsecret: dev\r\n\
         content-length: {bytes}\r\n\r\n",
        raw::authority(writer.url())
    );
    // All of it is sent before anything is read, as simple clients do.
    let mut connection = TcpStream::connect(raw::authority(writer.url())).await.unwrap();
    connection.write_all(&[head.as_bytes(), &vec![b'x'; bytes]].concat()).await.expect("all of it is taken in");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "what was not read is not taken for another request: {answer}");
}

#[tokio::test]
async fn a_body_in_chunks_is_measured_as_it_comes() {
    let writer = Writer::start().await;
    let before = writer.client.position().await;
    let head = |target: &str| {
        format!(
            "PUT {target} HTTP/1.1\r\nhost: {}\r\napikey: dev\r\nsecret: dev\r\nconnection: close\r\n\
             transfer-encoding: chunked\r\n\r\n",
            raw::authority(writer.url())
        )
    };
    let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let target = "/v1/collections/flags/entry?key=a";
    let mut request = head(target).into_bytes();
    request.extend(chunk(b"{\"value\":\""));
    for _ in 0..40 {
        request.extend(chunk(&[b'x'; 32 << 10]));
    }
    // It never ends: the refusal cannot have waited for the end.
    refused(&raw::send(writer.url(), &request).await, Code::TooLarge, &["limit"]);
    assert_eq!(writer.client.position().await, before);

    let whole = [head(target).into_bytes(), chunk(b"{\"val"), chunk(b"ue\":[1,"), chunk(b"2]}"), b"0\r\n\r\n".to_vec()];
    let reply = raw::send(writer.url(), &whole.concat()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(Client::dev(writer.url()).entry("flags", "a").await.json()["value"], serde_json::json!([1, 2]));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_body() {
    let writer = Writer::start().await;
    let before = writer.client.position().await;
    let head = format!(
        "PUT /v1/collections/flags/entry?key=a HTTP/1.1\r\nhost: {}\r\napikey: dev\r\nsecret: dev\r\n\
         connection: close\r\ntransfer-encoding: chunked\r\n\r\nb\r\n{{\"value\":1}}\r\n",
        raw::authority(writer.url())
    );
    for rest in ["no number\r\n", "fffffffffffffffff\r\n", "-1\r\n", "0x1\r\n"] {
        let reply = raw::send(writer.url(), format!("{head}{rest}").as_bytes()).await;
        refused(&reply, Code::InvalidRequest, &["body"]);
    }
    assert_eq!(writer.client.position().await, before);
}

#[tokio::test]
async fn the_body_of_a_refused_request_is_never_read_as_a_request() {
    let writer = Writer::start().await;
    let own = raw::authority(writer.url());
    let hidden = format!("DELETE /v1/collections/flags HTTP/1.1\r\nhost: {own}\r\napikey: dev\r\nsecret: dev\r\n\r\n");
    for (target, headers) in [
        ("/v1/collections/flags/entry?key=a", "apikey: dev\r\nsecret: wrong\r\n"),
        ("/v1/collections/flags/keys/..", "apikey: dev\r\nsecret: dev\r\n"),
        ("/v1/nothing", ""),
        ("/healthz", ""),
    ] {
        let refused = format!(
            "PUT {target} HTTP/1.1\r\nhost: {own}\r\n{headers}content-length: {}\r\n\r\n{hidden}",
            hidden.len()
        );
        let next = format!("GET /healthz HTTP/1.1\r\nhost: {own}\r\nconnection: close\r\n\r\n");
        let answers = raw::send(writer.url(), format!("{refused}{next}").as_bytes()).await;
        assert!((400..500).contains(&answers.status), "{target}: {}", answers.status);
        // Either the connection goes on with the next request, or it is closed: nothing lies between.
        let rest = String::from_utf8_lossy(&answers.body);
        let statuses: Vec<_> = rest.match_indices("HTTP/1.1 ").map(|(at, _)| &rest[at + 9..at + 12]).collect();
        assert!(statuses.is_empty() || statuses == ["200"], "{target}: {rest}");
    }
    assert_eq!(writer.client.get("/v1/collections").await.text(), r#"{"collections":["flags"]}"#);
}

#[tokio::test]
async fn writes_beyond_the_queue_are_asked_to_come_back_and_leave_nothing() {
    let writer = Writer::start_with(&[("--queue-max", "1")]).await;
    let (mut acknowledged, mut refusals, mut round) = (0, 0, 0);
    let before = super::position(&writer.client.get("/v1/collections").await).seq;
    while refusals == 0 {
        round += 1;
        assert!(round <= 50, "the queue never overflows");
        let writes = (0..16).map(|index| {
            let client = Client::dev(writer.url());
            tokio::spawn(async move { client.set("flags", &format!("{round}-{index}"), "1").await })
        });
        for write in writes.collect::<Vec<_>>() {
            let reply = write.await.unwrap();
            if reply.status == 200 {
                acknowledged += 1;
            } else {
                refused(&reply, Code::Overloaded, &[]);
                refusals += 1;
            }
        }
    }
    let list = writer.client.get("/v1/collections/flags/keys").await;
    assert_eq!(list.json().as_array().unwrap().len(), acknowledged);
    assert_eq!(super::position(&list).seq, before + acknowledged as u64);
}

#[tokio::test]
async fn a_body_far_over_its_limit_is_answered_though_it_is_still_being_sent() {
    let writer = Writer::start().await;
    let replica = writer.replica(&[]).await;
    let value = format!("\"{}\"", "x".repeat(3 << 20));
    for client in [&writer.client, &replica.client()] {
        for round in 0..6 {
            let reply = client.try_set("flags", "large", &value).await;
            let reply = reply.unwrap_or_else(|error| panic!("round {round} at {}: {error:?}", client.url));
            refused(&reply, Code::TooLarge, &[]);
        }
    }
}
