//! All that a node holds of a scope, as of one position: the baseline of its stream, taken in and checked by core's replica
//! as any child would, and the connection closed behind it.
//!
//! The state is kept in memory. It is exact, and its counts and digests are those the node announced, or there is none.

use super::client::{Call, Client};
use super::failure::{Failure, Kind};
use super::progress::Progress;
use crate::clock;
use crate::random;
use axum::body::Bytes;
use headwater_core::command::EndReason;
use headwater_core::feed::FeedLimits;
use headwater_core::limits::SCOPE_BYTES_MAX;
use headwater_core::node::{Node, NodeOptions, Role};
use headwater_core::replica::{Event, Replica, ReplicaOptions};
use headwater_core::scope::{Collections, Scope};
use headwater_core::store::memory::{MemoryOptions, MemorySnapshot, MemoryStore};
use headwater_core::store::{self, Store};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Nobody follows this replica, so it needs no feed to speak of.
const FEED: FeedLimits = FeedLimits { bytes_max: 4096, scope_bytes_max: 4096, scopes_max: 1 };
/// Most collections that are asked for by name; with more, everything public is.
const NAMED_MAX: usize = 256;

/// The scope of whole collections, or of everything public where they are too many to be named.
pub(super) fn scope_of<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> Scope {
    if names.len() > NAMED_MAX {
        return Scope::Public;
    }
    let whole = names.map(|name| (name.to_owned(), vec![String::new()]));
    match Collections::new(whole).map(Scope::Only) {
        Ok(scope) if scope.to_json().len() <= SCOPE_BYTES_MAX => scope,
        _ => Scope::Public,
    }
}

/// Takes in what the node holds of `scope`; `command` is what the node sees as the name of its child.
///
/// # Errors
/// What [`Client::call`] fails with; a stream that breaks off, is not what it should be, or is of less than `scope`.
pub(super) async fn take(
    client: &Client,
    scope: Scope,
    command: &str,
    progress: &mut Progress,
) -> Result<MemorySnapshot, Failure> {
    let store = MemoryStore::new(store::Progress::new(scope.clone()), MemoryOptions::single_threaded(random::bits()));
    let options = NodeOptions { feed: FEED, ..NodeOptions::new(command, random::id(), Role::Replica) };
    let node = Arc::new(Node::new(store, options));
    let mut replica = Replica::new(Arc::clone(&node), ReplicaOptions { scope: scope.clone(), parents: 1 });
    let body = replica.request(clock::now()).to_body();
    let role = if scope == Scope::Everything { "the role node" } else { "the role read there" };
    let call = Call::ask("/v1/replicate".into(), body).wanting(role);
    let silent = |replica: &Replica<MemoryStore>| {
        let deadline = replica.deadline().unwrap_or(0);
        Duration::from_millis(deadline.saturating_sub(clock::now().mono_ms))
    };
    let quiet = || Failure::unable(format!("{} fell silent", client.base()));
    let opened = timeout(silent(&replica), client.open_lines(call)).await;
    let mut body = opened.unwrap_or_else(|_| Err(quiet()))?.into_body();
    let (mut events, mut received) = (Vec::new(), 0);
    loop {
        let frame = timeout(silent(&replica), body.frame()).await.map_err(|_| quiet())?;
        let broken = |why: String| Failure::unable(format!("{}: the stream broke off{why}", client.base()));
        let frame = frame.ok_or_else(|| broken(String::new()))?.map_err(|error| broken(format!(": {error}")))?;
        let bytes: Bytes = frame.into_data().unwrap_or_default();
        received += bytes.len();
        progress.show(|| format!("{:.1} MB received", received as f64 / 1e6));
        let outcome = replica.receive(&bytes, clock::now(), &mut events);
        for event in events.drain(..) {
            match event {
                // What came behind it in the same piece is applied as well: the state is exact as of its position.
                Event::Rebased { .. } => return finish(&node, &scope, client),
                Event::Ended(end) => {
                    let unable = |why: &str| Failure::unable(format!("{} {why}", client.base()));
                    return Err(match end.reason {
                        EndReason::Revoked | EndReason::TokenExpired => {
                            Failure::new(Kind::Refused, "the node does not accept these credentials any more")
                        }
                        EndReason::Elsewhere => {
                            unable("does not hold all of what was asked for").next("Ask its parent, or for less.")
                        }
                        reason => unable(&format!("ended the stream ({}, {})", reason.as_str(), end.detail)),
                    });
                }
                Event::Connected { .. } | Event::Applied(_) | Event::Advanced(_) => {}
            }
        }
        outcome.map_err(|offence| {
            Failure::unable(format!("{} sent what is no state: {offence}", client.base())).next(offence.code())
        })?;
    }
}

fn finish(node: &Node<MemoryStore>, asked: &Scope, client: &Client) -> Result<MemorySnapshot, Failure> {
    let snapshot = node.store().snapshot()?;
    let granted = store::Snapshot::progress(&snapshot).scope.clone();
    if granted.contains(asked) {
        return Ok(snapshot);
    }
    let message = format!("{} gives these credentials only {granted}, and {asked} was asked for", client.base());
    Err(Failure { code: Some("forbidden".into()), ..Failure::new(Kind::Refused, message) })
}
