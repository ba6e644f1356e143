//! Writes what a diff says, entry by entry and a few at a time, each guarded by what the diff saw.
//!
//! The one place that knows how entries reach the node.

use super::diff::{Change, CollectionDiff, Row};
use crate::cli::client::{Call, Client};
use crate::cli::entry;
use crate::cli::failure::{Failure, Kind};
use crate::cli::progress::Progress;
use axum::http::header::{HeaderValue, IF_MATCH, IF_NONE_MATCH};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Requests under way at one time: enough to share the node's syncs, few enough to leave it to others.
const UNDER_WAY_MAX: usize = 32;
/// How often a node that has too much to do is asked again.
const TRIES_MAX: u32 = 8;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Applied {
    pub(super) added: u64,
    pub(super) changed: u64,
    pub(super) removed: u64,
    /// Keys that were changed by somebody else since the diff was made, and were left alone: collection and key.
    pub(super) conflicts: Vec<(String, String)>,
}

impl Applied {
    /// Entries written.
    pub(super) fn written(&self) -> u64 {
        self.added + self.changed + self.removed
    }
}

/// One write on its way.
struct Write {
    change: Change,
    collection: String,
    key: String,
    value: Option<String>,
    /// The ETag it must still have; `None` for a key that was not there.
    tag: Option<String>,
}

impl Write {
    fn of(collection: &str, row: &Row<'_>) -> Option<Self> {
        if matches!(row.change, Change::Kept | Change::Unchanged) {
            return None;
        }
        Some(Self {
            change: row.change,
            collection: collection.into(),
            key: row.key.clone().into_owned(),
            value: row.wanted.as_ref().map(|text| text.clone().into_owned()),
            tag: row.tag.clone(),
        })
    }

    fn call(&self, force: bool) -> Call {
        let target = entry::target(&self.collection, &self.key);
        let call = match &self.value {
            Some(value) => Call::post(target, format!("{{\"value\":{value}}}")),
            None => Call::delete(target),
        };
        match &self.tag {
            _ if force => call,
            None => call.with(IF_NONE_MATCH, "*"),
            Some(tag) => call.with_value(IF_MATCH, HeaderValue::from_str(tag).expect("an ETag is digits in quotes")),
        }
    }

    /// Sends it, again if the node is certain that it did nothing. Whether it was written; `false` where the guard did
    /// not hold.
    async fn send(&self, client: &Client, force: bool) -> Result<bool, Failure> {
        for _ in 1..TRIES_MAX {
            match self.send_once(client, force).await {
                Err(failure) if failure.is("overloaded") || failure.is("rate_limited") => {
                    sleep(Duration::from_secs(failure.retry_after_s.unwrap_or(1).clamp(1, 30))).await;
                }
                outcome => return outcome,
            }
        }
        self.send_once(client, force).await
    }

    async fn send_once(&self, client: &Client, force: bool) -> Result<bool, Failure> {
        match client.call(self.call(force)).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.is("precondition_failed") => Ok(false),
            // Somebody else removed it: gone is what was wanted, and with a guard, not what was seen.
            Err(failure) if failure.is("not_found") && self.change == Change::Removed => Ok(force),
            Err(failure) => {
                let message = format!("{} {:?}: {}", self.collection, self.key, failure.message);
                Err(Failure { message, ..failure })
            }
        }
    }
}

/// Makes the node hold what the file has. Conflicts do not stop it, anything else does; what is under way then is waited
/// for.
///
/// # Errors
/// The first failure, and in `applied` what was written before and beside it.
pub(super) async fn apply(
    client: Arc<Client>,
    diffs: &[CollectionDiff<'_>],
    force: bool,
    applied: &mut Applied,
    progress: &mut Progress,
) -> Result<(), Failure> {
    for diff in diffs.iter().filter(|diff| diff.is_new) {
        crate::cli::collections::create(&client, &diff.name).await?;
    }
    let rows = diffs.iter().flat_map(|diff| diff.rows.iter().map(|row| (&*diff.name, row)));
    let mut writes = rows.filter_map(|(name, row)| Write::of(name, row));
    let total: usize = diffs
        .iter()
        .flat_map(|diff| &diff.rows)
        .filter(|row| !matches!(row.change, Change::Kept | Change::Unchanged))
        .count();
    let mut under_way = JoinSet::new();
    let mut failed: Option<Failure> = None;
    loop {
        while failed.is_none() && under_way.len() < UNDER_WAY_MAX {
            let Some(write) = writes.next() else { break };
            let client = Arc::clone(&client);
            under_way.spawn(async move {
                let outcome = write.send(&client, force).await;
                (write, outcome)
            });
        }
        let Some(ended) = under_way.join_next().await else { break };
        match ended.map_err(|error| Failure::unable(format!("a write was not carried out: {error}")))? {
            (write, Ok(true)) => match write.change {
                Change::Added => applied.added += 1,
                Change::Removed => applied.removed += 1,
                Change::Changed | Change::Kept | Change::Unchanged => applied.changed += 1,
            },
            (write, Ok(false)) => applied.conflicts.push((write.collection, write.key)),
            // One whose outcome is not known is worth more than one that was refused.
            (_, Err(failure)) => {
                if failed.as_ref().is_none_or(|_| failure.kind == Kind::OutcomeUnknown) {
                    failed = Some(failure);
                }
            }
        }
        progress.show(|| format!("{} of {total} written", applied.written()));
    }
    applied.conflicts.sort_unstable();
    failed.map_or(Ok(()), Err)
}
