//! One segment as those see it who read it back: its file, and how much of it is durable.

use super::super::Chunk;
use super::super::error::ReadError;
use super::super::storage::StoredFile;
use super::frame::Kind;
use super::index::Index;
use super::scan::Found;
use super::walk::{Step, Walk, Window};
use bytes::BytesMut;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

const READ_CHUNK_BYTES: usize = 256 * 1024;

/// A segment of an open log.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: Arc<dyn StoredFile>,
    pub(super) path: PathBuf,
    pub(super) number: u32,
    pub(super) salt: u64,
    /// Seq of the newest record before it.
    pub(super) before: u64,
    durable: RwLock<Durable>,
}

/// What is durable of a segment, and so may be shown.
#[derive(Debug)]
pub(super) struct Durable {
    pub(super) end: u64,
    /// Seq of the last record, in the segment or before it.
    pub(super) last: u64,
    /// Seq up to which everything is held: the last record's, or the progress behind it.
    pub(super) through: u64,
    index: Index,
}

impl Segment {
    /// A segment as it was found.
    pub(super) fn found(file: Arc<dyn StoredFile>, path: PathBuf, number: u32, found: Found) -> Self {
        let Found { salt, before, end, last, through, index, .. } = found;
        let durable = RwLock::new(Durable { end, last, through, index });
        Self { file, path, number, salt, before, durable }
    }

    /// A segment that was just made, with nothing in it but its header, behind what is durable `before` it.
    pub(super) fn empty(
        file: Arc<dyn StoredFile>,
        path: PathBuf,
        number: u32,
        salt: u64,
        end: u64,
        before: (u64, u64),
    ) -> Self {
        let (last, through) = before;
        let durable = RwLock::new(Durable { end, last, through, index: Index::default() });
        Self { file, path, number, salt, before: last, durable }
    }

    pub(super) fn durable(&self) -> RwLockReadGuard<'_, Durable> {
        // Whoever holds the lock for writing only assigns and pushes: a panic there leaves nothing half done that counts.
        self.durable.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the durable part ends.
    pub(super) fn end(&self) -> u64 {
        self.durable().end
    }

    /// Shows what has become durable: frames of these kinds and seqs at these offsets, up to `end`.
    pub(super) fn extend(&self, notes: impl Iterator<Item = (Kind, u64, u64)>, end: u64) {
        let mut durable = self.durable.write().unwrap_or_else(PoisonError::into_inner);
        durable.end = end;
        for (kind, seq, offset) in notes {
            durable.through = durable.through.max(seq);
            if kind.is_record() {
                durable.last = seq;
                durable.index.add(seq, offset);
            }
        }
    }

    /// Reads records from `from` on, which is above what lies before the segment: until `bytes_max` bytes are reached or
    /// the durable end.
    pub(super) fn read(&self, from: u64, bytes_max: usize) -> Result<Chunk, ReadError> {
        let (end, through, offset) = {
            let durable = self.durable();
            let offset = durable.index.offset(from).filter(|_| from <= durable.last);
            (durable.end, durable.through, offset)
        };
        let mut lines = BytesMut::new();
        let Some(offset) = offset else { return Ok(Chunk { lines: lines.freeze(), through }) };
        let mut window = Window::new(&*self.file, end, READ_CHUNK_BYTES);
        let mut walk = Walk::new(self.salt, offset, None);
        let mut last = 0;
        loop {
            let content = match walk.next(&mut window).map_err(ReadError::Io)? {
                Step::Frame { content, .. } => content,
                Step::End => return Ok(Chunk { lines: lines.freeze(), through }),
                Step::Bad(_) => return Err(ReadError::Damaged { file: self.path.clone(), offset: walk.offset() }),
            };
            if !content.kind.is_record() || content.seq < from {
                continue;
            }
            if !lines.is_empty() && lines.len() + content.text.len() > bytes_max {
                return Ok(Chunk { lines: lines.freeze(), through: last });
            }
            lines.extend_from_slice(content.text);
            last = content.seq;
        }
    }
}
