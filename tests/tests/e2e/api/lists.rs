//! Lists: order, parts, pages, lines, tags, and that each is exact as of one position.

use super::{Writer, call, position, refused};
use headwater_core::api::{Code, encode};
use headwater_tests::{Client, Reply};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const PATH: &str = "/v1/collections/flags/keys";

/// Keys whose order as bytes of UTF-8 is not the one of UTF-16 units, nor of any language.
const KEYS: [&str; 16] =
    ["a", "B", "Z", "aa", "a/b", "a:1", "a:2", "a:10", "é", "z", "\u{ff5e}", "\u{1f600}", "\0", "a\0", "~", "\u{7f}"];

fn query(parameters: &[(&str, &str)]) -> String {
    let mut path = format!("{PATH}?");
    for (name, value) in parameters {
        path.push_str(&format!("{name}="));
        encode(value, &mut path);
        path.push('&');
    }
    path.pop();
    path
}

fn keys_of(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let entries = reply.json();
    let key = |entry: &serde_json::Value| entry["key"].as_str().expect("an entry has a key").to_owned();
    entries.as_array().expect("a list").iter().map(key).collect()
}

async fn filled() -> (Writer, Vec<&'static str>) {
    let writer = Writer::start().await;
    for (index, key) in KEYS.into_iter().enumerate() {
        writer.write(key, &format!("{{\"index\":{index}}}")).await;
    }
    let mut sorted = KEYS.to_vec();
    sorted.sort_unstable();
    (writer, sorted)
}

#[tokio::test]
async fn keys_come_in_the_order_of_their_bytes() {
    let (writer, sorted) = filled().await;
    let list = writer.client.get(PATH).await;
    assert_eq!(keys_of(&list), sorted);
    assert!(sorted.iter().position(|key| *key == "\u{ff5e}") < sorted.iter().position(|key| *key == "\u{1f600}"));
    assert_eq!(
        (list.header("content-type"), list.header("cache-control")),
        (Some("application/json"), Some("no-store"))
    );
    assert_eq!(list.header("link"), None);
    // Each is the very text a read of the entry gives.
    let mut entries = Vec::new();
    for key in &sorted {
        entries.push(writer.client.entry("flags", key).await.text().to_owned());
    }
    assert_eq!(list.text(), format!("[{}]", entries.join(",")));
    let lines = call(&writer.client, "GET", PATH, &[("accept", "application/x-ndjson")], "").await;
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(lines.text(), entries.join("\n") + "\n");
    assert_eq!(lines.header("etag"), list.header("etag"));
    for accept in ["*/*", "application/json", "text/html, application/x-ndjson;q=0.9"] {
        let reply = call(&writer.client, "GET", PATH, &[("accept", accept)], "").await;
        let kind = if accept.contains("x-ndjson") { "application/x-ndjson" } else { "application/json" };
        assert_eq!(reply.header("content-type"), Some(kind), "{accept}");
    }
}

#[tokio::test]
async fn a_list_without_entries_is_empty_in_either_form() {
    let writer = Writer::start().await;
    assert_eq!(writer.client.get(PATH).await.text(), "[]");
    let lines = call(&writer.client, "GET", PATH, &[("accept", "application/x-ndjson")], "").await;
    assert_eq!((lines.status, lines.text()), (200, ""));
    assert_eq!(writer.client.get(&query(&[("limit", "5")])).await.text(), "[]");
    refused(&writer.client.get("/v1/collections/none/keys").await, Code::MissingCollection, &["none"]);
}

#[tokio::test]
async fn prefix_after_and_limit_take_the_part_they_name() {
    let (writer, sorted) = filled().await;
    let expected = |prefix: &str, after: Option<&str>, limit: usize| -> Vec<&str> {
        let behind = |key: &&&str| after.is_none_or(|after| **key > after);
        sorted.iter().filter(|key| key.starts_with(prefix)).filter(behind).take(limit).copied().collect()
    };
    for prefix in ["", "a", "a:", "a:1", "é", "\u{1f600}", "\0", "none", "~~"] {
        assert_eq!(keys_of(&writer.client.get(&query(&[("prefix", prefix)])).await), expected(prefix, None, 99));
        for after in ["", "a", "a:1", "A", "a\0", "zz", "\u{1f600}", "\u{1f601}"] {
            let (all, from) = (expected(prefix, Some(after), 99), [("prefix", prefix), ("after", after)]);
            assert_eq!(keys_of(&writer.client.get(&query(&from)).await), all, "{prefix:?} after {after:?}");
            for limit in [1, 2, all.len().max(1), all.len() + 1] {
                let reply = writer.client.get(&query(&[from[0], from[1], ("limit", &limit.to_string())])).await;
                assert_eq!(keys_of(&reply), expected(prefix, Some(after), limit));
                assert_eq!(reply.header("link").is_some(), all.len() > limit, "{prefix:?} {after:?} {limit}");
            }
        }
    }
}

#[tokio::test]
async fn links_lead_to_every_key_once_in_both_forms() {
    let (writer, sorted) = filled().await;
    for (limit, prefix) in [(1, ""), (3, ""), (7, ""), (16, ""), (2, "a")] {
        for accept in ["application/json", "application/x-ndjson"] {
            let mut path = query(&[("prefix", prefix), ("limit", &limit.to_string())]);
            let mut seen = Vec::new();
            loop {
                let reply = call(&writer.client, "GET", &path, &[("accept", accept)], "").await;
                let page = if accept == "application/json" {
                    keys_of(&reply)
                } else {
                    let key = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["key"].clone();
                    reply.text().lines().map(key).map(|key| key.as_str().unwrap().to_owned()).collect()
                };
                assert!(page.len() <= limit);
                seen.extend(page);
                let Some(link) = reply.header("link") else { break };
                assert!(seen.len() < 100, "the chain does not end");
                let target = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
                path = target.unwrap_or_else(|| panic!("{link}")).to_owned();
            }
            let expected: Vec<_> = sorted.iter().filter(|key| key.starts_with(prefix)).collect();
            assert_eq!(seen.iter().collect::<Vec<_>>(), expected, "{limit} {prefix:?} {accept}");
        }
    }
}

