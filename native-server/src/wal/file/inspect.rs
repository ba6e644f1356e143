//! Looking into a log without opening it: nothing is changed and nothing is locked, so a node may have the directory in
//! use meanwhile. What such a node appends or lets go of while it is read may be seen or not; whoever finds something
//! wrong then reads again before believing it.
//!
//! [`Inspection::read`] reads as an opening would, file by file; [`Inspection::survey`] goes on behind damage and tells
//! what is still there.

use super::super::Record;
use super::super::error::{OpenError, ReplayRefused};
use super::super::keeper::BaselinePiece;
use super::super::manifest::{Backend, BaselinePlace, MANIFEST_FILE, Manifest, SealedPlace};
use super::super::storage::{Directory, Storage};
use super::baseline;
use super::frame::{FrameContent, Kind};
use super::header::{FILE_HEADER_BYTES, FileHeader, FileKind, Origin};
use super::recover::was_appended_to;
use super::scan::{Follows, Place, Shape};
use super::scanned::Scanned;
pub use super::survey::Survey;
use super::survey::{Extent, survey};
use super::walk::{Step, Walk, Window};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What a segment holds, one frame at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inspected<'a> {
    /// A record.
    Record(Record<'a>),
    /// How far a replica was.
    Progress {
        /// Seq of its position.
        seq: u64,
        /// The rest, as its replica wrote it.
        text: &'a [u8],
    },
}

/// What takes the frames that are read. What it returns an error for ends the reading of the file.
pub type Inspect<'a> = dyn FnMut(Inspected<'_>) -> Result<(), ReplayRefused> + 'a;

/// A segment as the manifest names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentPlace {
    /// Its number, which gives its name.
    pub number: u32,
    /// When it was sealed and the seq of the newest record by then; `None` for the segment in use.
    pub sealed: Option<SealedPlace>,
}

/// A log that is looked at.
#[derive(Debug)]
pub struct Inspection {
    storage: Arc<dyn Storage>,
    manifest: Manifest,
}

impl Inspection {
    /// Reads the manifest of the log in `directory`; `None` when there is none.
    ///
    /// # Errors
    /// [`OpenError::Damaged`], [`OpenError::Mismatch`] for another format, [`OpenError::Io`].
    pub fn of(directory: &Path) -> Result<Option<Self>, OpenError> {
        Self::on(Arc::new(Directory::read_only(directory)))
    }

    /// [`Inspection::of`] on a medium of the caller's.
    ///
    /// # Errors
    /// The same.
    pub fn on(storage: Arc<dyn Storage>) -> Result<Option<Self>, OpenError> {
        let manifest = Manifest::read_any(&*storage)?;
        Ok(manifest.map(|manifest| Self { storage, manifest }))
    }

    /// The same files as a writer would read them, whoever they belong to.
    #[must_use]
    pub fn as_writer(mut self) -> Self {
        self.manifest.backend = Backend::File;
        self
    }

    /// What the directory holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether the manifest has been replaced since it was read: a node uses the directory.
    pub fn is_outdated(&self) -> bool {
        Manifest::read_any(&*self.storage).map_or(true, |now| now.as_ref() != Some(&self.manifest))
    }

    /// The stored baseline.
    pub fn baseline(&self) -> Option<&BaselinePlace> {
        self.manifest.files.as_ref().and_then(|files| files.baseline.as_ref())
    }

    /// The segments, oldest first. None in the directory of a memory log.
    pub fn segments(&self) -> Vec<SegmentPlace> {
        let Some(files) = &self.manifest.files else { return Vec::new() };
        let sealed = files.sealed.iter().map(|&place| SegmentPlace { number: place.number, sealed: Some(place) });
        sealed.chain([SegmentPlace { number: files.active.number, sealed: None }]).collect()
    }

