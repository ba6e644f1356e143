//! Reading a segment from its beginning: which frames count, where it ends, and whether what is wrong with it is a torn
//! write or damage. It changes nothing; what follows from its findings is [`super::recover`]'s.
//!
//! A write is torn if it never was synced. So the first frame that does not count is the torn end unless one of these
//! shows that it was durable once: it lies before the byte up to which the manifest says everything was synced, or behind
//! it lies a frame that counts and says that everything before its group was synced, the bad place included. Frames of the
//! same group show nothing, for the parts of one write reach the medium in any order; nor does a frame of an earlier
//! opening, which is what the medium held there before. In a sealed segment nothing is ever torn.

use super::super::error::{OpenError, ReplayRefused};
use super::super::manifest::{ActivePlace, SealedPlace};
use super::super::storage::StoredFile;
use super::frame::{FrameContent, Kind};
use super::header::{FILE_HEADER_BYTES, FILE_VERSION, FileHeader, FileKind, HeaderError, Origin};
use super::index::Index;
use super::walk::{Step, Walk, Window};
use headwater_core::position::EpochStart;
use std::collections::VecDeque;
use std::io;
use std::path::Path;

const SCAN_CHUNK_BYTES: usize = 1024 * 1024;

/// Whose segment it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A writer's: seqs without holes, and any whole frames of a torn group are kept.
    Writer,
    /// A replica's: rising seqs, and a group counts as a whole or not at all.
    Replica,
}

/// What the manifest says of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Sealed(SealedPlace),
    Active(ActivePlace),
}

impl Place {
    pub(super) fn number(&self) -> u32 {
        match self {
            Self::Sealed(place) => place.number,
            Self::Active(place) => place.number,
        }
    }
}

/// What is known of a segment before it is read.
pub(super) struct Expected<'a> {
    pub(super) path: &'a Path,
    pub(super) shape: Shape,
    pub(super) place: Place,
    /// The newest opening.
    pub(super) opening: u32,
    /// What was found before it; `None` for the first.
    pub(super) follows: Option<Follows>,
}

/// The end of a segment, as the next one has to follow it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Follows {
    /// Seq of the newest record.
    pub(super) last: u64,
    /// The highest seq that a record or progress tells.
    pub(super) through: u64,
    /// Checksum of the last frame.
    pub(super) sum: u64,
}

/// What a segment was found to hold.
pub(super) struct Found {
    pub(super) salt: u64,
    pub(super) origin: Origin,
    /// Seq of the newest record before the segment, and checksum of the last frame there.
    pub(super) before: u64,
    pub(super) previous: u64,
    /// The highest seq that a record or progress before the segment tells.
    through_before: u64,
    /// Where the last frame that counts ends, and that frame's checksum.
    pub(super) end: u64,
    pub(super) sum: u64,
    /// The newest place before which everything is known to have been synced, and those behind it that a group ends at.
    pub(super) marks: VecDeque<Mark>,
    /// Bytes behind the end that are not zero, or lie before one that is not: what a torn write left.
    pub(super) torn_bytes: u64,
    /// Seq of the last record, in the segment or before it.
    pub(super) last: u64,
    /// The highest seq that a record or progress tells, in the segment or before it.
    pub(super) through: u64,
    pub(super) index: Index,
    pub(super) epochs: Vec<EpochStart>,
}

/// What takes the frames that count, each with who wrote it.
pub(super) type Visit<'a> = dyn FnMut(&FrameContent<'_>, Origin) -> Result<(), ReplayRefused> + 'a;

