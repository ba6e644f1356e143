//! `get`, `set` and `delete` in a script.

use super::Cli;
use headwater_tests::NodeBuilder;
use serde_json::json;

#[tokio::test]
async fn an_entry_is_written_read_and_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let cli = Cli::of(&writer);

    let refused = cli.run(&["set", "flags", "checkout", "{\"on\":true}"]).await;
    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(refused.stderr.contains("[missing_collection]") && refused.stderr.contains("--create"), "{refused:?}");

    let written = cli.json(&["set", "flags", "checkout", " {\"on\": 1.50e+1} ", "--create"]).await;
    assert_eq!(written["version"], 1);
    let read = cli.json(&["get", "flags", "checkout"]).await;
    assert_eq!(read["seq"], written["seq"]);
    assert_eq!(read["position"], written["position"]);
    let at_node = writer.client().entry("flags", "checkout").await;
    assert_eq!(at_node.header("etag").unwrap().trim_matches('"'), read["etag"]);

    let value = cli.run(&["get", "flags", "checkout", "--value"]).await;
    assert_eq!(value.stdout, "{\"on\":1.50e+1}\n", "its spelling is kept");

    assert_eq!(cli.json(&["delete", "flags", "checkout"]).await["version"], 2);
    for command in [&["get", "flags", "checkout"][..], &["delete", "flags", "checkout"]] {
        let gone = cli.run(command).await;
        assert_eq!((gone.status, &*gone.stdout), (1, ""), "{gone:?}");
        assert!(gone.stderr.contains("[not_found]") && gone.stderr.contains("headwater list flags"), "{gone:?}");
    }
}

#[tokio::test]
async fn a_write_that_has_a_name_is_done_once() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let cli = Cli::of(&writer);
    let set = ["set", "orders", "17", "1", "--create", "--idempotency-key", "o17"];
    let first = cli.json(&set).await;
    cli.json(&["set", "orders", "17", "2"]).await;
    assert_eq!(cli.json(&set).await, first, "answered as the first time");
    assert_eq!(cli.json(&["get", "orders", "17"]).await["value"], 2, "and not done again");
    let delete = ["delete", "orders", "17", "--idempotency-key", "gone"];
    assert_eq!(cli.json(&delete).await, cli.json(&delete).await);
    let other = cli.run(&["set", "orders", "17", "3", "--idempotency-key", "o17"]).await;
    assert!(other.status == 1 && other.stderr.contains("[idempotency_mismatch]"), "{other:?}");
    let bad = cli.run(&["set", "orders", "17", "3", "--idempotency-key", "two words"]).await;
    assert!(bad.status == 2 && bad.stderr.contains("1 to 255"), "{bad:?}");
}

#[tokio::test]
async fn the_system_s_collections_are_refused_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let refused = Cli::of(&writer).run(&["set", "_keys", "k", "1"]).await;
    assert!(refused.status != 0 && refused.stderr.contains("belongs to the system"), "{refused:?}");
    assert!(!refused.stderr.contains("HEADWATER_APIKEY"), "{refused:?}");
}

#[tokio::test]
async fn a_guard_that_does_not_hold_names_the_etag_that_is() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let cli = Cli::of(&writer);
    cli.json(&["set", "locks", "deploy", "1", "--create", "--if-absent"]).await;
    let absent = cli.run(&["set", "locks", "deploy", "2", "--if-absent"]).await;
    assert_eq!(absent.status, 1);
    assert!(absent.stderr.contains("[precondition_failed]"), "{absent:?}");

    let etag = cli.json(&["get", "locks", "deploy"]).await["etag"].as_str().unwrap().to_owned();
    cli.json(&["set", "locks", "deploy", "2", "--if-match", &etag]).await;
    let current = cli.json(&["get", "locks", "deploy"]).await["etag"].as_str().unwrap().to_owned();
    for late in
        [&["set", "locks", "deploy", "3", "--if-match", &etag][..], &["delete", "locks", "deploy", "--if-match", &etag]]
    {
        let late = cli.run(late).await;
        assert_eq!(late.status, 1);
        assert!(late.stderr.contains(&format!("--if-match {current}")), "{late:?}");
    }
    cli.json(&["delete", "locks", "deploy", "--if-match", &format!("\"{current}\"")]).await;
}

#[tokio::test]
async fn a_value_comes_from_stdin_or_a_file_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let cli = Cli::of(&writer);
    let done = cli.run_with(&["set", "c", "stdin", "-", "--create"], b"{\n \"a\": [1, 2]\n}\n").await;
    assert_eq!(done.status, 0, "{done:?}");
    assert_eq!(cli.json(&["get", "c", "stdin"]).await["value"], json!({ "a": [1, 2] }));

    let path = directory.path().join("value.json");
    std::fs::write(&path, "[true]").unwrap();
    cli.json(&["set", "c", "file", &format!("@{}", path.display())]).await;
    assert_eq!(cli.json(&["get", "c", "file"]).await["value"], json!([true]));
    cli.json(&["set", "c", "negative", "-12.5"]).await;
    assert_eq!(cli.json(&["get", "c", "negative"]).await["value"], json!(-12.5));
}

#[tokio::test]
async fn every_key_is_reached() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let cli = Cli::of(&writer);
    cli.json(&["collections", "create", "c"]).await;
    for key in ["../../x", "a//b", ".", "é ☃", "a\nb", "a&key=b", "%2e", "+", "\\", "--dev", "-1"] {
        cli.json(&["set", "c", "--", key, "1"]).await;
        assert_eq!(cli.json(&["get", "c", "--", key]).await["key"], key);
    }
    let keys = cli.run(&["list", "c"]).await.stdout;
    assert_eq!(keys.lines().count(), 11);
}
