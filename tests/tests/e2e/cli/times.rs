//! `restore --to TIME`: never later than that time, and no more said than is known. And where a restore may be put.

use super::Cli;
use super::archives::{archived, started, writer};
use super::backups::{path, seq, told};
use super::terminal::shown;
use headwater_tests::machine::Need;
use headwater_tests::medium::Medium;
use headwater_tests::{Node, NodeBuilder, converge, eventually};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// What a restored directory shows of the collection `c`.
async fn entries(directory: &Path, data: &Path) -> usize {
    started(directory, data).await.collections["c"].1.len()
}

async fn updated(node: &Node, key: &str) -> String {
    let entry = node.client().entry("c", key).await.json();
    entry["updatedAt"].as_str().expect("an entry has the time of its last write").to_owned()
}

/// Goes on once the clock shows a later millisecond than an entry that was just written has.
async fn pass(node: &Node, key: &str) -> String {
    let time = updated(node, key).await;
    eventually("the clock goes on", async || {
        node.client().set("c", "clock", "1").await;
        let now = updated(node, "clock").await;
        if now > time { Ok(()) } else { Err(now) }
    })
    .await;
    time
}

#[tokio::test]
async fn a_backup_that_is_later_than_the_time_is_refused_whatever_its_last_write_was() {
    let directory = tempfile::tempdir().unwrap();
    let (archive, backups) = (directory.path().join("archive"), directory.path().join("backups"));
    fs::create_dir(&backups).unwrap();
    let mut node = writer(directory.path(), &archive).await;
    let (cli, client) = (Cli::of(&node), node.client());
    client.create("c").await;
    client.fill("c", 0..10).await;
    let first = backups.join("first");
    told(&cli.run(&["backup", path(&first)]).await);
    client.fill("c", 10..20).await;
    let time = pass(&node, "key-19").await;
    client.delete("c", "clock").await;
    for number in 0..20 {
        client.delete("c", &format!("key-{number}")).await;
    }

    // Of the writer itself, of a replica that has the state by a baseline, and of the two as they lie on their disks.
    let mut replica = NodeBuilder::replica("replica", directory.path(), &node.url).start().await;
    converge(&client, &replica.client()).await;
    let names = ["of-writer", "of-replica", "of-the-writer-s-disk", "of-the-replica-s-disk"];
    let outs = names.map(|name| backups.join(name));
    let mut made = vec![told(&cli.run(&["backup", path(&outs[0])]).await)];
    made.push(told(&Cli::of(&replica).run(&["backup", path(&outs[1])]).await));
    node.stop().await;
    replica.stop().await;
    for (stopped, out) in [(&node, &outs[2]), (&replica, &outs[3])] {
        let data = stopped.data().join("state");
        made.push(told(&cli.run(&["backup", "--data", path(&data), path(out)]).await));
    }
    let data = directory.path().join("data");
    let log = node.data().join("state");
    for (out, made) in outs.iter().zip(&made) {
        assert_eq!((&made["keys"], made["time"].as_str() > Some(&time)), (&json!(0), true), "{made}");
        assert_eq!(made["time"], told(&cli.run(&["backup", "verify", path(out)]).await)["time"]);
        let refused = cli.run(&["restore", path(out), "--data", path(&data), "--log", path(&log), "--to", &time]).await;
        let is_named = refused.stderr.contains("take an older one") && refused.stderr.contains(path(&first));
        assert!(refused.status == 2 && is_named, "{refused:?}");
        assert!(!data.exists());
    }
    let base = ["restore", path(&first), "--data", path(&data), "--log", path(&log)];
    let before = told(&cli.run(&[&base[..], &["--to", &time]].concat()).await);
    assert_eq!((&before["time"], &before["laterSeen"]), (&json!(time), &json!(true)), "{before}");
    assert_eq!(
        before["applied"].as_u64().unwrap(),
        seq(&before["position"]) - seq(&told(&cli.run(&["backup", "verify", path(&first)]).await)["position"])
    );
    assert_eq!(entries(directory.path(), &data).await, 20);

    // The next opening of what was restored does not go back in time, even where its last record left no entry.
    let after = told(&cli.run(&["restore", path(&outs[0]), "--data", path(&data), "--log", path(&log)]).await);
    assert_eq!((&after["time"], &after["applied"]), (&made[0]["time"], &json!(0)), "{after}");
}

#[tokio::test]
async fn a_time_behind_all_there_is_is_reached_as_far_as_is_known_and_that_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let (archive, out) = (directory.path().join("archive"), directory.path().join("backup"));
    let mut node = writer(directory.path(), &archive).await;
    let (cli, client) = (Cli::of(&node), node.client());
    client.create("c").await;
    told(&cli.run(&["backup", path(&out)]).await);
    client.fill("c", 0..250).await;
    archived(&node, &archive, seq(&json!(client.position().await))).await;
    let through = client.status().await["archive"]["through"].clone();
    // A machine that is lost has sealed nothing at its end.
    node.kill().await;
    let data = directory.path().join("data");
    let base = ["restore", path(&out), "--data", path(&data), "--archive", path(&archive)];
    let future = [&base[..], &["--to", "2100-01-01T00:00:00Z"]].concat();
    let restored = told(&cli.run(&future).await);
    assert_eq!((json!(seq(&restored["position"])), &restored["laterSeen"]), (through, &json!(false)), "{restored}");
    assert!(restored["applied"].as_u64() > Some(100) && restored["time"].is_string(), "{restored}");
    fs::remove_dir_all(&data).unwrap();
    let words = shown(cli.command(&future), "start it").await;
    let expected = "whether more was written before 2100-01-01T00:00:00Z cannot be known";
    assert!(words.contains(expected) && words.contains(restored["time"].as_str().unwrap()), "{words}");
    fs::remove_dir_all(&data).unwrap();

    // A wrong directory is not one in which nothing leads on.
    let other = directory.path().join("other");
    fs::create_dir_all(other.join("0123456789abcdef0123456789abcdef")).unwrap();
    for wrong in [&other, &directory.path().join("nowhere")] {
        let refused = cli.run(&["restore", path(&out), "--data", path(&data), "--archive", path(wrong)]).await;
        let is_named = refused.stderr.contains("no archive of the cluster") && refused.stderr.contains(path(wrong));
        assert!(refused.status == 2 && is_named, "{refused:?}");
        assert!(!data.exists());
    }
}

