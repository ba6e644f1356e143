//! A whole segment.

use super::super::super::error::OpenError;
use super::super::super::manifest::{ActivePlace, SealedPlace, Sum};
use super::super::frame::FrameContent;
use super::super::header::{FILE_HEADER_BYTES, FileHeader, FileKind, Origin};
use super::super::scan::{Expected, Place, Shape, header_of, scan};
use super::super::walk::{Step, Walk, Window};
use super::bytes::Bytes;
use super::{SALT, encoded, mend, split, turned};
use std::path::Path;

/// Number of the segments here.
const NUMBER: u32 = 3;

/// A frame that was shown: whether it is a record, its seq and epoch, meta and text.
type Shown = (bool, u64, Option<u64>, Vec<u8>, Vec<u8>);

/// Scans `data` as a segment. What counts lies within the file and encodes as it was; a file that was cut short, not before
/// what is known to be synced, shows the beginning of the same; a sealed one counts as a whole or is refused, and is
/// refused with any bit turned.
/// Returns whether it was accepted.
///
/// # Panics
/// When any of this does not hold.
pub fn segment(data: &[u8]) -> bool {
    let Some((control, bytes)) = split(data) else { return false };
    let Some((draw, bytes)) = split(bytes) else { return false };
    let shape = if control & 1 == 1 { Shape::Writer } else { Shape::Replica };
    let origin = if shape == Shape::Writer { Origin::Writer } else { Origin::Replica };
    let mut bytes = bytes.to_vec();
    let frames = usize::from(control >> 2);
    let mut sum = 0;
    let mut end = bytes.len() as u64;
    if frames > 0 {
        let seq = bytes.get(32).copied().unwrap_or_default().into();
        let header = FileHeader { kind: FileKind::Segment, origin, number: NUMBER, salt: SALT, seq, previous: 7 };
        (sum, end) = mend(&mut bytes, &header, frames);
    }
    // Everything was written by the newest opening, 2 as the seeds have it, or before the newest.
    let (start, opening) = if draw & 1 == 1 { (FILE_HEADER_BYTES as u64, 2) } else { (end, 3) };
    // A segment is named once its header is durable.
    let synced = if draw & 2 == 2 { 0 } else { end.min(u64::from(draw) << 3) }.max(FILE_HEADER_BYTES as u64);
    let active = Place::Active(ActivePlace { number: NUMBER, start, synced });
    let Ok((shown, found_end, through, last_sum)) = shown(&bytes, shape, active, opening, u64::MAX) else {
        return false;
    };
    assert!(
        synced <= found_end && found_end <= bytes.len() as u64,
        "the end is within the file, behind what was synced"
    );
    let counted = reencoded(&bytes[..found_end as usize]);
    assert!(counted.len() >= shown.len(), "no more is shown than there is");
    if shape == Shape::Writer {
        assert_eq!(counted, shown, "everything before the end is shown, and encodes as it was");
    }

    // No text that is written holds the byte that frames begin with, so none can hold a frame.
    let holds_frames = reencoded(&bytes).iter().any(|(.., meta, text)| meta.contains(&0xff) || text.contains(&0xff));
    if !holds_frames {
        let cut = (u64::from(draw) * 257 % (bytes.len() as u64 + 1)).max(synced);
        let (begun, ..) = self::shown(&bytes[..cut as usize], shape, active, opening, cut)
            .unwrap_or_else(|error| panic!("cut short at {cut}, behind {synced}, it is refused: {error}"));
        assert!(shown.starts_with(&begun), "cut short at {cut} it shows the beginning of the same");
    }

    let sealed = SealedPlace { number: NUMBER, through, end: found_end, sum: Sum(last_sum), sealed_ms: 0 };
    let whole = self::shown(&bytes, shape, Place::Sealed(sealed), opening, found_end);
    assert_eq!(whole.expect("what counts can be sealed").0, shown, "a sealed segment is what it was");
    let another = Place::Sealed(SealedPlace { sum: Sum(!last_sum), ..sealed });
    assert!(self::shown(&bytes, shape, another, opening, found_end).is_err(), "the manifest names another");
    let bit = u64::from(draw).wrapping_mul(0x9e37_79b9).wrapping_add(sum) >> 3;
    let other = turned(&bytes[..found_end as usize], bit);
    assert!(self::shown(&other, shape, Place::Sealed(sealed), opening, found_end).is_err(), "a bit of it was turned");
    true
}

type Scanned = (Vec<Shown>, u64, u64, u64);

/// What a scan shows, and end, reach and last checksum of what counts. Reads nothing from `limit` on.
fn shown(bytes: &[u8], shape: Shape, place: Place, opening: u32, limit: u64) -> Result<Scanned, OpenError> {
    let mut file = Bytes::new(bytes.to_vec());
    file.limit = limit.min(bytes.len() as u64);
    let path = Path::new("segment");
    let expected = Expected { path, shape, place, opening, follows: None };
    let mut shown = Vec::new();
    let found = scan(&file, &expected, &mut |frame, _| {
        shown.push(as_shown(frame));
        Ok(())
    })?;
    let follows = found.follows();
    Ok((shown, found.end, follows.through, follows.sum))
}

fn as_shown(frame: &FrameContent<'_>) -> Shown {
    let FrameContent { kind, seq, epoch, meta, text } = *frame;
    (kind.is_record(), seq, epoch, meta.to_vec(), text.to_vec())
}

/// The frames of a file, each checked to encode as it was.
fn reencoded(bytes: &[u8]) -> Vec<Shown> {
    let (header, sum) = header_of(bytes, Path::new("segment")).expect("it was read");
    let file = Bytes::new(bytes.to_vec());
    let mut window = Window::new(&file, bytes.len() as u64, 64);
    let mut walk = Walk::new(header.salt, FILE_HEADER_BYTES as u64, Some(sum));
    let mut frames = Vec::new();
    while let Step::Frame { offset, header: found, content } = walk.next(&mut window).expect("memory does not fail") {
        let again = encoded(&found, &content, header.salt, offset);
        assert_eq!(again, &bytes[offset as usize..offset as usize + again.len()], "it encodes as it was");
        frames.push(as_shown(&content));
    }
    frames
}
