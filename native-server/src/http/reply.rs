//! From core's answers to HTTP's, for every kind of body.

use super::noted::RefusedFor;
use crate::pool::Taken;
use crate::server::Server;
use axum::body::{Body, HttpBody};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, InvalidHeaderValue};
use axum::http::{HeaderMap, Response as HttpResponse, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use headwater_core::api::{Answer, ApiError, Body as AnswerBody, Code, HEADER_POSITION, ListBody};
use headwater_core::store::SnapshotError;
use headwater_core::store::memory::MemorySnapshot;
use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Core's answer as a response.
pub(crate) fn respond(answer: Answer<MemorySnapshot>) -> Response {
    respond_with(answer, None)
}

/// The same; `place` is what a list has taken, until it is sent.
pub(super) fn respond_with(answer: Answer<MemorySnapshot>, place: Option<Taken>) -> Response {
    let body = match answer.body {
        AnswerBody::Full(bytes) => Body::from(bytes),
        AnswerBody::List(mut list) => match list.whole() {
            // Nothing is kept open for what is there already.
            Some(bytes) => Body::from(bytes),
            None => Body::new(ListPieces { first: Some(list.next_piece()), list, _place: place }),
        },
    };
    let mut response = HttpResponse::new(body);
    *response.status_mut() = StatusCode::from_u16(answer.status).expect("core's statuses are HTTP's");
    // Room for what a replica's read answers with. A map for more than six is an allocation of over 1 KiB, which costs
    // glibc's allocator a round of tidying up each time.
    let mut headers = HeaderMap::with_capacity(6);
    for (name, text) in answer.headers {
        match value(text) {
            Ok(value) => drop(headers.append(self::name(name), value)),
            // Links and tags are percent-encoded or digits.
            Err(_) => tracing::error!(header = name, "an answer's header cannot be sent"),
        }
    }
    *response.headers_mut() = headers;
    response
}

/// The names that every read answers with are known beforehand; others are looked up.
fn name(name: &'static str) -> HeaderName {
    const POSITION: HeaderName = HeaderName::from_static(HEADER_POSITION);
    match name {
        "content-type" => CONTENT_TYPE,
        "cache-control" => CACHE_CONTROL,
        "etag" => ETAG,
        HEADER_POSITION => POSITION,
        other => HeaderName::from_static(other),
    }
}

fn value(text: Cow<'static, str>) -> Result<HeaderValue, InvalidHeaderValue> {
    match text {
        Cow::Borrowed(text) => Ok(HeaderValue::from_static(text)),
        Cow::Owned(text) => HeaderValue::from_maybe_shared(Bytes::from(text)),
    }
}

/// An error as a response, with position and lag like every other.
pub(crate) fn error(server: &Server, error: ApiError) -> Response {
    match error.code {
        Code::Forbidden => server.metrics.requests_forbidden_total.one(),
        Code::RateLimited => server.metrics.requests_limited_total.one(),
        Code::Overloaded => server.metrics.requests_shed_total.one(),
        _ => {}
    }
    server.metrics.refusals.one(error.code);
    if let Some(cause) = &error.cause {
        tracing::error!(%cause, code = error.code.word(), "a request failed inside this node");
    }
    let code = error.code;
    let mut response = respond(server.as_of(Answer::from(error)));
    response.extensions_mut().insert(RefusedFor(code));
    response
}

/// A list that is written while it is sent.
struct ListPieces {
    /// The first piece, which is there before anything is sent.
    first: Option<Result<Option<Bytes>, SnapshotError>>,
    list: ListBody<MemorySnapshot>,
    _place: Option<Taken>,
}

impl HttpBody for ListPieces {
    type Data = Bytes;
    type Error = SnapshotError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, SnapshotError>>> {
        let this = self.get_mut();
        match this.first.take().unwrap_or_else(|| this.list.next_piece()) {
            Ok(piece) => Poll::Ready(piece.map(|piece| Ok(http_body::Frame::data(piece)))),
            Err(error) => {
                // The connection breaks off, so that nobody takes half a list for a whole one.
                tracing::warn!(%error, "a list was given up half-way");
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        let mut size = http_body::SizeHint::new();
        if let Some(Ok(Some(first))) = &self.first {
            size.set_lower(first.len() as u64);
        }
        size
    }
}
