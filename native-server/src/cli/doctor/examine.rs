//! What the answers of a node mean: decided here, without asking anybody.
//!
//! A member that a node does not tell is not looked at: it may be of an older release, or of another kind.

mod kept;
#[cfg(test)]
mod tests;

use crate::cli::ago::span;
use crate::size::Size;
use axum::http::Uri;
use headwater_core::api::host;
use serde_json::{Value, json};

/// What a node answered.
pub(super) struct Answers {
    pub(super) ready: Value,
    pub(super) status: Result<Value, Refusal>,
    pub(super) metrics: Result<Value, Refusal>,
    /// This machine's clock before and after the status was asked for.
    pub(super) asked_ms: (u64, u64),
    /// This program's version.
    pub(super) version: &'static str,
}

/// Why a node did not let us look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The API's code.
    pub(super) code: String,
    pub(super) message: String,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Ok,
    /// Not safe under all circumstances, or soon not.
    Warn,
    /// Wrong, or unsafe now.
    Bad,
}

impl Level {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) level: Level,
    pub(super) says: String,
    pub(super) advice: Option<&'static str>,
}

impl Finding {
    pub(super) fn to_json(&self) -> Value {
        json!({"check": self.check, "level": self.level.word(), "says": self.says, "advice": self.advice})
    }
}

/// Lag from which on it is told of, in ms: several pings of a parent that is silent by default for five seconds.
const LAG_MS: u64 = 30_000;
/// Records that a child is behind from which on it is told of.
const CHILD_RECORDS: u64 = 10_000;
/// Difference of clocks that is told of, and that is bad, in ms.
const CLOCK_MS: (u64, u64) = (2_000, 60_000);
/// Time until a certificate ends below which it is told of, and below which that is bad, in ms: those that renew themselves
/// do so earlier.
const CERTIFICATE_MS: (u64, u64) = (14 * DAY_MS, 3 * DAY_MS);
const DAY_MS: u64 = 24 * 3_600_000;

struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, check: &'static str, says: impl Into<String>) {
        self.0.push(Finding { check, level: Level::Ok, says: says.into(), advice: None });
    }

    fn warn(&mut self, check: &'static str, says: impl Into<String>, advice: &'static str) {
        self.0.push(Finding { check, level: Level::Warn, says: says.into(), advice: Some(advice) });
    }

    fn bad(&mut self, check: &'static str, says: impl Into<String>, advice: &'static str) {
        self.0.push(Finding { check, level: Level::Bad, says: says.into(), advice: Some(advice) });
    }
}

/// Looks at everything that was answered.
pub(super) fn examine(answers: &Answers) -> Vec<Finding> {
    let mut found = Findings(Vec::new());
    ready(&answers.ready, &mut found);
    match &answers.status {
        Ok(status) => inside(status, answers, &mut found),
        Err(refusal) => unseen(refusal, "how it is", &mut found),
    }
    match (&answers.metrics, &answers.status) {
        (Ok(metrics), _) => counts(metrics, &mut found),
        // Once is enough.
        (Err(_), Err(_)) => {}
        (Err(refusal), Ok(_)) => unseen(refusal, "what it counted", &mut found),
    }
    found.0
}

/// What could not be looked at may be anything: it must not pass for well.
fn unseen(refusal: &Refusal, what: &str, found: &mut Findings) {
    let Refusal { code, message } = refusal;
    // The API's own words are about headers.
    let message =
        if code == "forbidden" { "no pair was given, or one that it does not know or that may not" } else { message };
    let advice = match &**code {
        "rate_limited" => {
            "Ask again later. Again and again: its --rate-per-credential or --rate-per-address lets less through than is asked for."
        }
        "forbidden" => "Give a pair of role admin or node that is good: most of what there is to say comes from there.",
        _ => "Ask again later: the node cannot answer now.",
    };
    found.bad("look", format!("the node did not let us see {what}: {message} [{code}]"), advice);
}

fn ready(ready: &Value, found: &mut Findings) {
    let failing: Vec<&str> = ready["checks"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, ok)| **ok == false)
        .map(|(name, _)| &**name)
        .collect();
    if ready["ready"] != true {
        let says = format!("it is not ready: {}", failing.join(", "));
        found.bad("ready", says, "Clients should ask another node. docs/runbook.md says what each check means.");
    } else if failing.is_empty() {
        found.ok("ready", "it is ready");
    } else {
        found.warn(
            "ready",
            format!("it is ready, but not {}", failing.join(", ")),
            "See below for what that comes from.",
        );
    }
}

