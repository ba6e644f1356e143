//! More than a node takes on: it says so at once, and goes on serving others.

use crate::api::{Writer, ahead, call, refused};
use headwater_core::api::Code;
use headwater_tests::machine::Need;
use headwater_tests::medium::Medium;
use headwater_tests::{Client, Lines, NodeBuilder, eventually, raw};
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

#[tokio::test]
async fn requests_beyond_the_bound_are_refused_and_health_reads_and_insight_are_not() {
    let writer = Writer::start_with(&[("--requests-max", "2")]).await;
    let at = writer.write("a", "1").await;
    let later = ahead(at, 2);
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let (client, later) = (Client::dev(writer.url()), later.clone());
            tokio::spawn(async move {
                let headers = [("headwater-min-position", &*later), ("headwater-wait-ms", "30000")];
                call(&client, "GET", &Client::entry_path("flags", "a"), &headers, "").await
            })
        })
        .collect();
    eventually("both places are taken", || async {
        let reply = writer.client.get("/v1/collections").await;
        if reply.status == 503 { Ok(()) } else { Err(reply.status) }
    })
    .await;
    refused(&writer.client.set("flags", "a", "2").await, Code::Overloaded, &["requests"]);
    refused(&writer.client.get("/v1/collections/flags/keys").await, Code::Overloaded, &["requests"]);
    assert_eq!(writer.client.entry("flags", "a").await.json()["value"], 1);
    for path in ["/healthz", "/readyz", "/v1/status", "/v1/metrics"] {
        assert_eq!(writer.client.get(path).await.status, 200, "{path}");
    }
    assert!(writer.client.get("/v1/metrics").await.json()["requests_shed_total"].as_u64() >= Some(3));
    assert_eq!(writer.client.status().await["replication"]["position"], at.to_string());
    waiting.iter().for_each(|task| task.abort());
    eventually("a place is free", || async {
        let reply = writer.client.set("flags", "a", "2").await;
        if reply.status == 200 { Ok(()) } else { Err(reply.status) }
    })
    .await;
}

#[tokio::test]
async fn large_bodies_are_held_up_to_the_bound_half_of_it_for_one_credential_and_small_ones_pass() {
    const VALUE_BYTES: usize = 7 << 20;
    let options = [("--bodies-bytes-max", "32MiB"), ("--value-bytes-max", "8MiB"), ("--body-ms", "60000")];
    let writer = Writer::start_with(&options).await;
    let other = writer.client.call(Method::POST, "/v1/keys", r#"{"id":"other","roles":["read","write"]}"#).await.json();
    let other = Client::with_pair(writer.url(), Some(("other", other["secret"].as_str().unwrap())));
    let value = format!("\"{}\"", "v".repeat(VALUE_BYTES - 2));
    let body = format!("{{\"value\":{value}}}");
    let put = |key: &str| raw::request(writer.url(), "PUT", &Client::entry_path("flags", key), &[], body.as_bytes());
    let (answered, mut answers) = mpsc::channel(3);
    let mut open = Vec::new();
    for (index, key) in ["a", "b", "c"].into_iter().enumerate() {
        let request = put(key);
        let (last, most) = request.split_last().unwrap();
        let connection = TcpStream::connect(raw::authority(writer.url())).await.unwrap();
        let (mut reading, mut writing) = connection.into_split();
        writing.write_all(most).await.unwrap();
        open.push((writing, *last));
        let answered = answered.clone();
        tokio::spawn(async move {
            let mut answer = String::new();
            reading.read_to_string(&mut answer).await.unwrap();
            answered.send((index, answer)).await.unwrap();
        });
    }
    let (refused, answer) = answers.recv().await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("with this credential: the limit is 16777216"), "{answer}");
    writer.write("small", "1").await;
    assert_eq!(other.set("flags", "d", &value).await.status, 200, "another one has its half");
    open.remove(refused);
    for (writing, last) in &mut open {
        writing.write_all(&[*last]).await.unwrap();
        let (_, answer) = answers.recv().await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert_eq!(writer.client.set("flags", "c", &value).await.status, 200, "those that were answered are held no more");
}

#[tokio::test]
async fn one_credential_has_so_many_streams_and_those_go_on() {
    let writer = Writer::start_with(&[("--children-per-credential-max", "2")]).await;
    let made = writer.client.call(Method::POST, "/v1/keys", r#"{"id":"k","roles":["read"]}"#).await.json();
    let client = Client::with_pair(writer.url(), Some(("k", made["secret"].as_str().unwrap())));
    let mut first = Lines::open(&client, "").await.expect("a stream");
    let second = Lines::open(&client, "").await.expect("a stream");
    let third = Lines::open(&client, "").await.expect_err("no third one");
    refused(&third, Code::Overloaded, &["streams with this credential", "limit is 2"]);
    writer.write("a", "1").await;
    first.until("SET").await;
    drop(second);
    eventually("its place is free", || async { Lines::open(&client, "").await.map(drop) }).await;
}

#[tokio::test]
async fn writes_that_come_while_the_log_stands_still_are_told_at_once() {
    if !Need::Mount.is_met("a log that stands still") {
        return;
    }
    let (place, medium) = (tempfile::tempdir().unwrap(), Medium::ext4());
    let builder = NodeBuilder::writer("writer", place.path()).on(&medium).option("--queue-ms-max", "300");
    let node = builder.start().await;
    let client = node.client();
    client.create("flags").await;
    let frozen = medium.freeze();
    let stuck = tokio::spawn({
        let client = client.clone();
        async move { client.set("flags", "stuck", "1").await }
    });
    let begun = std::time::Instant::now();
    let reply = eventually("a later write is refused", || async {
        // Those before it wait behind the first, which nobody here needs.
        let write = tokio::time::timeout(std::time::Duration::from_millis(100), client.set("flags", "late", "1")).await;
        match write {
            Ok(reply) if reply.status == 503 => Ok(reply),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    refused(&reply, Code::Overloaded, &["waited"]);
    assert!(begun.elapsed() >= std::time::Duration::from_millis(300));
    assert_eq!(client.entry("flags", "stuck").await.status, 404, "reads go on");
    assert_eq!(client.get("/v1/collections").await.status, 200);
    drop(frozen);
    assert_eq!(stuck.await.unwrap().status, 200, "what was taken is done");
    eventually("writes are taken again", || async {
        let reply = client.set("flags", "after", "1").await;
        if reply.status == 200 { Ok(()) } else { Err(reply.status) }
    })
    .await;
}