#[tokio::test]
async fn the_tag_of_a_list_changes_with_every_write_and_with_nothing_else() {
    let writer = Writer::start().await;
    writer.client.create("prices").await;
    let tag = async || writer.client.get(PATH).await.header("etag").expect("a list has a tag").to_owned();
    let mut seen = BTreeSet::from([tag().await]);
    for value in ["1", "2", "2"] {
        writer.write("a", value).await;
        assert!(seen.insert(tag().await), "another write, another tag");
    }
    writer.client.delete("flags", "a").await;
    // Empty again: the digest of nothing, as at first.
    assert!(!seen.insert(tag().await));
    writer.write("b", "1").await;
    let now = tag().await;
    assert_eq!(writer.client.set("prices", "b", "1").await.status, 200);
    assert_eq!(tag().await, now);
    assert_eq!(writer.client.get(&query(&[("limit", "1"), ("prefix", "b")])).await.header("etag"), Some(&*now));

    for header in [&*now, "*", &format!("\"x\", {now}")] {
        let reply = call(&writer.client, "GET", PATH, &[("if-none-match", header)], "").await;
        assert_eq!((reply.status, reply.body.len(), reply.header("etag")), (304, 0, Some(&*now)));
        position(&reply);
    }
    let reply = call(&writer.client, "GET", PATH, &[("if-none-match", "\"x\"")], "").await;
    assert_eq!(reply.status, 200);
    let digest = writer.client.status().await["collections"]["flags"]["digest"].as_str().unwrap().to_owned();
    assert!(digest.contains(now.trim_matches('"')), "{digest} {now}");
}

#[tokio::test]
async fn a_list_is_exact_as_of_its_position_while_writes_go_on() {
    const KEYS: usize = 300;
    let writer = Writer::start_with(&[("--wal", "memory:")]).await;
    let key = |index: usize| format!("key-{:04}", index % KEYS);
    let done = Arc::new(AtomicBool::new(false));
    let (client, stop) = (writer.client.clone(), Arc::clone(&done));
    // What each seq did, as acknowledged: SETs, and now and then a DELETE.
    let writes = tokio::spawn(async move {
        let mut acknowledged: BTreeMap<u64, (String, Option<usize>)> = BTreeMap::new();
        for index in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let gone = index >= KEYS && index % 7 == 3;
            let key = key(index * 31);
            let reply = if gone {
                client.delete("flags", &key).await
            } else {
                client.set("flags", &key, &index.to_string()).await
            };
            if reply.status == 200 {
                acknowledged.insert(reply.json()["seq"].as_u64().unwrap(), (key, (!gone).then_some(index)));
            } else {
                assert_eq!((gone, reply.status), (true, 404), "{}", reply.text());
            }
        }
        acknowledged
    });
    let mut lists = Vec::new();
    let mut positions = BTreeSet::new();
    while lists.len() < 60 || positions.len() < 6 {
        assert!(lists.len() < 10_000, "no writes between the lists: {positions:?}");
        let accept = if lists.len() % 2 == 0 { "application/json" } else { "application/x-ndjson" };
        let reply = call(&writer.client, "GET", PATH, &[("accept", accept)], "").await;
        let text = if accept == "application/json" {
            reply.text().to_owned()
        } else {
            format!("[{}]", reply.text().trim_end().replace('\n', ","))
        };
        positions.insert(position(&reply).seq);
        lists.push((position(&reply).seq, text));
    }
    done.store(true, Ordering::Relaxed);
    let acknowledged = writes.await.unwrap();
    for (seq, text) in lists {
        let mut expected = BTreeMap::new();
        for (at, (key, value)) in acknowledged.range(..=seq) {
            match value {
                Some(value) => expected.insert(key.clone(), (*at, *value)),
                None => expected.remove(key),
            };
        }
        let listed: serde_json::Value = serde_json::from_str(&text).unwrap();
        let entry = |e: &serde_json::Value| {
            let (seq, value) = (e["seq"].as_u64().unwrap(), e["value"].as_u64().unwrap() as usize);
            (e["key"].as_str().unwrap().to_owned(), (seq, value))
        };
        let listed: Vec<_> = listed.as_array().unwrap().iter().map(entry).collect();
        assert_eq!(listed, expected.into_iter().collect::<Vec<_>>(), "as of {seq}");
    }
}

#[tokio::test]
async fn a_long_list_comes_whole() {
    let writer = Writer::start_with(&[("--wal", "memory:")]).await;
    let value = format!("\"{}\"", "v".repeat(2_000));
    let writes = (0..8).map(|task| {
        let (client, value) = (Client::dev(writer.url()), value.clone());
        tokio::spawn(async move {
            for index in 0..100 {
                assert_eq!(client.set("flags", &format!("{:04}", index * 8 + task), &value).await.status, 200);
            }
        })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap();
    }
    let list = writer.client.get(PATH).await;
    let expected: Vec<_> = (0..800).map(|index| format!("{index:04}")).collect();
    assert_eq!(keys_of(&list), expected);
    let lines = call(&writer.client, "GET", PATH, &[("accept", "application/x-ndjson")], "").await;
    assert_eq!(lines.text().lines().count(), 800);
}
