//! Changes of data and of credentials, starts and ends.

use super::{content, directory, entries, told, verified};
use crate::api::{Writer, call, position};
use crate::cli::Cli;
use headwater_tests::{Client, NodeBuilder};
use serde_json::{Value, json};

/// Operation, seq and collection of what was noted, ranges of seqs taken apart.
fn changes(entries: &[Value]) -> Vec<(String, u64, String)> {
    let mut all = Vec::new();
    for entry in entries {
        let text = |name: &str| entry[name].as_str().expect("a text").to_owned();
        let one = entry["seq"].as_u64().map(|seq| vec![(seq, seq)]);
        let ranges = one.unwrap_or_else(|| serde_json::from_value(entry["seqs"].clone()).expect("ranges"));
        for (first, last) in ranges {
            all.extend((first..=last).map(|seq| (text("op"), seq, text("collection"))));
        }
    }
    all.sort_by_key(|(_, seq, _)| *seq);
    all
}

#[tokio::test]
async fn every_change_is_noted_once_with_who_and_from_where_and_neither_key_nor_value() {
    let writer = Writer::start().await;
    let client = &writer.client;
    let first = writer.write("a-personal-key", "\"a private value\"").await.seq;
    assert_eq!(client.delete("flags", "a-personal-key").await.status, 200);
    assert_eq!(client.batch("flags", "{\"op\":\"set\",\"key\":\"b\",\"value\":1}").await.status, 200);
    let repeated = [("idempotency-key", "once")];
    for _ in 0..3 {
        let reply = call(client, "PUT", &Client::entry_path("flags", "c"), &repeated, "{\"value\":1}").await;
        assert_eq!(reply.status, 200);
    }
    client.create("gone").await;
    client.create("gone").await;
    assert_eq!(call(client, "DELETE", "/v1/collections/gone", &[], "").await.status, 200);
    assert_eq!(client.delete("flags", "missing").await.status, 404);

    let expected: Vec<_> = [
        ("create", "flags"),
        ("set", "flags"),
        ("delete", "flags"),
        ("batch", "flags"),
        ("set", "flags"),
        ("create", "gone"),
        ("drop", "gone"),
    ]
    .into_iter()
    .zip(first - 1..)
    .map(|((op, collection), seq)| (op.to_owned(), seq, collection.to_owned()))
    .collect();
    let noted = told(&writer.node, "write", |found| changes(found).len() >= expected.len()).await;
    assert_eq!(changes(&noted), expected);
    for entry in &noted {
        assert_eq!((&entry["by"], &entry["peer"]), (&json!("dev"), &json!("127.0.0.1")), "{entry}");
    }
    let content = content(&writer.node);
    for hidden in ["personal", "private", "once"] {
        assert!(!content.contains(hidden), "{hidden:?} in {content}");
    }
    assert_eq!(verified(&writer.node).await["ok"], true);
}

