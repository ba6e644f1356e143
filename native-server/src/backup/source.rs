//! A state to be backed up, from the directory of a node that does not run.

use super::error::BackupError;
use crate::random;
use crate::stored::Restore;
use crate::wal::MANIFEST_FILE;
use crate::wal::file::inspect::log_in;
use crate::wal::file::reading::{Found, From, read};
use headwater_core::command::{Line, Trust, decode};
use headwater_core::scope::Scope;
use headwater_core::store::memory::{MemoryOptions, MemorySnapshot, MemoryStore};
use headwater_core::store::{Progress, Store};
use std::path::Path;
use std::sync::Arc;

/// What the directory of a node holds.
pub struct Held {
    /// The state.
    pub snapshot: Arc<MemorySnapshot>,
    /// The highest epoch that was ever given out there.
    pub epoch_highest: u64,
    /// Bytes at the end that nobody was promised: a torn write.
    pub torn_bytes: u64,
}

/// Reads the state in the data directory `data` of a writer or replica, or in the directory of its log. The directory is
/// locked meanwhile, and but for that left as it is.
///
/// # Errors
/// [`BackupError::Log`] for a directory that is in use, is none of a node's or is damaged.
pub fn held_in(data: &Path) -> Result<Held, BackupError> {
    let directory = log_in(data);
    if !directory.join(MANIFEST_FILE).exists() {
        let detail = format!("there is no log of a node in {}", data.display());
        return Err(BackupError::Unfit(detail));
    }
    let progress = Progress { complete: true, ..Progress::new(Scope::Everything) };
    let store = MemoryStore::new(progress, MemoryOptions::single_threaded(random::bits()));
    let mut restore = Restore::new(&store);
    let contents = read(&directory, From::Baseline, &mut |found| match found {
        Found::Baseline(piece) => restore.piece(piece),
        Found::Line { line, is_canonical, .. } => {
            let trust = if is_canonical { Trust::Canonical } else { Trust::Checked };
            match decode(line.strip_suffix(b"\n").unwrap_or(line), trust)? {
                Line::Log(command) => restore.command(&command),
                _ => Err("a stored line is no command of the log".into()),
            }
        }
        Found::Progress(text) => restore.progress(std::str::from_utf8(text)?),
    })?;
    if let Some(cluster) = contents.cluster {
        // A writer's manifest says it first: it may have been opened with a new one since.
        let progress = store.progress();
        // The same goes for a takeover.
        let takeover_highest = progress.takeover_highest.max(contents.takeover);
        store.set_progress(&Progress { cluster: Some(cluster), takeover_highest, ..progress })?;
    }
    let snapshot = Arc::new(store.snapshot()?);
    Ok(Held { snapshot, epoch_highest: contents.epoch, torn_bytes: contents.torn_bytes })
}
