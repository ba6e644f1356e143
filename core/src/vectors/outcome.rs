//! What a replica made of a vector, as text that people can review and programs compare.

use super::Request;
use crate::api::rfc3339;
use crate::clock::Now;
use crate::command::{Line, Trust, decode, lines};
use crate::json::write_string;
use crate::record::Record;
use crate::replica::{Cause, Event, Offence, Replica, Retry, Stats};
use crate::store::scan::{Scan, Walk};
use crate::store::{Progress, Snapshot, Store};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What happened, connection by connection.
#[derive(Default)]
pub(super) struct Outcome {
    connections: Vec<Connection>,
}

struct Connection {
    parent: usize,
    request: String,
    events: Vec<String>,
    /// Seqs applied since the last event of another kind: how many at once is no part of the outcome.
    applied: Vec<u64>,
    closed: String,
}

fn string(text: &str) -> String {
    let mut out = Vec::new();
    write_string(&mut out, text);
    String::from_utf8(out).expect("the JSON writer emits UTF-8")
}

/// The cursor and the scope asked for: what a parent decides by.
fn asked(request: &Request) -> String {
    // What was never taken over is not mentioned.
    let takeover = |takeover: Option<u64>| {
        takeover.filter(|&takeover| takeover > 0).map_or_else(String::new, |number| format!(",\"takeover\":{number}"))
    };
    let cursor = request.cursor.as_ref().map_or_else(
        || String::from("null"),
        |cursor| {
            let takeover = takeover(cursor.takeover);
            format!("{{\"position\":\"{}\"{takeover},\"scope\":{}}}", cursor.position, cursor.scope)
        },
    );
    format!("{{\"cursor\":{cursor},\"scope\":{}{}}}", request.scope, takeover(request.takeover))
}

/// The takeover held and the highest accepted, if there are any.
fn takeovers(progress: &Progress) -> String {
    match progress.takeover_highest {
        0 => String::new(),
        highest => format!("  \"takeover\":{},\n  \"takeoverHighest\":{highest},\n", progress.takeover),
    }
}

impl Connection {
    fn applied_ends(&mut self) {
        if !self.applied.is_empty() {
            let seqs: Vec<String> = self.applied.drain(..).map(|seq| format!("{seq}")).collect();
            self.events.push(format!("{{\"applied\":[{}]}}", seqs.join(",")));
        }
    }
}

impl Outcome {
    pub(super) fn connected(&mut self, parent: usize, request: &Request) {
        self.connections.push(Connection {
            parent,
            request: asked(request),
            events: Vec::new(),
            applied: Vec::new(),
            closed: String::new(),
        });
    }

    pub(super) fn event(&mut self, event: &Event) {
        let Some(connection) = self.connections.last_mut() else { return };
        if let Event::Applied(block) = event {
            for (_, line) in lines(block) {
                if let Ok(Line::Log(command)) = decode(line, Trust::Checked) {
                    connection.applied.push(command.seq);
                }
            }
            return;
        }
        connection.applied_ends();
        connection.events.push(match event {
            Event::Applied(_) => return,
            Event::Connected { node, position, baseline } => {
                let resume = baseline.map_or("tail", |reason| reason.as_str());
                format!("{{\"connected\":{},\"position\":\"{position}\",\"resume\":{}}}", string(node), string(resume))
            }
            Event::Advanced(position) => format!("{{\"advanced\":\"{position}\"}}"),
            Event::Rebased { position, before, reason } => {
                format!("{{\"rebased\":\"{position}\",\"before\":\"{before}\",\"reason\":{}}}", string(reason.as_str()))
            }
            Event::Ended(end) => format!(
                "{{\"ended\":{},\"detail\":{},\"retryMs\":{},\"parents\":{}}}",
                string(end.reason.as_str()),
                string(&end.detail),
                end.retry_ms,
                end.parents.len()
            ),
        });
    }

    pub(super) fn closed(&mut self, cause: &Cause, retry: Retry, next: usize) {
        let Some(connection) = self.connections.last_mut() else { return };
        connection.applied_ends();
        let (code, because) = match cause {
            Cause::Offence(offence) => (string(offence.code()), because(offence)),
            _ => (String::from("null"), String::from("null")),
        };
        let Retry { after_ms, new_instance } = retry;
        connection.closed = format!(
            "\"offence\":{code},\n      \"because\":{because},\n      \
             \"retry\":{{\"parent\":{next},\"afterMs\":{after_ms},\"newInstance\":{new_instance}}}"
        );
    }

