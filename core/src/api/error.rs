//! The API's errors: one table of codes and statuses, one body.

use crate::json;
use crate::position::Position;
use crate::store::SnapshotError;
use crate::stream::{InvalidRequest, OpenError};
use crate::writer::Refusal;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $status:literal $word:literal,)*) => {
        /// Every error code with its status. `docs/errors.md` says what a client does about each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[doc = $doc])* $variant,)* }

        impl Code {
            /// All codes, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The HTTP status.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// The word in the body's `error`.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// What it means, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),*).trim_ascii(),)* }
            }
        }
    };
}

codes! {
    /// The body is no JSON, or JSON against the text rules, or not of the form asked for.
    InvalidJson = 400 "invalid_json",
    /// A key, collection name or path that cannot be.
    InvalidKey = 400 "invalid_key",
    /// A header or query parameter that cannot be.
    InvalidRequest = 400 "invalid_request",
    /// No collection was named.
    UnnamedCollection = 400 "missing_collection",
    /// Credentials are missing, wrong, or do not cover this.
    Forbidden = 403 "forbidden",
    /// This node takes no writes, by its settings.
    ReadOnly = 403 "read_only",
    /// The collection may not be dropped, by the writer's settings.
    Protected = 403 "protected",
    /// The collection does not exist.
    MissingCollection = 404 "missing_collection",
    /// The entry, or the path, does not exist.
    NotFound = 404 "not_found",
    /// The path exists, the method does not.
    MethodNotAllowed = 405 "method_not_allowed",
    /// The request did not come in time.
    RequestTimeout = 408 "request_timeout",
    /// The position asked for is not on this node's history.
    Diverged = 409 "diverged",
    /// A guard does not hold.
    PreconditionFailed = 412 "precondition_failed",
    /// A key, value, batch or body is over its limit.
    TooLarge = 413 "too_large",
    /// The request line is over its limit.
    UriTooLong = 414 "uri_too_long",
    /// This node does not hold what was asked for, or is not called by this name.
    Misdirected = 421 "misdirected",
    /// The `Idempotency-Key` came with another request before.
    IdempotencyMismatch = 422 "idempotency_mismatch",
    /// More requests than may come from this address, or with these credentials.
    RateLimited = 429 "rate_limited",
    /// The head of the request is over its limit, or has too many headers.
    HeadersTooLarge = 431 "headers_too_large",
    /// A fault of this node's own.
    InternalError = 500 "internal_error",
    /// The parent could not be reached; nothing was sent to it.
    ParentUnavailable = 502 "parent_unavailable",
    /// More than this node takes on at one time.
    Overloaded = 503 "overloaded",
    /// The write may or may not have happened.
    OutcomeUnknown = 503 "outcome_unknown",
    /// This node holds no complete state yet, or is shutting down.
    NotReady = 503 "not_ready",
    /// The position asked for was not reached in time.
    Stale = 504 "stale",
    /// The log's medium is full.
    StorageFull = 507 "storage_full",
    /// The request came through this node already, or through too many.
    Loop = 508 "loop",
}

impl Code {
    /// Whether an answer with it says after how many seconds to come back (`Retry-After`).
    pub fn asks_to_come_back(self) -> bool {
        matches!(self, Self::Overloaded | Self::NotReady | Self::RateLimited)
    }
}

/// An error on its way to a client: a code, words for a person, and facts for a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// What went wrong.
    pub code: Code,
    /// In words: names the value and the limit, and what to do. Never anything internal.
    pub message: Box<str>,
    /// The entry's version and tag, for a guard that does not hold.
    pub current: Option<(u64, String)>,
    /// The command of a batch that was refused.
    pub index: Option<usize>,
    /// Methods the path does take, for `Allow`.
    pub allow: Option<&'static str>,
    /// After how many seconds to come back, for `Retry-After`.
    pub retry_after_s: Option<u32>,
    /// The position and, on a replica, the lag of what it was decided on, where that is known.
    pub as_of: Option<Box<(Position, Option<u64>)>>,
    /// What failed inside, for the node's own log; never sent.
    pub cause: Option<Box<str>>,
}

