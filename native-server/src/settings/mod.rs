//! The settings of a node, checked. What can be told by flag or variable is in [`ServeArgs`], and the same, from the same
//! definitions, in a file.
//!
//! A wrong set-up is refused before anything is touched, and the refusal names the setting.

mod args;
mod audit;
mod backups;
mod certificates;
mod connections;
mod file;
mod guarding;
mod layers;
mod parent;
mod places;
mod proxy;
mod storage;
mod template;

pub use args::{LogFormat, ServeArgs};
pub use audit::AuditArgs;
pub(crate) use audit::audit_directory;
pub use backups::BackupArgs;
pub use connections::ConnectionArgs;
pub(crate) use file::write_new;
pub use file::{ConfigFile, InvalidFile};
pub use guarding::GuardingArgs;
pub use layers::Layered;
pub use parent::ParentArgs;
pub(crate) use places::{Place, places, serve_command};
pub use proxy::{Proxies, ProxyArgs};
pub(crate) use storage::age;
pub use storage::{ArchivePlan, Storage, StorageArgs};
pub(crate) use template::quoted;
pub use template::template;

use crate::backup::scheduled::Plan;
use crate::listener::ConnectionLimits;
use crate::logging;
use crate::parent::Parent;
use crate::rates::RateLimits;
use crate::tls::TlsFiles;
use crate::tls::client::Trust;
use crate::wal::WalUrl;
use clap::Arg;
use headwater_core::api::{DEV, host};
use headwater_core::credentials::CREDENTIAL_BYTES_MAX;
use headwater_core::feed::FeedLimits;
use headwater_core::limits::{INTEGER_MAX, Limits};
use headwater_core::name;
use headwater_core::repeats::Bounds;
use headwater_core::scope::Scope;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

/// Least that a replica's keys may be old.
const AUTH_STALENESS_LEAST: Duration = Duration::from_secs(1);

/// A set-up that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    /// The flag or variable.
    pub setting: &'static str,
    /// What is wrong, and what to do.
    pub reason: String,
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.reason)
    }
}

impl std::error::Error for InvalidSetting {}

/// The pair a replica shows to its parent.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// Its public half.
    pub apikey: String,
    /// Its secret half.
    pub secret: String,
}

impl Pair {
    /// The two halves as settings. They have variables and places in the file, and no flags: a command line can be read
    /// by everybody on the machine.
    pub(crate) fn arguments() -> [Arg; 2] {
        let half = |key: &'static str, variable: &'static str, help: &'static str| {
            let arg = Arg::new(key).long(key).env(variable).help(help).help_heading("Following");
            arg.value_name("TEXT").value_parser(|text: &str| half_of_a_pair(text).map(|()| text.to_owned()))
        };
        [
            half("parent-apikey", PARENT_APIKEY, "Public half of the pair that is shown to the parent"),
            half("parent-secret", PARENT_SECRET, "Secret half of it: a file that has it is for its owner alone"),
        ]
    }

    /// The pair that is shown to the parent, as `look_up` finds its halves by key and variable; `None` when neither is
    /// there.
    ///
    /// # Errors
    /// When only one of the two is there, or one is no text or cannot be right.
    pub(crate) fn find(
        look_up: impl Fn(&str, &str) -> Result<Option<String>, String>,
    ) -> Result<Option<Self>, InvalidSetting> {
        let read = |key, setting| {
            let text = look_up(key, setting).and_then(|text| match &text {
                Some(half) => half_of_a_pair(half).map(|()| text),
                None => Ok(None),
            });
            text.map_err(|reason| InvalidSetting { setting, reason })
        };
        match (read("parent-apikey", PARENT_APIKEY)?, read("parent-secret", PARENT_SECRET)?) {
            (Some(apikey), Some(secret)) => Ok(Some(Self { apikey, secret })),
            (None, None) => Ok(None),
            (Some(_), None) => {
                Err(InvalidSetting { setting: PARENT_SECRET, reason: "it is missing beside the key".into() })
            }
            (None, Some(_)) => {
                Err(InvalidSetting { setting: PARENT_APIKEY, reason: "it is missing beside the secret".into() })
            }
        }
    }
}

/// Variables of the pair that is shown to the parent.
const PARENT_APIKEY: &str = "HEADWATER_PARENT_APIKEY";
const PARENT_SECRET: &str = "HEADWATER_PARENT_SECRET";

