//! `headwater promote`: a replica's directory takes the place of a writer that is gone, and its children move over.

use super::{Cli, Done};
use headwater_tests::wire::place;
use headwater_tests::{Client, Node, NodeBuilder, Relay, Replication, converge, write};
use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;

async fn writer(directory: &Path) -> Node {
    let writer = NodeBuilder::writer("writer", directory).start().await;
    writer.client().create("c").await;
    writer
}

fn replica(name: &str, directory: &Path, parents: &str) -> NodeBuilder {
    NodeBuilder::replica(name, directory, parents)
}

async fn promote(node: &Node, more: &[&str]) -> Done {
    let directory = node.data().join("state");
    Cli::of(node).run(&[&["promote", directory.to_str().expect("temporary paths are UTF-8")], more].concat()).await
}

const STOPPED: &str = "--old-writer-stopped";

fn json_of(done: &Done) -> Value {
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}

/// Promotes a replica that was stopped, and starts it as a writer at its address.
async fn becomes_writer(node: &mut Node) -> Value {
    let done = promote(node, &[STOPPED]).await;
    assert_eq!((done.status, &*done.stderr), (0, ""), "{done:?}");
    node.clear_option("--parent");
    node.start_again().await;
    json_of(&done)
}

#[tokio::test]
async fn children_of_both_go_on_from_where_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(directory.path()).await;
    // Short segments and frequent baselines: lines before and behind a stored baseline, in several segments.
    let near = replica("near", directory.path(), &writer.url)
        .option("--segment-bytes", "4096")
        .option("--baseline-after-bytes", "8192");
    let mut near = near.start().await;
    let below = replica("below", directory.path(), &near.url).start().await;
    let both = format!("{},{}", writer.url, near.url);
    let beside = replica("beside", directory.path(), &both).start().await;
    for from in 0..4 {
        write(&writer.client(), from * 30..from * 30 + 30).await;
        converge(&writer.client(), &near.client()).await;
    }
    writer.client().delete("c", "key-7").await;
    for reader in [&near, &below, &beside] {
        converge(&writer.client(), &reader.client()).await;
    }
    let before = converge(&writer.client(), &near.client()).await;
    let cluster = writer.client().status().await["cluster"].clone();
    writer.kill().await;
    near.stop().await;

    let told = becomes_writer(&mut near).await;
    assert_eq!((&told["position"], &told["keptLines"]), (&json!(before.position), &json!(true)), "{told}");
    let client = near.client();
    let (epoch, seq) = place(&client.position().await);
    assert!(epoch > place(&before.position).0, "{epoch}");
    assert_eq!(seq, place(&before.position).1 + 1, "the new epoch is the first record behind the old ones");
    let status = client.status().await;
    assert_eq!((&status["role"], &status["cluster"]), (&json!("primary"), &cluster), "{status}");
    write(&client, 200..210).await;
    for reader in [&below, &beside] {
        converge(&client, &reader.client()).await;
        let found = Replication::of(&reader.client()).await;
        assert_eq!((found.baselines, found.gaps), (1, 0), "by tail: {found:?}");
    }

    // Lines of the replica and of the writer that it became are replayed together, whatever the end.
    near.kill().await;
    near.start_again().await;
    write(&client, 210..215).await;
    near.stop().await;
    near.start_again().await;
    assert_eq!(client.status().await["collections"]["c"]["keys"], json!(134));
    for reader in [&below, &beside] {
        converge(&client, &reader.client()).await;
        assert_eq!(Replication::of(&reader.client()).await.baselines, 1);
    }
    let verify = Cli::of(&near).run(&["log", "verify", near.data().join("state").to_str().unwrap()]).await;
    assert_eq!(verify.status, 0, "{verify:?}");
    let again = promote(&near, &[STOPPED]).await;
    assert_eq!(again.status, 1, "{again:?}");
    assert!(again.stderr.contains("is a writer's already"), "{again:?}");
}

/// Restarts a replica under another list of parents.
async fn turn(node: &mut Node, parents: &str) {
    node.stop().await;
    node.set_option("--parent", parents);
    node.start_again().await;
    node.ready().await;
}

