//! Bodies of requests, never held beyond their limit.

use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use headwater_core::api::{ApiError, Code};
use http_body_util::BodyExt as _;

/// Reads a body of at most `limit` bytes. One that announces more is refused before a byte of it is read.
///
/// # Errors
/// 413 `too_large`; 400 when the body breaks off.
pub(super) async fn read(mut body: Body, limit: usize) -> Result<Bytes, ApiError> {
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(body.size_hint().lower(), limit));
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::new(Code::InvalidRequest, "the body breaks off"))?;
        let Ok(data) = frame.into_data() else { continue };
        let held = first.len() + all.len();
        if held + data.len() > limit {
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
        assert_eq!(read(Body::from("abcd"), 4).await.unwrap(), "abcd");
        assert_eq!(read(Body::from("abcde"), 4).await.unwrap_err().code, Code::TooLarge);
        assert_eq!(read(pieces(&["ab", "c", "d"]), 4).await.unwrap(), "abcd");
        assert_eq!(read(pieces(&["ab", "c", "de"]), 4).await.unwrap_err().code, Code::TooLarge);
        assert_eq!(read(Body::empty(), 4).await.unwrap(), "");
    }
}
