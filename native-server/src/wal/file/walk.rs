//! Going from frame to frame, over a window of the file that is read in large pieces.

use super::super::storage::StoredFile;
use super::frame::{FrameContent, HEADER_BYTES, Header};
use std::io;

/// The part of a file that is in memory, moving forward.
pub(super) struct Window<'f> {
    file: &'f dyn StoredFile,
    /// Nothing from here on is looked at.
    end: u64,
    chunk_bytes: usize,
    start: u64,
    held: Vec<u8>,
}

impl<'f> Window<'f> {
    pub(super) fn new(file: &'f dyn StoredFile, end: u64, chunk_bytes: usize) -> Self {
        Self { file, end, chunk_bytes, start: 0, held: Vec::new() }
    }

    /// The bytes from `offset` on, as many as are in memory: at least `wanted`, fewer only at the end.
    pub(super) fn at_least(&mut self, offset: u64, wanted: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = wanted.min(left);
        let held_end = self.start + self.held.len() as u64;
        if offset < self.start || offset + wanted as u64 > held_end {
            self.held.resize(wanted.max(self.chunk_bytes).min(left), 0);
            let read = self.file.read_at(&mut self.held, offset);
            // After an error nothing is held, rather than bytes of two places.
            self.held.truncate(*read.as_ref().unwrap_or(&0));
            self.start = offset;
            read?;
        }
        let at = usize::try_from(offset - self.start).expect("within the bytes held");
        Ok(self.held.get(at..).unwrap_or_default())
    }

    /// `wanted` bytes from `offset` on, fewer only at the end.
    pub(super) fn bytes(&mut self, offset: u64, wanted: usize) -> io::Result<&[u8]> {
        let bytes = self.at_least(offset, wanted)?;
        Ok(&bytes[..wanted.min(bytes.len())])
    }

    /// Looks from `from` on for a frame that is whole, wherever it begins, and that `counts`; returns where it does.
    pub(super) fn find_frame(
        &mut self,
        mut from: u64,
        salt: u64,
        counts: impl Fn(u64, &Header) -> bool,
    ) -> io::Result<Option<u64>> {
        loop {
            let bytes = self.at_least(from, HEADER_BYTES)?;
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
            let Some(header) = Header::decode(&bytes[at..]).filter(|header| counts(offset, header)) else { continue };
            let frame = self.bytes(offset, header.frame_bytes())?;
            if frame.len() == header.frame_bytes() && header.content(frame, salt, offset).is_some() {
                return Ok(Some(offset));
            }
        }
    }
}

/// What lies at the place a walk has come to.
pub(super) enum Step<'w> {
    /// Nothing: the end.
    End,
    /// A frame that counts; the walk is behind it now.
    Frame {
        /// Where it begins.
        offset: u64,
        /// Its header.
        header: Header,
        /// What it carries.
        content: FrameContent<'w>,
    },
    /// Something else; the walk stays before it.
    Bad(&'static str),
}

/// A place between two frames.
pub(super) struct Walk {
    salt: u64,
    offset: u64,
    /// Checksum of the frame before; `None` where the walk began in the middle.
    previous: Option<u64>,
    group_start: u64,
    /// Everything before this byte was synced before the last group was written.
    synced_before: u64,
    /// Opening of the frame before, and whether its group goes on.
    before: Option<(u32, bool)>,
}

impl Walk {
    /// Starts at `offset`, behind the frame or file header with checksum `previous`.
    pub(super) fn new(salt: u64, offset: u64, previous: Option<u64>) -> Self {
        Self { salt, offset, previous, group_start: offset, synced_before: offset, before: None }
    }

    /// Where the next frame begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Everything before this byte was synced before the group of the last frame was written.
    pub(super) fn synced_before(&self) -> u64 {
        self.synced_before
    }

