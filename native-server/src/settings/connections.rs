//! The settings of the front door: how many connections there may be, and how long each may take for what.

use super::InvalidSetting;
use crate::listener::{ConnectionLimits, HeadLimits, Pace};
use crate::size::{Size, size};
use crate::tls::TlsFiles;
use crate::whole::whole;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

const HEADING: &str = "Connections";

/// Flags and variables of connections. Times run only while the node waits for the other side.
#[derive(Args, Clone, Debug)]
pub struct ConnectionArgs {
    /// Most connections open at one time
    #[arg(long, help_heading = HEADING, env = "HEADWATER_CONNECTIONS_MAX", value_name = "N", value_parser = whole::<usize>("connections", 1..=1_000_000), default_value_t = 16_384)]
    pub connections_max: usize,

    /// Most connections from one address; of IPv6, from one /64
    #[arg(long, help_heading = HEADING, env = "HEADWATER_CONNECTIONS_PER_ADDRESS_MAX", value_name = "N", value_parser = whole::<usize>("connections", 1..=1_000_000), default_value_t = 4_096)]
    pub connections_per_address_max: usize,

    /// Time for a new connection to say its first byte, in ms
    #[arg(long, help_heading = HEADING, env = "HEADWATER_FIRST_BYTE_MS", value_name = "MS", value_parser = whole::<u64>("milliseconds", 10..=600_000), default_value_t = 10_000)]
    pub first_byte_ms: u64,

    /// Time for the head of a request, from its first byte to its last, in ms
    #[arg(long, help_heading = HEADING, env = "HEADWATER_HEAD_MS", value_name = "MS", value_parser = whole::<u64>("milliseconds", 10..=600_000), default_value_t = 10_000)]
    pub head_ms: u64,

    /// Time that a connection is kept open between two requests, in ms
    #[arg(long, help_heading = HEADING, env = "HEADWATER_IDLE_MS", value_name = "MS", value_parser = whole::<u64>("milliseconds", 10..=3_600_000), default_value_t = 75_000)]
    pub idle_ms: u64,

    /// Patience with an answer that the other side takes slowly, in ms, beyond what --write-rate gives it; for streams, three
    /// times --ping-ms, and any of it will do
    #[arg(long, help_heading = HEADING, env = "HEADWATER_WRITE_MS", value_name = "MS", value_parser = whole::<u64>("milliseconds", 10..=600_000), default_value_t = 30_000)]
    pub write_ms: u64,

    /// Least rate at which an answer has to be taken, in bytes a second
    #[arg(long, help_heading = HEADING, env = "HEADWATER_WRITE_RATE", value_name = "N", value_parser = whole::<u32>("bytes a second", 1..=(1 << 30)), default_value_t = 1 << 10)]
    pub write_rate: u32,

    /// Patience with a body that comes slowly, in ms, beyond what --body-rate gives it
    #[arg(long, help_heading = HEADING, env = "HEADWATER_BODY_MS", value_name = "MS", value_parser = whole::<u64>("milliseconds", 10..=600_000), default_value_t = 10_000)]
    pub body_ms: u64,

    /// Least rate at which a body has to come, in bytes a second
    #[arg(long, help_heading = HEADING, env = "HEADWATER_BODY_RATE", value_name = "N", value_parser = whole::<u32>("bytes a second", 1..=(1 << 30)), default_value_t = 1 << 10)]
    pub body_rate: u32,

    /// Longest request line: 256 to 64KiB
    #[arg(long, help_heading = HEADING, env = "HEADWATER_REQUEST_LINE_BYTES_MAX", value_name = "SIZE", value_parser = size(256..=64 << 10), default_value_t = Size(16 << 10))]
    pub request_line_bytes_max: Size,

    /// Longest head of a request: 1KiB to 256KiB
    #[arg(long, help_heading = HEADING, env = "HEADWATER_HEAD_BYTES_MAX", value_name = "SIZE", value_parser = size(1_024..=256 << 10), default_value_t = Size(32 << 10))]
    pub head_bytes_max: Size,

    /// Most headers of a request
    #[arg(long, help_heading = HEADING, env = "HEADWATER_HEADERS_MAX", value_name = "N", value_parser = whole::<usize>("headers", 8..=1_000), default_value_t = 100)]
    pub headers_max: usize,

    /// Certificate to show, in PEM, with those between it and one that clients trust behind it: the node speaks TLS then,
    /// and nothing else. Another file in its place is taken within seconds
    #[arg(long, help_heading = HEADING, env = "HEADWATER_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of --tls-cert, in PEM
    #[arg(long, help_heading = HEADING, env = "HEADWATER_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Certificates in PEM: clients must show one that was issued by one of these, beside their pair
    #[arg(long, help_heading = HEADING, env = "HEADWATER_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,

    /// Lists of certificates that were withdrawn (CRLs), in PEM: whoever of --tls-client-ca shows one of those is refused, and
    /// whoever shows one of an issuer without a list there. Another file in its place is taken within seconds
    #[arg(long, help_heading = HEADING, env = "HEADWATER_TLS_CLIENT_CRL", value_name = "FILE")]
    pub tls_client_crl: Option<PathBuf>,
}

impl ConnectionArgs {
    /// The files of TLS, `None` for plaintext.
    pub(super) fn tls(&self) -> Result<Option<TlsFiles>, InvalidSetting> {
        let missing = |setting, reason: &str| Err(InvalidSetting { setting, reason: reason.into() });
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                let (certificate, key) = (certificate.clone(), key.clone());
                let (client_ca, client_crl) = (self.tls_client_ca.clone(), self.tls_client_crl.clone());
                if client_crl.is_some() && client_ca.is_none() {
                    return missing("--tls-client-crl", "without --tls-client-ca no client shows a certificate");
                }
                Ok(Some(TlsFiles { certificate, key, client_ca, client_crl }))
            }
            (Some(_), None) => missing("--tls-cert", "--tls-key is missing beside it"),
            (None, Some(_)) => missing("--tls-key", "--tls-cert is missing beside it"),
            (None, None) if self.tls_client_ca.is_some() => {
                missing("--tls-client-ca", "without --tls-cert and --tls-key no TLS is spoken")
            }
            (None, None) if self.tls_client_crl.is_some() => {
                missing("--tls-client-crl", "without --tls-cert and --tls-key no TLS is spoken")
            }
            (None, None) => Ok(None),
        }
    }

    /// The bounds, on a node whose streams are silent for `ping_ms` at the most.
    pub(super) fn limits(&self, ping_ms: u64) -> ConnectionLimits {
        ConnectionLimits {
            connections_max: self.connections_max,
            address_max: self.connections_per_address_max,
            first_byte: Duration::from_millis(self.first_byte_ms),
            head: Duration::from_millis(self.head_ms),
            idle: Duration::from_millis(self.idle_ms),
            write: Pace { grace: Duration::from_millis(self.write_ms), bytes_per_s: self.write_rate },
            stream_write: Duration::from_millis(ping_ms.saturating_mul(3)),
            heads: HeadLimits {
                line_bytes_max: self.request_line_bytes_max.in_memory(),
                bytes_max: self.head_bytes_max.in_memory(),
                fields_max: self.headers_max,
            },
            body: Pace { grace: Duration::from_millis(self.body_ms), bytes_per_s: self.body_rate },
        }
    }
}
