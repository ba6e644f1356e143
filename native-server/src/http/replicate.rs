//! `POST /v1/replicate`: a child's stream as a body that never ends by itself.
//!
//! The driver for hyper bodies. A stream holds a place at the bell and a timer, and no lines: what it yields is shared
//! with every other child of its scope.

use crate::bell::Listener;
use crate::clock;
use crate::listener::{Answering, Lines, Link};
use crate::pool::Caller;
use crate::random;
use crate::server::Server;
use crate::wal::ReadError;
use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use headwater_core::api::{Answer, ApiError, Code};
use headwater_core::credentials::Grant;
use headwater_core::position::Term;
use headwater_core::store::memory::MemoryStore;
use headwater_core::stream::{OpenError, Request, SKIPPED_PING_MS, Step, Stream, Supply};
use http_body::Frame;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// The setting that says how many streams one caller may have.
const CHILDREN: &str = "--children-per-credential-max";

/// Opens a stream.
///
/// # Errors
/// The answer to give instead.
pub(super) fn stream(server: &Arc<Server>, link: &Arc<Link>, grant: &Grant, body: &[u8]) -> Result<Response, ApiError> {
    let request = Request::from_body(body)?;
    let floor = server.log.floor_up_to(server.node.feed_floor());
    let caller = Caller::of(grant, link.peer.ip());
    let stream = Stream::open_for(&caller.name(), &server.node, request, grant, floor, clock::now());
    let stream = stream.map_err(|error| match error {
        OpenError::BeyondShare(limit) => {
            let of = caller.told();
            let words = format!("there are too many streams {of}: the limit is {limit} ({CHILDREN}); come back");
            ApiError::new(Code::Overloaded, words)
        }
        error => error.into(),
    })?;
    server.metrics.replication_streams_total.one();
    if let Some(Term { takeover, epoch }) = server.node.deposed_news() {
        tracing::error!(
            epoch,
            takeover,
            "deposed: a node that follows has met a later writer; what is written here may be lost"
        );
    }
    let mut response = super::respond(server.as_of(Answer::stream()));
    link.streams();
    response.extensions_mut().insert(Lines);
    *response.body_mut() = Body::new(StreamBody::new(server, link.answering(), stream));
    Ok(response)
}

type Read = Pin<Box<dyn Future<Output = Result<Supply, ReadError>> + Send>>;

struct StreamBody {
    stream: Stream<MemoryStore>,
    server: Arc<Server>,
    listener: Listener,
    /// Wakes the stream when a PING is due.
    timer: Pin<Box<Sleep>>,
    /// When within [`SKIPPED_PING_MS`] it looks for what it was not woken for. Another one for each stream, or a crowd of
    /// them would be busy with their PINGs all at the same time, and everybody else would wait.
    phase_ms: u64,
    /// A read of the log under way.
    read: Option<Read>,
    /// The connection is not idle while this lives.
    _answering: Answering,
}

impl StreamBody {
    fn new(server: &Arc<Server>, answering: Answering, stream: Stream<MemoryStore>) -> Self {
        let (server, listener) = (Arc::clone(server), server.bell.listen_for(stream.ring()));
        let timer = Box::pin(sleep_until(Instant::now()));
        let phase_ms = random::bits() % SKIPPED_PING_MS;
        Self { stream, server, listener, timer, phase_ms, read: None, _answering: answering }
    }

    /// Waits for what is missing in the feed to come from the log.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(read) = &mut self.read else { return Poll::Ready(()) };
        let supply = match read.as_mut().poll(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(supply)) => supply,
            Poll::Ready(Err(error)) => {
                tracing::error!(%error, "the log cannot be read for a stream; the child gets a baseline");
                Supply::Gone
            }
        };
        self.read = None;
        self.stream.supply(supply);
        Poll::Ready(())
    }

    fn poll_wait(&mut self, until_mono_ms: u64, context: &mut Context<'_>) -> Poll<()> {
        if self.listener.poll_rung(context).is_ready() {
            return Poll::Ready(());
        }
        let now_ms = clock::now().mono_ms;
        let mut wait_ms = until_mono_ms.saturating_sub(now_ms);
        if self.stream.ring().is_some() {
            wait_ms = wait_ms.min(SKIPPED_PING_MS - (now_ms + self.phase_ms) % SKIPPED_PING_MS);
        }
        let wait = Duration::from_millis(wait_ms);
        self.timer.as_mut().reset(Instant::now() + wait);
        self.timer.as_mut().poll(context)
    }
}

impl HttpBody for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        loop {
            if this.poll_read(context).is_pending() {
                return Poll::Pending;
            }
            this.listener.attend();
            match this.stream.next(clock::now()) {
                Step::Chunk { bytes, commands } => {
                    this.server.metrics.replication_commands_sent_total.add(commands);
                    this.server.metrics.replication_bytes_sent_total.add(bytes.len() as u64);
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Step::Wait(until_mono_ms) => {
                    if this.poll_wait(until_mono_ms, context).is_pending() {
                        return Poll::Pending;
                    }
                }
                Step::History(after) => {
                    this.server.metrics.replication_log_reads_total.one();
                    let log = Arc::clone(&this.server.log);
                    this.read = Some(Box::pin(async move { log.after(after).await }));
                }
                Step::End => return Poll::Ready(None),
            }
        }
    }
}
