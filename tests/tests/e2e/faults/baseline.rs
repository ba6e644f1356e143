//! Baselines that are wrong are worth nothing; one taken while writes go on is exact.

use super::{build_replica, readiness, write, writer};
use headwater_tests::{Fate, Lines, NodeBuilder, Relay, Replication, State, converge, state_of};
use serde_json::Value;

type Rule = fn(&str) -> Fate;

#[tokio::test]
async fn a_wrong_baseline_is_refused_whatever_is_wrong_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(directory.path()).await;
    write(&writer.client(), 0..10).await;
    let relay = Relay::start(&writer.url).await;
    let wrong: [(&str, Rule); 8] = [
        ("an entry altered", |line| match line.contains("{\"n\":7}") {
            true => Fate::Instead(line.replace("{\"n\":7}", "{\"n\":8}")),
            false => Fate::Pass,
        }),
        ("an entry missing", |line| if line.contains("{\"n\":7}") { Fate::Lost } else { Fate::Pass }),
        ("an entry twice", |line| if line.contains("{\"n\":7}") { Fate::Twice } else { Fate::Pass }),
        ("a collection's digest", |line| with(line, "BASELINE_END", "xxh3:", "")),
        ("a collection's count", |line| with(line, "BASELINE_END", "\"keys\":10", "\"keys\":11")),
        ("a collection missing its end", |line| if line.contains("BASELINE_END") { Fate::Lost } else { Fate::Pass }),
        ("the scope's digest", |line| with(line, "READY", "xxh3:", "")),
        ("the place", |line| with(line, "READY", "\"seq\":", "\"seq\":1")),
    ];
    for (number, (what, rule)) in wrong.into_iter().enumerate() {
        relay.rule(rule);
        // A new one each time: the old one's back-off grows with every baseline it refuses.
        let near = build_replica(&format!("near-{number}"), directory.path(), &relay.url).start().await;
        let found = Replication::until(&near.client(), what, |found| !found.offence.is_empty()).await;
        assert_eq!((found.baselines, &*found.position), (0, "0.0"), "{what}: {found:?}");
        assert_eq!(found.offence, "bad_baseline", "{what}: {found:?}");
        assert_eq!(readiness(&near).await, 503, "{what}");
        relay.honest();
        converge(&writer.client(), &near.client()).await;
        assert_eq!(readiness(&near).await, 200);
    }
}

/// Alters lines of one type; a digest in its first digit.
fn with(line: &str, name: &str, from: &str, to: &str) -> Fate {
    match line.starts_with(&format!("{{\"type\":\"{name}\"")) {
        true if from == "xxh3:" => Fate::Instead(turned(line)),
        true => Fate::Instead(line.replace(from, to)),
        false => Fate::Pass,
    }
}

/// The line with the first digit of its digest turned.
fn turned(line: &str) -> String {
    let at = line.find("xxh3:").expect("it has a digest") + 5;
    let other = if line.as_bytes()[at] == b'0' { "1" } else { "0" };
    format!("{}{other}{}", &line[..at], &line[at + 1..])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_baseline_is_exact_as_of_its_seq_while_writes_and_deletes_go_on() {
    let directory = tempfile::tempdir().unwrap();
    // Whoever takes nothing for three PINGs is given up, and here nobody reads while all is overwritten.
    let writer = NodeBuilder::writer("writer", directory.path()).option("--ping-ms", "5000").start().await;
    let client = writer.client();
    client.create("c").await;
    // More than all buffers between the two take, so that most of it is yet to be sent when the writes come.
    let filling = format!("\"{}\"", "x".repeat(60_000));
    let mut fill = tokio::task::JoinSet::new();
    for part in 0..8 {
        let (client, filling) = (client.clone(), filling.clone());
        fill.spawn(async move {
            for number in 0..50 {
                client.set("c", &format!("key-{:03}", number * 8 + part), &filling).await;
            }
        });
    }
    while let Some(done) = fill.join_next().await {
        done.unwrap();
    }
    client.create("z").await;
    client.set("z", "gone", "1").await;
    let right = state_of(&client).await.expect("the writer is at rest");

    let mut stream = Lines::open(&client, "").await.unwrap();
    let hello = stream.command().await;
    assert_eq!(format!("{}.{}", hello["epoch"], hello["seq"]), right.position);
    for number in (0..400).step_by(2) {
        let key = format!("key-{number:03}");
        match number % 4 {
            0 => assert_eq!(client.delete("c", &key).await.status, 200),
            _ => assert_eq!(client.set("c", &key, "0").await.status, 200),
        }
    }
    client.set("c", "key-000a", "\"new\"").await;
    client.set("c", "zzz", "\"new\"").await;
    let dropped = client.call(reqwest::Method::DELETE, "/v1/collections/z", "").await;
    assert_eq!(dropped.status, 200, "{}", dropped.text());
    client.create("y").await;

    let mut found = State { position: right.position.clone(), ..State::default() };
    loop {
        let line = stream.command().await;
        let name = || line["collection"].as_str().unwrap().to_owned();
        match line["type"].as_str().unwrap() {
            "BASELINE_BEGIN" => drop(found.collections.insert(name(), Default::default())),
            "SET" => found.collections.get_mut(&name()).unwrap().1.push(shown(&line)),
            "BASELINE_END" => {}
            "PING" => assert_eq!(line.as_object().unwrap().len(), 1, "before READY a PING is bare"),
            "READY" => {
                assert_eq!(line["seq"], hello["seq"]);
                break;
            }
            other => panic!("{other} in a baseline"),
        }
    }
    for (name, (digest, entries)) in &right.collections {
        let (_, sent) = &found.collections[name];
        let held: Vec<String> = entries.iter().map(|entry| shown(&serde_json::from_str(entry).unwrap())).collect();
        assert_eq!(sent.len(), held.len(), "{name} {digest}");
        assert!(*sent == held, "{name} is not as it was at {}", right.position);
    }
    let head = headwater_tests::wire::place(&client.position().await).1;
    let mut next = hello["seq"].as_u64().unwrap() + 1;
    while next <= head {
        let line = stream.command().await;
        if line["type"] == "PING" {
            assert_eq!(line["seq"], next - 1, "a PING comes when all before it was sent");
        } else {
            // The dropped collection's and the others' lines all belong to this scope: none is left out.
            assert_eq!(line["seq"], next, "the tail begins behind the baseline and has no hole");
            next += 1;
        }
    }
    let near = super::replica("near", directory.path(), &writer.url).await;
    let state = converge(&client, &near.client()).await;
    assert!(!state.collections.contains_key("z") && state.collections.contains_key("y"));
}

/// Key and value, in one text.
fn shown(entry: &Value) -> String {
    format!("{} {} {}", entry["key"], entry["value"], entry["seq"])
}