    /// Bytes of all files, as far as they are there.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub fn bytes(&self) -> Result<u64, OpenError> {
        let segments = self.segments().into_iter().map(|place| FileKind::Segment.name(place.number));
        let baseline = self.baseline().map(|place| FileKind::Baseline.name(place.number));
        segments.chain(baseline).map(|name| length(&*self.storage, &name)).sum()
    }

    /// Reads the stored baseline, if there is one.
    ///
    /// # Errors
    /// Those of an opening.
    pub fn read_baseline(
        &self,
        visit: &mut dyn FnMut(BaselinePiece<'_>) -> Result<(), ReplayRefused>,
    ) -> Result<(), OpenError> {
        self.baseline().map_or(Ok(()), |place| baseline::read(&*self.storage, place, visit))
    }

    /// Begins to read the segments.
    pub fn read(&self) -> Reading<'_> {
        Reading { inspection: self, follows: None, next: 0 }
    }

    /// What is in the segment, damaged or not.
    ///
    /// # Errors
    /// [`OpenError::Damaged`] where nothing can be told because the header is, [`OpenError::Io`].
    pub fn survey(&self, place: SegmentPlace, visit: &mut Inspect<'_>) -> Result<Survey, OpenError> {
        let end = place.sealed.map(|sealed| sealed.end);
        let extent = Extent { shape: shape(self.manifest.backend), end };
        survey(&*self.storage, place.number, extent, &mut inspected(visit))
    }

    /// Where the first frame with this seq begins in the segment; 0 where none is found.
    pub fn offset_of(&self, place: SegmentPlace, seq: u64) -> u64 {
        // It only says where to look: nothing depends on it.
        frame_at(&*self.storage, place.number, seq).ok().flatten().unwrap_or(0)
    }

    /// Segments that the manifest does not name though records were appended to them: it is older than they are.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub fn unknown_segments(&self) -> Result<Vec<String>, OpenError> {
        let newest = self.manifest.files.as_ref().map_or(0, |files| files.active.number);
        unknown_segments(&*self.storage, newest)
    }

    fn shape(&self) -> Shape {
        shape(self.manifest.backend)
    }
}

/// Reads the segments one after another, each as the one before it demands.
pub struct Reading<'i> {
    inspection: &'i Inspection,
    follows: Option<Follows>,
    next: usize,
}

/// What one segment was found to be.
#[derive(Debug)]
pub struct Read {
    /// The segment.
    pub place: SegmentPlace,
    /// Its name.
    pub name: String,
    /// What is wrong with it, as an opening would say, or how much of an unfinished write lies behind its end.
    pub outcome: Result<Torn, OpenError>,
}

/// What an opening would cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Where the last frame that counts ends.
    pub end: u64,
    /// Bytes behind it that are no room.
    pub bytes: u64,
}

impl Reading<'_> {
    /// Reads the next segment; `None` behind the last.
    pub fn next(&mut self, visit: &mut Inspect<'_>) -> Option<Read> {
        let inspection = self.inspection;
        let files = inspection.manifest.files.as_ref()?;
        let place = *inspection.segments().get(self.next)?;
        self.next += 1;
        let name = FileKind::Segment.name(place.number);
        let (shape, opening) = (inspection.shape(), inspection.manifest.opening);
        let expected = place.sealed.map_or(Place::Active(files.active), Place::Sealed);
        let follows = self.follows.take();
        let covered = inspection.baseline().map_or(0, |baseline| baseline.seq);
        let scanned = Scanned::new(&*inspection.storage, shape, expected, opening, follows, &mut inspected(visit));
        let outcome = scanned.and_then(|segment| {
            if self.next == 1 {
                segment.begins_within(covered)?;
            }
            if place.sealed.is_none() {
                segment.reaches(shape, covered)?;
            }
            self.follows = Some(segment.found.follows());
            Ok(Torn { end: segment.found.end, bytes: segment.found.torn_bytes })
        });
        Some(Read { place, name, outcome })
    }
}

fn frame_at(storage: &dyn Storage, number: u32, seq: u64) -> io::Result<Option<u64>> {
    let Some(file) = storage.open(&FileKind::Segment.name(number))? else { return Ok(None) };
    let mut window = Window::new(&*file, file.length()?, 1024 * 1024);
    let Ok((header, sum)) = FileHeader::decode(window.bytes(0, FILE_HEADER_BYTES)?) else { return Ok(None) };
    let mut walk = Walk::new(header.salt, FILE_HEADER_BYTES as u64, Some(sum));
    while let Step::Frame { offset, header, .. } = walk.next(&mut window)? {
        if header.seq == seq {
            return Ok(Some(offset));
        }
    }
    Ok(None)
}

