//! `headwater restore`: from a backup to the data directory of a writer.

use super::backup::report;
use super::failure::Failure;
use super::output::Output;
use super::progress::Progress;
use super::value::shell_quoted;
use crate::backup::{BackupError, read, restore};
use crate::random;
use clap::Args;
use headwater_core::scope::Scope;
use headwater_core::store::memory::{MemoryOptions, MemoryStore};
use headwater_core::store::{self, Store};
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

pub(super) const HELP: &str = "\
Examples:
  headwater restore /backups/monday --data /var/lib/headwater    in place of the deployment that was backed up
  headwater restore /backups/monday --data /tmp/copy --new-cluster
  headwater serve --data /var/lib/headwater

The directory must be missing or empty. Everything in the backup is checked before it is made. The next start takes a new \
epoch: nodes that follow go on where what they have is in the backup, and get a baseline where it is not.

JSON: {\"backup\",\"cluster\",\"position\",\"created\",\"collections\",\"keys\",\"digest\",\"bytes\",\"plainBytes\"}";

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
    /// Write JSON on a terminal too
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

impl Restore {
    pub(super) fn run(&self, output: &mut Output) -> Result<(), Failure> {
        let begun = Instant::now();
        // Before much is read that has nowhere to go.
        if fs::read_dir(&self.data).is_ok_and(|mut names| names.next().is_some()) {
            return Err(Failure::from(BackupError::Exists(self.data.clone()))
                .next("A restore makes a new directory: name another one, or move this one away."));
        }
        let mut progress = Progress::new();
        let empty = store::Progress::new(Scope::Everything);
        let store = MemoryStore::new(empty, MemoryOptions::single_threaded(random::bits()));
        let mut manifest = read::load(&self.backup, &store, &mut |bytes| {
            progress.show(|| format!("{:.1} MB read", bytes as f64 / 1e6));
            Ok(())
        })?;
        if self.new_cluster {
            let cluster = random::id();
            manifest.cluster = cluster.to_string();
            store
                .set_progress(&store::Progress { cluster: Some(cluster), ..store.progress() })
                .map_err(BackupError::from)?;
        }
        progress.show(|| "writing the log".into());
        restore::restore(&store, &self.data)?;
        progress.clear();
        report("restored", &self.backup, &manifest, begun, output)?;
        if output.human {
            output
                .line(format!("start it: headwater serve --data {}", shell_quoted(&self.data.display().to_string())))?;
        }
        Ok(())
    }
}