/// Reads a segment and shows every frame that counts to `visit`, in order.
pub(super) fn scan(file: &dyn StoredFile, expected: &Expected<'_>, visit: &mut Visit<'_>) -> Result<Found, OpenError> {
    let path = expected.path;
    let length = file.length().map_err(OpenError::io("reading", path))?;
    let (synced, limit) = match expected.place {
        Place::Sealed(place) => (place.end, place.end),
        Place::Active(place) => (place.synced, u64::MAX),
    };
    if length < synced {
        return Err(OpenError::damaged(path, length, format!("the file ends here, and {synced} bytes were durable")));
    }
    let mut window = Window::new(file, length.min(limit), SCAN_CHUNK_BYTES);
    let (header, header_sum) = read_header(&mut window, expected)?;
    let begin = FILE_HEADER_BYTES as u64;
    let through = expected.follows.map_or(header.seq, |follows| follows.through);
    let mut walk = Walk::new(header.salt, begin, Some(header_sum));
    let mut found = Found {
        salt: header.salt,
        origin: header.origin,
        before: header.seq,
        previous: header.previous,
        through_before: through,
        end: begin,
        sum: header_sum,
        marks: VecDeque::new(),
        torn_bytes: 0,
        last: header.seq,
        through,
        index: Index::default(),
        epochs: Vec::new(),
    };
    found.mark(begin);
    let origin = header.origin;
    let mut group = Vec::new();
    let mut last = header.seq;
    let bad = loop {
        let (offset, header, content) = match walk.next(&mut window).map_err(OpenError::io("reading", path))? {
            Step::End => break None,
            Step::Bad(reason) => break Some(reason),
            Step::Frame { offset, header, content } => (offset, header, content),
        };
        if header.opening > expected.opening {
            // A manifest is made durable before anything is appended under it: a newer one existed, and what is
            // written behind its place was promised.
            let (found, known) = (header.opening, expected.opening);
            let detail = format!(
                "a frame of opening {found}, and the manifest beside it is of opening {known}: put the newer one back"
            );
            return Err(OpenError::damaged(path, offset, detail));
        }
        if let Place::Active(place) = expected.place
            && (offset >= place.start) != (header.opening == expected.opening)
        {
            break Some("a frame of another opening");
        }
        if content.kind.is_record() {
            let follows = match expected.shape {
                Shape::Writer => content.seq == last + 1,
                Shape::Replica => content.seq > last,
            };
            if !follows {
                break Some("a seq out of order");
            }
            last = content.seq;
        }
        let note = Note { offset, kind: content.kind, seq: content.seq, epoch: content.epoch };
        let mut accept = |found: &mut Found, note: Note, content: &FrameContent<'_>| {
            found.accept(note);
            visit(content, origin).map_err(|source| OpenError::Refused { seq: content.seq, source })
        };
        match expected.shape {
            Shape::Writer => accept(&mut found, note, &content)?,
            Shape::Replica if header.last && group.is_empty() => accept(&mut found, note, &content)?,
            Shape::Replica => {
                group.push((note, content.meta.to_vec(), content.text.to_vec()));
                if !header.last {
                    continue;
                }
                for (note, meta, text) in group.drain(..) {
                    let Note { kind, seq, epoch, .. } = note;
                    accept(&mut found, note, &FrameContent { kind, seq, epoch, meta: &meta, text: &text })?;
                }
            }
        }
        (found.end, found.sum) = (walk.offset(), header.sum);
        found.mark(walk.synced_before().max(synced));
    };
    if found.end < synced {
        return Err(OpenError::damaged(path, walk.offset(), bad.unwrap_or("the group is not complete")));
    }
    if let Place::Sealed(place) = expected.place
        && found.sum != place.sum.0
    {
        let detail = "the segment is whole, and not the one that the manifest names: put back files of one moment";
        return Err(OpenError::damaged(path, found.end, detail));
    }
    if let Some(reason) = bad {
        let later = proof_behind(&mut window, walk.offset(), header.salt, expected.opening);
        if let Some(later) = later.map_err(OpenError::io("reading", path))? {
            let detail = format!("{reason}, and a later write at byte {later} is intact");
            return Err(OpenError::damaged(path, walk.offset(), detail));
        }
    }
    let written = written_end(&mut window, found.end).map_err(OpenError::io("reading", path))?;
    found.torn_bytes = written - found.end;
    Ok(found)
}

struct Note {
    offset: u64,
    kind: Kind,
    seq: u64,
    epoch: Option<u64>,
}

/// A place between two groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) offset: u64,
    /// The end of what lies before it.
    pub(super) follows: Follows,
}

impl Found {
    /// The place before the first frame.
    pub(super) fn begin(&self) -> Mark {
        let Self { before, previous, through_before, .. } = *self;
        let follows = Follows { last: before, through: through_before, sum: previous };
        Mark { offset: FILE_HEADER_BYTES as u64, follows }
    }

    /// The place before which everything is known to have been synced.
    pub(super) fn proven(&self) -> Mark {
        *self.marks.front().expect("the end of the header is one")
    }

    /// The place behind the last frame that counts.
    pub(super) fn end_mark(&self) -> Mark {
        Mark { offset: self.end, follows: self.follows() }
    }

    /// Leaves out what lies behind `mark`.
    pub(super) fn cut(&mut self, mark: Mark) {
        self.index.truncate(mark.offset);
        let Follows { last, through, sum } = mark.follows;
        (self.end, self.sum, self.last, self.through) = (mark.offset, sum, last, through);
    }

    /// Notes that a group ends, and what it tells of those before it.
    fn mark(&mut self, synced: u64) {
        self.marks.push_back(Mark { offset: self.end, follows: self.follows() });
        while self.marks.get(1).is_some_and(|mark| mark.offset <= synced) {
            self.marks.pop_front();
        }
    }

    /// As the next segment has to follow it.
    pub(super) fn follows(&self) -> Follows {
        Follows { last: self.last, through: self.through, sum: self.sum }
    }

