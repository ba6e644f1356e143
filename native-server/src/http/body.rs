//! Bodies of requests: read at the pace and up to the length that the node's settings say, and bounded together.

use crate::listener::BodyPace;
use crate::server::{Server, Work};
use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use headwater_core::api::{ApiError, Code, Route};
use headwater_core::limits::{LINE_BYTES_MAX, Limits};
use http_body_util::BodyExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Bytes of a body beyond what is written: its frame, its guards, its white space. Also the longest body of a change of a
/// key, which may name as many prefixes as a scope.
const SLACK_BYTES: usize = 64 << 10;

/// Longest request for a stream that is read. What of it is kept has narrower bounds, see
/// [`headwater_core::stream::Request::from_body`].
const STREAM_REQUEST_BYTES_MAX: usize = 1 << 20;

/// The longest body that any route takes.
pub(crate) const LONGEST_BYTES: usize = LINE_BYTES_MAX + SLACK_BYTES;

/// Reads the body of a request, where its route takes one.
///
/// # Errors
/// As [`Bodies::read`]: what is left of it was not read.
pub(super) async fn taken<'s>(
    server: &'s Server,
    found: &Route<'_>,
    body: Body,
) -> Result<(Bytes, Option<Held<'s>>), ApiError> {
    let Some(limit) = bytes_max(server, found) else { return Ok((Bytes::new(), None)) };
    let (body, held) = server.bodies.read(body, limit).await?;
    Ok((body, Some(held)))
}

/// The longest body that a route takes; `None` where nobody reads one.
fn bytes_max(server: &Server, found: &Route<'_>) -> Option<usize> {
    let limits = &server.settings.limits;
    let is_writer = matches!(server.work, Work::Writer { .. });
    // What a replica hands on, its writer judges.
    let (value, batch) = if is_writer {
        (limits.value_bytes_max, limits.batch_body_bytes_max())
    } else {
        (Limits::VALUE_BYTES_CEILING, LINE_BYTES_MAX)
    };
    match found {
        Route::Set { .. } | Route::Delete { .. } => Some(value + SLACK_BYTES),
        Route::Batch(_) => Some(batch + SLACK_BYTES),
        Route::CreateCollection | Route::DropCollection(_) | Route::Key(_) => Some(SLACK_BYTES),
        Route::Replicate => Some(STREAM_REQUEST_BYTES_MAX),
        Route::Read(_) | Route::Keys | Route::File(_) | Route::Document => None,
        Route::Health | Route::Ready | Route::Status | Route::Metrics | Route::Exposition => None,
    }
}

/// Reads bodies, and knows how much of them is held.
#[derive(Debug)]
pub(crate) struct Bodies {
    pace: BodyPace,
    /// Most bytes held of all of them together.
    bytes_max: usize,
    held: AtomicUsize,
}

/// What a body takes of the bytes that may be held, for as long as it or what was made of it is there.
#[derive(Debug)]
pub(super) struct Held<'b> {
    bodies: &'b Bodies,
    bytes: usize,
}

impl Bodies {
    pub(crate) fn new(pace: BodyPace, bytes_max: usize) -> Self {
        Self { pace, bytes_max, held: AtomicUsize::new(0) }
    }

    /// Reads a body of at most `limit` bytes. Of one that says beforehand that it is longer nothing is read.
    ///
    /// # Errors
    /// 413 `too_large`; 408 `request_timeout`; 503 `overloaded` when too much is held; 400 when the body breaks off.
    async fn read(&self, mut body: Body, limit: usize) -> Result<(Bytes, Held<'_>), ApiError> {
        let announced = body.size_hint().lower();
        if announced > limit as u64 {
            return Err(too_large(announced, limit));
        }
        let mut held = Held { bodies: self, bytes: 0 };
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        let mut waited = Duration::ZERO;
        loop {
            let (begun, allowed) = (Instant::now(), self.pace.allowed(held.bytes));
            let Ok(next) = timeout(allowed.saturating_sub(waited), body.frame()).await else {
                return Err(too_slow(self.pace));
            };
            waited += begun.elapsed();
            let Some(frame) = next else { break };
            let frame = frame.map_err(|_| ApiError::new(Code::InvalidRequest, "the body breaks off"))?;
            let Ok(data) = frame.into_data() else { continue };
            let is_first = held.bytes == 0;
            if data.len() > limit - held.bytes {
                return Err(too_large((held.bytes + data.len()) as u64, limit));
            }
            held.grow(data.len())?;
            // Most bodies come in one piece, which is then not copied.
            if is_first {
                first = data;
            } else {
                if all.is_empty() {
                    all.extend_from_slice(&std::mem::take(&mut first));
                }
                all.extend_from_slice(&data);
            }
        }
        Ok((if all.is_empty() { first } else { all.freeze() }, held))
    }
}

