//! New files: written from their header on by one hand, durable before anything names them.

use super::super::error::{AppendCause, OpenError};
use super::super::storage::{Storage, StoredFile};
use super::frame::{FrameContent, FramePlace, encode};
use super::header::{FILE_HEADER_BYTES, FileHeader, FileKind, Origin};
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes collected before they are written and synced: small enough that nobody else's sync waits long behind it.
const WRITE_BYTES: usize = 256 * 1024;

/// What frames of a file in the making say was not synced before them: they prove nothing before the whole file is durable
/// and named. No frame that is appended later says so.
pub(super) const UNSYNCED_ALL: u32 = u32::MAX;

/// A file in the making.
#[derive(Debug)]
pub(super) struct Making {
    pub(super) file: Arc<dyn StoredFile>,
    pub(super) path: PathBuf,
    pub(super) header: FileHeader,
    opening: u32,
    offset: u64,
    sum: u64,
    buffer: Vec<u8>,
}

/// Where a file that was made ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct MadeEnd {
    pub(super) end: u64,
    /// Checksum of the last frame, or of the header where there is none.
    pub(super) sum: u64,
}

impl Making {
    /// Creates the file, in place of what has its name, with nothing in it but its header.
    pub(super) fn begin(
        storage: &dyn Storage,
        kind: FileKind,
        origin: Origin,
        number: u32,
        seq: u64,
        previous: u64,
        opening: u32,
    ) -> Result<Self, OpenError> {
        let name = kind.name(number);
        let path = storage.path(&name);
        let salt = getrandom::u64().map_err(super::super::opening::no_random)?;
        let header = FileHeader { kind, origin, number, salt, seq, previous };
        let (bytes, sum) = header.encode();
        let file = storage.create(&name).map_err(OpenError::io("creating", &path))?;
        let offset = FILE_HEADER_BYTES as u64;
        file.write_at(&bytes, 0).map_err(OpenError::io("writing", &path))?;
        Ok(Self { file, path, header, opening, offset, sum, buffer: Vec::new() })
    }

    /// Adds a frame as a group of its own.
    pub(super) fn push(&mut self, frame: &FrameContent<'_>) -> Result<(), OpenError> {
        if !frame.fits() {
            let source = std::io::Error::other(format!("{} bytes are more than a frame takes", frame.frame_bytes()));
            return Err(OpenError::Io { doing: "writing", path: self.path.clone(), source });
        }
        let place = FramePlace {
            salt: self.header.salt,
            offset: self.offset + self.buffer.len() as u64,
            back: 0,
            unsynced: UNSYNCED_ALL,
            opening: self.opening,
            previous: self.sum,
            last: true,
        };
        self.sum = encode(&mut self.buffer, frame, &place);
        if self.buffer.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    /// Writes what was collected, and syncs it, so that the file never has much to be synced at once.
    fn write(&mut self) -> Result<(), OpenError> {
        self.file.write_at(&self.buffer, self.offset).map_err(OpenError::io("writing", &self.path))?;
        self.file.sync_data().map_err(OpenError::io("syncing", &self.path))?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes the file and its name durable.
    pub(super) fn finish(&mut self, storage: &dyn Storage) -> Result<MadeEnd, OpenError> {
        if !self.buffer.is_empty() {
            self.file.write_at(&self.buffer, self.offset).map_err(OpenError::io("writing", &self.path))?;
            self.offset += self.buffer.len() as u64;
            self.buffer.clear();
        }
        self.file.sync_all().map_err(OpenError::io("syncing", &self.path))?;
        storage.sync_directory().map_err(OpenError::io("syncing the directory of", &self.path))?;
        Ok(MadeEnd { end: self.offset, sum: self.sum })
    }
}

/// As the cause of an append that was not done.
pub(super) fn cause(error: OpenError) -> AppendCause {
    match error {
        OpenError::Io { source, .. } => source.into(),
        other => AppendCause::Io(std::io::Error::other(other)),
    }
}
