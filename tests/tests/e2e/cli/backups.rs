//! `backup` and `restore`: what is backed up comes back as it was, and what is not whole makes nothing.

use super::{Cli, Done};
use headwater_tests::disk::copy;
use headwater_tests::wire::place;
use headwater_tests::{Load, Node, NodeBuilder, Random, Replication, State, converge, eventually, state_of};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub(super) fn path(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}

/// What a command that must go well says of a backup.
pub(super) fn told(done: &Done) -> Value {
    assert_eq!((done.status, &*done.stderr), (0, ""), "{done:?}");
    serde_json::from_str(&done.stdout).expect("JSON")
}

pub(super) async fn state(node: &Node) -> State {
    state_of(&node.client()).await.expect("a node at rest shows its state")
}

/// Puts `backup` in place of what the stopped `node` holds, and starts it again.
async fn restore(cli: &Cli, backup: &Path, node: &mut Node) -> Value {
    let data = node.data().join("state");
    fs::remove_dir_all(&data).expect("the temporary directory can be changed");
    let restored = told(&cli.run(&["restore", path(backup), "--data", path(&data)]).await);
    node.start_again().await;
    restored
}

pub(super) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let names = entries.map(|entry| entry.expect("a directory can be read").file_name().into_string());
    let mut names: Vec<_> = names.map(|name| name.expect("plain names")).collect();
    names.sort();
    names
}

pub(super) fn seq(position: &Value) -> u64 {
    let seq = position.as_str().and_then(|text| text.split_once('.')?.1.parse().ok());
    seq.unwrap_or_else(|| panic!("{position} is no position"))
}

#[tokio::test]
async fn a_backup_made_while_writes_go_on_is_exact_as_of_its_position() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let cli = Cli::of(&writer);
    let mut random = Random::announced("writes while a backup is made");
    let load = Load::start(&writer.client(), "load", 4, &mut random).await;
    load.acknowledges(300).await;
    let out = directory.path().join("backup");
    let made = told(&cli.run(&["backup", path(&out)]).await);
    load.acknowledges(300).await;
    let record = load.finish().await;
    assert_eq!(told(&cli.run(&["backup", "verify", path(&out)]).await), made);
    let last = seq(&made["position"]);
    assert!(*record.acknowledged.keys().next_back().unwrap() > last, "writes went on behind it");

    writer.stop().await;
    let restored = restore(&cli, &out, &mut writer).await;
    assert_eq!(restored["position"], made["position"]);
    let mut newest = BTreeMap::new();
    for (seq, writes) in record.acknowledged.range(..=last) {
        newest.extend(writes.iter().map(|write| (&write.key, (*seq, write.number))));
    }
    assert!(newest.len() > 5);
    for (key, (seq, number)) in newest {
        let entry = writer.client().entry("load", key).await;
        match number {
            Some(_) => assert_eq!(entry.json()["seq"], json!(seq), "{key}"),
            None => assert_eq!(entry.status, 404, "{key}"),
        }
    }
    let digests = json!(state(&writer).await.collections["load"].0.trim_matches('"'));
    let manifest: Value = serde_json::from_slice(&fs::read(out.join("MANIFEST.json")).unwrap()).unwrap();
    let facts = manifest["collections"].as_array().unwrap().iter().find(|facts| facts["collection"] == "load").unwrap();
    assert_eq!(facts["digest"].as_str().unwrap().trim_start_matches("xxh3:"), digests.as_str().unwrap());
}

#[tokio::test]
async fn a_restored_writer_is_followed_though_the_one_before_was_opened_later() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let (cli, client) = (Cli::of(&writer), writer.client());
    client.create("c").await;
    client.fill("c", 0..5).await;
    let mut near = NodeBuilder::replica("near", directory.path(), &writer.url).start().await;
    let out = directory.path().join("backup");
    told(&cli.run(&["backup", path(&out)]).await);
    let data = directory.path().join("restored/state");
    fs::create_dir_all(data.parent().unwrap()).unwrap();
    // A clock that was wrong once is got past.
    let above = u64::MAX >> 12;
    let more = ["--data", path(&data), "--takeover-above", &above.to_string()];
    told(&cli.run(&[&["restore", path(&out)], &more[..]].concat()).await);
    let restored = NodeBuilder::writer("restored", directory.path()).start().await;
    restored.client().fill("c", 10..12).await;
    assert_eq!(restored.client().status().await["replication"]["takeover"], json!(above + 1));

    writer.stop().await;
    writer.start_again().await;
    client.fill("c", 20..29).await;
    let before = converge(&client, &near.client()).await;
    near.stop().await;
    near.set_option("--parent", &restored.url);
    near.start_again().await;
    let after = converge(&restored.client(), &near.client()).await;
    assert!(place(&after.position).0 < place(&before.position).0, "by its takeover, not by its epoch");
    near.stop().await;
    near.set_option("--parent", &writer.url);
    near.start_again().await;
    Replication::until(&near.client(), "stale_parent", |found| found.offence == "stale_parent").await;
    assert_eq!(state(&near).await, after);
    assert_eq!(client.status().await["deposedByTakeover"], json!(above + 1));
}

