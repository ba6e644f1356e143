//! `Idempotency-Key`: a write sent again under its key is answered as the first time and not done again, through
//! replicas, kills, restarts and trimmed logs, for as long as it is remembered.

use super::{Writer, call, position, refused};
use headwater_core::api::Code;
use headwater_tests::{Client, Lines, Load, NodeBuilder, Random, Relay, Reply, eventually, raw, state_of};
use reqwest::Method;
use serde_json::{Value, json};

const ENTRY: &str = "/v1/collections/flags/entry?key=a";
const BATCH: &str = "/v1/collections/flags/batch";

/// Every kind of write, with its body. In this order each is accepted.
const WRITES: [(&str, &str, &str); 6] = [
    ("POST", "/v1/collections", r#"{"name":"made"}"#),
    ("PUT", ENTRY, r#"{"value":{"x":1.50}}"#),
    ("POST", "/v1/collections/flags/keys/b", r#"{"value":1,"ifAbsent":true}"#),
    (
        "POST",
        BATCH,
        r#"{"ops":[{"op":"set","key":"c","value":1},{"op":"set","key":"a","value":2},{"op":"delete","key":"b"}]}"#,
    ),
    ("DELETE", ENTRY, ""),
    ("DELETE", "/v1/collections/made", ""),
];

async fn write(client: &Client, key: &str, (method, path, body): (&str, &str, &str)) -> Reply {
    call(client, method, path, &[("idempotency-key", key)], body).await
}

/// Makes each write under a key of its own, and returns the answers.
async fn write_all(client: &Client) -> Vec<Reply> {
    let mut answers = Vec::new();
    for (index, asked) in WRITES.into_iter().enumerate() {
        let reply = write(client, &format!("key-{index}"), asked).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        answers.push(reply);
    }
    answers
}

/// Asserts that each write sent again is answered as before, and that nothing is done.
async fn repeats_all(client: &Client, writer: &Client, answers: &[Reply], when: &str) {
    let before = writer.position().await;
    for ((index, asked), first) in WRITES.into_iter().enumerate().zip(answers) {
        let again = write(client, &format!("key-{index}"), asked).await;
        assert_eq!((again.status, again.text()), (200, first.text()), "{when}: {asked:?}");
        assert_eq!(position(&again), position(first), "{when}: {asked:?}");
    }
    assert_eq!(writer.position().await, before, "{when}");
}

#[tokio::test]
async fn a_write_sent_again_is_answered_as_the_first_time_and_not_done_again() {
    let mut writer = Writer::start().await;
    let answers = write_all(&writer.client).await;
    // Others write meanwhile: what is there now does not matter.
    writer.write("a", "7").await;
    writer.client.create("made").await;
    repeats_all(&writer.client, &writer.client, &answers, "at once").await;
    assert_eq!(writer.client.entry("flags", "a").await.json()["value"], json!(7));
    let replica = writer.replica(&[]).await;
    let far = NodeBuilder::replica("far", writer.directory.path(), &replica.url).start().await;
    far.ready().await;
    repeats_all(&far.client(), &writer.client, &answers, "through two replicas").await;
    for end in ["stopped", "killed"] {
        if end == "stopped" {
            writer.node.stop().await;
        } else {
            writer.node.kill().await;
        }
        writer.node.start_again().await;
        repeats_all(&writer.client, &writer.client, &answers, end).await;
    }
    // Written through a replica, repeated at the writer.
    let first = write(&replica.client(), "through", ("PUT", ENTRY, "{\"value\":8}")).await;
    let again = write(&writer.client, "through", ("PUT", ENTRY, "{\"value\":8}")).await;
    assert_eq!((first.status, first.text(), position(&first)), (200, again.text(), position(&again)));
    // Nothing of it is streamed.
    let mut lines = Lines::open(&writer.client, r#"{"scope":"**"}"#).await.unwrap();
    let lines = lines.until("READY").await;
    assert!(!format!("{lines:?}").contains("\"req\"") && !format!("{lines:?}").contains("\"by\""), "{lines:?}");
}

#[tokio::test]
async fn another_request_under_a_key_that_is_taken_is_refused() {
    let writer = Writer::start().await;
    let first = write(&writer.client, "k", ("PUT", ENTRY, "{\"value\":1}")).await;
    let before = writer.client.position().await;
    let replica = writer.replica(&[]).await;
    for asked in [
        ("POST", ENTRY, "{\"value\":1}"),
        ("DELETE", ENTRY, "{\"value\":1}"),
        ("PUT", ENTRY, "{\"value\":2}"),
        ("PUT", ENTRY, "{\"value\": 1}"),
        ("PUT", "/v1/collections/flags/entry?key=b", "{\"value\":1}"),
        ("PUT", "/v1/collections/flags/keys/a", "{\"value\":1}"),
        ("POST", BATCH, r#"{"ops":[{"op":"set","key":"a","value":1}]}"#),
        ("POST", "/v1/collections", "{\"name\":\"x\"}"),
        ("DELETE", "/v1/collections/flags", ""),
    ] {
        refused(&write(&writer.client, "k", asked).await, Code::IdempotencyMismatch, &["Idempotency-Key"]);
        refused(&write(&replica.client(), "k", asked).await, Code::IdempotencyMismatch, &["Idempotency-Key"]);
    }
    let tag = writer.client.entry("flags", "a").await.header("etag").unwrap().to_owned();
    let guarded = [("idempotency-key", "k"), ("if-match", &*tag)];
    refused(&call(&writer.client, "PUT", ENTRY, &guarded, "{\"value\":1}").await, Code::IdempotencyMismatch, &[]);
    assert_eq!(writer.client.position().await, before);
    assert_eq!(write(&writer.client, "k", ("PUT", ENTRY, "{\"value\":1}")).await.text(), first.text());
    // Another spelling of the key is another key, and without one nothing is remembered.
    assert_eq!(write(&writer.client, "K", ("PUT", ENTRY, "{\"value\":1}")).await.json()["version"], json!(2));
    assert_eq!(call(&writer.client, "PUT", ENTRY, &[], "{\"value\":1}").await.json()["version"], json!(3));
}

#[tokio::test]
async fn a_refusal_is_not_remembered_and_a_condition_that_held_is_not_judged_again() {
    let writer = Writer::start().await;
    let client = &writer.client;
    refused(&write(client, "k", ("DELETE", ENTRY, "")).await, Code::NotFound, &[]);
    let batch =
        ("POST", BATCH, r#"{"ops":[{"op":"set","key":"b","value":1,"ifAbsent":true},{"op":"delete","key":"a"}]}"#);
    refused(&write(client, "b", batch).await, Code::NotFound, &[]);
    writer.write("a", "1").await;
    let done = write(client, "b", batch).await;
    assert_eq!(client.entry("flags", "a").await.status, 404, "this time it was done");
    assert_eq!((done.status, write(client, "b", batch).await.text()), (200, done.text()));
    writer.write("a", "1").await;
    let gone = write(client, "k", ("DELETE", ENTRY, "")).await;
    assert_eq!(client.entry("flags", "a").await.status, 404);
    assert_eq!((gone.status, write(client, "k", ("DELETE", ENTRY, "")).await.text()), (200, gone.text()));
    let guard = [("idempotency-key", "guarded"), ("if-none-match", "*")];
    let made = call(client, "PUT", ENTRY, &guard, "{\"value\":1}").await;
    let again = call(client, "PUT", ENTRY, &guard, "{\"value\":1}").await;
    assert_eq!((made.status, again.text()), (200, made.text()), "it would not hold any more");
    // A collection that was there already: nothing is written, so there is nothing to repeat.
    let make = ("POST", "/v1/collections", "{\"name\":\"flags\"}");
    assert_eq!(write(client, "c", make).await.status, 200);
    assert_eq!(write(client, "c", ("DELETE", ENTRY, "")).await.status, 200);
}

#[tokio::test]
async fn a_key_that_cannot_be_is_refused() {
    let writer = Writer::start().await;
    let replica = writer.replica(&[]).await;
    let before = writer.client.position().await;
    let (longest, long) = ("k".repeat(255), "k".repeat(256));
    for url in [writer.url(), &replica.url] {
        for (method, path, body) in WRITES {
            for key in ["", "a b", "a\tb", "\u{e9}", &long] {
                let reply = raw::ask(url, method, path, &[("idempotency-key", key)], body.as_bytes()).await;
                refused(&reply, Code::InvalidRequest, &["idempotency-key"]);
            }
            let twice = [("idempotency-key", "a"), ("Idempotency-Key", "a")];
            let reply = raw::ask(url, method, path, &twice, body.as_bytes()).await;
            refused(&reply, Code::InvalidRequest, &["idempotency-key", "twice"]);
        }
    }
    assert_eq!(writer.client.position().await, before);
    for key in ["a", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", &longest] {
        let reply = raw::ask(&replica.url, "PUT", ENTRY, &[("idempotency-key", key)], b"{\"value\":1}").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    // A read has no use for one.
    assert_eq!(call(&writer.client, "GET", ENTRY, &[("idempotency-key", "a b")], "").await.status, 200);
}

#[tokio::test]
async fn at_the_same_time_under_one_key_it_is_done_once() {
    let writer = Writer::start().await;
    let replica = writer.replica(&[]).await;
    let before = position(&writer.client.get("/v1/collections").await).seq;
    for round in 0..20 {
        let key = format!("round-{round}");
        let many = (0..8).map(|index| {
            let client = if index % 2 == 0 { writer.client.clone() } else { replica.client() };
            let key = key.clone();
            tokio::spawn(async move { write(&client, &key, ("POST", ENTRY, "{\"value\":1}")).await })
        });
        let mut texts = Vec::new();
        for reply in many.collect::<Vec<_>>() {
            let reply = reply.await.unwrap();
            assert_eq!(reply.status, 200, "{}", reply.text());
            texts.push(format!("{} {}", reply.text(), position(&reply)));
        }
        texts.dedup();
        assert_eq!(texts.len(), 1, "{texts:?}");
    }
    assert_eq!(position(&writer.client.get("/v1/collections").await).seq, before + 20);
}

#[tokio::test]
async fn what_was_asked_of_a_writer_that_is_killed_happens_once_however_often_it_is_sent() {
    let mut writer = Writer::start().await;
    let mut random = Random::announced("repeats across kill -9");
    // So that the kills strike groups that are under way.
    let load = Load::start(&writer.client, "load", 2, &mut random).await;
    let client = writer.client.clone();
    let counting = tokio::spawn(async move {
        let mut answers: Vec<(usize, Reply)> = Vec::new();
        for number in 0..300 {
            // One answer in five is not listened to, so that known outcomes are repeated as well.
            let mut left = if number % 5 == 0 { 2 } else { 1 };
            while left > 0 {
                let path = Client::entry_path("flags", &format!("counted-{}", number % 7));
                let request = client.request(Method::POST, &path).header("idempotency-key", format!("number-{number}"));
                match client.send(request.body(format!("{{\"value\":{number}}}"))).await {
                    Ok(reply) if reply.status == 200 => {
                        answers.push((number, reply));
                        left -= 1;
                    }
                    Ok(reply) if reply.status != 503 => panic!("{}", reply.text()),
                    _ => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                }
            }
        }
        answers
    });
    let mut kills = 0;
    while !counting.is_finished() {
        load.acknowledges(1 + random.below(40)).await;
        writer.node.kill().await;
        writer.node.start_again().await;
        kills += 1;
    }
    let answers = counting.await.unwrap();
    load.finish().await;
    println!("{kills} kills");
    let seqs = |number: usize| answers.iter().filter(move |(of, _)| *of == number).map(|(_, reply)| reply.json());
    for number in 0..300 {
        let told: Vec<Value> = seqs(number).collect();
        assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{told:?}");
        // Seven keys in turn: each write of one is the next version.
        assert_eq!(told[0]["version"], json!(number / 7 + 1), "write {number} was done more than once, or not");
    }
    assert!(kills > 2);
}

#[tokio::test]
async fn an_answer_that_was_lost_on_the_way_is_given_again() {
    let writer = Writer::start().await;
    let relay = Relay::start(writer.url()).await;
    let replica = NodeBuilder::replica("replica", writer.directory.path(), &relay.url).start().await;
    replica.ready().await;
    relay.lose_answers(true);
    let asked = ("PUT", ENTRY, "{\"value\":1}");
    refused(&write(&replica.client(), "k", asked).await, Code::OutcomeUnknown, &[]);
    relay.lose_answers(false);
    let at = writer.client.position().await;
    let again = eventually("the replica forwards again", || async {
        let reply = write(&replica.client(), "k", asked).await;
        if reply.status == 200 { Ok(reply) } else { Err(reply) }
    })
    .await;
    assert_eq!(again.json()["version"], json!(1));
    assert_eq!(position(&again).to_string(), at, "it was the first that wrote");
    assert_eq!(writer.client.position().await, at);
}

#[tokio::test]
async fn a_baseline_carries_what_the_log_lets_go_of() {
    let options = [
        ("--segment-bytes", "8192"),
        ("--baseline-after-bytes", "16384"),
        ("--retain-bytes", "0"),
        ("--retain-age", "0s"),
        ("--retain-bytes-max", "0"),
    ];
    let mut writer = Writer::start_with(&options).await;
    let answers = write_all(&writer.client).await;
    let last = position(answers.last().unwrap()).seq;
    let padding = format!("\"{}\"", "x".repeat(1_000));
    let mut written = 0;
    eventually("the log is trimmed", || {
        written += 20;
        let (client, padding, from) = (writer.client.clone(), padding.clone(), written);
        async move {
            for number in from..from + 20 {
                assert_eq!(client.set("flags", &format!("pad-{}", number % 5), &padding).await.status, 200);
            }
            let storage = client.status().await["storage"].clone();
            let covered = storage["baseline"]["seq"].as_u64().is_some_and(|seq| seq > last + 100);
            let trimmed = storage["logBytes"].as_u64().is_some_and(|bytes| bytes < 60_000);
            if covered && trimmed { Ok(()) } else { Err(storage) }
        }
    })
    .await;
    let late = write(&writer.client, "late", ("PUT", ENTRY, "{\"value\":9}")).await;
    for end in ["killed", "stopped", "killed"] {
        if end == "stopped" {
            writer.node.stop().await;
        } else {
            writer.node.kill().await;
        }
        writer.node.start_again().await;
        repeats_all(&writer.client, &writer.client, &answers, end).await;
        let again = write(&writer.client, "late", ("PUT", ENTRY, "{\"value\":9}")).await;
        assert_eq!((again.text(), position(&again)), (late.text(), position(&late)));
        refused(&write(&writer.client, "key-1", ("PUT", ENTRY, "{}")).await, Code::InvalidJson, &[]);
        let other = write(&writer.client, "key-1", ("PUT", ENTRY, "{\"value\":10}")).await;
        refused(&other, Code::IdempotencyMismatch, &[]);
    }
    let state = state_of(&writer.client).await.unwrap();
    assert!(state.collections["flags"].1.iter().all(|entry| !entry.contains("\"key\":\"b\"")), "{state:?}");
}

#[tokio::test]
async fn so_many_are_remembered_and_for_so_long() {
    let mut writer = Writer::start_with(&[("--idempotency-keys-max", "3")]).await;
    let asked = ("POST", ENTRY, "{\"value\":1}");
    let version = async |client: &Client, key: &str| write(client, key, asked).await.json()["version"].as_u64();
    for (key, expected) in [("1", 1), ("2", 2), ("3", 3), ("1", 1), ("4", 4), ("2", 2), ("1", 5), ("3", 3), ("2", 6)] {
        assert_eq!(version(&writer.client, key).await, Some(expected), "{key}");
    }
    writer.node.kill().await;
    writer.node.start_again().await;
    for (key, expected) in [("4", 4), ("1", 5), ("2", 6), ("3", 7)] {
        assert_eq!(version(&writer.client, key).await, Some(expected), "{key} after a restart");
    }
    let short = Writer::start_with(&[("--idempotency-age", "1ms")]).await;
    let (first, mut rounds) = (version(&short.client, "k").await, 0);
    eventually("it is forgotten", || {
        rounds += 1;
        let (client, first) = (short.client.clone(), first);
        async move {
            let now = write(&client, "k", asked).await.json()["version"].as_u64();
            if now == first { Err("not yet") } else { Ok(()) }
        }
    })
    .await;
}
