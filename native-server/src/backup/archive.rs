//! The archive: records that a log has sealed, kept beside it so that a backup can be brought forward to any of them.
//!
//! A piece is `FIRST-LAST.EPOCH.ndjson.zst`, the lines of the records numbered so, EPOCH being that of the last, and a note
//! of the same name with `.json`, which tells the history they belong to, length and SHA-256. It lies in a directory
//! named like its cluster. The note is written last: a piece without one does not count. Pieces are never changed; after
//! a restore the archive holds pieces of more than one history, which their epochs tell apart.

use super::error::BackupError;
use super::hashing::Hashing;
use super::write::{LEVEL, new_file, sync_directory};
use crate::wal::storage::make_directory;
use headwater_core::command::{Deframer, lines};
use headwater_core::id::Id;
use headwater_core::position::{EpochStart, EpochTable, Position};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zstd::stream::{read::Decoder, write::Encoder};

/// The form this program writes, and the only one it reads.
const FORMAT: u32 = 1;
const READ_BYTES: usize = 1 << 20;
const NOTE_END: &str = ".json";
const PIECE_END: &str = ".ndjson.zst";
/// What a name ends with until all of the file is durable.
const PART_END: &str = ".part";

/// What the note of a piece says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Note {
    format: u32,
    cluster: String,
    after: String,
    through: String,
    epochs: Vec<(u64, u64)>,
    bytes: u64,
    sha256: String,
    plain_bytes: u64,
}

/// A piece, by its note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where its lines are.
    pub path: PathBuf,
    /// The position before its first record.
    pub after: Position,
    /// The position of its last record.
    pub through: Position,
    /// The history up to there.
    pub epochs: EpochTable,
    bytes: u64,
    sha256: String,
    plain_bytes: u64,
}

/// The pieces of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    directory: PathBuf,
    cluster: Id,
}

impl Archive {
    /// Names the part of the archive in `directory` that is of `cluster`.
    pub fn new(directory: &Path, cluster: Id) -> Self {
        Self { directory: directory.join(cluster.to_string()), cluster }
    }

    /// Whether there is a part of that cluster.
    pub fn exists(&self) -> bool {
        self.directory.is_dir()
    }

    /// All pieces, in the order of their names, and why there are no more where a note is not what one is. What is not
    /// whole yet is left out.
    ///
    /// # Errors
    /// [`BackupError::Io`] when the directory cannot be read.
    pub fn pieces(&self) -> Result<(Vec<Piece>, Option<BackupError>), BackupError> {
        let (mut pieces, mut wrong) = (Vec::new(), None);
        for stem in self.stems()? {
            match self.piece(&stem) {
                Ok(piece) => pieces.push(piece),
                Err(error) => wrong = Some(error),
            }
        }
        Ok((pieces, wrong))
    }

    /// Which records of the history `epochs` are there: the seq before the first and that of the last of each piece, in
    /// order. A piece whose note cannot be read is none here.
    ///
    /// # Errors
    /// [`BackupError::Io`] when the directory cannot be read.
    pub fn reach(&self, epochs: &EpochTable) -> Result<Vec<(u64, u64)>, BackupError> {
        let (pieces, _) = self.pieces()?;
        let ranges =
            pieces.into_iter().map(|piece| (piece.after.seq, piece.through.seq.min(common(&piece.epochs, epochs))));
        let mut ranges: Vec<_> = ranges.filter(|(after, through)| after < through).collect();
        ranges.sort_unstable();
        Ok(ranges)
    }

