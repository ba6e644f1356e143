//! Stored baselines: the whole state as of one seq in a file of its own, so that what lies before need not be read again.
//!
//! A baseline counts from the moment a manifest names it, with its length and the checksum of its last frame; until then,
//! and if it is given up, everything is as it was. Its frames carry lines as a stream's baseline has them, what they do not say:
//! writes that may be repeated, and at the end how far the state is. What the lines must be is its writer's and reader's
//! business; that every byte is as it was written is this module's.

use super::super::error::{OpenError, ReplayRefused};
use super::super::keeper::{BaselinePiece, StateFacts};
use super::super::manifest::{ActivePlace, BaselinePlace, Files, Sum};
use super::super::storage::Storage;
use super::frame::{FrameContent, Kind};
use super::header::{FILE_HEADER_BYTES, FileKind, Origin};
use super::keeping::{Keeping, NewFile};
use super::making::{MadeEnd, Making};
use super::scan::header_of;
use super::walk::{Step, Walk, Window};
use crate::observed;
use std::sync::Arc;

const READ_CHUNK_BYTES: usize = 1024 * 1024;

/// A baseline in the making. Dropped before it is finished, it changes nothing.
pub(super) struct BaselineMaking {
    keeping: Arc<Keeping>,
    making: Making,
    /// Takes the file away again unless a manifest names it.
    _file: NewFile,
}

impl BaselineMaking {
    pub(super) fn begin(keeping: Arc<Keeping>, origin: Origin, seq: u64) -> Result<Self, OpenError> {
        let file = keeping.new_file(FileKind::Baseline)?;
        let making = Making::begin(&**keeping.storage(), FileKind::Baseline, origin, file.make(), seq, 0, 0)?;
        Ok(Self { keeping, making, _file: file })
    }

    pub(super) fn push(&mut self, piece: BaselinePiece<'_>) -> Result<(), OpenError> {
        self.making.push(&frame(piece, self.making.header.seq))
    }

    /// Makes the file durable, without naming it yet.
    pub(super) fn write_out(&mut self) -> Result<(), OpenError> {
        self.making.finish(&**self.keeping.storage()).map(drop)
    }

    /// Makes the file durable and names it in place of an older baseline: segments before `from_segment` are within it.
    /// `change` sees the files with it in place, and tells whether it is to be so.
    pub(super) fn finish(
        mut self,
        facts: StateFacts,
        from_segment: u32,
        change: impl FnOnce(&mut Files) -> bool,
    ) -> Result<(), OpenError> {
        let MadeEnd { end, sum } = self.making.finish(&**self.keeping.storage())?;
        let number = self.making.header.number;
        let StateFacts { seq, keys, digest } = facts;
        let place = BaselinePlace { number, seq, from_segment, end, sum: Sum(sum), keys, digest };
        self.keeping.change(|files| {
            let older = files.baseline.replace(place);
            if !change(files) {
                files.baseline = older;
            }
        })?;
        observed::BASELINES_STORED.one();
        Ok(())
    }
}

/// A piece of a baseline that is exact at `seq`, as a frame.
pub(super) fn frame(piece: BaselinePiece<'_>, seq: u64) -> FrameContent<'_> {
    let (kind, seq, text) = match piece {
        BaselinePiece::Lines(text) => (Kind::Baseline, 0, text),
        BaselinePiece::Beside(text) => (Kind::Beside, 0, text),
        BaselinePiece::Progress(text) => (Kind::Progress, seq, text),
    };
    FrameContent { kind, seq, epoch: None, meta: b"", text }
}

/// Makes the segment in use begin anew behind a baseline: what lies before the baseline does not lead on to it.
pub(super) fn only(files: &mut Files, number: u32, end: u64) {
    files.sealed.clear();
    files.active = ActivePlace { number, start: FILE_HEADER_BYTES as u64, synced: end };
}

/// Reads a stored baseline and shows its pieces to `visit`.
///
/// # Errors
/// [`OpenError::Damaged`] for anything that is not as it was written.
pub(super) fn read(
    storage: &dyn Storage,
    place: &BaselinePlace,
    visit: &mut dyn FnMut(BaselinePiece<'_>) -> Result<(), ReplayRefused>,
) -> Result<(), OpenError> {
    let name = FileKind::Baseline.name(place.number);
    let path = storage.path(&name);
    let missing = || OpenError::damaged(&path, 0, "is missing, and the manifest names it");
    let file = storage.open(&name).map_err(OpenError::io("opening", &path))?.ok_or_else(missing)?;
    let length = file.length().map_err(OpenError::io("reading", &path))?;
    let mut window = Window::new(&*file, length.min(place.end), READ_CHUNK_BYTES);
    let bytes = window.bytes(0, FILE_HEADER_BYTES).map_err(OpenError::io("reading", &path))?;
    let (header, header_sum) = header_of(bytes, &path)?;
    if (header.kind, header.number, header.seq) != (FileKind::Baseline, place.number, place.seq) {
        let detail = format!("the file is not the baseline of seq {} that the manifest names", place.seq);
        return Err(OpenError::damaged(&path, 0, detail));
    }
    let mut walk = Walk::new(header.salt, FILE_HEADER_BYTES as u64, Some(header_sum));
    let mut sum = header_sum;
    loop {
        match walk.next(&mut window).map_err(OpenError::io("reading", &path))? {
            Step::Frame { offset, header, content } => {
                sum = header.sum;
                let piece = match content.kind {
                    Kind::Baseline => BaselinePiece::Lines(content.text),
                    Kind::Beside => BaselinePiece::Beside(content.text),
                    Kind::Progress => BaselinePiece::Progress(content.text),
                    Kind::Line | Kind::Epoch => {
                        return Err(OpenError::damaged(&path, offset, "a record within a baseline"));
                    }
                };
                visit(piece).map_err(|source| OpenError::Refused { seq: place.seq, source })?;
            }
            Step::Bad(reason) => return Err(OpenError::damaged(&path, walk.offset(), reason)),
            Step::End if (walk.offset(), sum) == (place.end, place.sum.0) => return Ok(()),
            Step::End => {
                let detail = format!("the file ends here, and {} bytes were durable", place.end);
                return Err(OpenError::damaged(&path, walk.offset(), detail));
            }
        }
    }
}
