//! From a state to the directory of a writer that goes on from it.

use super::error::BackupError;
use super::write::InTheMaking;
use crate::clock::wall_ms;
use crate::settings::log_directory;
use crate::stored::StatePieces;
use crate::wal::file::create::{Content, create};
use crate::wal::opening::next_takeover;
use headwater_core::store::memory::MemoryStore;
use headwater_core::store::{Progress, Store};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// What a volume of some file systems holds from the beginning.
const LOST_AND_FOUND: &str = "lost+found";

/// What is at the place of a data directory that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Missing,
    /// A directory without content, perhaps a mount point, or a link to one.
    Empty,
}

/// Makes sure that a data directory can be made at `data`.
///
/// # Errors
/// [`BackupError::Exists`] with what is in the way; [`BackupError::Io`].
pub fn check_place(data: &Path) -> Result<(), BackupError> {
    place(data).map(drop)
}

fn place(data: &Path) -> Result<Place, BackupError> {
    let reading = || BackupError::io("reading", data);
    let names = match fs::read_dir(data) {
        Ok(names) => names,
        // A link that leads nowhere is something.
        Err(error) if error.kind() == ErrorKind::NotFound && data.symlink_metadata().is_err() => {
            return Ok(Place::Missing);
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(BackupError::Exists(data.into()));
        }
        Err(error) => return Err(reading()(error)),
    };
    for name in names {
        let name = name.map_err(reading())?.file_name();
        if name != LOST_AND_FOUND {
            return Err(BackupError::Exists(data.join(name)));
        }
    }
    Ok(Place::Empty)
}

/// Makes the data directory `data`, which must be missing or empty, with a log whose stored baseline is what `store`
/// holds and which has nothing behind it. The next opening takes an epoch above every one of `store`'s progress. The log
/// takes over: its takeover is the time now, or above every one of that progress and `takeover_above`.
///
/// A missing directory is made beside its place; in an empty one, which may be a file system of its own, the log is. Either
/// way one rename is the last step.
///
/// # Errors
/// See [`BackupError`]; `data` is as it was then.
pub fn restore(store: &MemoryStore, data: &Path, takeover_above: u64) -> Result<(), BackupError> {
    let progress = store.progress();
    let (making, log) = match place(data)? {
        Place::Missing => {
            let making = InTheMaking::directory(data)?;
            let log = log_directory(&making.path);
            (making, log)
        }
        Place::Empty => {
            let making = InTheMaking::directory(&log_directory(data))?;
            let log = making.path.clone();
            (making, log)
        }
    };
    // What was known of freshness is not true any more.
    let fresh = Progress::new(progress.scope.clone());
    let progress = Progress { at: fresh.at, clock_offset: fresh.clock_offset, lag_ms: fresh.lag_ms, ..progress };
    store.set_progress(&progress)?;
    let mut pieces = StatePieces::new(Arc::new(store.snapshot()?));
    let known = progress.takeover.max(progress.takeover_highest).max(takeover_above);
    let exhausted = || BackupError::Unfit(format!("there is no takeover above {known}"));
    let content = Content {
        takeover: next_takeover(known, wall_ms()).ok_or_else(exhausted)?,
        cluster: progress.cluster.ok_or_else(|| BackupError::Unfit("a state without a cluster".into()))?,
        epoch: progress.epoch_highest.max(progress.position.epoch),
        epochs: (*progress.epochs).clone(),
        facts: pieces.facts(),
    };
    let mut failed = None;
    create(&log, &content, &mut |sink| {
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
