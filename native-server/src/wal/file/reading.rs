//! Reads what a directory holds without opening it: nothing is cut off, copied or reserved, and the next opening finds it
//! as it was. What it takes of the directory is the lock, so that nobody writes meanwhile; it writes nothing at all, so the
//! disk may be one that is mounted to be read only.

use super::super::error::{OpenError, ReplayRefused};
use super::super::keeper::BaselinePiece;
use super::super::manifest::{Backend, MANIFEST_FILE, Manifest, add_epochs};
use super::super::storage::{Directory, Storage};
use super::baseline;
use super::frame::{FrameContent, Kind};
use super::header::Origin;
use super::recover::lock_as_it_is;
use super::scan::{Place, Shape};
use super::scanned::Scanned;
use headwater_core::id::Id;
use headwater_core::position::{EpochStart, EpochTable};
use std::path::Path;

/// One piece of what a directory holds, in the order in which it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A piece of the stored baseline.
    Baseline(BaselinePiece<'a>),
    /// A command behind it.
    Line {
        /// The line, its newline included.
        line: &'a [u8],
        /// Its place in the log.
        seq: u64,
        /// The epoch that it opens, when it is an EPOCH command and a writer wrote it.
        epoch: Option<u64>,
        /// Whether a writer wrote it, in its canonical form.
        is_canonical: bool,
    },
    /// How far a replica is, once everything before is applied.
    Progress(&'a [u8]),
}

/// What is known of a directory beside what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The deployment of a writer's log; a replica's is in its progress.
    pub cluster: Option<Id>,
    /// The highest epoch ever given out; 0 in a replica's.
    pub epoch: u64,
    /// The last takeover that a writer's manifest knows; 0 in a replica's.
    pub takeover: u64,
    /// The openings of a writer's log that its manifest knows; there may be a newer one among the lines.
    pub epochs: EpochTable,
    /// Bytes of a torn write at the end, which do not count.
    pub torn_bytes: u64,
}

/// From where to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The stored baseline, and what lies behind it.
    Baseline,
    /// The oldest record that is still there, the stored baseline left out.
    Oldest,
}

/// What records a writer's log still has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The deployment.
    pub cluster: Option<Id>,
    /// The seq before the first record, and that of the last; `None` where there are none.
    pub records: Option<(u64, u64)>,
    /// The openings up to there.
    pub epochs: EpochTable,
    /// As [`Contents::takeover`].
    pub takeover: u64,
}

/// Looks what records the writer's log in `directory` has.
///
/// # Errors
/// As [`read`]; [`OpenError::Damaged`] when the epochs contradict each other.
pub fn history(directory: &Path) -> Result<History, OpenError> {
    let (mut records, mut starts) = (None, Vec::new());
    let contents = read(directory, From::Oldest, &mut |found| {
        if let Found::Line { seq, epoch, .. } = found {
            records = Some((records.map_or(seq - 1, |(after, _)| after), seq));
            starts.extend(epoch.map(|epoch| EpochStart { epoch, first: seq }));
        }
        Ok(())
    })?;
    let mut epochs = contents.epochs;
    let contradiction = |detail| OpenError::damaged(&directory.join(MANIFEST_FILE), 0, detail);
    add_epochs(&mut epochs, starts).map_err(contradiction)?;
    Ok(History { cluster: contents.cluster, records, epochs, takeover: contents.takeover })
}

/// Shows what the log of a writer or replica in `directory` holds to `visit`.
///
/// # Errors
/// See [`OpenError`]; [`OpenError::InUse`] while a node has it.
pub fn read(
    directory: &Path,
    from: From,
    visit: &mut dyn FnMut(Found<'_>) -> Result<(), ReplayRefused>,
) -> Result<Contents, OpenError> {
    let storage = Directory::read_only(directory);
    let path = storage.path(MANIFEST_FILE);
    let _lock = lock_as_it_is(&storage, "a reader")?;
    let (manifest, shape) = match Manifest::read(&storage, Backend::File) {
        Err(OpenError::Mismatch { .. }) => (Manifest::read(&storage, Backend::Replica)?, Shape::Replica),
        manifest => (manifest?, Shape::Writer),
    };
    let missing = || OpenError::damaged(&path, 0, "there is no manifest that names the files of a log");
    let manifest = manifest.ok_or_else(missing)?;
    let files = manifest.files.as_ref().ok_or_else(missing)?;
    let stored = files.baseline.as_ref().filter(|_| from == From::Baseline);
    if let Some(place) = stored {
        baseline::read(&storage, place, &mut |piece| visit(Found::Baseline(piece)))?;
    }
    let (covered, from_segment) = stored.map_or((0, 0), |place| (place.seq, place.from_segment));
    let places = files.sealed.iter().map(|&sealed| Place::Sealed(sealed)).chain([Place::Active(files.active)]);
    let (mut follows, mut torn_bytes) = (None, 0);
    for place in places {
        let number = place.number();
        let mut visit = |frame: &FrameContent<'_>, origin: Origin| {
            if number < from_segment || frame.kind.is_record() && frame.seq <= covered {
                return Ok(());
            }
            match frame.kind {
                Kind::Line | Kind::Epoch => {
                    let is_canonical = origin == Origin::Writer;
                    visit(Found::Line { line: frame.text, seq: frame.seq, epoch: frame.epoch, is_canonical })
                }
                // How far the replica was whose log a writer's once was: its lines tell as much.
                Kind::Progress if shape == Shape::Writer => Ok(()),
                Kind::Progress => visit(Found::Progress(frame.text)),
                Kind::Baseline | Kind::Beside => Err("a frame that has no place in a segment".into()),
            }
        };
        let segment = Scanned::new(&storage, shape, place, manifest.opening, follows, &mut visit)?;
        if from == From::Baseline && follows.is_none() {
            segment.begins_within(covered)?;
        }
        if matches!(place, Place::Active(_)) {
            segment.reaches(shape, covered)?;
        }
        (follows, torn_bytes) = (Some(segment.found.follows()), segment.found.torn_bytes);
    }
    let Manifest { cluster, epoch, takeover, epochs, .. } = manifest;
    Ok(Contents { cluster, epoch, takeover, epochs, torn_bytes })
}

#[cfg(test)]
mod tests {
    use super::super::super::conformance::{TestDirectory, open_and_write};
    use super::super::super::storage::LOCK_FILE;
    use super::super::{FileOptions, FileWal};
    use super::*;
    use std::fs;

    #[test]
    fn nothing_is_written_by_reading() {
        let directory = TestDirectory::new();
        let (log, missing) = (directory.path().join("log"), directory.path().join("missing"));
        let opened = open_and_write(&mut FileWal::new(&log, FileOptions::default()), 1000, 5);
        assert!(matches!(history(&log), Err(OpenError::InUse { .. })));
        drop(opened);
        fs::remove_file(log.join(LOCK_FILE)).unwrap();
        let times = || fs::metadata(&log).and_then(|facts| facts.modified()).unwrap();
        let before = times();
        assert_eq!(history(&log).unwrap().records, Some((0, 5)));
        assert!(matches!(history(&missing), Err(OpenError::Io { .. })));
        assert!(times() == before && !missing.exists());
    }
}
