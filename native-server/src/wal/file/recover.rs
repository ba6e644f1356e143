//! Bringing a directory into a state that may be appended to: finding its manifest and files, and making what is kept
//! durable before anybody relies on it. Nothing that may have been acknowledged is ever written over: what an opening finds
//! behind the last byte known to be synced may be in the page cache only, for a sync of it may have failed before the
//! process was killed, and after a failure the pages count as clean. So it is copied to a new segment, and that is synced.
//! Every step can be cut short and repeated.

use super::super::Recovered;
use super::super::error::OpenError;
use super::super::manifest::{ActivePlace, Backend, Files, MANIFEST_FILE, Manifest, SealedPlace, Sum};
use super::super::opening::OpenOptions;
use super::super::storage::{LOCK_FILE, Lock, Storage, StoredFile};
use super::frame::FrameContent;
use super::header::{FILE_HEADER_BYTES, FileHeader, FileKind, Origin};
use super::inspect::unknown_segments;
use super::keeping::NewFile;
use super::making::{MadeEnd, Making, UNSYNCED_ALL};
use super::scan::{Follows, Mark, Place, Shape, Visit};
use super::scanned::Scanned;
use super::segment::Segment;
use super::walk::{Step, Walk, Window};
use headwater_core::position::EpochStart;
use std::io;
use std::sync::Arc;

const COPY_CHUNK_BYTES: usize = 1024 * 1024;
/// A segment up to this length is copied as a whole where a part of it has to be: starts after crashes leave no trail of
/// short segments then.
const COPY_WHOLE_BYTES: u64 = 1024 * 1024;

/// Takes the directory for this process, creating it if it is missing.
pub(in super::super) fn lock(storage: &dyn Storage, options: &OpenOptions) -> Result<Lock, OpenError> {
    let path = storage.path(LOCK_FILE);
    storage.create_directory().map_err(OpenError::io("creating the directory of", &path))?;
    lock_as_it_is(storage, &options.node)
}

/// Takes the directory for this process, which must be there.
pub(super) fn lock_as_it_is(storage: &dyn Storage, node: &str) -> Result<Lock, OpenError> {
    let path = storage.path(LOCK_FILE);
    let holder = format!("process {} (node {node})", std::process::id());
    let directory = || path.parent().unwrap_or(&path).to_path_buf();
    storage
        .lock(&holder)
        .map_err(OpenError::io("locking", &path))?
        .map_err(|holder| OpenError::InUse { directory: directory(), holder })
}

/// Reads the manifest, or makes the first segment of a new log and a manifest that is not written yet.
pub(super) fn read_or_create(storage: &dyn Storage, backend: Backend, origin: Origin) -> Result<Manifest, OpenError> {
    let path = storage.path(MANIFEST_FILE);
    if let Some(manifest) = Manifest::read(storage, backend)? {
        return Ok(manifest);
    }
    for name in storage.names().map_err(OpenError::io("listing the directory of", &path))? {
        if FileKind::Segment.number(&name).is_none() && FileKind::Baseline.number(&name).is_none() {
            continue;
        }
        // The first segment is made before the manifest: one without frames is what a start that was cut short left.
        let file = storage.open(&name).and_then(|file| file.map_or(Ok(0), |file| file.length()));
        if file.map_err(OpenError::io("reading", &storage.path(&name)))? > FILE_HEADER_BYTES as u64 {
            let detail = format!("is missing, and {name} holds records");
            return Err(OpenError::damaged(&path, 0, detail));
        }
    }
    let MadeEnd { end, .. } = Making::begin(storage, FileKind::Segment, origin, 1, 0, 0, 0)?.finish(storage)?;
    let active = ActivePlace { number: 1, start: end, synced: end };
    let files = Files { baseline: None, sealed: Vec::new(), active, next_number: 2 };
    Ok(Manifest { files: Some(files), ..Manifest::new(backend) })
}

/// How to recover.
pub(super) struct Recovering<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) shape: Shape,
    /// Who appends from here on.
    pub(super) origin: Origin,
    /// The opening before this one.
    pub(super) opening: u32,
    /// A segment that this process wrote, and the byte of it before which everything was synced.
    pub(super) known_synced: Option<(u32, u64)>,
    /// The segment that is made if one has to be.
    pub(super) new_file: &'a NewFile,
    /// Length from which a segment takes no further group.
    pub(super) segment_bytes: u64,
}

/// A log whose every byte is durable and counts.
pub(super) struct Recovery {
    /// The files, to be named by the manifest of the new opening before anything is appended.
    pub(super) files: Files,
    pub(super) segments: Vec<Arc<Segment>>,
    /// Where the segment in use ends.
    pub(super) end: u64,
    /// The end of the log.
    pub(super) follows: Follows,
    pub(super) epochs: Vec<EpochStart>,
    pub(super) recovered: Option<Recovered>,
}

