//! The connection to the parent: opens the stream that core asks for, feeds it, and comes back when core says.

use super::disk::Disk;
use super::{Following, Upstream};
use crate::parent::Parent;
use crate::refusal::error_body;
use crate::unreached::{Fault, Named, by_tls};
use crate::{bootstrap, clock, random};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::Bytes;
use headwater_core::api::{CONTENT_JSON, CONTENT_NDJSON, retry_after_ms};
use headwater_core::name;
use headwater_core::position::Position;
use headwater_core::replica::{Cause, Event, Replica, ReplicaOptions};
use headwater_core::store::memory::MemoryStore;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};

/// Bytes fed to core at once, so that one large read does not hold the node for long.
const FEED_BYTES_MAX: usize = 64 << 10;
/// Longest answer of a refusing parent that is looked at.
const REFUSAL_BYTES_MAX: usize = 4 << 10;

/// The code of an answer to a pair that is not accepted, here and in the API.
const FORBIDDEN: &str = "forbidden";

pub(super) struct Client {
    following: Following,
    upstream: Arc<Upstream>,
    replica: Replica<MemoryStore>,
    disk: Disk,
    stopped: watch::Receiver<bool>,
    /// The parent sends no keys, though they are wanted.
    lacks_keys: bool,
}

/// Why a connection is over, for core and for people.
struct Over {
    cause: Cause,
    why: String,
    /// What is to be seen of it in the node's status: short name and words.
    offence: Option<(&'static str, String)>,
}

impl Over {
    fn new(cause: Cause, why: impl Into<String>) -> Self {
        Self { cause, why: why.into(), offence: None }
    }

    /// The parent answers something else than a stream.
    fn refused(parent: &Parent, status: StatusCode, retry_ms: u64, said: &[u8]) -> Self {
        let cause = Cause::Refused { retry_ms };
        match error_body(said) {
            Some((code, _)) if code == FORBIDDEN => {
                // Only names: the values are nobody's business who reads a log.
                let why = format!(
                    "{parent} does not accept HEADWATER_PARENT_APIKEY / HEADWATER_PARENT_SECRET, \
                     or the key of this pair does not have the role node"
                );
                Self { offence: Some((FORBIDDEN, why.clone())), ..Self::new(cause, why) }
            }
            Some((code, message)) => Self::new(cause, format!("{parent} refuses: {message} [{code}]")),
            None => Self::new(cause, format!("{parent} answers {status} in a way no Headwater node does")),
        }
    }

    fn silent() -> Self {
        Self::new(Cause::Silent, "the parent has gone silent")
    }
}

impl Client {
    pub(super) fn new(
        following: Following,
        upstream: Arc<Upstream>,
        disk: Disk,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        let options = ReplicaOptions { scope: following.scope.clone(), parents: following.parents.len() };
        let replica = Replica::new(Arc::clone(&following.node), options);
        Self { following, upstream, replica, disk, stopped, lacks_keys: false }
    }

    /// Follows until it is told to stop, and stores what is held then.
    pub(super) async fn follow(mut self) {
        let mut stopped = self.stopped.clone();
        while !*stopped.borrow() {
            self.upstream.current.store(self.replica.parent(), Ordering::Relaxed);
            let over = tokio::select! {
                over = self.connection() => over,
                // A sender that is gone means the same.
                _ = stopped.wait_for(|stopped| *stopped) => Over::new(Cause::Own, ""),
            };
            let retry = self.replica.closed(over.cause.clone(), random::bits());
            self.disk.follow(&[], self.following.node.store());
            // Without a connection nothing replaces the state, so what the disk holds leads on to it.
            self.disk.trust();
            self.show();
            if let Some(offence) = over.offence {
                self.upstream.lock_view().last_offence = Some(offence);
            }
            let parent = self.upstream.parent().to_string();
            self.upstream.current.store(self.replica.parent(), Ordering::Relaxed);
            if over.cause == Cause::Own {
                break;
            }
            let next = self.upstream.parent();
            tracing::warn!(parent, why = over.why, retry_ms = retry.after_ms, %next, "not following");
            if retry.new_instance {
                self.renew_instance();
            }
            let pause = Duration::from_millis(retry.after_ms);
            self.upstream.lock_view().waiting = Some((format!("{parent}: {}", over.why), Instant::now() + pause));
            tokio::select! {
                () = sleep(pause) => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        }
        self.disk.finish(self.following.node.store()).await;
    }

    /// One connection from its beginning to its end.
    async fn connection(&mut self) -> Over {
        let request = self.replica.request(clock::now());
        let response = tokio::select! {
            response = self.upstream.client.request(self.http_request(request.to_body().into())) => response,
            () = silence(&self.replica) => return Over::silent(),
        };
        let response = match response {
            Ok(response) => response,
            Err(error) => return Over::new(Cause::Lost, unreached(&error)),
        };
        let (parts, mut body) = response.into_parts();
        let is_stream =
            parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(CONTENT_NDJSON.as_bytes()));
        if parts.status != StatusCode::OK || !is_stream {
            let said = tokio::select! {
                said = beginning(&mut body) => said,
                () = silence(&self.replica) => Vec::new(),
            };
            return Over::refused(self.upstream.parent(), parts.status, retry_ms(&parts.headers), &said);
        }
        // Until HELLO it is open whether what the disk holds leads on to what comes.
        self.disk.doubt();
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                () = silence(&self.replica) => return Over::silent(),
            };
            let bytes = match frame {
                None => return Over::new(Cause::Lost, "the stream broke off without END"),
                Some(Err(error)) => return Over::new(Cause::Lost, with_sources(&error)),
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            for piece in bytes.chunks(FEED_BYTES_MAX) {
                if let Some(over) = self.receive(piece) {
                    return over;
                }
            }
        }
    }

