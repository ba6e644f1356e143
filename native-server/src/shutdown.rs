//! The way down: nothing new is accepted, streams are told, what is in flight is finished, the log is closed; all within
//! a deadline.

use crate::server::Server;
use headwater_core::command::{End, EndReason};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// What a child is asked to wait before it comes back, in ms: about a restart.
const RETRY_MS: u64 = 1_000;

/// Signals this close after the first are the same wish.
const TOGETHER: Duration = Duration::from_millis(500);

/// The signals that end a node.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for one.
    pub(crate) async fn received(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// Waits for one that was not sent together with the first: supervisors signal a process and its group at once.
    pub(crate) async fn received_again(&mut self) -> &'static str {
        let together_until = Instant::now() + TOGETHER;
        loop {
            let signal = self.received().await;
            if Instant::now() > together_until {
                return signal;
            }
        }
    }
}

/// Tells everybody that the node goes down.
pub(crate) fn announce(server: &Server) {
    server.node.close(End {
        reason: EndReason::Retry,
        detail: "shutdown".into(),
        retry_ms: RETRY_MS,
        parents: Vec::new(),
    });
    server.drain();
}

/// What is left of a deadline.
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn within(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// The later of this one and `least` from now: what must not be cut short by what came before it.
    pub(crate) fn at_least(self, least: Duration) -> Self {
        Self(self.0.max(Instant::now() + least))
    }

    /// Waits for `work` until the deadline; says whether it came to its end.
    pub(crate) async fn wait<T>(&self, what: &str, work: impl Future<Output = T>) -> Option<T> {
        let done = tokio::time::timeout_at(self.0, work).await;
        if done.is_err() {
            tracing::warn!(what, "not finished by the deadline of the shutdown");
        }
        done.ok()
    }
}
