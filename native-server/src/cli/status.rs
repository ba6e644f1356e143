//! `headwater status`: what a node says of itself, laid out for people.

use super::ago::{ago, span};
use super::client::{Call, Client};
use super::connection::Connection;
use super::failure::Failure;
use super::output::Output;
use super::paint::{Paint, visible};
use super::table::Table;
use crate::clock::wall_ms;
use axum::http::StatusCode;
use clap::Args;
use headwater_core::api::unix_ms;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io::{self, Write};

pub(super) const HELP: &str = "\
Examples:
  headwater status
  headwater status --url http://127.0.0.1:4078 | jq .replication.lagMs

Needs a pair of role admin or node. A lag is how far the node is behind the writer: never less than is true, and never \
shown rounded down.

JSON: what GET /v1/status answers";

/// `headwater status`.
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// The part of the answer that is shown. What another release leaves out is not shown.
#[derive(Deserialize)]
struct Facts<'a> {
    node: String,
    role: String,
    parent: Option<String>,
    #[serde(rename = "uptimeSeconds")]
    uptime_s: u64,
    cluster: Option<String>,
    #[serde(rename = "readOnly", default)]
    read_only: bool,
    #[serde(rename = "deposedBy")]
    deposed_by: Option<u64>,
    #[serde(rename = "deposedByTakeover")]
    deposed_by_takeover: Option<u64>,
    collections: BTreeMap<String, Collection>,
    #[serde(default)]
    children: Vec<Child>,
    storage: Option<Storage>,
    archive: Option<Archive>,
    backup: Option<Backup>,
    audit: Option<Audit>,
    #[serde(borrow)]
    replication: Replication<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Storage {
    log_bytes: u64,
    replay_bytes: u64,
    segments: u64,
    baseline: Option<Baseline>,
    failures: u64,
    trouble: Option<Trouble>,
}

#[derive(Deserialize)]
struct Audit {
    trouble: Option<Trouble>,
}

#[derive(Deserialize)]
struct Trouble {
    message: String,
    since: String,
}

#[derive(Deserialize)]
struct Baseline {
    seq: u64,
    bytes: u64,
    keys: u64,
}

#[derive(Deserialize)]
struct Archive {
    #[serde(default)]
    missing: Vec<Hole>,
    failure: Option<String>,
}

#[derive(Deserialize)]
struct Hole {
    first: u64,
    last: u64,
}

#[derive(Deserialize)]
struct Backup {
    last: Option<LastBackup>,
    failure: Option<String>,
}

