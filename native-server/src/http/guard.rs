//! Who may ask: the name the node is called by, and the credentials, which core judges.

use super::basic::basic;
use super::proxy;
use crate::clock;
use crate::listener::Link;
use crate::server::Server;
use axum::http::header::{AUTHORIZATION, HOST, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Version};
use headwater_core::api::{self, ApiError, Code, HEADER_APIKEY, HEADER_SECRET, Route, Shown, host};
use headwater_core::clock::Now;
use headwater_core::credentials::{Checks, Grant, PairMemory, Rights, Role};
use headwater_core::name;
use headwater_core::store::Store;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

static APIKEY: HeaderName = HeaderName::from_static(HEADER_APIKEY);
static SECRET: HeaderName = HeaderName::from_static(HEADER_SECRET);

/// Refuses a request that was meant for another name: a web page that had its own name point here (DNS rebinding) sends
/// that name.
///
/// # Errors
/// 421 `misdirected`; 400 for no name or two, as HTTP wants it (RFC 9112, section 3.2).
pub(super) fn called_by_its_name(server: &Server, parts: &Parts) -> Result<(), ApiError> {
    let mut named = parts.headers.get_all(HOST).iter();
    let name = named.next().and_then(|value| value.to_str().ok());
    if named.next().is_some() {
        return Err(ApiError::new(Code::InvalidRequest, "the request has two Host headers"));
    }
    // A target with a host of its own overrides the header (RFC 9112, section 3.2.2); here both must be right.
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    for name in [authority, name].into_iter().flatten() {
        if !is_own_name(server, name) {
            return Err(host::misnamed(name));
        }
    }
    // In HTTP/2 the authority stands for the header (RFC 9113, section 8.3.1).
    let named = name.or(authority.filter(|_| parts.version == Version::HTTP_2 && !parts.headers.contains_key(HOST)));
    named
        .map(|_| ())
        .ok_or_else(|| ApiError::new(Code::InvalidRequest, "the request has no Host header, or one that is no text"))
}

fn is_own_name(server: &Server, name: &str) -> bool {
    // The unspecified address is no name: browsers take 0.0.0.0 for this very machine.
    let own = server.settings.listen.ip();
    host::answers_to(name, &server.settings.hosts) || (!own.is_unspecified() && host::address(name) == Some(own))
}

/// What is granted to who asks.
///
/// # Errors
/// As [`api::authorize`].
pub(super) fn grant(server: &Server, link: &Link, headers: &HeaderMap, now: Now) -> Result<Arc<Grant>, ApiError> {
    let shown = shown(headers, proxy::identity(server, headers, link.peer.ip()));
    api::authorize(&server.node, server.dev.as_ref(), shown, Checks::All, &link.pairs, now)
}

/// The same, and counts the request as one of its credential's.
///
/// # Errors
/// As [`grant`]; 429 when there were too many.
pub(super) fn counted(server: &Server, link: &Link, headers: &HeaderMap, now: Now) -> Result<Arc<Grant>, ApiError> {
    let grant = grant(server, link, headers, now)?;
    server.rates.granted(&grant, link.peer.ip())?;
    Ok(grant)
}

/// What is granted to who asks for this: on the route of Prometheus by basic authorization too.
fn judged(
    server: &Server,
    headers: &HeaderMap,
    peer: IpAddr,
    route: Option<&Route<'_>>,
    checks: Checks,
    pairs: &PairMemory,
) -> Result<Arc<Grant>, ApiError> {
    let basic = if route == Some(&Route::Exposition) { basic(headers) } else { None };
    let identity = proxy::identity(server, headers, peer);
    let shown = match &basic {
        // Who says who it is in two ways is believed in neither.
        Some((apikey, secret)) if identity.is_none() => Shown::Pair { apikey, secret },
        _ => shown(headers, identity),
    };
    api::authorize(&server.node, server.dev.as_ref(), shown, checks, pairs, clock::now())
}

