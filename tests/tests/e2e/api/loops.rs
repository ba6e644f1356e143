//! Requests that come round: `Headwater-Via` names the nodes they came through.

use super::{Writer, call, refused};
use headwater_core::api::{Code, HOPS_MAX};
use headwater_tests::{Client, NodeBuilder};

const VIA: &str = "headwater-via";

fn instances(count: usize) -> String {
    (0..count).map(|index| format!("{index:032x}")).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn a_node_that_finds_itself_or_eight_hops_refuses() {
    let writer = Writer::start().await;
    let replica = writer.replica(&[]).await;
    let before = writer.client.position().await;
    let own = replica.client().status().await["instance"].as_str().unwrap().to_owned();
    let path = Client::entry_path("flags", "a");
    for via in [&*own, &format!("{}, {own}", instances(2)), &instances(HOPS_MAX), &instances(HOPS_MAX + 5)] {
        for (method, path, body) in [
            ("PUT", &*path, "{\"value\":1}"),
            ("DELETE", &path, ""),
            ("POST", "/v1/collections", "{\"name\":\"new\"}"),
            ("DELETE", "/v1/collections/flags", ""),
        ] {
            refused(&call(&replica.client(), method, path, &[(VIA, via)], body).await, Code::Loop, &[]);
        }
    }
    assert_eq!(writer.client.position().await, before);
    // Fewer are fine, and a read answered here goes nowhere.
    let reply = call(&replica.client(), "PUT", &path, &[(VIA, &instances(HOPS_MAX - 2))], "{\"value\":1}").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(call(&replica.client(), "GET", "/v1/collections", &[(VIA, &own)], "").await.status, 200);
}

#[tokio::test]
async fn two_replicas_that_follow_each_other_do_not_forward_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let mut one = NodeBuilder::replica("one", directory.path(), "http://127.0.0.1:1").start().await;
    let other = NodeBuilder::replica("other", directory.path(), &one.url).start().await;
    one.stop().await;
    one.set_option("--parent", &other.url);
    one.start_again().await;
    for node in [&one, &other] {
        refused(&node.client().set("flags", "a", "1").await, Code::Loop, &[]);
    }
}
