//! `POST /v1/replicate`: how a stream opens, what its first lines say, when it goes on from a cursor, and how it ends.

use super::{Writer, call, fields, position, refused};
use headwater_core::api::Code;
use headwater_core::position::Position;
use headwater_tests::{Lines, Node, NodeBuilder};
use serde_json::{Value, json};

fn types(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["type"].as_str().expect("a line has a type")).collect()
}

/// Opens a stream that goes on from a cursor.
async fn resume(node: &Node, position: Position, cursor_scope: &str, scope: &str) -> Lines {
    let Position { epoch, seq } = position;
    let cursor = format!("{{\"epoch\":{epoch},\"seq\":{seq},\"scope\":{cursor_scope}}}");
    Lines::open(&node.client(), &format!("{{\"cursor\":{cursor},\"scope\":{scope}}}")).await.expect("a stream")
}

#[tokio::test]
async fn a_stream_opens_with_hello_baseline_ready_and_ping() {
    let writer = Writer::start().await;
    let created = position(&writer.client.get("/v1/collections").await).seq;
    let b = writer.write("b", "1.50").await;
    let at = writer.write("a", r#"{"on":true}"#).await;
    let status = writer.client.status().await;
    for body in ["", " ", "{}", r#"{"node":"visitor","scope":"*","cursor":null}"#] {
        let mut lines = Lines::open(&writer.client, body).await.unwrap();
        for (name, value) in [
            ("content-type", "application/x-ndjson"),
            ("cache-control", "no-store, no-transform"),
            ("x-accel-buffering", "no"),
        ] {
            assert_eq!(lines.opened.header(name), Some(value), "{name}");
        }
        position(&lines.opened);
        let first = lines.line().await.unwrap();
        assert!(first.starts_with(r#"{"type":"HELLO","protocol":1,"cluster":""#), "{first}");
        let hello: Value = serde_json::from_str(&first).unwrap();
        let members = [
            "at",
            "cluster",
            "epoch",
            "node",
            "path",
            "pingMs",
            "protocol",
            "reason",
            "requires",
            "resume",
            "scope",
            "seq",
            "timestamp",
            "type",
        ];
        assert_eq!(fields(&hello), members.into());
        assert_eq!((&hello["epoch"], &hello["seq"]), (&json!(at.epoch), &json!(at.seq)));
        assert_eq!((&hello["node"], &hello["cluster"]), (&json!("writer"), &status["cluster"]));
        assert_eq!(hello["path"], json!([status["instance"]]));
        assert_eq!((&hello["resume"], &hello["reason"]), (&json!("baseline"), &json!("new")));
        assert_eq!((&hello["scope"], &hello["pingMs"], &hello["requires"]), (&json!("*"), &json!(500), &json!([])));
        assert!(hello["at"].is_u64() && hello["timestamp"].is_u64());

        let begin = lines.line().await.unwrap();
        assert_eq!(begin, format!(r#"{{"type":"BASELINE_BEGIN","collection":"flags","created":{created}}}"#));
        for (key, seq, value) in [("a", at.seq, r#"{"on":true}"#), ("b", b.seq, "1.50")] {
            let line = lines.line().await.unwrap();
            let start =
                format!(r#"{{"type":"SET","collection":"flags","seq":{seq},"key":"{key}","version":1,"timestamp":"#);
            assert!(line.starts_with(&start) && line.ends_with(&format!(",\"value\":{value}}}")), "{line}");
        }
        let end = lines.command().await;
        assert_eq!((&end["type"], &end["keys"]), (&json!("BASELINE_END"), &json!(2)));
        assert_eq!(end["digest"], status["collections"]["flags"]["digest"]);
        let ready = lines.command().await;
        assert_eq!(
            (&ready["type"], &ready["seq"], &ready["collections"]),
            (&json!("READY"), &json!(at.seq), &json!(1))
        );
        assert_eq!(ready["epochs"], json!([{"epoch": at.epoch, "first": 1}]));
        let ping = lines.command().await;
        assert_eq!((&ping["type"], &ping["seq"]), (&json!("PING"), &json!(at.seq)));
        assert_eq!(ping["digest"], ready["digest"]);
        assert!(ping["at"].as_u64() >= hello["at"].as_u64());
    }
}

#[tokio::test]
async fn a_stream_carries_each_write_as_it_is_in_the_log() {
    let writer = Writer::start().await;
    let mut lines = Lines::open(&writer.client, r#"{"scope":"**"}"#).await.unwrap();
    let ready = lines.until("READY").await;
    let hello = &ready[0];
    assert_eq!(hello["scope"], json!("**"));
    assert!(types(&ready).contains(&"BASELINE_BEGIN"));
    let start = position(&writer.client.get("/v1/collections").await).seq;
    writer.write("k", r#"{ "b" : 1.0, "a":"\u00e9" }"#).await;
    writer.write("k", "2").await;
    writer.client.delete("flags", "k").await;
    writer.client.create("prices").await;
    call(&writer.client, "DELETE", "/v1/collections/prices", &[], "").await;
    let expected = [
        format!(
            r#"{{"type":"SET","collection":"flags","seq":{},"prev":{start},"key":"k","version":1,"timestamp":T,"value":{{"b":1.0,"a":"\u00e9"}}}}"#,
            start + 1
        ),
        format!(
            r#"{{"type":"SET","collection":"flags","seq":{},"prev":{},"key":"k","version":2,"timestamp":T,"value":2}}"#,
            start + 2,
            start + 1
        ),
        format!(
            r#"{{"type":"DELETE","collection":"flags","seq":{},"prev":{},"key":"k","version":3,"timestamp":T}}"#,
            start + 3,
            start + 2
        ),
        format!(r#"{{"type":"CREATE","collection":"prices","seq":{},"timestamp":T}}"#, start + 4),
        format!(r#"{{"type":"DROP","collection":"prices","seq":{},"prev":{},"timestamp":T}}"#, start + 5, start + 4),
    ];
    for expected in expected {
        let line = loop {
            let line = lines.line().await.unwrap();
            if !line.starts_with(r#"{"type":"PING""#) {
                break line;
            }
        };
        let timestamp = serde_json::from_str::<Value>(&line).unwrap()["timestamp"].clone();
        assert_eq!(line, expected.replace(":T", &format!(":{timestamp}")));
    }
}

#[tokio::test]
async fn pings_come_at_the_pace_that_hello_names() {
    let writer = Writer::start_with(&[("--ping-ms", "50")]).await;
    let mut lines = Lines::open(&writer.client, "").await.unwrap();
    assert_eq!(lines.command().await["pingMs"], json!(50));
    lines.until("READY").await;
    let mut at = 0;
    for _ in 0..4 {
        let ping = lines.command().await;
        assert_eq!(ping["type"], json!("PING"));
        assert!(ping["at"].as_u64().unwrap() > at);
        at = ping["at"].as_u64().unwrap();
    }
}

#[tokio::test]
async fn a_cursor_on_this_history_goes_on_without_a_baseline() {
    let writer = Writer::start().await;
    let at = writer.write("a", "1").await;
    let next = writer.write("a", "2").await;
    for (cursor_scope, scope) in
        [("\"*\"", "\"*\""), ("\"**\"", "\"**\""), (r#"{"flags":["a","ab"]}"#, r#"{"flags":["a"]}"#)]
    {
        let mut lines = resume(&writer.node, at, cursor_scope, scope).await;
        let hello = lines.command().await;
        assert_eq!((&hello["resume"], hello.get("reason")), (&json!("tail"), None), "{hello}");
        let line = lines.command().await;
        assert_eq!((&line["type"], &line["seq"], &line["prev"]), (&json!("SET"), &json!(next.seq), &json!(at.seq)));
        assert_eq!(lines.command().await["type"], json!("PING"));
        // From the head there is nothing to send but that.
        let mut lines = resume(&writer.node, next, cursor_scope, scope).await;
        assert_eq!(lines.command().await["resume"], json!("tail"));
        let ping = lines.command().await;
        assert_eq!((&ping["type"], &ping["seq"]), (&json!("PING"), &json!(next.seq)));
        assert_eq!(ping.get("lines").is_some(), cursor_scope.starts_with('{'), "{ping}");
        assert_eq!(ping.get("digest").is_some(), !cursor_scope.starts_with('{'), "{ping}");
    }
}

#[tokio::test]
async fn another_cursor_gets_a_baseline_with_the_reason_or_is_sent_elsewhere() {
    let mut writer = Writer::start().await;
    let first = writer.write("a", "1").await;
    writer.node.stop().await;
    writer.node.start_again().await;
    let at = writer.write("a", "2").await;
    for (cursor, cursor_scope, scope, reason) in [
        (at, "\"*\"", r#"{"flags":[""]}"#, "scope_changed"),
        (at, r#"{"flags":["a"]}"#, r#"{"flags":["a","b"]}"#, "scope_changed"),
        (Position { seq: at.seq + 1, ..at }, "\"*\"", "\"*\"", "not_on_history"),
        (Position { epoch: first.epoch, seq: first.seq + 1 }, "\"*\"", "\"*\"", "not_on_history"),
        (Position { epoch: first.epoch - 1, seq: 1 }, "\"*\"", "\"*\"", "not_on_history"),
    ] {
        let mut lines = resume(&writer.node, cursor, cursor_scope, scope).await;
        let hello = lines.command().await;
        assert_eq!((&hello["resume"], &hello["reason"]), (&json!("baseline"), &json!(reason)), "{cursor} {scope}");
        let ready = lines.until("READY").await.pop().unwrap();
        assert_eq!(ready["seq"], json!(at.seq));
    }
    // The first epoch's last command, and one before, are on this history.
    for cursor in [first, Position { seq: first.seq - 1, ..first }] {
        let mut lines = resume(&writer.node, cursor, "\"*\"", "\"*\"").await;
        assert_eq!(lines.command().await["resume"], json!("tail"), "{cursor}");
        let epoch = lines.until("EPOCH").await.pop().unwrap();
        assert_eq!((&epoch["seq"], &epoch["epoch"]), (&json!(first.seq + 1), &json!(at.epoch)));
    }
    // An epoch that this node does not know: another one is ahead of it.
    let mut lines = resume(&writer.node, Position { epoch: at.epoch + 1, seq: 1 }, "\"*\"", "\"*\"").await;
    assert_eq!(lines.command().await["resume"], json!("none"));
    let end = lines.command().await;
    assert_eq!((&end["type"], &end["reason"], &end["detail"]), (&json!("END"), &json!("elsewhere"), &json!("behind")));
    assert_eq!(lines.line().await, None);
}

#[tokio::test]
async fn a_replica_sends_away_who_is_ahead_of_it_or_asks_for_more_than_it_holds() {
    let writer = Writer::start().await;
    let at = writer.write("a", "1").await;
    let builder = NodeBuilder::replica("narrow", writer.directory.path(), writer.url());
    let narrow = builder.option("--scope", r#"{"flags":[""]}"#).start().await;
    narrow.ready().await;
    let own = r#"{"flags":[""]}"#;
    let mut lines = resume(&narrow, Position { seq: at.seq + 1, ..at }, own, own).await;
    assert_eq!(lines.command().await["resume"], json!("none"));
    assert_eq!(lines.command().await["detail"], json!("behind"));
    for scope in ["\"*\"", "\"**\"", r#"{"flags":[""],"prices":[""]}"#] {
        let mut lines = Lines::open(&narrow.client(), &format!("{{\"scope\":{scope}}}")).await.unwrap();
        assert_eq!(lines.command().await["resume"], json!("none"), "{scope}");
        let end = lines.command().await;
        assert_eq!((&end["type"], &end["reason"]), (&json!("END"), &json!("elsewhere")));
        assert_eq!(lines.line().await, None);
    }
    let mut lines = Lines::open(&narrow.client(), &format!("{{\"scope\":{own}}}")).await.unwrap();
    let hello = lines.command().await;
    assert_eq!(hello["path"].as_array().map(Vec::len), Some(2), "{hello}");
    assert_eq!(hello["path"][0], writer.client.status().await["instance"]);
    lines.until("READY").await;
}

#[tokio::test]
async fn a_narrowed_stream_carries_its_part_only() {
    let writer = Writer::start().await;
    writer.client.create("prices").await;
    writer.write("in:1", "1").await;
    writer.write("out:1", "1").await;
    let mut lines = Lines::open(&writer.client, r#"{"scope":{"flags":["in:"]}}"#).await.unwrap();
    let baseline = lines.until("READY").await;
    assert_eq!(types(&baseline), ["HELLO", "BASELINE_BEGIN", "SET", "BASELINE_END", "READY"]);
    assert_eq!((&baseline[2]["key"], &baseline[3]["keys"]), (&json!("in:1"), &json!(1)));
    writer.write("out:2", "1").await;
    writer.client.set("prices", "in:2", "1").await;
    writer.client.create("other").await;
    let last = writer.write("in:2", "1").await;
    let mut keys = Vec::new();
    loop {
        let line = lines.command().await;
        match line["type"].as_str().unwrap() {
            "PING" => assert!(line.get("lines").is_some() && line.get("digest").is_none(), "{line}"),
            "SET" => keys.push(line["key"].as_str().unwrap().to_owned()),
            other => panic!("{other}"),
        }
        if line["type"] == "SET" && line["seq"] == json!(last.seq) {
            break;
        }
    }
    assert_eq!(keys, ["in:2"]);
}

#[tokio::test]
async fn more_children_than_allowed_are_asked_to_come_back() {
    let writer = Writer::start_with(&[("--children-max", "1")]).await;
    let mut lines = Lines::open(&writer.client, "").await.unwrap();
    lines.until("READY").await;
    let refusal = Lines::open(&writer.client, "").await.unwrap_err();
    refused(&refusal, Code::Overloaded, &["children"]);
    assert_eq!(lines.command().await["type"], json!("PING"), "the first is not disturbed");
}

#[tokio::test]
async fn more_baselines_than_allowed_are_asked_to_come_back() {
    let writer = Writer::start_with(&[("--wal", "memory:"), ("--baselines-max", "1"), ("--ping-ms", "5000")]).await;
    // More than the system's buffers take of a connection that nobody reads.
    let value = format!("\"{}\"", "v".repeat((1 << 20) - 2));
    for key in 0..24 {
        writer.write(&key.to_string(), &value).await;
    }
    let mut slow = Lines::open(&writer.client, "").await.unwrap();
    refused(&Lines::open(&writer.client, "").await.unwrap_err(), Code::Overloaded, &["baselines"]);
    // Who needs none is not concerned.
    let at = position(&writer.client.get("/v1/collections").await);
    let mut tail = resume(&writer.node, at, "\"*\"", "\"*\"").await;
    assert_eq!(tail.command().await["resume"], json!("tail"));
    slow.until("READY").await;
    Lines::open(&writer.client, "").await.expect("there is a place again").until("READY").await;
}

#[tokio::test]
async fn the_same_instance_supersedes_itself() {
    let writer = Writer::start().await;
    let body = r#"{"instance":"00112233445566778899aabbccddeeff"}"#;
    let mut older = Lines::open(&writer.client, body).await.unwrap();
    older.until("READY").await;
    let mut newer = Lines::open(&writer.client, body).await.unwrap();
    newer.until("READY").await;
    let end = older.until("END").await.pop().unwrap();
    assert_eq!(end["reason"], json!("superseded"));
    assert_eq!(older.line().await, None);
    assert_eq!(newer.command().await["type"], json!("PING"));
    // Equal labels are nobody's business.
    let mut one = Lines::open(&writer.client, r#"{"node":"pod"}"#).await.unwrap();
    let mut other = Lines::open(&writer.client, r#"{"node":"pod"}"#).await.unwrap();
    for lines in [&mut one, &mut other] {
        lines.until("PING").await;
    }
    assert_eq!(one.command().await["type"], json!("PING"));
}

#[tokio::test]
async fn a_shutdown_ends_every_stream_with_end() {
    let mut writer = Writer::start().await;
    let replica = writer.replica(&[]).await;
    let mut streams = Vec::new();
    for body in ["", r#"{"scope":{"flags":["a"]}}"#] {
        let mut lines = Lines::open(&writer.client, body).await.unwrap();
        lines.until("READY").await;
        streams.push(lines);
    }
    let stopped = writer.node.stop().await;
    assert!(
        matches!(stopped, Some(headwater_local::program::Stopped::Ended(status)) if status.success()),
        "{stopped:?}"
    );
    for lines in &mut streams {
        let end = lines.until("END").await.pop().unwrap();
        assert_eq!((&end["reason"], &end["detail"]), (&json!("retry"), &json!("shutdown")));
        assert!(end["retryMs"].is_u64());
        assert_eq!(end["parents"], json!([]));
        assert_eq!(lines.line().await, None);
    }
    drop(replica);
}