/// Checks that a text can be sent as a header and can be right.
fn half_of_a_pair(text: &str) -> Result<(), String> {
    if let Some(at) = text.bytes().position(|byte| !byte.is_ascii_graphic()) {
        let byte = text.as_bytes()[at];
        return Err(format!(
            "the character at byte {at} (of code {byte}) cannot be in a pair: a line's end or a blank may have come along"
        ));
    }
    if text.len() > CREDENTIAL_BYTES_MAX {
        return Err(format!("it has {} bytes, the limit is {CREDENTIAL_BYTES_MAX}", text.len()));
    }
    Ok(())
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("apikey", &self.apikey).finish_non_exhaustive()
    }
}

/// What the node does in the cluster.
#[derive(Clone, Debug)]
pub enum Part {
    /// It owns the log.
    Writer {
        /// Where the log is.
        wal: WalUrl,
        /// An epoch that this opening must be above.
        epoch_above: Option<u64>,
        /// Whether the log gets a new cluster id.
        new_cluster: bool,
    },
    /// It follows.
    Replica {
        /// Whom, in the order in which they are tried.
        parents: Vec<Parent>,
        /// With which credentials.
        pair: Pair,
        /// Whom to trust to be one.
        trust: Trust,
        /// What it asks for.
        scope: Scope,
    },
}

/// A checked set-up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Directory of the node's state.
    pub data: PathBuf,
    /// The node's label.
    pub node: String,
    /// Whether the pair dev / dev is accepted.
    pub dev: bool,
    /// Writer or replica.
    pub part: Part,
    /// What it keeps on disk.
    pub storage: Storage,
    /// Bounds of connections.
    pub(crate) connections: ConnectionLimits,
    /// The files of TLS; `None` where plaintext is spoken.
    pub(crate) tls: Option<TlsFiles>,
    /// Its audit log.
    pub(crate) audit: Option<crate::audit::Plan>,
    /// The backups it makes of itself.
    pub backups: Option<Plan>,
    /// Further names in `Host`.
    pub hosts: Vec<String>,
    /// Longest silence on a stream it serves, in ms.
    pub ping_ms: u64,
    /// Not ready without a parent.
    pub unready_without_parent: bool,
    /// Who may say who asks; `None` for nobody.
    pub proxies: Option<Proxies>,
    /// On a replica, the lag from which on it trusts no key; `None` for never.
    pub auth_staleness_max: Option<Duration>,
    /// How often somebody may ask.
    pub(crate) rates: RateLimits,
    /// Most requests being answered at one time.
    pub requests_max: usize,
    /// The percentage of what there is for all that one credential may have.
    pub share_per_credential: usize,
    /// Most bytes held of their bodies, as far as they are large.
    pub bodies_bytes_max: usize,
    /// Most bytes held of answers that are not taken yet.
    pub answers_bytes_max: usize,
    /// Longest time that a write waits for the log before others are refused.
    pub queue_age_max: Duration,
    /// No writes are taken.
    pub read_only: bool,
    /// What a writer accepts.
    pub limits: Limits,
    /// Which writes may be sent again under their key.
    pub repeats: Bounds,
    /// Bounds of the feed.
    pub feed: FeedLimits,
    /// Most streams served at one time.
    pub children_max: usize,
    /// Most of them with one credential that has not the role node.
    pub children_per_credential_max: usize,
    /// Most baselines sent at one time.
    pub baselines_max: usize,
    /// Most writes waiting for the log.
    pub queue_max: usize,
    /// Most bytes of them.
    pub queue_bytes_max: usize,
    /// Most reads waiting for a position.
    pub waiters_max: usize,
    /// Longest time a shutdown waits.
    pub shutdown: Duration,
}

