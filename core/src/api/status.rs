//! `GET /v1/status`: what a person or a dashboard wants to know of a node.

use super::answer::Answer;
use super::error::ApiError;
use crate::clock::Now;
use crate::json::write_string;
use crate::name;
use crate::node::{Child, Node, Role};
use crate::position::{Position, Term};
use crate::replica::Stats;
use crate::store::Store;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What only the shell knows.
pub struct StatusFacts<'a> {
    /// Seconds since the node started.
    pub uptime_s: u64,
    /// Bytes of a collection's lines that the log holds behind its stored baseline; 0 where there is no log.
    pub wal_bytes: &'a dyn Fn(&str) -> u64,
    /// Whether writes are refused, by its settings.
    pub read_only: bool,
    /// The audit log; `None` where there is none.
    pub audit: Option<AuditStatus<'a>>,
    /// What the node keeps on its own disk; `None` where it has none, or lets somebody else keep it.
    pub storage: Option<StorageStatus<'a>>,
    /// Copies of the log that the node makes elsewhere; `None` where it makes none.
    pub archive: Option<ArchiveStatus<'a>>,
    /// The backups that the node makes of itself; `None` where it makes none.
    pub backup: Option<BackupStatus<'a>>,
    /// The parent, on a replica.
    pub parent: Option<ParentStatus<'a>>,
    /// How the node is set up and what it runs on, as a JSON object; `None` where there is nothing to tell.
    pub setup: Option<&'a str>,
}

/// The log of who changed what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditStatus<'a> {
    /// Number and hash of its newest line.
    pub head: &'a str,
    /// Why it cannot be written at this time; `None` where it can.
    pub trouble: Option<StorageTrouble<'a>>,
}

/// Backups that a node makes of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupStatus<'a> {
    /// The newest one.
    pub last: Option<LastBackup<'a>>,
    /// When the next one is due, RFC 3339.
    pub next: Option<&'a str>,
    /// Why the last attempt failed; `None` where it did not.
    pub failure: Option<&'a str>,
}

/// A backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastBackup<'a> {
    /// Its name.
    pub name: &'a str,
    /// When it was made, RFC 3339.
    pub created: &'a str,
    /// What it is exact as of.
    pub position: &'a str,
    /// Its bytes.
    pub bytes: u64,
}

/// Sealed parts of the log, copied elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveStatus<'a> {
    /// Seq up to which everything sealed is copied, but for what is missing; 0 for nothing yet.
    pub through: u64,
    /// First and last seq each of records that are in no copy.
    pub missing: &'a [(u64, u64)],
    /// Why the last copy failed; `None` where it did not.
    pub failure: Option<&'a str>,
}

/// What a node keeps on its own disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageStatus<'a> {
    /// Bytes of log.
    pub log_bytes: u64,
    /// Bytes of log that a start has to apply, beside the baseline.
    pub replay_bytes: u64,
    /// Files the log is made of.
    pub segments: u64,
    /// The stored baseline.
    pub baseline: Option<BaselineStatus>,
    /// How often something could not be stored or let go of, since the start.
    pub failures: u64,
    /// What is wrong with it at this time; `None` for nothing.
    pub trouble: Option<StorageTrouble<'a>>,
}

/// Something that the disk does not do, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageTrouble<'a> {
    /// In words.
    pub message: &'a str,
    /// Since when, RFC 3339.
    pub since: &'a str,
}

/// A stored baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaselineStatus {
    /// The seq it is exact at.
    pub seq: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Entries in it.
    pub keys: u64,
}

