//! By whom a record was written, beside its line in the log.

use crate::api::{Writer, call};
use crate::cli::Cli;
use headwater_tests::{Client, Lines};
use serde_json::{Value, json};

/// The records of a writer's log as `(type, by)`.
async fn authors(writer: &Writer) -> Vec<(String, Value)> {
    let state = writer.node.data().join("state");
    let directory = state.to_str().expect("temporary paths are UTF-8");
    let cat = Cli::of(&writer.node).run(&["log", "cat", directory, "--meta"]).await;
    assert_eq!(cat.status, 0, "{cat:?}");
    let records = cat.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    records
        .map(|record| (record["line"]["type"].as_str().expect("a type").into(), record["meta"]["by"].clone()))
        .collect()
}

#[tokio::test]
async fn every_write_names_its_credential_beside_its_line_and_nowhere_else() {
    let mut writer = Writer::start().await;
    let client = writer.client.clone();
    writer.write("a", "1").await;
    assert_eq!(client.delete("flags", "a").await.status, 200);
    assert_eq!(client.batch("flags", "{\"op\":\"set\",\"key\":\"b\",\"value\":1}").await.status, 200);
    let repeated = [("idempotency-key", "once")];
    for _ in 0..2 {
        let reply = call(&client, "PUT", &Client::entry_path("flags", "c"), &repeated, "{\"value\":1}").await;
        assert_eq!(reply.status, 200);
    }
    client.create("gone").await;
    assert_eq!(call(&client, "DELETE", "/v1/collections/gone", &[], "").await.status, 200);
    let by = |kind: &str, by: &str| (kind.to_owned(), json!(by));
    let mut expected = vec![("EPOCH".to_owned(), Value::Null)];
    expected.extend(["CREATE", "SET", "DELETE", "BATCH", "SET", "CREATE", "DROP"].map(|kind| by(kind, "dev")));
    assert_eq!(authors(&writer).await, expected);

    writer.node.kill().await;
    writer.node.start_again().await;
    expected.push(("EPOCH".into(), Value::Null));
    assert_eq!(authors(&writer).await, expected, "after a kill");

    let replica = writer.replica(&[]).await;
    for node in [&writer.node, &replica] {
        let mut stream = Lines::open(&node.client(), "{\"scope\":\"**\"}").await.expect("a stream");
        let lines = stream.until("READY").await;
        let named = lines.iter().find(|line| line.get("by").is_some() || line.get("meta").is_some());
        assert_eq!(named, None, "what is beside a line is not streamed");
    }
}
