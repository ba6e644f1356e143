//! Tests of the console page, a replica in the browser, in headless Chromium.

mod console;
mod faults;
mod vectors;

use headwater_tests::{Node, Page, build_writer};
use std::path::Path;

/// A writer with collections, and a page that is signed in and has a copy.
async fn signed_in(directory: &Path) -> (Node, Page) {
    let writer = build_writer(directory).start().await;
    let client = writer.client();
    client.create("flags").await;
    client.create("prices").await;
    client.fill("flags", 0..3).await;
    let mut page = Page::open(&writer.url).await;
    page.sign_in().await;
    (writer, page)
}