#[tokio::test]
async fn an_old_writer_that_is_started_again_takes_nobody_from_the_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut old = writer(directory.path()).await;
    let mut near = replica("near", directory.path(), &old.url).start().await;
    let both = format!("{},{}", old.url, near.url);
    let mut beside = replica("beside", directory.path(), &both).start().await;
    let mut unaware = replica("unaware", directory.path(), &old.url).start().await;
    write(&old.client(), 0..5).await;
    for reader in [&near, &beside, &unaware] {
        converge(&old.client(), &reader.client()).await;
    }
    old.kill().await;
    near.stop().await;
    unaware.stop().await;
    let told = becomes_writer(&mut near).await;
    let new = near.client();
    write(&new, 10..20).await;
    let held = converge(&new, &beside.client()).await;
    let takeover = |status: &Value| status["replication"]["takeover"].as_u64().unwrap();
    assert_eq!(takeover(&new.status().await), told["takeover"].as_u64().unwrap());
    assert_eq!(takeover(&beside.client().status().await), told["takeover"].as_u64().unwrap());

    // As a supervisor starts it, or the machine that is back.
    old.start_again().await;
    write(&old.client(), 70..75).await;
    let epoch = |position: &str| place(position).0;
    assert!(epoch(&old.client().position().await) > epoch(&new.position().await), "its epoch is the higher one");
    assert_eq!(old.client().status().await["deposed"], json!(false), "nobody has told it");

    // A child that has seen the new one comes back from a restart, and asks the old one first.
    beside.stop().await;
    beside.start_again().await;
    let found = Replication::until(&beside.client(), "stale_parent", |found| found.offence == "stale_parent").await;
    assert_eq!(found.baselines, 0, "{found:?}");
    let status = old.client().status().await;
    assert_eq!((&status["deposed"], &status["deposedByTakeover"]), (&json!(true), &told["takeover"]), "{status}");
    old.says("deposed").await;
    write(&new, 20..25).await;
    let after = converge(&new, &beside.client()).await;
    assert_eq!((after.collections["c"].1.len(), held.collections["c"].1.len()), (20, 15));

    // One that has not follows the old one, until it meets the new one: whose epoch is lower.
    unaware.start_again().await;
    let lost = converge(&old.client(), &unaware.client()).await;
    turn(&mut unaware, &near.url).await;
    let state = converge(&new, &unaware.client()).await;
    assert!(epoch(&state.position) < epoch(&lost.position));
    let reasons = unaware.client().status().await["replication"]["baselinesByReason"].clone();
    assert_eq!(reasons["not_on_history"], json!(1), "{reasons}");
    turn(&mut unaware, &both).await;
    Replication::until(&unaware.client(), "stale_parent", |found| found.offence == "stale_parent").await;

    // Every later opening of the new one keeps the takeover.
    near.kill().await;
    near.start_again().await;
    write(&new, 30..31).await;
    for reader in [&beside, &unaware] {
        let state = converge(&new, &reader.client()).await;
        assert_eq!(state.collections["c"].1.len(), 21);
    }
    assert_eq!(takeover(&new.status().await), told["takeover"].as_u64().unwrap());
    assert_eq!(new.status().await["deposed"], json!(false));
}

#[tokio::test]
async fn a_child_that_is_ahead_gets_a_baseline_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(directory.path()).await;
    let relay = Relay::start(&writer.url).await;
    let mut near = replica("near", directory.path(), &relay.url).start().await;
    let ahead = replica("ahead", directory.path(), &format!("{},{}", writer.url, near.url)).start().await;
    write(&writer.client(), 0..5).await;
    let shared = converge(&writer.client(), &near.client()).await;
    relay.silence();
    write(&writer.client(), 5..9).await;
    let lost = converge(&writer.client(), &ahead.client()).await;
    writer.kill().await;
    near.stop().await;

    let told = becomes_writer(&mut near).await;
    assert_eq!(told["position"], json!(shared.position), "{told}");
    write(&near.client(), 20..21).await;
    let state = converge(&near.client(), &ahead.client()).await;
    assert!(place(&state.position).0 > place(&lost.position).0);
    assert!(state.collections["c"].1.iter().all(|entry| !entry.contains("key-6")), "lost writes are gone everywhere");
    let found = ahead.client().status().await["replication"]["baselinesByReason"].clone();
    assert_eq!(found, json!({"new": 1, "scope_changed": 0, "not_on_history": 1, "trimmed": 0}));
    ahead.says("not_on_history").await;
}

