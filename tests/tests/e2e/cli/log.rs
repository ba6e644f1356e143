//! `headwater log`: beside a running node, on a damaged log, and back to a node that runs.

use super::{Cli, Done};
use headwater_tests::wire::place;
use headwater_tests::{Node, NodeBuilder, Replication, converge, eventually};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt;

const RECORDS: u32 = 100;

/// A writer with short segments and enough in them, and the program.
async fn writer(directory: &Path, after_bytes: &str) -> (Node, Cli) {
    let writer = NodeBuilder::writer("writer", directory)
        .option("--segment-bytes", "4096")
        .option("--baseline-after-bytes", after_bytes);
    let writer = writer.start().await;
    writer.client().create("c").await;
    writer.client().fill("c", 0..RECORDS).await;
    let cli = Cli::of(&writer);
    (writer, cli)
}

/// A writer that stores no baseline while a test runs.
async fn plain_writer(directory: &Path) -> (Node, Cli) {
    writer(directory, "100000000").await
}

fn state(node: &Node) -> PathBuf {
    node.data().join("state")
}

async fn log(cli: &Cli, command: &str, node: &Node, more: &[&str]) -> Done {
    let directory = state(node);
    let arguments = [&["log", command, directory.to_str().expect("temporary paths are UTF-8")], more].concat();
    cli.run(&arguments).await
}

fn json(done: &Done) -> Value {
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}

/// Puts other bytes at the middle of a file of the log, and gives its place.
fn damage(node: &Node, name: &str) -> u64 {
    let path = state(node).join("log").join(name);
    let file = fs::OpenOptions::new().read(true).write(true).open(path).expect("the log has it");
    let middle = file.metadata().expect("it has a length").len() / 2;
    file.write_all_at(b"\xff\xfe\xfd\xfc", middle).expect("it can be written");
    middle
}

fn content(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut content: Vec<_> = fs::read_dir(directory)
        .expect("the directory is there")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.is_file() && !path.ends_with("LOCK"))
        .map(|path| (path.clone(), fs::read(&path).expect("it can be read")))
        .collect();
    content.sort();
    content
}

#[tokio::test]
async fn a_log_is_read_beside_the_node_that_writes_it() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, cli) = plain_writer(directory.path()).await;
    let last = place(&writer.client().position().await).1;

    let stat = log(&cli, "stat", &writer, &[]).await;
    assert_eq!(stat.status, 0, "{stat:?}");
    let stat = json(&stat);
    assert!(stat["inUseBy"].as_str().unwrap().contains("(node writer)"), "{stat}");
    assert_eq!(stat["totals"]["records"], json!(last), "{stat}");
    let files = stat["files"].as_array().unwrap();
    assert!(files.len() > 2, "{stat}");
    assert_eq!((&files[0]["seqs"][0], &files[0]["openings"]), (&json!(1), &json!(1)), "{stat}");
    assert!(files[0]["sealedMs"].is_u64() && files.last().unwrap()["sealedMs"].is_null(), "{stat}");
    assert_eq!(stat["epochs"][0]["first"], json!(1), "{stat}");

    let verify = log(&cli, "verify", &writer, &[]).await;
    assert_eq!(verify.status, 0, "{verify:?}");
    let verify = json(&verify);
    assert_eq!((&verify["ok"], &verify["position"]), (&json!(true), &json!(writer.client().position().await)));

    let cat = log(&cli, "cat", &writer, &["--from", "40", "--to", "60"]).await;
    assert_eq!(cat.status, 0, "{cat:?}");
    assert!(cat.stderr.contains("has the directory in use"), "{cat:?}");
    let seqs: Vec<_> =
        cat.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].clone()).collect();
    assert_eq!(seqs, (40..=60).map(|seq| json!(seq)).collect::<Vec<_>>());
    assert!(cat.stdout.starts_with("{\"type\":\"SET\",\"collection\":\"c\",\"seq\":40,"), "{cat:?}");
    let with_meta = log(&cli, "cat", &writer, &["--from", "40", "--to", "40", "--meta"]).await;
    assert!(with_meta.stdout.starts_with("{\"seq\":40,\"meta\":"), "{with_meta:?}");

    let behind = log(&cli, "cat", &writer, &["--from", "100000"]).await;
    assert!(behind.status == 0 && behind.stderr.contains(&format!("the newest record is {last}")), "{behind:?}");
    let baseline = log(&cli, "cat", &writer, &["--baseline"]).await;
    assert!(baseline.status == 0 && baseline.stderr.contains("no baseline is stored yet"), "{baseline:?}");

    let repair = log(&cli, "repair", &writer, &["--yes"]).await;
    assert_eq!(repair.status, 3, "{repair:?}");
    assert!(repair.stderr.contains("is in use by process"), "{repair:?}");
    writer.client().set("c", "still", "true").await;
}