    /// The names of all notes, without their end. What is not named like one is somebody else's.
    fn stems(&self) -> Result<Vec<String>, BackupError> {
        let reading = || BackupError::io("reading", &self.directory);
        let names = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names.map_err(reading())?,
        };
        let mut notes = Vec::new();
        for name in names {
            let name = name.map_err(reading())?.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(NOTE_END)).filter(|stem| is_stem(stem));
            notes.extend(stem.map(String::from));
        }
        notes.sort_unstable();
        Ok(notes)
    }

    fn piece(&self, stem: &str) -> Result<Piece, BackupError> {
        let path = self.directory.join(format!("{stem}{NOTE_END}"));
        let text = fs::read(&path).map_err(BackupError::io("reading", &path))?;
        let damaged = || BackupError::damaged(&path, "it is no note of an archived piece of this cluster");
        let note: Note = serde_json::from_slice(&text).map_err(|_| damaged())?;
        let starts = note.epochs.iter().map(|&(epoch, first)| EpochStart { epoch, first }).collect();
        let epochs = EpochTable::new(starts).ok_or_else(damaged)?;
        let positions = note.after.parse().ok().zip(note.through.parse().ok());
        let (after, through): (Position, Position) = positions.ok_or_else(damaged)?;
        let is_of_cluster = note.cluster == self.cluster.to_string() && note.format == FORMAT;
        if !is_of_cluster
            || stem != self::stem(after, through)
            || after.seq >= through.seq
            || epochs.epoch_of(through.seq) != Some(through.epoch)
        {
            return Err(damaged());
        }
        let path = self.directory.join(format!("{stem}{PIECE_END}"));
        let Note { bytes, sha256, plain_bytes, .. } = note;
        Ok(Piece { path, after, through, epochs, bytes, sha256, plain_bytes })
    }

    /// Makes the directory if it is missing, and sees that files can be made in it.
    ///
    /// # Errors
    /// [`BackupError::Io`].
    pub fn try_out(&self) -> Result<(), BackupError> {
        self.make_directory()?;
        let tried = self.directory.join(format!("tried{PART_END}"));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&tried);
        file.map_err(BackupError::io("making", &tried))?;
        fs::remove_file(&tried).map_err(BackupError::io("removing", &tried))
    }

    fn make_directory(&self) -> Result<(), BackupError> {
        // Its name must last as well: the log lets go of what is here.
        make_directory(&self.directory).map_err(BackupError::io("making", &self.directory))
    }

    /// Archives the records behind seq `after` up to `through` of the history `epochs`, unless they are there. `read` gives
    /// whole lines from a seq on, and the seq of the last of them. Returns whether anything was written.
    ///
    /// # Errors
    /// See [`BackupError`]; the archive is as it was.
    pub fn add(
        &self,
        (after, through): (u64, u64),
        epochs: &EpochTable,
        read: &mut dyn FnMut(u64) -> Result<(bytes::Bytes, u64), BackupError>,
    ) -> Result<bool, BackupError> {
        let unknown = || BackupError::State(format!("no epoch is known for the records up to {through}"));
        let starts = epochs.starts().iter().filter(|start| start.first <= through).copied().collect();
        let epochs = EpochTable::new(starts).ok_or_else(unknown)?;
        let epoch = epochs.epoch_of(through).ok_or_else(unknown)?;
        let after_epoch = if after == 0 { 0 } else { epochs.epoch_of(after).unwrap_or(0) };
        let (after, through) = (Position { epoch: after_epoch, seq: after }, Position { epoch, seq: through });
        let stem = stem(after, through);
        let note_path = self.directory.join(format!("{stem}{NOTE_END}"));
        // A note whose piece is gone, or another one, is worth nothing.
        let is_there = |piece: Piece| piece.path.metadata().is_ok_and(|facts| facts.len() == piece.bytes);
        if note_path.exists() && self.piece(&stem).is_ok_and(is_there) {
            return Ok(false);
        }
        self.make_directory()?;
        let path = self.directory.join(format!("{stem}{PIECE_END}"));
        let (bytes, sha256, plain_bytes) = place(&path, |file| {
            let writing = || BackupError::io("writing", &path);
            let mut encoder = Encoder::new(Hashing::new(file), LEVEL).map_err(writing())?;
            encoder.include_checksum(true).map_err(writing())?;
            let (mut seq, mut plain_bytes) = (after.seq, 0);
            while seq < through.seq {
                let (text, last) = read(seq + 1)?;
                // What lies behind the segment goes with the next one.
                let ends = lines(&text).map(|(end, _)| end);
                let count = usize::try_from(last - seq).unwrap_or(usize::MAX);
                let wanted = usize::try_from(through.seq - seq).unwrap_or(usize::MAX).min(count);
                let found: Vec<usize> = ends.take(wanted).collect();
                if wanted == 0 || found.len() < wanted {
                    return Err(BackupError::State(format!("the log does not give its records behind {seq}")));
                }
                let text = &text[..nth_line_end(&text, wanted)];
                encoder.write_all(text).map_err(writing())?;
                plain_bytes += text.len() as u64;
                seq += wanted as u64;
            }
            let (file, bytes, sha256) = encoder.finish().map_err(writing())?.finish();
            file.sync_all().map_err(writing())?;
            Ok((bytes, sha256, plain_bytes))
        })?;
        sync_directory(&self.directory)?;
        let note = Note {
            format: FORMAT,
            cluster: self.cluster.to_string(),
            after: after.to_string(),
            through: through.to_string(),
            epochs: epochs.starts().iter().map(|start| (start.epoch, start.first)).collect(),
            bytes,
            sha256,
            plain_bytes,
        };
        let mut text = serde_json::to_vec(&note).expect("numbers and strings serialise");
        text.push(b'\n');
        place(&note_path, |mut file| {
            file.write_all(&text).and_then(|()| file.sync_all()).map_err(BackupError::io("writing", &note_path))
        })?;
        sync_directory(&self.directory)?;
        Ok(true)
    }
}

/// The seq up to which two histories are one; 0 where that cannot be told.
pub(super) fn common(one: &EpochTable, other: &EpochTable) -> u64 {
    let (Some(a), Some(b)) = (one.starts().first(), other.starts().first()) else { return 0 };
    // The tables may have forgotten their oldest openings.
    let known = a.first.max(b.first);
    if one.epoch_of(known) != other.epoch_of(known) {
        return 0;
    }
    let alone = |one: &EpochTable, other: &EpochTable| {
        let at = |first: u64| other.starts().binary_search_by_key(&first, |start| start.first).ok();
        let is_shared = |start: &EpochStart| at(start.first).is_some_and(|at| other.starts()[at] == *start);
        let first = one.starts().iter().find(|start| start.first > known && !is_shared(start));
        first.map(|start| start.first - 1)
    };
    let ends = alone(one, other).into_iter().chain(alone(other, one));
    ends.min().unwrap_or(u64::MAX)
}

