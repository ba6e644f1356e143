//! `headwater audit cat`: the lines as they are, or as a table.

use super::super::failure::Failure;
use super::super::output::Output;
use super::super::table::Table;
use super::{Place, unreadable};
use crate::audit::{Entry, files, lines_of};
use crate::clock::wall_ms;
use crate::settings::age;
use clap::Args;
use headwater_core::api::{rfc3339, unix_ms};
use serde_json::Value;

/// `headwater audit cat`.
#[derive(Debug, Args)]
pub(super) struct Cat {
    #[command(flatten)]
    pub(super) place: Place,
    /// Only what happened since this time (2026-11-21T15:00:00Z) or within this age (90s, 30m, 24h, 7d)
    #[arg(long, value_name = "TIME|AGE", value_parser = since)]
    since: Option<Since>,
    /// Only events of this name; repeatable: start, stop, write, forward, credential, refused, lost, failed, mended, removed,
    /// file, promoted, restored
    #[arg(long, value_name = "EVENT")]
    event: Vec<String>,
}

pub(super) const HELP: &str = "\
Examples:
  headwater audit cat ./headwater-data --since 24h --event credential --event refused
  headwater audit cat ./headwater-data --since 2026-11-21T15:00:00Z > incident.ndjson

Into a pipe, or with --json, the lines are printed as they are, chain and all. Lines that a crash has cut off are left out: \
verify shows them.";

/// A point in time, or how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    Time(u64),
    AgoMs(u64),
}

fn since(text: &str) -> Result<Since, String> {
    let whole = text.strip_suffix('Z').filter(|text| text.len() == 19).map(|text| format!("{text}.000Z"));
    if let Some(ms) = unix_ms(whole.as_deref().unwrap_or(text)) {
        return Ok(Since::Time(ms));
    }
    let ago = age(text).map_err(|_| "expected a time in UTC, 2026-11-21T15:00:00Z, or an age: 90s, 30m, 24h, 7d")?;
    Ok(Since::AgoMs(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)))
}

const TITLES: [&str; 5] = ["TIME (UTC)", "EVENT", "BY", "FROM", "WHAT"];

/// What is shown first of an event that is no write.
const TELLING: [&str; 10] =
    ["what", "credential", "code", "status", "count", "op", "collection", "claimed", "role", "position"];

impl Cat {
    pub(super) fn run(&self, output: &mut Output) -> Result<(), Failure> {
        let directory = self.place.find()?;
        let since_ms = match self.since {
            None => 0,
            Some(Since::Time(ms)) => ms,
            Some(Since::AgoMs(ms)) => wall_ms().saturating_sub(ms),
        };
        // Times have one form, in which later ones sort behind earlier ones.
        let since = rfc3339(since_ms);
        let mut table = Table::new(&TITLES, &[], output.paint, Output::width());
        for number in files(&directory).map_err(|error| unreadable(&directory, &error))? {
            let mut lines = lines_of(&directory, number).map_err(|error| unreadable(&directory, &error))?;
            let mut line = Vec::new();
            while lines.next(&mut line).map_err(|error| unreadable(&directory, &error))? {
                let Some(entry) = line.strip_suffix(b"\n").and_then(Entry::parse) else { continue };
                let is_wanted = self.event.is_empty() || self.event.contains(&entry.event);
                if entry.time < since || !is_wanted {
                    continue;
                }
                if output.human {
                    row(&entry, &mut table, output)?;
                } else {
                    output.line(&line[..line.len() - 1])?;
                }
            }
        }
        Ok(table.finish(output.writer())?)
    }
}

fn row(entry: &Entry, table: &mut Table, output: &mut Output) -> Result<(), Failure> {
    let time: String = entry.time.replace('T', " ").chars().take(19).collect();
    let text = |name: &str| entry.text(name).unwrap_or_default();
    let what = what(entry);
    Ok(table.row([&time, &entry.event, text("by"), text("peer"), &what], output.writer())?)
}

/// What happened, in a few words.
fn what(entry: &Entry) -> String {
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let told_elsewhere = ["n", "time", "event", "prev", "by", "peer"];
    match &*entry.event {
        "write" | "forward" => {
            let seqs = entry.number("seq").map(|seq| format!("seq {seq}"));
            let seqs = seqs.unwrap_or_else(|| entry.fields.get("seqs").map_or_else(String::new, ranges));
            let recovered = if entry.fields.contains_key("recovered") { ", found after a failure" } else { "" };
            let (op, collection) = (entry.text("op").unwrap_or("?"), entry.text("collection").unwrap_or("?"));
            format!("{op} {collection}, {seqs}{recovered}")
        }
        _ => {
            let fields = entry
                .fields
                .iter()
                .filter(|(name, value)| !told_elsewhere.contains(&name.as_str()) && !value.is_null());
            let mut fields: Vec<_> = fields.collect();
            // A terminal may have no room for all of it: what tells most comes first, the rest by name.
            let place = |name: &str| TELLING.iter().position(|telling| *telling == name).unwrap_or(TELLING.len());
            fields.sort_by_key(|(name, _)| place(name));
            fields.iter().map(|(name, value)| format!("{name} {}", shown(value))).collect::<Vec<_>>().join(", ")
        }
    }
}

/// Ranges of seqs: `seqs 5-9, 12`.
fn ranges(value: &Value) -> String {
    let range = |range: &Value| match (range.get(0).and_then(Value::as_u64), range.get(1).and_then(Value::as_u64)) {
        (Some(first), Some(last)) if first == last => first.to_string(),
        (Some(first), Some(last)) => format!("{first}-{last}"),
        _ => "?".into(),
    };
    let ranges: Vec<_> = value.as_array().into_iter().flatten().map(range).collect();
    format!("seqs {}", ranges.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_an_age() {
        assert_eq!(since("2025-11-20T14:46:40Z"), Ok(Since::Time(1_763_650_000_000)));
        assert_eq!(since("2025-11-20T14:46:40.123Z"), Ok(Since::Time(1_763_650_000_123)));
        assert_eq!(since("30m"), Ok(Since::AgoMs(1_800_000)));
        for text in ["", "yesterday", "7", "2025-11-20"] {
            assert!(since(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_line_is_told_in_few_words() {
        let told = |fields: &str| {
            let prev = "0".repeat(64);
            let line = format!("{{\"n\":1,\"time\":\"t\",{fields},\"prev\":\"{prev}\"}}");
            what(&Entry::parse(line.as_bytes()).unwrap())
        };
        let change = r#""event":"write","op":"set","collection":"c""#;
        assert_eq!(told(&format!("{change},\"seq\":5")), "set c, seq 5");
        assert_eq!(told(&format!("{change},\"count\":4,\"seqs\":[[5,7],[9,9]]")), "set c, seqs 5-7, 9");
        assert_eq!(told(r#""event":"lost","count":3,"since":"then""#), "count 3, since then");
        let refused = r#""event":"refused","by":"ci","code":"forbidden","collection":"c","count":4,"op":"set","since":"t","status":403"#;
        assert_eq!(told(refused), "code forbidden, status 403, count 4, op set, collection c, since t");
        let start = r#""event":"start","cluster":null,"position":"0.0","role":"replica","takeover":0,"version":"1""#;
        assert_eq!(told(start), "role replica, position 0.0, takeover 0, version 1");
    }
}