impl ApiError {
    /// An error of this code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let retry_after_s = code.asks_to_come_back().then_some(1);
        let message = message.into().into_boxed_str();
        Self { code, message, current: None, index: None, allow: None, retry_after_s, as_of: None, cause: None }
    }

    /// The same, decided on what was held at this position.
    #[must_use]
    pub fn as_of(mut self, position: Position, lag_ms: Option<u64>) -> Self {
        self.as_of = Some(Box::new((position, lag_ms)));
        self
    }

    /// 500 for a store that failed.
    pub fn store_failed(error: impl fmt::Display) -> Self {
        let cause = Some(format!("{error}").into());
        Self { cause, ..Self::new(Code::InternalError, "the store failed") }
    }

    /// 403 with the same words whatever was wrong with the credentials.
    pub fn forbidden() -> Self {
        Self::new(
            Code::Forbidden,
            "credentials are missing, wrong, or do not cover this: send the headers apikey and secret",
        )
    }

    /// The JSON body.
    pub fn body(&self) -> Vec<u8> {
        let mut out = Vec::from(&b"{\"ok\":false,\"error\":"[..]);
        json::write_string(&mut out, self.code.word());
        out.extend_from_slice(b",\"message\":");
        json::write_string(&mut out, &self.message);
        if let Some((version, tag)) = &self.current {
            out.extend_from_slice(format!(",\"version\":{version},\"etag\":\"\\\"{tag}\\\"\"").as_bytes());
        }
        if let Some(index) = self.index {
            out.extend_from_slice(format!(",\"index\":{index}").as_bytes());
        }
        out.push(b'}');
        out
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let message = format!("{refusal}");
        let code = match &refusal {
            Refusal::InvalidName(_) | Refusal::KeyLength { bytes: 0, .. } => Code::InvalidKey,
            Refusal::KeyLength { .. } | Refusal::TooLarge { .. } | Refusal::TooManyCollections(_) => Code::TooLarge,
            Refusal::SystemCollection(_) => Code::Forbidden,
            Refusal::Protected(_) => Code::Protected,
            Refusal::MissingCollection(_) => Code::MissingCollection,
            Refusal::NotFound(_) => Code::NotFound,
            Refusal::Precondition(_) => Code::PreconditionFailed,
            Refusal::InvalidBatch(_) => Code::InvalidJson,
            Refusal::KeyTaken => Code::IdempotencyMismatch,
            Refusal::InBatch { .. } | Refusal::Exhausted | Refusal::Store(_) => Code::InternalError,
        };
        let mut error = match refusal {
            Refusal::InBatch { index, refusal } => {
                Self { index: Some(index), message: message.into(), ..Self::from(*refusal) }
            }
            Refusal::Precondition(current) => Self { current, ..Self::new(code, message) },
            Refusal::Store(error) => Self::store_failed(error),
            _ => Self::new(code, message),
        };
        error.retry_after_s = None;
        error
    }
}

impl From<SnapshotError> for ApiError {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::TooMany => {
                Self::new(Code::Overloaded, "too many lists are being read at this time: come back")
            }
            SnapshotError::Gone => Self::new(Code::Overloaded, "too much changed while the list was read: come back"),
            SnapshotError::Store(error) => Self::store_failed(error),
        }
    }
}

impl From<OpenError> for ApiError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NotReady => Self::new(Code::NotReady, "this node holds no complete state yet"),
            OpenError::Forbidden => Self::forbidden(),
            OpenError::Overloaded(what) => {
                Self::new(Code::Overloaded, format!("too many {what} at this time: come back"))
            }
            OpenError::BeyondShare(limit) => {
                let words = format!("there are as many streams of one caller as there may be: {limit}");
                Self::new(Code::Overloaded, words)
            }
            OpenError::Store(error) => Self::store_failed(error),
        }
    }
}

impl From<InvalidRequest> for ApiError {
    fn from(error: InvalidRequest) -> Self {
        Self::new(Code::InvalidJson, format!("the body is no replication request: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_code_and_no_other() {
        let page = include_str!("../../../docs/errors.md");
        let rows = page.lines().filter(|line| line.starts_with("| `"));
        let documented: Vec<_> = rows.map(|row| row.split('|').take(3).collect::<Vec<_>>().join("|")).collect();
        let table: Vec<_> = Code::ALL.iter().map(|code| format!("| `{}` | {} ", code.word(), code.status())).collect();
        assert_eq!(documented, table);
    }

    #[test]
    fn a_batch_keeps_the_inner_code_and_tells_which_command() {
        let inner = Refusal::Precondition(Some((3, "9-1".into())));
        let error = ApiError::from(Refusal::InBatch { index: 2, refusal: Box::new(inner) });
        assert_eq!((error.code, error.index), (Code::PreconditionFailed, Some(2)));
        let body = String::from_utf8(error.body()).unwrap();
        assert!(body.ends_with(r#","version":3,"etag":"\"9-1\"","index":2}"#), "{body}");
    }
}
