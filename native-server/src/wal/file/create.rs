//! Makes the directory of a writer's log that begins with a state: a stored baseline, and an empty segment behind it.

use super::super::error::OpenError;
use super::super::keeper::{BaselinePiece, StateFacts};
use super::super::manifest::{ActivePlace, Backend, BaselinePlace, Files, MANIFEST_FILE, Manifest, Sum};
use super::super::opening::OpenOptions;
use super::super::storage::{Directory, LOCK_FILE, Storage};
use super::frame::{FrameContent, Kind};
use super::header::{FileKind, Origin};
use super::making::{MadeEnd, Making};
use super::recover::lock;
use headwater_core::id::Id;
use headwater_core::position::EpochTable;
use std::path::Path;

const BASELINE_NUMBER: u32 = 1;
const SEGMENT_NUMBER: u32 = 2;

/// What the log is to hold.
#[derive(Clone, Debug)]
pub struct Content {
    /// The deployment.
    pub cluster: Id,
    /// The next opening takes an epoch above this one.
    pub epoch: u64,
    /// The openings up to the state.
    pub epochs: EpochTable,
    /// What the state is known by.
    pub facts: StateFacts,
}

/// Takes the pieces of the state.
pub type Sink<'a> = dyn FnMut(BaselinePiece<'_>) -> Result<(), OpenError> + 'a;

/// Makes a log in `directory`, which must be missing or empty. `pieces` hands over the state, its progress last.
///
/// # Errors
/// [`OpenError::Mismatch`] when something is there; what else [`super::FileWal`]'s opening fails with. What was made until
/// then is no log: there is no manifest.
pub fn create(
    directory: &Path,
    content: &Content,
    pieces: &mut dyn FnMut(&mut Sink<'_>) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    create_on(&Directory::new(directory), content, pieces)
}

/// [`create`] on a medium of the caller's.
///
/// # Errors
/// The same.
pub(super) fn create_on(
    storage: &dyn Storage,
    content: &Content,
    pieces: &mut dyn FnMut(&mut Sink<'_>) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    let _lock = lock(storage, &OpenOptions { node: "restore".into(), ..OpenOptions::default() })?;
    let names = storage.names().map_err(OpenError::io("listing", &storage.path("")))?;
    if let Some(name) = names.into_iter().find(|name| name != LOCK_FILE) {
        let detail = format!("the directory is not empty, {name} is there: use another one");
        return Err(OpenError::Mismatch { file: storage.path(MANIFEST_FILE), detail });
    }
    let StateFacts { seq, keys, ref digest } = content.facts;
    let mut making = Making::begin(storage, FileKind::Baseline, Origin::Writer, BASELINE_NUMBER, seq, 0, 0)?;
    pieces(&mut |piece| {
        let (kind, text) = match piece {
            BaselinePiece::Lines(text) => (Kind::Baseline, text),
            BaselinePiece::Beside(text) => (Kind::Beside, text),
            BaselinePiece::Progress(text) => (Kind::Progress, text),
        };
        let seq = if kind == Kind::Progress { seq } else { 0 };
        making.push(&FrameContent { kind, seq, epoch: None, meta: b"", text })
    })?;
    let MadeEnd { end, sum } = making.finish(storage)?;
    let digest = digest.clone();
    let baseline =
        BaselinePlace { number: BASELINE_NUMBER, seq, from_segment: SEGMENT_NUMBER, end, sum: Sum(sum), keys, digest };
    let mut making = Making::begin(storage, FileKind::Segment, Origin::Writer, SEGMENT_NUMBER, seq, 0, 0)?;
    let MadeEnd { end, .. } = making.finish(storage)?;
    let active = ActivePlace { number: SEGMENT_NUMBER, start: end, synced: end };
    let files = Files { baseline: Some(baseline), sealed: Vec::new(), active, next_number: SEGMENT_NUMBER + 1 };
    let (cluster, epoch, epochs) = (Some(content.cluster), content.epoch, content.epochs.clone());
    Manifest { cluster, epoch, epochs, files: Some(files), ..Manifest::new(Backend::File) }.write(storage)
}
