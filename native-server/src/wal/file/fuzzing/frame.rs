//! One frame.

use super::super::frame::{HEADER_BYTES, Header, META_BYTES_MAX, TEXT_BYTES_MAX};
use super::{encoded, split, turned};
use twox_hash::XxHash3_64;

/// Reads `data` as one frame. What is accepted is within its bounds, encodes as it was, and is accepted neither at another
/// place nor with a bit turned.
/// Returns whether it was accepted.
///
/// # Panics
/// When any of this does not hold.
pub fn frame(data: &[u8]) -> bool {
    let Some((control, bytes)) = split(data) else { return false };
    let (salt, offset) = (u64::from(control) * 0x0101_0101, u64::from(control >> 1) << 20);
    let mut bytes = bytes.to_vec();
    let Some(header) = Header::decode(&bytes) else { return false };
    let length = header.frame_bytes();
    assert!((HEADER_BYTES..=HEADER_BYTES + TEXT_BYTES_MAX + META_BYTES_MAX).contains(&length), "{length}");
    if bytes.len() < length {
        return false;
    }
    bytes.truncate(length);
    if control & 1 == 1 {
        let seed = salt.wrapping_add(offset.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let sum = XxHash3_64::oneshot_with_seed(seed, &bytes[8..]);
        bytes[..8].copy_from_slice(&sum.to_le_bytes());
    }
    let header = Header::decode(&bytes).expect("it was one, whatever its checksum");
    let Some(content) = header.content(&bytes, salt, offset) else { return false };
    assert_eq!(content.frame_bytes(), length, "it is as long as it says");
    assert_eq!(encoded(&header, &content, salt, offset), bytes, "it encodes as it was");
    assert!(header.content(&bytes, salt.wrapping_add(1), offset).is_none(), "in another file");
    assert!(header.content(&bytes, salt, offset + 1).is_none(), "at another place");
    let other = turned(&bytes, header.sum);
    if let Some(header) = Header::decode(&other).filter(|header| header.frame_bytes() == other.len()) {
        assert!(header.content(&other, salt, offset).is_none(), "a bit of it was turned");
    }
    true
}
