//! The flags and variables of `headwater serve`, as they are given. What is a right set-up is decided beside this.

use super::places::ONCE;
use super::storage;
use crate::parent::Parent;
use crate::size::{Size, size};
use crate::wal::WalUrl;
use crate::whole::whole;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};
use headwater_core::feed::FeedLimits;
use headwater_core::limits::{LINE_BYTES_MAX, Limits, PING_MS_MAX};
use headwater_core::repeats::Bounds;
use headwater_core::scope::Scope;
use std::path::PathBuf;
use std::time::Duration;

/// Flags and variables of `headwater serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Settings from a TOML file: `headwater config init` writes one that explains them all
    #[arg(long, env = "HEADWATER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address to listen at; port 0 takes a free one and prints it
    #[arg(long, env = "HEADWATER_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:4077")]
    pub listen: String,

    /// Directory of this node's state, made if missing
    #[arg(long, env = "HEADWATER_DATA", value_name = "DIR", default_value = "./headwater-data")]
    pub data: PathBuf,

    /// Where a writer keeps its log: memory: (with bounds: memory:?bytes=N&records=N) or file:DIR
    /// [default: the directory log within --data]
    #[arg(long, env = "HEADWATER_WAL", value_name = "URL")]
    pub wal: Option<WalUrl>,

    /// What is kept on disk.
    #[command(flatten)]
    pub storage: super::StorageArgs,

    /// Backups of itself.
    #[command(flatten)]
    pub backups: super::BackupArgs,

    /// The front door.
    #[command(flatten)]
    pub connections: super::ConnectionArgs,

    /// The audit log.
    #[command(flatten)]
    pub audit: super::AuditArgs,

    /// What is refused.
    #[command(flatten)]
    pub guarding: super::GuardingArgs,

    /// Follow this node instead of owning a log; several are tried in turn
    #[arg(long, help_heading = "Following", env = "HEADWATER_PARENT", value_name = "URL[,URL]", value_delimiter = ',')]
    pub parent: Vec<Parent>,

    /// TLS towards it.
    #[command(flatten)]
    pub parent_tls: super::ParentArgs,

    /// Label of this node in answers and logs [default: the host's name]
    #[arg(long, env = "HEADWATER_NODE", value_name = "NAME")]
    pub node: Option<String>,

    /// Accept the pair dev / dev, and use it towards the parent; on loopback only
    #[arg(long, env = "HEADWATER_DEV", value_parser = BoolishValueParser::new())]
    pub dev: bool,

    /// What a replica follows: ** (everything), * (what is public), or JSON {"collection":["prefix",...],...} [default: **]
    #[arg(long, help_heading = "Following", env = "HEADWATER_SCOPE", value_name = "JSON", value_parser = scope)]
    pub scope: Option<Scope>,

    /// Longest silence on a stream, in ms; children give up after three times as long
    #[arg(long, env = "HEADWATER_PING_MS", value_name = "MS", value_parser = whole::<u64>("milliseconds", 10..=PING_MS_MAX), default_value_t = 5_000)]
    pub ping_ms: u64,

    /// Open the log with an epoch above this one, to get past one that a wrong clock made
    #[arg(long, help_heading = ONCE, env = "HEADWATER_EPOCH_ABOVE", value_name = "EPOCH", value_parser = epoch)]
    pub epoch_above: Option<u64>,

    /// Give the log a new cluster id, once, for a copy that lives on beside its original
    #[arg(long, help_heading = ONCE, env = "HEADWATER_NEW_CLUSTER", value_parser = BoolishValueParser::new())]
    pub new_cluster: bool,

    /// Name under which clients may call this node, beside loopback; repeatable
    #[arg(long = "host", env = "HEADWATER_HOST", value_name = "NAME", value_delimiter = ',', action = ArgAction::Append)]
    pub hosts: Vec<String>,

    /// Report not ready while no parent is connected
    #[arg(long, help_heading = "Following", env = "HEADWATER_UNREADY_WITHOUT_PARENT", value_parser = BoolishValueParser::new())]
    pub unready_without_parent: bool,

    /// Who may say who asks.
    #[command(flatten)]
    pub proxies: super::ProxyArgs,

    /// How old a replica's keys may be, by its lag: beyond it trusts none until it hears of the writer again, and answers 503
    /// (30s, 10m; several times the parent's --ping-ms) [default: no limit]
    #[arg(long, env = "HEADWATER_AUTH_STALENESS_MAX", value_name = "AGE", value_parser = storage::age)]
    pub auth_staleness_max: Option<Duration>,

    /// Longest value, up to 8MiB
    #[arg(long, help_heading = "Limits", env = "HEADWATER_VALUE_BYTES_MAX", value_name = "SIZE", value_parser = size(1..=Limits::VALUE_BYTES_CEILING as u64), default_value_t = Size(Limits::default().value_bytes_max as u64))]
    pub value_bytes_max: Size,

    /// Longest key, up to 16KiB
    #[arg(long, help_heading = "Limits", env = "HEADWATER_KEY_BYTES_MAX", value_name = "SIZE", value_parser = size(1..=(16 << 10)), default_value_t = Size(Limits::default().key_bytes_max as u64))]
    pub key_bytes_max: Size,

    /// Longest batch, up to 8MiB
    #[arg(long, help_heading = "Limits", env = "HEADWATER_BATCH_BYTES_MAX", value_name = "SIZE", value_parser = size(1..=LINE_BYTES_MAX as u64 / 2), default_value_t = Size(Limits::default().batch_bytes_max as u64))]
    pub batch_bytes_max: Size,

    /// Most commands in a batch
    #[arg(long, help_heading = "Limits", env = "HEADWATER_BATCH_COMMANDS_MAX", value_name = "N", value_parser = whole::<usize>("commands", 1..=Limits::BATCH_COMMANDS_CEILING as u64), default_value_t = Limits::default().batch_commands_max)]
    pub batch_commands_max: usize,

    /// Most collections
    #[arg(long, help_heading = "Limits", env = "HEADWATER_COLLECTIONS_MAX", value_name = "N", value_parser = whole::<usize>("collections", 2..=1_000_000), default_value_t = Limits::default().collections_max)]
    pub collections_max: usize,

    /// Most writes with an Idempotency-Key that are remembered, to answer a repeat as the first
    #[arg(long, help_heading = "Limits", env = "HEADWATER_IDEMPOTENCY_KEYS_MAX", value_name = "N", value_parser = whole::<usize>("keys", 0..=10_000_000), default_value_t = Bounds::default().writes)]
    pub idempotency_keys_max: usize,

    /// Age at which they are forgotten though there is room: 90s, 30m, 24h, 7d
    #[arg(long, help_heading = "Limits", env = "HEADWATER_IDEMPOTENCY_AGE", value_name = "AGE", default_value = "24h", value_parser = storage::age)]
    pub idempotency_age: Duration,

    /// Bytes of recent lines kept in memory for children that follow everything, up to 1TiB
    #[arg(long, help_heading = "Limits", env = "HEADWATER_FEED_BYTES", value_name = "SIZE", value_parser = size(1..=(1 << 40)), default_value_t = Size(FeedLimits::default().bytes_max as u64))]
    pub feed_bytes: Size,

    /// Bytes of recent lines kept in memory for each narrower scope that is followed, up to 1TiB
    #[arg(long, help_heading = "Limits", env = "HEADWATER_FEED_SCOPE_BYTES", value_name = "SIZE", value_parser = size(1..=(1 << 40)), default_value_t = Size(FeedLimits::default().scope_bytes_max as u64))]
    pub feed_scope_bytes: Size,

    /// Most streams served at one time
    #[arg(long, help_heading = "Limits", env = "HEADWATER_CHILDREN_MAX", value_name = "N", value_parser = whole::<usize>("streams", 1..=1_000_000), default_value_t = 10_000)]
    pub children_max: usize,

    /// Most streams served at one time to one credential without the role node [default: --share-per-credential of --children-max]
    #[arg(long, help_heading = "Limits", env = "HEADWATER_CHILDREN_PER_CREDENTIAL_MAX", value_name = "N", value_parser = whole::<usize>("streams", 1..=1_000_000))]
    pub children_per_credential_max: Option<usize>,

    /// Most baselines sent at one time
    #[arg(long, help_heading = "Limits", env = "HEADWATER_BASELINES_MAX", value_name = "N", value_parser = whole::<usize>("baselines", 1..=10_000), default_value_t = 16)]
    pub baselines_max: usize,

    /// Most writes waiting for the log
    #[arg(long, help_heading = "Limits", env = "HEADWATER_QUEUE_MAX", value_name = "N", value_parser = whole::<usize>("writes", 1..=1_000_000), default_value_t = 8_192)]
    pub queue_max: usize,

    /// Longest time that a write waits for the log before further ones are refused, in ms: so they are told at once that it
    /// has come to a stand, and do not queue up behind it
    #[arg(long, help_heading = "Limits", env = "HEADWATER_QUEUE_MS_MAX", value_name = "MS", value_parser = whole::<u64>("milliseconds", 10..=600_000), default_value_t = 5_000)]
    pub queue_ms_max: u64,

    /// Most bytes of writes waiting for the log: from --value-bytes-max to 1TiB
    #[arg(long, help_heading = "Limits", env = "HEADWATER_QUEUE_BYTES_MAX", value_name = "SIZE", value_parser = size(1..=(1 << 40)), default_value_t = Size(64 << 20))]
    pub queue_bytes_max: Size,

    /// Most reads waiting for a position
    #[arg(long, help_heading = "Limits", env = "HEADWATER_WAITERS_MAX", value_name = "N", value_parser = whole::<usize>("reads", 1..=1_000_000), default_value_t = 1_024)]
    pub waiters_max: usize,

    /// Longest time a shutdown waits for requests in flight, in ms
    #[arg(long, env = "HEADWATER_SHUTDOWN_MS", value_name = "MS", value_parser = whole::<u64>("milliseconds", 1..=600_000), default_value_t = 8_000)]
    pub shutdown_ms: u64,

    /// Form of the log on stderr
    #[arg(long, help_heading = "Logging", env = "HEADWATER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// What to log: a level, or a filter such as info,headwater=debug
    #[arg(long, help_heading = "Logging", env = "HEADWATER_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// Form of the log on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

fn scope(text: &str) -> Result<Scope, String> {
    // The two without names are understood without JSON's quotation marks too, which shells and TOML take for their own.
    let quoted = if matches!(text, "*" | "**") { format!("\"{text}\"") } else { text.into() };
    Scope::from_json(&quoted).map_err(|error| error.to_string())
}

fn epoch(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "expected the number of an epoch: what stands before the dot of a position".into())
}
