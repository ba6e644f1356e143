//! What the fuzz targets in `fuzz/` call: one function for each form of bytes that is read back from a medium, which gives
//! it any bytes at all and checks what it makes of them. Only with the feature `fuzzing`.
//!
//! Checksums stop nearly all that a fuzzer makes up. So the first byte of an input says whether they are put right first,
//! as they would be where a program wrote nonsense, and what is behind them is reached.

mod baseline;
mod bytes;
mod frame;
mod manifest;
mod seeds;
mod segment;

pub use baseline::baseline;
pub use frame::frame;
pub use manifest::manifest;
pub use seeds::seeds;
pub use segment::segment;

use super::super::manifest::MANIFEST_FILE;
use super::frame::{FrameContent, FramePlace, HEADER_BYTES, Header, encode};
use super::header::{FILE_HEADER_BYTES, FileHeader};
use twox_hash::XxHash3_64;

/// Salt of the files that are put right.
const SALT: u64 = 0x5a17;

/// An input's first byte and the rest.
fn split(data: &[u8]) -> Option<(u8, &[u8])> {
    data.split_first().map(|(first, rest)| (*first, rest))
}

/// Puts the frames of a file right from behind its header on, `frames` of them at most: links, and checksums. Returns the
/// checksum of the last one and where it ends, or of the header where there is none.
fn mend(bytes: &mut [u8], header: &FileHeader, frames: usize) -> (u64, u64) {
    let (head, mut sum) = header.encode();
    let Some(place) = bytes.get_mut(..FILE_HEADER_BYTES) else { return (sum, 0) };
    place.copy_from_slice(&head);
    let mut offset = FILE_HEADER_BYTES;
    for _ in 0..frames {
        let Some(found) = Header::decode(&bytes[offset..]) else { break };
        let Some(frame) = bytes.get_mut(offset..offset + found.frame_bytes()) else { break };
        frame[40..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
        let seed = header.salt.wrapping_add((offset as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        sum = XxHash3_64::oneshot_with_seed(seed, &frame[8..]);
        frame[..8].copy_from_slice(&sum.to_le_bytes());
        offset += frame.len();
    }
    (sum, offset as u64)
}

/// A frame that was accepted, encoded anew: as it is on the medium.
fn encoded(header: &Header, content: &FrameContent<'_>, salt: u64, offset: u64) -> Vec<u8> {
    let place = FramePlace {
        salt,
        offset,
        back: header.back,
        unsynced: header.unsynced,
        opening: header.opening,
        previous: header.previous,
        last: header.last,
    };
    let mut bytes = Vec::new();
    encode(&mut bytes, content, &place);
    bytes
}

/// `data` with one bit turned; `draw` decides which.
fn turned(data: &[u8], draw: u64) -> Vec<u8> {
    let mut bytes = data.to_vec();
    if let Some(bits) = (bytes.len() as u64 * 8).checked_sub(1) {
        let bit = draw % (bits + 1);
        bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    }
    bytes
}
