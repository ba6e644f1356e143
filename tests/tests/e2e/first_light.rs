//! The walking skeleton: a write at the writer is read at a replica, and at the replica's replica.

use headwater_tests::{Client, NodeBuilder, eventually};

#[tokio::test]
async fn a_write_is_read_two_hops_away_with_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let near = NodeBuilder::replica("near", directory.path(), &writer.url).start().await;
    let far = NodeBuilder::replica("far", directory.path(), &near.url).start().await;

    let client = writer.client();
    client.create("flags").await;
    let written = client.set("flags", "checkout:new", r#"{"on":true,"share":1.50}"#).await;
    assert_eq!(written.status, 200, "{}", written.text());
    let position = written.header("headwater-position").unwrap().to_owned();
    let at_writer = client.entry("flags", "checkout:new").await;
    assert_eq!(at_writer.status, 200);

    for node in [&near, &far] {
        let reader: Client = node.client();
        let read = eventually("the entry arrives", || async {
            let reply = reader.entry("flags", "checkout:new").await;
            if reply.status == 200 { Ok(reply) } else { Err(reply.text().to_owned()) }
        })
        .await;
        assert_eq!(read.body, at_writer.body);
        assert_eq!(read.header("etag"), at_writer.header("etag"));
        assert_eq!(read.header("headwater-position"), Some(&*position));
        assert!(read.header("headwater-lag-ms").is_some());
    }
}
