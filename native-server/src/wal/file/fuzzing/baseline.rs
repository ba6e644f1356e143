//! A stored baseline.

use super::super::super::error::OpenError;
use super::super::super::keeper::BaselinePiece;
use super::super::super::manifest::{BaselinePlace, Sum};
use super::super::baseline::read;
use super::super::frame::HEADER_BYTES;
use super::super::header::{FILE_HEADER_BYTES, FileHeader, FileKind, Origin};
use super::bytes::{Bytes, Files};
use super::{SALT, mend, split, turned};

const NUMBER: u32 = 4;

/// Reads `data` as a stored baseline. One that is accepted has a frame for each piece and nothing else, and is refused when
/// it is cut short, when the manifest names another, and with any bit turned.
/// Returns whether it was accepted.
///
/// # Panics
/// When any of this does not hold.
pub fn baseline(data: &[u8]) -> bool {
    let Some((control, bytes)) = split(data) else { return false };
    let Some((draw, bytes)) = split(bytes) else { return false };
    let (mut bytes, seq) = (bytes.to_vec(), u64::from(draw));
    let (mut sum, mut end) = (u64::from(draw), bytes.len() as u64);
    let frames = usize::from(control >> 1);
    if frames > 0 {
        let origin = if control & 1 == 1 { Origin::Writer } else { Origin::Replica };
        let header = FileHeader { kind: FileKind::Baseline, origin, number: NUMBER, salt: SALT, seq, previous: 0 };
        (sum, end) = mend(&mut bytes, &header, frames);
    }
    let place =
        BaselinePlace { number: NUMBER, seq, from_segment: 0, end, sum: Sum(sum), keys: 0, digest: String::new() };
    let Ok(pieces) = read_back(&bytes, &place) else { return false };
    let in_pieces: usize = pieces.iter().map(|piece| HEADER_BYTES + piece.len()).sum();
    assert!(FILE_HEADER_BYTES + in_pieces <= end as usize, "no more is shown than there is");
    for other in [
        BaselinePlace { seq: seq + 1, ..place.clone() },
        BaselinePlace { number: NUMBER + 1, ..place.clone() },
        BaselinePlace { end: end - 1, ..place.clone() },
        BaselinePlace { sum: Sum(!sum), ..place.clone() },
    ] {
        assert!(read_back(&bytes, &other).is_err(), "the manifest names another: {other:?}");
    }
    assert!(read_back(&bytes[..end as usize - 1], &place).is_err(), "it is cut short");
    let other = turned(&bytes[..end as usize], sum);
    assert!(read_back(&other, &place).is_err(), "a bit of it was turned");
    true
}

fn read_back(bytes: &[u8], place: &BaselinePlace) -> Result<Vec<Vec<u8>>, OpenError> {
    let mut file = Bytes::new(bytes.to_vec());
    file.limit = place.end.min(bytes.len() as u64);
    let storage = Files::with(&FileKind::Baseline.name(place.number), file);
    let mut pieces = Vec::new();
    read(&storage, place, &mut |piece| {
        let (BaselinePiece::Lines(text) | BaselinePiece::Beside(text) | BaselinePiece::Progress(text)) = piece;
        pieces.push(text.to_vec());
        Ok(())
    })?;
    Ok(pieces)
}