impl Recovering<'_> {
    /// Reads every segment and shows what is not within the baseline to `visit`.
    pub(super) fn recover(&self, mut files: Files, visit: &mut Visit<'_>) -> Result<Recovery, OpenError> {
        if let Some((number, synced)) = self.known_synced
            && number == files.active.number
        {
            files.active.synced = files.active.synced.max(synced);
        }
        let (covered, from_segment) =
            files.baseline.as_ref().map_or((0, 0), |baseline| (baseline.seq, baseline.from_segment));
        let places = files.sealed.iter().map(|&sealed| Place::Sealed(sealed)).chain([Place::Active(files.active)]);
        let (mut segments, mut epochs): (Vec<Scanned>, Vec<_>) = Default::default();
        for place in places {
            let number = place.number();
            let mut visit = |frame: &FrameContent<'_>, origin: Origin| {
                let is_within = number < from_segment || frame.kind.is_record() && frame.seq <= covered;
                if is_within { Ok(()) } else { visit(frame, origin) }
            };
            let follows = segments.last().map(|before| before.found.follows());
            let mut segment = Scanned::new(self.storage, self.shape, place, self.opening, follows, &mut visit)?;
            if follows.is_none() {
                segment.begins_within(covered)?;
            }
            // The baseline tells how far a replica was beyond its last line, when the segments that did are gone. Those
            // that are kept before it tell it themselves, and records do in a writer's log.
            if (1..=number).contains(&from_segment) {
                segment.found.through = segment.found.through.max(covered);
            }
            epochs.append(&mut segment.found.epochs);
            segments.push(segment);
        }
        let newest = segments.pop().expect("there is always a segment in use");
        self.refuse_later_segments(&newest)?;
        newest.reaches(self.shape, covered)?;
        let found = &newest.found;
        let recovered = (found.torn_bytes > 0).then(|| Recovered {
            file: newest.path.display().to_string(),
            offset: found.end,
            truncated_bytes: found.torn_bytes,
        });
        let proven = found.proven();
        let is_clean = found.torn_bytes == 0 && proven.offset == found.end;
        if is_clean && found.origin == self.origin {
            files.next_number = self.new_file.number();
            files.active = ActivePlace { start: found.end, synced: found.end, ..files.active };
            segments.push(newest);
        } else {
            let is_short = found.end <= COPY_WHOLE_BYTES.min(self.segment_bytes / 2);
            let from = if found.origin != self.origin {
                // What another kind of node wrote stays in a segment that says so. All of it was made durable before
                // the directory changed hands.
                let end = found.end_mark();
                if end.offset != proven.offset {
                    let detail = "lines of a replica behind what was durable when its directory was promoted";
                    return Err(OpenError::damaged(&newest.path, proven.offset, detail));
                }
                end
            } else if is_short {
                found.begin()
            } else {
                proven
            };
            self.go_on_in_new(&mut files, &mut segments, newest, from)?;
        }
        let newest = &segments.last().expect("just pushed").found;
        let (end, follows) = (newest.end, newest.follows());
        let segments = segments.into_iter().map(Scanned::into_segment).collect();
        Ok(Recovery { files, segments, end, follows, epochs, recovered })
    }

    /// Refuses segments that are newer than the newest one of the manifest and were appended to: it was done under a
    /// manifest that named them. One that was made and never named holds copies at most.
    fn refuse_later_segments(&self, newest: &Scanned) -> Result<(), OpenError> {
        let unknown = unknown_segments(self.storage, newest.number)?;
        let Some(name) = unknown.first() else { return Ok(()) };
        let detail = "the manifest beside it does not know this segment, which holds later records: \
                      put the newer manifest back";
        Err(OpenError::damaged(&self.storage.path(name), 0, detail))
    }

    /// Seals the segment in use at `from`, and copies what counts behind that to a new one.
    fn go_on_in_new(
        &self,
        files: &mut Files,
        segments: &mut Vec<Scanned>,
        mut old: Scanned,
        from: Mark,
    ) -> Result<(), OpenError> {
        let number = self.new_file.make();
        let too_many = || OpenError::damaged(&old.path, 0, "the log was opened too many times");
        let opening = self.opening.checked_add(1).ok_or_else(too_many)?;
        // A segment of which nothing is kept is left out, and the new one follows the one before it.
        let is_left_out = from.offset == FILE_HEADER_BYTES as u64;
        let follows = if is_left_out { Follows { sum: old.found.previous, ..from.follows } } else { from.follows };
        let origin = self.origin;
        let mut making =
            Making::begin(self.storage, FileKind::Segment, origin, number, follows.last, follows.sum, opening)?;
        let mut window = Window::new(&*old.file, old.found.end, COPY_CHUNK_BYTES);
        let mut walk = Walk::new(old.found.salt, from.offset, None);
        loop {
            match walk.next(&mut window).map_err(OpenError::io("reading", &old.path))? {
                Step::Frame { content, .. } => making.push(&content)?,
                Step::End => break,
                Step::Bad(reason) => return Err(OpenError::damaged(&old.path, walk.offset(), reason)),
            }
        }
        let MadeEnd { end: synced, .. } = making.finish(self.storage)?;
        files.active = ActivePlace { number, start: FILE_HEADER_BYTES as u64, synced };
        // For its index, and since to read it back is the way to know.
        let place = Place::Active(files.active);
        let new = Scanned::new(self.storage, self.shape, place, opening, Some(follows), &mut |_, _| Ok(()))?;
        if !is_left_out {
            let Follows { through, sum, .. } = from.follows;
            let (end, sealed_ms) = (from.offset, crate::clock::wall_ms());
            files.sealed.push(SealedPlace { number: old.number, through, end, sum: Sum(sum), sealed_ms });
            old.found.cut(from);
            segments.push(old);
        }
        segments.push(new);
        Ok(())
    }
}

/// Whether a segment holds a frame that was appended, and not only those it was made with.
pub(super) fn was_appended_to(file: &dyn StoredFile) -> io::Result<bool> {
    let mut window = Window::new(file, file.length()?, COPY_CHUNK_BYTES);
    let Ok((header, sum)) = FileHeader::decode(window.bytes(0, FILE_HEADER_BYTES)?) else { return Ok(false) };
    let mut walk = Walk::new(header.salt, FILE_HEADER_BYTES as u64, Some(sum));
    while let Step::Frame { header, .. } = walk.next(&mut window)? {
        if header.unsynced != UNSYNCED_ALL {
            return Ok(true);
        }
    }
    Ok(false)
}
