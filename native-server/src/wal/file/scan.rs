//! Reading a segment from its beginning: which frames count, where it ends, and whether what is wrong with it is a torn
//! write or damage. It changes nothing; what follows from its findings is [`super::recover`]'s.
//!
//! A write is torn if it never was synced, and only the last write can be: each one is begun after the one before it was
//! synced. So the first frame that does not count is the torn end unless one of these shows that it was durable once:
//! it lies before the byte up to which the manifest says everything was synced, or a frame that counts lies behind it and
//! belongs to a later group. Frames of the same group behind it show nothing, for the parts of one write reach the
//! medium in any order; nor does a frame of an earlier opening, which is what the medium held there before.

use super::super::error::{OpenError, ReplayRefused};
use super::super::storage::StoredFile;
use super::frame::{
    FrameContent, HEADER_BYTES, Header, Kind, SEGMENT_HEADER_BYTES, SEGMENT_VERSION, decode_segment_header,
};
use super::index::Index;
use super::walk::{Step, Walk, Window};
use headwater_core::position::EpochStart;
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

/// What is known of a segment before it is read.
pub(super) struct Expected<'a> {
    pub(super) path: &'a Path,
    pub(super) shape: Shape,
    pub(super) number: u32,
    /// The newest opening, and where it began to write.
    pub(super) opening: u32,
    pub(super) start: u64,
    /// Everything before this byte is known to have been synced.
    pub(super) synced: u64,
    /// Nothing from this byte on is to be looked at.
    pub(super) limit: u64,
}

/// What a segment was found to hold.
pub(super) struct Found {
    pub(super) salt: u64,
    /// Length of the file.
    pub(super) length: u64,
    /// Where the last frame that counts ends, and that frame's checksum.
    pub(super) end: u64,
    pub(super) sum: u64,
    /// Where the last group begins: what lies before it was synced before it was written.
    pub(super) group_start: u64,
    /// The lowest seq from which every record is held; `None` when that is not told by what is there.
    pub(super) floor: Option<u64>,
    /// Seq of the last record, 0 when there is none.
    pub(super) last: u64,
    /// The highest seq that a record or progress tells, 0 when none does.
    pub(super) through: u64,
    pub(super) index: Index,
    pub(super) epochs: Vec<EpochStart>,
}

