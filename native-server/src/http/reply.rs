//! From core's answers to HTTP's, for every kind of body.

use crate::server::Server;
use axum::body::{Body, HttpBody};
use axum::http::header::{HeaderName, HeaderValue};
use axum::http::{Response as HttpResponse, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use headwater_core::api::{Answer, ApiError, Body as AnswerBody, Code, ListBody};
use headwater_core::store::SnapshotError;
use headwater_core::store::memory::MemorySnapshot;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Core's answer as a response.
pub(crate) fn respond(answer: Answer<MemorySnapshot>) -> Response {
    let body = match answer.body {
        AnswerBody::Full(bytes) => Body::from(bytes),
        AnswerBody::List(list) => Body::new(ListPieces(list)),
    };
    let mut response = HttpResponse::new(body);
    *response.status_mut() = StatusCode::from_u16(answer.status).expect("core's statuses are HTTP's");
    let headers = response.headers_mut();
    for (name, value) in answer.headers {
        match HeaderValue::try_from(value) {
            Ok(value) => drop(headers.insert(HeaderName::from_static(name), value)),
            // Links and tags are percent-encoded or digits.
            Err(_) => tracing::error!(header = name, "an answer's header cannot be sent"),
        }
    }
    response
}

/// An error as a response, with position and lag like every other.
pub(crate) fn error(server: &Server, error: ApiError) -> Response {
    if error.code == Code::Forbidden {
        server.metrics.requests_forbidden_total.one();
    }
    respond(server.as_of(Answer::from(error)))
}

/// A list that is written while it is sent.
struct ListPieces(ListBody<MemorySnapshot>);

impl HttpBody for ListPieces {
    type Data = Bytes;
    type Error = SnapshotError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, SnapshotError>>> {
        match self.get_mut().0.next_piece() {
            Ok(piece) => Poll::Ready(piece.map(|piece| Ok(http_body::Frame::data(piece)))),
            Err(error) => {
                // The connection breaks off, so that nobody takes half a list for a whole one.
                tracing::warn!(%error, "a list was given up half-way");
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}
