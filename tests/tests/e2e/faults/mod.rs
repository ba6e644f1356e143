//! What goes wrong between nodes, and what must happen then. One file per kind of fault.
//!
//! A parent that misbehaves is a real writer behind a [`headwater_tests::Relay`] that lies, or a
//! [`headwater_tests::Stub`] where no real one would say such things.

mod baseline;
mod bulk;
mod chain;
mod follow;
mod gap;
mod garbage;
mod history;
mod kills;
mod parent;
mod removed;
mod restart;
mod scope;
mod silence;
mod soup;
mod unknown;

use headwater_tests::{Client, Node, NodeBuilder, Relay, converge, eventually};
use std::path::Path;

/// Short, so that three of them are over soon; long enough for a busy machine not to miss them.
const PING_MS: u64 = 300;

/// A writer with a collection `c`.
async fn writer(directory: &Path) -> Node {
    let writer = build_writer(directory).start().await;
    writer.client().create("c").await;
    writer
}

fn build_writer(directory: &Path) -> NodeBuilder {
    NodeBuilder::writer("writer", directory).option("--ping-ms", &PING_MS.to_string())
}

fn build_replica(name: &str, directory: &Path, parent: &str) -> NodeBuilder {
    NodeBuilder::replica(name, directory, parent).option("--ping-ms", &PING_MS.to_string())
}

/// A replica that is ready.
async fn replica(name: &str, directory: &Path, parent: &str) -> Node {
    let replica = build_replica(name, directory, parent).start().await;
    replica.ready().await;
    replica
}

/// A writer, a relay in front of it, and a replica that follows the relay and holds what the writer holds.
async fn behind_relay(directory: &Path) -> (Node, Relay, Node) {
    let writer = writer(directory).await;
    let relay = Relay::start(&writer.url).await;
    let near = replica("near", directory, &relay.url).await;
    write(&writer.client(), 0..3).await;
    converge(&writer.client(), &near.client()).await;
    (writer, relay, near)
}

/// Writes `key-N` for each number.
async fn write(client: &Client, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let reply = client.set("c", &format!("key-{number}"), &format!("{{\"n\":{number}}}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}

/// Waits until a node answers this entry with this value.
async fn reads(client: &Client, key: &str, value: &str) {
    eventually(&format!("{key} is {value} at {}", client.url), || async {
        let reply = client.try_get(&Client::entry_path("c", key)).await.map_err(|error| format!("{error:?}"))?;
        let found = reply.text().to_owned();
        if found.contains(&format!("\"value\":{value},")) { Ok(()) } else { Err(found) }
    })
    .await;
}

/// The status of `/readyz`.
async fn readiness(node: &Node) -> u16 {
    Client::with_pair(&node.url, None).get("/readyz").await.status
}
