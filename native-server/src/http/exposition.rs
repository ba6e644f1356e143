//! `GET /metrics`: core's numbers for Prometheus, and what only this shell has: children, durations, disk, process.

use super::{health, reply};
use crate::clock;
use crate::observed;
use crate::process::Process;
use crate::server::{Server, Work};
use crate::writer::Archived;
use axum::response::Response;
use headwater_core::api::{self, Exposition, Kind, seconds_of_ms, unix_ms};
use headwater_core::node::Child;
use headwater_core::store::Store as _;
use std::collections::BTreeMap;
use std::sync::PoisonError;

/// Children that are shown each by itself: those that are behind the most. Whatever there are, Prometheus stores no more
/// series than these at a time.
const CHILDREN_SHOWN_MAX: usize = 50;
/// The label of the others, as one.
const OTHERS: &str = "(others)";

/// `GET /metrics`.
pub(super) fn exposition(server: &Server) -> Response {
    let answer = api::exposition(&server.node, &health::facts(server), clock::now(), |text| add(server, text));
    reply::respond(server.as_of(answer))
}

fn add(server: &Server, text: &mut Exposition) {
    let (version, role) = (env!("CARGO_PKG_VERSION"), server.node.options().role.as_str());
    let mut family = text.family("headwater_info", Kind::Gauge, "What runs here; always 1.");
    family.number(&[("version", version), ("role", role), ("node", &server.settings.node)], 1);
    children(server.node.children(), server.node.store().position().seq, text);
    text.histogram(
        "headwater_commit_duration_seconds",
        "Time from a group's append to its publication.",
        &server.metrics.commit_durations,
    );
    text.histogram(
        "headwater_sync_duration_seconds",
        "Time that the log's medium took for a sync.",
        &observed::SYNC_DURATIONS,
    );
    if let Work::Writer { log, .. } = &server.work
        && let Some(archived) = log.archived()
    {
        archive(&archived, text);
    }
    let trouble = match &server.work {
        Work::Writer { log, .. } => log.trouble(),
        Work::Replica(upstream) => upstream.disk_trouble(),
    };
    let help = "Whether something is wrong with the node's own disk; /v1/status says what.";
    text.number("headwater_disk_trouble", Kind::Gauge, help, u8::from(trouble.is_some()));
    if let Some(standing) = server.audit.standing() {
        let help = "Whether the audit log cannot be written; /v1/status says why.";
        text.number("headwater_audit_trouble", Kind::Gauge, help, u8::from(standing.trouble.is_some()));
    }
    if let Some(ms) = server.tls.get().and_then(|tls| tls.end_ms()) {
        let help = "When the first of the certificates that the node shows ends, in seconds since 1970.";
        text.number("headwater_tls_not_after_timestamp_seconds", Kind::Gauge, help, seconds_of_ms(ms));
    }
    backups(server, text);
    pools(server, text);
    process(text);
}

/// How full the pools are that callers share.
fn pools(server: &Server, text: &mut Exposition) {
    for (name, help, value) in [
        ("headwater_requests_in_flight", "Requests being answered.", server.requests.in_use()),
        ("headwater_reads_waiting", "Reads that wait for a position.", server.waiters.in_use()),
        ("headwater_bodies_bytes", "Bytes held of large bodies of requests.", server.bodies.bytes()),
        ("headwater_answers_bytes", "Bytes held of answers that are not taken yet.", server.answers.in_use()),
    ] {
        text.number(name, Kind::Gauge, help, value);
    }
}

fn archive(archived: &Archived, text: &mut Exposition) {
    let gauge = Kind::Gauge;
    let failing = u8::from(archived.failure().is_some());
    text.number("headwater_archive_failing", gauge, "Whether the last copy to the archive failed.", failing);
    let missing: u64 = archived.missing.iter().map(|(first, last)| last - first + 1).sum();
    text.number("headwater_archive_missing_records", gauge, "Records that are in no copy of the archive.", missing);
    text.number("headwater_archive_through_seq", gauge, "Seq up to which what is sealed is copied.", archived.through);
}

fn backups(server: &Server, text: &mut Exposition) {
    let Some(standing) = server.backups.get() else { return };
    let standing = standing.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let failing = u8::from(standing.failure.is_some());
    text.number("headwater_backup_failing", Kind::Gauge, "Whether the last backup failed.", failing);
    if let Some(ms) = standing.last.and_then(|made| unix_ms(&made.created)) {
        let help = "When the newest backup was made, in seconds since 1970.";
        text.number("headwater_backup_last_timestamp_seconds", Kind::Gauge, help, seconds_of_ms(ms));
    }
}

