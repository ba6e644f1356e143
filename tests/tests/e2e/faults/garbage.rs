//! What a parent may send instead of a stream: garbage, splits, foreign line ends, lines without an end, nesting without one.
//!
//! Whatever it is, the replica keeps what it has, says what was wrong, drops the connection and comes back.

use headwater_tests::wire::{Script, entry, set};
use headwater_tests::{Node, NodeBuilder, Random, Replication, Stub, Visit, eventually};
use std::path::Path;
use std::time::{Duration, Instant};

/// A replica that holds one entry at seq 3 from a stub, and the visit it is on.
async fn following(directory: &Path, stub: &mut Stub) -> (Node, Visit) {
    let near = NodeBuilder::replica("near", directory, &stub.url).start().await;
    let mut visit = stub.visit().await;
    visit.say_all(Script::default().baseline(3, &[entry(3, "first", "1")])).await;
    near.ready().await;
    (near, visit)
}

/// The next visit, already told to go on behind seq 3.
async fn again(stub: &mut Stub) -> Visit {
    let mut visit = stub.visit().await;
    assert_eq!(visit.cursor()["seq"], 3, "it goes on where it was");
    visit.say(&Script::default().hello(3, "tail")).await;
    visit
}

async fn value(node: &Node, key: &str) -> Option<String> {
    let reply = node.client().entry("c", key).await;
    (reply.status == 200).then(|| reply.json()["value"].to_string())
}

