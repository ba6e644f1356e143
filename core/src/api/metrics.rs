//! `GET /v1/metrics` and `GET /metrics`: numbers for programs, as JSON and for Prometheus. Named here once, so that every
//! node answers the same names, whatever it runs on; what a node has nothing of is 0, `false` or `null`.

use super::answer::Answer;
use super::error::Code;
use super::exposition::{CONTENT_METRICS, Exposition, Kind, seconds_of_ms};
use super::histogram::Histogram;
use crate::clock::Now;
use crate::node::Node;
use crate::replica::Stats;
use crate::store::Store;
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

macro_rules! counts {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// What a node counts since its start. Every count only grows.
        #[derive(Debug, Default)]
        pub struct Counts {
            $($(#[doc = $doc])* pub $name: Count,)*
            /// Requests answered with an error, by its code.
            pub refusals: Refusals,
            /// How long a group of writes takes from its append to its publication.
            pub commit_durations: Histogram,
        }

        impl Counts {
            /// Name, what it counts, and the count.
            fn fields(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),*).trim_ascii(), self.$name.value()),)*].into_iter()
            }
        }
    };
}

counts! {
    /// Writes acknowledged.
    writes_total,
    /// Writes refused by the writer's rules.
    writes_refused_total,
    /// Writes whose outcome is not known, or that found no room.
    writes_failed_total,
    /// Writes handed on to the parent.
    writes_forwarded_total,
    /// Reads of entries and lists answered from this node's state.
    reads_total,
    /// Reads handed on to the parent, because this node does not hold what was asked for.
    reads_forwarded_total,
    /// Requests of any kind.
    requests_total,
    /// Requests with wrong or missing credentials, or without the right to what they ask for.
    requests_forbidden_total,
    /// Requests that were refused for their form or their slowness, before it was looked at what they ask for.
    requests_refused_total,
    /// Connections taken.
    connections_opened_total,
    /// Connections that have ended.
    connections_closed_total,
    /// Connections that were one too many.
    connections_refused_total,
    /// Connections on which no TLS came about: another version, no certificate that is taken, too slow, or no TLS at all.
    tls_failed_total,
    /// Times that no connection could be taken, for lack of sockets or memory.
    connections_paused_total,
    /// Requests that were more than one address or credential may make.
    requests_limited_total,
    /// Requests that were more than the node takes on at one time.
    requests_shed_total,
    /// Lines of the audit log.
    audit_lines_total,
    /// Events that the audit log had no room for.
    audit_lost_total,
    /// Times that the audit log could not be written, or was found to be changed.
    audit_failures_total,
    /// Groups the log made durable.
    log_groups_total,
    /// Failures of the log.
    log_failures_total,
    /// Streams opened by children.
    replication_streams_total,
    /// Streams read from the log because their place had left the feed.
    replication_log_reads_total,
    /// Commands and baseline entries handed to children.
    replication_commands_sent_total,
    /// Bytes of streams handed to children.
    replication_bytes_sent_total,
}

/// One count.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// A count of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Counts one more.
    pub fn one(&self) {
        self.add(1);
    }

    /// How many there were.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A count for each error code.
#[derive(Debug)]
pub struct Refusals([Count; Code::ALL.len()]);

impl Default for Refusals {
    fn default() -> Self {
        Self([const { Count::new() }; Code::ALL.len()])
    }
}

impl Refusals {
    /// Counts a request that is answered with this code.
    pub fn one(&self, code: Code) {
        self.0[code as usize].one();
    }
}

/// What only the shell knows.
#[derive(Debug)]
pub struct MetricsFacts<'a> {
    /// What the shell counted.
    pub counts: &'a Counts,
    /// Seconds since the node started.
    pub uptime_s: u64,
    /// On a replica, whether the parent's stream is open, and what the connections have seen.
    pub parent: Option<(bool, Stats)>,
    /// The node's own disk; `None` where it has none.
    pub disk: Option<DiskFacts>,
}

/// How a node's own disk stands.
#[derive(Clone, Copy, Debug)]
pub struct DiskFacts {
    /// How often it failed.
    pub failures: u64,
    /// Baselines stored on it.
    pub baselines: u64,
    /// Bytes it holds.
    pub bytes: u64,
    /// Whether something applied is not stored yet, as may be on a replica.
    pub behind: bool,
}

/// One number, under both of its names.
struct Member {
    /// Its name in JSON. For Prometheus `headwater_` goes in front, and a time is in seconds.
    name: Cow<'static, str>,
    help: &'static str,
    kind: Kind,
    value: Value,
    /// Whether it is in JSON alone: what labels tell apart for Prometheus.
    json_alone: bool,
}

#[derive(Clone, Copy)]
enum Value {
    Number(Option<u64>),
    Flag(bool),
}

