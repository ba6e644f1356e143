//! Reads what a directory holds without opening it: nothing is cut off, copied or reserved, and the next opening finds it
//! as it was. What it takes of the directory is the lock, so that nobody writes meanwhile.

use super::super::error::{OpenError, ReplayRefused};
use super::super::keeper::BaselinePiece;
use super::super::manifest::{Backend, MANIFEST_FILE, Manifest};
use super::super::opening::OpenOptions;
use super::super::storage::{Directory, Storage};
use super::baseline;
use super::frame::{FrameContent, Kind};
use super::header::{FileKind, Origin};
use super::recover::lock;
use super::scan::{Expected, Place, Shape, scan};
use headwater_core::id::Id;
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
        /// Whether a writer wrote it, in its canonical form.
        is_canonical: bool,
    },
    /// How far a replica is, once everything before is applied.
    Progress(&'a [u8]),
}

/// What is known of a directory beside what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The deployment of a writer's log; a replica's is in its progress.
    pub cluster: Option<Id>,
    /// The highest epoch ever given out; 0 in a replica's.
    pub epoch: u64,
    /// Bytes of a torn write at the end, which do not count.
    pub torn_bytes: u64,
}

/// Shows what the log of a writer or replica in `directory` holds to `visit`.
///
/// # Errors
/// See [`OpenError`]; [`OpenError::InUse`] while a node has it.
pub fn read(
    directory: &Path,
    visit: &mut dyn FnMut(Found<'_>) -> Result<(), ReplayRefused>,
) -> Result<Contents, OpenError> {
    let storage = Directory::new(directory);
    let path = storage.path(MANIFEST_FILE);
    let _lock = lock(&storage, &OpenOptions { node: "a reader".into(), ..OpenOptions::default() })?;
    let (manifest, shape) = match Manifest::read(&storage, Backend::File) {
        Err(OpenError::Mismatch { .. }) => (Manifest::read(&storage, Backend::Replica)?, Shape::Replica),
        manifest => (manifest?, Shape::Writer),
    };
    let missing = || OpenError::damaged(&path, 0, "there is no manifest that names the files of a log");
    let manifest = manifest.ok_or_else(missing)?;
    let files = manifest.files.as_ref().ok_or_else(missing)?;
    if let Some(place) = &files.baseline {
        baseline::read(&storage, place, &mut |piece| visit(Found::Baseline(piece)))?;
    }
    let (covered, from_segment) = files.baseline.as_ref().map_or((0, 0), |place| (place.seq, place.from_segment));
    let places = files.sealed.iter().map(|&sealed| Place::Sealed(sealed)).chain([Place::Active(files.active)]);
    let (mut follows, mut torn_bytes) = (None, 0);
    for place in places {
        let number = place.number();
        let name = FileKind::Segment.name(number);
        let path = storage.path(&name);
        let missing = || OpenError::damaged(&path, 0, "the manifest names this segment, and it is missing");
        let file = storage.open(&name).map_err(OpenError::io("opening", &path))?.ok_or_else(missing)?;
        let mut visit = |frame: &FrameContent<'_>, origin: Origin| {
            if number < from_segment || frame.kind.is_record() && frame.seq <= covered {
                return Ok(());
            }
            match frame.kind {
                Kind::Line | Kind::Epoch => {
                    visit(Found::Line { line: frame.text, is_canonical: origin == Origin::Writer })
                }
                // How far the replica was whose log a writer's once was: its lines tell as much.
                Kind::Progress if shape == Shape::Writer => Ok(()),
                Kind::Progress => visit(Found::Progress(frame.text)),
                Kind::Baseline | Kind::Beside => Err("a frame that has no place in a segment".into()),
            }
        };
        let expected = Expected { path: &path, shape, place, opening: manifest.opening, follows };
        let found = scan(&*file, &expected, &mut visit)?;
        if follows.is_none() && found.before > covered {
            let detail = format!("it begins behind record {}, and nothing before is kept", found.before);
            return Err(OpenError::damaged(&path, 0, detail));
        }
        (follows, torn_bytes) = (Some(found.follows()), found.torn_bytes);
    }
    if follows.is_some_and(|follows| follows.last < covered) {
        return Err(OpenError::damaged(&path, 0, "the log ends before its baseline"));
    }
    Ok(Contents { cluster: manifest.cluster, epoch: manifest.epoch, torn_bytes })
}