#[tokio::test]
async fn garbage_is_named_and_changes_nothing() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let in_unknown_field = set(4, 3, "k", "1").replace("\"value\"", &format!("\"odd\":{},\"value\"", deep(100_000)));
    let garbage: Vec<(&str, Vec<u8>)> = vec![
        ("invalid_line", b"this is no JSON\n".to_vec()),
        ("invalid_line", b"{\"type\":\"SET\"\n".to_vec()),
        ("invalid_line", b"\xff\xfe\n".to_vec()),
        ("invalid_line", format!("{}\n", set(4, 3, "k", "\"\u{1}\"")).into_bytes()),
        ("invalid_line", [set(4, 3, "k", "\"").as_bytes(), b"\xc3\n"].concat()),
        ("invalid_line", format!("{}\n", set(4, 3, "k", r#""\ud800""#)).into_bytes()),
        ("invalid_line", format!("{}\n", set(4, 3, "k", &deep(100_000))).into_bytes()),
        ("invalid_line", format!("{in_unknown_field}\n").into_bytes()),
        ("invalid_line", format!("{{\"type\":\"LATER\",\"odd\":{}}}\n", deep(100_000)).into_bytes()),
        ("invalid_line", format!("{}\n", set(4, 3, "k", "1e400")).into_bytes()),
        ("invalid_line", format!("{}\n", set(4, 3, "k", r#"{"a":1,"\u0061":2}"#)).into_bytes()),
        (
            "invalid_line",
            format!("{}\n", set(4, 3, "k", "1").replace("\"seq\":4", "\"seq\":9007199254740992")).into_bytes(),
        ),
        ("gap", format!("{}\n", set(5, 3, "k", "1")).into_bytes()),
        ("unexpected_line", format!("{}\n", entry(3, "k", "1")).into_bytes()),
        ("unexpected_line", format!("{}\n", Script::default().hello(3, "tail")).into_bytes()),
        ("line_too_long", [set(4, 3, "k", "\"").as_bytes(), "x".repeat((16 << 20) + 1).as_bytes()].concat()),
    ];
    let directory = tempfile::tempdir().unwrap();
    let mut near = None;
    for (number, (code, bytes)) in garbage.into_iter().enumerate() {
        // Each its own replica: the back-off of one would grow with every piece of garbage.
        let mut stub = Stub::start().await;
        let (node, mut visit) = following(&directory.path().join(number.to_string()), &mut stub).await;
        visit.send(&bytes).await;
        visit.left().await;
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(160)]).into_owned();
        let found = Replication::until(&node.client(), &shown, |found| !found.offence.is_empty()).await;
        assert_eq!((&*found.offence, &*found.position), (code, "1000.3"), "{shown}");
        assert_eq!(value(&node, "first").await.as_deref(), Some("1"), "{shown}");
        assert_eq!(value(&node, "k").await, None, "{shown}");
        let mut visit = again(&mut stub).await;
        visit.say(&set(4, 3, "k", "5")).await;
        eventually("it follows again", || async { value(&node, "k").await.ok_or(()) }).await;
        near = Some(node);
    }
    drop(near);
}

#[tokio::test]
async fn a_parent_that_keeps_sending_garbage_is_asked_less_and_less() {
    let directory = tempfile::tempdir().unwrap();
    let mut stub = Stub::start().await;
    let (node, mut visit) = following(directory.path(), &mut stub).await;
    // The shortest wait each time; a machine under load only makes them longer.
    for least in [125, 250, 500, 1_000, 2_000] {
        let sent = Instant::now();
        visit.say("this is no JSON").await;
        visit.left().await;
        // It has caught the replica up each time, which is no merit beside what follows.
        visit = again(&mut stub).await;
        assert!(sent.elapsed() >= Duration::from_millis(least), "{:?} after the last time", sent.elapsed());
    }
    assert_eq!(value(&node, "first").await.as_deref(), Some("1"));
    // Once it does well, it is followed as before.
    visit.say(&set(4, 3, "k", "5")).await;
    eventually("it follows again", || async { value(&node, "k").await.ok_or(()) }).await;
}

/// A baseline and a tail with long characters, odd numbers, escapes and a batch.
fn script() -> Vec<u8> {
    let value = r#"{"text":"åäö 漢字 😀 \u0000","number":[665e70,1E-400,18446744073709551616,-0.0]}"#;
    let batch = concat!(
        r#"{"type":"BATCH","collection":"c","seq":6,"prev":5,"timestamp":1700000000000,"commands":["#,
        r#"{"op":"set","key":"b","version":1,"value":[1,2]},{"op":"delete","key":"first","version":2}]}"#
    );
    let mut lines = Script::default().baseline(3, &[entry(3, "first", "1")]);
    lines.extend([set(4, 3, "ö:😀", value), set(5, 4, "k", "\"last\""), batch.to_owned()]);
    let held = [entry(4, "ö:😀", value), entry(5, "k", "\"last\""), entry(6, "b", "[1,2]")];
    lines.push(Script::default().ping(6, headwater_tests::wire::now_ms(), &held));
    let mut text = lines.join("\n");
    text.push('\n');
    text.into_bytes()
}

#[tokio::test]
async fn a_stream_means_the_same_however_it_is_split() {
    let mut random = Random::announced("splits of a stream");
    let directory = tempfile::tempdir().unwrap();
    let whole = script();
    let foreign = String::from_utf8(whole.clone()).unwrap().replace('\n', "\r\n\r\n \n").into_bytes();
    let mut states = Vec::new();
    for number in 0..6 {
        let mut stub = Stub::start().await;
        let node = NodeBuilder::replica(&format!("near-{number}"), directory.path(), &stub.url).start().await;
        let mut visit = stub.visit().await;
        let mut rest = if number == 5 { &foreign[..] } else { &whole[..] };
        while !rest.is_empty() {
            let length = match number {
                0 => rest.len(),
                1 => 1,
                _ => (1 + random.below(90) as usize).min(rest.len()),
            };
            visit.send(&rest[..length]).await;
            rest = &rest[length..];
        }
        let found = Replication::until(&node.client(), "at the end", |found| found.position == "1000.6").await;
        assert_eq!(&*found.offence, "", "{found:?}");
        let state = headwater_tests::state_of(&node.client()).await.expect("nothing more comes");
        states.push(state);
    }
    for state in &states {
        assert_eq!(state.difference(&states[0]), None);
    }
    let text = states[0].collections["c"].1.join("\n");
    for kept in ["665e70", "1E-400", "18446744073709551616", "-0.0", "😀"] {
        assert!(text.contains(kept), "{kept} is kept as it was sent: {text}");
    }
}

#[tokio::test]
async fn a_line_without_its_end_is_no_line() {
    let directory = tempfile::tempdir().unwrap();
    let mut stub = Stub::start().await;
    let (near, mut visit) = following(directory.path(), &mut stub).await;
    visit.send(set(4, 3, "torn", "1").as_bytes()).await;
    visit.end().await;
    let mut visit = again(&mut stub).await;
    assert_eq!(value(&near, "torn").await, None, "though it would be a whole command");
    visit.say(&set(4, 3, "whole", "2")).await;
    eventually("the next line counts", || async { value(&near, "whole").await.ok_or(()) }).await;
    assert_eq!(value(&near, "torn").await, None);
    assert_eq!(Replication::of(&near.client()).await.gaps, 0);
}
