//! The spare copy of a segment's end, while that end is written over itself.
//!
//! What an opening finds behind the last byte known to be synced may be in the page cache only, though it can be read: a
//! sync of it may have failed before the process was killed, and after a failure the pages count as clean. Only writing it
//! again makes the next sync mean something. But it may as well be acknowledged and on the medium, and where a write is
//! under way when power is lost, anything may be found. So it is put down apart first, and an opening that finds it there
//! takes it for the truth.
//!
//! ```text
//!  0  ff "HWEND" 0d 0a
//!  8  u64  salt of the segment
//! 16  u64  place in the segment
//! 24  u64  length
//! 32  u64  checksum: XXH3-64 of 0..32, then of each MiB of the bytes, seeded with the one before
//! 40  the bytes
//! ```

use super::super::error::OpenError;
use super::super::replace::replace;
use super::super::storage::{Storage, StoredFile};
use super::frame::{SEGMENT_HEADER_BYTES, decode_segment_header};
use std::io;
use std::ops::Range;
use std::path::Path;
use twox_hash::XxHash3_64;

/// Name of the file.
pub(super) const SPARE_FILE: &str = "SPARE";

const MAGIC: &[u8; 8] = b"\xffHWEND\r\n";
const HEADER_BYTES: usize = 40;
const CHUNK_BYTES: u64 = 1024 * 1024;

/// Makes `range` of a segment durable, whatever became of earlier syncs of it, without risk to what is durable already.
pub(super) fn write_again(
    storage: &dyn Storage,
    file: &dyn StoredFile,
    path: &Path,
    salt: u64,
    range: Range<u64>,
) -> Result<(), OpenError> {
    let sum = checksum(file, range.start, range.end - range.start, &place(salt, &range));
    let sum = sum.map_err(OpenError::io("reading", path))?;
    let header = [&place(salt, &range)[..], &sum.to_le_bytes()].concat();
    replace(storage, SPARE_FILE, |spare| {
        spare.write_at(&header, 0)?;
        copy(file, range.start, spare, HEADER_BYTES as u64, range.end - range.start)
    })?;
    copy(file, range.start, file, range.start, range.end - range.start).map_err(OpenError::io("rewriting", path))
}

/// Puts a spare end that an opening left behind back into its place, durably. Returns where it ends; `None` when there is
/// none, or none that is needed: of another segment, or known to be `synced`.
pub(super) fn put_back(
    storage: &dyn Storage,
    file: &dyn StoredFile,
    path: &Path,
    synced: u64,
) -> Result<Option<u64>, OpenError> {
    let place = storage.path(SPARE_FILE);
    let Some(spare) = storage.open(SPARE_FILE).map_err(OpenError::io("opening", &place))? else { return Ok(None) };
    let Some(range) = whole_range(file, &*spare).map_err(OpenError::io("reading", &place))? else { return Ok(None) };
    if range.end <= synced {
        return Ok(None);
    }
    // Its name may not be durable yet, if the opening that made it failed just then.
    storage.sync_directory().map_err(OpenError::io("syncing the directory of", &place))?;
    copy(&*spare, HEADER_BYTES as u64, file, range.start, range.end - range.start)
        .map_err(OpenError::io("rewriting", path))?;
    file.sync_all().map_err(OpenError::io("syncing", path))?;
    Ok(Some(range.end))
}

/// Removes the spare end, if there is one: the segment itself is durable.
pub(super) fn remove(storage: &dyn Storage) -> Result<(), OpenError> {
    let place = storage.path(SPARE_FILE);
    match storage.open(SPARE_FILE).map_err(OpenError::io("opening", &place))? {
        None => Ok(()),
        Some(_) => storage.remove(SPARE_FILE).map_err(OpenError::io("removing", &place)),
    }
}

/// Where in the segment `file` the spare end belongs, if it is one of this segment and undamaged.
fn whole_range(file: &dyn StoredFile, spare: &dyn StoredFile) -> io::Result<Option<Range<u64>>> {
    let mut segment = [0; SEGMENT_HEADER_BYTES];
    let mut header = [0; HEADER_BYTES];
    file.read_at(&mut segment, 0)?;
    if spare.read_at(&mut header, 0)? < HEADER_BYTES {
        return Ok(None);
    }
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| header[at + byte]));
    let (salt, start, length, sum) = (number(8), number(16), number(24), number(32));
    let range = start..start.saturating_add(length);
    let is_of_segment = decode_segment_header(&segment).is_some_and(|segment| segment.salt == salt);
    let is_whole =
        header[..32] == place(salt, &range) && spare.length()?.checked_sub(HEADER_BYTES as u64) == Some(length);
    if !is_of_segment || !is_whole || checksum(spare, HEADER_BYTES as u64, length, &header[..32])? != sum {
        return Ok(None);
    }
    Ok(Some(range))
}

fn place(salt: u64, range: &Range<u64>) -> [u8; 32] {
    let mut header = [0; 32];
    header[..8].copy_from_slice(MAGIC);
    header[8..16].copy_from_slice(&salt.to_le_bytes());
    header[16..24].copy_from_slice(&range.start.to_le_bytes());
    header[24..].copy_from_slice(&(range.end - range.start).to_le_bytes());
    header
}

fn checksum(file: &dyn StoredFile, from: u64, length: u64, place: &[u8]) -> io::Result<u64> {
    let mut sum = XxHash3_64::oneshot(place);
    each_chunk(file, from, length, |bytes, _| {
        sum = XxHash3_64::oneshot_with_seed(sum, bytes);
        Ok(())
    })?;
    Ok(sum)
}

fn copy(from: &dyn StoredFile, from_at: u64, to: &dyn StoredFile, to_at: u64, length: u64) -> io::Result<()> {
    each_chunk(from, from_at, length, |bytes, at| to.write_at(bytes, to_at + at))
}

fn each_chunk(
    file: &dyn StoredFile,
    from: u64,
    length: u64,
    mut take: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut at = 0;
    while at < length {
        let mut bytes = vec![0; usize::try_from((length - at).min(CHUNK_BYTES)).expect("1 MiB fits a usize")];
        if file.read_at(&mut bytes, from + at)? < bytes.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        take(&bytes, at)?;
        at += bytes.len() as u64;
    }
    Ok(())
}