fn inside(status: &Value, answers: &Answers, found: &mut Findings) {
    let setup = &status["setup"];
    if setup.is_object() {
        exposure(setup, found);
        certificate(setup, answers.asked_ms.1, found);
        machine(setup, answers, found);
    }
    if status["role"] == "primary" {
        writer(status, setup, found);
    } else {
        follower(status, found);
    }
    kept::storage(status, found);
    kept::audit(status, setup, found);
    kept::copies(status, setup, answers.asked_ms.1, found);
}

fn exposure(setup: &Value, found: &mut Findings) {
    match (setup["beyondLoopback"] == true, setup["tls"] == true) {
        (true, false) => found.bad(
            "exposure",
            "it listens beyond this machine without TLS: pairs and values can be read on the way",
            "Give it --tls-cert and --tls-key, or let it listen on loopback behind a proxy that has them.",
        ),
        (true, true) => found.ok("exposure", "it listens beyond this machine, with TLS"),
        (false, _) => found.ok("exposure", "it listens on this machine alone"),
    }
    if setup["dev"] == true {
        let advice = "Fine for trying things out on this machine. Elsewhere start it without --dev.";
        found.warn("credentials", "it accepts the pair dev / dev, which everybody knows", advice);
    } else {
        found.ok("credentials", "the pair dev / dev is not accepted");
    }
}

/// Until when what the node shows to those who connect is of use, by this machine's clock: clients look at theirs.
fn certificate(setup: &Value, now_ms: u64, found: &mut Findings) {
    let Some(end_ms) = setup["tlsNotAfterMs"].as_u64() else { return };
    let advice = "Put a new certificate and its key in the place of the old ones: a running node takes them by itself.";
    match end_ms.checked_sub(now_ms) {
        None | Some(0) => {
            let says =
                format!("it has ended {} ago: no client that looks at it connects any more", span(now_ms - end_ms));
            found.bad("certificate", says, advice);
        }
        Some(left) if left < CERTIFICATE_MS.1 => found.bad("certificate", format!("it ends in {}", span(left)), advice),
        Some(left) if left < CERTIFICATE_MS.0 => {
            found.warn("certificate", format!("it ends in {}", span(left)), advice)
        }
        Some(left) => found.ok("certificate", format!("it ends in {}", span(left))),
    }
}

fn machine(setup: &Value, answers: &Answers, found: &mut Findings) {
    if let Some(version) = setup["version"].as_str() {
        if version == answers.version {
            found.ok("version", format!("{version}, as this command"));
        } else {
            let says = format!("the node is of {version}, this command of {}", answers.version);
            found.warn("version", says, "Use the same release: this one may not know all that the node tells.");
        }
    }
    if let Some(theirs) = setup["nowMs"].as_u64() {
        let (before, after) = answers.asked_ms;
        // Anywhere between the two is no difference at all.
        let differ = before.saturating_sub(theirs).max(theirs.saturating_sub(after));
        let says = format!("its clock and this machine's differ by {}", span(differ));
        let advice = "Have both set by NTP: times of entries, lag and retention by age come from the writer's clock.";
        match differ {
            differ if differ >= CLOCK_MS.1 => found.bad("clock", says, advice),
            differ if differ >= CLOCK_MS.0 => found.warn("clock", says, advice),
            _ => found.ok("clock", "it agrees with this machine's"),
        }
    }
    if let (Some(free), Some(whole)) = (setup["diskFreeBytes"].as_u64(), setup["diskBytes"].as_u64()) {
        let percent = free.saturating_mul(100) / whole.max(1);
        let says = format!("{percent} % of the disk is free ({})", rounded(free));
        let advice = "Make room, or lower --retain-bytes and --baseline-after-bytes. A full disk refuses writes.";
        match percent {
            0..5 => found.bad("disk space", says, advice),
            5..15 => found.warn("disk space", says, advice),
            _ => found.ok("disk space", says),
        }
    }
    if let (Some(open), Some(most)) = (setup["openFds"].as_u64(), setup["maxFds"].as_u64()) {
        let says = format!("{open} of {most} file descriptors are open");
        if open.saturating_mul(5) > most.saturating_mul(4) {
            found.warn("descriptors", says, "Raise LimitNOFILE of the service: each connection takes one.");
        } else {
            found.ok("descriptors", says);
        }
    }
}

/// Bytes in the largest unit that leaves a number to be read.
fn rounded(bytes: u64) -> String {
    let unit = (bytes.max(1).ilog2() / 10).min(4) * 10;
    Size(bytes >> unit << unit).to_string()
}

