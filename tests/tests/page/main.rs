//! Tests of the console page, a replica in the browser, in headless Chromium.

mod console;
mod faults;
mod vectors;

use headwater_tests::{Client, Node, NodeBuilder, Page};
use std::path::Path;

const PING_MS: u64 = 300;

/// A writer with collections, and a page that is signed in and has a copy.
async fn signed_in(directory: &Path) -> (Node, Page) {
    let writer = NodeBuilder::writer("writer", directory).option("--ping-ms", &PING_MS.to_string()).start().await;
    let client = writer.client();
    client.create("flags").await;
    client.create("prices").await;
    write(&client, 0..3).await;
    let mut page = Page::open(&writer.url).await;
    page.sign_in().await;
    (writer, page)
}

async fn write(client: &Client, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let reply = client.set("flags", &format!("key-{number}"), &format!("{{\"n\":{number}}}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}

/// Waits until the page holds what the writer at rest holds.
async fn converge(client: &Client, page: &mut Page) {
    let right = headwater_tests::eventually("the writer is at rest", || async {
        headwater_tests::state_of(client).await.ok_or("it is not")
    })
    .await;
    page.converges(&right).await;
}