fn process(text: &mut Exposition) {
    let Process { resident_bytes, open_fds, max_fds, cpu_ticks, started_s } = Process::now();
    let gauges = [
        ("process_resident_memory_bytes", "Bytes of memory in use.", resident_bytes),
        ("process_open_fds", "Open file descriptors.", open_fds),
        ("process_max_fds", "Most file descriptors that may be open.", max_fds),
        ("process_start_time_seconds", "When the process was started, in seconds since 1970.", started_s),
    ];
    for (name, help, value) in gauges {
        value.into_iter().for_each(|value| text.number(name, Kind::Gauge, help, value));
    }
    if let Some(ticks) = cpu_ticks {
        let help = "Time of the processors used.";
        text.number("process_cpu_seconds_total", Kind::Counter, help, seconds_of_ms(ticks * 10));
    }
}

/// What is shown of the children of one label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shown {
    streams: u64,
    lag: u64,
    sent_bytes: u64,
    in_baseline: u64,
}

impl Shown {
    fn and(self, other: Self) -> Self {
        Self {
            streams: self.streams + other.streams,
            lag: self.lag.max(other.lag),
            sent_bytes: self.sent_bytes + other.sent_bytes,
            in_baseline: self.in_baseline + other.in_baseline,
        }
    }
}

fn children(children: Vec<Child>, head_seq: u64, text: &mut Exposition) {
    let shown = by_label(children.into_iter().map(|child| {
        let lag = head_seq.saturating_sub(child.sent_seq);
        let in_baseline = u64::from(child.in_baseline);
        (child.node, Shown { streams: 1, lag, sent_bytes: child.sent_bytes, in_baseline })
    }));
    let mut add = |name: &str, kind, help, value: fn(&Shown) -> u64| {
        let mut family = text.family(name, kind, help);
        shown.iter().for_each(|(label, shown)| family.number(&[("child", label)], value(shown)));
    };
    let help = "Streams open to the children of this label.";
    add("headwater_child_streams", Kind::Gauge, help, |shown| shown.streams);
    let help = "Records that the child is behind this node; of several of one label, the most.";
    add("headwater_child_lag_records", Kind::Gauge, help, |shown| shown.lag);
    let help = "Bytes handed to the child on the streams that are open.";
    add("headwater_child_sent_bytes", Kind::Gauge, help, |shown| shown.sent_bytes);
    let help = "Streams of the child that are being sent a baseline.";
    add("headwater_child_baselines", Kind::Gauge, help, |shown| shown.in_baseline);
}

/// Children by label, at most [`CHILDREN_SHOWN_MAX`] of them and the others as one.
fn by_label(children: impl Iterator<Item = (String, Shown)>) -> Vec<(String, Shown)> {
    let mut labels: BTreeMap<String, Shown> = BTreeMap::new();
    for (label, shown) in children {
        let same = labels.entry(label).or_default();
        *same = same.and(shown);
    }
    let mut labels: Vec<_> = labels.into_iter().collect();
    if labels.len() > CHILDREN_SHOWN_MAX {
        labels.sort_by_key(|(label, shown)| (label == OTHERS, u64::MAX - shown.lag));
        let others = labels.drain(CHILDREN_SHOWN_MAX..).fold(Shown::default(), |sum, (_, shown)| sum.and(shown));
        labels.push((OTHERS.into(), others));
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_beyond_the_most_are_one() {
        let child = |lag| Shown { streams: 1, lag, sent_bytes: 10, in_baseline: 0 };
        let same =
            by_label([("a", 3), ("a", 5), ("b", 0)].map(|(label, lag)| (label.to_owned(), child(lag))).into_iter());
        let both = Shown { streams: 2, lag: 5, sent_bytes: 20, in_baseline: 0 };
        assert_eq!(same, [("a".into(), both), ("b".into(), child(0))]);
        let many = (0..200_u64).map(|n| (format!("n{n:03}"), child(n)));
        let shown = by_label(many.chain([(OTHERS.into(), child(1_000))]));
        assert_eq!(shown.len(), CHILDREN_SHOWN_MAX + 1);
        assert_eq!(shown[0], ("n199".into(), child(199)));
        assert_eq!(shown[49], ("n150".into(), child(150)));
        let others = Shown { streams: 151, lag: 1_000, sent_bytes: 1_510, in_baseline: 0 };
        assert_eq!(shown[50], (OTHERS.into(), others));
    }
}