#[tokio::test]
async fn only_a_whole_replica_at_rest_is_promoted_and_only_when_told() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(directory.path()).await;
    write(&writer.client(), 0..3).await;
    let mut near = replica("near", directory.path(), &writer.url).start().await;
    converge(&writer.client(), &near.client()).await;

    let running = promote(&near, &[STOPPED]).await;
    assert_eq!(running.status, 3, "{running:?}");
    assert!(running.stderr.contains("is in use by process"), "{running:?}");
    near.stop().await;
    let untold = promote(&near, &[]).await;
    assert_eq!(untold.status, 2, "{untold:?}");
    assert!(untold.stderr.contains(STOPPED), "{untold:?}");
    let of_writer = promote(&writer, &[STOPPED]).await;
    assert_eq!(of_writer.status, 1, "{of_writer:?}");
    assert!(of_writer.stderr.contains("is a writer's already"), "{of_writer:?}");

    let mut narrow = replica("narrow", directory.path(), &writer.url).option("--scope", r#"{"c":[""]}"#).start().await;
    narrow.ready().await;
    narrow.stop().await;
    let narrow = promote(&narrow, &[STOPPED]).await;
    assert_eq!(narrow.status, 1, "{narrow:?}");
    assert!(narrow.stderr.contains(r#"{"c":[""]}"#) && narrow.stderr.contains("needs all of the log"), "{narrow:?}");

    let mut early = replica("early", directory.path(), "http://127.0.0.1:1").start().await;
    early.stop().await;
    let early = promote(&early, &[STOPPED]).await;
    assert_eq!(early.status, 1, "{early:?}");
    assert!(early.stderr.contains("incomplete"), "{early:?}");

    // None of this has changed what the replica is.
    near.start_again().await;
    converge(&writer.client(), &near.client()).await;
    assert_eq!(Replication::of(&near.client()).await.baselines, 0);
}

#[tokio::test]
async fn a_replica_s_directory_is_not_served_as_a_writer_s_unless_promoted() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(directory.path()).await;
    let mut near = replica("near", directory.path(), &writer.url).start().await;
    near.ready().await;
    near.stop().await;
    let data = near.data().join("state");
    let serve = ["serve", "--dev", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let done = Cli::of(&writer).run(&serve).await;
    assert_eq!(done.status, 1, "{done:?}");
    assert!(done.stderr.contains("a replica's own disk") && done.stderr.contains("headwater promote"), "{done:?}");
}

#[tokio::test]
async fn a_promoted_directory_with_a_parent_is_refused_with_the_place_of_that_setting() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(directory.path()).await;
    let mut near = replica("near", directory.path(), &writer.url).start().await;
    near.ready().await;
    near.stop().await;
    writer.stop().await;
    assert_eq!(promote(&near, &[STOPPED]).await.status, 0);
    let (file, cli) = (directory.path().join("near.toml"), Cli::of(&writer));
    let toml = format!("dev = true\nlisten = \"127.0.0.1:0\"\n\n[following]\nparent = [\"{}\"]\n", writer.url);
    std::fs::write(&file, toml).unwrap();
    let (file, whole) = (file.to_str().unwrap(), near.data().join("state"));
    let in_file = ["serve", "--config", file, "--data", whole.to_str().unwrap()];
    let by_flag = ["serve", "--dev", "--listen", "127.0.0.1:0", "--data", in_file[4], "--parent", &writer.url];
    let of_writer = writer.data().join("state");
    let never =
        ["serve", "--dev", "--listen", "127.0.0.1:0", "--data", of_writer.to_str().unwrap(), "--parent", "http://h"];
    for (arguments, place, is_taken_over) in [
        (&in_file[..], format!("error: {file}:5: --parent: "), true),
        (&by_flag[..], "error: --parent: ".into(), true),
        (&never[..], "error: --parent: ".into(), false),
    ] {
        let done = cli.run(arguments).await;
        let words = &done.stderr;
        assert!(done.status == 1 && words.contains(&place) && words.contains("is a writer's"), "{done:?}");
        assert!(words.contains("take this setting out") && !words.contains("another directory"), "{done:?}");
        assert_eq!(words.contains("since `headwater promote`"), is_taken_over, "{done:?}");
    }
}

#[tokio::test]
async fn a_promoted_replica_remembers_no_idempotency_key_of_its_writer() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(directory.path()).await;
    let mut near = replica("near", directory.path(), &writer.url).start().await;
    near.ready().await;
    let client = near.client();
    let version = async || {
        let request = client.request(Method::POST, &Client::entry_path("c", "a")).header("idempotency-key", "k");
        let reply = client.send(request.body("{\"value\":1}")).await.expect("it answers");
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["version"].clone()
    };
    assert_eq!([version().await, version().await], [json!(1), json!(1)], "by the writer, through the replica");
    converge(&writer.client(), &client).await;
    writer.kill().await;
    near.stop().await;
    becomes_writer(&mut near).await;
    // The stream does not carry keys: what the replica was asked before, nobody here knows.
    assert_eq!([version().await, version().await], [json!(2), json!(2)]);
}
