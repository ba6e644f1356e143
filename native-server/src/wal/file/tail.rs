//! The end of the log where groups are added: to the segment in use, and when that is full, to a new one.

use super::super::error::{AppendCause, AppendError, OpenError};
use super::super::manifest::{ActivePlace, SealedPlace, Sum};
use super::super::storage::Lock;
use super::FileOptions;
use super::frame::{FrameContent, FramePlace, Kind, encode};
use super::header::{FILE_HEADER_BYTES, FileKind, Origin};
use super::keeping::Keeping;
use super::making::{Making, cause};
use super::segment::Segment;
use super::syncing::{Synced, Syncing};
use super::view::View;
use std::sync::Arc;

/// Buffers larger than this are given back after use.
const BUFFER_KEPT_BYTES: usize = 4 * 1024 * 1024;

/// How a log is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct TailOptions {
    pub(super) files: FileOptions,
    /// Who appends.
    pub(super) origin: Origin,
}

/// Where the next group goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct TailEnd {
    pub(super) offset: u64,
    /// Checksum of the frame before.
    pub(super) sum: u64,
    pub(super) opening: u32,
}

/// Adds groups of frames.
pub(super) struct Tail {
    keeping: Arc<Keeping>,
    view: Arc<View>,
    /// Keeps other processes out for as long as this one can append.
    _lock: Arc<Lock>,
    options: TailOptions,
    segment: Arc<Segment>,
    end: TailEnd,
    syncing: Syncing,
    /// Length of the file, room that was made ready included.
    room: u64,
    poisoned: bool,
    buffer: Vec<u8>,
    /// Kind, seq and offset of the frames in the buffer.
    notes: Vec<(Kind, u64, u64)>,
}

impl Tail {
    /// Goes on at `end` in the segment in use, everything before which is durable.
    pub(super) fn new(
        keeping: Arc<Keeping>,
        view: Arc<View>,
        lock: Arc<Lock>,
        options: TailOptions,
        end: TailEnd,
    ) -> Self {
        let segment = view.active();
        let syncing = Syncing::start(options.files.sync, segment.clone(), end.offset);
        let (buffer, notes) = (Vec::new(), Vec::new());
        let room = end.offset;
        Self { keeping, view, _lock: lock, options, segment, end, syncing, room, poisoned: false, buffer, notes }
    }

    pub(super) fn view(&self) -> &Arc<View> {
        &self.view
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// What is known to be synced.
    pub(super) fn synced(&self) -> Synced {
        self.syncing.shared()
    }

    /// Appends `frames` as one group, durable on return as the mode of syncing says. After an error nothing is taken any
    /// more.
    pub(super) fn append<'a>(&mut self, frames: impl Iterator<Item = FrameContent<'a>>) -> Result<(), AppendError> {
        self.unless_it_ended(|tail| {
            if tail.end.offset >= tail.options.files.segment_bytes {
                tail.roll().map_err(|error| AppendError::NotDone(cause(error)))?;
            }
            tail.stage(frames).map_err(AppendError::NotDone)?;
            tail.write()?;
            tail.buffer.clear();
            tail.buffer.shrink_to(BUFFER_KEPT_BYTES);
            Ok(())
        })
    }

    /// Seals what the segment in use holds, if it holds anything. After an error nothing is taken any more.
    pub(super) fn seal(&mut self) -> Result<(), AppendError> {
        self.unless_it_ended(|tail| match tail.end.offset > FILE_HEADER_BYTES as u64 {
            true => tail.roll().map_err(|error| AppendError::NotDone(cause(error))),
            false => Ok(()),
        })
    }

    /// Changes the end of the log; the first failure is the last that is tried.
    fn unless_it_ended(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<(), AppendError>,
    ) -> Result<(), AppendError> {
        if self.poisoned {
            return Err(AppendError::NotDone(AppendCause::Poisoned));
        }
        self.poisoned = true;
        let view = self.view.clone();
        let fenced = view.fenced();
        if *fenced {
            return Err(AppendError::NotDone(AppendCause::Fenced));
        }
        change(self)?;
        drop(fenced);
        self.poisoned = false;
        Ok(())
    }

