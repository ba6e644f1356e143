//! Bodies of requests, never held beyond their limit.

use axum::body::{Body, HttpBody as _};
use axum::http::HeaderMap;
use axum::http::header::EXPECT;
use bytes::{Bytes, BytesMut};
use headwater_core::api::{ApiError, Code};
use http_body_util::BodyExt as _;
use std::time::Duration;

/// How much of a refused body is still taken in, and for how long. An answer that closes the connection on a client that
/// is sending would be lost with what is under way (RFC 9112, section 9.6).
const DRAINED: (u64, Duration) = (32 << 20, Duration::from_secs(2));

/// Reads a body of at most `limit` bytes. What is longer is read to its end, within bounds, and let go of; one that waits
/// to be asked for (`Expect: 100-continue`) is not asked for.
///
/// # Errors
/// 413 `too_large`; 400 when the body breaks off.
pub(super) async fn read(headers: &HeaderMap, mut body: Body, limit: usize) -> Result<Bytes, ApiError> {
    if body.size_hint().lower() > limit as u64 {
        let refusal = too_large(body.size_hint().lower(), limit);
        if !headers.contains_key(EXPECT) {
            drain(body).await;
        }
        return Err(refusal);
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
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
    drop(tokio::time::timeout(DRAINED.1, draining).await);
}

fn too_large(bytes: u64, limit: usize) -> ApiError {
    ApiError::new(Code::TooLarge, format!("the body has {bytes} bytes or more, the limit is {limit}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

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
        assert_eq!(read(&HeaderMap::new(), Body::from("abcd"), 4).await.unwrap(), "abcd");
        assert_eq!(read(&HeaderMap::new(), Body::from("abcde"), 4).await.unwrap_err().code, Code::TooLarge);
        assert_eq!(read(&HeaderMap::new(), pieces(&["ab", "c", "d"]), 4).await.unwrap(), "abcd");
        assert_eq!(read(&HeaderMap::new(), pieces(&["ab", "c", "de"]), 4).await.unwrap_err().code, Code::TooLarge);
        assert_eq!(read(&HeaderMap::new(), Body::empty(), 4).await.unwrap(), "");
    }
}
