//! How long a body each route takes: the same on every node that reads any.
//!
//! How fast they have to come, and how many there may be at one time, is the shells' business.

use super::error::{ApiError, Code};
use super::route::Route;
use crate::limits::{LINE_BYTES_MAX, Limits};
use alloc::format;

/// Bytes of a body beyond what is written: its frame, its guards, its white space. Also the longest body of what
/// makes or changes a key or a token, which may name as many prefixes as a scope.
pub const BODY_SLACK_BYTES: usize = 64 << 10;

/// Longest request for a stream that is read. What of it is kept has narrower bounds, see
/// [`crate::stream::Request::from_body`].
const STREAM_REQUEST_BYTES_MAX: usize = 1 << 20;

/// What of each body is small: bytes up to here are not counted among those of large ones, so that what is large keeps
/// nobody from writing what is not.
pub const SMALL_BODY_BYTES: usize = 64 << 10;

/// The longest bodies in which values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// Bytes for one value, beside [`BODY_SLACK_BYTES`].
    pub value: usize,
    /// Bytes for a batch, beside the same.
    pub batch: usize,
}

impl BodyLimits {
    /// Of a node that hands writes on: as long as any writer takes them. The writer judges them.
    pub const RELAY: Self = Self { value: Limits::VALUE_BYTES_CEILING, batch: LINE_BYTES_MAX };

    /// Of the writer itself.
    pub fn of(limits: &Limits) -> Self {
        Self { value: limits.value_bytes_max, batch: limits.batch_body_bytes_max() }
    }
}

impl Route<'_> {
    /// The longest body that the route takes, in bytes; `None` where nobody reads one.
    pub fn body_bytes_max(&self, limits: BodyLimits) -> Option<usize> {
        match self {
            Self::Set { .. } | Self::Delete { .. } => Some(limits.value + BODY_SLACK_BYTES),
            Self::Batch(_) => Some(limits.batch + BODY_SLACK_BYTES),
            Self::CreateCollection | Self::DropCollection(_) | Self::Key(_) | Self::Tokens => Some(BODY_SLACK_BYTES),
            Self::Replicate => Some(STREAM_REQUEST_BYTES_MAX),
            Self::Read(_) | Self::Keys | Self::File(_) | Self::Document => None,
            Self::Health | Self::Ready | Self::Status | Self::Metrics | Self::Exposition => None,
        }
    }
}

/// 413 for a body of this length or more.
pub fn body_too_large(bytes: u64, limit: usize) -> ApiError {
    ApiError::new(Code::TooLarge, format!("the body has {bytes} bytes or more, the limit is {limit}"))
}

#[cfg(test)]
mod tests {
    use super::super::route;
    use super::*;

    #[test]
    fn each_route_takes_as_long_a_body_as_what_it_writes_may_be() {
        let limits = BodyLimits { value: 1_000, batch: 5_000 };
        for (method, target, taken) in [
            ("PUT", "/v1/collections/c/keys/a", Some(1_000 + BODY_SLACK_BYTES)),
            ("DELETE", "/v1/collections/c/keys/a", Some(1_000 + BODY_SLACK_BYTES)),
            ("POST", "/v1/collections/c/batch", Some(5_000 + BODY_SLACK_BYTES)),
            ("POST", "/v1/collections", Some(BODY_SLACK_BYTES)),
            ("POST", "/v1/keys", Some(BODY_SLACK_BYTES)),
            ("POST", "/v1/tokens", Some(BODY_SLACK_BYTES)),
            ("POST", "/v1/replicate", Some(STREAM_REQUEST_BYTES_MAX)),
            ("GET", "/v1/collections/c/keys/a", None),
            ("GET", "/v1/keys", None),
            ("GET", "/healthz", None),
            ("GET", "/app.js", None),
        ] {
            assert_eq!(route(method, target, None).unwrap().body_bytes_max(limits), taken, "{method} {target}");
        }
        assert!(BodyLimits::of(&Limits::default()).batch <= BodyLimits::RELAY.batch);
    }
}
