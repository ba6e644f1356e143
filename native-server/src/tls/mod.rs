//! TLS on both sides: what the node shows to those who connect (`server`), and whom it and the client commands trust
//! when they connect ([`client`]).
//!
//! Versions 1.2 and 1.3 with the suites that rustls takes for safe. Certificates are files; nothing here makes any.

pub mod client;
mod files;
mod server;

pub(crate) use server::{ServerTls, TlsFiles};

use rustls::crypto::{CryptoProvider, ring};
use std::sync::Arc;

/// The cryptography of all connections.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