#[tokio::test]
async fn many_writes_take_few_lines_and_each_is_in_one() {
    let writer = Writer::start().await;
    let first = writer.write("k", "0").await.seq;
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let client = Client::dev(writer.url());
            tokio::spawn(async move {
                for index in 0..50 {
                    assert_eq!(client.set("flags", &format!("{task}-{index}"), "1").await.status, 200);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let noted = told(&writer.node, "write", |found| changes(found).len() >= 402).await;
    let seqs: Vec<_> = changes(&noted).into_iter().map(|(_, seq, _)| seq).collect();
    assert_eq!(seqs, (first - 1..=first + 400).collect::<Vec<_>>());
    assert!(noted.len() < 300, "{} lines for 402 writes", noted.len());
}

#[tokio::test]
async fn a_replica_notes_from_where_a_write_came_that_it_handed_on() {
    let writer = Writer::start().await;
    let replica = writer.replica(&[]).await;
    let reply = replica.client().set("flags", "a", "1").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(replica.client().delete("flags", "missing").await.status, 404);
    let seq = position(&reply).seq;
    let forwarded = told(&replica, "forward", |found| !found.is_empty()).await;
    assert_eq!(forwarded.len(), 1, "{forwarded:?}");
    let forwarded = &forwarded[0];
    assert_eq!((&forwarded["seq"], &forwarded["op"], &forwarded["by"]), (&json!(seq), &json!("set"), &json!("dev")));
    assert_eq!((&forwarded["peer"], &forwarded["collection"]), (&json!("127.0.0.1"), &json!("flags")));
    told(&writer.node, "write", |found| changes(found).iter().any(|(_, noted, _)| *noted == seq)).await;
}

#[tokio::test]
async fn starts_ends_and_the_first_credential_are_noted() {
    let place = tempfile::tempdir().unwrap();
    let mut node = NodeBuilder::writer("writer", place.path()).without("--dev").start().await;
    let credential = told(&node, "credential", |found| !found.is_empty()).await.remove(0);
    let id = credential["credential"].as_str().unwrap().to_owned();
    assert!(id.starts_with("admin-") && credential["what"] == "created", "{credential}");
    let log = node.log();
    let secret = log.lines().find_map(|line| line.trim().strip_prefix("HEADWATER_SECRET=")).expect("it is shown once");
    assert!(!content(&node).contains(secret));
    node.stop().await.expect("it runs");
    node.start_again().await;
    told(&node, "start", |found| found.len() == 2).await;
    let events: Vec<_> = entries(&node).iter().map(|entry| entry["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(events, ["file", "credential", "start", "stop", "start"]);
    let start = &entries(&node)[2];
    assert_eq!((&start["role"], &start["takeover"]), (&json!("primary"), &json!(0)), "{start}");
}

#[tokio::test]
async fn it_is_where_it_is_told_to_be_or_nowhere() {
    let place = tempfile::tempdir().unwrap();
    let elsewhere = place.path().join("elsewhere");
    let directory_of = elsewhere.to_str().expect("temporary paths are UTF-8");
    let node = NodeBuilder::writer("writer", place.path()).option("--audit", directory_of).start().await;
    assert!(elsewhere.join("audit-0000000001.ndjson").is_file() && !directory(&node).exists());
    let taken = NodeBuilder::writer("second", place.path()).option("--audit", directory_of).try_start().await;
    let said = taken.err().expect("two do not write one chain");
    assert!(said.contains("--audit") && said.contains("in use"), "{said}");
    let off = NodeBuilder::writer("third", place.path()).option("--audit", "off").start().await;
    off.client().create("flags").await;
    assert!(!directory(&off).exists() && off.client().status().await["audit"].is_null());
}

#[tokio::test]
async fn what_made_a_directory_a_writers_is_noted_where_the_node_goes_on() {
    let mut writer = Writer::start().await;
    writer.write("a", "1").await;
    let mut replica = writer.replica(&[]).await;
    let cli = Cli::of(&writer.node);
    let path = |path: &std::path::Path| path.to_str().expect("temporary paths are UTF-8").to_owned();
    let backup = path(&writer.directory.path().join("backup"));
    let made = cli.run(&["backup", &backup]).await;
    assert_eq!(made.status, 0, "{made:?}");

    let state = writer.node.data().join("state");
    writer.node.stop().await.expect("it runs");
    std::fs::remove_dir_all(&state).expect("the temporary directory can be changed");
    let restored = cli.run(&["restore", &backup, "--data", &path(&state)]).await;
    assert_eq!(restored.status, 0, "{restored:?}");
    writer.node.start_again().await;
    told(&writer.node, "start", |found| found.len() == 1).await;
    let first = told(&writer.node, "restored", |found| found.len() == 1).await;
    assert_eq!(first[0]["backup"], json!(backup));
    assert_eq!(verified(&writer.node).await["ok"], true);

    replica.stop().await.expect("it runs");
    let promoted = cli.run(&["promote", &path(&replica.data().join("state")), "--old-writer-stopped"]).await;
    assert_eq!(promoted.status, 0, "{promoted:?}");
    let noted = told(&replica, "promoted", |found| found.len() == 1).await;
    assert!(noted[0]["takeover"].as_u64() > Some(0), "{noted:?}");
    assert_eq!(verified(&replica).await["ok"], true);
}

#[tokio::test]
async fn what_a_command_did_is_noted_where_the_node_is_told_to_look_or_said_to_be_nowhere() {
    let mut writer = Writer::start().await;
    writer.write("a", "1").await;
    let path = |path: &std::path::Path| path.to_str().expect("temporary paths are UTF-8").to_owned();
    let elsewhere = path(&writer.directory.path().join("elsewhere"));
    let mut replica = writer.replica(&[("--audit", "off")]).await;
    let cli = Cli::of(&writer.node);
    let backup = path(&writer.directory.path().join("backup"));
    assert_eq!(cli.run(&["backup", &backup]).await.status, 0);
    let made = writer.directory.path().join("made");
    let restored = cli.run(&["restore", &backup, "--data", &path(&made), "--audit", &elsewhere]).await;
    assert_eq!((restored.status, &*restored.stderr), (0, ""), "{restored:?}");
    let events = |directory: &str| {
        let file = std::path::Path::new(directory).join("audit-0000000001.ndjson");
        let text = std::fs::read_to_string(file).expect("it is there");
        ["restored", "promoted"].map(|event| text.matches(&format!("\"event\":\"{event}\"")).count())
    };
    assert_eq!((events(&elsewhere), made.join("audit").exists()), ([1, 0], false));

    replica.stop().await.expect("it runs");
    writer.node.stop().await.expect("it runs");
    let state = path(&replica.data().join("state"));
    let copy = path(&writer.directory.path().join("copy"));
    assert!(tokio::process::Command::new("cp").args(["-r", &state, &copy]).status().await.expect("cp runs").success());
    let promoted = cli.run(&["promote", &state, "--old-writer-stopped"]).await;
    assert!(promoted.status == 0 && promoted.stderr.contains("in no audit log"), "{promoted:?}");
    assert!(promoted.stderr.contains("--audit"), "{promoted:?}");
    let promoted = cli.run(&["promote", &copy, "--old-writer-stopped", "--audit", &elsewhere]).await;
    assert_eq!((promoted.status, &*promoted.stderr, events(&elsewhere)), (0, "", [1, 1]), "{promoted:?}");
    let off = cli.run(&["restore", &backup, "--data", &path(&made.with_extension("2")), "--audit", "off"]).await;
    assert_eq!((off.status, &*off.stderr), (0, ""), "{off:?}");
}

#[tokio::test]
async fn what_becomes_of_a_credential_is_noted_without_its_secret() {
    let writer = Writer::start().await;
    let mut secrets = Vec::new();
    for (method, path, body) in [
        ("POST", "/v1/keys", "{\"id\":\"ci\",\"roles\":[\"read\"]}"),
        ("PUT", "/v1/keys/ci", "{\"roles\":[\"read\",\"write\"]}"),
        ("POST", "/v1/keys/ci/rotate", ""),
        ("DELETE", "/v1/keys/ci", ""),
    ] {
        let reply = call(&writer.client, method, path, &[], body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        secrets.extend(reply.json()["secret"].as_str().map(str::to_owned));
    }
    let noted = told(&writer.node, "credential", |found| found.len() == 4).await;
    for (entry, what) in noted.iter().zip(["created", "changed", "rotated", "revoked"]) {
        assert_eq!((&entry["what"], &entry["credential"]), (&json!(what), &json!("ci")));
        assert_eq!((&entry["by"], &entry["peer"]), (&json!("dev"), &json!("127.0.0.1")));
    }
    assert_eq!(secrets.len(), 2);
    let content = content(&writer.node);
    assert!(secrets.iter().all(|secret| !content.contains(secret)));
}
