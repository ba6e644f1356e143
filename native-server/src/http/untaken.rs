//! Answers that were made and not taken yet: how many bytes of them there may be.
//!
//! Time alone does not bound them: a least rate lets a large answer last as long as it is large, on every connection there
//! may be. So what an answer holds is counted until the system has taken the last byte of it: with the bytes themselves and
//! not with the body, which the HTTP library lets go of long before. It bounds the memory whoever reads however slowly; that
//! somebody slow does not hold it for ever is the least rate's part.

use super::reply;
use crate::pool::{Caller, Taken};
use crate::server::Server;
use axum::body::{Body, HttpBody};
use axum::http::Version;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Answers up to this are not counted over HTTP/1.1: the connection that each has for itself takes more.
const SMALL_BYTES: u64 = 4 << 10;

/// What a stream of HTTP/2 takes beside its answer. A connection may have more than a hundred of them.
const STREAM_BYTES: usize = 2 << 10;

/// The least that there may be for answers: the longest, an entry, must fit into one caller's half.
pub(crate) const ANSWERS_BYTES_LEAST: u64 = 32 << 20;

/// What becomes of an answer for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bounded {
    /// It is refused, where there is no more for all and where its caller has its share.
    ByAll,
    /// It is given and counts: it tells what was done, or what is wrong.
    Never,
}

/// The same answer, counted among those that are not taken, or 503 in its place.
pub(super) fn counted(
    server: &Server,
    caller: Caller<'_>,
    bounded: Bounded,
    version: Version,
    answer: Response,
) -> Response {
    let size = answer.body().size_hint();
    let (small, beside) = if version == Version::HTTP_2 { (0, STREAM_BYTES) } else { (SMALL_BYTES, 0) };
    if size.upper().is_some_and(|bytes| bytes <= small) {
        return answer;
    }
    let (answers, key) = (&server.answers, server.answers.key(caller));
    // Of a list no more is known than its first piece.
    let bytes = usize::try_from(size.lower()).unwrap_or(usize::MAX).saturating_add(beside);
    let ahead = match bounded {
        Bounded::ByAll => answers.take(bytes, Some(key)),
        Bounded::Never => Ok(answers.note(bytes, Some(key))),
    };
    match ahead {
        Ok(ahead) => answer.map(|body| Body::new(CountedBody { body, ahead, beside })),
        Err(error) => reply::error(server, error),
    }
}

/// A body whose bytes are counted as long as they are anywhere.
struct CountedBody {
    body: Body,
    /// What was counted of bytes that are still to come, and whose they are.
    ahead: Taken,
    /// What the first of them take with them of that beside their own number.
    beside: usize,
}

/// Bytes and what they take.
struct CountedBytes {
    bytes: Bytes,
    _taken: Taken,
}

impl AsRef<[u8]> for CountedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl CountedBody {
    fn count(&mut self, bytes: Bytes) -> io::Result<Bytes> {
        let count = bytes.len() + std::mem::take(&mut self.beside);
        let mut taken = self.ahead.split(count);
        let more = count - taken.count();
        if more > 0 {
            // Status and a part of it are under way: the connection breaks off, so that nobody takes this for all of it.
            taken.grow(more).map_err(|error| {
                tracing::warn!(error = %error.message, "a list was given up half-way");
                io::Error::other(String::from(error.message))
            })?;
        }
        Ok(Bytes::from_owner(CountedBytes { bytes, _taken: taken }))
    }
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        Poll::Ready(match ready!(Pin::new(&mut this.body).poll_frame(context)) {
            Some(Ok(frame)) => Some(match frame.into_data() {
                Ok(bytes) => this.count(bytes).map(Frame::data).map_err(axum::Error::new),
                Err(other) => Ok(other),
            }),
            end => end,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{Bound, Key, Pool};
    use headwater_core::credentials::Grant;
    use http_body_util::BodyExt as _;
    use std::sync::Arc;

    fn pool() -> (Arc<Pool>, Key) {
        let pool = Pool::new(Bound { of: "bytes", all: Some((100, "all")), own: (50, "half") });
        let grant = Grant::all("k");
        let key = pool.key(Caller::of(&grant, [10, 0, 0, 1].into()));
        (pool, key)
    }

    #[tokio::test]
    async fn bytes_count_until_the_last_of_them_is_gone() {
        let (pool, key) = pool();
        let ahead = pool.take(40, Some(key)).unwrap();
        let mut body = CountedBody { body: Body::from(vec![b'x'; 40]), ahead, beside: 0 };
        let mut data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        drop(body);
        assert_eq!((pool.in_use(), data.len()), (40, 40));
        let piece = data.split_to(10);
        drop(data);
        assert_eq!(pool.in_use(), 40, "it is one stretch of memory");
        drop(piece);
        assert_eq!(pool.in_use(), 0);
    }

    #[tokio::test]
    async fn what_an_answer_takes_beside_its_bytes_counts_with_the_first_of_them() {
        let (pool, key) = pool();
        let ahead = pool.take(40, Some(key)).unwrap();
        let mut body = CountedBody { body: Body::from(vec![b'x'; 10]), ahead, beside: 30 };
        let data = body.frame().await.unwrap().unwrap();
        drop(body);
        assert_eq!(pool.in_use(), 40);
        drop(data);
        assert_eq!(pool.in_use(), 0);
    }

    #[tokio::test]
    async fn what_was_not_counted_ahead_is_as_it_comes_and_breaks_off_where_there_is_no_room() {
        let (pool, key) = pool();
        let counted = |bytes: usize| {
            let ahead = pool.take(0, Some(key)).unwrap();
            CountedBody { body: Body::from(vec![b'x'; bytes]), ahead, beside: 0 }
        };
        let held = counted(30).frame().await.unwrap().unwrap();
        assert_eq!(pool.in_use(), 30);
        assert!(counted(30).frame().await.unwrap().is_err());
        drop(held);
        assert_eq!(pool.in_use(), 0);
        assert!(counted(30).frame().await.unwrap().is_ok());
    }
}