#[tokio::test]
async fn who_reads_slowly_is_told_what_went_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path())
        .option("--segment-bytes", "16384")
        .option("--baseline-after-bytes", "20000")
        .option("--retain-bytes", "250000");
    let writer = writer.start().await;
    let client = writer.client();
    client.create("c").await;
    let value = format!("\"{}\"", "x".repeat(4_000));
    let write = async |count: u32| {
        for number in 0..count {
            assert_eq!(client.set("c", &format!("key-{}", number % 5), &value).await.status, 200);
        }
    };
    // More than a pipe holds, so that the program waits for whoever reads it.
    write(60).await;
    let state = state(&writer);
    let cli = Cli::of(&writer);
    let arguments = ["log", "cat", state.to_str().unwrap()];
    let mut child = cli.command(&arguments).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 100];
    stdout.read_exact(&mut first).await.unwrap();
    write(120).await;
    eventually("the log is shortened", async || {
        let oldest = fs::exists(state.join("log/0000000003.wal")).unwrap();
        if oldest { Err("an old segment is still there") } else { Ok(()) }
    })
    .await;
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).await.unwrap();
    let ended = child.wait_with_output().await.unwrap();
    let note = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success() && note.contains("were let go of while this was read"), "{note}");
    let last: Value = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
    assert_eq!(last["seq"], json!(place(&client.position().await).1));
}

#[tokio::test]
async fn the_stored_baseline_is_shown_and_checked() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, cli) = writer(directory.path(), "8192").await;
    writer.says("stored a baseline of the state").await;
    writer.stop().await;
    let lines = log(&cli, "cat", &writer, &["--baseline"]).await;
    assert_eq!((lines.status, &*lines.stderr), (0, ""), "{lines:?}");
    assert!(lines.stdout.starts_with("{\"type\":\"BASELINE_BEGIN\",\"collection\":\"c\""), "{lines:?}");
    assert!(lines.stdout.trim_end().lines().last().unwrap().contains("BASELINE_END"), "{lines:?}");
    let stat = json(&log(&cli, "stat", &writer, &[]).await);
    assert_eq!(stat["files"][0]["what"], json!("baseline"), "{stat}");
    assert_eq!(json(&log(&cli, "verify", &writer, &[]).await)["keys"], json!(RECORDS));

    let name = stat["files"][0]["name"].as_str().unwrap().to_owned();
    damage(&writer, &name);
    let verify = log(&cli, "verify", &writer, &[]).await;
    assert_eq!(verify.status, 1, "{verify:?}");
    assert_eq!(json(&verify)["damages"][0]["file"], json!(name));
    // All segments are still kept: they are as good.
    let repair = log(&cli, "repair", &writer, &["--yes"]).await;
    assert_eq!((repair.status, &json(&repair)["losses"]), (0, &json!([])), "{repair:?}");
    writer.start_again().await;
    assert_eq!(writer.client().status().await["collections"]["c"]["keys"], json!(RECORDS));
}

#[tokio::test]
async fn what_cannot_be_mended_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path())
        .option("--segment-bytes", "4096")
        .option("--baseline-after-bytes", "8192")
        .option("--retain-bytes", "0");
    let mut writer = writer.start().await;
    let cli = Cli::of(&writer);
    writer.client().create("c").await;
    writer.client().fill("c", 0..RECORDS).await;
    writer.says("let go of log that a stored baseline covers").await;
    writer.stop().await;
    let stat = json(&log(&cli, "stat", &writer, &[]).await);
    damage(&writer, stat["files"][0]["name"].as_str().unwrap());
    let untouched = content(&state(&writer).join("log"));
    let repair = log(&cli, "repair", &writer, &["--yes"]).await;
    assert_eq!(repair.status, 1, "{repair:?}");
    assert!(repair.stderr.contains("cannot be mended"), "{repair:?}");
    let tried = json(&repair)["tried"].clone();
    assert!(
        tried.to_string().contains("nothing before") || tried.to_string().contains("begins behind record"),
        "{tried}"
    );
    let help = json(&repair)["help"].to_string();
    assert!(help.contains("headwater promote") && repair.stderr.contains("headwater restore"), "{repair:?}");
    assert_eq!(content(&state(&writer).join("log")), untouched);
}

