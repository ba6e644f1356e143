//! More connections than there may be, and no sockets left.

use super::{SLACK, Wire, writer};
use headwater_local::tools::Tools;
use headwater_tests::{Client, NodeBuilder, eventually, raw};
use std::os::unix::fs::PermissionsExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Connections that have been answered once, and stay.
async fn stay(url: &str, count: usize) -> Vec<TcpStream> {
    let mut staying = Vec::new();
    for _ in 0..count {
        let mut socket = TcpStream::connect(raw::authority(url)).await.expect("the node listens");
        assert!(is_answered(&mut socket).await, "connection {} was refused", staying.len());
        staying.push(socket);
    }
    staying
}

async fn is_answered(socket: &mut TcpStream) -> bool {
    let request = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    if socket.write_all(request).await.is_err() {
        return false;
    }
    let mut answer = [0; 512];
    let count = socket.read(&mut answer).await.unwrap_or(0);
    answer[..count].starts_with(b"HTTP/1.1 200")
}

/// The whole answer to `/readyz` on a connection that stays.
async fn ask_ready(socket: &mut TcpStream) -> String {
    socket.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("it is open");
    let mut answer = Vec::new();
    while !answer.ends_with(b"}}") {
        assert!(socket.read_buf(&mut answer).await.expect("it is open") > 0, "closed within an answer");
    }
    String::from_utf8(answer).expect("answers are UTF-8")
}

#[tokio::test]
async fn one_too_many_is_told_to_come_back_and_may_when_another_has_gone() {
    for flag in ["--connections-max", "--connections-per-address-max"] {
        let (_directory, node, client) = writer(&[(flag, "5")]).await;
        drop(client);
        // The client's own connection may still be there.
        let mut staying = eventually("all places are taken", || async {
            let mut socket = TcpStream::connect(raw::authority(&node.url)).await.unwrap();
            if is_answered(&mut socket).await { Ok(vec![socket]) } else { Err("refused") }
        })
        .await;
        while staying.len() < 5 {
            let mut socket = TcpStream::connect(raw::authority(&node.url)).await.unwrap();
            if is_answered(&mut socket).await {
                staying.push(socket);
            }
        }
        let heard = Wire::open(&node.url).await.hear(SLACK).await;
        assert_eq!(heard.answers(), [(503, "overloaded".to_owned())], "{flag}: {}", heard.text);
        assert!(heard.text.contains("retry-after: 1\r\n"), "{flag}: {}", heard.text);
        for socket in &mut staying {
            assert!(is_answered(socket).await, "{flag}: those that are there go on");
        }
        drop(staying.pop());
        eventually("a place is free again", || async {
            let mut socket = TcpStream::connect(raw::authority(&node.url)).await.unwrap();
            if is_answered(&mut socket).await { Ok(()) } else { Err("refused") }
        })
        .await;
    }
}

#[tokio::test]
async fn who_is_one_too_many_is_told_so_though_it_is_sending_its_request() {
    let (_directory, node, client) = writer(&[("--connections-max", "1")]).await;
    drop(client);
    let mut only = eventually("the place is taken", || async {
        let mut socket = TcpStream::connect(raw::authority(&node.url)).await.unwrap();
        if is_answered(&mut socket).await { Ok(socket) } else { Err("refused") }
    })
    .await;
    let mut socket = TcpStream::connect(raw::authority(&node.url)).await.unwrap();
    let head = b"PUT /v1/collections/c/keys/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n";
    socket.write_all(head).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("no reset comes in place of the answer's end");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\n"), "{answer}");
    // It goes on for a while before it looks.
    for _ in 0..10 {
        socket.write_all(&[b' '; 10_000]).await.expect("what it sends is taken");
    }
    assert!(is_answered(&mut only).await);
}

#[tokio::test]
async fn without_sockets_those_that_are_open_go_on_and_others_come_later() {
    let directory = tempfile::tempdir().unwrap();
    let tools = Tools::load().expect("./dev test writes the tools file");
    let wrapper = directory.path().join("few-files");
    let script = format!("#!/bin/sh\nulimit -n 48\nexec '{}' \"$@\"\n", tools.server.display());
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let node = NodeBuilder::writer("writer", directory.path()).under(wrapper).start().await;
    let client = node.client();
    client.create("c").await;
    let mut staying = stay(&node.url, 3).await;
    let mut waiting = Vec::new();
    for _ in 0..60 {
        waiting.push(TcpStream::connect(raw::authority(&node.url)).await.expect("the kernel takes it"));
    }
    node.says("no connection can be taken").await;
    for socket in &mut staying {
        assert!(is_answered(socket).await, "those that are open go on");
    }
    let health = ask_ready(&mut staying[0]).await;
    assert!(health.starts_with("HTTP/1.1 200 ") && health.contains("\"connections_taken\":false"), "{health}");
    drop(waiting);
    node.says("connections are taken again").await;
    let late = Client::dev(&node.url);
    assert_eq!(late.get("/readyz").await.json()["checks"]["connections_taken"], true);
    assert_eq!(late.set("c", "k", "1").await.status, 200);
    assert!(late.get("/v1/metrics").await.json()["connections_paused_total"].as_u64() > Some(0));
}
