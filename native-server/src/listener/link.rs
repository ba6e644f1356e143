//! What a connection's socket and its service tell each other.

use super::framing::Violation;
use headwater_core::credentials::PairMemory;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Why a connection takes no further request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It does not keep to the protocol.
    Violation(Violation),
    /// A head took longer than it may.
    Slow,
}

/// Beside a response: its body is a stream of lines, which has no end to get to and no rate to be taken at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines;

/// One connection, from both its ends: the socket below HTTP, and the service above it.
#[derive(Debug)]
pub(crate) struct Link {
    /// Who is at the other side.
    pub(crate) peer: SocketAddr,
    /// The pair of credentials that its requests show.
    pub(crate) pairs: PairMemory,
    /// Requests that reached the service.
    calls: AtomicU64,
    /// Requests being answered.
    in_flight: AtomicU32,
    opened: Instant,
    /// When the last of them was answered, in ms after the connection was opened.
    answered_ms: AtomicU64,
    /// Which request is refused, counted from 1, and why.
    refused: OnceLock<(u64, Refused)>,
    /// Whether a stream was begun.
    streams: AtomicBool,
    /// Whether a body went wrong half-way.
    broken: AtomicBool,
    leaving: Notify,
    /// Whether it is to end as soon as nothing is under way.
    is_left: AtomicBool,
}

impl Link {
    pub(crate) fn new(peer: SocketAddr) -> Self {
        Self {
            peer,
            pairs: PairMemory::default(),
            calls: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            opened: Instant::now(),
            answered_ms: AtomicU64::new(0),
            refused: OnceLock::new(),
            streams: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            leaving: Notify::new(),
            is_left: AtomicBool::new(false),
        }
    }

    /// Notes that a request has reached the service. Returns why it is to be refused, if it is.
    pub(crate) fn called(&self) -> Option<Refused> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        self.refused.get().and_then(|&(refused, why)| (refused == number).then_some(why))
    }

    /// Has the request of this number refused when it reaches the service.
    pub(super) fn refuse(&self, number: u64, why: Refused) {
        // The first reason is the one; after it nothing is read any more.
        self.refused.get_or_init(|| (number, why));
    }

    /// Notes that the body of the newest request cannot be read to its end, nor anything behind it.
    pub(super) fn breaks_off(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Whether no further request can come.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Notes that a stream begins: it is to be noticed soon when the other side takes nothing any more.
    pub(crate) fn streams(&self) {
        self.streams.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_streaming(&self) -> bool {
        self.streams.load(Ordering::Relaxed)
    }

    /// Has the connection ended in good order, as it was waited for long enough.
    pub(super) fn leave(&self) {
        self.leaving.notify_one();
    }

    /// Waits until [`Link::leave`].
    pub(super) async fn left(&self) {
        self.leaving.notified().await;
    }

    /// Notes that the other side is told that the connection ends.
    pub(super) fn takes_leave(&self) {
        self.is_left.store(true, Ordering::Relaxed);
    }

    /// Whether it was told.
    pub(super) fn has_taken_leave(&self) -> bool {
        self.is_left.load(Ordering::Relaxed)
    }

    /// Keeps the connection from being taken for idle as long as the guard lives.
    pub(crate) fn answering(self: &Arc<Self>) -> Answering {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }

    pub(super) fn is_answering(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > 0
    }

    /// When an answer was last ready; the connection's beginning before that.
    pub(super) fn answered(&self) -> Instant {
        self.opened + Duration::from_millis(self.answered_ms.load(Ordering::Relaxed))
    }
}

/// A request that is being answered. See [`Link::answering`].
#[derive(Debug)]
pub(crate) struct Answering(Arc<Link>);

impl Drop for Answering {
    fn drop(&mut self) {
        let passed = u64::try_from(self.0.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.answered_ms.fetch_max(passed, Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Release);
    }
}