/// How the frames of a directory go together.
pub(super) fn shape(backend: Backend) -> Shape {
    match backend {
        Backend::Replica => Shape::Replica,
        Backend::File | Backend::Memory => Shape::Writer,
    }
}

/// Shows frames as they are shown outside.
pub(super) fn inspected(visit: &mut Inspect<'_>) -> impl FnMut(&FrameContent<'_>, Origin) -> Result<(), ReplayRefused> {
    |frame, origin| {
        let FrameContent { kind, seq, epoch, meta, text } = *frame;
        match kind {
            Kind::Line | Kind::Epoch => {
                let line = text.strip_suffix(b"\n").ok_or("the line has no end")?;
                let is_canonical = origin == Origin::Writer;
                visit(Inspected::Record(Record { seq, line, meta, epoch, is_canonical }))
            }
            Kind::Progress if origin == Origin::Replica => visit(Inspected::Progress { seq, text }),
            Kind::Progress | Kind::Baseline | Kind::Beside => Err("a frame that has no place in a segment".into()),
        }
    }
}

/// Names of segments with a number above `newest` that were appended to.
pub(super) fn unknown_segments(storage: &dyn Storage, newest: u32) -> Result<Vec<String>, OpenError> {
    let mut unknown = Vec::new();
    for name in storage.names().map_err(OpenError::io("listing", &storage.path("")))? {
        if FileKind::Segment.number(&name).is_none_or(|number| number <= newest) {
            continue;
        }
        let path = storage.path(&name);
        let Some(file) = storage.open(&name).map_err(OpenError::io("opening", &path))? else { continue };
        if was_appended_to(&*file).map_err(OpenError::io("reading", &path))? {
            unknown.push(name);
        }
    }
    unknown.sort();
    Ok(unknown)
}

/// Length of a file; 0 where there is none.
pub(super) fn length(storage: &dyn Storage, name: &str) -> Result<u64, OpenError> {
    let length = storage.open(name).and_then(|file| file.map_or(Ok(0), |file| file.length()));
    length.map_err(OpenError::io("reading", &storage.path(name)))
}

/// Who uses the directory, as far as can be told; `None` as well where there is no directory.
///
/// # Errors
/// [`OpenError::Io`].
pub fn holder(directory: &Path) -> Result<Option<String>, OpenError> {
    Directory::read_only(directory).holder().map_err(OpenError::io("asking who uses", directory))
}

/// Whether a replica keeps the log in `directory`, as far as that can be told: where the manifest cannot be read, what the
/// segments say of who wrote them.
pub fn is_of_replica(directory: &Path) -> bool {
    let storage = Directory::read_only(directory);
    match Manifest::read_any(&storage) {
        Ok(Some(manifest)) => manifest.backend == Backend::Replica,
        Ok(None) | Err(_) => {
            let segments = storage.names().unwrap_or_default();
            let newest = segments.into_iter().filter(|name| FileKind::Segment.number(name).is_some()).max();
            // What cannot be read is taken for a writer's: it has more to lose.
            newest.is_some_and(|name| header_of(&storage, &name).is_some_and(|header| header.origin == Origin::Replica))
        }
    }
}

fn header_of(storage: &dyn Storage, name: &str) -> Option<FileHeader> {
    let file = storage.open(name).ok()??;
    let mut bytes = [0; FILE_HEADER_BYTES];
    let read = file.read_at(&mut bytes, 0).ok()?;
    FileHeader::decode(&bytes[..read]).ok().map(|(header, _)| header)
}

/// The directory of the log that `directory` is or has: a node's data directory has it as `log`.
pub fn log_in(directory: &Path) -> std::path::PathBuf {
    let within = directory.join("log");
    if !directory.join(MANIFEST_FILE).exists() && within.is_dir() { within } else { directory.to_path_buf() }
}
