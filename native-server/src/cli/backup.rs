//! `headwater backup`: everything a node holds, into a directory; and whether such a directory is whole.

use super::ago::span;
use super::client::Client;
use super::connection::Connection;
use super::failure::{Failure, Kind};
use super::output::{Output, json_string};
use super::progress::Progress;
use super::state;
use super::value::shell_quoted;
use crate::backup::manifest::{FileFacts, MANIFEST_FILE};
use crate::backup::replay::Reached;
use crate::backup::{BackupError, Manifest, read, source, write};
use crate::clock::wall_ms;
use crate::remedy;
use crate::wal::OpenError;
use clap::{Args, Subcommand};
use headwater_core::scope::Scope;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

pub(super) const HELP: &str = "\
Examples:
  headwater backup --url http://10.0.0.5:4077 /backups/monday    of a running node, writer or replica
  headwater backup --data /var/lib/headwater /backups/monday     of a node that does not run
  headwater backup verify /backups/monday
  headwater restore /backups/monday --data /var/lib/headwater

A running node is asked for all it holds, which takes a pair with the role node; it goes on meanwhile. The backup is exact \
as of one position. It is checked and synced before it gets its name.

JSON: {\"backup\",\"cluster\",\"position\",\"time\",\"created\",\"collections\",\"keys\",\"digest\",\"bytes\",\"plainBytes\"}";

/// `headwater backup`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Backup {
    #[command(subcommand)]
    action: Option<Action>,
    /// The directory to make
    #[arg(required = true)]
    out: Option<PathBuf>,
    /// Data directory of a node that does not run, instead of an address
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    here: Connection,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check every hash, count and digest of a backup
    Verify {
        /// The backup
        backup: PathBuf,
        #[command(flatten)]
        connection: Connection,
    },
}

impl Backup {
    pub(super) fn connection(&self) -> &Connection {
        match &self.action {
            None => &self.here,
            Some(Action::Verify { connection, .. }) => connection,
        }
    }

    pub(super) async fn run(&self, output: &mut Output) -> Result<(), Failure> {
        let mut progress = Progress::new();
        let begun = Instant::now();
        if let Some(Action::Verify { backup, .. }) = &self.action {
            let manifest = read::verify(backup, &mut |bytes| {
                progress.show(|| format!("{:.1} MB checked", bytes as f64 / 1e6));
                Ok(())
            });
            let manifest = manifest.map_err(|error| no_backup(error, backup))?;
            progress.clear();
            return report("whole", backup, &manifest, None, begun, output);
        }
        let out = self.out.as_deref().expect("clap requires it without a subcommand");
        // Before a state is fetched that has nowhere to go.
        if out.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(out.into()).into());
        }
        let (snapshot, source, epoch_highest) = match &self.data {
            Some(data) => {
                let held = source::held_in(data).map_err(|error| in_use(error, data))?;
                if held.torn_bytes > 0 {
                    eprintln!("{} bytes of a torn write at the end of the log were left out", held.torn_bytes);
                }
                (held.snapshot, data.display().to_string(), held.epoch_highest)
            }
            None => {
                let client: Client = self.here.client()?;
                let snapshot = state::take(&client, Scope::Everything, "headwater backup", &mut progress).await?;
                (Arc::new(snapshot), client.base().to_string(), 0)
            }
        };
        let manifest = write::write(&snapshot, out, &source, (wall_ms(), epoch_highest), &mut |bytes| {
            progress.show(|| format!("{:.1} MB written", bytes as f64 / 1e6));
            Ok(())
        })?;
        progress.clear();
        report("backed up", out, &manifest, None, begun, output)
    }
}

fn in_use(error: BackupError, data: &Path) -> Failure {
    let is_in_use = matches!(error, BackupError::Log(OpenError::InUse { .. }));
    let failure = Failure::from(error);
    if !is_in_use {
        return failure;
    }
    failure
        .next("A node runs there: ask it for what it holds,")
        .next(format!("headwater backup --url URL OUT, and not --data {}.", shell_quoted(&data.display().to_string())))
}

/// Says what was done with a backup; `reached` is for a state that was brought forward behind it.
pub(super) fn report(
    did: &str,
    path: &Path,
    manifest: &Manifest,
    reached: Option<Reached>,
    begun: Instant,
    output: &mut Output,
) -> Result<(), Failure> {
    let Manifest { cluster, position, time, created, keys, digest, collections, files, .. } = manifest;
    let sum = |of: fn(&FileFacts) -> u64| files.iter().map(of).sum::<u64>();
    let (bytes, plain_bytes) = (sum(|file| file.bytes), sum(|file| file.plain_bytes));
    let count = collections.len();
    if !output.human {
        let path = json_string(&path.display().to_string());
        let time = time.as_deref().map_or("null".into(), json_string);
        let reached = reached.map_or(String::new(), |Reached { applied, later_seen }| {
            format!(",\"applied\":{applied},\"laterSeen\":{later_seen}")
        });
        return output.line(format!(
            "{{\"backup\":{path},\"cluster\":\"{cluster}\",\"position\":\"{position}\",\"time\":{time},\
             \"created\":\"{created}\",\"collections\":{count},\"keys\":{keys},\"digest\":\"{digest}\",\"bytes\":{bytes},\
             \"plainBytes\":{plain_bytes}{reached}}}"
        ));
    }
    let took = span(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
    output.line(format!("{did}: {}", path.display()))?;
    output.line(format!("{keys} entries of {count} collections as of {position}, cluster {cluster}"))?;
    if let Some(Reached { applied, .. }) = reached {
        let time = time.as_ref().map_or(String::new(), |time| format!(" of {time}"));
        output.line(format!("{applied} records applied behind the backup: it reaches {position}{time}"))?;
    }
    let facts = format!("{bytes} bytes, {plain_bytes} unpacked · {digest} · made {created} · took {took}");
    output.line(output.paint.dim(&facts).to_string())
}

/// Why `directory` is of no use as a backup: it may hold backups, as what `--backup-to` names.
pub(super) fn no_backup(error: BackupError, directory: &Path) -> Failure {
    // One that is being made or removed has a name that begins with a dot.
    let is_hidden =
        |directory: &Path| directory.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let is_backup = |directory: &Path| directory.join(MANIFEST_FILE).is_file();
    let within = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    // Those of a schedule have their time in the name.
    match within.filter(|path| is_backup(path) && !is_hidden(path)).max() {
        Some(newest) if !is_backup(directory) => {
            let words = format!("{} holds backups, and is none itself", directory.display());
            Failure::new(Kind::Refused, words).next(format!("The newest is {}", newest.display()))
        }
        _ => error.into(),
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let kind = match &error {
            BackupError::Exists(_) | BackupError::Unfit(_) => Kind::Usage,
            BackupError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Kind::Refused,
            BackupError::Damaged { .. } => Kind::Refused,
            BackupError::Log(OpenError::InUse { .. } | OpenError::Mismatch { .. }) => Kind::Usage,
            BackupError::Log(OpenError::Damaged { .. } | OpenError::Refused { .. }) => Kind::Refused,
            _ => Kind::Unable,
        };
        let failure = Self::new(kind, error.to_string());
        match &error {
            BackupError::Log(error) => super::log::helped(failure, remedy::of(error)),
            _ => failure,
        }
    }
}
