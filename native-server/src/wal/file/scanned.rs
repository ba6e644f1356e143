//! A segment of a directory: found by its name, read from its beginning, and held against the baseline beside it.

use super::super::error::OpenError;
use super::super::storage::{Storage, StoredFile};
use super::header::FileKind;
use super::scan::{Expected, Follows, Found, Place, Shape, Visit, scan};
use super::segment::Segment;
use std::path::PathBuf;
use std::sync::Arc;

/// A segment that was read.
pub(super) struct Scanned {
    pub(super) number: u32,
    pub(super) file: Arc<dyn StoredFile>,
    pub(super) path: PathBuf,
    pub(super) found: Found,
}

impl Scanned {
    /// Reads the segment at `place`, which has to follow `follows`, and shows every frame that counts to `visit`. `opening`
    /// is the newest one.
    pub(super) fn new(
        storage: &dyn Storage,
        shape: Shape,
        place: Place,
        opening: u32,
        follows: Option<Follows>,
        visit: &mut Visit<'_>,
    ) -> Result<Self, OpenError> {
        let number = place.number();
        let name = FileKind::Segment.name(number);
        let path = storage.path(&name);
        let missing = || OpenError::damaged(&path, 0, "is missing, and the manifest names it");
        let file = storage.open(&name).map_err(OpenError::io("opening", &path))?.ok_or_else(missing)?;
        let found = scan(&*file, &Expected { path: &path, shape, place, opening, follows }, visit)?;
        Ok(Self { number, file, path, found })
    }

    /// Makes sure that nothing is missing between a baseline of `covered` and this segment, the oldest one.
    pub(super) fn begins_within(&self, covered: u64) -> Result<(), OpenError> {
        if self.found.before <= covered {
            return Ok(());
        }
        let detail = format!("it begins behind record {}, and nothing before is kept", self.found.before);
        Err(OpenError::damaged(&self.path, 0, detail))
    }

    /// Makes sure that this segment, the newest one, reaches to a baseline of `covered`. A replica's baseline may lie beyond
    /// its last line: its scope leaves records out.
    pub(super) fn reaches(&self, shape: Shape, covered: u64) -> Result<(), OpenError> {
        if shape == Shape::Replica || self.found.last >= covered {
            return Ok(());
        }
        let detail = format!("the log ends with record {}, before its baseline of {covered}", self.found.last);
        Err(OpenError::damaged(&self.path, self.found.end, detail))
    }

    pub(super) fn into_segment(self) -> Arc<Segment> {
        Arc::new(Segment::found(self.file, self.path, self.number, self.found))
    }
}
