//! The settings of the front door: how many connections there may be, and how long each may take for what.

use crate::listener::{BodyPace, ConnectionLimits, HeadLimits};
use crate::whole::whole;
use clap::Args;
use std::time::Duration;

/// Flags and variables of connections. Times run only while the node waits for the other side.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connections")]
pub struct ConnectionArgs {
    /// Most connections open at one time
    #[arg(long, env = "HEADWATER_CONNECTIONS_MAX", value_name = "N", value_parser = whole::<usize>("connections", 1..=1_000_000), default_value_t = 16_384)]
    pub connections_max: usize,

    /// Most connections from one address; of IPv6, from one /64
    #[arg(long, env = "HEADWATER_CONNECTIONS_PER_ADDRESS_MAX", value_name = "N", value_parser = whole::<usize>("connections", 1..=1_000_000), default_value_t = 4_096)]
    pub connections_per_address_max: usize,

    /// Time for a new connection to say its first byte, in ms
    #[arg(long, env = "HEADWATER_FIRST_BYTE_MS", value_name = "MS", value_parser = whole::<u64>("milliseconds", 10..=600_000), default_value_t = 10_000)]
    pub first_byte_ms: u64,

    /// Time for the head of a request, from its first byte to its last, in ms
    #[arg(long, env = "HEADWATER_HEAD_MS", value_name = "MS", value_parser = whole::<u64>("milliseconds", 10..=600_000), default_value_t = 10_000)]
    pub head_ms: u64,

    /// Time that a connection is kept open between two requests, in ms
    #[arg(long, env = "HEADWATER_IDLE_MS", value_name = "MS", value_parser = whole::<u64>("milliseconds", 10..=3_600_000), default_value_t = 75_000)]
    pub idle_ms: u64,

    /// Time for the other side to take anything of an answer, in ms; for streams, three times --ping-ms
    #[arg(long, env = "HEADWATER_WRITE_MS", value_name = "MS", value_parser = whole::<u64>("milliseconds", 10..=600_000), default_value_t = 30_000)]
    pub write_ms: u64,

    /// Patience with a body that comes slowly, in ms, beyond what --body-rate gives it
    #[arg(long, env = "HEADWATER_BODY_MS", value_name = "MS", value_parser = whole::<u64>("milliseconds", 10..=600_000), default_value_t = 10_000)]
    pub body_ms: u64,

    /// Least rate at which a body has to come, in bytes a second
    #[arg(long, env = "HEADWATER_BODY_RATE", value_name = "N", value_parser = whole::<u32>("bytes a second", 1..=(1 << 30)), default_value_t = 1 << 10)]
    pub body_rate: u32,

    /// Longest request line, in bytes
    #[arg(long, env = "HEADWATER_REQUEST_LINE_BYTES_MAX", value_name = "N", value_parser = whole::<usize>("bytes", 256..=(64 << 10)), default_value_t = 16 << 10)]
    pub request_line_bytes_max: usize,

    /// Longest head of a request, in bytes
    #[arg(long, env = "HEADWATER_HEAD_BYTES_MAX", value_name = "N", value_parser = whole::<usize>("bytes", 1_024..=(256 << 10)), default_value_t = 32 << 10)]
    pub head_bytes_max: usize,

    /// Most headers of a request
    #[arg(long, env = "HEADWATER_HEADERS_MAX", value_name = "N", value_parser = whole::<usize>("headers", 8..=1_000), default_value_t = 100)]
    pub headers_max: usize,
}

impl ConnectionArgs {
    /// The bounds, on a node whose streams are silent for `ping_ms` at the most.
    pub(super) fn limits(&self, ping_ms: u64) -> ConnectionLimits {
        ConnectionLimits {
            connections_max: self.connections_max,
            address_max: self.connections_per_address_max,
            first_byte: Duration::from_millis(self.first_byte_ms),
            head: Duration::from_millis(self.head_ms),
            idle: Duration::from_millis(self.idle_ms),
            write: Duration::from_millis(self.write_ms),
            stream_write: Duration::from_millis(ping_ms.saturating_mul(3)),
            heads: HeadLimits {
                line_bytes_max: self.request_line_bytes_max,
                bytes_max: self.head_bytes_max,
                fields_max: self.headers_max,
            },
            body: BodyPace { grace: Duration::from_millis(self.body_ms), bytes_per_s: self.body_rate },
        }
    }
}