    /// The whole document: the connections, and what is held in the end.
    pub(super) fn finish<S: Store>(self, replica: &Replica<S>, now: Now, next: &Request) -> String {
        let node = replica.node();
        let progress = node.store().progress();
        let mut out = String::from("{\n  \"connections\":[");
        for (index, connection) in self.connections.iter().enumerate() {
            let Connection { parent, request, events, closed, .. } = connection;
            out += if index == 0 { "\n" } else { ",\n" };
            out += &format!("    {{\n      \"parent\":{parent},\n      \"request\":{request},\n      \"events\":[");
            out += &join(events, "        ");
            out += &format!("{}],\n      {closed}\n    }}", if events.is_empty() { "" } else { "\n      " });
        }
        out += &format!("\n  ],\n  \"next\":{},\n", asked(next));
        out += &format!("  \"position\":\"{}\",\n  \"scope\":{},\n", progress.position, progress.scope);
        out += &format!("  \"complete\":{},\n  \"baselineDue\":{},\n", progress.complete, progress.baseline_due);
        let cluster = progress.cluster.map_or_else(|| String::from("null"), |cluster| format!("\"{cluster}\""));
        let mut epochs = Vec::new();
        progress.epochs.write_json(&mut epochs);
        out += &format!(
            "  \"cluster\":{cluster},\n{}  \"epochHighest\":{},\n  \"epochs\":{},\n",
            takeovers(&progress),
            progress.epoch_highest,
            String::from_utf8_lossy(&epochs)
        );
        let freshness = node.freshness();
        let lag = freshness.lag_ms(now).map_or_else(|| String::from("null"), |lag| format!("{lag}"));
        out += &format!("  \"at\":{},\n  \"lagMs\":{lag},\n  \"stats\":{},\n", freshness.at(), stats(replica.stats()));
        out += "  \"collections\":{";
        out += &held(node.store());
        out + "\n}\n"
    }
}

/// The offence in words. How long a line was when it was given up depends on the pieces.
fn because(offence: &Offence) -> String {
    match offence {
        Offence::LineTooLong(_) => String::from("null"),
        offence => string(&format!("{offence}")),
    }
}

fn join(items: &[String], indent: &str) -> String {
    let lines: Vec<String> = items.iter().map(|item| format!("\n{indent}{item}")).collect();
    lines.join(",")
}

fn stats(stats: Stats) -> String {
    let fields = stats.fields().map(|(name, count)| format!("\"{name}\":{count}"));
    format!("{{{}}}", fields.join(","))
}

/// All collections with their entries, whatever the scope hides: what must be gone is seen to be gone.
fn held<S: Store>(store: &S) -> String {
    let Ok(snapshot) = store.snapshot() else { return String::from("\"no snapshot\"}") };
    let scope = &snapshot.progress().scope;
    let mut collections = Vec::new();
    for facts in snapshot.collections() {
        let mut walk = Walk::from(Scan::under("", None));
        let mut entries: Vec<String> = Vec::new();
        loop {
            match walk.next_record(&snapshot, &facts.name) {
                Ok(Some(record)) => entries.push(entry(&record)),
                Ok(None) => break,
                // Told, or what is unreadable would look like what is not there.
                Err(error) => {
                    entries.push(string(&format!("unreadable: {error}")));
                    break;
                }
            }
        }
        collections.push(format!(
            "{}:{{\n      \"covered\":{},\"created\":{},\"lastSeq\":{},\"keys\":{},\"digest\":\"{}\",\n      \
             \"entries\":[{}{}]\n    }}",
            string(&facts.name),
            scope.touches(&facts.name),
            facts.created,
            facts.last_seq,
            facts.keys,
            facts.digest,
            join(&entries, "        "),
            if entries.is_empty() { "" } else { "\n      " },
        ));
    }
    format!("{}{}}}", join(&collections, "    "), if collections.is_empty() { "" } else { "\n  " })
}

/// An entry as the API shows it, and the fields of later releases that it carries along.
fn entry(record: &Record) -> String {
    let parts = record.parts();
    let extra = if parts.extra.is_empty() { String::new() } else { format!(",\"extra\":{{{}}}", &parts.extra[1..]) };
    format!(
        "{{\"key\":{},\"value\":{},\"version\":{},\"seq\":{},\"updatedAt\":\"{}\"{extra}}}",
        string(parts.key),
        parts.value,
        parts.version,
        parts.seq,
        rfc3339(parts.timestamp)
    )
}
