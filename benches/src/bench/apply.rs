//! What a replica does with a line, in one thread of this process: the whole state machine with its gap rules, digests and
//! feed, beside serde_json into a struct with a raw value, put into a HashMap. And each side's decoding alone.

use super::{COLLECTION, order, value};
use crate::report::{Comparison, Report, Side};
use crate::settings::Settings;
use anyhow::{Context, ensure};
use headwater_core::apply::scope_digest;
use headwater_core::clock::Now;
use headwater_core::command::{Action, Logged, Trust, decode, lines};
use headwater_core::id::Id;
use headwater_core::node::{Node, NodeOptions, Role};
use headwater_core::replica::{Replica, ReplicaOptions};
use headwater_core::scope::Scope;
use headwater_core::store::memory::{MemoryOptions, MemoryStore};
use headwater_core::store::{Collection, Progress, Store};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

/// Bytes handed over at once, as a socket would.
const PIECE_BYTES: usize = 64 << 10;
const KEYS: u64 = 100_000;
const LINES: u64 = 400_000;
/// With the head, lines of about 135 bytes.
const VALUE_BYTES: usize = 24;
/// Seq of the one CREATE, behind which the lines go on.
const CREATED: u64 = 2;
const EPOCH: u64 = 1_763_650_000_000;

pub(super) async fn measure(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let rounds = settings.rounds;
    let count = settings.sized(LINES, 2_000);
    let log = Arc::new(log(count));
    report.notes.push(format!("{count} lines of {} bytes over {KEYS} keys.", log.len() as u64 / count));
    let contenders: [(&str, Contender); 4] = [
        ("replica: decode, check, digest, store, feed", replica),
        ("serde_json + HashMap", serde_map),
        ("decode alone", decode_alone),
        ("serde_json alone", serde_alone),
    ];
    let rates = settings
        .cores
        .measured(move || {
            let mut rates = contenders.map(|_| Vec::new());
            for round in 0..rounds {
                for index in order(round, contenders.len()) {
                    let begun = Instant::now();
                    let held = contenders[index].1(&log, count)?;
                    rates[index].push(count as f64 / begun.elapsed().as_secs_f64());
                    // Freed outside of the time, on both sides.
                    drop(held);
                }
            }
            Ok(rates)
        })
        .await?;
    for (case, ours, reference, required) in [("apply", 0, 1, Some(2.0)), ("decode", 2, 3, None)] {
        let side = |index: usize| (Side::of_rates(contenders[index].0, &rates[index]), &rates[index][..]);
        report.comparisons.push(Comparison::new(case, side(ours), side(reference), required));
    }
    Ok(())
}

/// Works through the lines and returns what it built.
type Contender = fn(&[u8], u64) -> anyhow::Result<Box<dyn std::any::Any>>;

/// SETs of existing and new keys, as a writer encodes them.
fn log(count: u64) -> Vec<u8> {
    let value = value(VALUE_BYTES);
    let mut out = Vec::new();
    for number in 0..count {
        let seq = CREATED + 1 + number;
        // A multiplier without a common factor visits the keys in no order.
        let key = format!("k{:06}", number * 7_919 % KEYS);
        Logged {
            seq,
            prev: Some(seq - 1),
            collection: Some(Cow::Borrowed(COLLECTION)),
            timestamp: EPOCH + number,
            extra: "".into(),
            action: Action::Set { key: key.into(), version: 1 + number / KEYS, value: &value },
        }
        .write_line(&mut out);
        out.push(b'\n');
    }
    out
}

/// What a parent sends before those lines: an empty collection as baseline.
fn beginning() -> String {
    let zero = headwater_core::digest::Digest::EMPTY;
    let digest = scope_digest([&Collection::new(COLLECTION.into(), CREATED)]);
    let cluster = Id::from_bytes([7; 16]);
    format!(
        r#"{{"type":"HELLO","protocol":1,"cluster":"{cluster}","epoch":{EPOCH},"seq":{CREATED},"at":{EPOCH},"node":"parent","path":["{cluster}"],"resume":"baseline","reason":"new","scope":"**","pingMs":5000,"requires":[],"timestamp":{EPOCH}}}
{{"type":"BASELINE_BEGIN","collection":"{COLLECTION}","created":{CREATED}}}
{{"type":"BASELINE_END","collection":"{COLLECTION}","keys":0,"digest":"xxh3:{zero}"}}
{{"type":"READY","seq":{CREATED},"collections":1,"digest":"xxh3:{digest}","epochs":[{{"epoch":{EPOCH},"first":1}}]}}
"#
    )
}

fn replica(log: &[u8], count: u64) -> anyhow::Result<Box<dyn std::any::Any>> {
    let store = MemoryStore::new(Progress::new(Scope::Everything), MemoryOptions::threaded(7));
    let instance = Id::from_bytes([8; 16]);
    let node = Arc::new(Node::new(store, NodeOptions::new("replica", instance, Role::Replica)));
    let options = ReplicaOptions { scope: Scope::Everything, parents: 1 };
    let mut replica = Replica::new(Arc::clone(&node), options);
    let now = Now { wall_ms: EPOCH, mono_ms: 0 };
    let mut events = Vec::new();
    replica.request(now);
    for piece in [beginning().as_bytes()].into_iter().chain(log.chunks(PIECE_BYTES)) {
        replica.receive(piece, now, &mut events).map_err(|offence| anyhow::anyhow!("{offence}"))?;
        events.clear();
    }
    let position = node.store().position();
    ensure!(position.seq == CREATED + count, "the replica is at {position}");
    Ok(Box::new(replica))
}

fn decode_alone(log: &[u8], _: u64) -> anyhow::Result<Box<dyn std::any::Any>> {
    for (_, line) in lines(log) {
        black_box(decode(line, Trust::Checked)?);
    }
    Ok(Box::new(()))
}

/// A SET as serde reads it.
#[derive(Deserialize)]
#[expect(dead_code, reason = "all fields are read from the line, as a replica needs them")]
struct SetLine<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    collection: Cow<'a, str>,
    seq: u64,
    prev: Option<u64>,
    #[serde(borrow)]
    key: Cow<'a, str>,
    version: u64,
    timestamp: u64,
    #[serde(borrow)]
    value: &'a RawValue,
}

/// What a map keeps of it.
#[expect(dead_code, reason = "kept as a replica needs it, read by nobody")]
struct Kept {
    value: Box<str>,
    seq: u64,
    version: u64,
    timestamp: u64,
}

fn serde_map(log: &[u8], count: u64) -> anyhow::Result<Box<dyn std::any::Any>> {
    let mut map: HashMap<String, Kept> = HashMap::new();
    let mut seq = 0;
    for (_, line) in lines(log) {
        let set: SetLine<'_> = serde_json::from_slice(line)?;
        seq = set.seq;
        let kept = Kept { value: set.value.get().into(), seq, version: set.version, timestamp: set.timestamp };
        match map.get_mut(&*set.key) {
            Some(held) => *held = kept,
            None => {
                map.insert(set.key.into_owned(), kept);
            }
        }
    }
    ensure!(seq == CREATED + count && map.len() as u64 == KEYS.min(count), "the map holds {} keys", map.len());
    Ok(Box::new(map))
}

fn serde_alone(log: &[u8], _: u64) -> anyhow::Result<Box<dyn std::any::Any>> {
    for (_, line) in lines(log) {
        black_box(serde_json::from_slice::<SetLine<'_>>(line).context("no SET")?);
    }
    Ok(Box::new(()))
}