impl Settings {
    /// Checks what was asked for. `pair` is the one from variables or the file, if it is there.
    ///
    /// # Errors
    /// [`InvalidSetting`], naming the first setting that cannot be.
    pub fn check(args: ServeArgs, pair: Option<Pair>) -> Result<Self, InvalidSetting> {
        let invalid = |setting, reason: String| Err(InvalidSetting { setting, reason });
        let listen = match args.listen.to_socket_addrs().map(|mut found| found.next()) {
            Ok(Some(address)) => address,
            Ok(None) => return invalid("--listen", format!("{:?} names no address", args.listen)),
            Err(error) => return invalid("--listen", format!("{:?}: {error}", args.listen)),
        };
        if args.dev && !listen.ip().is_loopback() {
            return invalid("--dev", format!("everybody knows dev / dev: listen on loopback, not on {listen}"));
        }
        if args.queue_bytes_max < args.value_bytes_max {
            let reason = format!("{} is less than --value-bytes-max, {}", args.queue_bytes_max, args.value_bytes_max);
            return invalid("--queue-bytes-max", reason);
        }
        let node = args.node.clone().unwrap_or_else(host_name);
        if node.is_empty() || node.len() > 256 {
            return invalid("--node", "a label has 1 to 256 bytes".into());
        }
        if let Some(name) = args.hosts.iter().find(|name| !is_host_name(name)) {
            return invalid(
                "--host",
                format!("{name:?} is no name of a host: letters, digits, '-', '_' and '.', no port"),
            );
        }
        logging::filter(&args.log).map_err(|reason| InvalidSetting { setting: "--log", reason })?;
        let part = part(&args, pair)?;
        Ok(Self {
            listen,
            node,
            dev: args.dev,
            part,
            storage: args.storage.check()?,
            connections: args.connections.limits(args.ping_ms),
            tls: args.connections.tls()?,
            audit: args.audit.plan(&args.data)?,
            backups: args.backups.plan(),
            hosts: args.hosts.iter().map(|name| name.to_ascii_lowercase()).collect(),
            ping_ms: args.ping_ms,
            unready_without_parent: args.unready_without_parent,
            auth_staleness_max: args.auth_staleness_max,
            rates: args.guarding.rates(),
            requests_max: args.guarding.requests_max,
            share_per_credential: args.guarding.share_per_credential,
            bodies_bytes_max: args.guarding.bodies_bytes_max.in_memory(),
            answers_bytes_max: args.guarding.answers_bytes_max.in_memory(),
            queue_age_max: Duration::from_millis(args.queue_ms_max),
            read_only: args.guarding.read_only,
            proxies: args.proxies.check()?,
            limits: Limits {
                protected: args.guarding.protected()?,
                key_bytes_max: args.key_bytes_max.in_memory(),
                value_bytes_max: args.value_bytes_max.in_memory(),
                batch_commands_max: args.batch_commands_max,
                batch_bytes_max: args.batch_bytes_max.in_memory(),
                collections_max: args.collections_max,
                ..Limits::default()
            },
            repeats: Bounds {
                writes: args.idempotency_keys_max,
                age_ms: u64::try_from(args.idempotency_age.as_millis()).unwrap_or(u64::MAX),
                // As many as ten for each: few writes are large batches.
                versions: args.idempotency_keys_max.saturating_mul(10).max(Bounds::default().versions),
            },
            feed: FeedLimits {
                bytes_max: args.feed_bytes.in_memory(),
                scope_bytes_max: args.feed_scope_bytes.in_memory(),
                ..FeedLimits::default()
            },
            children_max: args.children_max,
            children_per_credential_max: args
                .children_per_credential_max
                .unwrap_or_else(|| share_of(args.children_max, args.guarding.share_per_credential)),
            baselines_max: args.baselines_max,
            queue_max: args.queue_max,
            queue_bytes_max: args.queue_bytes_max.in_memory(),
            waiters_max: args.waiters_max,
            shutdown: Duration::from_millis(args.shutdown_ms),
            data: args.data,
        })
    }

    /// What one credential may have of `max`: one at the least.
    pub(crate) fn share_of(&self, max: usize) -> usize {
        share_of(max, self.share_per_credential)
    }
}

fn share_of(max: usize, percent: usize) -> usize {
    (max.saturating_mul(percent) / 100).max(1)
}

