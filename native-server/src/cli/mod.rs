//! The client commands of `headwater`: `get`, `set`, `delete`, `list`, `collections`, `keys`, `export`, `import`, `watch` and
//! `status`.
//!
//! Each is one request to any node, with `watch` one stream that is taken up again whenever it breaks, and with `export`
//! and `import` the beginning of one. A person at a
//! terminal gets tables and words; a pipe gets the API's own JSON. Nothing here keeps state on disk, and nothing decides
//! what a command means: that is the server's and core's business.

mod ago;
mod audit;
mod backup;
mod base_url;
mod client;
mod collections;
mod config;
mod connection;
mod credentials;
mod doctor;
mod entry;
mod export;
mod failure;
mod forbidden;
mod import;
mod keys;
mod list;
mod log;
mod noting;
mod output;
mod paint;
mod pretty;
mod profile;
mod progress;
mod promote;
mod restore;
mod state;
mod status;
mod table;
mod value;
mod watch;

use clap::Subcommand;
use connection::Connection;
use failure::Failure;
use output::Output;
use std::process::ExitCode;

/// What stands below the help of `headwater` itself.
pub const AFTER_HELP: &str = "\
Examples:
  headwater serve --dev                     a writer here, with the pair dev / dev
  headwater set flags checkout '{\"on\":true}' --create --dev
  headwater get flags checkout --dev
  headwater watch flags --dev               every change, as it comes

The client commands take --url or HEADWATER_URL, and the pair from HEADWATER_APIKEY and HEADWATER_SECRET or a token from \
HEADWATER_TOKEN. On a terminal they write for people, into a pipe JSON.

Exit status of the client commands:
  0    done
  1    refused: not found, a guard that does not hold, no permission, too large
  2    the command line or the value is not right; nothing was sent
  3    the node cannot be reached or cannot do it now; nothing was written
  4    a write was sent and no answer came: it may or may not have happened
  130  ended by Ctrl-C";

/// The client commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read one entry
    #[command(after_help = entry::GET_HELP)]
    Get(entry::Get),
    /// Write one entry
    #[command(after_help = entry::SET_HELP)]
    Set(entry::Set),
    /// Delete one entry
    #[command(after_help = entry::DELETE_HELP)]
    Delete(entry::Delete),
    /// List the entries of a collection in key order
    #[command(after_help = list::HELP)]
    List(list::List),
    /// List, create and drop collections
    #[command(after_help = collections::HELP)]
    Collections(collections::Collections),
    /// Make, list, change, rotate and revoke keys: who may do what
    #[command(after_help = keys::HELP)]
    Keys(keys::Keys),
    /// Write collections to a file, exact as of one position
    #[command(after_help = export::HELP)]
    Export(export::Export),
    /// Make collections hold what a file says
    #[command(after_help = import::HELP)]
    Import(import::Import),
    /// Back up everything a node holds, or check a backup
    #[command(after_help = backup::HELP)]
    Backup(backup::Backup),
    /// Make the data directory of a writer from a backup
    #[command(after_help = restore::HELP)]
    Restore(restore::Restore),
    /// Show every change as it comes
    #[command(after_help = watch::HELP)]
    Watch(watch::Watch),
    /// Show what a node holds, whom it follows and how far behind it is
    #[command(after_help = status::HELP)]
    Status(status::Status),
    /// Look at a running node, and say what is unsafe or wrong
    #[command(after_help = doctor::HELP)]
    Doctor(doctor::Doctor),
}

/// The commands that work on files of this machine, without a node.
#[derive(Debug, Subcommand)]
pub enum LocalCommand {
    /// Look into a log on this machine, check it, mend it
    #[command(after_help = log::HELP)]
    Log(log::Log),
    /// Read and check the audit log of a node on this machine
    #[command(after_help = audit::HELP)]
    Audit(audit::Audit),
    /// Make a replica's directory a writer's
    #[command(after_help = promote::HELP)]
    Promote(promote::Promote),
    /// Write a config file that explains every setting, or check one
    #[command(after_help = config::HELP)]
    Config(config::Config),
    /// Save which node and as whom, under a name for --profile
    #[command(after_help = profile::HELP)]
    Profile(profile::Profiles),
}