#[tokio::test]
async fn damage_is_named_and_the_log_goes_on_from_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, cli) = plain_writer(directory.path()).await;
    let near = NodeBuilder::replica("near", directory.path(), &writer.url).start().await;
    let before = converge(&writer.client(), &near.client()).await;
    writer.stop().await;
    let at = damage(&writer, "0000000002.wal");

    let verify = log(&cli, "verify", &writer, &[]).await;
    assert_eq!(verify.status, 1, "{verify:?}");
    let found = json(&verify)["damages"].clone();
    assert_eq!((found.as_array().unwrap().len(), &found[0]["file"]), (1, &json!("0000000002.wal")), "{found}");
    let offset = found[0]["offset"].as_u64().unwrap();
    assert!(offset <= at && at - offset < 1_000, "{found}");
    let cat = log(&cli, "cat", &writer, &[]).await;
    assert_eq!(cat.status, 1, "{cat:?}");
    assert!(cat.stdout.lines().count() > 10 && cat.stderr.contains("0000000002.wal is damaged at byte"), "{cat:?}");

    let log_directory = state(&writer).join("log");
    let untouched = content(&log_directory);
    let asked = log(&cli, "repair", &writer, &[]).await;
    assert_eq!((asked.status, &json(&asked)["done"]), (1, &json!(false)), "{asked:?}");
    assert!(asked.stderr.contains("--yes does the above"), "{asked:?}");
    best_first(&verify.stderr);
    best_first(&cat.stderr);
    let refused = NodeBuilder::writer("writer", directory.path()).try_start().await.map(drop).unwrap_err();
    best_first(&refused);
    let help = json(&asked)["help"].to_string();
    assert!(help.find("headwater promote") < help.find("headwater restore"), "{help}");
    assert_eq!(content(&log_directory), untouched, "nothing is touched unless told");

    let done = log(&cli, "repair", &writer, &["--yes"]).await;
    assert_eq!(done.status, 0, "{done:?}");
    let told = json(&done);
    assert_eq!(told["done"], json!(true), "{told}");
    assert!(
        told["losses"][0].as_str().unwrap().contains(&format!("to {} are lost", place(&before.position).1)),
        "{told}"
    );
    let copies = content(Path::new(told["copiedTo"].as_str().unwrap()));
    let damaged = untouched.iter().find(|(path, _)| path.ends_with("0000000002.wal")).unwrap();
    assert!(copies.iter().any(|(path, bytes)| path.ends_with("0000000002.wal") && *bytes == damaged.1));

    writer.start_again().await;
    let (epoch, seq) = place(&writer.client().position().await);
    assert!(epoch > place(&before.position).0 && seq < place(&before.position).1);
    writer.client().set("c", "after", "true").await;
    converge(&writer.client(), &near.client()).await;
    near.says("not_on_history").await;
}

/// What loses nothing is named before what cuts the log.
fn best_first(told: &str) {
    let places = ["headwater promote", "headwater restore", "headwater log repair"].map(|words| told.find(words));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{told}");
}

#[tokio::test]
async fn what_is_whole_behind_damage_can_be_saved_by_hand() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, cli) = plain_writer(directory.path()).await;
    let last = place(&writer.client().position().await).1;
    let all = log(&cli, "cat", &writer, &["--past-damage"]).await;
    assert_eq!((all.status, all.stdout.lines().count() as u64), (0, last), "{all:?}");
    writer.stop().await;
    damage(&writer, "0000000002.wal");
    let before = log(&cli, "cat", &writer, &[]).await.stdout.lines().count();
    let cat = log(&cli, "cat", &writer, &["--past-damage"]).await;
    assert_eq!(cat.status, 1, "{cat:?}");
    let lines: Vec<Value> = cat.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[before]["damage"]["file"], json!("0000000002.wal"), "{}", lines[before]);
    assert!(lines[..before].iter().all(|line| line["pastDamage"] == json!(false)));
    let behind = &lines[before + 1..];
    assert!(behind.iter().all(|line| line["pastDamage"] == json!(true)), "{behind:?}");
    // One damaged place, one record that is gone.
    assert_eq!(behind.len() as u64 + before as u64, last - 1);
    let (first, newest) = (&behind[0], behind.last().unwrap());
    assert_eq!((&first["seq"], &newest["seq"]), (&json!(before + 2), &json!(last)));
    assert_eq!(newest["line"]["seq"], json!(last), "{newest}");
    best_first(&cat.stderr);
}