#[tokio::test]
async fn children_of_a_restored_writer_go_on_from_the_backup_or_get_a_baseline() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let (cli, client) = (Cli::of(&writer), writer.client());
    client.create("c").await;
    client.fill("c", 0..20).await;
    let mut near = NodeBuilder::replica("near", directory.path(), &writer.url).start().await;
    let mut far = NodeBuilder::replica("far", directory.path(), &writer.url).start().await;
    converge(&client, &near.client()).await;
    converge(&client, &far.client()).await;
    near.stop().await;
    let out = directory.path().join("backup");
    let made = told(&cli.run(&["backup", path(&out)]).await);
    let before = state(&writer).await;
    client.fill("c", 20..30).await;
    converge(&client, &far.client()).await;
    writer.stop().await;
    far.stop().await;

    restore(&cli, &out, &mut writer).await;
    let after = state(&writer).await;
    assert_eq!(after.collections, before.collections);
    assert_eq!(seq(&json!(after.position)), seq(&made["position"]) + 1, "a new epoch begins behind the backup");
    near.start_again().await;
    far.start_again().await;
    client.fill("c", 40..45).await;
    converge(&client, &near.client()).await;
    converge(&client, &far.client()).await;
    let baselines = async |node: &Node| node.client().status().await["replication"]["baselinesByReason"].clone();
    assert_eq!(baselines(&near).await["not_on_history"], json!(0));
    assert_eq!(near.client().status().await["replication"]["baselines"], json!(0), "it goes on");
    assert_eq!(baselines(&far).await["not_on_history"], json!(1));
    far.says("not_on_history").await;
}

#[tokio::test]
async fn a_stopped_node_s_directory_is_backed_up_as_it_is_and_a_running_one_s_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let (cli, client) = (Cli::of(&writer), writer.client());
    client.create("c").await;
    client.create("gone").await;
    client.fill("c", 0..20).await;
    client.delete("c", "key-3").await;
    let mut replica = NodeBuilder::replica("replica", directory.path(), &writer.url).start().await;
    converge(&client, &replica.client()).await;
    let before = state(&writer).await;
    let data = |node: &Node| node.data().join("state");
    let refused = cli.run(&["backup", "--data", path(&data(&writer)), path(&directory.path().join("no"))]).await;
    assert!(refused.status == 2 && refused.stderr.contains("--url"), "{refused:?}");
    replica.stop().await;
    writer.kill().await;
    let log = data(&writer).join("log");
    let untouched: Vec<_> = names(&log).into_iter().map(|name| fs::read(log.join(name)).unwrap()).collect();
    let mut facts = Vec::new();
    for (name, node) in [("of-writer", &writer), ("of-replica", &replica)] {
        let out = directory.path().join(name);
        let made = told(&cli.run(&["backup", "--data", path(&data(node)), path(&out)]).await);
        facts.push((made["position"].clone(), made["digest"].clone(), made["cluster"].clone()));
    }
    assert_eq!(facts[0], facts[1]);
    assert_eq!(facts[0].0, json!(before.position));
    let lock = names(&log).iter().position(|name| name == "LOCK").unwrap();
    let again: Vec<_> = names(&log).into_iter().map(|name| fs::read(log.join(name)).unwrap()).collect();
    let differs = (0..again.len()).filter(|&index| again[index] != untouched[index]).collect::<Vec<_>>();
    assert!(again.len() == untouched.len() && differs.iter().all(|&index| index == lock), "{differs:?}");

    for name in ["of-writer", "of-replica"] {
        restore(&cli, &directory.path().join(name), &mut writer).await;
        assert_eq!(state(&writer).await.collections, before.collections, "{name}");
        // The next write of a collection follows its last command, a DELETE.
        assert_eq!(client.set("c", "key-3", "1").await.status, 200);
        writer.stop().await;
    }
    let none = cli.run(&["backup", "--data", path(directory.path()), path(&directory.path().join("no"))]).await;
    assert!(none.status == 2 && none.stderr.contains("no log"), "{none:?}");
    assert!(!directory.path().join("no").exists() && !directory.path().join("log").exists());
}

