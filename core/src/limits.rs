//! Every bound in one place: what a reader must take, and what a writer accepts unless it is set up otherwise.

use alloc::collections::BTreeSet;
use alloc::string::String;

/// Longest line any reader of protocol 1 must take, in bytes without the newline. A constant, so that every line a
/// writer may write can be read by everyone.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Highest `seq`, `version` and timestamp: 2^53 - 1, the largest integer JavaScript holds exactly.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Longest `pingMs` of a HELLO, in ms, and longest that a node may be set up with: a dead peer is noticed within three.
pub const PING_MS_MAX: u64 = 600_000;

/// Epochs kept in an epoch table; older ones give a baseline.
pub const EPOCHS_MAX: usize = 1_000;

/// Longest label of a child in bytes: it is free text that its parent keeps and shows.
pub const NODE_BYTES_MAX: usize = 256;

/// Longest scope that a child may ask for, in bytes of its JSON text, and most key prefixes in it, `""` included. A
/// parent keeps the scope while it is followed and looks through it for each write to a collection it narrows.
pub const SCOPE_BYTES_MAX: usize = 64 * 1024;
/// See [`SCOPE_BYTES_MAX`].
pub const SCOPE_PREFIXES_MAX: usize = 4_096;

/// What a writer accepts. Readers do not enforce these: they may be raised while old readers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest key in bytes of UTF-8.
    pub key_bytes_max: usize,
    /// Longest collection name in bytes.
    pub name_bytes_max: usize,
    /// Longest value in bytes of JSON text, insignificant white space taken out.
    pub value_bytes_max: usize,
    /// Most commands in a batch.
    pub batch_commands_max: usize,
    /// Longest batch in bytes of its encoded line.
    pub batch_bytes_max: usize,
    /// Most collections at one time, the system's included.
    pub collections_max: usize,
    /// Collections that are not dropped.
    pub protected: BTreeSet<String>,
}

impl Limits {
    /// Largest value that may be configured for [`Limits::value_bytes_max`], 8 MiB.
    pub const VALUE_BYTES_CEILING: usize = 8 * 1024 * 1024;

    /// Largest value that may be configured for [`Limits::batch_commands_max`].
    pub const BATCH_COMMANDS_CEILING: usize = 100_000;

    /// Longest body in which a batch is asked for: the longest batch, and for each command what its line leaves out of
    /// the body, guards above all. Never more than a line's own limit, whatever is configured.
    pub fn batch_body_bytes_max(&self) -> usize {
        const OP_SLACK_BYTES: usize = 128;
        let slack = self.batch_commands_max.saturating_mul(OP_SLACK_BYTES);
        self.batch_bytes_max.saturating_add(slack).min(LINE_BYTES_MAX)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            key_bytes_max: 1024,
            name_bytes_max: 128,
            value_bytes_max: 1024 * 1024,
            batch_commands_max: 1_000,
            batch_bytes_max: 8 * 1024 * 1024,
            collections_max: 10_000,
            protected: BTreeSet::new(),
        }
    }
}
