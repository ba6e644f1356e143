//! Bodies of requests, never held beyond their limit.

use crate::listener::BodyPace;
use axum::body::{Body, HttpBody as _};
use axum::http::HeaderMap;
use axum::http::header::EXPECT;
use bytes::{Bytes, BytesMut};
use headwater_core::api::{ApiError, Code};
use http_body_util::BodyExt as _;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How much of a refused body is still taken in, and for how long. An answer that closes the connection on a client that
/// is sending would be lost with what is under way (RFC 9112, section 9.6).
const DRAINED: (u64, Duration) = (32 << 20, Duration::from_secs(2));

/// Reads a body of at most `limit` bytes, which must keep to `pace`. What is longer is read to its end, within bounds, and
/// let go of; one that waits to be asked for (`Expect: 100-continue`) is not asked for.
///
/// # Errors
/// 413 `too_large`; 408 `request_timeout`; 400 when the body breaks off.
pub(super) async fn read(pace: BodyPace, headers: &HeaderMap, mut body: Body, limit: usize) -> Result<Bytes, ApiError> {
    if body.size_hint().lower() > limit as u64 {
        let refusal = too_large(body.size_hint().lower(), limit);
        if !headers.contains_key(EXPECT) {
            drain(body).await;
        }
        return Err(refusal);
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    let mut waited = Duration::ZERO;
    loop {
        let (begun, allowed) = (Instant::now(), pace.allowed(first.len() + all.len()));
        let Ok(next) = timeout(allowed.saturating_sub(waited), body.frame()).await else {
            return Err(too_slow(pace));
        };
        waited += begun.elapsed();
        let Some(frame) = next else { break };
        let frame = frame.map_err(|_| ApiError::new(Code::InvalidRequest, "the body breaks off"))?;
        let Ok(data) = frame.into_data() else { continue };
        let held = first.len() + all.len();
        if held + data.len() > limit {
            drain(body).await;
            return Err(too_large((held + data.len()) as u64, limit));
        }
        // Most bodies come in one piece, which is then not copied.
        if held == 0 {
            first = data;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// Takes in what still comes, without keeping any of it.
async fn drain(mut body: Body) {
    let draining = async {
        let mut left = DRAINED.0;
        while left > 0
            && let Some(Ok(frame)) = body.frame().await
        {
            left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
    };
    // Whoever sends for longer meets the closed connection.
    drop(timeout(DRAINED.1, draining).await);
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
        assert_eq!(read(PACE, &HeaderMap::new(), Body::from("abcd"), 4).await.unwrap(), "abcd");
        assert_eq!(read(PACE, &HeaderMap::new(), Body::from("abcde"), 4).await.unwrap_err().code, Code::TooLarge);
        assert_eq!(read(PACE, &HeaderMap::new(), pieces(&["ab", "c", "d"]), 4).await.unwrap(), "abcd");
        assert_eq!(
            read(PACE, &HeaderMap::new(), pieces(&["ab", "c", "de"]), 4).await.unwrap_err().code,
            Code::TooLarge
        );
        assert_eq!(read(PACE, &HeaderMap::new(), Body::empty(), 4).await.unwrap(), "");
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
        let slow = read(PACE, &HeaderMap::new(), dripping(Duration::from_millis(40)), 1_000).await;
        assert_eq!(slow.unwrap_err().code, Code::RequestTimeout);
        assert!(begun.elapsed() < Duration::from_secs(2));
        let quick = read(PACE, &HeaderMap::new(), dripping(Duration::from_millis(1)), 1_000).await;
        assert_eq!(quick.unwrap().len(), 120);
    }
}