    /// Encodes a group.
    fn stage<'a>(&mut self, frames: impl Iterator<Item = FrameContent<'a>>) -> Result<(), AppendCause> {
        let unsynced = u32::try_from(self.end.offset - self.syncing.synced()).expect("a segment is below 4 GiB");
        let mut frames = frames.peekable();
        while let Some(frame) = frames.next() {
            let back = u32::try_from(self.buffer.len()).ok();
            let Some(back) = back.filter(|_| frame.fits()) else {
                return Err(AppendCause::OutOfPlace(format!("record {} is larger than the log takes", frame.seq)));
            };
            let offset = self.end.offset + self.buffer.len() as u64;
            let place = FramePlace {
                salt: self.segment.salt,
                offset,
                back,
                unsynced,
                opening: self.end.opening,
                previous: self.end.sum,
                last: frames.peek().is_none(),
            };
            self.buffer.reserve(frame.frame_bytes());
            self.end.sum = encode(&mut self.buffer, &frame, &place);
            self.notes.push((frame.kind, frame.seq, offset));
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), AppendError> {
        let file = &self.segment.file;
        let end = self.end.offset + self.buffer.len() as u64;
        let room = end + self.options.files.room_bytes;
        if end > self.room && room > end && file.allocate(room).is_ok() {
            self.room = room;
        }
        if let Err(error) = file.write_at(&self.buffer, self.end.offset) {
            // Cut back what may have been written of the group. Only if that is durable is it certain to be gone.
            let cut = self.syncing.cut(self.end.offset);
            return Err(if cut.is_ok() {
                AppendError::NotDone(error.into())
            } else {
                AppendError::Unknown(error.into())
            });
        }
        let seq = self.notes.iter().map(|&(_, seq, _)| seq).max().unwrap_or_default();
        self.syncing.written(end, seq).map_err(|error| AppendError::Unknown(error.into()))?;
        self.end.offset = end;
        self.segment.extend(self.notes.drain(..), end);
        Ok(())
    }

    /// Seals the segment in use and goes on in a new one, durably. After an error the manifest may name either.
    pub(super) fn roll(&mut self) -> Result<(), OpenError> {
        self.syncing.sync().map_err(OpenError::io("syncing", &self.segment.path))?;
        let (last, through) = {
            let durable = self.segment.durable();
            (durable.last, durable.through)
        };
        let file = self.keeping.new_file(FileKind::Segment)?;
        let number = file.make();
        let TailEnd { offset: end, sum, opening } = self.end;
        let storage = self.keeping.storage();
        let mut making = Making::begin(&**storage, FileKind::Segment, self.options.origin, number, last, sum, opening)?;
        let made_end = making.finish(&**storage)?;
        self.keeping.change(|files| {
            let sealed_ms = crate::clock::wall_ms();
            let full = files.active.number;
            files.sealed.push(SealedPlace { number: full, through, end, sum: Sum(sum), sealed_ms });
            let start = FILE_HEADER_BYTES as u64;
            files.active = ActivePlace { number, start, synced: made_end.end };
        })?;
        // The room behind its end is of no use any more; if it stays, it costs nothing but space.
        drop(self.segment.file.truncate(end));
        self.take_segment(making, made_end.end, made_end.sum, (last, through));
        Ok(())
    }

    /// Goes on in a segment that the manifest names by now.
    fn take_segment(&mut self, making: Making, end: u64, sum: u64, before: (u64, u64)) {
        let Making { file, path, header, .. } = making;
        let segment = Arc::new(Segment::empty(file, path, header.number, header.salt, end, before));
        self.view.add(segment.clone());
        self.syncing.go_on_in(segment.clone(), end);
        (self.segment, self.room) = (segment, end);
        (self.end.offset, self.end.sum) = (end, sum);
    }

    /// Ends the appends of this opening and notes in the manifest that everything acknowledged is durable, so that damage
    /// to it is never taken for a torn write. Not after a failure: then the next opening has to look.
    pub(super) fn finish(self) -> Result<(), OpenError> {
        let view = self.view.clone();
        let mut fenced = view.fenced();
        if self.poisoned || std::mem::replace(&mut *fenced, true) {
            return Ok(());
        }
        self.syncing.sync().map_err(OpenError::io("syncing", &self.segment.path))?;
        let end = self.end.offset;
        if self.room > end {
            self.syncing.cut(end).map_err(OpenError::io("truncating", &self.segment.path))?;
        }
        self.keeping.change(|files| files.active.synced = end)
    }

    /// Makes everything that was appended durable, whatever the mode of syncing. After an error nothing is taken any more.
    pub(super) fn sync(&mut self) -> Result<(), AppendError> {
        self.syncing.sync().map_err(|error| {
            self.poisoned = true;
            AppendError::Unknown(error.into())
        })
    }

    /// Takes nothing any more.
    pub(super) fn poison(&mut self) {
        self.poisoned = true;
    }
}
