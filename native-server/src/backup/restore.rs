//! From a state to the directory of a writer that goes on from it.

use super::error::BackupError;
use super::write::InTheMaking;
use crate::settings::log_directory;
use crate::stored::StatePieces;
use crate::wal::file::create::{Content, create};
use headwater_core::store::memory::MemoryStore;
use headwater_core::store::{Progress, Store};
use std::path::Path;
use std::sync::Arc;

/// Makes the data directory `data`, which must be missing or empty, with a log whose stored baseline is what `store`
/// holds and which has nothing behind it. The next opening takes an epoch above every one of `store`'s progress.
///
/// # Errors
/// See [`BackupError`]; `data` is as it was then.
pub fn restore(store: &MemoryStore, data: &Path) -> Result<(), BackupError> {
    let progress = store.progress();
    let making = InTheMaking::directory(data, true)?;
    // What was known of freshness is not true any more.
    let fresh = Progress::new(progress.scope.clone());
    let progress = Progress { at: fresh.at, clock_offset: fresh.clock_offset, lag_ms: fresh.lag_ms, ..progress };
    store.set_progress(&progress)?;
    let mut pieces = StatePieces::new(Arc::new(store.snapshot()?));
    let content = Content {
        cluster: progress.cluster.ok_or_else(|| BackupError::Unfit("a state without a cluster".into()))?,
        epoch: progress.epoch_highest.max(progress.position.epoch),
        epochs: (*progress.epochs).clone(),
        facts: pieces.facts(),
    };
    let mut failed = None;
    create(&log_directory(&making.path), &content, &mut |sink| {
        loop {
            match pieces.next_piece() {
                Ok(Some(piece)) => sink(piece.as_baseline())?,
                Ok(None) => return Ok(()),
                Err(error) => {
                    failed = Some(error);
                    return Ok(());
                }
            }
        }
    })?;
    match failed {
        Some(error) => Err(error.into()),
        None => making.finish(),
    }
}
