//! `headwater restore`: from a backup to the data directory of a writer.

use super::backup::{no_backup, report};
use super::failure::Failure;
use super::noting::{Noting, Usual};
use super::output::Output;
use super::progress::Progress;
use super::value::shell_quoted;
use crate::audit::Event;
use crate::backup::replay::{self, Reached, Sources, Target};
use crate::backup::{BackupError, Manifest, read, restore};
use crate::random;
use crate::settings::audit_directory;
use clap::Args;
use headwater_core::api::unix_ms;
use headwater_core::scope::Scope;
use headwater_core::store::memory::{MemoryOptions, MemoryStore};
use headwater_core::store::{self, Snapshot, Store};
use std::path::PathBuf;
use std::time::Instant;

pub(super) const HELP: &str = "\
Examples:
  headwater restore /backups/monday --data /var/lib/headwater    in place of the deployment that was backed up
  headwater restore /backups/monday --data /tmp/copy --new-cluster
  headwater restore /backups/monday --data /var/lib/headwater --archive /archive --to 1795274481855.8130
  headwater restore /backups/monday --data /var/lib/headwater --archive /archive --log /var/lib/headwater.old
  headwater serve --data /var/lib/headwater

The directory must be missing or empty; it may be a mount point. Everything in the backup is checked before it is made. The next start takes a new \
epoch: nodes that follow go on where what they have is in the backup, and get a baseline where it is not. What was done is noted in audit/ within the directory, where a node looks \
unless --audit says otherwise: name that here too.

JSON: {\"backup\",\"cluster\",\"position\",\"time\",\"created\",\"collections\",\"keys\",\"digest\",\"bytes\",\"plainBytes\"}, and with \
--archive or --log \"applied\" and \"laterSeen\"";

/// `headwater restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// The backup
    backup: PathBuf,
    /// The data directory to make, which must be missing or empty
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Make a copy that lives beside the original: nodes that follow that will not follow this one
    #[arg(long)]
    new_cluster: bool,
    /// Bring it forward by what is in this archive
    #[arg(long, value_name = "DIR", help_heading = "Point in time")]
    archive: Option<PathBuf>,
    /// Bring it forward by the log in this data directory of a writer that does not run
    #[arg(long, value_name = "DIR", help_heading = "Point in time")]
    log: Option<PathBuf>,
    /// Up to this position (EPOCH.SEQ) or time (2026-11-21T15:00:00Z, by the writer's clock); otherwise as far as they reach
    #[arg(long, value_name = "POSITION|TIME", value_parser = target, help_heading = "Point in time")]
    to: Option<To>,
    /// Take over above this number too: where a wrong clock once made one too high (stale_parent names it)
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    takeover_above: u64,
    #[command(flatten)]
    noting: Noting,
    /// Write JSON on a terminal too
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

impl Restore {
    pub(super) fn run(&self, output: &mut Output) -> Result<(), Failure> {
        let begun = Instant::now();
        // Before much is read that has nowhere to go.
        restore::check_place(&self.data).map_err(|error| {
            let is_taken = matches!(error, BackupError::Exists(_));
            let failure = Failure::from(error);
            let next =
                "A restore makes a new directory or fills an empty one: name another one, or move this one away.";
            if is_taken { failure.next(next) } else { failure }
        })?;
        let mut progress = Progress::new();
        let empty = store::Progress::new(Scope::Everything);
        let store = MemoryStore::new(empty, MemoryOptions::single_threaded(random::bits()));
        let sources = Sources { archive: self.archive.as_deref(), data: self.log.as_deref() };
        if self.to.is_some() && sources.archive.is_none() && sources.data.is_none() {
            let failure = Failure::usage("--to needs records behind the backup");
            return Err(failure.next("Say where they are: --archive DIR, --log DIR, or both."));
        }
        if let Some(To { target: Target::Time(ms), .. }) = self.to {
            replay::refuse_later(&self.backup, &Manifest::read(&self.backup)?, ms)?;
        }
        let mut manifest = read::load(&self.backup, &store, &mut |bytes| {
            progress.show(|| format!("{:.1} MB read", bytes as f64 / 1e6));
            Ok(())
        })
        .map_err(|error| no_backup(error, &self.backup))?;
        let mut reached = None;
        if sources.archive.is_some() || sources.data.is_some() {
            let target = self.to.as_ref().map_or(Target::Newest, |to| to.target);
            reached = Some(replay::replay(&store, &sources, target, &mut |records| {
                progress.show(|| format!("{records} records applied"));
            })?);
            let snapshot = store.snapshot().map_err(BackupError::from)?;
            let (created, files) = (manifest.created.clone(), manifest.files.clone());
            manifest = Manifest::of(snapshot.progress(), snapshot.collections(), &manifest.source, created)?;
            manifest.files = files;
        }
        if self.new_cluster {
            let cluster = random::id();
            manifest.cluster = cluster.to_string();
            store
                .set_progress(&store::Progress { cluster: Some(cluster), ..store.progress() })
                .map_err(BackupError::from)?;
        }
        progress.show(|| "writing the log".into());
        restore::restore(&store, &self.data, self.takeover_above)?;
        progress.clear();
        let (backup, position, cluster) =
            (self.backup.display().to_string(), manifest.position.clone(), manifest.cluster.clone());
        let restored = Event::Restored { backup, position, cluster };
        let usual = Usual::Made(audit_directory(&self.data));
        let noted = self.noting.note(usual, "headwater restore", restored);
        report("restored", &self.backup, &manifest, reached, begun, output)?;
        noted.tell(output)?;
        if output.human {
            if let (Some(Reached { later_seen: false, .. }), Some(To { target: Target::Time(_), text })) =
                (reached, &self.to)
            {
                output
                    .line(format!("nothing later was found: whether more was written before {text} cannot be known"))?;
            }
            output
                .line(format!("start it: headwater serve --data {}", shell_quoted(&self.data.display().to_string())))?;
        }
        Ok(())
    }
}

/// Up to where, and how it was put.
#[derive(Clone, Debug, PartialEq, Eq)]
struct To {
    target: Target,
    text: String,
}

/// A position, or a time with or without parts of a second.
fn target(text: &str) -> Result<To, String> {
    let to = |target| To { target, text: text.into() };
    if let Ok(position) = text.parse() {
        return Ok(to(Target::Position(position)));
    }
    let whole = text.strip_suffix('Z').filter(|text| text.len() == 19).map(|text| format!("{text}.000Z"));
    let time = unix_ms(whole.as_deref().unwrap_or(text)).map(|ms| to(Target::Time(ms)));
    time.ok_or_else(|| "expected a position, EPOCH.SEQ, or a time in UTC, 2026-11-21T15:00:00Z".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_position_or_a_time() {
        let position_or_time = |text| target(text).map(|to| to.target);
        assert_eq!(position_or_time("7.12"), Ok(Target::Position("7.12".parse().unwrap())));
        for text in ["2025-11-20T14:46:40Z", "2025-11-20T14:46:40.000Z"] {
            assert_eq!(position_or_time(text), Ok(Target::Time(1_763_650_000_000)), "{text}");
        }
        for text in ["", "7", "yesterday", "2025-11-20", "2025-11-20T14:46:40"] {
            assert!(target(text).is_err(), "{text}");
        }
    }
}
