//! The connection behind `watch`: carries bytes between the node and core's replica, and waits when it says so.

use super::super::ago::span;
use super::super::client::{Call, Client, Incoming};
use super::super::failure::{Failure, Kind};
use super::difference::{Change, difference};
use super::screen::Screen;
use crate::clock;
use crate::random;
use axum::body::Bytes;
use headwater_core::command::{BaselineReason, EndReason};
use headwater_core::feed::FeedLimits;
use headwater_core::node::{Node, NodeOptions, Role};
use headwater_core::position::Position;
use headwater_core::replica::{Cause, Event, Offence, Replica, ReplicaOptions};
use headwater_core::scope::Scope;
use headwater_core::store::memory::{MemoryOptions, MemorySnapshot, MemoryStore};
use headwater_core::store::{Progress, Snapshot, SnapshotError, Store};
use http_body_util::BodyExt;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// How often the last line on a terminal is brought up to date.
const STATUS_EVERY: Duration = Duration::from_millis(500);
/// Nobody follows this replica, so it needs no feed to speak of.
const FEED: FeedLimits = FeedLimits { bytes_max: 4096, scope_bytes_max: 4096, scopes_max: 1 };

/// Follows for ever, or until it is refused.
pub(super) struct Follower<'o> {
    client: Client,
    replica: Replica<MemoryStore>,
    node: Arc<Node<MemoryStore>>,
    scope: Scope,
    screen: Screen<'o>,
    /// Show what the first baseline holds.
    initial: bool,
    /// A stream was opened once, so that the address and the pair are right.
    was_connected: bool,
    /// The state before the connection, until it is known that it goes on from there.
    before: Option<MemorySnapshot>,
    changes: u64,
    /// Why no stream was opened, in words.
    unopened: Option<Failure>,
}

impl<'o> Follower<'o> {
    pub(super) fn new(client: Client, scope: Scope, initial: bool, screen: Screen<'o>) -> Self {
        let instance = random::id();
        let options = NodeOptions { feed: FEED, ..NodeOptions::new("headwater watch", instance, Role::Replica) };
        let store = MemoryStore::new(Progress::new(scope.clone()), MemoryOptions::single_threaded(random::bits()));
        let node = Arc::new(Node::new(store, options));
        let replica = Replica::new(Arc::clone(&node), ReplicaOptions { scope: scope.clone(), parents: 1 });
        Self {
            client,
            replica,
            node,
            scope,
            screen,
            initial,
            was_connected: false,
            before: None,
            changes: 0,
            unopened: None,
        }
    }

    /// Connects, follows, and connects again.
    ///
    /// # Errors
    /// What trying again cannot mend.
    pub(super) async fn run(&mut self) -> Result<Infallible, Failure> {
        loop {
            let cause = self.connection().await?;
            let why = self.judge(&cause)?;
            let retry = self.replica.closed(cause, random::bits());
            if retry.new_instance {
                self.replica.node().set_instance(random::id());
            }
            self.screen.notice(&format!("{why}; again in {}", span(retry.after_ms)));
            self.wait(Duration::from_millis(retry.after_ms)).await?;
        }
    }

    /// Leaves the terminal as it was.
    pub(super) fn leave(&mut self) {
        self.screen.clear_status();
    }

    /// One connection, from its request to its end.
    async fn connection(&mut self) -> Result<Cause, Failure> {
        let is_complete = self.node.is_complete();
        // Dropped as soon as the stream goes on from here; until then nothing changes, so it costs nothing.
        self.before = if is_complete { Some(self.snapshot()?) } else { None };
        let request = self.replica.request(clock::now());
        let call = Call::ask("/v1/replicate".into(), request.to_body());
        let opened = tokio::select! {
            opened = self.client.open_lines(call) => opened,
            () = silence(self.replica.deadline()) => return Ok(Cause::Silent),
        };
        match opened {
            Ok(response) => self.receive(response.into_body()).await,
            Err(failure) if failure.kind == Kind::Refused || !(self.was_connected || failure.code.is_some()) => {
                Err(failure)
            }
            Err(failure) => {
                let retry_ms = failure.retry_after_s.unwrap_or(0).saturating_mul(1_000);
                let cause = if failure.code.is_some() { Cause::Refused { retry_ms } } else { Cause::Lost };
                self.unopened = Some(failure);
                Ok(cause)
            }
        }
    }

    async fn receive(&mut self, mut body: Incoming) -> Result<Cause, Failure> {
        let mut next_status = Instant::now();
        loop {
            let has_status = self.screen.has_status();
            let frame = tokio::select! {
                // Bytes first: a reader that was held up by its own output has more of them, and is not too late.
                biased;
                frame = body.frame() => frame,
                () = silence(self.replica.deadline()) => return Ok(Cause::Silent),
                () = sleep_until(next_status), if has_status => {
                    self.flush()?;
                    next_status = Instant::now() + STATUS_EVERY;
                    continue;
                }
            };
            let Some(Ok(frame)) = frame else { return Ok(Cause::Lost) };
            let bytes: Bytes = frame.into_data().unwrap_or_default();
            let ended = self.take(&bytes)?;
            self.flush()?;
            if let Some(cause) = ended {
                return Ok(cause);
            }
        }
    }

    /// Takes bytes of the stream; gives back why it is over, if it is.
    fn take(&mut self, bytes: &[u8]) -> Result<Option<Cause>, Failure> {
        let mut events = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            // Line by line up to READY, so that the picture taken there is that of the baseline and nothing more.
            let is_tail = self.replica.is_connected() && !self.replica.is_staging();
            let end = rest.iter().position(|&byte| byte == b'\n').filter(|_| !is_tail);
            let (piece, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
            rest = after;
            let outcome = self.replica.receive(piece, clock::now(), &mut events);
            for event in events.drain(..) {
                if let Some(cause) = self.show(event)? {
                    return Ok(Some(cause));
                }
            }
            if let Err(offence) = outcome {
                return Ok(Some(Cause::Offence(offence)));
            }
        }
        Ok(None)
    }

