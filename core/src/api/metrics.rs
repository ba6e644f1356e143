//! `GET /v1/metrics`: numbers for programs. Named here once, so that every node answers the same names, whatever it runs
//! on; what a node has nothing of is 0, `false` or `null`.

use super::answer::Answer;
use crate::clock::Now;
use crate::node::Node;
use crate::replica::Stats;
use crate::store::Store;
use alloc::format;
use alloc::string::String;
use core::sync::atomic::{AtomicU64, Ordering};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a node counts since its start. Every count only grows.
        #[derive(Debug, Default)]
        pub struct Counts { $($(#[$doc])* pub $name: Count,)* }

        impl Counts {
            fn fields(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name.value()),)*].into_iter()
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
    /// Connections that were one too many.
    connections_refused_total,
    /// Times that no connection could be taken, for lack of sockets or memory.
    connections_paused_total,
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
}

/// One count.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
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
    /// Bytes it holds.
    pub bytes: u64,
    /// Whether something applied is not stored yet, as may be on a replica.
    pub behind: bool,
}

/// Answers `GET /v1/metrics`.
pub fn metrics<S: Store>(node: &Node<S>, facts: &MetricsFacts<'_>, now: Now) -> Answer<S::Snapshot> {
    let mut body = String::from("{");
    let mut member = |name: &str, value: &dyn core::fmt::Display| {
        let comma = if body.len() > 1 { "," } else { "" };
        body.push_str(&format!("{comma}\"{name}\":{value}"));
    };
    for (name, count) in facts.counts.fields() {
        member(name, &count);
    }
    let (connected, stats) = facts.parent.unwrap_or_default();
    member("replication_commands_received_total", &stats.commands);
    member("replication_repeated_total", &stats.repeated);
    member("replication_baselines_total", &stats.baselines.total());
    for (reason, count) in stats.baselines.by_reason() {
        member(&format!("replication_baselines_{}_total", reason.as_str()), &count);
    }
    member("replication_gaps_total", &stats.gaps);
    member("replication_divergences_total", &stats.divergences);
    member("replication_connections_total", &stats.connections);
    member("replication_faults_total", &stats.faults);
    member("replication_unknown_lines_total", &stats.unknown_lines);
    let disk = facts.disk;
    member("disk_failures_total", &disk.map_or(0, |disk| disk.failures));
    member("disk_bytes", &or_null(disk.map(|disk| disk.bytes)));
    member("disk_behind", &disk.is_some_and(|disk| disk.behind));
    member("parent_connected", &connected);
    member("children_connected", &node.children_count());
    member("position_seq", &node.store().position().seq);
    member("lag_ms", &or_null(node.lag_ms(now)));
    member("deposed", &node.deposed_by().is_some());
    member("uptime_seconds", &facts.uptime_s);
    body.push('}');
    Answer::json(body)
}

fn or_null(number: Option<u64>) -> String {
    number.map_or_else(|| String::from("null"), |number| format!("{number}"))
}
