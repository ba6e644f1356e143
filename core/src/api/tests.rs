//! What a node answers from a state of one scope or another, what it must send elsewhere, and what it counts.

use super::*;
use crate::apply::apply;
use crate::clock::Now;
use crate::command::{Line, Trust, decode};
use crate::credentials::{self, Grant, Rights};
use crate::id::Id;
use crate::node::{Node, NodeOptions, Role};
use crate::position::{EpochStart, EpochTable, Position, Term};
use crate::replica::Stats;
use crate::scope::Scope;
use crate::store::memory::{MemoryOptions, MemorySnapshot, MemoryStore};
use crate::store::scan::Scan;
use crate::store::{Collection, Page, Progress, Snapshot, SnapshotError, Store};
use crate::stream::{Cursor, Request, Stream};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

const NOW: Now = Now { wall_ms: 5_000, mono_ms: 5_000 };
const EPOCH: u64 = 7;
const VALUE_BYTES: usize = 40 << 10;

/// A node that holds `a/eu:1` to `a/eu:8`, long values, and claims no more than `scope`.
fn node(role: Role, scope: &str) -> Arc<Node<MemoryStore>> {
    let progress = Progress::new(Scope::from_json(scope).unwrap());
    let store = MemoryStore::new(progress, MemoryOptions::single_threaded(1));
    let value = "x".repeat(VALUE_BYTES);
    let mut lines = alloc::vec![String::from(r#"{"type":"CREATE","collection":"a","seq":1,"timestamp":1}"#)];
    lines.extend((2..10).map(|seq| {
        let (prev, key) = (seq - 1, seq - 1);
        format!(
            r#"{{"type":"SET","collection":"a","seq":{seq},"prev":{prev},"key":"eu:{key}","version":1,"timestamp":1,"value":"{value}"}}"#
        )
    }));
    for line in &lines {
        let Ok(Line::Log(command)) = decode(line.as_bytes(), Trust::Checked) else { panic!("{line}") };
        apply(&store, &command, &mut Vec::new()).unwrap();
    }
    let mut progress = store.progress();
    progress.complete = true;
    progress.cluster = Some(Id::from_bytes([1; 16]));
    progress.position.epoch = EPOCH;
    progress.epochs = Arc::new(EpochTable::new(alloc::vec![EpochStart { epoch: EPOCH, first: 1 }]).unwrap());
    store.set_progress(&progress).unwrap();
    Arc::new(Node::new(store, NodeOptions::new("n", Id::from_bytes([2; 16]), role)))
}

fn asked(node: &Node<MemoryStore>, target: &str) -> Result<Answered<MemorySnapshot>, ApiError> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let Ok(Route::Read(found)) = route("GET", path, query) else { panic!("{target}") };
    read(node, &Grant::all("test"), &found, &Conditions::default(), NOW)
}

#[test]
fn what_the_scope_does_not_wholly_cover_is_asked_of_the_parent() {
    let part = node(Role::Replica, r#"{"a":["eu:"]}"#);
    for target in ["/v1/collections/a/entry?key=eu:1", "/v1/collections/a/keys?prefix=eu:"] {
        assert!(matches!(asked(&part, target), Ok(Answered::Here(answer)) if answer.status == 200), "{target}");
    }
    for target in [
        "/v1/collections",
        "/v1/collections/a/entry?key=us:1",
        "/v1/collections/a/keys",
        "/v1/collections/a/keys?prefix=e",
        "/v1/collections/b/keys",
    ] {
        assert!(matches!(asked(&part, target), Ok(Answered::AskParent)), "{target}");
    }
    let collection = node(Role::Replica, r#"{"a":[""]}"#);
    assert!(matches!(asked(&collection, "/v1/collections/a/keys"), Ok(Answered::Here(_))));
    assert!(matches!(asked(&collection, "/v1/collections"), Ok(Answered::AskParent)), "a part of the names");
    assert!(matches!(asked(&node(Role::Replica, "\"*\""), "/v1/collections"), Ok(Answered::Here(_))));
}

#[test]
fn who_has_nobody_to_ask_is_answered_misdirected() {
    let (part, grant) = (node(Role::Replica, r#"{"a":["eu:"]}"#), Grant::all("page"));
    let conditions = Conditions::default();
    let query = ListQuery::default();
    let misdirected = [
        entry(&part, &grant, "a", "us:1", &conditions, NOW).err(),
        list(&part, &grant, "a", &query, &conditions, NOW).err(),
        collections(&part, &grant, NOW).err(),
    ];
    for error in misdirected {
        assert_eq!(error.unwrap().code, Code::Misdirected);
    }
    assert!(entry(&part, &grant, "a", "eu:1", &conditions, NOW).is_ok());
}

#[test]
fn a_list_is_whole_when_its_first_piece_is_all_of_it() {
    let node = node(Role::Primary, "\"**\"");
    let body = |query: &str| {
        let Ok(Answered::Here(answer)) = asked(&node, &format!("/v1/collections/a/keys?{query}")) else { panic!() };
        let Body::List(body) = answer.body else { panic!() };
        body
    };
    assert_eq!(body("prefix=us:").whole().as_deref(), Some(&b"[]"[..]));
    let mut long = body("");
    assert_eq!(long.whole(), None);
    let mut text = Vec::new();
    while let Some(piece) = long.next_piece().unwrap() {
        text.extend_from_slice(&piece);
    }
    let entries: Vec<serde_json::Value> = serde_json::from_slice(&text).unwrap();
    let keys: Vec<_> = entries.iter().map(|entry| entry["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["eu:1", "eu:2", "eu:3", "eu:4", "eu:5", "eu:6", "eu:7", "eu:8"]);
}

#[test]
fn a_refused_read_is_as_of_what_it_was_decided_on() {
    let node = node(Role::Replica, "\"**\"");
    let position = |answer: Answer<MemorySnapshot>| {
        let mut found = answer.headers.into_iter().filter(|(name, _)| *name == HEADER_POSITION);
        let position = found.next().map(|(_, text)| text);
        assert_eq!(found.next(), None, "said once");
        position
    };
    for target in
        ["/v1/collections/a/entry?key=none", "/v1/collections/b/entry?key=none", "/v1/collections/b/keys?limit=1"]
    {
        let Err(error) = asked(&node, target) else { panic!("{target}") };
        // By the time it is sent, the node is further.
        let answer = Answer::from(error).as_of(Position { epoch: EPOCH, seq: 99 }, None);
        assert_eq!(position(answer).as_deref(), Some("7.9"), "{target}");
    }
}

/// A snapshot that was given up.
struct Outgrown(Progress);

impl Snapshot for Outgrown {
    fn progress(&self) -> &Progress {
        &self.0
    }

    fn collections(&self) -> &[Collection] {
        &[]
    }

    fn scan(&self, _: &str, _: Bound<&str>, _: usize) -> Result<Page, SnapshotError> {
        Err(SnapshotError::Gone)
    }
}

#[test]
fn a_list_that_fails_before_its_first_piece_is_refused_by_its_status() {
    let outgrown = Outgrown(Progress::new(Scope::Everything));
    let Err(error) = ListBody::begin(outgrown, "a".into(), Scan::under("", None), None, false) else { panic!() };
    let error = ApiError::from(error);
    assert_eq!((error.code, error.retry_after_s), (Code::Overloaded, Some(1)));
}

fn numbers(node: &Node<MemoryStore>, facts: &MetricsFacts<'_>) -> serde_json::Map<String, serde_json::Value> {
    let Body::Full(body) = metrics(node, facts, NOW).body else { panic!() };
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn every_node_answers_the_same_names_of_numbers() {
    let counts = Counts::default();
    counts.reads_total.add(3);
    let of_writer = MetricsFacts { counts: &counts, uptime_s: 1, parent: None, disk: None };
    let disk = DiskFacts { failures: 1, baselines: 3, bytes: 2, behind: true };
    let of_replica = MetricsFacts { parent: Some((true, Stats::default())), disk: Some(disk), ..of_writer };
    let writer = numbers(&node(Role::Primary, "\"**\""), &of_writer);
    let replica = numbers(&node(Role::Replica, "\"**\""), &of_replica);
    assert!(writer.keys().eq(replica.keys()), "{writer:?} {replica:?}");
    assert_eq!((&writer["reads_total"], &writer["disk_bytes"]), (&3.into(), &serde_json::Value::Null));
    assert_eq!((&replica["parent_connected"], &replica["disk_behind"]), (&true.into(), &true.into()));
}

#[test]
fn for_prometheus_each_number_has_a_family_and_what_is_not_known_has_none() {
    let counts = Counts::default();
    counts.refusals.one(Code::NotFound);
    let facts = MetricsFacts { counts: &counts, uptime_s: 1, parent: None, disk: None };
    let answer = exposition(&node(Role::Primary, "\"**\""), &facts, NOW, |text| {
        text.number("headwater_more", Kind::Gauge, "More.", 1);
    });
    assert!(answer.headers.contains(&("content-type", CONTENT_METRICS.into())), "{:?}", answer.headers);
    let Body::Full(body) = answer.body else { panic!() };
    let text = core::str::from_utf8(&body).unwrap();
    let has = |line: &str| text.lines().any(|found| found == line);
    for line in [
        "# HELP headwater_writes_total Writes acknowledged.",
        "# TYPE headwater_writes_total counter",
        "headwater_writes_total 0",
        "headwater_lag_seconds 0",
        "headwater_parent_connected 0",
        "headwater_replication_baselines_total{reason=\"new\"} 0",
        "headwater_refusals_total{code=\"not_found\",status=\"404\"} 1",
        "headwater_more 1",
    ] {
        assert!(has(line), "{line}\n{text}");
    }
    for absent in ["headwater_disk_bytes", "headwater_lag_ms", "headwater_replication_baselines_new_total"] {
        assert!(!text.contains(absent), "{absent}\n{text}");
    }
}

/// A child comes to a primary with a cursor of this epoch.
fn comes(node: &Arc<Node<MemoryStore>>, epoch: u64, granted: &Scope) {
    let cursor = Cursor { position: Position { epoch, seq: 3 }, takeover: None, scope: granted.clone() };
    comes_with(node, Some(cursor), None, granted);
}

/// A child comes with this cursor, having accepted this takeover.
fn comes_with(node: &Arc<Node<MemoryStore>>, cursor: Option<Cursor>, takeover: Option<u64>, granted: &Scope) {
    let request = Request { node: "child".into(), instance: None, cursor, takeover, scope: granted.clone() };
    let role = if *granted == Scope::Everything { credentials::Role::Node } else { credentials::Role::Read };
    Stream::open(node, request, &Grant::local("key", Rights::of([role])), None, NOW).unwrap();
}

#[test]
fn a_writer_learns_from_nodes_alone_that_it_is_deposed() {
    let writer = node(Role::Primary, "\"**\"");
    comes(&writer, EPOCH, &Scope::Everything);
    comes(&writer, EPOCH + 9, &Scope::Public);
    assert_eq!((writer.deposed_by(), writer.deposed_news()), (None, None), "anybody may claim an epoch");
    comes(&writer, EPOCH + 1, &Scope::Everything);
    let by = |takeover, epoch| Some(Term { takeover, epoch });
    assert_eq!((writer.deposed_by(), writer.deposed_news()), (by(0, EPOCH + 1), by(0, EPOCH + 1)));
    assert_eq!(writer.deposed_news(), None, "told once");
    comes(&writer, EPOCH + 2, &Scope::Everything);
    assert_eq!(writer.deposed_news(), by(0, EPOCH + 2));
    let relay = node(Role::Replica, "\"**\"");
    comes(&relay, EPOCH + 1, &Scope::Everything);
    assert_eq!(relay.deposed_by(), None, "a replica writes nothing");
}

#[test]
fn a_writer_is_deposed_by_a_later_takeover_and_by_no_epoch_of_an_earlier_one() {
    let everything = Scope::Everything;
    let cursor = |takeover, epoch| {
        Some(Cursor { position: Position { epoch, seq: 3 }, takeover: Some(takeover), scope: Scope::Everything })
    };
    let old = node(Role::Primary, "\"**\"");
    comes_with(&old, None, Some(7), &Scope::Public);
    assert_eq!(old.deposed_by(), None, "anybody may claim a takeover");
    comes_with(&old, None, Some(7), &everything);
    assert_eq!(old.deposed_by(), Some(Term { takeover: 7, epoch: 0 }), "what it held may not do as a cursor");
    comes_with(&old, cursor(7, EPOCH - 1), Some(7), &everything);
    assert_eq!(old.deposed_by(), Some(Term { takeover: 7, epoch: EPOCH - 1 }), "the epoch may be a lower one");

    let new = node(Role::Primary, "\"**\"");
    new.store().set_progress(&Progress { takeover: 7, ..new.store().progress() }).unwrap();
    comes_with(&new, cursor(0, EPOCH + 9), Some(7), &everything);
    assert_eq!(new.deposed_by(), None, "the old one was started again, and followed for a while");
    comes_with(&new, cursor(7, EPOCH + 1), Some(7), &everything);
    assert_eq!(new.deposed_by(), Some(Term { takeover: 7, epoch: EPOCH + 1 }));
}
