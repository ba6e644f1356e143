//! What the object says of itself: readiness, status and metrics.

use super::Object;
use crate::store::SqliteSnapshot;
use headwater_core::api::{self, Answer, ApiError, ParentStatus, StatusFacts};
use headwater_core::store::Store as _;
use std::cell::Cell;

/// Counts since the object started; each only grows.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: Count,
    pub(super) forbidden: Count,
    pub(super) reads: Count,
    pub(super) reads_forwarded: Count,
    pub(super) writes_forwarded: Count,
    pub(super) streams: Count,
    pub(super) flush_failures: Count,
}

/// One count.
#[derive(Debug, Default)]
pub(super) struct Count(Cell<u64>);

impl Count {
    pub(super) fn one(&self) {
        self.0.set(self.0.get() + 1);
    }
}

impl Object {
    /// `GET /readyz`: a complete state makes it ready, whether or not the parent is there.
    pub(super) fn readiness(&self) -> Answer<SqliteSnapshot> {
        let connected = self.replica.borrow().is_connected();
        let complete = ("state_complete", self.node.is_complete());
        api::readiness(&self.node, &[complete], &[("parent_connected", connected)])
    }

    /// `GET /v1/status`.
    pub(super) fn status(&self) -> Result<Answer<SqliteSnapshot>, ApiError> {
        let now = self.clock.now();
        let replica = self.replica.borrow();
        let parent = self.settings.parents.get(replica.parent()).map(|url| ParentStatus {
            url,
            connected: replica.is_connected(),
            stats: replica.stats(),
            stored: self.store.stored(),
            last_offence: replica.last_offence().map(|offence| (offence.code(), offence.to_string())),
        });
        let uptime_s = now.mono_ms.saturating_sub(self.started_mono_ms) / 1_000;
        api::status(&self.node, &StatusFacts { uptime_s, wal_bytes: &|_| 0, parent }, now)
    }

    /// `GET /v1/metrics`: the names of the native node, and the object's own.
    pub(super) fn metrics(&self) -> String {
        let (stats, connected) = {
            let replica = self.replica.borrow();
            (replica.stats(), replica.is_connected())
        };
        let counts = &self.counts;
        let now = self.clock.now();
        let numbers = [
            ("requests_total", counts.requests.0.get()),
            ("requests_forbidden_total", counts.forbidden.0.get()),
            ("reads_total", counts.reads.0.get()),
            ("reads_forwarded_total", counts.reads_forwarded.0.get()),
            ("writes_total", 0),
            ("writes_forwarded_total", counts.writes_forwarded.0.get()),
            ("replication_streams_total", counts.streams.0.get()),
            ("replication_commands_received_total", stats.commands),
            ("replication_baselines_total", stats.baselines),
            ("replication_gaps_total", stats.gaps),
            ("replication_divergences_total", stats.divergences),
            ("replication_faults_total", stats.faults),
            ("replication_connections_total", stats.connections),
            ("replica_disk_failures_total", counts.flush_failures.0.get()),
            ("replica_disk_bytes", self.store.bytes_stored()),
            ("children_connected", self.node.children().len() as u64),
            ("position_seq", self.store.position().seq),
            ("uptime_seconds", now.mono_ms.saturating_sub(self.started_mono_ms) / 1_000),
        ];
        let behind = self.store.needs_flush();
        let mut out = format!("{{\"parent_connected\":{connected},\"replica_disk_behind\":{behind}");
        for (name, number) in numbers {
            out.push_str(&format!(",\"{name}\":{number}"));
        }
        if let Some(lag_ms) = self.node.lag_ms(now) {
            out.push_str(&format!(",\"lag_ms\":{lag_ms}"));
        }
        out.push('}');
        out
    }
}
