//! Health, status and metrics.

use super::{guard, reply};
use crate::clock;
use crate::server::{Server, Work};
use axum::http::request::Parts;
use axum::response::Response;
use headwater_core::api::{self, Answer, ApiError, ParentStatus, StatusFacts};
use headwater_core::store::Store;

/// `GET /healthz`, `/livez`, `/startupz`.
pub(super) fn alive(server: &Server) -> Response {
    reply::respond(server.as_of(api::health(&server.node)))
}

/// `GET /readyz`.
pub(super) fn ready(server: &Server) -> Response {
    let not_draining = ("not_draining", !server.is_draining());
    let answer = match &server.work {
        // The log is replayed before the node listens.
        Work::Writer { log, .. } => api::readiness(
            &server.node,
            &[("wal_replayed", true), ("log_writable", log.is_writable()), not_draining],
            &[("log_readable", server.log.is_readable())],
        ),
        Work::Replica(upstream) => {
            let complete = ("state_complete", server.node.is_complete());
            let connected = ("parent_connected", upstream.view().connected);
            if server.settings.unready_without_parent {
                api::readiness(&server.node, &[complete, not_draining, connected], &[])
            } else {
                api::readiness(&server.node, &[complete, not_draining], &[connected])
            }
        }
    };
    reply::respond(server.as_of(answer))
}

/// `GET /v1/status`.
pub(super) fn status(server: &Server, parts: &Parts) -> Result<Response, ApiError> {
    guard::grant(server, &parts.headers)?;
    let uptime_s = server.started.elapsed().as_secs();
    let answer = match &server.work {
        Work::Writer { log, .. } => {
            let facts = StatusFacts { uptime_s, wal_bytes: &|collection| log.bytes(collection), parent: None };
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
                last_offence: view.last_offence.as_ref().map(|(code, words)| (*code, words.clone())),
            };
            let facts = StatusFacts { uptime_s, wal_bytes: &|_| 0, parent: Some(parent) };
            api::status(&server.node, &facts, clock::now())
        }
    };
    answer.map(reply::respond)
}

/// `GET /v1/metrics`.
pub(super) fn metrics(server: &Server, parts: &Parts) -> Result<Response, ApiError> {
    guard::grant(server, &parts.headers)?;
    let mut more = vec![
        ("children_connected", server.node.children().len().to_string()),
        ("position_seq", server.node.store().position().seq.to_string()),
        ("uptime_seconds", server.started.elapsed().as_secs().to_string()),
    ];
    let (mut received, mut connected) = (0, false);
    if let Work::Replica(upstream) = &server.work {
        let view = upstream.view();
        (received, connected) = (view.stats.commands, view.connected);
        more.extend([
            ("replication_baselines_total", view.stats.baselines.to_string()),
            ("replication_gaps_total", view.stats.gaps.to_string()),
            ("replication_divergences_total", view.stats.divergences.to_string()),
            ("replication_faults_total", view.stats.faults.to_string()),
            ("replication_connections_total", view.stats.connections.to_string()),
            ("replica_disk_failures_total", upstream.disk_failures().to_string()),
        ]);
        if let Some(lag_ms) = server.node.lag_ms(clock::now()) {
            more.push(("lag_ms", lag_ms.to_string()));
        }
    }
    more.push(("replication_commands_received_total", received.to_string()));
    more.push(("parent_connected", connected.to_string()));
    Ok(reply::respond(server.as_of(Answer::json(server.metrics.to_json(&more)))))
}