/// Reads a segment and shows every frame that counts to `visit`, in order.
pub(super) fn scan(
    file: &dyn StoredFile,
    expected: &Expected<'_>,
    visit: &mut dyn FnMut(&FrameContent<'_>) -> Result<(), ReplayRefused>,
) -> Result<Found, OpenError> {
    let path = expected.path;
    let length = file.length().map_err(OpenError::io("reading", path))?;
    if length < expected.synced {
        let detail = format!("the file ends here, and {} bytes of it were durable", expected.synced);
        return Err(OpenError::damaged(path, length, detail));
    }
    let mut window = Window::new(file, length.min(expected.limit), SCAN_CHUNK_BYTES);
    let (salt, header_sum) = read_header(&mut window, expected)?;
    let begin = SEGMENT_HEADER_BYTES as u64;
    let mut walk = Walk::new(salt, begin, Some(header_sum));
    let mut found = Found {
        salt,
        length,
        end: begin,
        sum: header_sum,
        group_start: begin,
        floor: None,
        last: 0,
        through: 0,
        index: Index::default(),
        epochs: Vec::new(),
    };
    let mut group = Vec::new();
    let mut last = 0;
    let bad = loop {
        let (offset, header, content) = match walk.next(&mut window).map_err(OpenError::io("reading", path))? {
            Step::End => break None,
            Step::Bad(reason) => break Some(reason),
            Step::Frame { offset, header, content } => (offset, header, content),
        };
        let opening_fits = if offset >= expected.start {
            header.opening == expected.opening
        } else {
            header.opening < expected.opening
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
        if !opening_fits {
            break Some("a frame of another opening");
        }
        if content.kind.is_record() {
            let follows = match expected.shape {
                Shape::Writer => content.seq == last + 1 || (last == 0 && content.seq > 0),
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
            visit(content).map_err(|source| OpenError::Refused { seq: content.seq, source })
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
        (found.end, found.sum, found.group_start) = (walk.offset(), header.sum, walk.group_start());
    };
    if found.end < expected.synced {
        let reason = bad.unwrap_or("the group is not complete");
        return Err(OpenError::damaged(path, walk.offset(), reason));
    }
    if let Some(reason) = bad {
        let later = later_group(&mut window, walk.offset(), salt, expected.opening);
        if let Some(later) = later.map_err(OpenError::io("reading", path))? {
            let detail = format!("{reason}, and a later write at byte {later} is intact");
            return Err(OpenError::damaged(path, walk.offset(), detail));
        }
    }
    Ok(found)
}

struct Note {
    offset: u64,
    kind: Kind,
    seq: u64,
    epoch: Option<u64>,
}

impl Found {
    fn accept(&mut self, note: Note) {
        let Note { offset, kind, seq, epoch } = note;
        if let Some(floor) = kind.floor(seq) {
            self.floor.get_or_insert(floor);
        }
        self.through = self.through.max(seq);
        if kind.is_record() {
            self.last = seq;
            self.index.add(seq, offset);
            self.epochs.extend(epoch.map(|epoch| EpochStart { epoch, first: seq }));
        }
    }
}

fn read_header(window: &mut Window<'_>, expected: &Expected<'_>) -> Result<(u64, u64), OpenError> {
    let bytes = window.bytes(0, SEGMENT_HEADER_BYTES).map_err(OpenError::io("reading", expected.path))?;
    let header = decode_segment_header(bytes)
        .ok_or_else(|| OpenError::damaged(expected.path, 0, "the segment's header does not match its checksum"))?;
    if header.version != SEGMENT_VERSION {
        let detail = format!("segment version {}, and this program reads {SEGMENT_VERSION}", header.version);
        return Err(OpenError::Mismatch { file: expected.path.into(), detail });
    }
    if header.number != expected.number {
        let detail = format!("the file is segment {}, and segment {} is expected", header.number, expected.number);
        return Err(OpenError::damaged(expected.path, 12, detail));
    }
    Ok((header.salt, header.sum))
}

/// Looks behind `bad` for a frame of the newest opening, or of one the manifest does not know yet, whose group begins behind it too.
fn later_group(window: &mut Window<'_>, bad: u64, salt: u64, opening: u32) -> io::Result<Option<u64>> {
    let mut from = bad + 1;
    loop {
        let bytes = window.at_least(from, HEADER_BYTES)?;
        if bytes.len() < HEADER_BYTES {
            return Ok(None);
        }
        let candidates = bytes.len() - HEADER_BYTES + 1;
        let Some(at) = (0..candidates).find(|&at| bytes[at + 8] == 0xff && bytes[at + 9] == b'H') else {
            from += candidates as u64;
            continue;
        };
        let offset = from + at as u64;
        from = offset + 1;
        let Some(header) = Header::decode(&bytes[at..]) else { continue };
        if header.opening < opening || offset.saturating_sub(header.back.into()) <= bad {
            continue;
        }
        let frame = window.bytes(offset, header.frame_bytes())?;
        if frame.len() == header.frame_bytes() && header.content(frame, salt, offset).is_some() {
            return Ok(Some(offset));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::conformance::TestDirectory;
    use super::super::frame::{FramePlace, encode, encode_segment_header};
    use super::*;
    use std::fs::File;

    /// Seqs that a scan counts of frames with these.
    fn counted(shape: Shape, seqs: &[u64]) -> Vec<u64> {
        let mut bytes = encode_segment_header(1, 5).to_vec();
        let mut previous = decode_segment_header(&bytes).unwrap().sum;
        for &seq in seqs {
            let offset = bytes.len() as u64;
            let place = FramePlace { salt: 5, offset, back: 0, opening: 1, previous, last: true };
            let content = FrameContent { kind: Kind::Line, seq, epoch: None, meta: b"", text: b"{}\n" };
            previous = encode(&mut bytes, &content, &place);
        }
        let directory = TestDirectory::new();
        let path = directory.path().join("segment");
        std::fs::write(&path, &bytes).unwrap();
        let expected = Expected { path: &path, shape, number: 1, opening: 1, start: 32, synced: 32, limit: u64::MAX };
        let mut counted = Vec::new();
        let mut visit = |frame: &FrameContent<'_>| {
            counted.push(frame.seq);
            Ok(())
        };
        drop(scan(&File::open(&path).unwrap(), &expected, &mut visit));
        counted
    }

    #[test]
    fn counts_records_only_in_their_order() {
        for (seqs, writer, replica) in
            [(&[5, 6, 7][..], 3, 3), (&[5, 6, 8], 2, 3), (&[5, 6, 6], 2, 2), (&[5, 4], 1, 1), (&[0], 0, 0)]
        {
            assert_eq!(counted(Shape::Writer, seqs), seqs[..writer]);
            assert_eq!(counted(Shape::Replica, seqs), seqs[..replica]);
        }
    }
}
