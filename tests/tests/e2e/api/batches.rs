//! `POST /v1/collections/{collection}/batch`: all of it or nothing, one line, one answer, and every refusal with the op
//! that is to blame.

use super::{Writer, answered, call, position, refused};
use headwater_core::api::Code;
use headwater_tests::{Client, Lines, NodeBuilder, Reply, converge, raw, state_of};
use reqwest::Method;
use serde_json::json;

const PATH: &str = "/v1/collections/flags/batch";

async fn batch(writer: &Writer, ops: &str) -> Reply {
    writer.client.batch("flags", ops).await
}

fn set(key: &str, value: &str) -> String {
    format!("{{\"op\":\"set\",\"key\":\"{key}\",\"value\":{value}}}")
}

/// Asserts a refusal for which the op at `index` is to blame.
fn refused_at(reply: &Reply, index: usize, code: Code, words: &[&str]) {
    refused(reply, code, words);
    assert_eq!(reply.json()["index"], json!(index), "{}", reply.text());
    assert!(
        reply.json()["message"].as_str().expect("checked above").contains(&format!("command {index}")),
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn a_batch_is_one_line_of_the_log_with_one_seq_for_all_its_entries() {
    let mut writer = Writer::start().await;
    writer.write("b", "1").await;
    let before = writer.write("c", "1").await;
    let ops = r#" {"op":"set","key":"b","value": {"x": 1.50} }, {"op":"delete","key":"c"},
        {"key":"\u00e9","value":"\u00e9","op":"set","unknown":true}"#;
    let reply = batch(&writer, ops).await;
    let seq = before.seq + 1;
    answered(
        &reply,
        &format!(r#"{{"ok":true,"seq":{seq},"results":[{{"version":2}},{{"version":2}},{{"version":1}}]}}"#),
    );
    assert_eq!((position(&reply).epoch, position(&reply).seq), (before.epoch, seq));
    let entry = writer.client.entry("flags", "b").await;
    assert!(entry.text().starts_with(&format!(r#"{{"key":"b","value":{{"x":1.50}},"version":2,"seq":{seq},"#)));
    assert_eq!(writer.client.entry("flags", "c").await.status, 404);
    assert!(writer.client.entry("flags", "é").await.text().contains(r#""value":"\u00e9""#));

    let cursor = json!({"cursor": {"epoch": before.epoch, "seq": before.seq, "scope": "*"}});
    let mut lines = Lines::open(&writer.client, &cursor.to_string()).await.unwrap();
    let line = lines.until("BATCH").await.pop().unwrap();
    let timestamp = &line["timestamp"];
    let commands = r#""commands":[{"op":"set","key":"b","version":2,"value":{"x":1.50}},{"op":"delete","key":"c","version":2},{"op":"set","key":"é","version":1,"value":"\u00e9"}]"#;
    let expected = format!(
        r#"{{"type":"BATCH","collection":"flags","seq":{seq},"prev":{},"timestamp":{timestamp},{commands}}}"#,
        before.seq
    );
    assert_eq!(line, serde_json::from_str::<serde_json::Value>(&expected).unwrap());

    // Found again in the log, after an end in order and after a kill.
    let state = state_of(&writer.client).await.unwrap().collections;
    writer.node.stop().await;
    writer.node.start_again().await;
    assert_eq!(state_of(&writer.client).await.unwrap().collections, state);
    assert_eq!(batch(&writer, &set("b", "3")).await.json()["results"], json!([{"version": 3}]));
    let state = state_of(&writer.client).await.unwrap().collections;
    writer.node.kill().await;
    writer.node.start_again().await;
    assert_eq!(state_of(&writer.client).await.unwrap().collections, state);
}

#[tokio::test]
async fn the_first_op_that_fails_decides_and_nothing_is_written() {
    let writer = Writer::start().await;
    writer.write("a", "1").await;
    let before = state_of(&writer.client).await.unwrap();
    let tag = writer.client.entry("flags", "a").await.header("etag").unwrap().to_owned();
    let good = set("new", "1");
    let missing = r#"{"op":"delete","key":"none"}"#;
    let (stale, absent) = (
        r#"{"op":"set","key":"a","value":2,"ifMatch":"\"1-1\""}"#,
        r#"{"op":"set","key":"a","value":2,"ifAbsent":true}"#,
    );
    refused_at(&batch(&writer, &format!("{good},{missing},{absent}")).await, 1, Code::NotFound, &["none"]);
    for guarded in [stale, absent] {
        let reply = batch(&writer, &format!("{good},{guarded},{missing}")).await;
        refused_at(&reply, 1, Code::PreconditionFailed, &[&tag]);
        assert_eq!((reply.json()["version"].clone(), reply.json()["etag"].as_str()), (json!(1), Some(&*tag)));
        assert_eq!(reply.header("etag"), Some(&*tag));
    }
    let gone = r#"{"op":"delete","key":"none","ifMatch":"*"}"#;
    refused_at(&batch(&writer, &format!("{good},{gone}")).await, 1, Code::PreconditionFailed, &[]);
    let twice = format!("{good},{},{}", set("b", "1"), set("new", "2"));
    refused_at(&batch(&writer, &twice).await, 2, Code::InvalidJson, &["\"new\"", "once"]);
    refused_at(&batch(&writer, &format!("{good},{}", set("", "1"))).await, 1, Code::InvalidKey, &["empty"]);
    let long = "k".repeat(1025);
    refused_at(&batch(&writer, &format!("{good},{}", set(&long, "1"))).await, 1, Code::TooLarge, &["1025", "1024"]);
    refused(&batch(&writer, "").await, Code::InvalidJson, &["at least one"]);
    refused(&writer.client.batch("missing", &good).await, Code::MissingCollection, &["missing"]);
    refused(&writer.client.batch("_keys", &good).await, Code::Forbidden, &["_keys"]);
    assert_eq!(state_of(&writer.client).await.unwrap(), before);
    // The same without the op that failed.
    assert_eq!(batch(&writer, &good).await.status, 200);
    let held = format!(r#"{},{{"op":"delete","key":"a","ifMatch":{}}}"#, set("new", "2"), json!(tag));
    assert_eq!(batch(&writer, &held).await.json()["results"], json!([{"version": 2}, {"version": 2}]));
}

#[tokio::test]
async fn a_body_that_is_no_batch_is_refused() {
    let writer = Writer::start().await;
    let before = writer.client.position().await;
    for body in [
        "",
        "[]",
        "{}",
        r#"{"ops":{}}"#,
        r#"{"ops":[1]}"#,
        r#"{"ops":[],"ops":[]}"#,
        r#"{"ops":[{"op":"set","key":"a","value":1}]"#,
        "\u{feff}{\"ops\":[]}",
    ] {
        refused(&call(&writer.client, "POST", PATH, &[], body).await, Code::InvalidJson, &[]);
    }
    let deep = |depth: usize| [&*"[".repeat(depth), &"]".repeat(depth)].concat();
    for (value, words) in
        [("1e400", "number"), (r#"{"a":1,"\u0061":2}"#, "key"), (r#""\ud800""#, "surrogate"), (&deep(129), "128")]
    {
        refused(&batch(&writer, &set("a", value)).await, Code::InvalidJson, &[words]);
    }
    for (op, words) in [
        (r#"{"op":"put","key":"a","value":1}"#, "\"op\""),
        (r#"{"op":"set","value":1}"#, "\"key\""),
        (r#"{"op":"set","key":"a"}"#, "\"value\""),
        (r#"{"op":"delete","key":"a","ifMatch":"1-1"}"#, "\"ifMatch\""),
        (r#"{"op":"set","key":"a","value":1,"ifAbsent":"yes"}"#, "\"ifAbsent\""),
    ] {
        refused_at(&batch(&writer, &format!("{},{op}", set("b", "1"))).await, 1, Code::InvalidJson, &[words]);
    }
    for header in ["if-match", "if-none-match"] {
        let body = format!("{{\"ops\":[{}]}}", set("a", "1"));
        refused(&call(&writer.client, "POST", PATH, &[(header, "*")], &body).await, Code::InvalidRequest, &[header]);
    }
    let anyone = Client::with_pair(writer.url(), Some(("dev", "wrong")));
    refused(&anyone.batch("flags", &set("a", "1")).await, Code::Forbidden, &[]);
    assert_eq!(writer.client.position().await, before);
    assert_eq!(batch(&writer, &set("a", &deep(128))).await.status, 200);
}

#[tokio::test]
async fn a_batch_has_as_many_ops_and_bytes_as_the_limits_say_and_no_more() {
    let writer = Writer::start().await;
    let ops = |count: usize| (0..count).map(|at| set(&format!("key-{at}"), "1")).collect::<Vec<_>>().join(",");
    assert_eq!(batch(&writer, &ops(1_000)).await.json()["results"].as_array().unwrap().len(), 1_000);
    let before = writer.client.position().await;
    refused(&batch(&writer, &ops(1_001)).await, Code::TooLarge, &["1001 commands", "1000"]);
    // Values at their limit, together over that of a batch.
    let value = format!("\"{}\"", "x".repeat((1 << 20) - 2));
    let long: Vec<_> = (0..8).map(|at| set(&format!("long-{at}"), &value)).collect();
    refused(&batch(&writer, &long.join(",")).await, Code::TooLarge, &["encoded batch", &(8 << 20).to_string()]);
    refused(&batch(&writer, &set("a", &value.replacen('x', "xx", 1))).await, Code::TooLarge, &["1048577", "1048576"]);
    let spaced = format!("{}{}", " ".repeat(9 << 20), set("a", "1"));
    refused(&batch(&writer, &spaced).await, Code::TooLarge, &["body", "limit"]);
    assert_eq!(writer.client.position().await, before);
    assert_eq!(batch(&writer, &long[..7].join(",")).await.status, 200);

    let few = Writer::start_with(&[("--batch-commands-max", "2"), ("--batch-bytes-max", "400")]).await;
    assert_eq!(batch(&few, &ops(2)).await.status, 200);
    let before = few.client.position().await;
    refused(&batch(&few, &ops(3)).await, Code::TooLarge, &["3 commands", "2"]);
    refused(&batch(&few, &set("a", &format!("\"{}\"", "x".repeat(400)))).await, Code::TooLarge, &["400"]);
    assert_eq!(few.client.position().await, before);
}

#[tokio::test]
async fn through_replicas_a_batch_is_answered_as_by_the_writer() {
    let writer = Writer::start().await;
    let near = writer.replica(&[]).await;
    let far = NodeBuilder::replica("far", writer.directory.path(), &near.url).start().await;
    far.ready().await;
    let client = far.client();
    let reply = client.batch("flags", &format!("{},{}", set("a", "1"), set("b", "2"))).await;
    let seq = position(&reply).seq;
    assert_eq!(reply.text(), format!(r#"{{"ok":true,"seq":{seq},"results":[{{"version":1}},{{"version":1}}]}}"#));
    assert_eq!(writer.client.position().await, position(&reply).to_string());
    let read = [("headwater-min-position", &*position(&reply).to_string())];
    assert_eq!(call(&client, "GET", &Client::entry_path("flags", "b"), &read, "").await.json()["value"], json!(2));
    let none = r#"{"op":"delete","key":"none"}"#;
    refused_at(&client.batch("flags", &format!("{},{none}", set("a", "2"))).await, 1, Code::NotFound, &[]);
    let held = r#"{"op":"set","key":"b","value":1,"ifAbsent":true}"#;
    refused_at(&client.batch("flags", held).await, 0, Code::PreconditionFailed, &[]);
    refused_at(&client.batch("flags", r#"{"op":"x"}"#).await, 0, Code::InvalidJson, &[]);
    refused(&client.batch("_keys", &set("a", "1")).await, Code::Forbidden, &[]);
    refused(&client.batch("missing", &set("a", "1")).await, Code::MissingCollection, &[]);
    let path = "/v1/collections/fl%61gs/batch";
    let body = format!("{{\"ops\":[{}]}}", set("a", "3"));
    assert_eq!(raw::ask(&far.url, "POST", path, &[], body.as_bytes()).await.status, 200);
    converge(&writer.client, &client).await;
}

#[tokio::test]
async fn a_replica_of_some_prefixes_gets_the_ops_within_and_no_others() {
    let writer = Writer::start().await;
    let mut narrow = writer.replica(&[("--scope", r#"{"flags":["in:"]}"#)]).await;
    let ops = format!("{},{},{}", set("in:a", "1"), set("out", "1"), set("in:b", "[2]"));
    let reply = batch(&writer, &ops).await;
    // All of it lies outside: it moves the position and nothing else.
    let outside = batch(&writer, &format!("{},{{\"op\":\"delete\",\"key\":\"out\"}}", set("out:b", "1"))).await;
    assert_eq!((reply.status, outside.status), (200, 200));
    let list = "/v1/collections/flags/keys?prefix=in:";
    let read = [("headwater-min-position", &*position(&outside).to_string())];
    let held = call(&narrow.client(), "GET", list, &read, "").await;
    assert_eq!(held.text(), writer.client.get(list).await.text());
    let status = narrow.client().status().await;
    assert_eq!(status["collections"]["flags"]["keys"], json!(2), "{status}");
    for count in ["gaps", "divergences"] {
        assert_eq!(status["replication"][count], json!(0), "{status}");
    }

    let cursor = json!({"epoch": position(&reply).epoch, "seq": position(&reply).seq - 1, "scope": {"flags": ["in:"]}});
    let asked = json!({"cursor": cursor, "scope": {"flags": ["in:"]}}).to_string();
    let mut lines = Lines::open(&writer.client, &asked).await.unwrap();
    let line = lines.until("BATCH").await.pop().unwrap();
    let within = json!([
        {"op": "set", "key": "in:a", "version": 1, "value": 1}, {"op": "set", "key": "in:b", "version": 1, "value": [2]}
    ]);
    assert_eq!(line["commands"], within);
    let next = batch(&writer, &set("in:a", "2")).await;
    let line = lines.until("BATCH").await.pop().unwrap();
    assert_eq!(line["seq"].as_u64(), Some(position(&next).seq), "the one outside was not sent");

    narrow.kill().await;
    assert_eq!(batch(&writer, &format!("{},{}", set("in:c", "1"), set("out:c", "1"))).await.status, 200);
    narrow.start_again().await;
    let at = writer.client.position().await;
    let held = call(&narrow.client(), "GET", list, &[("headwater-min-position", &at)], "").await;
    assert_eq!(held.text(), writer.client.get(list).await.text());
    let of_writer = writer.client.call(Method::GET, list, "").await;
    assert_eq!(of_writer.json().as_array().unwrap().len(), 3);
}
