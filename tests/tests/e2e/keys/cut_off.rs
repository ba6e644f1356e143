//! A replica that has been without its parent for longer than it may trust its keys.

use super::{Pair, assert_refused, end_of, made};
use headwater_core::api::Code;
use headwater_tests::{Client, Lines, NodeBuilder, Relay, eventually};
use serde_json::json;
use std::time::Instant;

#[tokio::test]
async fn it_trusts_no_key_until_it_hears_of_the_writer_again() {
    let pair = Pair::start().await;
    let (id, secret) = made(&pair.writer.client(), r#"{"id":"k","roles":["read"]}"#).await;
    let relay = Relay::start(&pair.writer.url).await;
    let builder = NodeBuilder::replica("cut", pair.directory.path(), &relay.url);
    let cut = builder.option("--auth-staleness-max", "3s").start().await;
    cut.ready().await;
    let client = Client::with_pair(&cut.url, Some((&id, &secret)));
    eventually("the key is there", || async {
        let status = client.entry("flags", "a").await.status;
        if status == 200 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    let mut lines = Lines::open(&client, "").await.unwrap();
    lines.until("READY").await;
    relay.close();
    let since = Instant::now();
    eventually("it trusts the key no more", || async {
        let reply = client.entry("flags", "a").await;
        if reply.status == 200 {
            return Err(reply.text().to_owned());
        }
        assert_refused(&reply, Code::NotReady);
        Ok(())
    })
    .await;
    assert!(since.elapsed().as_millis() > 2_000, "it was near enough until then");
    assert_eq!(end_of(&mut lines).await, json!(["retry", "keys_too_old"]));
    for other in [Client::with_pair(&cut.url, None), Client::with_pair(&cut.url, Some(("k", "wrong")))] {
        assert_refused(&other.entry("flags", "a").await, Code::NotReady);
        assert_eq!(other.get("/healthz").await.status, 200);
        assert_eq!(other.get("/readyz").await.status, 200, "it has all it needs but news");
    }
    assert_eq!(cut.client().entry("flags", "a").await.status, 200, "the pair of --dev is this node's own");
    relay.go_on();
    eventually("it trusts the key again", || async {
        let status = client.entry("flags", "a").await.status;
        if status == 200 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
}