impl LocalCommand {
    /// Runs the command to its end. Says on stderr what went wrong.
    pub fn run(&self) -> ExitCode {
        let json = match self {
            Self::Log(log) => log.json(),
            Self::Audit(audit) => audit.json(),
            Self::Promote(promote) => promote.json,
            Self::Config(config) => config.json(),
            Self::Profile(profiles) => profiles.json(),
        };
        let mut output = Output::new(json);
        let outcome = match self {
            Self::Log(log) => log.run(&mut output),
            Self::Audit(audit) => audit.run(&mut output),
            Self::Promote(promote) => promote.run(&mut output),
            Self::Config(config) => config.run(&mut output),
            Self::Profile(profiles) => profiles.run(&mut output),
        };
        match outcome.and_then(|()| output.finish()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(),
        }
    }
}

impl Command {
    /// Runs the command to its end on a runtime of its own; do not call it on one. Says on stderr what went wrong.
    pub fn run(self) -> ExitCode {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return Failure::unable(format!("cannot start: {error}")).report(),
        };
        let mut output = Output::new(self.json());
        let outcome = runtime.block_on(self.carry_out(&mut output));
        // A look-up of a name that hangs in a thread must not hold up the end.
        runtime.shutdown_background();
        match outcome.and_then(|()| output.finish()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(),
        }
    }

    fn json(&self) -> bool {
        match self {
            Self::Restore(restore) => restore.json,
            other => other.connection().is_some_and(|connection| connection.json),
        }
    }

    /// `None` for what asks no node.
    fn connection(&self) -> Option<&Connection> {
        Some(match self {
            Self::Restore(_) => return None,
            Self::Get(get) => &get.connection,
            Self::Set(set) => &set.connection,
            Self::Delete(delete) => &delete.connection,
            Self::List(list) => &list.connection,
            Self::Collections(collections) => collections.connection(),
            Self::Keys(keys) => keys.connection(),
            Self::Backup(backup) => backup.connection(),
            Self::Export(export) => &export.connection,
            Self::Import(import) => &import.connection,
            Self::Watch(watch) => &watch.connection,
            Self::Status(status) => &status.connection,
            Self::Doctor(doctor) => &doctor.connection,
        })
    }

    async fn carry_out(&self, output: &mut Output) -> Result<(), Failure> {
        let client = || self.connection().expect("only a restore has none, and it asks no node").client();
        match self {
            Self::Backup(backup) => backup.run(output).await,
            Self::Restore(restore) => restore.run(output),
            Self::Get(get) => get.run(&client()?, output).await,
            Self::Set(set) => set.run(&client()?, output).await,
            Self::Delete(delete) => delete.run(&client()?, output).await,
            Self::List(list) => list.run(&client()?, output).await,
            Self::Collections(collections) => collections.run(&client()?, output).await,
            Self::Keys(keys) => keys.run(&client()?, output).await,
            Self::Export(export) => export.run(&client()?, output).await,
            Self::Import(import) => import.run(client()?, output).await,
            Self::Watch(watch) => watch.run(client()?, output).await,
            Self::Status(status) => status.run(&client()?, output).await,
            Self::Doctor(doctor) => doctor.run(&client()?, output).await,
        }
    }
}

/// Gives each command below `command` the usage line of its help for its errors too. Left alone, clap lists there what
/// was given so far, and counts a variable as given: with `HEADWATER_URL` set, `--url` looks as if it were required.
#[must_use]
pub fn with_plain_usage(mut command: clap::Command) -> clap::Command {
    command.build();
    plain_usage(command)
}

fn plain_usage(mut command: clap::Command) -> clap::Command {
    let usage = command.render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).to_owned();
    command.override_usage(usage).mut_subcommands(plain_usage)
}

/// A collection name from the command line.
///
/// # Errors
/// Says what a name is. Only names are sent: a path with anything else in it could reach another route.
fn collection_name(text: &str) -> Result<String, String> {
    if headwater_core::name::is_valid(text) {
        return Ok(text.into());
    }
    Err("a collection's name begins with a letter or digit and goes on with letters, digits, '.', '_', ':' or '-'"
        .into())
}

/// A key from the command line.
///
/// # Errors
/// An empty text is no key.
fn key(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("a key is not empty".into()) } else { Ok(text.into()) }
}
