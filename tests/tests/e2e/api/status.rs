//! `/v1/status` and `/v1/metrics`: their members, and that what they count is so.

use super::{Writer, call, fields, position};
use headwater_tests::{Client, Lines, Node, NodeBuilder, eventually};
use serde_json::{Value, json};

async fn metrics(node: &Node) -> Value {
    node.client().get("/v1/metrics").await.json()
}

#[tokio::test]
async fn a_replica_tells_why_its_parent_is_not_reached_and_when_it_tries_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let near = NodeBuilder::replica("near", directory.path(), &writer.url).start().await;
    near.ready().await;
    assert!(near.client().status().await["replication"]["notFollowing"].is_null());
    writer.kill().await;
    eventually("the reason is told", || async {
        let status = near.client().status().await;
        let told = &status["replication"]["notFollowing"];
        let is_refused = told["why"].as_str().is_some_and(|why| why.ends_with(": connection refused"));
        if is_refused && told["retryInMs"].is_u64() { Ok(()) } else { Err(status) }
    })
    .await;
    writer.start_again().await;
    eventually("nothing is to be told", || async {
        let status = near.client().status().await;
        if status["replication"]["notFollowing"].is_null() { Ok(()) } else { Err(status) }
    })
    .await;
}

#[tokio::test]
async fn a_writers_status_has_its_members() {
    let writer = Writer::start().await;
    writer.write("a", "1").await;
    let last = writer.write("b", "1").await;
    writer.client.create("empty").await;
    let created = position(&writer.client.get("/v1/collections").await);
    let status = writer.client.status().await;
    let members =
        ["children", "cluster", "collections", "instance", "node", "parent", "replication", "role", "uptimeSeconds"];
    assert!(fields(&status).is_superset(&members.into()), "{status}");
    assert_eq!(
        (&status["node"], &status["role"], &status["parent"]),
        (&json!("writer"), &json!("primary"), &json!(null))
    );
    assert_eq!(status["children"], json!([]));
    assert!(status["uptimeSeconds"].is_u64());
    for id in ["instance", "cluster"] {
        let text = status[id].as_str().unwrap();
        assert!(text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{text}");
    }
    assert_eq!(fields(&status["collections"]), ["empty", "flags"].into());
    let flags = &status["collections"]["flags"];
    assert_eq!((&flags["keys"], &flags["lastSeq"]), (&json!(2), &json!(last.seq)));
    assert!(flags["walSizeBytes"].as_u64().unwrap() > 100, "{flags}");
    let empty = &status["collections"]["empty"];
    assert_eq!((&empty["keys"], &empty["lastSeq"]), (&json!(0), &json!(created.seq)));
    let replication = &status["replication"];
    assert_eq!((&replication["enabled"], &replication["parent_connected"]), (&json!(false), &json!(false)));
    assert_eq!((&replication["position"], &replication["scope"]), (&json!(created.to_string()), &json!("**")));
    assert_eq!((&replication["epoch"], &replication["seq"]), (&json!(created.epoch), &json!(created.seq)));
    assert_eq!((&replication["complete"], &replication["lagMs"]), (&json!(true), &json!(0)));
    assert_eq!((&status["deposed"], &status["deposedBy"]), (&json!(false), &json!(null)));
}

#[tokio::test]
async fn status_shows_parent_and_child_of_a_pair() {
    let writer = Writer::start().await;
    let at = writer.write("a", "1").await;
    let replica = writer.replica(&[]).await;
    let of_replica = replica.client().status().await;
    assert_eq!((&of_replica["node"], &of_replica["role"]), (&json!("replica"), &json!("replica")));
    assert_eq!(of_replica["parent"].as_str().map(|url| url.trim_end_matches('/')), Some(writer.url()));
    let replication = &of_replica["replication"];
    assert_eq!((&replication["enabled"], &replication["parent_connected"]), (&json!(true), &json!(true)));
    assert_eq!(replication["position"], json!(at.to_string()));
    assert!(replication["lagMs"].is_u64(), "{replication}");
    let of_writer = writer.client.status().await;
    assert_eq!(of_replica["cluster"], of_writer["cluster"]);
    assert_ne!(of_replica["instance"], of_writer["instance"]);
    for member in ["keys", "lastSeq", "digest"] {
        assert_eq!(of_replica["collections"]["flags"][member], of_writer["collections"]["flags"][member]);
    }
    let child = eventually("the child is through its baseline", || async {
        let children = writer.client.status().await["children"].clone();
        if children[0]["sentSeq"] == json!(at.seq) { Ok(children) } else { Err(children) }
    })
    .await;
    assert_eq!(child.as_array().unwrap().len(), 1);
    let expected = [
        ("node", json!("replica")),
        ("instance", of_replica["instance"].clone()),
        ("scope", json!("**")),
        ("lagSeq", json!(0)),
        ("inBaseline", json!(false)),
    ];
    for (member, value) in expected {
        assert_eq!(child[0][member], value, "{member}");
    }
}

#[tokio::test]
async fn metrics_count_what_happens() {
    let writer = Writer::start().await;
    let replica = writer.replica(&[]).await;
    let names = [
        "writes_total",
        "reads_total",
        "replication_commands_sent_total",
        "replication_commands_received_total",
        "children_connected",
        "parent_connected",
    ];
    let (writer_before, replica_before) = (metrics(&writer.node).await, metrics(&replica).await);
    assert!(fields(&writer_before).is_superset(&names.into()), "{writer_before}");
    assert_eq!(fields(&writer_before), fields(&replica_before));
    assert_eq!((&writer_before["children_connected"], &writer_before["parent_connected"]), (&json!(1), &json!(false)));
    assert_eq!((&replica_before["children_connected"], &replica_before["parent_connected"]), (&json!(0), &json!(true)));

    let mut last = String::new();
    for index in 0..5 {
        last = writer.write("a", &index.to_string()).await.to_string();
    }
    assert_eq!(writer.client.delete("flags", "missing").await.status, 404);
    let path = Client::entry_path("flags", "a");
    let read = call(&replica.client(), "GET", &path, &[("headwater-min-position", &last)], "").await;
    assert_eq!(read.status, 200);
    assert_eq!(replica.client().get("/v1/collections/flags/keys").await.status, 200);

    let (writer_after, replica_after) = (metrics(&writer.node).await, metrics(&replica).await);
    let grown =
        |before: &Value, after: &Value, name: &str| after[name].as_u64().unwrap() - before[name].as_u64().unwrap();
    assert_eq!(grown(&writer_before, &writer_after, "writes_total"), 5);
    assert_eq!(grown(&writer_before, &writer_after, "reads_total"), 0);
    assert_eq!(grown(&writer_before, &writer_after, "replication_commands_sent_total"), 5);
    assert_eq!(grown(&replica_before, &replica_after, "replication_commands_received_total"), 5);
    assert_eq!(grown(&replica_before, &replica_after, "reads_total"), 2);
    assert_eq!(grown(&replica_before, &replica_after, "writes_total"), 0);
}

#[tokio::test]
async fn a_child_that_hangs_up_is_counted_no_longer() {
    let writer = Writer::start().await;
    let mut lines = Lines::open(&writer.client, "{\"node\":\"visitor\"}").await.unwrap();
    lines.until("READY").await;
    assert_eq!(metrics(&writer.node).await["children_connected"], json!(1));
    assert_eq!(writer.client.status().await["children"][0]["node"], json!("visitor"));
    drop(lines);
    eventually("the child is gone", || async {
        let count = metrics(&writer.node).await["children_connected"].clone();
        if count == json!(0) { Ok(()) } else { Err(count) }
    })
    .await;
}