impl Held<'_> {
    fn grow(&mut self, bytes: usize) -> Result<(), ApiError> {
        self.bytes += bytes;
        let before = self.bodies.held.fetch_add(bytes, Ordering::Relaxed);
        if bytes > self.bodies.bytes_max.saturating_sub(before) {
            let words = format!(
                "the bodies of the requests being answered have {} bytes or more, the limit is {}: nothing was done, come back",
                before + bytes,
                self.bodies.bytes_max
            );
            return Err(ApiError::new(Code::Overloaded, words));
        }
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.bodies.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn too_slow(pace: BodyPace) -> ApiError {
    let (s, least) = (pace.grace.as_secs_f64(), pace.bytes_per_s);
    ApiError::new(
        Code::RequestTimeout,
        format!("the body came slower than {least} bytes a second, after {s} s of patience"),
    )
}

fn too_large(bytes: u64, limit: usize) -> ApiError {
    ApiError::new(Code::TooLarge, format!("the body has {bytes} bytes or more, the limit is {limit}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    const PACE: BodyPace = BodyPace { grace: Duration::from_millis(100), bytes_per_s: 100 };

    /// A body in pieces that announces nothing.
    fn pieces(pieces: &'static [&'static str]) -> Body {
        struct Pieces(std::slice::Iter<'static, &'static str>);
        impl axum::body::HttpBody for Pieces {
            type Data = Bytes;
            type Error = Infallible;
            fn poll_frame(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
                std::task::Poll::Ready(self.0.next().map(|piece| Ok(http_body::Frame::data(Bytes::from(*piece)))))
            }
        }
        Body::new(Pieces(pieces.iter()))
    }

    #[tokio::test]
    async fn takes_up_to_the_limit_and_no_more() {
        let bodies = Bodies::new(PACE, 1_000);
        assert_eq!(bodies.read(Body::from("abcd"), 4).await.unwrap().0, "abcd");
        assert_eq!(bodies.read(Body::from("abcde"), 4).await.unwrap_err().code, Code::TooLarge);
        assert_eq!(bodies.read(pieces(&["ab", "c", "d"]), 4).await.unwrap().0, "abcd");
        assert_eq!(bodies.read(pieces(&["ab", "c", "de"]), 4).await.unwrap_err().code, Code::TooLarge);
        assert_eq!(bodies.read(Body::empty(), 4).await.unwrap().0, "");
    }

    #[tokio::test]
    async fn holds_so_much_of_all_bodies_together_and_no_more() {
        let bodies = Bodies::new(PACE, 6);
        let (_, first) = bodies.read(pieces(&["ab", "cd"]), 9).await.unwrap();
        let refused = bodies.read(pieces(&["ef", "g"]), 9).await.unwrap_err();
        assert_eq!(refused.code, Code::Overloaded);
        assert!(refused.message.contains("7 bytes") && refused.message.contains("limit is 6"), "{}", refused.message);
        let (_, second) = bodies.read(Body::from("ef"), 9).await.unwrap();
        drop((first, second));
        assert_eq!(bodies.held.load(Ordering::Relaxed), 0);
        assert!(bodies.read(Body::from("abcdef"), 9).await.is_ok());
    }

    #[tokio::test]
    async fn gives_up_a_body_that_comes_too_slowly_and_waits_for_one_that_does_not() {
        let dripping = |every: Duration| {
            let (mut sender, body) = http_body_util::channel::Channel::<Bytes, Infallible>::new(1);
            tokio::spawn(async move {
                for _ in 0..60 {
                    tokio::time::sleep(every).await;
                    if sender.send_data(Bytes::from_static(b"ab")).await.is_err() {
                        return;
                    }
                }
            });
            Body::new(body)
        };
        let begun = Instant::now();
        let bodies = Bodies::new(PACE, 1_000);
        let slow = bodies.read(dripping(Duration::from_millis(40)), 1_000).await;
        assert_eq!(slow.unwrap_err().code, Code::RequestTimeout);
        assert!(begun.elapsed() < Duration::from_secs(2));
        let quick = bodies.read(dripping(Duration::from_millis(1)), 1_000).await;
        assert_eq!(quick.unwrap().0.len(), 120);
    }
}