#[tokio::test]
async fn records_that_are_missing_behind_the_time_are_not_missed() {
    let directory = tempfile::tempdir().unwrap();
    let (archive, out) = (directory.path().join("archive"), directory.path().join("backup"));
    let mut node = writer(directory.path(), &archive).await;
    let (cli, client) = (Cli::of(&node), node.client());
    client.create("c").await;
    told(&cli.run(&["backup", path(&out)]).await);
    client.fill("c", 0..20).await;
    let time = pass(&node, "key-19").await;
    client.fill("c", 20..300).await;
    archived(&node, &archive, seq(&json!(client.position().await))).await;
    let last: Value = client.entry("c", "key-150").await.json()["updatedAt"].clone();
    node.stop().await;
    let pieces = super::archives::pieces(&archive);
    let note = |index: usize| pieces[index].with_extension("").with_extension("json");
    fs::remove_file(note(2)).unwrap();
    let data = directory.path().join("data");
    let base = ["restore", path(&out), "--data", path(&data), "--archive", path(&archive)];
    let refused = cli.run(&[&base[..], &["--to", last.as_str().unwrap()]].concat()).await;
    assert!(refused.status == 2 && refused.stderr.contains("are neither in the archive"), "{refused:?}");
    assert!(!data.exists());
    told(&cli.run(&[&base[..], &["--to", &time]].concat()).await);
    assert_eq!(entries(directory.path(), &data).await, 20);

    // Nor is what is damaged there, while a damaged note is named where its piece is needed. Other files are nobody's.
    fs::write(pieces[0].with_file_name("._a.json"), "not ours").unwrap();
    fs::write(&pieces[3], "damaged").unwrap();
    fs::write(note(4), "damaged").unwrap();
    told(&cli.run(&[&base[..], &["--to", &time]].concat()).await);
    assert_eq!(entries(directory.path(), &data).await, 20);
    let refused = cli.run(&[&base[..], &["--to", last.as_str().unwrap()]].concat()).await;
    assert!(refused.status == 1 && refused.stderr.contains(path(&note(4))), "{refused:?}");
}

#[tokio::test]
async fn an_empty_directory_a_link_to_one_and_the_one_here_are_filled() {
    let directory = tempfile::tempdir().unwrap();
    let node = NodeBuilder::writer("writer", directory.path()).start().await;
    let (cli, client) = (Cli::of(&node), node.client());
    client.create("c").await;
    client.fill("c", 0..5).await;
    let out = directory.path().join("backup");
    told(&cli.run(&["backup", path(&out)]).await);
    let place = directory.path().join("place");
    for name in ["empty", "linked", "here", "volume"] {
        fs::create_dir_all(place.join(name)).unwrap();
    }
    fs::create_dir(place.join("volume/lost+found")).unwrap();
    symlink(place.join("linked"), place.join("link")).unwrap();
    symlink(place.join("none"), place.join("dangling")).unwrap();
    for (given, made) in [("empty", "empty"), ("link", "linked"), ("volume", "volume"), ("missing", "missing")] {
        told(&cli.run(&["restore", path(&out), "--data", path(&place.join(given))]).await);
        let names = super::backups::names(&place.join(made));
        assert_eq!(names.iter().filter(|name| *name != "lost+found").collect::<Vec<_>>(), ["audit", "log"], "{given}");
    }
    let mut here = cli.command(&["restore", path(&out), "--data", "."]);
    here.current_dir(place.join("here"));
    assert!(here.output().await.unwrap().status.success());
    assert_eq!(super::backups::names(&place.join("here")), ["audit", "log"]);
    assert_eq!(entries(directory.path(), &place.join("here")).await, 5);
    for taken in ["empty", "dangling"] {
        let refused = cli.run(&["restore", path(&out), "--data", path(&place.join(taken))]).await;
        assert!(refused.status == 2 && refused.stderr.contains("is there already"), "{taken}: {refused:?}");
    }
    let rest = super::backups::names(&place);
    assert_eq!(rest, ["dangling", "empty", "link", "linked", "missing", "volume"], "nothing beside them");
}

#[tokio::test]
async fn a_mount_point_is_filled() {
    if !Need::Mount.is_met("a_mount_point_is_filled") {
        return;
    }
    let (directory, medium) = (tempfile::tempdir().unwrap(), Medium::memory(8 << 20));
    let node = NodeBuilder::writer("writer", directory.path()).start().await;
    let cli = Cli::of(&node);
    node.client().create("c").await;
    let out = directory.path().join("backup");
    told(&cli.run(&["backup", path(&out)]).await);
    told(&cli.run(&["restore", path(&out), "--data", path(&medium.path())]).await);
    assert_eq!(super::backups::names(&medium.path()), ["audit", "log"]);
}