fn writer(status: &Value, setup: &Value, found: &mut Findings) {
    if status["deposed"] == true {
        let says = "another writer took this one's place: what is written here may be lost";
        found.bad("deposed", says, "Stop it. docs/wal.md says what an old writer that comes back means.");
    }
    match (setup["log"].as_str(), setup["syncMs"].as_u64()) {
        (Some("memory"), _) => {
            let says = "the log is in memory: a restart begins with nothing";
            found.bad("durability", says, "Start it without --wal memory: unless nothing here matters.");
        }
        (Some(_), Some(ms)) => {
            let says = format!("a power cut may take the last {}", span(ms));
            found.warn("durability", says, "With --sync group a write is on the medium before it is acknowledged.");
        }
        (Some(_), None) => found.ok("durability", "a write is on the medium before it is acknowledged"),
        (None, _) => {}
    }
    let children = status["children"].as_array().map_or(&[][..], Vec::as_slice);
    if children.is_empty() {
        let says = "nobody follows it: if this machine is lost, so is what its last backup does not have";
        found.warn("replicas", says, "Start a node with --parent on another machine.");
        return;
    }
    let behind = |child: &&Value| child["lagSeq"].as_u64() > Some(CHILD_RECORDS);
    match children.iter().filter(behind).filter_map(|child| child["node"].as_str()).collect::<Vec<_>>() {
        none if none.is_empty() => found.ok("replicas", format!("{} follow it", children.len())),
        behind => {
            let says = format!("more than {CHILD_RECORDS} records behind: {}", behind.join(", "));
            found.warn("replicas", says, "Look at their own status, and at the network between.");
        }
    }
}

fn follower(status: &Value, found: &mut Findings) {
    let replication = &status["replication"];
    let parent = status["parent"].as_str().unwrap_or_default();
    if is_readable_on_the_way(parent) {
        let says = format!("its parent is {parent}: its pair and all values can be read on the way");
        found.bad("parent", says, "Give the parent a certificate and say https:// in --parent.");
    }
    if replication["parent_connected"] == true {
        found.ok("following", format!("it follows {parent}"));
    } else {
        let why = replication["notFollowing"]["why"].as_str().unwrap_or("the reason is not known yet");
        let advice = "It goes on answering, and falls behind. docs/running.md says what each reason means.";
        found.bad("following", format!("it follows nobody: {why}"), advice);
    }
    if let Some(offence) = replication["lastOffence"]["message"].as_str() {
        found.warn("parent's faults", offence, "docs/running.md says what each code means.");
    }
    match replication["lagMs"].as_u64() {
        Some(lag_ms) if lag_ms >= LAG_MS => {
            let says = format!("it may be {} behind the writer", span(lag_ms));
            found.bad("lag", says, "Look at the nodes between it and the writer, and at the network.");
        }
        Some(lag_ms) => found.ok("lag", format!("at most {} behind the writer", span(lag_ms))),
        None => found.warn("lag", "it has not heard of the writer yet", "Wait, then look again."),
    }
}

/// Whether what is sent to this address passes a network without TLS.
fn is_readable_on_the_way(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    uri.scheme_str() == Some("http") && !host::is_loopback(uri.host().unwrap_or_default())
}

fn counts(metrics: &Value, found: &mut Findings) {
    for (check, name, says, advice) in [
        (
            "log failures",
            "log_failures_total",
            "the log failed and was opened anew, so often since the start: ",
            "The node's own log says why; look at the disk.",
        ),
        (
            "failed writes",
            "writes_failed_total",
            "writes that could not be made durable, since the start: ",
            "Clients were told outcome_unknown or storage_full.",
        ),
        (
            "divergence",
            "replication_divergences_total",
            "times that entries differed from the parent's, since the start: ",
            "Once may be; again and again, compare releases and suspect memory.",
        ),
        (
            "connections",
            "connections_paused_total",
            "times that no connection could be taken, since the start: ",
            "Raise LimitNOFILE of the service.",
        ),
        (
            "audit gaps",
            "audit_lost_total",
            "events that found no room in the audit log, since the start: ",
            "Lines of the kind lost say when. With --audit-required writes are refused instead.",
        ),
        (
            "audit failures",
            "audit_failures_total",
            "times that the audit log could not be written, since the start: ",
            "Lines of the kind failed say when and why; look at the disk.",
        ),
        (
            "overload",
            "requests_shed_total",
            "requests that were turned away because there was too much to do, since the start: ",
            "Look who asks so much (headwater_refusals_total, the audit log); docs/network.md has the bounds.",
        ),
    ] {
        if let Some(count @ 1..) = metrics[name].as_u64() {
            found.warn(check, format!("{says}{count}"), advice);
        }
    }
}
