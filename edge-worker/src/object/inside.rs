//! What the object says of itself: readiness, status and metrics.

use super::Object;
use crate::store::{SqliteSnapshot, SqliteStore};
use headwater_core::api::{self, Answer, ApiError, DiskFacts, MetricsFacts, ParentStatus, StatusFacts};
use headwater_core::clock::Now;
use headwater_core::node::Node;

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
            waiting: None,
            last_offence: replica.last_offence().map(|offence| (offence.code(), offence.to_string())),
        });
        api::status(
            &self.node,
            &StatusFacts {
                uptime_s: self.uptime_s(now),
                wal_bytes: &|_| 0,
                read_only: false,
                audit: None,
                storage: None,
                archive: None,
                backup: None,
                parent,
                setup: None,
            },
            now,
        )
    }

    /// `GET /v1/metrics`.
    pub(super) fn metrics(&self) -> Answer<SqliteSnapshot> {
        self.numbers(api::metrics)
    }

    /// `GET /metrics`.
    pub(super) fn exposition(&self) -> Answer<SqliteSnapshot> {
        self.numbers(|node, facts, now| api::exposition(node, facts, now, |_| ()))
    }

    fn numbers(
        &self,
        answer: impl FnOnce(&Node<SqliteStore>, &MetricsFacts<'_>, Now) -> Answer<SqliteSnapshot>,
    ) -> Answer<SqliteSnapshot> {
        let now = self.clock.now();
        let parent = {
            let replica = self.replica.borrow();
            Some((replica.is_connected(), replica.stats()))
        };
        let disk = Some(DiskFacts {
            failures: self.flush_failures.value(),
            // The object's storage has no such thing: each change is an entry of its own there.
            baselines: 0,
            bytes: self.store.bytes_stored(),
            behind: self.store.needs_flush(),
        });
        let facts = MetricsFacts { counts: &self.counts, uptime_s: self.uptime_s(now), parent, disk };
        answer(&self.node, &facts, now)
    }

    fn uptime_s(&self, now: Now) -> u64 {
        now.mono_ms.saturating_sub(self.started_mono_ms) / 1_000
    }
}
