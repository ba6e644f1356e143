//! The end of a segment where frames are added, and what its readers see of it.

use super::super::error::{AppendCause, AppendError, OpenError, ReadError};
use super::super::storage::{Lock, Storage, StoredFile};
use super::super::{BoxFuture, Chunk, LogReader};
use super::frame::{FrameContent, FramePlace, Kind, SEGMENT_HEADER_BYTES, encode, encode_segment_header};
use super::index::Index;
use super::walk::{Step, Walk, Window};
use bytes::{Bytes, BytesMut};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

const READ_CHUNK_BYTES: usize = 256 * 1024;
/// Buffers larger than this are given back after use.
const BUFFER_KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Name of the file of segment `number`.
pub(super) fn segment_name(number: u32) -> String {
    format!("{number:010}.wal")
}

/// Whether `name` is one that [`segment_name`] gives.
pub(super) fn is_segment_name(name: &str) -> bool {
    name.strip_suffix(".wal").is_some_and(|digits| digits.len() == 10 && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Makes segment `number` with nothing in it, durably. Returns the file, its salt and its header's checksum.
pub(super) fn create_segment(storage: &dyn Storage, number: u32) -> Result<(Arc<dyn StoredFile>, u64, u64), OpenError> {
    let name = segment_name(number);
    let path = storage.path(&name);
    let salt = getrandom::u64().map_err(super::super::opening::no_random)?;
    let header = encode_segment_header(number, salt);
    let sum = super::frame::decode_segment_header(&header).expect("just encoded").sum;
    let file = storage.create(&name).map_err(OpenError::io("creating", &path))?;
    file.write_at(&header, 0).map_err(OpenError::io("writing", &path))?;
    file.sync_all().map_err(OpenError::io("syncing", &path))?;
    storage.sync_directory().map_err(OpenError::io("syncing the directory of", &path))?;
    Ok((file, salt, sum))
}

/// What one opening of a segment shares between the one that appends and those that read.
pub(super) struct Shared {
    file: Arc<dyn StoredFile>,
    path: PathBuf,
    salt: u64,
    durable: RwLock<Durable>,
    /// Locked for the length of an append, so that a newer opening waits for the one under way.
    fenced: Mutex<bool>,
}

/// What is durable, and so may be shown.
pub(super) struct Durable {
    pub(super) end: u64,
    /// The lowest seq from which every record is held; `None` until a frame tells it.
    pub(super) floor: Option<u64>,
    pub(super) last: u64,
    /// Seq up to which everything is held: the last record's, or the progress behind it.
    pub(super) through: u64,
    pub(super) index: Index,
}

impl Durable {
    fn floor(&self) -> u64 {
        self.floor.unwrap_or(self.last + 1)
    }
}

impl Shared {
    pub(super) fn new(file: Arc<dyn StoredFile>, path: PathBuf, salt: u64, durable: Durable) -> Self {
        Self { file, path, salt, durable: RwLock::new(durable), fenced: Mutex::new(false) }
    }

    fn durable(&self) -> RwLockReadGuard<'_, Durable> {
        // Whoever holds the lock for writing only assigns and pushes: a panic there leaves nothing half done that counts.
        self.durable.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the appends of this opening and returns the byte up to which everything is durable.
    pub(super) fn fence(&self) -> u64 {
        *self.fenced.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.durable().end
    }

    /// Where the durable part ends.
    pub(super) fn end(&self) -> u64 {
        self.durable().end
    }

    /// Seq of the last durable record, 0 when there is none.
    pub(super) fn last(&self) -> u64 {
        self.durable().last
    }

    /// [`LogReader::read`], on this thread.
    pub(super) fn read_now(&self, from: u64, bytes_max: usize) -> Result<Option<Chunk>, ReadError> {
        let (end, through, offset) = {
            let durable = self.durable();
            if from < durable.floor() {
                return Err(ReadError::Trimmed { floor: durable.floor() });
            }
            if from > durable.through {
                return Ok(None);
            }
            match durable.index.offset(from) {
                Some(offset) if from <= durable.last => (durable.end, durable.through, offset),
                _ => return Ok(Some(Chunk { lines: Bytes::new(), through: durable.through })),
            }
        };
        let mut window = Window::new(&*self.file, end, READ_CHUNK_BYTES);
        let mut walk = Walk::new(self.salt, offset, None);
        let mut lines = BytesMut::new();
        let mut last = 0;
        loop {
            let content = match walk.next(&mut window).map_err(ReadError::Io)? {
                Step::Frame { content, .. } => content,
                Step::End => return Ok(Some(Chunk { lines: lines.freeze(), through })),
                Step::Bad(_) => return Err(ReadError::Damaged { file: self.path.clone(), offset: walk.offset() }),
            };
            if !content.kind.is_record() || content.seq < from {
                continue;
            }
            if !lines.is_empty() && lines.len() + content.text.len() > bytes_max {
                return Ok(Some(Chunk { lines: lines.freeze(), through: last }));
            }
            lines.extend_from_slice(content.text);
            last = content.seq;
        }
    }
}

/// Reads a segment from the blocking pool of the runtime it is called on.
pub(super) struct SegmentReader(pub(super) Arc<Shared>);

impl LogReader for SegmentReader {
    fn floor(&self) -> u64 {
        self.0.durable().floor()
    }

    fn through(&self) -> u64 {
        self.0.durable().through
    }

    fn read(&self, from: u64, bytes_max: usize) -> BoxFuture<'_, Result<Option<Chunk>, ReadError>> {
        let shared = self.0.clone();
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || shared.read_now(from, bytes_max));
            read.await.unwrap_or_else(|error| Err(ReadError::Io(io::Error::other(error))))
        })
    }
}

