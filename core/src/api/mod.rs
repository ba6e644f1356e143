//! The HTTP API without HTTP: what is asked for, what is answered. The same functions answer on the writer, on replicas,
//! in the edge worker and in the browser, so the bytes are the same.

mod answer;
mod authorize;
mod bodies;
mod condition;
mod error;
mod exposition;
mod forward;
mod histogram;
pub mod host;
mod keys;
mod metrics;
mod openapi;
mod read;
mod repeat;
mod request;
mod route;
mod status;
#[cfg(test)]
mod tests;
mod time;
mod tokens;
mod wait;

pub use answer::{Answer, Body, CONTENT_JSON, CONTENT_NDJSON, ListBody};
pub use authorize::{DEV, Shown, authorize, claimed_by_token, permit, permit_batch, permit_create, permit_read, still};
pub use bodies::{BODY_SLACK_BYTES, BodyLimits, SMALL_BODY_BYTES, body_too_large};
pub use condition::{Conditions, parse_tags};
pub use error::{ApiError, Code};
pub use exposition::{CONTENT_METRICS, Exposition, Family, Kind, seconds_of_ms};
pub use forward::{ANSWER_HEADERS, REQUEST_HEADERS, retry_after_ms, via};
pub use histogram::Histogram;
pub use keys::{Drawn, GRACE_MS_MAX, KEY_ID_BYTES_MAX, KeyChange, KeyFate, KeyRequest, has_admin, keys};
pub use metrics::{Count, Counts, DiskFacts, MetricsFacts, Refusals, exposition, metrics};
pub use openapi::document;
pub use read::{Answered, collections, entry, health, list, read, readiness};
pub use repeat::{IDEMPOTENCY_KEY_BYTES_MAX, idempotency_key};
pub use request::{BatchOp, EntryBody, batch_body, collection_name, entry_body};
pub use route::{KeyRoute, LIST_LIMIT_MAX, ListQuery, Read, Route, encode, route};
pub use status::{
    ArchiveStatus, AuditStatus, BackupStatus, BaselineStatus, LastBackup, ParentStatus, StatusFacts, StorageStatus,
    StorageTrouble, status,
};
pub use time::{rfc3339, unix_ms};
pub use tokens::{TOKEN_S, token};
pub use wait::Wait;

/// Header: the position an answer is as of, `<epoch>.<seq>`.
pub const HEADER_POSITION: &str = "headwater-position";
/// Header: how far a replica is behind the writer, in ms.
pub const HEADER_LAG: &str = "headwater-lag-ms";
/// Header: the position a read must have reached.
pub const HEADER_MIN_POSITION: &str = "headwater-min-position";
/// Header: how long a read may wait for it, in ms.
pub const HEADER_WAIT: &str = "headwater-wait-ms";
/// Header: by which a write that is sent again is known.
pub const HEADER_IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Headers: the two halves of a pair, see [`Shown`].
pub const HEADER_APIKEY: &str = "apikey";
/// See [`HEADER_APIKEY`].
pub const HEADER_SECRET: &str = "secret";
/// Header: a token, see [`Shown`].
pub const HEADER_AUTHORIZATION: &str = "authorization";
/// Header: instances a forwarded request came through, separated by commas.
pub const HEADER_VIA: &str = "headwater-via";

/// How long a read waits for its position unless it says otherwise, in ms.
pub const WAIT_MS_DEFAULT: u64 = 5_000;
/// Longest time a read may ask to wait, in ms.
pub const WAIT_MS_MAX: u64 = 30_000;
/// Most nodes a forwarded request may come through.
pub const HOPS_MAX: usize = 8;
