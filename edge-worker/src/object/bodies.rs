//! Bodies of requests: up to the length that core says for the route, at a pace, and bounded together. An object has 128 MB
//! for everything, and nobody else keeps those who send out of it.

use super::held::Held;
use super::serve::Failed;
use super::share::Share;
use crate::clock::Clock;
use crate::http::Head;
use crate::signal::delay;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use headwater_core::api::{ApiError, BodyLimits, Code, Route, SMALL_BODY_BYTES, body_too_large};
use headwater_core::limits::Limits;
use std::cell::RefCell;
use std::pin::pin;
use worker::Request;

/// Most bytes held of large bodies, beyond [`SMALL_BODY_BYTES`] of each. Half of it, one caller's, is longer than any
/// body. While a body is handed on it takes its bytes about three times: as it grew, and as the runtime's.
const LARGE_BYTES_MAX: usize = 20 << 20;

/// Most bytes held of what of each body is small.
const SMALL_BYTES_MAX: usize = 8 << 20;

/// How long the next piece of a body may take, in ms.
const PIECE_MS: u64 = 5_000;

/// The least rate at which a body of the longest length has to come, in bytes a ms, beside [`PIECE_MS`].
const BYTES_PER_MS: u64 = 512;

/// The longest body that the object takes for this route; `None` where nobody reads one. What is handed on, its writer
/// judges: a batch may be as long as one takes that is not set up otherwise.
fn bytes_max(route: &Route<'_>) -> Option<usize> {
    let batch = Limits::default().batch_body_bytes_max();
    route.body_bytes_max(BodyLimits { batch, ..BodyLimits::RELAY })
}

/// How long a body of this route may take to come, from its beginning to its end, in ms: 0 where nobody reads one.
pub(crate) fn ms_max(route: &Route<'_>) -> u64 {
    bytes_max(route).map_or(0, |limit| PIECE_MS + limit as u64 / BYTES_PER_MS)
}

/// How much longer a piece is waited for, in ms, after `passed_ms` of `all_ms`; `None` when there is no time left.
fn patience_ms(passed_ms: u64, all_ms: u64) -> Option<u64> {
    let left = all_ms.saturating_sub(passed_ms).min(PIECE_MS);
    (left > 0).then_some(left)
}

/// Reads bodies, and knows how much of them is held.
#[derive(Debug)]
pub(super) struct Bodies {
    small: RefCell<Held>,
    large: RefCell<Held>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self {
            small: RefCell::new(Held::new("bytes of bodies", SMALL_BYTES_MAX, SMALL_BYTES_MAX / 2)),
            large: RefCell::new(Held::new("bytes of large bodies", LARGE_BYTES_MAX, LARGE_BYTES_MAX / 2)),
        }
    }
}

/// What a body takes of the bytes that may be held, for as long as it or what was made of it is there.
#[derive(Debug)]
pub(super) struct Part<'b> {
    bodies: &'b Bodies,
    share: &'b Share<'b>,
    small: usize,
    large: usize,
}

