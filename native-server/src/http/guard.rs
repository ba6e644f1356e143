//! Who may ask: the name the node is called by, the credentials, the roles.

use crate::server::Server;
use crate::settings::DEV;
use axum::http::HeaderMap;
use axum::http::header::{HOST, HeaderName};
use axum::http::request::Parts;
use headwater_core::api::{ApiError, Code};
use headwater_core::credentials::{Grant, Role, equal_in_constant_time, verify};
use std::borrow::Cow;
use std::net::IpAddr;

static APIKEY: HeaderName = HeaderName::from_static("apikey");
static SECRET: HeaderName = HeaderName::from_static("secret");

/// Refuses a request that was meant for another name: a web page that had its own name point here (DNS rebinding) sends
/// that name.
///
/// # Errors
/// 421 `misdirected`; 400 for no name or two, as HTTP wants it (RFC 9112, section 3.2).
pub(super) fn host(server: &Server, parts: &Parts) -> Result<(), ApiError> {
    let mut named = parts.headers.get_all(HOST).iter();
    let name = named.next().and_then(|value| value.to_str().ok());
    if named.next().is_some() {
        return Err(ApiError::new(Code::InvalidRequest, "the request has two Host headers"));
    }
    // A target with a host of its own overrides the header (RFC 9112, section 3.2.2); here both must be right.
    for name in [parts.uri.authority().map(|authority| authority.as_str()), name].into_iter().flatten() {
        if !is_own_name(server, name) {
            let shown: String = name.chars().take(64).collect();
            return Err(misdirected(&format!("this node is not called {shown:?}: name it by --host")));
        }
    }
    name.map(|_| ())
        .ok_or_else(|| ApiError::new(Code::InvalidRequest, "the request has no Host header, or one that is no text"))
}

fn misdirected(words: &str) -> ApiError {
    ApiError::new(Code::Misdirected, words)
}

fn is_own_name(server: &Server, name: &str) -> bool {
    let name = without_port(name);
    if name.eq_ignore_ascii_case("localhost") || server.settings.hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
    {
        return true;
    }
    let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    let address = literal.parse::<IpAddr>();
    // The unspecified address is no name: browsers take 0.0.0.0 for this very machine.
    let own = server.settings.listen.ip();
    address.is_ok_and(|address| address.is_loopback() || (address == own && !own.is_unspecified()))
}

fn without_port(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']')) =>
        {
            host
        }
        _ => name,
    }
}

/// What the request's pair grants.
///
/// # Errors
/// 403 `forbidden`, the same whatever is wrong; 503 `not_ready` where the keys have not come in yet.
pub(super) fn grant<'s>(server: &'s Server, headers: &HeaderMap) -> Result<Cow<'s, Grant>, ApiError> {
    let (apikey, secret) = (single(headers, &APIKEY), single(headers, &SECRET));
    if let Some(dev) = &server.dev
        && equal_in_constant_time(apikey, DEV) & equal_in_constant_time(secret, DEV)
    {
        return Ok(Cow::Borrowed(dev));
    }
    match verify(server.node.store(), apikey, secret) {
        Ok(Some(grant)) => Ok(Cow::Owned(grant)),
        Ok(None) if server.node.is_complete() => Err(ApiError::forbidden()),
        Ok(None) => {
            let words = "this node holds no complete state yet, so it cannot check credentials: come back";
            Err(ApiError::new(Code::NotReady, words))
        }
        Err(error) => {
            tracing::error!(%error, "credentials could not be checked");
            Err(ApiError::new(Code::InternalError, "the store failed"))
        }
    }
}

/// The header's one value; empty when it is missing, repeated or no text, which no pair is.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> &'h str {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().unwrap_or(""),
        _ => "",
    }
}

/// As [`grant`], with a role.
///
/// # Errors
/// As [`grant`]; 403 without the role.
pub(super) fn grant_with<'s>(server: &'s Server, headers: &HeaderMap, role: Role) -> Result<Cow<'s, Grant>, ApiError> {
    let grant = grant(server, headers)?;
    if grant.has(role) { Ok(grant) } else { Err(ApiError::forbidden()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_part_of_the_name() {
        for (name, host) in [
            ("a:80", "a"),
            ("a", "a"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("::1", "::1"),
            ("a:b", "a:b"),
            ("a:", "a"),
        ] {
            assert_eq!(without_port(name), host);
        }
    }

    #[test]
    fn a_repeated_header_is_no_credential() {
        let mut headers = HeaderMap::new();
        headers.append("apikey", "a".parse().unwrap());
        assert_eq!(single(&headers, &APIKEY), "a");
        headers.append("apikey", "a".parse().unwrap());
        assert_eq!(single(&headers, &APIKEY), "");
        assert_eq!(single(&headers, &SECRET), "");
    }
}