    fn accept(&mut self, note: Note) {
        let Note { offset, kind, seq, epoch } = note;
        self.through = self.through.max(seq);
        if kind.is_record() {
            self.last = seq;
            self.index.add(seq, offset);
            self.epochs.extend(epoch.map(|epoch| EpochStart { epoch, first: seq }));
        }
    }
}

fn read_header(window: &mut Window<'_>, expected: &Expected<'_>) -> Result<(FileHeader, u64), OpenError> {
    let bytes = window.bytes(0, FILE_HEADER_BYTES).map_err(OpenError::io("reading", expected.path))?;
    let (header, sum) = header_of(bytes, expected.path)?;
    let damaged = |detail: String| Err(OpenError::damaged(expected.path, 0, detail));
    if (header.kind, header.number) != (FileKind::Segment, expected.place.number()) {
        return damaged(format!(
            "the file is {:?} {}, not segment {}",
            header.kind,
            header.number,
            expected.place.number()
        ));
    }
    if expected.follows.is_some_and(|follows| (follows.last, follows.sum) != (header.seq, header.previous)) {
        return damaged("the segment does not follow the one before it".into());
    }
    Ok((header, sum))
}

/// Reads a file's header from its first bytes.
pub(super) fn header_of(bytes: &[u8], path: &Path) -> Result<(FileHeader, u64), OpenError> {
    FileHeader::decode(bytes).map_err(|error| match error {
        HeaderError::Damaged(detail) => OpenError::damaged(path, 0, detail),
        HeaderError::Version(found) => OpenError::Mismatch {
            file: path.into(),
            detail: format!("format version {found}, and this program reads {FILE_VERSION}: use the one that made it"),
        },
    })
}

/// Looks behind `bad` for a frame of the newest opening, or of one the manifest does not know yet, that was written when
/// everything up to there was synced.
fn proof_behind(window: &mut Window<'_>, bad: u64, salt: u64, opening: u32) -> io::Result<Option<u64>> {
    window.find_frame(bad + 1, salt, |offset, header| header.opening >= opening && header.synced_before(offset) > bad)
}

/// Where the last byte from `from` on ends that is not zero; `from` when there is none. Zeros are room that was made ready.
pub(super) fn written_end(window: &mut Window<'_>, from: u64) -> io::Result<u64> {
    let (mut at, mut end) = (from, from);
    loop {
        let bytes = window.at_least(at, 1)?;
        if bytes.is_empty() {
            return Ok(end);
        }
        if let Some(last) = bytes.iter().rposition(|&byte| byte != 0) {
            end = at + last as u64 + 1;
        }
        at += bytes.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::conformance::TestDirectory;
    use super::super::frame::{FramePlace, encode};
    use super::*;
    use std::fs::File;

    /// Seqs that a scan counts of frames with these, in a segment that begins behind `before`.
    fn counted(shape: Shape, before: u64, seqs: &[u64]) -> Vec<u64> {
        let origin = Origin::Writer;
        let header = FileHeader { kind: FileKind::Segment, origin, number: 1, salt: 5, seq: before, previous: 0 };
        let (bytes, mut previous) = header.encode();
        let mut bytes = bytes.to_vec();
        for &seq in seqs {
            let offset = bytes.len() as u64;
            let place = FramePlace { salt: 5, offset, back: 0, unsynced: 0, opening: 1, previous, last: true };
            let content = FrameContent { kind: Kind::Line, seq, epoch: None, meta: b"", text: b"{}\n" };
            previous = encode(&mut bytes, &content, &place);
        }
        let directory = TestDirectory::new();
        let path = directory.path().join("segment");
        std::fs::write(&path, &bytes).unwrap();
        let place = Place::Active(ActivePlace { number: 1, start: 0, synced: 0 });
        let expected = Expected { path: &path, shape, place, opening: 1, follows: None };
        let mut counted = Vec::new();
        let mut visit = |frame: &FrameContent<'_>, _: Origin| {
            counted.push(frame.seq);
            Ok(())
        };
        drop(scan(&File::open(&path).unwrap(), &expected, &mut visit));
        counted
    }

    #[test]
    fn counts_records_only_in_their_order() {
        for (before, seqs, writer, replica) in [
            (4, &[5, 6, 7][..], 3, 3),
            (4, &[5, 6, 8], 2, 3),
            (4, &[5, 6, 6], 2, 2),
            (4, &[5, 4], 1, 1),
            (0, &[0], 0, 0),
            (3, &[5], 0, 1),
        ] {
            assert_eq!(counted(Shape::Writer, before, seqs), seqs[..writer]);
            assert_eq!(counted(Shape::Replica, before, seqs), seqs[..replica]);
        }
    }
}
