//! The bytes of a frame: what segments and stored baselines are made of, behind their [`super::header`].
//!
//! ```text
//! frame header, 48 bytes, then the body
//!  0  u64  checksum
//!  8  ff "H" kind flags
//! 12  u32  bytes of text
//! 16  u32  bytes of meta
//! 20  u32  bytes back to the first frame of the group
//! 24  u32  bytes before the group that were not known to be synced when it was written
//! 28  u32  number of the opening
//! 32  u64  seq
//! 40  u64  checksum of the frame before, or of the file's header
//! 48  meta, then the text: a command line and its newline, or a progress text
//! ```
//!
//! All numbers are little-endian. A frame's checksum is the XXH3-64 of everything in it after the checksum, seeded by the
//! file's salt and the frame's offset: a frame that was copied from elsewhere, or that an earlier life of the disk left
//! behind, does not pass, and the link to the frame before makes the order part of it. XXH3-64 rather than CRC-32C: the
//! workspace has it already, and 64 bits leave no realistic chance for garbage to be taken for a later frame, which would
//! turn a torn write into a refusal to start.
//!
//! The byte `ff` occurs in no UTF-8, so the text of a record can never be taken for the beginning of a frame. The frames
//! written by one append form a group: of a group that was never synced any part may be missing. Each group says how much
//! before it was not synced yet, so a whole group proves that everything before that was durable.

use headwater_core::limits::LINE_BYTES_MAX;
use twox_hash::XxHash3_64;

/// Length of a frame's header.
pub(super) const HEADER_BYTES: usize = 48;
/// Longest text of a frame: the longest line and its newline.
pub(super) const TEXT_BYTES_MAX: usize = LINE_BYTES_MAX + 1;
/// Longest meta of a frame, the epoch number of an EPOCH command included.
pub(super) const META_BYTES_MAX: usize = 64 * 1024;

const FLAG_LAST: u8 = 1;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A command of the log.
    Line,
    /// The EPOCH command of an opening; the first eight bytes of its meta are the epoch.
    Epoch,
    /// Lines of a stored baseline.
    Baseline,
    /// What belongs to a stored baseline and its lines do not say.
    Beside,
    /// How far a replica is; its seq is the position's.
    Progress,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Line => b'L',
            Self::Epoch => b'E',
            Self::Baseline => b'B',
            Self::Beside => b'S',
            Self::Progress => b'P',
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Line, Self::Epoch, Self::Baseline, Self::Beside, Self::Progress]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }

    /// Whether frames of this kind are the log's own records, whose seqs rise.
    pub(super) fn is_record(self) -> bool {
        matches!(self, Self::Line | Self::Epoch)
    }
}

/// A frame to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameContent<'a> {
    pub(super) kind: Kind,
    pub(super) seq: u64,
    pub(super) epoch: Option<u64>,
    pub(super) meta: &'a [u8],
    pub(super) text: &'a [u8],
}

impl FrameContent<'_> {
    fn meta_bytes(&self) -> usize {
        self.meta.len() + if self.epoch.is_some() { 8 } else { 0 }
    }

    /// Length of the frame on the medium.
    pub(super) fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.meta_bytes() + self.text.len()
    }

    /// Whether a reader would take a frame of this size.
    pub(super) fn fits(&self) -> bool {
        self.text.len() <= TEXT_BYTES_MAX && self.meta_bytes() <= META_BYTES_MAX
    }
}

/// The place of a frame: what its checksum covers beside its content.
#[derive(Clone, Copy, Debug)]
pub(super) struct FramePlace {
    pub(super) salt: u64,
    pub(super) offset: u64,
    pub(super) back: u32,
    pub(super) unsynced: u32,
    pub(super) opening: u32,
    pub(super) previous: u64,
    pub(super) last: bool,
}

/// Adds a frame to `buffer` and returns its checksum.
pub(super) fn encode(buffer: &mut Vec<u8>, frame: &FrameContent<'_>, place: &FramePlace) -> u64 {
    let start = buffer.len();
    let flags = if place.last { FLAG_LAST } else { 0 };
    let length = |bytes: usize| u32::try_from(bytes).expect("checked by fits()").to_le_bytes();
    buffer.extend_from_slice(&[0; 8]);
    buffer.extend_from_slice(&[0xff, b'H', frame.kind.byte(), flags]);
    buffer.extend_from_slice(&length(frame.text.len()));
    buffer.extend_from_slice(&length(frame.meta_bytes()));
    buffer.extend_from_slice(&place.back.to_le_bytes());
    buffer.extend_from_slice(&place.unsynced.to_le_bytes());
    buffer.extend_from_slice(&place.opening.to_le_bytes());
    buffer.extend_from_slice(&frame.seq.to_le_bytes());
    buffer.extend_from_slice(&place.previous.to_le_bytes());
    if let Some(epoch) = frame.epoch {
        buffer.extend_from_slice(&epoch.to_le_bytes());
    }
    buffer.extend_from_slice(frame.meta);
    buffer.extend_from_slice(frame.text);
    let sum = checksum(place.salt, place.offset, &buffer[start + 8..]);
    buffer[start..start + 8].copy_from_slice(&sum.to_le_bytes());
    sum
}