impl Bodies {
    /// Reads the body of a request for `route`, where that takes one and there is one. Of one that says beforehand that it
    /// is longer than may be, nothing is read.
    ///
    /// # Errors
    /// 413 `too_large`; 408 `request_timeout`; 503 `overloaded` when too much is held; 400 when the body breaks off.
    pub(super) async fn read<'b>(
        &'b self,
        clock: &Clock,
        share: &'b Share<'b>,
        route: &Route<'_>,
        request: &mut Request,
        head: &Head,
    ) -> Result<Option<(Vec<u8>, Part<'b>)>, Failed> {
        let Some(limit) = bytes_max(route) else { return Ok(None) };
        if request.inner().body().is_none() {
            return Ok(None);
        }
        if let Some(told) = head.header("content-length").parse().ok().filter(|bytes| *bytes > limit as u64) {
            return Err(body_too_large(told, limit).into());
        }
        let all_ms = ms_max(route);
        let (begun_ms, mut stream) = (clock.now().mono_ms, request.stream()?);
        let mut held = Part { bodies: self, share, small: 0, large: 0 };
        let mut body = Vec::new();
        loop {
            let passed_ms = clock.now().mono_ms.saturating_sub(begun_ms);
            let Some(patience_ms) = patience_ms(passed_ms, all_ms) else { return Err(too_slow(all_ms).into()) };
            let piece = match select(stream.next(), pin!(delay(patience_ms))).await {
                Either::Left((piece, _)) => piece,
                Either::Right(_) => return Err(too_slow(all_ms).into()),
            };
            let Some(piece) = piece else { return Ok(Some((body, held))) };
            let piece = piece.map_err(|_| ApiError::new(Code::InvalidRequest, "the body breaks off"))?;
            let bytes = body.len() + piece.len();
            if bytes > limit {
                return Err(body_too_large(bytes as u64, limit).into());
            }
            held.grow(bytes)?;
            body.extend_from_slice(&piece);
        }
    }
}

fn too_slow(all_ms: u64) -> ApiError {
    let words =
        format!("the body came too slowly: the next piece of it within {PIECE_MS} ms, all of it within {all_ms}");
    ApiError::new(Code::RequestTimeout, words)
}

impl Part<'_> {
    /// Counts the body with so many bytes.
    fn grow(&mut self, bytes: usize) -> Result<(), ApiError> {
        let small = bytes.min(SMALL_BODY_BYTES);
        let large = bytes - small;
        self.bodies.small.borrow_mut().take(Some(self.share), small - self.small)?;
        self.small = small;
        self.bodies.large.borrow_mut().take(Some(self.share), large - self.large)?;
        self.large = large;
        Ok(())
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        self.bodies.small.borrow_mut().give_back(Some(self.share), self.small);
        self.bodies.large.borrow_mut().give_back(Some(self.share), self.large);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::api::route;
    use headwater_core::credentials::Grant;

    #[test]
    fn a_body_is_given_so_long_for_a_piece_and_so_long_in_all() {
        assert_eq!(patience_ms(0, 7_000), Some(PIECE_MS));
        assert_eq!(patience_ms(6_000, 7_000), Some(1_000), "a drip does not go on for ever");
        assert_eq!([7_000, 9_000].map(|passed| patience_ms(passed, 7_000)), [None, None]);
    }

    #[test]
    fn the_longest_body_of_any_route_fits_into_the_share_of_one_caller() {
        for (method, target) in
            [("PUT", "/v1/collections/c/keys/a"), ("POST", "/v1/collections/c/batch"), ("POST", "/v1/replicate")]
        {
            let route = route(method, target, None).unwrap();
            let longest = bytes_max(&route).unwrap();
            assert!(longest - SMALL_BODY_BYTES <= LARGE_BYTES_MAX / 2, "{target}: {longest}");
            assert!((PIECE_MS..30_000).contains(&ms_max(&route)), "{target}: {}", ms_max(&route));
        }
        assert_eq!(ms_max(&route("GET", "/v1/status", None).unwrap()), 0);
    }

    #[test]
    fn what_is_given_up_half_way_is_held_no_longer() {
        let bodies = Bodies::default();
        let [a, b] = ["a", "b"].map(Grant::all);
        let [a, b] = [&a, &b].map(|grant| Share::of(grant, None));
        {
            let mut first = Part { bodies: &bodies, share: &a, small: 0, large: 0 };
            first.grow(8 << 20).unwrap();
            let mut second = Part { bodies: &bodies, share: &a, small: 0, large: 0 };
            second.grow(SMALL_BODY_BYTES).unwrap();
            assert_eq!(second.grow(4 << 20).unwrap_err().code, Code::Overloaded);
            let mut other = Part { bodies: &bodies, share: &b, small: 0, large: 0 };
            other.grow(8 << 20).unwrap();
        }
        assert!(bodies.small.borrow().is_empty() && bodies.large.borrow().is_empty());
    }
}