fn part(args: &ServeArgs, pair: Option<Pair>) -> Result<Part, InvalidSetting> {
    let invalid = |setting, reason: &str| Err(InvalidSetting { setting, reason: reason.into() });
    if args.parent.is_empty() {
        if args.scope.is_some() {
            return invalid("--scope", "a writer holds everything: this is for replicas, with --parent");
        }
        if args.unready_without_parent {
            return invalid("--unready-without-parent", "this is for replicas, with --parent");
        }
        if args.parent_tls.trust() != Trust::default() {
            return invalid(
                "--parent-ca",
                "this is for replicas, with --parent, as are --parent-cert and --parent-key",
            );
        }
        if args.auth_staleness_max.is_some() {
            return invalid(
                "--auth-staleness-max",
                "a writer's keys are never old: this is for replicas, with --parent",
            );
        }
        if args.epoch_above.is_some_and(|epoch| epoch >= INTEGER_MAX) {
            return invalid("--epoch-above", "no epoch above it fits the protocol's numbers");
        }
        let wal = args.wal.clone().unwrap_or_else(|| WalUrl::File(log_directory(&args.data)));
        if args.storage.archive.is_some() && matches!(wal, WalUrl::Memory(_)) {
            return invalid("--archive", "a log in memory has nothing to be archived");
        }
        return Ok(Part::Writer { wal, epoch_above: args.epoch_above, new_cluster: args.new_cluster });
    }
    for (setting, given) in [
        ("--wal", args.wal.is_some()),
        ("--epoch-above", args.epoch_above.is_some()),
        ("--new-cluster", args.new_cluster),
        ("--archive", args.storage.archive.is_some()),
        ("--protect", !args.guarding.protect.is_empty()),
    ] {
        if given {
            return invalid(setting, "this is for writers: a replica takes the log of its --parent");
        }
    }
    if args.auth_staleness_max.is_some_and(|age| age < AUTH_STALENESS_LEAST) {
        let reason = "less than 1s would refuse everybody between two PINGs: take several times the parent's --ping-ms";
        return invalid("--auth-staleness-max", reason);
    }
    let scope = args.scope.clone().unwrap_or(Scope::Everything);
    if !args.dev && !scope.touches(name::KEYS) {
        let reason = "it leaves the collection \"_keys\" out, by which credentials are checked: nobody could read here. \
                      Add \"_keys\":[\"\"] to it, or take \"**\"";
        return invalid("--scope", reason);
    }
    if args.backups.backup_to.is_some() && scope != Scope::Everything {
        return invalid("--backup-to", "with this --scope the node does not hold everything that a backup is made of");
    }
    let pair = match pair {
        Some(pair) => pair,
        None if args.dev => Pair { apikey: DEV.into(), secret: DEV.into() },
        None => {
            let reason = "set it and HEADWATER_PARENT_SECRET, or parent-apikey and parent-secret in the config file, to a pair that \
                          the parent accepts";
            return invalid(PARENT_APIKEY, reason);
        }
    };
    Ok(Part::Replica { parents: args.parent.clone(), pair, trust: args.parent_tls.trust(), scope })
}

/// The directory of a node's own log within its data directory.
pub fn log_directory(data: &std::path::Path) -> PathBuf {
    data.join("log")
}