/// Where in a segment the next frame goes.
#[derive(Clone, Copy)]
pub(super) struct SegmentEnd {
    pub(super) offset: u64,
    /// Checksum of the frame before.
    pub(super) sum: u64,
    pub(super) opening: u32,
}

/// Adds groups of frames to a segment.
pub(super) struct SegmentWriter {
    shared: Arc<Shared>,
    /// Keeps other processes out for as long as this one can append.
    _lock: Arc<Lock>,
    end: SegmentEnd,
    poisoned: bool,
    buffer: Vec<u8>,
    group_start: usize,
    /// Kind, seq and offset of the frames in the buffer, those of baselines left out.
    notes: Vec<(Kind, u64, u64)>,
}

impl SegmentWriter {
    pub(super) fn new(shared: Arc<Shared>, lock: Arc<Lock>, end: SegmentEnd) -> Self {
        let (buffer, notes) = (Vec::new(), Vec::new());
        Self { shared, _lock: lock, end, poisoned: false, buffer, group_start: 0, notes }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Appends `frames` as one group and makes them durable. After an error nothing is taken any more.
    pub(super) fn append<'a>(&mut self, frames: impl Iterator<Item = FrameContent<'a>>) -> Result<(), AppendError> {
        if self.poisoned {
            return Err(AppendError::NotDone(AppendCause::Poisoned));
        }
        self.poisoned = true;
        let mut frames = frames.peekable();
        while let Some(frame) = frames.next() {
            self.stage(&frame, frames.peek().is_none()).map_err(AppendError::NotDone)?;
        }
        self.flush(true)?;
        self.poisoned = false;
        Ok(())
    }

    /// Encodes a frame behind those already staged; `last` ends the group.
    pub(super) fn stage(&mut self, frame: &FrameContent<'_>, last: bool) -> Result<(), AppendCause> {
        let back = u32::try_from(self.buffer.len() - self.group_start).ok();
        let Some(back) = back.filter(|_| frame.fits()) else {
            return Err(AppendCause::OutOfPlace(format!("record {} is larger than the log takes", frame.seq)));
        };
        let offset = self.end.offset + self.buffer.len() as u64;
        let place = FramePlace {
            salt: self.shared.salt,
            offset,
            back,
            opening: self.end.opening,
            previous: self.end.sum,
            last,
        };
        self.buffer.reserve(frame.frame_bytes());
        self.end.sum = encode(&mut self.buffer, frame, &place);
        if last {
            self.group_start = self.buffer.len();
        }
        if frame.kind != Kind::Baseline {
            self.notes.push((frame.kind, frame.seq, offset));
        }
        Ok(())
    }

    /// Ends the appends of this opening and calls `note` with the durable end, before a newer opening can begin. Does
    /// neither after a failure, or when a newer opening has begun.
    pub(super) fn finish(&mut self, note: impl FnOnce(u64) -> Result<(), OpenError>) -> Result<(), OpenError> {
        let mut fenced = self.shared.fenced.lock().unwrap_or_else(PoisonError::into_inner);
        if self.poisoned || std::mem::replace(&mut *fenced, true) { Ok(()) } else { note(self.end.offset) }
    }

    /// Takes nothing any more.
    pub(super) fn poison(&mut self) {
        self.poisoned = true;
    }

    /// Number of bytes staged and not yet written.
    pub(super) fn staged_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Writes what is staged, which must end a group, and syncs it if asked to.
    pub(super) fn flush(&mut self, sync: bool) -> Result<(), AppendError> {
        let file = &self.shared.file;
        let fenced = self.shared.fenced.lock().unwrap_or_else(PoisonError::into_inner);
        if *fenced {
            return Err(AppendError::NotDone(AppendCause::Fenced));
        }
        if let Err(error) = file.write_at(&self.buffer, self.end.offset) {
            // Cut back what may have been written of the group. Only if that is durable is it certain to be gone.
            let cut = file.truncate(self.end.offset).and_then(|()| file.sync_all());
            return Err(if cut.is_ok() {
                AppendError::NotDone(error.into())
            } else {
                AppendError::Unknown(error.into())
            });
        }
        if sync {
            file.sync_data().map_err(|error| AppendError::Unknown(error.into()))?;
        }
        self.end.offset += self.buffer.len() as u64;
        let mut durable = self.shared.durable.write().unwrap_or_else(PoisonError::into_inner);
        durable.end = self.end.offset;
        for (kind, seq, offset) in self.notes.drain(..) {
            if let Some(floor) = kind.floor(seq) {
                durable.floor.get_or_insert(floor);
            }
            durable.through = durable.through.max(seq);
            if kind.is_record() {
                durable.last = seq;
                durable.index.add(seq, offset);
            }
        }
        drop(durable);
        drop(fenced);
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT_BYTES);
        self.group_start = 0;
        Ok(())
    }
}

/// The end of a segment that has just been made.
pub(super) fn empty_end(header_sum: u64, opening: u32) -> SegmentEnd {
    SegmentEnd { offset: SEGMENT_HEADER_BYTES as u64, sum: header_sum, opening }
}
