//! The first bytes of a segment and of a stored baseline: what the file is, and what it follows.
//!
//! ```text
//!  0  ff "HWLOG" 0d 0a
//!  8  u32  format version
//! 12  what it is: 'S' segment or 'B' stored baseline; who wrote its lines: 'W' writer or 'R' replica; 00 00
//! 16  u32  number
//! 20  00 00 00 00
//! 24  u64  salt
//! 32  u64  segment: seq of the newest record before it; baseline: the seq it is exact at
//! 40  u64  segment: checksum of the last frame of the segment it follows, 0 where it follows none; baseline: 0
//! 48  u64  checksum of 0..48
//! ```
//!
//! The salt is random for each file. The checksum is what the first frame links to, so all segments are one chain from
//! the first kept to the last.

use super::frame::{u32_at, u64_at};
use twox_hash::XxHash3_64;

/// Version of the form of segments and baselines.
pub(super) const FILE_VERSION: u32 = 1;
/// Length of the header.
pub(super) const FILE_HEADER_BYTES: usize = 56;

const MAGIC: &[u8; 8] = b"\xffHWLOG\r\n";
const SUM_AT: usize = 48;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Segment,
    Baseline,
}

impl FileKind {
    /// Name of the file with this number.
    pub(super) fn name(self, number: u32) -> String {
        format!("{number:010}.{}", self.extension())
    }

    /// The number in a name that [`FileKind::name`] gives.
    pub(super) fn number(self, name: &str) -> Option<u32> {
        let digits = name.strip_suffix(self.extension())?.strip_suffix('.')?;
        let is_ours = digits.len() == 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| is_ours)
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Segment => "wal",
            Self::Baseline => "base",
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Segment => b'S',
            Self::Baseline => b'B',
        }
    }
}

/// Who wrote the lines of a file, and so how they are spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A writer: every line is in its canonical form.
    Writer,
    /// A replica: lines are as a parent sent them, which is any form the protocol allows.
    Replica,
}

impl Origin {
    fn byte(self) -> u8 {
        match self {
            Self::Writer => b'W',
            Self::Replica => b'R',
        }
    }
}

/// What a file's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) kind: FileKind,
    pub(super) origin: Origin,
    pub(super) number: u32,
    pub(super) salt: u64,
    /// Of a segment, the seq of the newest record before it; of a baseline, the seq it is exact at.
    pub(super) seq: u64,
    /// Checksum of the last frame of the segment before; 0 where there is none.
    pub(super) previous: u64,
}

/// Why bytes are not the header that is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// They are no header, or a damaged one.
    Damaged(&'static str),
    /// They are of a format version that this program does not read.
    Version(u32),
}

impl FileHeader {
    /// Makes the bytes, and the checksum that the first frame links to.
    pub(super) fn encode(&self) -> ([u8; FILE_HEADER_BYTES], u64) {
        let mut bytes = [0; FILE_HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FILE_VERSION.to_le_bytes());
        bytes[12] = self.kind.byte();
        bytes[13] = self.origin.byte();
        bytes[16..20].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.salt.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.seq.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.previous.to_le_bytes());
        let sum = XxHash3_64::oneshot(&bytes[..SUM_AT]);
        bytes[SUM_AT..].copy_from_slice(&sum.to_le_bytes());
        (bytes, sum)
    }

    /// Reads the header of a file, and the checksum that its first frame links to.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, u64), HeaderError> {
        let bytes = bytes.get(..FILE_HEADER_BYTES).ok_or(HeaderError::Damaged("the file ends within its header"))?;
        let sum = u64_at(bytes, SUM_AT);
        if &bytes[..8] != MAGIC {
            return Err(HeaderError::Damaged("the file does not begin as one of a log"));
        }
        if XxHash3_64::oneshot(&bytes[..SUM_AT]) != sum {
            return Err(HeaderError::Damaged("the header does not match its checksum"));
        }
        let version = u32_at(bytes, 8);
        if version != FILE_VERSION {
            return Err(HeaderError::Version(version));
        }
        let kinds = [FileKind::Segment, FileKind::Baseline];
        let origins = [Origin::Writer, Origin::Replica];
        let kind = kinds.into_iter().find(|kind| kind.byte() == bytes[12]);
        let origin = origins.into_iter().find(|origin| origin.byte() == bytes[13]);
        let (Some(kind), Some(origin)) = (kind, origin) else {
            return Err(HeaderError::Damaged("the header names a kind of file that there is not"));
        };
        let header = Self {
            kind,
            origin,
            number: u32_at(bytes, 16),
            salt: u64_at(bytes, 24),
            seq: u64_at(bytes, 32),
            previous: u64_at(bytes, 40),
        };
        Ok((header, sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: FileHeader = FileHeader {
        kind: FileKind::Segment,
        origin: Origin::Replica,
        number: 3,
        salt: 4,
        seq: 1 << 40,
        previous: u64::MAX,
    };

    #[test]
    fn gives_back_what_was_encoded_and_fails_with_any_bit_flipped() {
        let (bytes, sum) = HEADER.encode();
        assert_eq!(FileHeader::decode(&bytes), Ok((HEADER, sum)));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(FileHeader::decode(&flipped).is_err(), "bit {bit}");
        }
        assert!(FileHeader::decode(&bytes[..FILE_HEADER_BYTES - 1]).is_err());
    }

    #[test]
    fn a_name_gives_its_number_and_no_other_file_is_taken_for_one() {
        for kind in [FileKind::Segment, FileKind::Baseline] {
            assert_eq!(kind.number(&kind.name(17)), Some(17));
            assert_eq!(kind.number(&kind.name(u32::MAX)), Some(u32::MAX));
        }
        for name in ["0000000017.base", "17.wal", "9999999999.wal", "+000000017.wal", "MANIFEST", "0000000017.wal.new"]
        {
            assert_eq!(FileKind::Segment.number(name), None, "{name}");
        }
    }
}
