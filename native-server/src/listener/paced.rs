//! Answers over HTTP/2 that nobody takes, or next to nobody.
//!
//! Over HTTP/1.1 a client that takes too little stops its socket, which [`Guarded`](super::guarded::Guarded) notices. One
//! of HTTP/2 may leave the window of a stream shut, or all but shut, and keep everything else of its connection going. So
//! each stream's task is timed while it has something to send, and given up, which resets the stream (CANCEL). Bodies are
//! handed on in pieces, so that what the library holds of each is little.

use super::limits::{ConnectionLimits, Patience};
use super::link::{Lines, Link};
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::Service;
use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::task_local;
use tokio::time::{Instant, sleep_until};

/// What of a body is handed on at once: a frame of HTTP/2 as large as every client takes it.
const PIECE_BYTES: usize = 16 << 10;

task_local! {
    /// Of the stream whose task this is.
    static OFFER: Cell<Offer>;
}

/// What of an answer is offered to the client.
#[derive(Clone, Copy, Debug)]
struct Offer {
    /// Since when there is a piece of so many bytes that it has not taken.
    piece: Option<(Instant, usize)>,
    /// How long it is waited for.
    patience: Patience,
    /// Whether it is a stream of lines: of that any piece will do, whenever there is one.
    is_lines: bool,
}

impl Offer {
    /// The client has taken what it was offered, if it was.
    fn is_taken(&mut self) {
        if let Some((since, bytes)) = self.piece.take() {
            self.patience.heard(since.elapsed(), bytes);
        }
    }

    /// Until when it is waited for.
    fn until(&self, limits: &ConnectionLimits) -> Option<Instant> {
        let (since, _) = self.piece?;
        Some(since + if self.is_lines { limits.stream_write } else { self.patience.left() })
    }

    /// Changes that of the stream whose task this is.
    fn update(update: impl FnOnce(&mut Self)) {
        OFFER.with(|cell| {
            let mut offer = cell.get();
            update(&mut offer);
            cell.set(offer);
        });
    }
}

/// Runs the streams of one connection.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    pub(super) link: Arc<Link>,
    pub(super) limits: Arc<ConnectionLimits>,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let (link, limits) = (Arc::clone(&self.link), Arc::clone(&self.limits));
        // A connection is not idle while anything of an answer is to be taken.
        let answering = self.link.answering();
        let offer = Offer { piece: None, patience: limits.write.patience(), is_lines: false };
        tokio::spawn(OFFER.scope(Cell::new(offer), async move {
            let (mut stream, mut timer) = (pin!(stream), pin!(sleep_until(Instant::now())));
            let taken = poll_fn(|context| {
                if stream.as_mut().poll(context).is_ready() {
                    return Poll::Ready(true);
                }
                let Some(until) = OFFER.with(Cell::get).until(&limits) else { return Poll::Pending };
                if timer.deadline() != until {
                    timer.as_mut().reset(until);
                }
                timer.as_mut().poll(context).map(|()| false)
            });
            if !taken.await {
                tracing::debug!(peer = %link.peer, "an answer was given up: the client takes too little of it, or nothing");
            }
            drop(answering);
        }));
    }
}

/// A service whose answers are known to [`Streams`].
#[derive(Clone, Debug)]
pub(super) struct Paced<S>(pub(super) S);

impl<S> Service<Request<Incoming>> for Paced<S>
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = axum::http::Response<PacedBody>;
    type Error = Infallible;
    type Future = PacedAnswer<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        PacedAnswer(self.0.call(request))
    }
}

/// See [`Paced`].
#[derive(Debug)]
pub(super) struct PacedAnswer<F>(F);

impl<F: Future<Output = Result<Response, Infallible>> + Unpin> Future for PacedAnswer<F> {
    type Output = Result<axum::http::Response<PacedBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_ok(|response| {
            if response.extensions().get::<Lines>().is_some() {
                Offer::update(|offer| offer.is_lines = true);
            }
            response.map(|body| PacedBody { body, rest: Bytes::new() })
        })
    }
}

/// A body that notes when a piece of it is handed on, and when the next one is asked for.
#[derive(Debug)]
pub(super) struct PacedBody {
    body: Body,
    /// What is there of it and was not handed on.
    rest: Bytes,
}

impl HttpBody for PacedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        Offer::update(Offer::is_taken);
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => this.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
        Offer::update(|offer| offer.piece = Some((Instant::now(), piece.len())));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // It is asked for before anything is handed on.
        self.body.size_hint()
    }
}