/// The same for whoever may ask for this. What is public is for everybody, who is not looked at then.
///
/// # Errors
/// As [`counted`] and [`api::permit`]; 403 `read_only`; 503 for a change that could not be noted and must be.
pub(super) fn permitted(
    server: &Server,
    link: &Link,
    headers: &HeaderMap,
    route: &Route<'_>,
) -> Result<Arc<Grant>, ApiError> {
    if route.is_public() {
        return Ok(Arc::new(Grant::local("", Rights::default())));
    }
    let grant = judged(server, headers, link.peer.ip(), Some(route), Checks::All, &link.pairs)?;
    // The streams of nodes have bounds of their own, and what follows a node cannot do without.
    if *route != Route::Replicate || !grant.has(Role::Node) {
        server.rates.granted(&grant, link.peer.ip())?;
    }
    api::permit(&grant, route)?;
    if route.changes_data() && server.settings.read_only {
        return Err(ApiError::new(Code::ReadOnly, "this node takes no writes: it was started with --read-only"));
    }
    if route.changes_data() || matches!(route, Route::Key(_)) {
        server.audit.admits()?;
    }
    Ok(grant)
}

/// Whether who was granted this may still do as much.
///
/// # Errors
/// As [`api::still`].
pub(super) fn still(server: &Server, grant: &Grant) -> Result<(), ApiError> {
    api::still(server.node.store(), grant, clock::now())
}

/// What the request shows, of somebody for whom a proxy vouches or not.
fn shown<'h>(headers: &'h HeaderMap, identity: Option<&'h str>) -> Shown<'h> {
    let given = |name| single_if_any(headers, name);
    Shown::of(given(&APIKEY), given(&SECRET), given(&AUTHORIZATION), identity)
}

/// The secret of a pair that was found to be right.
pub(super) fn secret(headers: &HeaderMap) -> &str {
    single(headers, &SECRET)
}

/// Who asks, for what, of a request that was judged; `None` where nothing was granted.
pub(super) fn who(server: &Server, headers: &HeaderMap, peer: IpAddr, route: Option<&Route<'_>>) -> Option<String> {
    let judged = judged(server, headers, peer, route, Checks::RememberedAlone, &PairMemory::default());
    judged.ok().map(|grant| grant.credential.clone())
}

/// The id of which what was shown says that it is of that, if there is a credential of this id: whatever else was sent as a
/// key may be a secret in the wrong place.
pub(super) fn claimed(server: &Server, headers: &HeaderMap) -> Option<String> {
    let id = match single_if_any(headers, &APIKEY) {
        Some(apikey) => Cow::Borrowed(apikey),
        None => Cow::Owned(api::claimed_by_token(single(headers, &AUTHORIZATION))?),
    };
    is_known(server, &id).then(|| id.into_owned())
}

fn is_known(server: &Server, id: &str) -> bool {
    id == api::DEV && server.dev.is_some()
        || (!id.is_empty() && server.node.store().record(name::KEYS, id).is_ok_and(|record| record.is_some()))
}

/// The header's one value; empty when it is missing, repeated or no text, which no pair is.
pub(super) fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> &'h str {
    single_if_any(headers, name).unwrap_or("")
}

/// The same; `None` where it is missing.
pub(super) fn single_if_any<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    Some(if values.next().is_none() { value.to_str().unwrap_or("") } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_header_is_no_credential() {
        let mut headers = HeaderMap::new();
        headers.append("apikey", "a".parse().unwrap());
        assert_eq!(single(&headers, &APIKEY), "a");
        headers.append("apikey", "a".parse().unwrap());
        assert_eq!(single(&headers, &APIKEY), "");
        assert_eq!(single(&headers, &SECRET), "");
    }

    #[test]
    fn what_is_shown_twice_is_nothing_that_could_be_right() {
        let mut headers = HeaderMap::new();
        assert_eq!(shown(&headers, None), Shown::Nothing);
        headers.append(AUTHORIZATION, "Bearer a.b.c".parse().unwrap());
        assert_eq!(shown(&headers, None), Shown::Bearer("a.b.c"));
        headers.append(AUTHORIZATION, "Bearer a.b.c".parse().unwrap());
        assert_eq!(shown(&headers, None), Shown::Bearer(""));
        headers.append(&APIKEY, "k".parse().unwrap());
        assert_eq!(shown(&headers, None), Shown::Pair { apikey: "", secret: "" });
    }
}