#[tokio::test]
async fn damage_on_a_replica_s_disk_is_mended_by_its_parent() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, cli) = plain_writer(directory.path()).await;
    let near = NodeBuilder::replica("near", directory.path(), &writer.url).option("--segment-bytes", "4096");
    let mut near = near.start().await;
    writer.client().fill("c", RECORDS..2 * RECORDS).await;
    converge(&writer.client(), &near.client()).await;
    near.stop().await;
    let name = fs::read_dir(state(&near).join("log")).unwrap().map(|entry| entry.unwrap().file_name());
    let name = name.filter(|name| name.to_string_lossy().ends_with(".wal")).max().unwrap();
    damage(&near, name.to_str().unwrap());
    let verify = log(&cli, "verify", &near, &[]).await;
    assert!(verify.stderr.contains("its parent sends everything again"), "{verify:?}");
    let done = log(&cli, "repair", &near, &["--yes"]).await;
    assert_eq!((done.status, &json(&done)["losses"]), (0, &json!([])), "{done:?}");
    assert!(!done.stdout.contains("lost") && json(&done)["cautions"].to_string().contains("parent"), "{done:?}");
    near.start_again().await;
    converge(&writer.client(), &near.client()).await;
}

#[tokio::test]
async fn a_manifest_that_is_lost_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let (mut writer, cli) = plain_writer(directory.path()).await;
    let near = NodeBuilder::replica("near", directory.path(), &writer.url).start().await;
    let before = converge(&writer.client(), &near.client()).await;
    let cluster = writer.client().status().await["cluster"].clone();
    writer.stop().await;
    fs::remove_file(state(&writer).join("log/MANIFEST")).unwrap();
    let refused = NodeBuilder::writer("writer", directory.path()).try_start().await.map(drop).unwrap_err();
    assert!(refused.contains("MANIFEST is missing, and 00000000"), "{refused}");
    best_first(&refused);
    let verify = log(&cli, "verify", &writer, &[]).await;
    assert_eq!(verify.status, 2, "{verify:?}");
    assert!(verify.stderr.contains("holds no log") && verify.stderr.contains("headwater log repair"), "{verify:?}");
    let done = log(&cli, "repair", &writer, &["--yes"]).await;
    assert_eq!((done.status, &json(&done)["losses"]), (0, &json!([])), "{done:?}");
    assert_eq!(json(&done)["position"], json!(before.position), "{done:?}");
    writer.start_again().await;
    assert_eq!(writer.client().status().await["cluster"], cluster);
    assert!(place(&writer.client().position().await).0 > place(&before.position).0);
    converge(&writer.client(), &near.client()).await;
    assert_eq!(Replication::of(&near.client()).await.baselines, 1, "nothing was lost, and it goes on by tail");
}

#[tokio::test]
async fn a_replica_s_disk_is_read_too() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, cli) = plain_writer(directory.path()).await;
    let mut near = NodeBuilder::replica("near", directory.path(), &writer.url).start().await;
    writer.client().fill("c", RECORDS..RECORDS + 5).await;
    let before = converge(&writer.client(), &near.client()).await;
    near.stop().await;
    let stat = json(&log(&cli, "stat", &near, &[]).await);
    assert_eq!((&stat["backend"], &stat["epoch"]), (&json!("replica"), &json!(place(&before.position).0)), "{stat}");
    let verify = log(&cli, "verify", &near, &[]).await;
    assert_eq!((verify.status, &json(&verify)["position"]), (0, &json!(before.position)), "{verify:?}");
}

#[tokio::test]
async fn what_is_no_log_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let cli = Cli::at("http://127.0.0.1:1");
    let place = directory.path().to_str().unwrap();
    for command in ["cat", "stat", "verify", "repair"] {
        let done = cli.run(&["log", command, place]).await;
        assert_eq!(done.status, 2, "{command}: {done:?}");
        assert!(done.stderr.contains("holds no log"), "{command}: {done:?}");
        let done = cli.run(&["log", command, "/nowhere/at/all"]).await;
        assert_eq!(done.status, 2, "{command}: {done:?}");
        assert!(done.stderr.contains("is no directory"), "{command}: {done:?}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is made there");
}
