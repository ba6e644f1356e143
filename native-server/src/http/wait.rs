//! Reads that must see a position: they wait until the node has reached it.

use crate::pool::Caller;
use crate::server::Server;
use axum::http::HeaderMap;
use headwater_core::api::{ApiError, Code, HEADER_MIN_POSITION, HEADER_WAIT, Wait};
use headwater_core::store::Store;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Waits until the node has reached the position that the headers ask for, if they do; tells whether it had to wait. It
/// waits out of the share of `caller`, if there is one.
///
/// # Errors
/// 409 `diverged` at once when it never will, 504 `stale` after the time asked for, 503 when too many wait or the node
/// is shutting down, 400 for a header that cannot be.
pub(super) async fn reached(
    server: &Server,
    headers: &HeaderMap,
    caller: Option<Caller<'_>>,
) -> Result<bool, ApiError> {
    let Some(wait) = Wait::read(one(headers, HEADER_MIN_POSITION)?, one(headers, HEADER_WAIT)?)? else {
        return Ok(false);
    };
    let store = server.node.store();
    if wait.is_over(&store.progress())? {
        return Ok(false);
    }
    let _waiting = server.waiters.take(1, caller.map(|caller| server.waiters.key(caller)))?;
    let mut listener = server.bell.listen();
    let until = Instant::now() + Duration::from_millis(wait.ms);
    loop {
        listener.attend();
        if wait.is_over(&store.progress())? {
            return Ok(true);
        }
        if server.is_draining() {
            return Err(ApiError::new(Code::NotReady, "this node is shutting down"));
        }
        if timeout_at(until, listener.rung()).await.is_err() {
            return Err(wait.stale(store.position()));
        }
    }
}

/// The header's one value.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let invalid = || ApiError::new(Code::InvalidRequest, format!("{name} is there twice, or no text"));
    text.ok_or_else(invalid).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_header_is_refused_by_name() {
        let mut headers = HeaderMap::new();
        assert_eq!(one(&headers, HEADER_WAIT).unwrap(), None);
        headers.append(HEADER_WAIT, "1".parse().unwrap());
        assert_eq!(one(&headers, HEADER_WAIT).unwrap(), Some("1"));
        headers.append(HEADER_WAIT, "1".parse().unwrap());
        let error = one(&headers, HEADER_WAIT).unwrap_err();
        assert!(error.code == Code::InvalidRequest && error.message.contains(HEADER_WAIT), "{}", error.message);
    }
}
