//! The chain on a disk: kills, changes, ends that were cut off, and what the commands say of them.

use super::{audit, content, directory, entries, head, told, verified};
use crate::api::Writer;
use headwater_tests::Node;
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

fn file(node: &Node, number: u64) -> PathBuf {
    directory(node).join(format!("audit-{number:010}.ndjson"))
}

#[tokio::test]
async fn a_kill_loses_no_line_that_was_written_and_the_head_was_there_before() {
    let mut writer = Writer::start().await;
    let last = writer.write("a", "1").await.seq;
    told(&writer.node, "write", |found| found.iter().any(|entry| entry["seq"] == last)).await;
    let head = head(&writer).await;
    writer.node.kill().await;
    let before = content(&writer.node);
    writer.node.start_again().await;
    told(&writer.node, "start", |found| found.len() == 2).await;
    assert!(content(&writer.node).starts_with(&before));
    let found = verified(&writer.node).await;
    assert_eq!((&found["ok"], &found["mended"]), (&json!(true), &json!([])));
    let held = audit(&writer.node, "verify", &["--head", &head]).await;
    assert_eq!(held.status, 0, "{held:?}");
}

#[tokio::test]
async fn a_line_that_a_crash_cut_off_is_noted_by_the_next_start() {
    let mut writer = Writer::start().await;
    told(&writer.node, "write", |found| !found.is_empty()).await;
    writer.node.kill().await;
    let mut end = OpenOptions::new().append(true).open(file(&writer.node, 1)).expect("it is there");
    end.write_all(b"{\"n\":4,\"time\":\"2026").expect("it can be written");
    let torn = verified(&writer.node).await;
    assert_eq!((&torn["ok"], &torn["torn"]["bytes"]), (&json!(true), &json!(19)), "{torn}");
    writer.node.start_again().await;
    writer.node.says("the audit log ended within a line").await;
    let mended = told(&writer.node, "mended", |found| !found.is_empty()).await;
    assert_eq!(mended[0]["torn"], 19);
    let found = verified(&writer.node).await;
    assert_eq!(
        (&found["ok"], &found["torn"], found["mended"].as_array().map(Vec::len)),
        (&json!(true), &json!(null), Some(1))
    );
}

#[tokio::test]
async fn a_change_is_found_with_file_and_line_and_is_found_after_a_start_too() {
    let mut writer = Writer::start().await;
    for index in 0..3 {
        let seq = writer.write("a", &index.to_string()).await.seq;
        told(&writer.node, "write", |found| found.iter().any(|entry| entry["seq"] == seq)).await;
    }
    let anchor = head(&writer).await;
    writer.node.stop().await.expect("it runs");
    let path = file(&writer.node, 1);
    let good = fs::read_to_string(&path).unwrap();
    let line = 1 + good.lines().position(|line| line.contains("\"op\":\"set\"")).expect("a write");
    fs::write(&path, good.replacen("\"op\":\"set\"", "\"op\":\"del\"", 1)).unwrap();
    let done = audit(&writer.node, "verify", &[]).await;
    assert_eq!(done.status, 1, "{done:?}");
    let found: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(found["broken"], json!({"file": "audit-0000000001.ndjson", "line": line + 1}), "{found}");
    assert!(done.stderr.contains(&format!("audit-0000000001.ndjson line {}", line + 1)), "{done:?}");
    writer.node.start_again().await;
    writer.node.says("the audit log was changed while the node was down").await;
    told(&writer.node, "start", |found| found.len() == 2).await;
    let again = audit(&writer.node, "verify", &[]).await;
    let again: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(again["broken"], found["broken"]);
    writer.node.stop().await.expect("it runs");

    // A whole end that is gone shows to those alone who know what was there.
    fs::remove_file(file(&writer.node, 2)).unwrap();
    let kept: String = good.lines().take(3).map(|line| format!("{line}\n")).collect();
    fs::write(&path, kept).unwrap();
    assert_eq!(verified(&writer.node).await["stopped"], false);
    let cut = audit(&writer.node, "verify", &["--head", &anchor]).await;
    assert!(cut.status == 1 && cut.stderr.contains("its end was cut off"), "{cut:?}");
}

#[tokio::test]
async fn files_are_let_go_of_by_size_and_the_chain_says_so() {
    let settings = [("--audit-file-bytes", "4096"), ("--audit-retain-bytes", "8192")];
    let writer = Writer::start_with(&settings).await;
    let mut index = 0;
    while directory(&writer.node).join("audit-0000000001.ndjson").exists() {
        index += 1;
        assert!(index < 2_000, "nothing is let go of");
        let seq = writer.write("a", &index.to_string()).await.seq;
        told(&writer.node, "write", |found| found.iter().any(|entry| entry["seq"] == seq)).await;
    }
    told(&writer.node, "removed", |found| !found.is_empty()).await;
    let found = verified(&writer.node).await;
    assert!(found["goneThrough"].as_u64() >= Some(1) && found["first"].as_u64() > Some(1), "{found}");
    assert!(content(&writer.node).len() < 8_192 + 3 * 4_096);
}

#[tokio::test]
async fn the_lines_are_printed_as_they_are_and_can_be_chosen() {
    let writer = Writer::start().await;
    writer.write("a", "1").await;
    told(&writer.node, "write", |found| found.iter().any(|entry| entry["op"] == "set")).await;
    let all = audit(&writer.node, "cat", &[]).await;
    assert_eq!((all.status, &*all.stdout), (0, &*content(&writer.node)));
    let writes = audit(&writer.node, "cat", &["--event", "write", "--since", "1h"]).await;
    let wanted = entries(&writer.node).iter().filter(|entry| entry["event"] == "write").count();
    assert_eq!(writes.stdout.lines().count(), wanted, "{writes:?}");
    let none = audit(&writer.node, "cat", &["--since", "2100-01-01T00:00:00Z"]).await;
    assert_eq!((none.status, &*none.stdout), (0, ""));
    let state = writer.directory.path().to_str().expect("temporary paths are UTF-8");
    let nothing = crate::cli::Cli::of(&writer.node).run(&["audit", "verify", state]).await;
    assert!(nothing.status == 2 && nothing.stderr.contains("holds no audit log"), "{nothing:?}");
}
