//! What is noted of a refusal: who asked, from where, and what it was about. Never a secret, a key or a value.

use super::{guard, reply};
use crate::audit::{Op, Refusals};
use crate::server::Server;
use axum::http::request::Parts;
use axum::response::Response;
use headwater_core::api::{Code, Route, route};
use headwater_core::limits::Limits;
use headwater_core::name;
use std::net::IpAddr;

/// The address a request came from, beside its headers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// The address that a request came from, where that is known.
pub(super) fn peer_of(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get().map(|Peer(address)| *address)
}

/// Why a response is a refusal, beside its headers.
#[derive(Clone, Copy, Debug)]
pub(super) struct RefusedFor(pub(super) Code);

/// What a refusal says that somebody tries what they should not, or that the node cannot keep up. Of other errors a client
/// makes many in its daily work.
fn is_noted(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidRequest
            | Code::InvalidKey
            | Code::Forbidden
            | Code::ReadOnly
            | Code::Protected
            | Code::RequestTimeout
            | Code::UriTooLong
            | Code::Misdirected
            | Code::RateLimited
            | Code::HeadersTooLarge
            | Code::Overloaded
    )
}

/// Notes a response if it is a refusal of what was `asked`; `None` for what was no request. For those whose credentials
/// were wrong too often it is another response.
pub(super) fn settled(server: &Server, peer: IpAddr, response: Response, asked: Option<&Parts>) -> Response {
    let Some(&RefusedFor(code)) = response.extensions().get() else { return response };
    if !is_noted(code) {
        return response;
    }
    let (mut refusal, mut response) = (Refusals::of(code, peer), response);
    let mut is_right = false;
    if let Some(asked) = asked {
        let found = route(asked.method.as_str(), asked.uri.path(), asked.uri.query()).ok();
        let who = guard::who(server, &asked.headers, peer, found.as_ref());
        // Who has a right pair is never kept out by others who guess.
        if code == Code::Forbidden
            && who.is_none()
            && let Err(error) = server.rates.wrong_pair(peer)
        {
            (refusal.code, response) = (error.code, reply::error(server, error));
        }
        (is_right, refusal.by) = (who.is_some(), who);
        (refusal.op, refusal.collection) = found.map(about).unwrap_or_default();
    }
    // Looked up for what is noted alone: the time of each refusal would tell which ids there are.
    let claimed = || guard::claimed(server, &asked.filter(|_| !is_right)?.headers);
    server.audit.refused_to(refusal, claimed);
    response
}

/// What a route is about. A collection's name only if it can be one: this is what anybody may send.
fn about(route: Route<'_>) -> (Option<Op>, Option<String>) {
    let (op, collection) = match route {
        Route::CreateCollection => (Op::Create, None),
        Route::DropCollection(collection) => (Op::Drop, Some(collection)),
        Route::Set { collection, .. } => (Op::Set, Some(collection)),
        Route::Delete { collection, .. } => (Op::Delete, Some(collection)),
        Route::Batch(collection) => (Op::Batch, Some(collection)),
        Route::Keys | Route::Key(_) | Route::Tokens => (Op::Key, None),
        Route::Replicate => (Op::Replicate, None),
        Route::Read(read) => return (Some(Op::Read), read.collection().and_then(fit)),
        Route::Health | Route::Ready | Route::Status | Route::Metrics | Route::Exposition => return (None, None),
        Route::Document | Route::File(_) => return (None, None),
    };
    (Some(op), collection.as_deref().and_then(fit))
}

fn fit(collection: &str) -> Option<String> {
    (collection.len() <= Limits::default().name_bytes_max && name::is_valid(collection)).then(|| collection.into())
}
