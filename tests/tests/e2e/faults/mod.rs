//! What goes wrong between nodes, and what must happen then. One file per kind of fault.
//!
//! A parent that misbehaves is a real writer behind a [`headwater_tests::Relay`] that lies, or a
//! [`headwater_tests::Stub`] where no real one would say such things.

mod baseline;
mod bulk;
mod chain;
mod failed_calls;
mod follow;
mod full;
mod gap;
mod garbage;
mod history;
mod kills;
mod parent;
mod power;
mod removed;
mod restart;
mod scope;
mod shared;
mod silence;
mod soup;
mod unknown;
mod vectors;

use headwater_tests::{Client, Node, NodeBuilder, PING_MS, build_writer, eventually, write, writer};
use std::path::Path;

fn build_replica(name: &str, directory: &Path, parent: &str) -> NodeBuilder {
    NodeBuilder::replica(name, directory, parent).option("--ping-ms", &PING_MS.to_string())
}

/// A replica that is ready.
async fn replica(name: &str, directory: &Path, parent: &str) -> Node {
    let replica = build_replica(name, directory, parent).start().await;
    replica.ready().await;
    replica
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