    /// Takes the next frame, if it counts: its checksum matches at this place of this segment, it links to the frame
    /// before, and it belongs to the same group or begins one where one may begin.
    pub(super) fn next<'w>(&mut self, window: &'w mut Window<'_>) -> io::Result<Step<'w>> {
        let offset = self.offset;
        let bytes = window.bytes(offset, HEADER_BYTES)?;
        if bytes.is_empty() {
            return Ok(Step::End);
        }
        if bytes.len() < HEADER_BYTES {
            return Ok(Step::Bad("a frame's header is cut off"));
        }
        let Some(header) = Header::decode(bytes) else {
            return Ok(Step::Bad("no frame begins here"));
        };
        let frame = window.bytes(offset, header.frame_bytes())?;
        if frame.len() < header.frame_bytes() {
            return Ok(Step::Bad("a frame is cut off"));
        }
        let length = frame.len() as u64;
        let Some(content) = header.content(frame, self.salt, offset) else {
            return Ok(Step::Bad("a frame does not match its checksum"));
        };
        if self.previous.is_some_and(|previous| previous != header.previous) {
            return Ok(Step::Bad("a frame does not follow the one before it"));
        }
        let begins = header.back == 0;
        let continues = offset.checked_sub(header.back.into()) == Some(self.group_start);
        let in_place = match self.before {
            // A walk that begins in the middle cannot know the group; one that begins at the header can.
            None => begins || self.previous.is_none(),
            Some((opening, true)) if header.opening == opening => !begins && continues,
            // A group that was cut short is followed by the next opening, after recovery cut off the rest.
            Some((opening, _)) => begins && header.opening >= opening,
        };
        if !in_place {
            return Ok(Step::Bad("a frame does not belong to the group before it"));
        }
        self.group_start = offset.saturating_sub(header.back.into());
        self.synced_before = header.synced_before(offset);
        self.before = Some((header.opening, !header.last));
        self.previous = Some(header.sum);
        self.offset = offset + length;
        Ok(Step::Frame { offset, header, content })
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{FramePlace, Kind, encode};
    use super::*;
    use std::fs::File;

    /// A file of frames, each given as (previous, back, opening, last); `None` links to the frame before.
    fn reasons(frames: &[(Option<u64>, bool, u32, bool)]) -> Vec<&'static str> {
        let mut bytes = Vec::new();
        let (mut sum, mut group_start) = (7, 0);
        for &(previous, begins, opening, last) in frames {
            if begins {
                group_start = bytes.len();
            }
            let place = FramePlace {
                salt: 1,
                offset: bytes.len() as u64,
                back: (bytes.len() - group_start) as u32,
                unsynced: 0,
                opening,
                previous: previous.unwrap_or(sum),
                last,
            };
            let content = FrameContent { kind: Kind::Line, seq: 1, epoch: None, meta: b"", text: b"{}\n" };
            sum = encode(&mut bytes, &content, &place);
        }
        let directory = super::super::super::conformance::TestDirectory::new();
        let path = directory.path().join("frames");
        std::fs::write(&path, &bytes).unwrap();
        let file = File::open(path).unwrap();
        let mut window = Window::new(&file, bytes.len() as u64, 100);
        let mut walk = Walk::new(1, 0, Some(7));
        let mut reasons = Vec::new();
        loop {
            match walk.next(&mut window).unwrap() {
                Step::Frame { .. } => reasons.push("counts"),
                Step::Bad(reason) => return [reasons, vec![reason]].concat(),
                Step::End => return reasons,
            }
        }
    }

    #[test]
    fn takes_frames_that_follow_each_other_in_whole_groups() {
        let frames = [(None, true, 1, false), (None, false, 1, true), (None, true, 1, true), (None, true, 2, true)];
        assert_eq!(reasons(&frames), ["counts"; 4]);
        // Recovery kept the beginning of a group, and the next opening goes on behind it.
        assert_eq!(reasons(&[(None, true, 1, false), (None, true, 2, true)]), ["counts"; 2]);
    }

    #[test]
    fn refuses_a_frame_that_links_to_another() {
        assert_eq!(
            reasons(&[(None, true, 1, true), (Some(9), true, 1, true)])[1],
            "a frame does not follow the one before it"
        );
        assert_eq!(reasons(&[(Some(9), true, 1, true)])[0], "a frame does not follow the one before it");
    }

    #[test]
    fn refuses_a_frame_of_another_group() {
        let stray = "a frame does not belong to the group before it";
        assert_eq!(reasons(&[(None, true, 1, false), (None, true, 1, true)])[1], stray);
        assert_eq!(reasons(&[(None, true, 1, true), (None, false, 1, true)])[1], stray);
        assert_eq!(reasons(&[(None, true, 2, true), (None, true, 1, true)])[1], stray);
        assert_eq!(reasons(&[(None, true, 1, false), (None, false, 2, true)])[1], stray);
    }
}
