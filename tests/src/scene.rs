//! What most tests of faults begin with: a writer with a collection, what is written to it, and who follows.

use crate::client::Client;
use crate::follower::{Follower, PING_MS};
use crate::node::{Node, NodeBuilder};
use crate::relay::Relay;
use std::ops::Range;
use std::path::Path;

/// A writer that pings often, not started yet.
pub fn build_writer(directory: &Path) -> NodeBuilder {
    NodeBuilder::writer("writer", directory).option("--ping-ms", &PING_MS.to_string())
}

/// A writer with a collection `c`.
pub async fn writer(directory: &Path) -> Node {
    let writer = build_writer(directory).start().await;
    writer.client().create("c").await;
    writer
}

/// Writes `key-N` to collection `c` for each number.
pub async fn write(client: &Client, numbers: Range<u32>) {
    client.fill("c", numbers).await;
}

/// A writer, a relay in front of it, and a replica that follows the relay and holds what the writer holds.
pub async fn behind_relay<F: Follower>(directory: &Path) -> (Node, Relay, F) {
    let writer = writer(directory).await;
    let relay = Relay::start(&writer.url).await;
    let mut near = F::start(directory, &relay.url).await;
    write(&writer.client(), 0..3).await;
    near.converges(&writer.client()).await;
    (writer, relay, near)
}