fn members<S: Store>(node: &Node<S>, facts: &MetricsFacts<'_>, now: Now) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    let mut add = |name: Cow<'static, str>, kind, help, value, json_alone| {
        members.push(Member { name, help, kind, value, json_alone });
    };
    for (name, help, count) in facts.counts.fields() {
        add(name.into(), Kind::Counter, help, Value::Number(Some(count)), false);
    }
    let (connected, stats) = facts.parent.unwrap_or_default();
    let all = stats.baselines.total();
    add("replication_baselines_total".into(), Kind::Counter, BASELINES, Value::Number(Some(all)), true);
    for (reason, count) in stats.baselines.by_reason() {
        let name = format!("replication_baselines_{}_total", reason.as_str());
        add(name.into(), Kind::Counter, BASELINES, Value::Number(Some(count)), true);
    }
    let disk = facts.disk;
    for (name, help, count) in [
        ("replication_commands_received_total", "Commands received from a parent.", stats.commands),
        ("replication_repeated_total", "Commands that came again and were passed over.", stats.repeated),
        ("replication_baselines_sent_total", "Baselines begun for children.", node.baselines_begun()),
        ("replication_gaps_total", "Commands that a parent left out.", stats.gaps),
        ("replication_divergences_total", "Times that entries and a parent's digest differed.", stats.divergences),
        ("replication_connections_total", "Streams opened at a parent.", stats.connections),
        ("replication_faults_total", "Streams of a parent that ended without an orderly end.", stats.faults),
        ("replication_unknown_lines_total", "Lines of a parent that are not known here.", stats.unknown_lines),
        (
            "disk_failures_total",
            "Times that something was not stored or let go of.",
            disk.map_or(0, |disk| disk.failures),
        ),
        ("disk_baselines_total", "Baselines stored on the node's own disk.", disk.map_or(0, |disk| disk.baselines)),
    ] {
        add(name.into(), Kind::Counter, help, Value::Number(Some(count)), false);
    }
    let (seq, children) = (node.store().position().seq, node.children_count() as u64);
    let counts = facts.counts;
    // In this order: one that ends meanwhile must not make it fewer than none.
    let closed = counts.connections_closed_total.value();
    let open = counts.connections_opened_total.value().saturating_sub(closed);
    let behind = Value::Flag(disk.is_some_and(|disk| disk.behind));
    for (name, help, value) in [
        ("disk_bytes", "Bytes that the log and its baseline take up.", Value::Number(disk.map(|disk| disk.bytes))),
        ("disk_behind", "Whether something applied is not stored yet, as may be on a replica.", behind),
        ("parent_connected", "Whether the stream of a parent is open.", Value::Flag(connected)),
        ("connections_open", "Connections open to clients and children.", Value::Number(Some(open))),
        ("children_connected", "Streams open to children.", Value::Number(Some(children))),
        ("position_seq", "Seq of the last record applied.", Value::Number(Some(seq))),
        ("lag_ms", "How far the node may be behind the writer's clock.", Value::Number(node.lag_ms(now))),
        ("deposed", "Whether a later writer took this writer's place.", Value::Flag(node.deposed_by().is_some())),
        ("uptime_seconds", "Time since the node started.", Value::Number(Some(facts.uptime_s))),
    ] {
        add(name.into(), Kind::Gauge, help, value, false);
    }
    members
}

const BASELINES: &str = "Baselines received from a parent, by the reason that it gave.";

/// Answers `GET /v1/metrics`.
pub fn metrics<S: Store>(node: &Node<S>, facts: &MetricsFacts<'_>, now: Now) -> Answer<S::Snapshot> {
    let mut body = String::from("{");
    for Member { name, value, .. } in members(node, facts, now) {
        let comma = if body.len() > 1 { "," } else { "" };
        let value = match value {
            Value::Number(number) => number.map_or_else(|| String::from("null"), |number| format!("{number}")),
            Value::Flag(flag) => flag.to_string(),
        };
        body.push_str(&format!("{comma}\"{name}\":{value}"));
    }
    body.push('}');
    Answer::json(body)
}

/// Answers `GET /metrics`: the same for Prometheus, the errors by code, and what the shell adds.
pub fn exposition<S: Store>(
    node: &Node<S>,
    facts: &MetricsFacts<'_>,
    now: Now,
    add: impl FnOnce(&mut Exposition),
) -> Answer<S::Snapshot> {
    let mut text = Exposition::default();
    for Member { name, help, kind, value, .. } in members(node, facts, now).into_iter().filter(|it| !it.json_alone) {
        let (name, value) = match (name.strip_suffix("_ms"), value) {
            // What is not known has no number.
            (_, Value::Number(None)) => continue,
            (Some(name), Value::Number(Some(ms))) => (format!("{name}_seconds"), seconds_of_ms(ms)),
            (None, Value::Number(Some(number))) => (name.into_owned(), number.to_string()),
            (_, Value::Flag(flag)) => (name.into_owned(), u8::from(flag).to_string()),
        };
        text.number(&format!("headwater_{name}"), kind, help, value);
    }
    let (_, stats) = facts.parent.unwrap_or_default();
    let mut family = text.family("headwater_replication_baselines_total", Kind::Counter, BASELINES);
    for (reason, count) in stats.baselines.by_reason() {
        family.number(&[("reason", reason.as_str())], count);
    }
    let help = "Requests answered with an error, by its code.";
    let mut family = text.family("headwater_refusals_total", Kind::Counter, help);
    for (code, count) in Code::ALL.iter().zip(&facts.counts.refusals.0) {
        family.number(&[("code", code.word()), ("status", &code.status().to_string())], count.value());
    }
    add(&mut text);
    Answer::text(CONTENT_METRICS, text.finish())
}