    fn http_request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let target = "/v1/replicate".parse().expect("a constant");
        let pair = &self.following.pair;
        Request::builder()
            .method(Method::POST)
            .uri(self.upstream.parent().uri(target))
            .header(CONTENT_TYPE, CONTENT_JSON)
            .header("accept", CONTENT_NDJSON)
            .header("apikey", &pair.apikey)
            .header("secret", &pair.secret)
            .body(Full::new(body))
            .expect("the pair was checked to fit headers")
    }

    /// Feeds core, and carries out what it says. Returns why the connection is over, if it is.
    fn receive(&mut self, bytes: &[u8]) -> Option<Over> {
        let mut events = Vec::new();
        let outcome = self.replica.receive(bytes, clock::now(), &mut events);
        let mut ended = None;
        if self.disk.follow(&events, self.following.node.store()) || !events.is_empty() {
            self.following.bell.ask();
        }
        for event in events {
            match event {
                Event::Connected { node, position, baseline } => {
                    let why = baseline.map(|reason| reason.as_str());
                    tracing::info!(parent = %self.upstream.parent(), node, %position, baseline = why, "following");
                }
                Event::Applied(_) | Event::Advanced(_) => {}
                // Nothing was held before: this is how every new replica begins.
                Event::Rebased { position, before, reason } if before == Position::START => {
                    tracing::info!(%position, reason = reason.as_str(), "took the first baseline");
                }
                Event::Rebased { position, before, reason } => {
                    tracing::warn!(%position, %before, reason = reason.as_str(), "a baseline replaced the state");
                }
                Event::Ended(end) => {
                    let why = format!("the parent ends the stream: {} {}", end.reason.as_str(), end.detail);
                    ended = Some(Over::new(Cause::Ended(end), why));
                }
            }
        }
        self.tell_of_keys();
        self.show();
        match outcome {
            Ok(()) => ended,
            Err(offence) => {
                let why = format!("{}: {offence}", offence.code());
                let shown = Some((offence.code(), offence.to_string()));
                Some(Over { offence: shown, ..Over::new(Cause::Offence(offence), why) })
            }
        }
    }

    /// Says that the parent sends no keys, though they are wanted: it does so for nodes alone.
    fn tell_of_keys(&mut self) {
        let Following { node, scope, .. } = &self.following;
        let lacks_keys = scope.touches(name::KEYS) && node.is_complete() && !node.follows_keys();
        if lacks_keys && !self.lacks_keys {
            let mend = "give HEADWATER_PARENT_APIKEY a key with the role node, and start this node again";
            tracing::error!(parent = %self.upstream.parent(), mend, "the parent sends no keys, so no credentials can be checked here");
        }
        self.lacks_keys = lacks_keys;
    }

    /// Shows the rest of the node how the connection stands.
    fn show(&self) {
        let mut view = self.upstream.lock_view();
        if self.replica.is_connected() {
            view.waiting = None;
        }
        view.connected = self.replica.is_connected();
        view.stats = self.replica.stats();
    }

    fn renew_instance(&mut self) {
        let instance = random::id();
        tracing::warn!(%instance, "another node follows under this node's instance; going on under a new one");
        self.following.node.set_instance(instance);
        if let Err(error) = bootstrap::store_instance(&self.following.data, instance) {
            tracing::error!(%error, "the new instance cannot be stored");
        }
    }
}

/// Resolves when the parent counts as dead.
async fn silence(replica: &Replica<MemoryStore>) {
    let Some(deadline) = replica.deadline() else { return std::future::pending().await };
    let left = deadline.saturating_sub(clock::now().mono_ms);
    sleep_until(tokio::time::Instant::now() + Duration::from_millis(left)).await;
}

fn retry_ms(headers: &HeaderMap) -> u64 {
    retry_after_ms(headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()))
}

/// The first bytes of a refusal.
async fn beginning<B>(body: &mut B) -> Vec<u8>
where
    B: axum::body::HttpBody<Data = Bytes> + Unpin,
{
    let mut said = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            said.extend_from_slice(&data);
        }
        if said.len() >= REFUSAL_BYTES_MAX {
            said.truncate(REFUSAL_BYTES_MAX);
            break;
        }
    }
    said
}

/// The settings by which a parent is reached.
const SETTINGS: Named = Named { ca: "--parent-ca", certificate: "--parent-cert and --parent-key", url: "--parent" };

/// Why no parent answers: what TLS is ended for and what helps, else the cause at the bottom, since the others only say that it
/// is about a connection.
fn unreached(error: &legacy::Error) -> String {
    if let Some(Fault { what, helps }) = by_tls(error, SETTINGS) {
        return format!("{what}. {helps}");
    }
    let error: &dyn std::error::Error = error;
    let mut innermost = error.source();
    while let Some(source) = innermost.and_then(std::error::Error::source) {
        innermost = Some(source);
    }
    let refused = innermost.and_then(|error| error.downcast_ref::<std::io::Error>());
    match refused.map(std::io::Error::kind) {
        Some(std::io::ErrorKind::ConnectionRefused) => "connection refused".into(),
        Some(std::io::ErrorKind::TimedOut) => "no answer in time".into(),
        _ => with_sources(error),
    }
}

/// An error with what caused it, which its own words leave out.
pub(super) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        source = cause.source();
    }
    words
}
