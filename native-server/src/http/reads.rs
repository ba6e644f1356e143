//! Reads: answered by core from this node's state, or handed to the parent where this node does not hold enough.

use super::untaken::{self, Bounded};
use super::{guard, reply, wait};
use crate::clock;
use crate::listener::Link;
use crate::pool::{Caller, Taken};
use crate::replica::forward;
use crate::server::{Server, Work};
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use headwater_core::api::{self, Answer, Answered, ApiError, Code, Conditions, Read};
use headwater_core::credentials::Grant;
use headwater_core::store::Store;
use headwater_core::store::memory::MemorySnapshot;
use std::sync::Arc;

fn conditions(headers: &HeaderMap) -> Result<Conditions, ApiError> {
    let mut given = headers.get_all(IF_NONE_MATCH).iter();
    // One that is repeated or no text is no list of tags either.
    let none_match = given.next().map(|value| value.to_str().ok().filter(|_| given.next().is_none()).unwrap_or(""));
    Conditions::read(none_match, headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()))
}

/// Answers a read of one entry; `None` when the parent must be asked, as only nodes that have one may.
pub(super) fn entry_at_once(server: &Server, link: &Link, parts: &Parts, asked: &Read<'_>) -> Option<Response> {
    if matches!(server.work, Work::Replica(_)) && !asked.is_covered_by(&server.node.store().progress().scope) {
        return None;
    }
    let now = clock::now();
    let answered = guard::counted(server, link, &parts.headers, now).and_then(|grant| {
        let answered = api::read(&server.node, &grant, asked, &conditions(&parts.headers)?, now)?;
        Ok(match answered {
            Answered::AskParent => None,
            Answered::Here(answer) => {
                let caller = Caller::of(&grant, link.peer.ip());
                Some(untaken::counted(server, caller, Bounded::ByAll, parts.version, here(server, answer, None)))
            }
        })
    });
    answered.unwrap_or_else(|error| Some(reply::error(server, error)))
}

fn here(server: &Server, answer: Answer<MemorySnapshot>, place: Option<Taken>) -> Response {
    server.metrics.reads_total.one();
    reply::respond_with(answer, place)
}

/// Answers a read that may have to wait for a position first.
///
/// # Errors
/// The answer to give instead.
pub(super) async fn read(
    server: &Server,
    link: &Link,
    grant: &Arc<Grant>,
    found: &Read<'static>,
    parts: &Parts,
) -> Result<Response, ApiError> {
    let conditions = conditions(&parts.headers)?;
    let share = Caller::sharing(grant, link.peer.ip());
    let mut renewed = Arc::clone(grant);
    // What this node does not hold, the parent answers, and waits for.
    if found.is_covered_by(&server.node.store().progress().scope)
        && wait::reached(server, &parts.headers, share).await?
    {
        // Much may have happened meanwhile, to the keys too.
        renewed = guard::grant(server, link, &parts.headers, clock::now())?;
    }
    // Of the lists that are open.
    let place = match found {
        Read::List { .. } => Some(server.lists.take(1, share.map(|caller| server.lists.key(caller)))?),
        Read::Entry { .. } | Read::Collections => None,
    };
    answered(server, parts, api::read(&server.node, &renewed, found, &conditions, clock::now())?, place).await
}

/// The answer, or the parent's. A list keeps its `place` among those that are open until it is sent.
///
/// # Errors
/// The answer to give instead.
pub(super) async fn answered(
    server: &Server,
    parts: &Parts,
    answered: Answered<MemorySnapshot>,
    place: Option<Taken>,
) -> Result<Response, ApiError> {
    if let Answered::Here(answer) = answered {
        return Ok(here(server, answer, place));
    }
    server.metrics.reads_forwarded_total.one();
    match &server.work {
        Work::Replica(upstream) => forward::read(server, upstream, parts, Bytes::new()).await,
        Work::Writer { .. } => Err(ApiError::new(Code::Misdirected, "this node does not hold what was asked for")),
    }
}
