//! `serve --archive` and `restore --to`: any position between a backup and the end, and nothing made up in between.

use super::Cli;
use super::backups::{names, path, seq, state, told};
use headwater_local::program::Stopped;
use headwater_tests::machine::Need;
use headwater_tests::medium::Medium;
use headwater_tests::{Client, Node, NodeBuilder, State, eventually};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A writer of short segments that keeps nothing it need not, and archives.
pub(super) async fn writer(directory: &Path, archive: &Path) -> Node {
    let builder = NodeBuilder::writer("writer", directory).option("--archive", path(archive));
    let builder = builder.option("--segment-bytes", "4096").option("--baseline-after-bytes", "8192");
    builder.option("--retain-bytes", "0").start().await
}

/// Waits until everything up to `least` but the last segment is archived, and the log has been trimmed.
pub(super) async fn archived(node: &Node, archive: &Path, least: u64) {
    eventually("the log is archived and trimmed", async || {
        let status = node.client().status().await;
        let through = status["archive"]["through"].as_u64().unwrap_or(0);
        let segments = status["storage"]["segments"].as_u64().unwrap_or(u64::MAX);
        // All that is sealed is archived, so what the log has less was let go of.
        let is_trimmed = through > 0 && segments - 1 < pieces(archive).len() as u64;
        if through + 60 >= least && is_trimmed { Ok(()) } else { Err(status) }
    })
    .await;
}

/// Writes the same few entries so many times: the state stays short, and with it what a baseline has to outgrow.
async fn again(client: &Client, times: u32) {
    for _ in 0..times {
        client.fill("c", 0..50).await;
    }
}

/// The pieces of the archive, in order.
pub(super) fn pieces(archive: &Path) -> Vec<PathBuf> {
    let [cluster] = &*names(archive) else { panic!("one cluster") };
    let directory = archive.join(cluster);
    let pieces = names(&directory).into_iter().filter(|name| name.ends_with(".zst"));
    pieces.map(|name| directory.join(name)).collect()
}

/// What a node shows that starts with `data`.
pub(super) async fn started(directory: &Path, data: &Path) -> State {
    let place = directory.join("started");
    fs::create_dir_all(&place).expect("the temporary directory can be changed");
    fs::rename(data, place.join("state")).expect("the temporary directory can be changed");
    let mut node = NodeBuilder::writer("started", directory).start().await;
    let state = state(&node).await;
    node.stop().await;
    fs::remove_dir_all(&place).expect("the temporary directory can be changed");
    state
}

#[tokio::test]
async fn a_backup_is_brought_forward_to_any_position_and_time() {
    let directory = tempfile::tempdir().unwrap();
    let (archive, out) = (directory.path().join("archive"), directory.path().join("backup"));
    let mut node = writer(directory.path(), &archive).await;
    let (cli, client) = (Cli::of(&node), node.client());
    client.create("c").await;
    client.fill("c", 0..10).await;
    let made = told(&cli.run(&["backup", path(&out)]).await);
    let mut points = vec![(made["position"].as_str().unwrap().to_owned(), state(&node).await.collections)];
    for round in 1..5 {
        client.fill("c", round * 50..round * 50 + 90).await;
        client.delete("c", &format!("key-{}", round * 50)).await;
        if round == 2 {
            // Over a start, so over an epoch.
            node.stop().await;
            node.start_again().await;
        }
        points.push((client.position().await, state(&node).await.collections));
    }
    archived(&node, &archive, seq(&json!(points[4].0))).await;
    let last = client.entry("c", "key-239").await.json();
    node.stop().await;
    let log = node.data().join("state");
    let data = directory.path().join("data");
    let base = ["restore", path(&out), "--data", path(&data), "--archive", path(&archive), "--log", path(&log)];
    for (position, collections) in &points {
        let restored = told(&cli.run(&[&base[..], &["--to", position]].concat()).await);
        assert_eq!(restored["position"], json!(position));
        assert_eq!(&started(directory.path(), &data).await.collections, collections, "{position}");
    }
    told(&cli.run(&base).await);
    assert_eq!(started(directory.path(), &data).await.collections, points[4].1, "as far as it reaches");

    let time = last["updatedAt"].as_str().unwrap();
    told(&cli.run(&[&base[..], &["--to", time]].concat()).await);
    let then = started(directory.path(), &data).await;
    let entries: Vec<Value> = then.collections["c"].1.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(entries.iter().any(|entry| entry["seq"] == last["seq"]), "{time}");
    assert!(entries.iter().all(|entry| entry["updatedAt"].as_str().unwrap() <= time), "{time}");
    let before = cli.run(&[&base[..], &["--to", "2020-01-01T00:00:00Z"]].concat()).await;
    assert!(before.status == 2 && before.stderr.contains("take an older one"), "{before:?}");
    assert!(!data.exists());
}

