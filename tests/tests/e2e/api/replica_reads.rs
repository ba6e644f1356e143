//! A replica answers every read with the writer's very bytes, at whatever distance.

use super::{Writer, call};
use headwater_core::api::encode;
use headwater_tests::{Client, NodeBuilder};
use reqwest::Method;

#[tokio::test]
async fn every_read_has_the_same_bytes_on_writer_replica_and_replicas_replica() {
    let writer = Writer::start().await;
    let client = &writer.client;
    let keys = ["a", "a/b", "é", "\u{1f600}", "\0", "..", "a\\b", "checkout:new"];
    let values = ["1.50", r#""\u00e9""#, r#"{"b":1,"a":[665e70,18446744073709551616]}"#, "null"];
    client.create("prices").await;
    client.create("empty").await;
    // Some before there is a replica, some after: by baseline and by stream.
    let fill = async |collection: &str| {
        for (index, key) in keys.iter().enumerate() {
            let value = values[index % values.len()];
            assert_eq!(client.set(collection, key, value).await.status, 200);
            if index % 3 == 0 {
                assert_eq!(client.set(collection, key, "\"again\"").await.status, 200);
            }
        }
        assert_eq!(client.delete(collection, "a").await.status, 200);
    };
    fill("flags").await;
    let near = writer.replica(&[]).await;
    let far = NodeBuilder::replica("far", writer.directory.path(), &near.url).start().await;
    far.ready().await;
    fill("prices").await;
    client.create("dropped").await;
    assert_eq!(client.call(Method::DELETE, "/v1/collections/dropped", "").await.status, 200);
    let at = client.position().await;

    let mut paths = vec![String::from("/v1/collections")];
    for collection in ["flags", "prices", "empty", "dropped", "missing"] {
        let list = format!("/v1/collections/{collection}/keys");
        paths.extend(["", "?limit=2", "?prefix=a", "?after=a&limit=1"].map(|query| format!("{list}{query}")));
        for key in keys.iter().chain(&["missing"]) {
            paths.push(Client::entry_path(collection, key));
            let mut path = format!("{list}/");
            encode(key, &mut path);
            paths.push(path);
        }
    }
    let mut compared = 0;
    for path in &paths {
        for accept in ["application/json", "application/x-ndjson"] {
            let expected = call(client, "GET", path, &[("accept", accept)], "").await;
            for node in [&near, &far] {
                let headers = [("accept", accept), ("headwater-min-position", &*at), ("headwater-wait-ms", "20000")];
                let read = call(&node.client(), "GET", path, &headers, "").await;
                assert_eq!((read.status, read.text()), (expected.status, expected.text()), "{path}");
                for name in ["etag", "link", "content-type", "cache-control", "headwater-position"] {
                    assert_eq!(read.header(name), expected.header(name), "{name} of {path}");
                }
                compared += 1;
            }
        }
    }
    assert_eq!(compared, paths.len() * 4);
}
