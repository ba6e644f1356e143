//! Cursors that do not lead on: another history, a rewound disk, a log that has forgotten, a place nobody has reached.

use super::{build_replica, build_writer, replica, write, writer};
use headwater_tests::disk::{copy, restore};
use headwater_tests::wire::{place, resume};
use headwater_tests::{Client, Lines, Node, Relay, Replication, converge};
use serde_json::json;

#[tokio::test]
async fn after_a_restore_the_same_numbers_mean_something_else_and_nobody_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let saved = directory.path().join("saved");
    let mut writer = writer(directory.path()).await;
    let relay = Relay::start(&writer.url).await;
    let near = replica("near", directory.path(), &relay.url).await;
    write(&writer.client(), 0..10).await;
    writer.stop().await;
    copy(&writer.data().join("state"), &saved);
    writer.start_again().await;
    write(&writer.client(), 10..20).await;
    let lost = converge(&writer.client(), &near.client()).await;

    writer.kill().await;
    restore(&saved, &writer);
    writer.start_again().await;
    let client = writer.client();
    while place(&client.position().await).1 < place(&lost.position).1 + 5 {
        client.set("c", "other", "true").await;
    }
    let state = converge(&client, &near.client()).await;
    assert!(state.collections["c"].1.iter().all(|entry| !entry.contains("key-15")), "lost writes are gone everywhere");
    assert_eq!(Replication::of(&near.client()).await.baselines, 2);
    let hello = relay.hellos().pop().unwrap();
    assert!(hello.contains("\"reason\":\"not_on_history\""), "{hello}");
    near.says("not_on_history").await;
    let by_reason = near.client().status().await["replication"]["baselinesByReason"].clone();
    assert_eq!(by_reason, json!({"new": 1, "scope_changed": 0, "not_on_history": 1, "trimmed": 0}));
    let metrics = near.client().get("/v1/metrics").await.json();
    assert_eq!(metrics["replication_baselines_not_on_history_total"], json!(1), "{metrics}");

    let body = resume(&lost.position, &json!("**"));
    let mut stream = Lines::open(&client, &body).await.unwrap();
    let hello = stream.command().await;
    assert_eq!((&hello["resume"], &hello["reason"]), (&json!("baseline"), &json!("not_on_history")));
}

#[tokio::test]
async fn a_rewound_disk_under_a_running_writer_shares_history_only_up_to_the_picture() {
    let directory = tempfile::tempdir().unwrap();
    let saved = directory.path().join("saved");
    let mut writer = writer(directory.path()).await;
    let client = writer.client();
    let mut near = replica("near", directory.path(), &writer.url).await;
    write(&client, 0..10).await;
    let shared = converge(&client, &near.client()).await;
    // A picture of the disk at one moment, as a hypervisor takes it.
    writer.stall();
    copy(&writer.data().join("state"), &saved);
    writer.go_on();
    write(&client, 10..12).await;
    let lost = converge(&client, &near.client()).await;
    near.stop().await;

    writer.kill().await;
    restore(&saved, &writer);
    writer.start_again().await;
    write(&client, 20..21).await;
    let again = client.position().await;
    assert!(place(&again).0 > place(&lost.position).0, "an epoch never repeats: {again} after {}", lost.position);
    let reason = async |position: &str| {
        let mut stream = Lines::open(&client, &resume(position, &json!("**"))).await.unwrap();
        let hello = stream.command().await;
        (hello["resume"].as_str().unwrap().to_owned(), hello["reason"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(reason(&shared.position).await, ("tail".into(), String::new()), "before the picture nothing was lost");
    assert_eq!(reason(&lost.position).await, ("baseline".into(), "not_on_history".into()));
    near.start_again().await;
    let state = converge(&client, &near.client()).await;
    assert!(state.collections["c"].1.iter().all(|entry| !entry.contains("key-11")));
}

#[tokio::test]
async fn a_cursor_older_than_the_kept_log_gets_a_baseline_that_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let writer = build_writer(directory.path()).option("--wal", "memory:?records=20").option("--feed-bytes", "2000");
    let writer = writer.start().await;
    let client = writer.client();
    client.create("c").await;
    let relay = Relay::start(&writer.url).await;
    let mut near = replica("near", directory.path(), &relay.url).await;
    write(&client, 0..10).await;
    let old = converge(&client, &near.client()).await;
    near.stop().await;
    write(&client, 10..100).await;
    client.delete("c", "key-5").await;
    let mut stream = Lines::open(&client, &resume(&old.position, &json!("**"))).await.unwrap();
    let hello = stream.command().await;
    assert_eq!((&hello["resume"], &hello["reason"]), (&json!("baseline"), &json!("trimmed")));
    near.start_again().await;
    let state = converge(&client, &near.client()).await;
    assert_eq!(state.collections["c"].1.len(), 99);
    assert!(relay.hellos().pop().unwrap().contains("\"reason\":\"trimmed\""), "{:?}", relay.hellos());
    let found = Replication::of(&near.client()).await;
    assert_eq!((found.baselines, found.connections), (1, 1), "once, and no loop: {found:?}");
    // What is still held is gone on from.
    let (epoch, seq) = place(&client.position().await);
    let recent = format!("{epoch}.{}", seq - 10);
    let mut stream = Lines::open(&client, &resume(&recent, &json!("**"))).await.unwrap();
    assert_eq!(stream.command().await["resume"], "tail");
    assert_eq!(stream.command().await["seq"], seq - 9);
}

#[tokio::test]
async fn lines_fallen_from_memory_come_from_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let writer = build_writer(directory.path()).option("--feed-bytes", "2000").start().await;
    let client = writer.client();
    client.create("c").await;
    let mut near = replica("near", directory.path(), &writer.url).await;
    converge(&client, &near.client()).await;
    near.stop().await;
    write(&client, 0..200).await;
    near.start_again().await;
    converge(&client, &near.client()).await;
    let found = Replication::of(&near.client()).await;
    assert_eq!((found.baselines, found.gaps), (0, 0), "{found:?}");
    assert!(found.commands >= 200, "{found:?}");
}

#[tokio::test]
async fn a_relay_that_restarted_answers_a_child_that_lacks_no_line_of_its_scope() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(directory.path()).await;
    let client = writer.client();
    write(&client, 0..3).await;
    let scope = r#"{"c":[""]}"#;
    let mut middle = build_replica("middle", directory.path(), &writer.url).option("--scope", scope).start().await;
    middle.ready().await;
    let mut near = build_replica("near", directory.path(), &middle.url).option("--scope", scope).start().await;
    near.ready().await;
    let before = Replication::until(&near.client(), "all of it", |found| found.position.ends_with(".5")).await;
    near.stop().await;
    // All of this lies outside, and moves the relay's position by PINGs alone.
    client.create("other").await;
    for key in ["a", "b", "c"] {
        assert_eq!(client.set("other", key, "1").await.status, 200);
    }
    let head = client.position().await;
    Replication::until(&middle.client(), "the head", |found| found.position == head).await;
    middle.stop().await;
    middle.start_again().await;
    middle.ready().await;
    assert_ne!(before.position, head);
    near.start_again().await;
    let found = Replication::until(&near.client(), "the head", |found| found.position == head).await;
    assert_eq!((found.connections, found.baselines), (1, 0), "{found:?}");
}