#[tokio::test]
async fn a_missing_or_damaged_piece_is_named_and_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let (archive, out) = (directory.path().join("archive"), directory.path().join("backup"));
    let mut node = writer(directory.path(), &archive).await;
    let (cli, client) = (Cli::of(&node), node.client());
    client.create("c").await;
    told(&cli.run(&["backup", path(&out)]).await);
    client.fill("c", 0..250).await;
    archived(&node, &archive, seq(&json!(client.position().await))).await;
    node.stop().await;
    let data = directory.path().join("data");
    let restore = ["restore", path(&out), "--data", path(&data), "--archive", path(&archive)];
    let pieces = pieces(&archive);
    assert!(pieces.len() > 4, "{pieces:?}");
    let piece = &pieces[2];
    let name = piece.file_name().unwrap().to_str().unwrap();
    let whole = fs::read(piece).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for bytes in [&flipped[..], &whole[..whole.len() - 1]] {
        fs::write(piece, bytes).unwrap();
        let refused = cli.run(&restore).await;
        assert!(refused.status == 1 && refused.stderr.contains(name), "{refused:?}");
        assert!(!data.exists());
    }
    fs::remove_file(piece.with_extension("").with_extension("json")).unwrap();
    let refused = cli.run(&restore).await;
    let numbers: Vec<u64> = name.split(['-', '.']).filter_map(|part| part.parse().ok()).collect();
    let range = format!("records {} to {}", numbers[0], numbers[1]);
    assert!(refused.status == 2 && refused.stderr.contains(&range), "{range}: {refused:?}");
    let position = format!("{}.{}", numbers[2], 9_999_999);
    let refused = cli.run(&[&restore[..], &["--to", &position]].concat()).await;
    assert!(refused.status == 2 && refused.stderr.contains(&position), "{refused:?}");
    assert!(!data.exists());
}

#[tokio::test]
async fn what_cannot_be_archived_is_kept_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("archive");
    fs::write(&archive, "a file where a directory should be").unwrap();
    let node = writer(directory.path(), &archive).await;
    let client = node.client();
    client.create("c").await;
    client.fill("c", 0..250).await;
    let failing = eventually("it says that it cannot archive, and has stored a baseline", async || {
        let status = client.status().await;
        let is_so = status["archive"]["failure"].is_string() && !status["storage"]["baseline"].is_null();
        if is_so { Ok(status) } else { Err(status) }
    })
    .await;
    assert_eq!(failing["archive"]["through"], json!(0));
    assert!(failing["storage"]["segments"].as_u64().unwrap() > 5, "{failing}");
    node.says("could not be archived").await;
    fs::remove_file(&archive).unwrap();
    archived(&node, &archive, seq(&json!(client.position().await))).await;
    assert!(pieces(&archive)[0].to_str().unwrap().contains("0000000000000001-"));
}

#[tokio::test]
async fn of_two_histories_in_one_archive_the_one_that_leads_to_the_target_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let (archive, out) = (directory.path().join("archive"), directory.path().join("backup"));
    let mut node = writer(directory.path(), &archive).await;
    let (cli, client) = (Cli::of(&node), node.client());
    client.create("c").await;
    told(&cli.run(&["backup", path(&out)]).await);
    client.fill("c", 0..200).await;
    archived(&node, &archive, seq(&json!(client.position().await))).await;
    let state = node.data().join("state");
    node.stop().await;
    fs::remove_dir_all(&state).unwrap();
    told(&cli.run(&["restore", path(&out), "--data", path(&state)]).await);
    node.start_again().await;
    client.fill("c", 1_000..1_200).await;
    archived(&node, &archive, seq(&json!(client.position().await))).await;
    let second = client.position().await;
    let epoch = second.split_once('.').unwrap().0;
    node.stop().await;

    let data = directory.path().join("data");
    let base = ["restore", path(&out), "--data", path(&data), "--archive", path(&archive)];
    let refused = cli.run(&base).await;
    assert!(refused.status == 2 && refused.stderr.contains("two histories"), "{refused:?}");
    let last = |of_second: bool| {
        let names = pieces(&archive).into_iter().map(|piece| piece.file_name().unwrap().to_str().unwrap().to_owned());
        let parts = names.map(|name| name.split(['-', '.']).map(String::from).collect::<Vec<_>>());
        let (through, epoch) = parts
            .filter(|parts| (parts[2] == epoch) == of_second)
            .map(|parts| (parts[1].parse::<u64>().unwrap(), parts[2].clone()))
            .max()
            .unwrap();
        format!("{epoch}.{through}")
    };
    for (of_second, there, other) in [(false, "key-1", "key-1001"), (true, "key-1001", "key-1")] {
        let to = last(of_second);
        told(&cli.run(&[&base[..], &["--to", &to]].concat()).await);
        let entries = started(directory.path(), &data).await.collections["c"].1.join("\n");
        let has = |key: &str| entries.contains(&format!("\"{key}\""));
        assert!(has(there) && !has(other), "{to}: {there}");
    }
}

