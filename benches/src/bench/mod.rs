//! The benches by name, and what they share.

mod apply;
mod audience;
mod crowd;
mod fanout;
mod filled;
mod get;
mod herd;
mod log;
mod restart;
mod set;
mod trim;
mod visible;

use crate::http::{Connection, Endpoint};
use crate::load::Turn;
use crate::report::Report;
use crate::settings::Settings;
use bytes::Bytes;
use clap::ValueEnum;
use std::fmt;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// Reads of one entry beside a bare axum handler
    Get,
    /// Durable writes beside the medium and a bare axum handler that syncs
    Set,
    /// From the acknowledgement until a replica has applied it
    Visible,
    /// A thousand streams
    Fanout,
    /// A replica's work on a line beside serde_json and a HashMap
    Apply,
    /// The log alone beside the medium
    Log,
    /// A start of a writer with a million keys
    Restart,
    /// Writes while baselines are stored and the log is trimmed
    Trim,
    /// Ten thousand idle streams and a thousand stalled ones: memory, and what others notice
    Crowd,
    /// Five thousand children that want a baseline at once; minutes, so only when named
    Herd,
}

impl Name {
    /// All but the longest, in the order of the report.
    pub(crate) const ALL: [Self; 9] = [
        Self::Get,
        Self::Set,
        Self::Visible,
        Self::Fanout,
        Self::Apply,
        Self::Log,
        Self::Restart,
        Self::Trim,
        Self::Crowd,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Visible => "visible",
            Self::Fanout => "fanout",
            Self::Apply => "apply",
            Self::Log => "log",
            Self::Restart => "restart",
            Self::Trim => "trim",
            Self::Crowd => "crowd",
            Self::Herd => "herd",
        }
    }

    /// What it shows.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Get => "GET of one entry, 120 bytes of body",
            Self::Set => "Durable SETs of 100-byte values",
            Self::Visible => "From acknowledged to applied by a native replica, 100 writes/s",
            Self::Fanout => "Streams with every line delivered",
            Self::Apply => "A replica's work on a line, in one thread",
            Self::Log => "The file log alone, records per second",
            Self::Restart => "A writer's start with a million keys of 100 bytes",
            Self::Trim => "Durable SETs while baselines are stored and the log is trimmed",
            Self::Crowd => "Ten thousand idle streams and a thousand stalled ones on one writer",
            Self::Herd => "Five thousand children that want a baseline of 5 MB at once",
        }
    }

    /// Measures it.
    pub(crate) async fn measure(self, settings: &Settings) -> anyhow::Result<Report> {
        let mut report = Report {
            bench: self.as_str(),
            title: self.title(),
            comparisons: Vec::new(),
            figures: Vec::new(),
            notes: Vec::new(),
        };
        match self {
            Self::Get => get::measure(settings, &mut report).await?,
            Self::Set => set::measure(settings, &mut report).await?,
            Self::Visible => visible::measure(settings, &mut report).await?,
            Self::Fanout => fanout::measure(settings, &mut report).await?,
            Self::Apply => apply::measure(settings, &mut report).await?,
            Self::Log => log::measure(settings, &mut report).await?,
            Self::Restart => restart::measure(settings, &mut report).await?,
            Self::Trim => trim::measure(settings, &mut report).await?,
            Self::Crowd => crowd::measure(settings, &mut report).await?,
            Self::Herd => herd::measure(settings, &mut report).await?,
        }
        Ok(report)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The collection that everything is written to.
const COLLECTION: &str = "bench";

/// The order in which `contenders` take their turn: who begins changes with each round, so that none always runs in
/// the other's wake.
fn order(round: u32, contenders: usize) -> impl Iterator<Item = usize> {
    (0..contenders).map(move |index| (index + round as usize) % contenders)
}

fn rates(turns: &[Turn]) -> Vec<f64> {
    turns.iter().map(Turn::rate).collect()
}

fn progress(what: &str, round: u32, turn: &Turn) {
    eprintln!("  {what}, round {}: {:.0}/s, CPU {:.1} us", round + 1, turn.rate(), turn.cpu_us());
}

async fn create_collection(endpoint: &Endpoint) -> anyhow::Result<()> {
    create(endpoint, COLLECTION).await
}

async fn create(endpoint: &Endpoint, collection: &str) -> anyhow::Result<()> {
    let create = endpoint.request("POST", "/v1/collections", &format!("{{\"name\":\"{collection}\"}}"));
    Connection::open(endpoint).await?.exchange(&create).await?.ok()
}

/// A SET of `key` to a text of `bytes` bytes, quotes included.
fn set_request(endpoint: &Endpoint, key: &str, bytes: usize) -> Bytes {
    let value = value(bytes);
    endpoint.request("POST", &format!("/v1/collections/{COLLECTION}/keys/{key}"), &format!("{{\"value\":{value}}}"))
}

/// A JSON text of so many bytes, quotes included.
fn value(bytes: usize) -> String {
    format!("\"{}\"", "v".repeat(bytes.saturating_sub(2)))
}