#[tokio::test]
async fn a_cursor_beyond_the_head_is_answered_by_what_it_can_mean() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(directory.path()).await;
    let near = replica("near", directory.path(), &writer.url).await;
    let state = converge(&writer.client(), &near.client()).await;
    let (epoch, seq) = place(&state.position);
    let hello = async |node: &Node, position: String| {
        let mut stream = Lines::open(&node.client(), &resume(&position, &json!("**"))).await.unwrap();
        let hello = stream.command().await;
        let next = stream.command().await;
        (hello["resume"].clone(), hello["reason"].clone(), next)
    };
    let (resumed, reason, _) = hello(&writer, format!("{epoch}.{}", seq + 10)).await;
    assert_eq!((resumed, reason), (json!("baseline"), json!("not_on_history")), "the writer never wrote that");
    for (node, position) in [
        (&near, format!("{epoch}.{}", seq + 10)),
        (&near, format!("{}.{seq}", epoch + 1)),
        (&writer, format!("{}.{seq}", epoch + 1)),
        (&writer, format!("{}.{seq}", epoch + 1)),
    ] {
        let (resumed, _, end) = hello(node, position.clone()).await;
        assert_eq!(resumed, "none", "{position}: somebody else may know it");
        assert_eq!(
            (&end["type"], &end["reason"], &end["detail"]),
            (&json!("END"), &json!("elsewhere"), &json!("behind"))
        );
    }
    // A node that says so knows a writer that took over.
    let status = writer.client().status().await;
    assert_eq!((&status["deposed"], &status["deposedBy"]), (&json!(true), &json!(epoch + 1)), "{status}");
    assert_eq!(writer.client().get("/v1/metrics").await.json()["deposed"], json!(true));
    let log = writer.log();
    assert_eq!(log.matches("deposed").count(), 1, "{log}");
}

#[tokio::test]
async fn a_replica_ahead_of_its_parent_waits_for_it_and_keeps_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(directory.path()).await;
    let relay = Relay::start(&writer.url).await;
    let middle = replica("middle", directory.path(), &relay.url).await;
    let mut near = replica("near", directory.path(), &writer.url).await;
    write(&writer.client(), 0..3).await;
    converge(&writer.client(), &middle.client()).await;
    relay.silence();
    write(&writer.client(), 3..6).await;
    let ahead = converge(&writer.client(), &near.client()).await;
    near.stop().await;
    near.set_option("--parent", &middle.url);
    near.start_again().await;
    near.ready().await;
    let held = headwater_tests::state_of(&near.client()).await.expect("nothing moves it");
    assert_eq!(held, ahead, "it does not go back");
    relay.go_on();
    let found = Replication::until(&near.client(), "its parent has caught up", |found| found.connected).await;
    assert_eq!((found.baselines, found.position), (0, ahead.position));
}

#[tokio::test]
async fn a_log_damaged_under_a_running_writer_costs_a_baseline_and_no_endless_loop() {
    let directory = tempfile::tempdir().unwrap();
    let writer = build_writer(directory.path()).option("--feed-bytes", "65536").start().await;
    let client = writer.client();
    client.create("c").await;
    let mut near = replica("near", directory.path(), &writer.url).await;
    write(&client, 0..10).await;
    converge(&client, &near.client()).await;
    near.stop().await;
    for number in 0..30 {
        let value = format!("\"{}\"", "x".repeat(8_000));
        assert_eq!(client.set("c", &format!("big-{number}"), &value).await.status, 200);
    }
    let segment = headwater_tests::disk::largest_file(writer.data());
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&segment).unwrap();
    // Amid the big values; the file's own length counts the room behind them too.
    std::os::unix::fs::FileExt::write_all_at(&file, b"\xff\xff\xff\xff", 120_000).unwrap();
    near.start_again().await;
    converge(&client, &near.client()).await;
    assert_eq!(Replication::of(&near.client()).await.baselines, 1);
    let ready = Client::with_pair(&writer.url, None).get("/readyz").await;
    assert_eq!(ready.json()["checks"]["log_readable"], json!(false), "{}", ready.text());
}