#[tokio::test]
async fn what_the_hard_cap_lets_go_of_before_it_is_archived_is_missing_and_told_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let (archive, aside) = (directory.path().join("archive"), directory.path().join("aside"));
    let mut node = writer(directory.path(), &archive).await;
    let (cli, client) = (Cli::of(&node), node.client());
    client.create("c").await;
    again(&client, 5).await;
    archived(&node, &archive, seq(&json!(client.position().await))).await;
    node.stop().await;
    node.set_option("--retain-bytes-max", "8192");
    fs::rename(&archive, &aside).unwrap();
    fs::write(&archive, "a file where a directory should be").unwrap();
    node.start_again().await;
    // Nobody looks at the archive before it fails, and what it was is known all the same once it is back.
    again(&client, 12).await;
    let failing = eventually("the hard cap wins", async || {
        let status = client.status().await;
        let is_so = status["archive"]["failure"].is_string() && status["storage"]["logBytes"].as_u64() < Some(30_000);
        if is_so { Ok(status) } else { Err(status) }
    })
    .await;
    assert_eq!(failing["archive"]["missing"], json!([]), "{failing}");
    fs::remove_file(&archive).unwrap();
    fs::rename(&aside, &archive).unwrap();
    let through = |piece: &Path| piece.file_name().unwrap().to_str().unwrap()[17..33].parse::<u64>().unwrap();
    let last = through(pieces(&archive).last().unwrap());
    let status = eventually("it is archived again", async || {
        let status = client.status().await;
        let is_so = status["archive"]["failure"].is_null() && status["archive"]["through"].as_u64() > Some(last);
        if is_so { Ok(status) } else { Err(status) }
    })
    .await;
    let missing = status["archive"]["missing"].clone();
    // While it comes back, the cap may take some more.
    let hole = &missing[0];
    assert!(hole["first"] == json!(last + 1) && hole["last"].as_u64() > Some(last + 50), "{status}");
    node.says("the archive misses records").await;
    let words = cli.run(&["status"]).await;
    assert!(words.stdout.contains("\"missing\""), "{words:?}");

    node.stop().await;
    node.start_again().await;
    eventually("it is remembered over a start", async || {
        let found = node.client().status().await["archive"]["missing"].clone();
        if found == missing { Ok(()) } else { Err(found) }
    })
    .await;
}

#[tokio::test]
async fn a_few_writes_are_archived_when_they_are_old_enough_and_at_an_orderly_end() {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("archive");
    let builder = NodeBuilder::writer("writer", directory.path()).option("--archive", path(&archive));
    let mut node = builder.option("--archive-after", "1s").start().await;
    let client = node.client();
    client.create("c").await;
    client.set("c", "old-enough", "1").await;
    let written = seq(&json!(client.position().await));
    eventually("what was written is archived", async || {
        let status = client.status().await;
        if status["archive"]["through"].as_u64() == Some(written) { Ok(()) } else { Err(status) }
    })
    .await;
    // Nothing more was written: nothing more is sealed.
    let segments = client.status().await["storage"]["segments"].clone();
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(client.status().await["storage"]["segments"], segments);

    node.set_option("--archive-after", "1h");
    node.stop().await;
    node.start_again().await;
    client.set("c", "at-the-end", "1").await;
    let written = seq(&json!(client.position().await));
    node.stop().await;
    let last = pieces(&archive).pop().unwrap();
    let name = last.file_name().unwrap().to_str().unwrap();
    assert_eq!(name[17..33].parse::<u64>().unwrap(), written, "{name}");
}

#[tokio::test]
async fn a_directory_that_cannot_be_an_archive_is_told_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("archive");
    fs::write(&archive, "a file where a directory should be").unwrap();
    let builder = NodeBuilder::writer("writer", directory.path()).option("--archive", path(&archive));
    let node = builder.start().await;
    let status = eventually("it is told", async || {
        let status = node.client().status().await;
        if status["archive"]["failure"].is_string() { Ok(status) } else { Err(status) }
    })
    .await;
    assert!(status["archive"]["failure"].as_str().unwrap().contains(path(&archive)), "{status}");
    node.says("the log could not be archived").await;
}