#[tokio::test]
async fn a_backup_that_is_not_whole_is_refused_by_name_and_makes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let (cli, client) = (Cli::of(&writer), writer.client());
    client.create("c").await;
    client.fill("c", 0..50).await;
    let place = directory.path().join("place");
    fs::create_dir(&place).unwrap();
    let out = place.join("backup");
    told(&cli.run(&["backup", path(&out)]).await);
    assert_eq!(names(&place), ["backup"], "nothing else is left beside it");
    assert_eq!(names(&out), ["MANIFEST.json", "SHA256SUMS", "baseline.ndjson.zst"]);
    let again = cli.run(&["backup", path(&out)]).await;
    assert!(again.status == 2 && again.stderr.contains("is there already"), "{again:?}");

    type Harm = fn(&Path);
    let flip: Harm = |path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let cut: Harm = |path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    };
    let remove: Harm = |path| fs::remove_file(path).unwrap();
    for name in names(&out) {
        for (what, harm) in [("flipped", flip), ("cut", cut), ("missing", remove)] {
            let harmed = place.join("harmed");
            copy(&out, &harmed);
            harm(&harmed.join(&name));
            let target = place.join("restored");
            for arguments in
                [&["restore", path(&harmed), "--data", path(&target)][..], &["backup", "verify", path(&harmed)][..]]
            {
                let refused = cli.run(arguments).await;
                // Of the two that vouch for each other, either may be the one that is named.
                let named =
                    refused.stderr.contains(&name) || name != "baseline.ndjson.zst" && refused.stderr.contains("SHA");
                assert!(refused.status == 1 && named, "{name} {what}: {refused:?}");
            }
            assert_eq!(names(&place), ["backup", "harmed"], "{name} {what}");
            fs::remove_dir_all(&harmed).unwrap();
        }
    }
}

#[tokio::test]
async fn a_restore_takes_an_empty_directory_only_and_a_copy_gets_a_cluster_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let (cli, client) = (Cli::of(&writer), writer.client());
    client.create("c").await;
    client.fill("c", 0..5).await;
    let out = directory.path().join("backup");
    let made = told(&cli.run(&["backup", path(&out)]).await);
    let data: PathBuf = writer.data().join("state");
    let before = names(&data);
    let refused = cli.run(&["restore", path(&out), "--data", path(&data)]).await;
    assert!(refused.status == 2 && refused.stderr.contains("is there already"), "{refused:?}");
    assert_eq!(names(&data), before);

    writer.stop().await;
    fs::remove_dir_all(&data).unwrap();
    fs::create_dir(&data).unwrap();
    let copied = told(&cli.run(&["restore", path(&out), "--data", path(&data), "--new-cluster"]).await);
    assert_ne!(copied["cluster"], made["cluster"]);
    writer.start_again().await;
    let found = eventually("the copy is up", async || match client.status().await["cluster"].clone() {
        Value::Null => Err("none"),
        cluster => Ok(cluster),
    })
    .await;
    assert_eq!(found, copied["cluster"]);
}

#[tokio::test]
async fn a_node_backs_itself_up_at_its_start_where_one_was_missed_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = NodeBuilder::writer("writer", directory.path()).start().await;
    writer.client().create("c").await;
    writer.client().fill("c", 0..20).await;
    let place = directory.path().join("backups");
    let replica = NodeBuilder::replica("replica", directory.path(), &writer.url);
    let replica = replica.option("--backup-to", path(&place)).option("--backup-schedule", "0 0 1 1 *").start().await;
    let made = eventually("a backup is made", async || {
        let backup = replica.client().status().await["backup"].clone();
        if backup["last"].is_object() { Ok(backup) } else { Err(backup) }
    })
    .await;
    let name = made["last"]["name"].as_str().unwrap().to_owned();
    assert_eq!(names(&place), std::slice::from_ref(&name));
    assert!(made["next"].as_str().unwrap().ends_with("-01-01T00:00:00.000Z"), "{made}");
    assert_eq!(made["failure"], Value::Null);
    let verified = told(&Cli::of(&replica).run(&["backup", "verify", path(&place.join(&name))]).await);
    assert_eq!((&verified["position"], &verified["bytes"]), (&made["last"]["position"], &made["last"]["bytes"]));
    let target = directory.path().join("restored");
    for arguments in [&["backup", "verify", path(&place)][..], &["restore", path(&place), "--data", path(&target)]] {
        let all = Cli::of(&replica).run(arguments).await;
        let newest = path(&place.join(&name)).to_owned();
        assert!(all.status == 1 && all.stderr.contains(&format!("The newest is {newest}")), "{all:?}");
    }

    // A file where the directory should be: nothing is lost but the backup.
    let wrong = directory.path().join("wrong");
    fs::write(&wrong, "").unwrap();
    writer.stop().await;
    writer.set_option("--backup-to", path(&wrong));
    writer.start_again().await;
    let failed = eventually("it says that the backup failed", async || {
        let backup = writer.client().status().await["backup"].clone();
        if backup["failure"].is_string() { Ok(backup) } else { Err(backup) }
    })
    .await;
    assert!(failed["failure"].as_str().unwrap().contains("wrong") && failed["last"].is_null(), "{failed}");
    assert_eq!(writer.client().set("c", "key-1", "1").await.status, 200);
    writer.says("the backup failed").await;
}
