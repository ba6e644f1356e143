//! `list`, `collections` and `status` in a script.

use super::{Cli, Done};
use headwater_tests::{NodeBuilder, eventually};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

fn keys(done: &Done) -> Vec<String> {
    assert_eq!(done.status, 0, "{done:?}");
    let entries = done.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    entries.map(|entry| entry["key"].as_str().expect("a key").to_owned()).collect()
}

#[tokio::test]
async fn a_pipe_gets_all_entries_and_a_limit_tells_how_to_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let (cli, client) = (Cli::of(&writer), writer.client());
    client.create("c").await;
    for n in 0..150 {
        assert_eq!(client.set("c", &format!("eu:{n:03}"), "0").await.status, 200);
    }
    client.set("c", "us:1", "0").await;

    let all = cli.run(&["list", "c"]).await;
    assert_eq!((keys(&all).len(), &*all.stderr), (151, ""));
    assert_eq!(keys(&cli.run(&["list", "c", "--prefix", "us:"]).await), ["us:1"]);

    let some = cli.run(&["list", "c", "--prefix", "eu:", "--limit", "2", "--after", "eu:008"]).await;
    assert_eq!(keys(&some), ["eu:009", "eu:010"]);
    assert!(some.stderr.contains("headwater list c --prefix eu: --after eu:010"), "{some:?}");
    let last = cli.run(&["list", "c", "--limit", "2", "--after", "eu:148"]).await;
    assert_eq!((keys(&last).len(), &*last.stderr), (2, ""), "nothing follows");

    let missing = cli.run(&["list", "d"]).await;
    assert_eq!(missing.status, 1);
    assert!(missing.stderr.contains("[missing_collection]"), "{missing:?}");
}

#[tokio::test]
async fn a_reader_that_has_read_enough_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let (cli, client) = (Cli::of(&writer), writer.client());
    client.create("c").await;
    let long = format!("\"{}\"", "x".repeat(500_000));
    for n in 0..4 {
        client.set("c", &format!("{n}"), &long).await;
    }
    // More than a pipe holds, so that it is still writing when the reader leaves.
    let mut child = cli.command(&["list", "c"]).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).await.unwrap();
    drop(reader);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
}

#[tokio::test]
async fn collections_are_created_listed_and_dropped_only_on_purpose() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let cli = Cli::of(&writer);
    for _ in 0..2 {
        let created = cli.json(&["collections", "create", "prices"]).await;
        assert_eq!(created, json!({ "ok": true, "collection": "prices" }));
    }
    cli.json(&["collections", "create", "flags"]).await;
    assert_eq!(cli.json(&["collections"]).await, json!({ "collections": ["flags", "prices"] }));

    let unasked = cli.run(&["collections", "drop", "prices"]).await;
    assert_eq!(unasked.status, 2, "{unasked:?}");
    assert!(unasked.stderr.contains("--yes"), "{unasked:?}");
    assert_eq!(cli.json(&["collections"]).await["collections"].as_array().unwrap().len(), 2);

    assert_eq!(cli.json(&["collections", "drop", "prices", "--yes"]).await["ok"], true);
    assert_eq!(cli.run(&["collections", "drop", "prices", "--yes"]).await.status, 1);
    assert_eq!(cli.json(&["collections"]).await, json!({ "collections": ["flags"] }));
}

#[tokio::test]
async fn status_is_what_the_node_says() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let replica = NodeBuilder::replica("replica", directory.path(), &writer.url).start().await;
    let (at_writer, at_replica) = (Cli::of(&writer), Cli::of(&replica));
    at_writer.json(&["set", "flags", "a", "1", "--create"]).await;
    assert_eq!(at_writer.json(&["status"]).await["role"], "primary");

    eventually("the replica has the entry", async || {
        let read = at_replica.run(&["get", "flags", "a"]).await;
        if read.status == 0 { Ok(()) } else { Err(read) }
    })
    .await;
    let status = at_replica.json(&["status"]).await;
    assert_eq!((&status["role"], &status["collections"]["flags"]["keys"]), (&json!("replica"), &json!(1)));
    assert!(status["replication"]["lagMs"].is_u64(), "{status}");
    assert!(at_replica.json(&["get", "flags", "a"]).await["lagMs"].is_u64());
}