/// A name as a `Host` header has it before the port, or a literal address.
fn is_host_name(name: &str) -> bool {
    let is_label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (!name.is_empty() && name.bytes().all(is_label)) || host::address(name).is_some_and(|address| address.is_ipv6())
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use headwater_core::limits::LINE_BYTES_MAX;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: ServeArgs,
    }

    fn check(flags: &str) -> Result<Settings, InvalidSetting> {
        let words = std::iter::once("serve").chain(flags.split_whitespace());
        Settings::check(Line::try_parse_from(words).unwrap().args, None)
    }

    #[test]
    fn without_flags_it_is_a_writer_on_loopback_with_a_file_log() {
        let settings = check("").unwrap();
        assert!(settings.listen.ip().is_loopback());
        assert!(matches!(settings.part, Part::Writer { wal: WalUrl::File(path), .. } if path.ends_with("log")));
    }

    #[test]
    fn a_wrong_setting_is_refused_by_name() {
        for (flags, setting) in [
            ("--listen nowhere", "--listen"),
            ("--dev --listen 0.0.0.0:0", "--dev"),
            ("--queue-bytes-max 1", "--queue-bytes-max"),
            ("--scope \"*\"", "--scope"),
            ("--unready-without-parent", "--unready-without-parent"),
            ("--auth-staleness-max 30s", "--auth-staleness-max"),
            ("--parent http://a --dev --auth-staleness-max 999ms", "--auth-staleness-max"),
            ("--parent http://a --dev --wal memory:", "--wal"),
            ("--parent http://a --dev --epoch-above 1", "--epoch-above"),
            ("--parent http://a --dev --new-cluster", "--new-cluster"),
            ("--parent http://a", "HEADWATER_PARENT_APIKEY"),
            ("--parent http://a --scope \"*\"", "--scope"),
            ("--retain-bytes 2000 --retain-bytes-max 1999", "--retain-bytes-max"),
            ("--epoch-above 9007199254740991", "--epoch-above"),
            ("--log headwater=loud", "--log"),
            ("--audit off --audit-required", "--audit-required"),
            ("--protect flags,_keys", "--protect"),
            ("--protect a/b", "--protect"),
            ("--parent http://a --dev --protect flags", "--protect"),
        ] {
            assert_eq!(check(flags).map(|_| ()).unwrap_err().setting, setting, "{flags}");
        }
    }

    #[test]
    fn a_number_that_cannot_be_is_refused_with_flag_unit_and_limits() {
        for (flags, words) in [
            ("--ping-ms abc", ["'abc'", "--ping-ms", "a whole number of milliseconds, from 10 to"]),
            ("--ping-ms 0", ["'0'", "--ping-ms", "milliseconds"]),
            ("--value-bytes-max 8388609", ["8388609", "--value-bytes-max", "bytes, from 1 to 8MiB"]),
            ("--segment-bytes 2GiB", ["'2GiB'", "--segment-bytes", "bytes, from 4KiB to 1GiB"]),
            ("--shutdown-ms 1.5", ["'1.5'", "--shutdown-ms", "milliseconds, from 1 to 600000"]),
        ] {
            let said = Line::try_parse_from(std::iter::once("serve").chain(flags.split(' '))).unwrap_err().to_string();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
    }

    #[test]
    fn what_is_about_backups_wants_a_place_for_them() {
        for (flags, words) in [
            ("--backup-keep 3", "--backup-to <DIR>"),
            ("--backup-schedule @", "--backup-schedule"),
            ("--backup-to /b --backup-keep 0", "a whole number of backups, from 1 to"),
        ] {
            let said = Line::try_parse_from(std::iter::once("serve").chain(flags.split(' '))).unwrap_err().to_string();
            assert!(said.contains(words), "{flags}: {said}");
        }
        assert!(check("").unwrap().backups.is_none());
        assert_eq!(check("--backup-to /b --backup-keep 3").unwrap().backups.unwrap().keep, 3);
    }

    #[test]
    fn a_size_takes_a_unit_and_the_help_tells_units_and_range() {
        let settings = check("--segment-bytes 16MiB --retain-bytes 1073741824 --retain-bytes-max 2GiB").unwrap();
        assert_eq!(settings.storage.files.segment_bytes, 16 << 20);
        assert_eq!((settings.storage.retention.bytes, settings.storage.retention.bytes_max), (1 << 30, 2 << 30));
        let refused = check("--retain-bytes 2GiB").unwrap_err();
        assert_eq!(refused.to_string(), "--retain-bytes-max: 1GiB is less than --retain-bytes, 2GiB");
        let help = <Line as clap::CommandFactory>::command().render_long_help().to_string();
        for words in ["--segment-bytes <SIZE>", "4KiB to 1GiB", "[default: 64MiB]", "Longest value, up to 8MiB"] {
            assert!(help.contains(words), "{words} in {help}");
        }
        let flags = help.lines().map(str::trim).filter(|line| line.starts_with("--") && line.contains("bytes"));
        let flags = flags.filter(|line| line.contains('<'));
        assert!(flags.clone().count() > 8 && flags.clone().all(|line| line.ends_with("<SIZE>")), "{help}");
        assert_eq!((Limits::VALUE_BYTES_CEILING as u64, LINE_BYTES_MAX as u64 / 2), (8 << 20, 8 << 20));
    }

    #[test]
    fn a_replica_takes_its_parents_in_order() {
        let settings = check("--parent http://a:1,http://b --dev").unwrap();
        let Part::Replica { parents, pair, scope, .. } = settings.part else { panic!("no replica") };
        assert_eq!(parents.iter().map(Parent::to_string).collect::<Vec<_>>(), ["http://a:1", "http://b"]);
        assert_eq!((pair.apikey.as_str(), scope), (DEV, Scope::Everything));
    }

    #[test]
    fn half_of_a_pair_with_a_line_end_is_refused_by_name_of_the_character() {
        assert_eq!(half_of_a_pair("hw_key-1"), Ok(()));
        for (text, named) in [("secret\n", "byte 6 (of code 10)"), ("a b", "byte 1"), ("é", "byte 0")] {
            let reason = half_of_a_pair(text).unwrap_err();
            assert!(reason.contains(named) && !reason.contains("secret"), "{reason}");
        }
        assert!(half_of_a_pair(&"x".repeat(CREDENTIAL_BYTES_MAX + 1)).unwrap_err().contains("the limit is 256"));
    }

    #[test]
    fn a_name_to_answer_to_is_one() {
        for name in ["node.example.com", "node_1", "10.0.0.7", "[2001:db8::7]"] {
            assert!(is_host_name(name), "{name}");
        }
        for name in ["", "a:80", "http://a", "a b", "[::1]:80x", "é"] {
            assert!(!is_host_name(name), "{name}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let pair = Pair { apikey: "k".into(), secret: "hidden".into() };
        assert!(!format!("{pair:?}").contains("hidden"));
    }
}
