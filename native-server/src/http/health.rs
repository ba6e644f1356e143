//! Health, status and metrics.

use super::{reply, setup};
use crate::backup::scheduled::{Made, Standing};
use crate::clock;
use crate::observed;
use crate::server::{Server, Work};
use crate::trouble::Trouble;
use crate::wal::{StoredBaseline, Usage};
use crate::writer::Archived;
use axum::response::Response;
use bytes::Bytes;
use headwater_core::api::{
    self, Answer, ApiError, ArchiveStatus, AuditStatus, BackupStatus, BaselineStatus, DiskFacts, LastBackup,
    MetricsFacts, ParentStatus, StatusFacts, StorageStatus, StorageTrouble, rfc3339,
};
use headwater_core::store::Store;
use std::sync::atomic::Ordering;
use std::sync::{LazyLock, PoisonError};
use std::time::Instant;

/// `GET /healthz`, `/livez`, `/startupz`.
pub(super) fn alive(server: &Server) -> Response {
    reply::respond(server.as_of(api::health(&server.node)))
}

/// `GET /readyz`.
pub(super) fn ready(server: &Server) -> Response {
    let not_draining = ("not_draining", !server.is_draining());
    let taken = ("connections_taken", server.takes_connections.load(Ordering::Relaxed));
    let answer = match &server.work {
        // The log is replayed before the node listens.
        Work::Writer { log, .. } => api::readiness(
            &server.node,
            &[("wal_replayed", true), ("log_writable", log.is_writable()), not_draining],
            &[("log_readable", server.log.is_readable()), taken],
        ),
        Work::Replica(upstream) => {
            let complete = ("state_complete", server.node.is_complete());
            // Without the writer's keys nobody is let in.
            let keyed = ("keys_followed", server.dev.is_some() || server.node.follows_keys());
            let connected = ("parent_connected", upstream.view().connected);
            if server.settings.unready_without_parent {
                api::readiness(&server.node, &[complete, keyed, not_draining, connected], &[taken])
            } else {
                api::readiness(&server.node, &[complete, keyed, not_draining], &[connected, taken])
            }
        }
    };
    reply::respond(server.as_of(answer))
}

/// `GET /v1/status`.
///
/// # Errors
/// 500 when the store fails.
pub(super) fn status(server: &Server) -> Result<Response, ApiError> {
    let uptime_s = server.started.elapsed().as_secs();
    let standing = server.backups.get().map(|standing| standing.lock().unwrap_or_else(PoisonError::into_inner).clone());
    let backup = standing.as_ref().map(|Standing { last, next, failure }| BackupStatus {
        last: last.as_ref().map(|Made { name, created, position, bytes }| LastBackup {
            name,
            created,
            position,
            bytes: *bytes,
        }),
        next: next.as_deref(),
        failure: failure.as_deref(),
    });
    let read_only = server.settings.read_only;
    let standing = server.audit.standing().map(|standing| (standing.head.to_string(), standing.trouble.map(shown)));
    let audit = standing.as_ref().map(|(head, trouble)| AuditStatus {
        head,
        trouble: trouble.as_ref().map(|(message, since)| StorageTrouble { message, since }),
    });
    let setup = setup::setup(server);
    let setup = Some(&*setup);
    let answer = match &server.work {
        Work::Writer { log, .. } => {
            let trouble = log.trouble().map(shown);
            let usage = log.usage();
            let storage = usage.map(|usage| storage_status(usage, log.upkeep_failures(), trouble.as_ref()));
            let archived = log.archived();
            let failure = archived.as_ref().and_then(Archived::failure);
            let archive = archived.as_ref().map(|Archived { through, missing, .. }| ArchiveStatus {
                through: *through,
                missing,
                failure: failure.as_deref(),
            });
            let wal_bytes = &|collection: &str| log.bytes(collection);
            let facts =
                StatusFacts { uptime_s, wal_bytes, read_only, audit, storage, archive, backup, parent: None, setup };
            api::status(&server.node, &facts, clock::now())
        }
        Work::Replica(upstream) => {
            let view = upstream.view();
            let url = upstream.parent().to_string();
            let parent = ParentStatus {
                url: &url,
                connected: view.connected,
                stats: view.stats,
                stored: upstream.stored(),
                waiting: view.waiting.as_ref().map(|(why, until)| {
                    (
                        why.as_str(),
                        u64::try_from(until.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(0),
                    )
                }),
                last_offence: view.last_offence.as_ref().map(|(code, words)| (*code, words.clone())),
            };
            let trouble = upstream.disk_trouble().map(shown);
            let storage = Some(storage_status(upstream.disk_usage(), upstream.disk_failures(), trouble.as_ref()));
            let (wal_bytes, archive, parent) = (&|_: &str| 0, None, Some(parent));
            let facts = StatusFacts { uptime_s, wal_bytes, read_only, audit, storage, archive, backup, parent, setup };
            api::status(&server.node, &facts, clock::now())
        }
    };
    answer.map(reply::respond)
}

/// `GET /v1/metrics`.
pub(super) fn metrics(server: &Server) -> Response {
    reply::respond(server.as_of(api::metrics(&server.node, &facts(server), clock::now())))
}

/// `GET /openapi.json`. Written once: it is for everybody, as often as they like.
pub(super) fn document(server: &Server) -> Response {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| api::document().into());
    reply::respond(server.as_of(Answer::json(DOCUMENT.clone())))
}

/// What this shell knows for core's numbers.
pub(super) fn facts(server: &Server) -> MetricsFacts<'_> {
    let baselines = observed::BASELINES_STORED.value();
    let (parent, disk) = match &server.work {
        Work::Writer { log, .. } => {
            let disk = log.usage().map(|usage| DiskFacts {
                failures: log.upkeep_failures(),
                baselines,
                bytes: disk_bytes(usage),
                behind: false,
            });
            (None, disk)
        }
        Work::Replica(upstream) => {
            let view = upstream.view();
            let disk = DiskFacts {
                failures: upstream.disk_failures(),
                baselines,
                bytes: disk_bytes(upstream.disk_usage()),
                behind: upstream.stored() != Some(server.node.store().position()),
            };
            (Some((view.connected, view.stats)), Some(disk))
        }
    };
    MetricsFacts { counts: &server.metrics, uptime_s: server.started.elapsed().as_secs(), parent, disk }
}

/// Message and time of a trouble.
fn shown(trouble: Trouble) -> (String, String) {
    (trouble.message, rfc3339(trouble.since_ms))
}

fn storage_status(usage: Usage, failures: u64, trouble: Option<&(String, String)>) -> StorageStatus<'_> {
    let Usage { log_bytes, replay_bytes, segments, baseline } = usage;
    let baseline = baseline.map(|StoredBaseline { seq, bytes, keys }| BaselineStatus { seq, bytes, keys });
    let trouble = trouble.map(|(message, since)| StorageTrouble { message, since });
    StorageStatus { log_bytes, replay_bytes, segments, baseline, failures, trouble }
}

fn disk_bytes(usage: Usage) -> u64 {
    usage.log_bytes + usage.baseline.map_or(0, |baseline| baseline.bytes)
}
