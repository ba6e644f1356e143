//! Positions: every answer says as of when it is, and a read may ask for a position it must have seen.

use super::{Writer, ahead, call, position, refused};
use headwater_core::api::Code;
use headwater_core::position::Position;
use headwater_tests::{Client, Reply, eventually, raw};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const MIN: &str = "headwater-min-position";
const WAIT: &str = "headwater-wait-ms";

/// The three kinds of reads that can wait.
fn reads() -> [String; 3] {
    [Client::entry_path("flags", "a"), "/v1/collections/flags/keys".into(), "/v1/collections".into()]
}

async fn read_at(client: &Client, path: &str, min: &str, wait_ms: &str) -> Reply {
    call(client, "GET", path, &[(MIN, min), (WAIT, wait_ms)], "").await
}

/// Reads in a task of its own, again where a probe of [`one_waits`] has taken the place.
fn reader(client: &Client, path: &str, min: &str) -> JoinHandle<Reply> {
    let (client, path, min) = (client.clone(), path.to_owned(), min.to_owned());
    tokio::spawn(async move {
        loop {
            let reply = read_at(&client, &path, &min, "30000").await;
            if reply.body.is_empty() || reply.json()["error"] != Code::Overloaded.word() {
                return reply;
            }
        }
    })
}

/// Waits until the node's one place for waiting reads is taken, which a read that does not want to wait shows.
async fn one_waits(client: &Client, min: &str) {
    eventually("a read waits", || async {
        let reply = read_at(client, "/v1/collections", min, "0").await;
        if reply.code() == Code::Overloaded.word() { Ok(()) } else { Err(reply.text().to_owned()) }
    })
    .await;
}

#[tokio::test]
async fn every_answer_says_as_of_when_it_is() {
    let writer = Writer::start().await;
    let replica = writer.replica(&[]).await;
    let head = writer.write("a", "1").await;
    let at = head.to_string();
    let reply = read_at(&replica.client(), "/v1/collections", &at, "20000").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    for (client, is_replica) in [(&writer.client, false), (&replica.client(), true)] {
        for (method, path, body) in [
            ("GET", "/healthz", ""),
            ("GET", "/readyz", ""),
            ("GET", "/v1/status", ""),
            ("GET", "/v1/metrics", ""),
            ("GET", "/v1/collections", ""),
            ("GET", "/v1/collections/flags/keys", ""),
            ("GET", "/v1/collections/flags/keys/a", ""),
            ("GET", "/v1/collections/flags/keys/missing", ""),
            ("GET", "/v1/collections/missing/keys", ""),
            ("GET", "/v1/nothing", ""),
            ("PATCH", "/v1/collections", ""),
            ("POST", "/v1/collections", "{"),
            ("POST", "/v1/collections", "{\"name\":\"flags\"}"),
            ("DELETE", "/v1/collections/flags/keys/missing", ""),
            ("POST", "/v1/replicate", "{"),
        ] {
            let reply = call(client, method, path, &[], body).await;
            assert_eq!(position(&reply), head, "{method} {path}");
            // What a writer decided is not behind anything.
            let forwarded = is_replica && method != "GET" && path.starts_with("/v1/collections");
            let lag = reply.header("headwater-lag-ms");
            if !forwarded {
                assert_eq!(lag.is_some(), is_replica, "{method} {path}: {lag:?}");
            }
            assert!(lag.is_none_or(|lag| lag.parse::<u64>().is_ok()), "{lag:?}");
        }
    }
}

#[tokio::test]
async fn positions_of_writes_rise_by_one_and_are_their_seq() {
    let writer = Writer::start().await;
    let mut last = position(&writer.client.get("/v1/collections").await);
    for index in 0..20 {
        let reply = match index % 4 {
            3 => writer.client.delete("flags", "a").await,
            _ => writer.client.set("flags", "a", "1").await,
        };
        let at = position(&reply);
        assert_eq!((at.epoch, at.seq), (last.epoch, last.seq + 1));
        assert_eq!(reply.json()["seq"].as_u64(), Some(at.seq));
        let refusal = writer.client.delete("flags", "none").await;
        assert_eq!(position(&refusal), at);
        last = at;
    }
}

