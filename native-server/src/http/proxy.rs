//! Proxies that vouch for who asks: what they say is believed, and what others say is passed over.

use super::guard::{single, single_if_any};
use crate::server::Server;
use axum::http::HeaderMap;
use axum::http::header::HeaderName;
use std::net::IpAddr;

static IDENTITY: HeaderName = HeaderName::from_static("x-glue-authentication");
static PROXY_SECRET: HeaderName = HeaderName::from_static("x-glue-proxy-secret");

/// Who asks, in JSON, as a trusted proxy says; `None` where none says anything.
pub(super) fn identity<'h>(server: &Server, headers: &'h HeaderMap, peer: IpAddr) -> Option<&'h str> {
    let proxies = server.settings.proxies.as_ref()?;
    let identity = single_if_any(headers, &IDENTITY)?;
    if !proxies.vouch(peer, single(headers, &PROXY_SECRET)) {
        tracing::debug!(%peer, "an identity was passed over: it does not come from a trusted proxy");
        return None;
    }
    Some(identity)
}
