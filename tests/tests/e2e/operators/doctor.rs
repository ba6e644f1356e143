//! `headwater doctor` against running nodes.

use super::super::cli::Cli;
use headwater_local::certificates::Authority;
use headwater_tests::{NodeBuilder, eventually};
use serde_json::Value;
use std::time::Duration;

/// What was found under this name, as level and words.
fn found<'v>(told: &'v Value, check: &str) -> (&'v str, &'v str) {
    let findings = told["findings"].as_array().expect("a list");
    let finding = findings.iter().find(|finding| finding["check"] == check);
    finding.map_or(("", ""), |found| (found["level"].as_str().expect("a word"), found["says"].as_str().expect("words")))
}

/// What it found, and that its exit status is of that. How full this machine's disk is, is its own affair.
async fn examined(cli: &Cli) -> Value {
    let done = cli.run(&["doctor"]).await;
    let told: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"));
    let is_bad = told["findings"].as_array().expect("a list").iter().any(|finding| finding["level"] == "bad");
    assert_eq!((done.status == 1, told["ok"] == false), (is_bad, is_bad), "{done:?}");
    told
}

#[tokio::test]
async fn a_node_is_looked_at_and_what_is_unsafe_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let cli = Cli::of(&writer);
    let told = examined(&cli).await;
    assert_eq!(told["node"], "writer");
    assert_eq!(found(&told, "ready").0, "ok");
    assert_eq!(found(&told, "credentials").0, "warn");
    assert_eq!(found(&told, "replicas").0, "warn");
    assert_eq!(found(&told, "backup").0, "warn");
    for check in ["exposure", "version", "clock", "durability", "descriptors", "disk", "audit log"] {
        assert_eq!(found(&told, check).0, "ok", "{check}: {told}");
    }

    let near = NodeBuilder::replica("near", directory.path(), &writer.url).start().await;
    near.ready().await;
    assert_eq!(found(&examined(&cli).await, "replicas").0, "ok");
    let of_near = Cli::of(&near);
    let told = examined(&of_near).await;
    assert_eq!((found(&told, "following").0, found(&told, "lag").0), ("ok", "ok"), "{told}");
    writer.kill().await;
    eventually("it is noticed", || async {
        let done = of_near.run(&["doctor"]).await;
        let told: Value = serde_json::from_str(&done.stdout).expect("JSON");
        let (level, says) = found(&told, "following");
        let is_told = done.status == 1 && level == "bad" && says.contains("connection refused");
        if is_told && done.stderr.contains("bad") && told["ok"] == false {
            Ok(())
        } else {
            Err((says.to_owned(), done))
        }
    })
    .await;
}

#[tokio::test]
async fn a_log_in_memory_is_bad_and_a_node_that_is_not_there_is_not_reached() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = NodeBuilder::writer("writer", directory.path()).option("--wal", "memory:").start().await;
    let cli = Cli::of(&writer);
    let done = cli.run(&["doctor"]).await;
    let told: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((done.status, found(&told, "durability").0), (1, "bad"), "{told}");
    let without = cli.run(&["doctor", "--apikey", "nobody"]).await;
    let told: Value = serde_json::from_str(&without.stdout).unwrap();
    let levels = (found(&told, "look").0, found(&told, "ready").0);
    assert_eq!((without.status, levels), (1, ("bad", "ok")), "{told}");
    writer.kill().await;
    assert_eq!(cli.run(&["doctor"]).await.status, 3);
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_told_of_until_there_is_another_one() {
    const DAY: Duration = Duration::from_secs(86_400);
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(directory.path(), "authority").unwrap();
    let (certificate, key) = authority.issue_for("writer", 5 * DAY).unwrap();
    let path = |path: &std::path::Path| path.to_str().expect("a plain path").to_owned();
    let writer = NodeBuilder::writer("writer", directory.path()).option("--audit", "off");
    let writer = writer.option("--tls-cert", &path(&certificate)).option("--tls-key", &path(&key)).start().await;
    let (cli, ca) = (Cli::of(&writer), path(&authority.ca()));
    let looked = async || {
        let done = cli.run(&["doctor", "--ca", &ca]).await;
        serde_json::from_str::<Value>(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
    };
    let told = looked().await;
    let (level, says) = found(&told, "certificate");
    assert!(level == "warn" && (says.contains("4 d") || says.contains("5 d")), "{says}");
    assert_eq!(found(&told, "audit log").0, "warn", "{told}");
    authority.issue_for("writer", 2 * DAY).unwrap();
    eventually("the newer one is looked at", || async {
        let told = looked().await;
        if found(&told, "certificate").0 == "bad" { Ok(()) } else { Err(told) }
    })
    .await;
    authority.issue("writer").unwrap();
    eventually("the newest one is looked at", || async {
        let told = looked().await;
        if found(&told, "certificate").0 == "ok" { Ok(()) } else { Err(told) }
    })
    .await;
}
