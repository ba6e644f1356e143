//! Reads that must see a position: they wait until the node has reached it.

use crate::server::Server;
use axum::http::HeaderMap;
use headwater_core::api::{
    ApiError, Code, HEADER_MIN_POSITION, HEADER_WAIT, Reach, WAIT_MS_DEFAULT, WAIT_MS_MAX, reach,
};
use headwater_core::position::Position;
use headwater_core::store::Store;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Waits until the node has reached the position that the headers ask for, if they do.
///
/// # Errors
/// 409 `diverged` at once when it never will, 504 `stale` after the time asked for, 503 when too many wait or the node
/// is shutting down, 400 for a header that cannot be.
pub(super) async fn reached(server: &Server, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(target) = asked(headers)? else { return Ok(()) };
    let wait_ms = wait_ms(headers)?;
    if now(server, target)? {
        return Ok(());
    }
    let _waiter = Waiter::enter(server)?;
    let mut listener = server.bell.listen();
    let until = Instant::now() + Duration::from_millis(wait_ms);
    loop {
        listener.attend();
        if now(server, target)? {
            return Ok(());
        }
        if server.is_draining() {
            return Err(ApiError::new(Code::NotReady, "this node is shutting down"));
        }
        if timeout_at(until, listener.rung()).await.is_err() {
            let held = server.node.store().position();
            let words = format!("the position {target} was not reached within {wait_ms} ms; this node is at {held}");
            return Err(ApiError::new(Code::Stale, words));
        }
    }
}

fn now(server: &Server, target: Position) -> Result<bool, ApiError> {
    match reach(&server.node.store().progress(), target) {
        Reach::Reached => Ok(true),
        Reach::NotYet => Ok(false),
        Reach::Diverged => {
            let words = format!("the position {target} is not on this node's history: read without it, or elsewhere");
            Err(ApiError::new(Code::Diverged, words))
        }
    }
}

fn asked(headers: &HeaderMap) -> Result<Option<Position>, ApiError> {
    let Some(text) = one(headers, HEADER_MIN_POSITION)? else { return Ok(None) };
    let words = || format!("Headwater-Min-Position is {}, which is not of the form <epoch>.<seq>", shown(text));
    text.parse().map(Some).map_err(|_| ApiError::new(Code::InvalidRequest, words()))
}

fn wait_ms(headers: &HeaderMap) -> Result<u64, ApiError> {
    let Some(text) = one(headers, HEADER_WAIT)? else { return Ok(WAIT_MS_DEFAULT) };
    let number = text.parse().ok().filter(|&ms| ms <= WAIT_MS_MAX);
    let words = || format!("Headwater-Wait-Ms is {}, which is not a number of ms up to {WAIT_MS_MAX}", shown(text));
    number.ok_or_else(|| ApiError::new(Code::InvalidRequest, words()))
}

/// The header's one value.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let invalid = || ApiError::new(Code::InvalidRequest, format!("{name} is there twice, or no text"));
    text.ok_or_else(invalid).map(Some)
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(64).collect::<String>())
}

/// A place among those who wait.
struct Waiter<'s>(&'s Server);

impl<'s> Waiter<'s> {
    fn enter(server: &'s Server) -> Result<Self, ApiError> {
        let waiter = Self(server);
        if server.waiters.fetch_add(1, Ordering::Relaxed) >= server.settings.waiters_max {
            return Err(ApiError::new(Code::Overloaded, "too many reads wait for a position at this time: come back"));
        }
        Ok(waiter)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn reads_its_headers_or_names_them() {
        assert_eq!(asked(&HeaderMap::new()).unwrap(), None);
        assert_eq!(asked(&headers(HEADER_MIN_POSITION, "7.3")).unwrap(), Some(Position { epoch: 7, seq: 3 }));
        assert_eq!(asked(&headers(HEADER_MIN_POSITION, "7")).unwrap_err().code, Code::InvalidRequest);
        let mut twice = headers(HEADER_MIN_POSITION, "7.3");
        twice.append(HEADER_MIN_POSITION, "7.3".parse().unwrap());
        assert_eq!(asked(&twice).unwrap_err().code, Code::InvalidRequest);
        assert_eq!(wait_ms(&HeaderMap::new()).unwrap(), WAIT_MS_DEFAULT);
        assert_eq!(wait_ms(&headers(HEADER_WAIT, "30000")).unwrap(), WAIT_MS_MAX);
        assert_eq!(wait_ms(&headers(HEADER_WAIT, "30001")).unwrap_err().code, Code::InvalidRequest);
    }
}