    fn show(&mut self, event: Event) -> Result<Option<Cause>, Failure> {
        match event {
            Event::Connected { node, baseline: Some(reason), .. } => {
                self.was_connected = true;
                let why = match reason {
                    BaselineReason::New => String::new(),
                    reason => format!(" ({})", reason.as_str()),
                };
                self.screen.notice(&format!("connected to {node}: receiving its state{why}"));
            }
            Event::Connected { node, baseline: None, .. } => {
                self.was_connected = true;
                self.before = None;
                let position = self.node.store().position();
                self.screen.notice(&format!("connected to {node}: going on from position {position}"));
            }
            Event::Applied(lines) => {
                self.changes += lines.iter().filter(|&&byte| byte == b'\n').count() as u64;
                self.screen.log(&lines)?;
            }
            Event::Advanced(_) => {}
            Event::Rebased { position, before, reason } => self.rebased(position, before, reason)?,
            Event::Ended(end) => return Ok(Some(Cause::Ended(end))),
        }
        Ok(None)
    }

    fn rebased(&mut self, position: Position, before: Position, reason: BaselineReason) -> Result<(), Failure> {
        let after = self.snapshot()?;
        let (count, keys) = after.collections().iter().fold((0, 0), |(n, keys), facts| (n + 1, keys + facts.keys));
        self.screen.notice(&format!(
            "following from position {position}: {}, {}",
            counted(keys, "entry", "entries"),
            counted(count, "collection", "collections")
        ));
        let granted = &after.progress().scope;
        if *granted != self.scope {
            self.screen.notice(&format!("this pair is granted only {granted}"));
        }
        if let Scope::Only(asked) = &self.scope {
            let is_missing = |name: &str| after.collections().iter().all(|facts| &*facts.name != name);
            for (name, _) in asked.iter().filter(|(name, _)| granted.touches(name) && is_missing(name)) {
                self.screen.notice(&format!("the collection {name} does not exist yet: waiting for it"));
            }
        }
        let old = self.before.take();
        if old.is_none() && !self.initial {
            return Ok(());
        }
        let (screen, changes) = (&mut self.screen, &mut self.changes);
        screen.rebased(position, before, reason.as_str(), after.collections())?;
        difference(old.as_ref(), &after, |change: Change<'_>| {
            *changes += u64::from(old.is_some());
            screen.change(&change)
        })
    }

    fn snapshot(&self) -> Result<MemorySnapshot, Failure> {
        Ok(self.node.store().snapshot()?)
    }

    /// Why the connection is over, in words.
    ///
    /// # Errors
    /// When another connection would end the same way.
    fn judge(&mut self, cause: &Cause) -> Result<String, Failure> {
        let refused = |message: String| Failure::new(Kind::Refused, message);
        Ok(match cause {
            Cause::Lost | Cause::Own | Cause::Refused { .. } => match self.unopened.take() {
                None => "the connection is lost".into(),
                Some(Failure { code: Some(code), message, .. }) => format!("{message} [{code}]"),
                Some(failure) => failure.message,
            },
            Cause::Silent => "the node fell silent".into(),
            Cause::Offence(offence) => match offence {
                Offence::OtherCluster { .. } => {
                    return Err(
                        refused(offence.to_string()).next("Start the command again to follow the other cluster.")
                    );
                }
                Offence::Protocol(_) | Offence::UnsupportedFeature(_) | Offence::Store(_) => {
                    return Err(refused(offence.to_string()));
                }
                offence => format!("{offence} [{}]", offence.code()),
            },
            Cause::Ended(end) => match end.reason {
                EndReason::Revoked => {
                    return Err(refused(
                        "the node does not accept these credentials any more, or not for all of this".into(),
                    ));
                }
                EndReason::Elsewhere if end.detail == "scope" => {
                    return Err(refused(format!("{} does not hold all of what was asked for", self.client.base()))
                        .next("Ask its parent, or for less."));
                }
                reason if end.detail.is_empty() => format!("the node ended the stream ({})", reason.as_str()),
                _ => format!("the node ended the stream ({})", end.detail),
            },
        })
    }

    /// Waits until the next try, keeping the last line up to date.
    async fn wait(&mut self, time: Duration) -> Result<(), Failure> {
        let until = Instant::now() + time;
        while self.screen.has_status() && Instant::now() + STATUS_EVERY < until {
            self.flush()?;
            sleep(STATUS_EVERY).await;
        }
        self.flush()?;
        sleep_until(until).await;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let (replica, node, changes) = (&self.replica, &self.node, self.changes);
        self.screen.flush(|| {
            let state = match replica.parent_node() {
                None => "not connected".into(),
                Some(_) if replica.is_staging() => "receiving the state".into(),
                Some(parent) => format!("following {parent}"),
            };
            let lag = node.lag_ms(clock::now()).map_or(String::new(), |lag_ms| format!(" · lag {}", span(lag_ms)));
            let changes = counted(changes, "change", "changes");
            format!("{state} · position {}{lag} · {changes}", node.store().position())
        })
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        Self::unable(format!("cannot read the state that was taken in: {error}"))
    }
}

fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Passes when the replica's deadline, on the clock it is told, has passed.
async fn silence(deadline: Option<u64>) {
    match deadline {
        None => std::future::pending().await,
        Some(deadline) => sleep(Duration::from_millis(deadline.saturating_sub(clock::now().mono_ms))).await,
    }
}
