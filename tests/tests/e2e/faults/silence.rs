//! Half-open connections: nothing is closed, and nothing comes, on either side.

use super::{PING_MS, writer};
use headwater_tests::{Node, Replication, behind_relay, eventually_within, raw};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

#[tokio::test]
async fn a_ping_in_time_keeps_a_connection_without_writes() {
    let directory = tempfile::tempdir().unwrap();
    let (_writer, _relay, near) = behind_relay::<Node>(directory.path()).await;
    let until = Instant::now() + Duration::from_millis(6 * PING_MS);
    while Instant::now() < until {
        let found = Replication::of(&near.client()).await;
        assert!(found.connected && found.connections == 1, "{found:?}");
    }
}

#[tokio::test]
async fn a_child_that_takes_nothing_any_more_is_cut_off_by_its_parent() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(directory.path()).await;
    let client = writer.client();
    let socket = TcpSocket::new_v4().unwrap();
    // A small window, so that the parent's side fills up soon.
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let address = raw::authority(&writer.url).parse().unwrap();
    let mut child = socket.connect(address).await.unwrap();
    let request = raw::request(&writer.url, "POST", "/v1/replicate", &[], br#"{"node":"deaf","scope":"*"}"#);
    child.write_all(&request).await.unwrap();
    let mut first = [0; 64];
    child.read_exact(&mut first).await.unwrap();
    let children = async || client.status().await["children"].as_array().map_or(0, Vec::len);
    assert_eq!(children().await, 1);
    // The connection stays open and nobody reads: what the kernels' buffers take, then nothing.
    let filling = format!("\"{}\"", "x".repeat(900_000));
    for number in 0..12 {
        client.set("c", &format!("long-{number}"), &filling).await;
    }
    // Three PINGs and what a busy machine adds; the kernels alone would keep such a connection for a quarter of an hour.
    let within = Duration::from_millis(3 * PING_MS) + Duration::from_secs(15);
    eventually_within(within, "the child is given up", || async {
        let left = children().await;
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
}
