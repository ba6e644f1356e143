//! Legal writes that this release cannot make sense of: fields, types, features and long lines of a later one.

use headwater_tests::wire::{Script, entry, set};
use headwater_tests::{Lines, Node, NodeBuilder, Replication, Stub, Visit, eventually};
use serde_json::json;
use std::path::Path;

/// A stub whose collection `c` holds one entry at seq 3, followed by a chain of two replicas.
async fn chain(directory: &Path, stub: &mut Stub) -> (Visit, Node, Node) {
    let near = NodeBuilder::replica("near", directory, &stub.url).start().await;
    let mut visit = stub.visit().await;
    visit.say_all(Script::default().baseline(3, &[entry(3, "first", "1")])).await;
    near.ready().await;
    let far = NodeBuilder::replica("far", directory, &near.url).start().await;
    far.ready().await;
    (visit, near, far)
}

async fn holds(node: &Node, key: &str) {
    let client = node.client();
    eventually(&format!("{key} at {}", node.url), || async {
        let reply = client.entry("c", key).await;
        if reply.status == 200 { Ok(()) } else { Err(reply.text().to_owned()) }
    })
    .await;
}

#[tokio::test]
async fn unknown_fields_are_kept_and_relayed_byte_for_byte_in_tail_and_baseline() {
    let directory = tempfile::tempdir().unwrap();
    let mut stub = Stub::start().await;
    let (mut visit, near, far) = chain(directory.path(), &mut stub).await;
    let mut tails = Vec::new();
    for node in [&near, &far] {
        let mut tail = Lines::open(&node.client(), r#"{"scope":"**"}"#).await.unwrap();
        tail.until("READY").await;
        tails.push(tail);
    }
    let line = concat!(
        r#"{"type":"SET","collection":"c","seq":4,"prev":3,"key":"odd","version":1,"timestamp":1700000000000,"#,
        r#""zone":{"a":[1.50,"\u00e5"]},"tags":[],"value":{"on":true}}"#
    );
    let unknown = r#"{"type":"TOUCH","collection":"c","seq":5,"prev":4,"timestamp":1700000000000,"by":"later"}"#;
    visit.say_all([line, unknown, &set(6, 5, "last", "2")]).await;
    for (node, tail) in [&near, &far].into_iter().zip(&mut tails) {
        let mut lines = Vec::new();
        while lines.len() < 3 {
            let line = tail.line().await.unwrap();
            if !line.contains("\"PING\"") {
                lines.push(line);
            }
        }
        assert_eq!(lines, [line, unknown, &set(6, 5, "last", "2")], "{}", node.url);
        holds(node, "odd").await;
        let mut stream = Lines::open(&node.client(), r#"{"scope":"**"}"#).await.unwrap();
        let as_entry = line.replace(",\"prev\":3", "");
        loop {
            let line = stream.line().await.expect("the entry is in the baseline");
            if line.contains("\"odd\"") {
                assert_eq!(line, as_entry, "{}", node.url);
                break;
            }
        }
        let found = Replication::of(&node.client()).await;
        assert_eq!((found.gaps, found.divergences, found.faults, &*found.offence), (0, 0, 0, ""), "{found:?}");
    }
}

#[tokio::test]
async fn unknown_lines_without_a_place_in_the_log_are_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let mut stub = Stub::start().await;
    let (mut visit, near, far) = chain(directory.path(), &mut stub).await;
    visit.say_all([r#"{"type":"HINT","text":"later"}"#, &set(4, 3, "next", "2")]).await;
    for node in [&near, &far] {
        holds(node, "next").await;
        assert_eq!(Replication::of(&node.client()).await.offence, "");
    }
}

#[tokio::test]
async fn an_unknown_feature_stops_the_reader_visibly_and_it_serves_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut stub = Stub::start().await;
    let (mut visit, near, far) = chain(directory.path(), &mut stub).await;
    let newer = Script { epoch: 2_000, requires: vec!["expiry".into()], ..Script::default() };
    visit.say_all([set(4, 3, "before", "2"), newer.epoch_line(5), set(6, 4, "after", "3")]).await;
    visit.left().await;
    holds(&near, "before").await;
    holds(&far, "before").await;
    let found = Replication::until(&near.client(), "it says why", |found| found.offence == "unsupported_feature").await;
    assert_eq!(found.position, "1000.4", "what it can take it has taken");
    assert_eq!(near.client().entry("c", "after").await.status, 404);
    let words = near.client().status().await["replication"]["lastOffence"]["message"].to_string();
    assert!(words.contains("expiry"), "{words}");
    // HELLO says it, too, and a replica that comes back is told so from the first line.
    let mut visit = stub.visit().await;
    assert_eq!(visit.cursor(), json!({"epoch": 1_000, "seq": 4, "scope": "**"}));
    visit.say(&newer.hello(6, "tail")).await;
    visit.left().await;
    for node in [&near, &far] {
        assert_eq!(node.client().entry("c", "first").await.status, 200);
    }
    assert_eq!(Replication::of(&near.client()).await.position, "1000.4");
}

#[tokio::test]
async fn the_longest_line_any_writer_may_write_is_taken_two_hops_away() {
    let directory = tempfile::tempdir().unwrap();
    let mut stub = Stub::start().await;
    let (mut visit, _near, far) = chain(directory.path(), &mut stub).await;
    let frame = set(4, 3, "long", "\"\"").len();
    let line = set(4, 3, "long", &format!("\"{}\"", "x".repeat((16 << 20) - frame)));
    assert_eq!(line.len(), 16 << 20);
    visit.say(&line).await;
    holds(&far, "long").await;
    assert_eq!(far.client().entry("c", "long").await.body.len(), {
        let reply = far.client().entry("c", "first").await;
        reply.body.len() + "long".len() - "first".len() + ((16 << 20) - frame) + 2 - 1
    });
}