/// Whether a name could be one of [`stem`].
fn is_stem(name: &str) -> bool {
    let parts = name.split_once('-').and_then(|(first, rest)| Some((first, rest.split_once('.')?)));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    parts.is_some_and(|(first, (last, epoch))| [first, last, epoch].into_iter().all(is_number))
}

/// The name of a piece without its end.
fn stem(after: Position, through: Position) -> String {
    format!("{:016}-{:016}.{}", after.seq + 1, through.seq, through.epoch)
}

/// The length of the first `count` lines.
fn nth_line_end(text: &[u8], count: usize) -> usize {
    let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    ends.map(|(at, _)| at + 1).nth(count - 1).unwrap_or(text.len())
}

/// Has a file made under another name, and gives it its own once it is durable.
fn place<T>(path: &Path, write: impl FnOnce(File) -> Result<T, BackupError>) -> Result<T, BackupError> {
    let mut part = path.as_os_str().to_owned();
    part.push(PART_END);
    let part = PathBuf::from(part);
    // Of an earlier attempt that was cut short.
    match fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(BackupError::io("removing", &part)(error));
        }
        _ => {}
    }
    let written = write(new_file(&part)?).and_then(|written| {
        fs::rename(&part, path).map_err(BackupError::io("making", path))?;
        Ok(written)
    });
    if written.is_err() {
        // It is under a name that nothing reads.
        drop(fs::remove_file(&part));
    }
    written
}

impl Piece {
    /// Shows every line to `visit`, without its newline, and makes sure that they are what was archived. `visit` says
    /// whether it wants more.
    ///
    /// # Errors
    /// See [`BackupError`]; what was shown is to be thrown away then.
    pub fn walk(&self, visit: &mut dyn FnMut(&[u8]) -> Result<bool, BackupError>) -> Result<(), BackupError> {
        let path = &self.path;
        let wrong = |detail: String| BackupError::damaged(path, detail);
        let file = File::open(path).map_err(BackupError::io("opening", path))?;
        let length = file.metadata().map_err(BackupError::io("reading", path))?.len();
        if length != self.bytes {
            return Err(wrong(format!("{length} bytes long, and its note says {}", self.bytes)));
        }
        let mut hashing = Hashing::new(file);
        let outcome = (|| {
            let unpacked = |error: std::io::Error| wrong(format!("it cannot be unpacked: {error}"));
            let mut decoder = Decoder::new(&mut hashing).map_err(unpacked)?;
            let (mut buffer, mut deframer) = (vec![0; READ_BYTES], Deframer::new());
            let (mut wants_more, mut plain_bytes) = (true, 0);
            loop {
                let read = decoder.read(&mut buffer).map_err(unpacked)?;
                if read == 0 {
                    break;
                }
                plain_bytes += read as u64;
                let block = deframer.push(&buffer[..read]).map_err(|error| wrong(error.to_string()))?;
                for (_, line) in block.iter().flat_map(|block| lines(block)) {
                    wants_more = wants_more && visit(line)?;
                }
            }
            if deframer.unfinished() > 0 || plain_bytes != self.plain_bytes {
                return Err(wrong(format!("{plain_bytes} bytes of lines, and its note says {}", self.plain_bytes)));
            }
            Ok(())
        })();
        // The sum says most plainly what is wrong, so it is looked at first, whatever else is.
        std::io::copy(&mut hashing, &mut std::io::sink()).map_err(BackupError::io("reading", path))?;
        let (_, _, sum) = hashing.finish();
        if sum != self.sha256 {
            return Err(wrong("it does not match its SHA-256".into()));
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(starts: &[(u64, u64)]) -> EpochTable {
        EpochTable::new(starts.iter().map(|&(epoch, first)| EpochStart { epoch, first }).collect()).unwrap()
    }

    #[test]
    fn two_histories_are_one_up_to_the_first_opening_that_is_not_of_both() {
        for (one, other, expected) in [
            (&[(10, 1)][..], &[(10, 1)][..], u64::MAX),
            (&[(10, 1)], &[(10, 1), (20, 51)], 50),
            (&[(10, 1), (15, 60)], &[(10, 1), (20, 51)], 50),
            (&[(10, 1), (15, 51)], &[(10, 1), (20, 51)], 50),
            (&[(10, 1)], &[(11, 1)], 0),
            (&[], &[(11, 1)], 0),
            // One has forgotten its oldest openings.
            (&[(10, 5), (20, 51)], &[(1, 1), (10, 5), (20, 51)], u64::MAX),
            (&[(10, 5), (20, 51)], &[(1, 1), (9, 5), (20, 51)], 0),
        ] {
            let (one, other) = (table(one), table(other));
            assert_eq!((common(&one, &other), common(&other, &one)), (expected, expected), "{one:?} {other:?}");
        }
    }
}
