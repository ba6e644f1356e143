//! Bodies of requests: read at the pace and up to the length that the node's settings say, and bounded together.

use crate::listener::Pace;
use crate::pool::{Bound, Caller, Pool, Taken};
use crate::server::{Server, Work};
use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use headwater_core::api::{ApiError, BODY_SLACK_BYTES, BodyLimits, Code, Route, SMALL_BODY_BYTES, body_too_large};
use headwater_core::credentials::Grant;
use headwater_core::limits::LINE_BYTES_MAX;
use http_body_util::BodyExt as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The least that there may be for large bodies: the longest that a route takes must fit into one credential's half.
pub(crate) const BODIES_BYTES_LEAST: u64 = 2 * (LINE_BYTES_MAX + BODY_SLACK_BYTES - SMALL_BODY_BYTES) as u64;

/// How much of a body that is not wanted is taken in, and how long that may last.
const PASSED_OVER: (u64, Duration) = (64 << 10, Duration::from_secs(1));

/// Takes in what is left of a body that is not wanted, if it is small: an answer that comes before its request is whole ends the
/// stream of HTTP/2 by a reset (RFC 9113, section 8.1), and there are clients that lose the answer with it.
pub(super) async fn pass_over(body: &mut Body) {
    let (mut left, within) = PASSED_OVER;
    if body.size_hint().lower() > left {
        return;
    }
    let passing = async {
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            if bytes > left {
                return;
            }
            left -= bytes;
        }
    };
    if timeout(within, passing).await.is_err() {
        tracing::debug!("a body that is not wanted did not come to its end");
    }
}

/// Reads the body of a request, where its route takes one; another is let go of at once, unread.
///
/// # Errors
/// As [`Bodies::read`]: what is left of it was not read.
pub(super) async fn taken<'g>(
    server: &Server,
    grant: &'g Grant,
    peer: IpAddr,
    found: &Route<'_>,
    body: &mut Body,
) -> Result<(Bytes, Option<Held<'g>>), ApiError> {
    let body = std::mem::take(body);
    // What a replica hands on, its writer judges.
    let limits = match server.work {
        Work::Writer { .. } => BodyLimits::of(&server.settings.limits),
        Work::Replica(_) => BodyLimits::RELAY,
    };
    let Some(limit) = found.body_bytes_max(limits) else { return Ok((Bytes::new(), None)) };
    let (body, held) = server.bodies.read(Caller::of(grant, peer), body, limit).await?;
    Ok((body, Some(held)))
}

/// Reads bodies, and knows how much of them is held.
#[derive(Debug)]
pub(crate) struct Bodies {
    pace: Pace,
    /// Bytes held of large ones, beyond [`SMALL_BODY_BYTES`] of each.
    held: Arc<Pool>,
}

/// What a body takes of the bytes that may be held, for as long as it or what was made of it is there.
#[derive(Debug)]
pub(super) struct Held<'g> {
    caller: Caller<'g>,
    bytes: usize,
    counted: Option<Taken>,
}

impl Bodies {
    pub(crate) fn new(pace: Pace, bytes_max: usize) -> Self {
        let held = Pool::new(Bound {
            of: "bytes of large bodies of the requests being answered",
            all: Some((bytes_max, "--bodies-bytes-max")),
            own: (bytes_max / 2, "half of --bodies-bytes-max"),
        });
        Self { pace, held }
    }

    /// Bytes held of large bodies.
    pub(super) fn bytes(&self) -> usize {
        self.held.in_use()
    }