#[tokio::test]
async fn an_archive_that_hangs_keeps_nothing_else_from_going_on() {
    if !Need::Mount.is_met("an_archive_that_hangs_keeps_nothing_else_from_going_on") {
        return;
    }
    let (directory, medium) = (tempfile::tempdir().unwrap(), Medium::ext4());
    let archive = medium.path().join("archive");
    let mut node = writer(directory.path(), &archive).await;
    let client = node.client();
    client.create("c").await;
    again(&client, 5).await;
    archived(&node, &archive, seq(&json!(client.position().await))).await;
    node.stop().await;
    node.set_option("--retain-bytes-max", "16384");
    node.start_again().await;
    let frozen = medium.freeze();
    again(&client, 16).await;
    let status = eventually("the log is bounded, its baseline follows, and what hangs is told", async || {
        let status = client.status().await;
        let seq = seq(&json!(client.position().await));
        let is_bounded = status["storage"]["logBytes"].as_u64() < Some(45_000);
        let is_stored = status["storage"]["baseline"]["seq"].as_u64().is_some_and(|stored| stored + 300 > seq);
        let is_told = status["archive"]["failure"].as_str().is_some_and(|text| text.contains("no progress for"));
        if is_bounded && is_stored && is_told { Ok(status) } else { Err(status) }
    })
    .await;
    assert!(status["archive"]["through"].as_u64() > Some(0), "{status}");
    node.ask_to_end();
    node.says("the archive does not answer: what").await;
    node.says(" ended").await;
    // A process whose thread hangs in the system is not gone before that: what it had to do, it has done.
    drop(frozen);
    let stopped = node.stop().await;
    assert!(matches!(stopped, Some(Stopped::Ended(status)) if status.success()), "{stopped:?}");
    assert!(!node.log().contains("not finished by the deadline"), "{}", node.log());
    node.start_again().await;
    assert_eq!(client.entry("c", "key-49").await.status, 200);
}

#[tokio::test]
async fn a_piece_that_goes_on_into_another_history_leads_up_to_where_they_part() {
    let directory = tempfile::tempdir().unwrap();
    let (archive, first) = (directory.path().join("archive"), directory.path().join("first"));
    let mut node = writer(directory.path(), &archive).await;
    let (cli, client) = (Cli::of(&node), node.client());
    client.create("c").await;
    told(&cli.run(&["backup", path(&first)]).await);
    client.fill("c", 0..105).await;
    let early = client.entry("c", "key-50").await.json()["updatedAt"].as_str().unwrap().to_owned();
    let second = directory.path().join("second");
    let made = told(&cli.run(&["backup", path(&second)]).await);
    client.fill("c", 105..300).await;
    archived(&node, &archive, seq(&json!(client.position().await))).await;
    let state = node.data().join("state");
    node.stop().await;
    fs::remove_dir_all(&state).unwrap();
    told(&cli.run(&["restore", path(&second), "--data", path(&state)]).await);
    node.start_again().await;
    client.fill("c", 1_000..1_200).await;
    archived(&node, &archive, seq(&json!(client.position().await))).await;
    let status = client.status().await;
    let epoch = client.position().await.split_once('.').unwrap().0.to_owned();
    node.stop().await;
    assert_eq!(status["archive"]["missing"], json!([]), "the old history's pieces reach to {}", made["position"]);
    let to = format!("{epoch}.{}", status["archive"]["through"]);
    let data = directory.path().join("data");
    let base = ["restore", path(&first), "--data", path(&data), "--archive", path(&archive)];
    told(&cli.run(&[&base[..], &["--to", &to]].concat()).await);
    let entries = started(directory.path(), &data).await.collections["c"].1.join("\n");
    let has = |key: &str| entries.contains(&format!("\"{key}\""));
    assert!(has("key-1") && has("key-104") && !has("key-105") && has("key-1001"));

    // A time before they part needs nobody to say which.
    told(&cli.run(&[&base[..], &["--to", &early]].concat()).await);
    let entries = started(directory.path(), &data).await.collections["c"].1.join("\n");
    let has = |key: &str| entries.contains(&format!("\"{key}\""));
    assert!(has("key-50") && !has("key-104") && !has("key-1001"));
    let refused = cli.run(&[&base[..], &["--to", "2100-01-01T00:00:00Z"]].concat()).await;
    assert!(refused.status == 2 && refused.stderr.contains("two histories"), "{refused:?}");
    assert!(!data.exists());
}