/// A replica's view of its parent.
pub struct ParentStatus<'a> {
    /// The parent's address.
    pub url: &'a str,
    /// Whether the stream is open.
    pub connected: bool,
    /// What the connection has seen.
    pub stats: Stats,
    /// What a restart would find on this node's own disk; `None` for nothing yet.
    pub stored: Option<Position>,
    /// Why no parent is followed at this time, and in how many ms the next is tried, 0 while it is; `None` where one is
    /// followed.
    pub waiting: Option<(&'a str, u64)>,
    /// The last thing the parent did wrong, by its short name and in words.
    pub last_offence: Option<(&'a str, String)>,
}

/// Answers `GET /v1/status`.
///
/// # Errors
/// 500 when the store fails.
pub fn status<S: Store>(node: &Node<S>, facts: &StatusFacts<'_>, now: Now) -> Result<Answer<S::Snapshot>, ApiError> {
    let lag_ms = node.lag_ms(now);
    let progress = node.store().progress();
    let collections = node.store().collections().map_err(ApiError::store_failed)?;
    let mut body = Vec::from(&b"{\"node\":"[..]);
    write_string(&mut body, &node.options().label);
    let text = |body: &mut Vec<u8>, text: &str| body.extend_from_slice(text.as_bytes());
    text(&mut body, &format!(",\"role\":\"{}\",\"parent\":", node.options().role.as_str()));
    match &facts.parent {
        Some(parent) => write_string(&mut body, parent.url),
        None => text(&mut body, "null"),
    }
    text(&mut body, ",\"collections\":{");
    let shown = collections.iter().filter(|c| !name::is_system(&c.name) && progress.scope.touches(&c.name));
    for (index, collection) in shown.enumerate() {
        if index > 0 {
            body.push(b',');
        }
        write_string(&mut body, &collection.name);
        let (keys, last_seq) = (collection.keys, collection.last_seq);
        let wal_bytes = (facts.wal_bytes)(&collection.name);
        let digest = collection.digest.to_wire();
        text(
            &mut body,
            &format!(
                ":{{\"keys\":{keys},\"lastSeq\":{last_seq},\"walSizeBytes\":{wal_bytes},\"digest\":\"{digest}\"}}"
            ),
        );
    }
    text(&mut body, "},\"children\":[");
    for (index, child) in node.children().iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        write_child(&mut body, child, progress.position.seq);
    }
    text(&mut body, "],\"storage\":");
    write_storage(&mut body, facts.storage);
    if let Some(ArchiveStatus { through, missing, failure }) = facts.archive {
        text(&mut body, &format!(",\"archive\":{{\"through\":{through},\"missing\":["));
        for (index, (first, last)) in missing.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            text(&mut body, &format!("{comma}{{\"first\":{first},\"last\":{last}}}"));
        }
        text(&mut body, "],\"failure\":");
        write_text_or_null(&mut body, failure);
        text(&mut body, "}");
    }
    if let Some(backup) = facts.backup {
        write_backup(&mut body, backup);
    }
    if let Some(AuditStatus { head, trouble }) = facts.audit {
        text(&mut body, &format!(",\"audit\":{{\"head\":\"{head}\",\"trouble\":"));
        write_trouble(&mut body, trouble);
        text(&mut body, "}");
    }
    if facts.read_only {
        text(&mut body, ",\"readOnly\":true");
    }
    if let Some(setup) = facts.setup {
        text(&mut body, &format!(",\"setup\":{setup}"));
    }
    text(&mut body, &format!(",\"uptimeSeconds\":{},\"instance\":\"{}\"", facts.uptime_s, node.instance()));
    if let Some(cluster) = progress.cluster {
        text(&mut body, &format!(",\"cluster\":\"{cluster}\""));
    }
    let (enabled, connected) = (facts.parent.is_some(), facts.parent.as_ref().is_some_and(|parent| parent.connected));
    text(
        &mut body,
        &format!(
            ",\"replication\":{{\"enabled\":{enabled},\"parent_connected\":{connected},\"complete\":{},\"position\":\"{}\",\"epoch\":{},\"takeover\":{},\"seq\":{},\"scope\":{},\"lagMs\":",
            progress.complete,
            progress.position,
            progress.position.epoch,
            progress.takeover,
            progress.position.seq,
            progress.scope
        ),
    );
    match lag_ms {
        Some(lag_ms) => text(&mut body, &format!("{lag_ms}")),
        None => text(&mut body, "null"),
    }
    if let Some(parent) = &facts.parent {
        write_parent(&mut body, parent);
    }
    text(&mut body, "}");
    if node.options().role == Role::Primary {
        let by = node.deposed_by();
        text(&mut body, &format!(",\"deposed\":{}", by.is_some()));
        if let Some(Term { takeover, epoch }) = by {
            // The epoch may not be known yet.
            for (name, number) in [("deposedBy", epoch), ("deposedByTakeover", takeover)] {
                if number > 0 {
                    text(&mut body, &format!(",\"{name}\":{number}"));
                }
            }
        }
    }
    text(&mut body, "}");
    Ok(Answer::json(body).as_of(progress.position, enabled.then_some(lag_ms).flatten()))
}