#[derive(Deserialize)]
struct LastBackup {
    created: String,
    position: String,
    bytes: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Collection {
    keys: u64,
    last_seq: u64,
    wal_size_bytes: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Child {
    node: String,
    lag_seq: u64,
    in_baseline: bool,
}

#[derive(Deserialize)]
struct Replication<'a> {
    parent_connected: bool,
    complete: bool,
    position: String,
    #[serde(borrow)]
    scope: &'a RawValue,
    #[serde(rename = "lagMs")]
    lag_ms: Option<u64>,
    #[serde(rename = "notFollowing")]
    not_following: Option<NotFollowing>,
    #[serde(rename = "lastOffence")]
    last_offence: Option<Offence>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NotFollowing {
    why: String,
    retry_in_ms: u64,
}

#[derive(Deserialize)]
struct Offence {
    code: String,
    message: String,
}

impl Status {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let reply = client.call(Call::get("/v1/status".into())).await?;
        if !output.human {
            return output.line(reply.body);
        }
        let facts: Facts<'_> = serde_json::from_str(&reply.body).map_err(|_| client.foreign(StatusCode::OK))?;
        for (name, text) in summary(&facts) {
            let name = format!("{name:<10}");
            output.line(format!("{}{}", output.paint.dim(&name), visible(&text)))?;
        }
        tables(&facts, output)
    }
}

/// The lines above the tables: what, and its value.
fn summary(facts: &Facts<'_>) -> Vec<(&'static str, String)> {
    let replication = &facts.replication;
    let mut lines = vec![("node", name_and_part(facts)), ("position", replication.position.clone())];
    if let Some(parent) = &facts.parent {
        let connected = if replication.parent_connected { "connected" } else { "not connected" };
        lines.push(("parent", format!("{parent} ({connected})")));
        let lag = replication.lag_ms.map_or("not known yet".into(), span);
        lines.push(("lag", lag));
        lines.push(("scope", replication.scope.get().into()));
        if let Some(NotFollowing { why, retry_in_ms }) = &replication.not_following {
            lines.push(("trouble", format!("{why}; next try in {}", span(*retry_in_ms))));
        }
        if let Some(Offence { code, message }) = &replication.last_offence {
            lines.push(("trouble", format!("{message} [{code}]")));
        }
    }
    let later = [("epoch", facts.deposed_by), ("takeover", facts.deposed_by_takeover)];
    let later: Vec<_> = later.iter().filter_map(|(what, number)| Some(format!("{what} {}", (*number)?))).collect();
    if !later.is_empty() {
        lines.push(("trouble", format!("deposed: nodes follow a later writer, of {}", later.join(" and "))));
    }
    if let Some(Trouble { message, since }) = facts.audit.as_ref().and_then(|audit| audit.trouble.as_ref()) {
        lines.push(("trouble", format!("{message} ({})", lasting(since))));
    }
    if facts.read_only {
        lines.push(("writes", "refused: started with --read-only".into()));
    }
    lines.extend(facts.storage.iter().flat_map(on_disk));
    if let Some(failure) = facts.archive.as_ref().and_then(|archive| archive.failure.as_ref()) {
        lines.push(("trouble", format!("the log is not archived: {failure}")));
    }
    if let Some(Hole { first, last }) = facts.archive.as_ref().and_then(|archive| archive.missing.last()) {
        lines.push(("trouble", format!("the archive misses the records {first} to {last}: make a backup behind them")));
    }
    if let Some(Backup { last, failure }) = &facts.backup {
        let last = last.as_ref().map(|LastBackup { created, position, bytes }| {
            let when = unix_ms(created).map_or_else(|| created.clone(), |ms| ago(wall_ms(), ms));
            format!("{when}, as of {position}, {bytes} bytes")
        });
        lines.push(("backup", last.unwrap_or_else(|| "none yet".into())));
        lines.extend(failure.as_ref().map(|failure| ("trouble", format!("the backup failed: {failure}"))));
    }
    if !replication.complete {
        lines.push(("state", "incomplete: reads are not answered yet".into()));
    }
    lines.push(("up for", span(facts.uptime_s.saturating_mul(1_000))));
    lines.extend(facts.cluster.clone().map(|cluster| ("cluster", cluster)));
    lines
}

/// What the node has on its disk; nothing where it has none.
fn on_disk(storage: &Storage) -> Vec<(&'static str, String)> {
    let &Storage { log_bytes, replay_bytes, segments, ref baseline, failures, ref trouble } = storage;
    let mut lines = Vec::new();
    if log_bytes > 0 {
        let segments = if segments == 1 { "1 segment".into() } else { format!("{segments} segments") };
        let log = format!("{log_bytes} bytes in {segments}; a start reads {replay_bytes} of them");
        lines.push(("log", log));
    }
    if let Some(Baseline { seq, bytes, keys }) = baseline {
        lines.push(("baseline", format!("{keys} keys as of seq {seq}, {bytes} bytes")));
    }
    match trouble {
        Some(Trouble { message, since }) => {
            lines.push(("trouble", format!("{message} ({})", lasting(since))));
        }
        // It is over, and somebody may want to know why it was.
        None if failures > 0 => {
            let times = if failures == 1 { "once".into() } else { format!("{failures} times") };
            lines.push(("note", format!("work on the disk failed {times} since the start; the node's log says why")));
        }
        None => {}
    }
    lines
}

/// How long something has lasted.
fn lasting(since: &str) -> String {
    match unix_ms(since) {
        Some(ms) => format!("for {}", span(wall_ms().saturating_sub(ms))),
        None => format!("since {since}"),
    }
}

/// The node's label and what it is; one word where the label says it already.
fn name_and_part(facts: &Facts<'_>) -> String {
    let part = if facts.role == "primary" { "writer" } else { &facts.role };
    if facts.node == part { part.into() } else { format!("{} ({part})", facts.node) }
}

fn tables(facts: &Facts<'_>, output: &mut Output) -> Result<(), Failure> {
    let (paint, width) = (output.paint, Output::width());
    if !facts.collections.is_empty() {
        output.line("")?;
        collections(facts, paint, width, output.writer())?;
    }
    if !facts.children.is_empty() {
        output.line("")?;
        let mut table = Table::new(&["CHILD", "BEHIND", ""], &[1], paint, width);
        for child in &facts.children {
            let state = if child.in_baseline { "receiving a baseline" } else { "" };
            table.row([&child.node, &child.lag_seq.to_string(), state], output.writer())?;
        }
        table.finish(output.writer())?;
    }
    Ok(())
}

/// Only the writer owns a log, so a replica has no column for its bytes.
fn collections(facts: &Facts<'_>, paint: Paint, width: usize, out: &mut impl Write) -> io::Result<()> {
    let has_log = facts.parent.is_none();
    let titles: &[&str] = &["COLLECTION", "KEYS", "LAST SEQ", "LOG BYTES"];
    let mut table = Table::new(if has_log { titles } else { &titles[..3] }, &[1, 2, 3], paint, width);
    for (name, collection) in &facts.collections {
        let [keys, seq, bytes] =
            [collection.keys, collection.last_seq, collection.wal_size_bytes].map(|n| n.to_string());
        if has_log { table.row([name, &keys, &seq, &bytes], out)? } else { table.row([name, &keys, &seq], out)? }
    }
    table.finish(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLICA: &str = r#"{"node":"r1","role":"replica","parent":"http://w","collections":{"a":{"keys":2,"lastSeq":9,"walSizeBytes":0,"digest":"xxh3:0"}},"children":[{"node":"c","scope":"*","sentSeq":8,"lagSeq":1,"inBaseline":true}],"uptimeSeconds":3,"instance":"x","cluster":"ff","replication":{"enabled":true,"parent_connected":false,"complete":false,"position":"5.9","epoch":5,"seq":9,"scope":"**","lagMs":61000,"notFollowing":{"retryInMs":24000,"why":"http://w: connection refused"},"lastOffence":{"code":"gap","message":"a command is missing"}}}"#;

    #[test]
    fn a_replica_tells_its_trouble() {
        let facts: Facts<'_> = serde_json::from_str(REPLICA).unwrap();
        let text: Vec<_> = summary(&facts).into_iter().map(|(name, text)| format!("{name}={text}")).collect();
        for line in [
            "parent=http://w (not connected)",
            "lag=1 min 1 s",
            "trouble=a command is missing [gap]",
            "trouble=http://w: connection refused; next try in 24 s",
            "state=incomplete: reads are not answered yet",
        ] {
            assert!(text.iter().any(|shown| shown == line), "{line} in {text:?}");
        }
    }

    #[test]
    fn what_is_on_the_disk_is_told_where_there_is_a_disk() {
        let mut facts: Facts<'_> = serde_json::from_str(REPLICA).unwrap();
        assert!(facts.storage.is_none());
        let baseline = Some(Baseline { seq: 40, bytes: 900, keys: 7 });
        let mut storage =
            Storage { log_bytes: 5000, replay_bytes: 300, segments: 3, baseline, failures: 2, trouble: None };
        facts.storage = Some(storage);
        let text = summary(&facts).into_iter().map(|(name, text)| format!("{name}={text}\n")).collect::<String>();
        for line in [
            "log=5000 bytes in 3 segments; a start reads 300 of them\n",
            "baseline=7 keys as of seq 40, 900 bytes\n",
            "note=work on the disk failed 2 times since the start; the node's log says why\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        let trouble = Trouble { message: "the disk is full".into(), since: "2026-11-21T18:00:00.000Z".into() };
        storage =
            Storage { log_bytes: 0, replay_bytes: 0, segments: 0, baseline: None, failures: 2, trouble: Some(trouble) };
        let [(name, said)] = on_disk(&storage).try_into().unwrap();
        assert!(name == "trouble" && said.starts_with("the disk is full (for "), "{said}");
        storage = Storage { failures: 0, trouble: None, ..storage };
        assert!(on_disk(&storage).is_empty());
    }

    #[test]
    fn a_label_that_is_the_part_is_not_said_twice() {
        for (node, role, shown) in [
            ("replica", "replica", "replica"),
            ("r1", "replica", "r1 (replica)"),
            ("writer", "primary", "writer"),
            ("w", "primary", "w (writer)"),
        ] {
            let mut facts: Facts<'_> = serde_json::from_str(REPLICA).unwrap();
            (facts.node, facts.role) = (node.into(), role.into());
            assert_eq!(summary(&facts)[0].1, shown);
        }
    }

    #[test]
    fn only_a_writer_has_bytes_of_a_log() {
        let mut facts: Facts<'_> = serde_json::from_str(REPLICA).unwrap();
        let shown = |facts: &Facts<'_>| {
            let mut out = Vec::new();
            collections(facts, Paint::of(false), 80, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(&facts), "COLLECTION  KEYS  LAST SEQ\na              2         9\n");
        facts.parent = None;
        assert_eq!(shown(&facts), "COLLECTION  KEYS  LAST SEQ  LOG BYTES\na              2         9          0\n");
    }

    #[test]
    fn a_writer_has_neither_parent_nor_lag() {
        let text = r#"{"node":"w","role":"primary","parent":null,"collections":{},"children":[],"uptimeSeconds":0,"replication":{"enabled":false,"parent_connected":false,"complete":true,"position":"5.9","scope":"**","lagMs":null}}"#;
        let facts: Facts<'_> = serde_json::from_str(text).unwrap();
        let names: Vec<_> = summary(&facts).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["node", "position", "up for"]);
    }

    #[test]
    fn a_writer_that_was_deposed_says_so() {
        let text = r#"{"node":"w","role":"primary","parent":null,"collections":{},"children":[],"uptimeSeconds":0,"replication":{"enabled":false,"parent_connected":false,"complete":true,"position":"5.9","scope":"**","lagMs":0},"deposed":true,"deposedBy":7}"#;
        let facts: Facts<'_> = serde_json::from_str(text).unwrap();
        let trouble = summary(&facts).into_iter().find(|(name, _)| *name == "trouble");
        assert_eq!(trouble.unwrap().1, "deposed: nodes follow a later writer, of epoch 7");
        let text = text.replace(r#""deposedBy":7"#, r#""deposedBy":7,"deposedByTakeover":9"#);
        let facts: Facts<'_> = serde_json::from_str(&text).unwrap();
        let trouble = summary(&facts).into_iter().find(|(name, _)| *name == "trouble");
        assert!(trouble.unwrap().1.ends_with("of epoch 7 and takeover 9"));
    }
}