    /// Reads a body of at most `limit` bytes. Of one that says beforehand that it is longer nothing is read.
    ///
    /// # Errors
    /// 413 `too_large`; 408 `request_timeout`; 503 `overloaded` when too much is held; 400 when the body breaks off.
    async fn read<'g>(&self, caller: Caller<'g>, mut body: Body, limit: usize) -> Result<(Bytes, Held<'g>), ApiError> {
        let announced = body.size_hint().lower();
        if announced > limit as u64 {
            return Err(body_too_large(announced, limit));
        }
        let mut held = Held { caller, bytes: 0, counted: None };
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        let mut patience = self.pace.patience();
        loop {
            let begun = Instant::now();
            let Ok(next) = timeout(patience.left(), body.frame()).await else { return Err(too_slow(self.pace)) };
            let Some(frame) = next else { break };
            let frame = frame.map_err(|_| ApiError::new(Code::InvalidRequest, "the body breaks off"))?;
            let Ok(data) = frame.into_data() else { continue };
            patience.heard(begun.elapsed(), data.len());
            let is_first = held.bytes == 0;
            if data.len() > limit - held.bytes {
                return Err(body_too_large((held.bytes + data.len()) as u64, limit));
            }
            held.grow(data.len(), &self.held)?;
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
    fn grow(&mut self, bytes: usize, pool: &Arc<Pool>) -> Result<(), ApiError> {
        let before = self.bytes.saturating_sub(SMALL_BODY_BYTES);
        self.bytes += bytes;
        let more = self.bytes.saturating_sub(SMALL_BODY_BYTES) - before;
        match &mut self.counted {
            _ if more == 0 => {}
            Some(counted) => counted.grow(more)?,
            None => self.counted = Some(pool.take(more, Some(pool.key(self.caller)))?),
        }
        Ok(())
    }
}

fn too_slow(pace: Pace) -> ApiError {
    let (s, least) = (pace.grace.as_secs_f64(), pace.bytes_per_s);
    ApiError::new(
        Code::RequestTimeout,
        format!("the body came slower than {least} bytes a second, after {s} s of patience"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    const PACE: Pace = Pace { grace: Duration::from_millis(100), bytes_per_s: 100 };

    /// Reads a body that comes with the credential of this id.
    async fn read(bodies: &Bodies, id: &str, body: Body, limit: usize) -> Result<(Bytes, Option<Taken>), ApiError> {
        let grant = Grant::all(id);
        let read = bodies.read(Caller::of(&grant, [10, 0, 0, 1].into()), body, limit).await;
        read.map(|(bytes, held)| (bytes, held.counted))
    }

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
        assert_eq!(read(&bodies, "k", Body::from("abcd"), 4).await.unwrap().0, "abcd");
        assert_eq!(read(&bodies, "k", Body::from("abcde"), 4).await.unwrap_err().code, Code::TooLarge);
        assert_eq!(read(&bodies, "k", pieces(&["ab", "c", "d"]), 4).await.unwrap().0, "abcd");
        assert_eq!(read(&bodies, "k", pieces(&["ab", "c", "de"]), 4).await.unwrap_err().code, Code::TooLarge);
        assert_eq!(read(&bodies, "k", Body::empty(), 4).await.unwrap().0, "");
    }

    #[tokio::test]
    async fn holds_so_much_of_large_bodies_half_of_it_for_one_credential_and_any_small_ones() {
        let bodies = Bodies::new(PACE, 100);
        let large = |more: usize| Body::from(vec![b'x'; SMALL_BODY_BYTES + more]);
        let read =
            async |credential: &'static str, body| read(&bodies, credential, body, 1 << 20).await.map(|(_, held)| held);
        let refused = async |credential, body, words: &str| {
            let error = read(credential, body).await.unwrap_err();
            assert_eq!(error.code, Code::Overloaded);
            assert!(error.message.contains(words), "{}", error.message);
        };
        let a = read("a", large(50)).await.unwrap();
        refused("a", large(1), "with this credential: the limit is 50 (half of --bodies-bytes-max)").await;
        let b = read("b", large(40)).await.unwrap();
        refused("c", large(11), "answered: the limit is 100 (--bodies-bytes-max)").await;
        let small = read("a", large(0)).await.unwrap();
        drop((a, b, small));
        assert_eq!(bodies.bytes(), 0);
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
        let slow = read(&bodies, "k", dripping(Duration::from_millis(40)), 1_000).await;
        assert_eq!(slow.unwrap_err().code, Code::RequestTimeout);
        assert!(begun.elapsed() < Duration::from_secs(2));
        let quick = read(&bodies, "k", dripping(Duration::from_millis(1)), 1_000).await;
        assert_eq!(quick.unwrap().0.len(), 120);
    }
}
