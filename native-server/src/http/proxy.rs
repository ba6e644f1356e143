//! Proxies that vouch for who asks: what they say is believed, and taken away from everybody else.

use super::guard::single;
use crate::server::Server;
use axum::http::HeaderMap;
use axum::http::header::HeaderName;
use std::net::IpAddr;

/// Who asks, in JSON, as a proxy says.
pub(super) static IDENTITY: HeaderName = HeaderName::from_static("x-glue-authentication");
static PROXY_SECRET: HeaderName = HeaderName::from_static("x-glue-proxy-secret");

/// Takes away what `peer` may not say, and the proxy's secret from everybody: behind this, an identity is one to be
/// believed.
pub(super) fn strip(server: &Server, headers: &mut HeaderMap, peer: IpAddr) {
    if !headers.contains_key(&IDENTITY) && !headers.contains_key(&PROXY_SECRET) {
        return;
    }
    let proxies = server.settings.proxies.as_ref();
    let vouches = proxies.is_some_and(|proxies| proxies.vouch(peer, single(headers, &PROXY_SECRET)));
    headers.remove(&PROXY_SECRET);
    if !vouches && headers.remove(&IDENTITY).is_some() {
        tracing::debug!(%peer, "an identity was passed over: it does not come from a trusted proxy");
    }
}