#[tokio::test]
async fn a_restart_is_a_later_position() {
    let mut writer = Writer::start().await;
    let before = writer.write("a", "1").await;
    writer.node.stop().await;
    writer.node.start_again().await;
    let after = position(&writer.client.get("/v1/collections").await);
    assert!(after.epoch > before.epoch && after.seq > before.seq, "{before} {after}");
    // A read that has seen the old position is content.
    let reply = read_at(&writer.client, &reads()[0], &before.to_string(), "0").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn a_position_reached_is_answered_at_once() {
    let writer = Writer::start().await;
    let at = writer.write("a", "1").await;
    for path in reads() {
        // The last one is what a node says that holds nothing yet: everybody has got that far.
        let before = [Position { seq: at.seq - 1, ..at }, Position { seq: 1, ..at }, Position { epoch: 0, seq: 0 }];
        for min in before.into_iter().chain([at]) {
            let reply = read_at(&writer.client, &path, &min.to_string(), "0").await;
            assert_eq!((reply.status, position(&reply)), (200, at), "{path} at {min}: {}", reply.text());
        }
    }
}

#[tokio::test]
async fn a_read_waits_for_the_write_it_asks_for() {
    let writer = Writer::start_with(&[("--waiters-max", "1")]).await;
    let mut at = writer.write("a", "0").await;
    for (index, path) in reads().into_iter().enumerate() {
        let min = ahead(at, 1);
        let reader = reader(&writer.client, &path, &min);
        one_waits(&writer.client, &min).await;
        assert!(!reader.is_finished());
        at = writer.write("a", &index.to_string()).await;
        let reply = reader.await.unwrap();
        assert_eq!((reply.status, position(&reply)), (200, at), "{}", reply.text());
    }
}

#[tokio::test]
async fn a_position_not_reached_in_time_is_stale() {
    let writer = Writer::start().await;
    let replica = writer.replica(&[]).await;
    let at = writer.write("a", "1").await;
    // An epoch nobody knows yet may still come: it is waited for, too.
    let next_epoch = Position { epoch: at.epoch + 1_000_000, seq: at.seq + 1 }.to_string();
    let beyond = ahead(at, 1_000);
    for client in [&writer.client, &replica.client()] {
        for path in reads() {
            for min in [&beyond, &next_epoch] {
                let reply = read_at(client, &path, min, "0").await;
                refused(&reply, Code::Stale, &[min, "0 ms"]);
                let started = Instant::now();
                refused(&read_at(client, &path, min, "60").await, Code::Stale, &[min, "60 ms"]);
                assert!(started.elapsed() >= Duration::from_millis(60));
            }
        }
    }
}

#[tokio::test]
async fn a_position_off_this_history_is_diverged_at_once() {
    let mut writer = Writer::start().await;
    let first = writer.write("a", "1").await;
    writer.node.stop().await;
    writer.node.start_again().await;
    let now = position(&writer.client.get("/v1/collections").await);
    let replica = writer.replica(&[]).await;
    for client in [&writer.client, &replica.client()] {
        for path in reads() {
            for foreign in [
                Position { epoch: 1, seq: 1 },
                Position { epoch: first.epoch - 1, seq: first.seq },
                Position { epoch: first.epoch, seq: first.seq + 1 },
                Position { epoch: first.epoch, seq: now.seq },
                Position { epoch: now.epoch - 1, seq: first.seq },
            ] {
                let min = foreign.to_string();
                refused(&read_at(client, &path, &min, "30000").await, Code::Diverged, &[&min]);
            }
            // What a node answers that holds nothing yet.
            assert_eq!(read_at(client, &path, "0.0", "0").await.status, 200);
        }
    }
}

#[tokio::test]
async fn a_position_that_cannot_be_read_is_refused_and_named() {
    let writer = Writer::start().await;
    let at = writer.write("a", "1").await.to_string();
    for path in reads() {
        for min in [
            "x",
            "1",
            "1.",
            ".1",
            "-1.1",
            "1.-1",
            "1.1.1",
            "1,1",
            "01.1",
            "1.01",
            "1e3.1",
            "0x1.1",
            "9007199254740992.1",
            "1.9007199254740992",
            "",
            "1 .1",
            "1.1 2.2",
        ] {
            let reply = raw::ask(writer.url(), "GET", &path, &[(MIN, min)], b"").await;
            refused(&reply, Code::InvalidRequest, &["Headwater-Min-Position", min]);
        }
        for wait in ["x", "-1", "1.5", "30001", "99999999999999999999999", "", "1s", "1 2"] {
            let reply = raw::ask(writer.url(), "GET", &path, &[(MIN, &at), (WAIT, wait)], b"").await;
            refused(&reply, Code::InvalidRequest, &["Headwater-Wait-Ms", wait, "30000"]);
        }
        let reply = raw::ask(writer.url(), "GET", &path, &[(MIN, &at), (MIN, &at)], b"").await;
        refused(&reply, Code::InvalidRequest, &["headwater-min-position", "twice"]);
    }
    let reply = read_at(&writer.client, &reads()[0], &at, "30000").await;
    assert_eq!(reply.status, 200, "the longest wait is allowed: {}", reply.text());
}

#[tokio::test]
async fn waiting_reads_are_bounded() {
    let writer = Writer::start_with(&[("--waiters-max", "1")]).await;
    let at = writer.write("a", "1").await;
    let min = ahead(at, 1);
    let reader = reader(&writer.client, "/v1/collections", &min);
    one_waits(&writer.client, &min).await;
    refused(&read_at(&writer.client, &reads()[1], &min, "30000").await, Code::Overloaded, &[]);
    // Reads that need not wait are not concerned.
    assert_eq!(read_at(&writer.client, &reads()[1], &at.to_string(), "0").await.status, 200);
    writer.write("a", "2").await;
    assert_eq!(reader.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_waiting_read_does_not_hold_up_a_shutdown() {
    let mut writer = Writer::start_with(&[("--waiters-max", "1")]).await;
    let min = ahead(writer.write("a", "1").await, 1);
    let reader = reader(&writer.client, "/v1/collections", &min);
    one_waits(&writer.client, &min).await;
    let started = Instant::now();
    writer.node.stop().await;
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    refused(&reader.await.unwrap(), Code::NotReady, &["shutting down"]);
}