fn checksum(salt: u64, offset: u64, bytes: &[u8]) -> u64 {
    // The odd factor spreads neighbouring offsets over the whole seed.
    XxHash3_64::oneshot_with_seed(salt.wrapping_add(offset.wrapping_mul(0x9e37_79b9_7f4a_7c15)), bytes)
}

/// A frame's header as found, plausible but not yet checked against its checksum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) sum: u64,
    pub(super) kind: Kind,
    pub(super) last: bool,
    pub(super) back: u32,
    pub(super) unsynced: u32,
    pub(super) opening: u32,
    pub(super) seq: u64,
    pub(super) previous: u64,
    text_bytes: usize,
    meta_bytes: usize,
}

impl Header {
    /// Reads a header from the first [`HEADER_BYTES`] of `bytes`; `None` when no frame can begin so.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let [0xff, b'H', kind, flags] = bytes[8..12] else { return None };
        let header = Self {
            sum: u64_at(bytes, 0),
            kind: Kind::from_byte(kind)?,
            last: flags == FLAG_LAST,
            text_bytes: u32_at(bytes, 12) as usize,
            meta_bytes: u32_at(bytes, 16) as usize,
            back: u32_at(bytes, 20),
            unsynced: u32_at(bytes, 24),
            opening: u32_at(bytes, 28),
            seq: u64_at(bytes, 32),
            previous: u64_at(bytes, 40),
        };
        let lengths = header.text_bytes <= TEXT_BYTES_MAX && header.meta_bytes <= META_BYTES_MAX;
        let epoch = header.kind != Kind::Epoch || header.meta_bytes >= 8;
        (lengths && epoch && flags & !FLAG_LAST == 0).then_some(header)
    }

    /// Everything before this byte was synced before the group of the frame at `offset` was written.
    pub(super) fn synced_before(&self, offset: u64) -> u64 {
        offset.saturating_sub(self.back.into()).saturating_sub(self.unsynced.into())
    }

    /// Length of the whole frame.
    pub(super) fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.meta_bytes + self.text_bytes
    }

    /// Takes the content out of `frame`, the whole frame found at `offset`; `None` when its checksum does not match.
    pub(super) fn content<'a>(&self, frame: &'a [u8], salt: u64, offset: u64) -> Option<FrameContent<'a>> {
        if checksum(salt, offset, &frame[8..]) != self.sum {
            return None;
        }
        let (meta, text) = frame[HEADER_BYTES..].split_at(self.meta_bytes);
        let (epoch, meta) = match self.kind {
            Kind::Epoch => (Some(u64_at(meta, 0)), &meta[8..]),
            _ => (None, meta),
        };
        Some(FrameContent { kind: self.kind, seq: self.seq, epoch, meta, text })
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: FramePlace =
        FramePlace { salt: 5, offset: 32, back: 0, unsynced: 3, opening: 2, previous: 77, last: true };

    fn frame() -> Vec<u8> {
        let mut bytes = Vec::new();
        let content = FrameContent { kind: Kind::Epoch, seq: 9, epoch: Some(1234), meta: b"by", text: b"{}\n" };
        encode(&mut bytes, &content, &PLACE);
        assert_eq!(bytes.len(), content.frame_bytes());
        bytes
    }

    fn valid(bytes: &[u8], salt: u64, offset: u64) -> bool {
        Header::decode(bytes)
            .filter(|header| header.frame_bytes() == bytes.len())
            .is_some_and(|header| header.content(bytes, salt, offset).is_some())
    }

    #[test]
    fn gives_back_what_was_encoded() {
        let bytes = frame();
        let header = Header::decode(&bytes).unwrap();
        let content = header.content(&bytes, PLACE.salt, PLACE.offset).unwrap();
        assert_eq!((content.seq, content.epoch, content.meta, content.text), (9, Some(1234), &b"by"[..], &b"{}\n"[..]));
        assert_eq!(
            (header.opening, header.previous, header.last, header.kind, header.unsynced),
            (2, 77, true, Kind::Epoch, 3)
        );
    }

    #[test]
    fn passes_only_at_its_place_in_its_segment() {
        let bytes = frame();
        assert!(valid(&bytes, 5, 32));
        assert!(!valid(&bytes, 6, 32));
        assert!(!valid(&bytes, 5, 33));
    }

    #[test]
    fn fails_with_any_bit_flipped() {
        let bytes = frame();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!valid(&flipped, 5, 32), "bit {bit}");
        }
    }
}
