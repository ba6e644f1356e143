//! The table of error codes against running nodes: each code that this API can be brought to give, with its status.

use super::{Writer, ahead, call, refused};
use headwater_core::api::Code;
use headwater_tests::{Client, NodeBuilder, Reply, raw};
use std::collections::BTreeSet;
use tokio::net::TcpListener;

/// Codes that no request brings about: the node's log or store must fail first.
const FAULTS: [Code; 2] = [Code::InternalError, Code::StorageFull];

/// One request for each code.
async fn provoke(code: Code, writer: &Writer) -> Reply {
    let client = &writer.client;
    let entry = Client::entry_path("flags", "a");
    match code {
        Code::InvalidJson => client.set("flags", "a", "1e400").await,
        Code::InvalidKey => raw::ask(writer.url(), "GET", "/v1/collections/flags/keys/a//b", &[], b"").await,
        Code::InvalidRequest => call(client, "GET", "/v1/collections/flags/keys?limit=0", &[], "").await,
        Code::UnnamedCollection => call(client, "POST", "/v1/collections", &[], "{}").await,
        Code::Forbidden => Client::with_pair(writer.url(), Some(("dev", "wrong"))).get("/v1/status").await,
        Code::MissingCollection => client.entry("missing", "a").await,
        Code::NotFound => client.entry("flags", "missing").await,
        Code::MethodNotAllowed => call(client, "PATCH", &entry, &[], "").await,
        Code::Diverged => call(client, "GET", &entry, &[("headwater-min-position", "1.1")], "").await,
        Code::PreconditionFailed => call(client, "PUT", &entry, &[("if-match", "\"1-1\"")], "{\"value\":1}").await,
        Code::TooLarge => client.set("flags", &"k".repeat(1025), "1").await,
        Code::Misdirected => {
            raw::send(writer.url(), b"GET /healthz HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n").await
        }
        Code::IdempotencyMismatch => {
            call(client, "PUT", &entry, &[("idempotency-key", "taken")], "{\"value\":2}").await
        }
        Code::ParentUnavailable | Code::NotReady => {
            let builder = NodeBuilder::replica("orphan", writer.directory.path(), "http://127.0.0.1:1");
            let orphan = builder.start().await;
            let client = orphan.client();
            if code == Code::NotReady { client.get(&entry).await } else { client.set("flags", "a", "1").await }
        }
        Code::Protected => call(client, "DELETE", "/v1/collections/kept", &[], "").await,
        Code::RateLimited => {
            let builder = NodeBuilder::replica("limited", writer.directory.path(), writer.url());
            let limited = builder.option("--rate-per-address", "1/m:1").start().await;
            assert_eq!(limited.client().get("/v1/status").await.status, 200);
            limited.client().get("/v1/status").await
        }
        Code::ReadOnly => {
            let builder = NodeBuilder::replica("reader", writer.directory.path(), writer.url());
            let reader = builder.flag("--read-only").start().await;
            reader.client().set("flags", "a", "1").await
        }
        Code::Overloaded => {
            let builder = NodeBuilder::replica("crowded", writer.directory.path(), writer.url());
            let crowded = builder.option("--children-max", "1").start().await;
            crowded.ready().await;
            let first = headwater_tests::Lines::open(&crowded.client(), "").await.expect("a stream");
            let refusal = headwater_tests::Lines::open(&crowded.client(), "").await.expect_err("no second one");
            drop(first);
            refusal
        }
        Code::OutcomeUnknown => {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let url = format!("http://{}", listener.local_addr().expect("it is bound"));
            tokio::spawn(async move {
                // Takes what is sent and hangs up.
                while let Ok((connection, _)) = listener.accept().await {
                    tokio::spawn(async move {
                        connection.readable().await.expect("something is sent");
                    });
                }
            });
            let mute = NodeBuilder::replica("mute", writer.directory.path(), &url).start().await;
            mute.client().set("flags", "a", "1").await
        }
        Code::Stale => {
            let min = ahead(client.position().await.parse().expect("a position"), 9);
            let headers = [("headwater-min-position", &*min), ("headwater-wait-ms", "0")];
            call(client, "GET", &entry, &headers, "").await
        }
        Code::Loop => {
            let replica = writer.replica(&[]).await;
            let own = replica.client().status().await["instance"].as_str().expect("an id").to_owned();
            call(&replica.client(), "PUT", &entry, &[("headwater-via", &own)], "{\"value\":1}").await
        }
        Code::RequestTimeout => {
            let builder = NodeBuilder::writer("hasty", writer.directory.path());
            let hasty = builder.option("--head-ms", "50").start().await;
            raw::send(&hasty.url, b"GET /livez").await
        }
        Code::UriTooLong => raw::ask(writer.url(), "GET", &format!("/{}", "a".repeat(20_000)), &[], b"").await,
        Code::HeadersTooLarge => raw::ask(writer.url(), "GET", "/livez", &[("x", &"a".repeat(40_000))], b"").await,
        Code::InternalError | Code::StorageFull => unreachable!("listed as faults"),
    }
}

#[tokio::test]
async fn every_code_of_the_table_is_answered_with_its_status() {
    let writer = Writer::start_with(&[("--protect", "kept")]).await;
    writer.client.create("kept").await;
    writer.write("a", "1").await;
    let taken = [("idempotency-key", "taken")];
    call(&writer.client, "PUT", &Client::entry_path("flags", "a"), &taken, "{\"value\":1}").await;
    let before = writer.client.position().await;
    let mut seen = BTreeSet::new();
    for code in Code::ALL.iter().copied().filter(|code| !FAULTS.contains(code)) {
        let reply = provoke(code, &writer).await;
        refused(&reply, code, &[]);
        seen.insert((reply.code(), reply.status));
    }
    let table = Code::ALL.iter().filter(|code| !FAULTS.contains(code));
    assert_eq!(seen, table.map(|code| (code.word().to_owned(), code.status())).collect());
    assert_eq!(writer.client.position().await, before, "a refusal adds nothing to the log");
}