fn write_text_or_null(body: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => write_string(body, text),
        None => body.extend_from_slice(b"null"),
    }
}

fn write_backup(body: &mut Vec<u8>, backup: BackupStatus<'_>) {
    body.extend_from_slice(b",\"backup\":{\"last\":");
    match backup.last {
        None => body.extend_from_slice(b"null"),
        Some(LastBackup { name, created, position, bytes }) => {
            body.extend_from_slice(b"{\"name\":");
            write_string(body, name);
            body.extend_from_slice(
                format!(",\"created\":\"{created}\",\"position\":\"{position}\",\"bytes\":{bytes}}}").as_bytes(),
            );
        }
    }
    body.extend_from_slice(b",\"next\":");
    write_text_or_null(body, backup.next);
    body.extend_from_slice(b",\"failure\":");
    write_text_or_null(body, backup.failure);
    body.push(b'}');
}

fn write_storage(body: &mut Vec<u8>, storage: Option<StorageStatus<'_>>) {
    let Some(StorageStatus { log_bytes, replay_bytes, segments, baseline, failures, trouble }) = storage else {
        return body.extend_from_slice(b"null");
    };
    let baseline = baseline.map_or_else(
        || String::from("null"),
        |BaselineStatus { seq, bytes, keys }| format!("{{\"seq\":{seq},\"bytes\":{bytes},\"keys\":{keys}}}"),
    );
    body.extend_from_slice(
        format!(
            "{{\"logBytes\":{log_bytes},\"replayBytes\":{replay_bytes},\"segments\":{segments},\"baseline\":{baseline},\"failures\":{failures},\"trouble\":"
        )
        .as_bytes(),
    );
    write_trouble(body, trouble);
    body.push(b'}');
}

fn write_trouble(body: &mut Vec<u8>, trouble: Option<StorageTrouble<'_>>) {
    let Some(StorageTrouble { message, since }) = trouble else { return body.extend_from_slice(b"null") };
    body.extend_from_slice(b"{\"message\":");
    write_string(body, message);
    body.extend_from_slice(b",\"since\":");
    write_string(body, since);
    body.push(b'}');
}

fn write_child(body: &mut Vec<u8>, child: &Child, head_seq: u64) {
    body.extend_from_slice(b"{\"node\":");
    write_string(body, &child.node);
    if let Some(instance) = child.instance {
        body.extend_from_slice(format!(",\"instance\":\"{instance}\"").as_bytes());
    }
    let lag = head_seq.saturating_sub(child.sent_seq);
    let (sent_seq, scope, in_baseline) = (child.sent_seq, &child.scope, child.in_baseline);
    body.extend_from_slice(
        format!(",\"scope\":{scope},\"sentSeq\":{sent_seq},\"lagSeq\":{lag},\"inBaseline\":{in_baseline}}}").as_bytes(),
    );
}

fn write_parent(body: &mut Vec<u8>, parent: &ParentStatus<'_>) {
    let stored = parent.stored.map_or_else(|| String::from("null"), |position| format!("\"{position}\""));
    body.extend_from_slice(format!(",\"storedPosition\":{stored}").as_bytes());
    for (name, count) in parent.stats.fields() {
        body.extend_from_slice(format!(",\"{name}\":{count}").as_bytes());
    }
    body.extend_from_slice(b",\"baselinesByReason\":{");
    for (index, (reason, count)) in parent.stats.baselines.by_reason().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        body.extend_from_slice(format!("{comma}\"{}\":{count}", reason.as_str()).as_bytes());
    }
    body.push(b'}');
    if let Some((why, retry_in_ms)) = parent.waiting {
        body.extend_from_slice(format!(",\"notFollowing\":{{\"retryInMs\":{retry_in_ms},\"why\":").as_bytes());
        write_string(body, why);
        body.push(b'}');
    }
    if let Some((code, words)) = &parent.last_offence {
        body.extend_from_slice(format!(",\"lastOffence\":{{\"code\":\"{code}\",\"message\":").as_bytes());
        write_string(body, words);
        body.push(b'}');
    }
}
