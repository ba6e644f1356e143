//! Torn writes are cut off, damage is refused: every length, every bit.

use super::super::super::Opened;
use super::super::super::conformance::{Replayed, append, close, group, open_with, options};
use super::super::super::error::{OpenError, ReadError};
use super::super::super::manifest::{MANIFEST_FILE, Manifest};
use super::super::FileWal;
use super::medium::{Medium, Random};
use super::{OPTIONS, segment};

/// Bounds of the groups that [`written`] leaves in the segment.
struct Written {
    medium: Medium,
    bytes: Vec<u8>,
    /// Where each group ends, and the last seq by then.
    ends: Vec<(usize, u64)>,
}

/// A log of two openings in one segment, three groups in the last, and no orderly end to that.
fn written() -> Written {
    let medium = Medium::new(1);
    let (mut ends, mut next) = (Vec::new(), 1);
    for (now_ms, sizes) in [(1000, &[1, 2][..]), (2000, &[1, 3, 4])] {
        let (mut opened, _) = open(&medium, now_ms).unwrap();
        for (index, &size) in sizes.iter().enumerate() {
            append(&mut opened, &group(next, size, (index == 0).then_some(now_ms))).unwrap();
            next += size;
            ends.push((medium.content(&segment(1)).len(), next - 1));
        }
        if now_ms == 1000 {
            close(opened);
        }
    }
    let bytes = medium.content(&segment(1));
    Written { medium, bytes, ends }
}

fn open(medium: &Medium, now_ms: u64) -> Result<(Opened, Replayed), OpenError> {
    open_with(&mut FileWal::on(medium.storage(), OPTIONS), &options(now_ms))
}

/// Opens a copy of the log whose segment is `bytes`.
fn reopened(written: &Written, bytes: &[u8]) -> Result<(Opened, Replayed), OpenError> {
    open(&with_segment(written, bytes), 3000)
}

fn with_segment(written: &Written, bytes: &[u8]) -> Medium {
    let medium = written.medium.copy();
    medium.set_content(&segment(1), bytes);
    medium
}

/// The records by number, which must be the first of those written.
fn seqs(written: &Written, replayed: &Replayed) -> u64 {
    let (_, all) = open(&written.medium.copy(), 3000).unwrap();
    assert_eq!(replayed[..], all[..replayed.len()]);
    replayed.len() as u64
}

#[test]
fn cuts_off_a_write_torn_at_any_byte() {
    let written = written();
    let [.., (from, durable), (to, all)] = written.ends[..] else { unreachable!() };
    for length in from..=to {
        let medium = with_segment(&written, &written.bytes[..length]);
        let (opened, replayed) = open(&medium, 3000).unwrap();
        let kept = seqs(&written, &replayed);
        assert!((durable..=all).contains(&kept), "{length}: {kept}");
        assert_eq!(kept == all, length == to, "{length}");
        // Zeros at the end cannot be told from room that was made ready.
        let written_end = written.bytes[..length].iter().rposition(|&byte| byte != 0).unwrap() + 1;
        let cut_end = opened.recovered.as_ref().map_or(written_end as u64, |cut| cut.offset + cut.truncated_bytes);
        assert_eq!(cut_end, written_end as u64);
        assert_eq!(opened.next_seq(), kept + 1);
    }
}

#[test]
fn cuts_off_stale_bytes_behind_a_torn_write() {
    let written = written();
    let [.., (from, durable), (to, _)] = written.ends[..] else { unreachable!() };
    let mut random = Random(7);
    let garbage: Vec<u8> = (0..600).map(|_| random.below(256) as u8).collect();
    // What another life of the medium left: whole frames of an earlier opening, of this segment and in order.
    let earlier = &written.bytes[56..written.ends[1].0];
    for length in from..to {
        for stale in [&garbage, &vec![0; 5000], earlier] {
            let bytes = [&written.bytes[..length], stale].concat();
            let (opened, replayed) = reopened(&written, &bytes).unwrap();
            assert!(seqs(&written, &replayed) >= durable);
            let written_end = bytes.iter().rposition(|&byte| byte != 0).unwrap() as u64 + 1;
            let cut_end = opened.recovered.map_or(written_end, |cut| cut.offset + cut.truncated_bytes);
            assert_eq!(cut_end, written_end);
        }
    }
}

#[test]
fn takes_frames_behind_a_hole_in_the_last_write_for_torn() {
    let written = written();
    let [.., (from, durable), (to, _)] = written.ends[..] else { unreachable!() };
    // The last write has four frames; the pages of the first never reached the medium, the others did.
    for hole in [9, 48, 100] {
        let mut bytes = written.bytes.clone();
        bytes[from..from + hole].fill(0);
        let (_, replayed) = reopened(&written, &bytes).unwrap();
        assert_eq!(seqs(&written, &replayed), durable);
    }
    assert!(to - from > 400);
}

#[test]
fn a_write_that_was_cut_off_does_not_come_back() {
    let written = written();
    let [.., (from, durable), _] = written.ends[..] else { unreachable!() };
    let medium = written.medium.copy();
    medium.set_content(&segment(1), &written.bytes[..from]);
    drop(open(&medium, 3000).unwrap());
    // The medium brings back what was cut off, at its old place and whole, under an opening that never wrote it.
    drop(medium.storage().create(&segment(1)).unwrap());
    medium.set_content(&segment(1), &written.bytes);
    let (opened, replayed) = open(&medium, 4000).unwrap();
    assert_eq!((seqs(&written, &replayed), opened.recovered), (durable, None));
}

#[test]
fn refuses_a_hole_before_the_last_write() {
    let written = written();
    let last_start = written.ends[written.ends.len() - 2].0;
    for (from, to) in [(40, 60), (100, last_start), (last_start - 1, last_start), (last_start - 200, last_start + 100)]
    {
        let mut bytes = written.bytes.clone();
        bytes[from..to].fill(0);
        match reopened(&written, &bytes) {
            Err(OpenError::Damaged { file, offset, .. }) => {
                assert!(file.ends_with(segment(1)));
                assert!(offset <= from as u64 && from as u64 - offset < 400, "{from}: {offset}");
            }
            Err(other) => panic!("{from}..{to}: {other}"),
            // A hole that reaches into the last write and hides the beginning of every frame behind it.
            Ok((_, replayed)) => panic!("{from}..{to}: opened with {}", replayed.len()),
        }
    }
}

#[test]
fn refuses_a_file_shorter_than_what_was_durable_at_the_last_opening() {
    let written = written();
    let start = written.ends[1].0;
    for length in 0..start {
        match reopened(&written, &written.bytes[..length]).map(|_| ()).unwrap_err() {
            OpenError::Damaged { offset, detail, .. } => {
                assert_eq!(offset, length as u64);
                assert!(detail.contains("the file ends here"), "{detail}");
            }
            other => panic!("{length}: {other}"),
        }
    }
}

#[test]
fn finds_every_flipped_bit_or_it_lies_in_the_last_write() {
    let written = written();
    let [.., (last_start, durable), _] = written.ends[..] else { unreachable!() };
    let (mut damaged, mut torn) = (0, 0);
    for bit in 0..written.bytes.len() * 8 {
        let mut bytes = written.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match reopened(&written, &bytes) {
            Err(OpenError::Damaged { .. } | OpenError::Mismatch { .. }) => damaged += 1,
            Err(other) => panic!("bit {bit}: {other}"),
            Ok((_, replayed)) => {
                assert!(bit / 8 >= last_start, "bit {bit} was not noticed");
                assert!((durable..durable + 4).contains(&seqs(&written, &replayed)));
                torn += 1;
            }
        }
    }
    println!("{damaged} flips refused, {torn} in the last write");
    assert_eq!(torn, (written.bytes.len() - last_start) * 8);
}

#[test]
fn finds_every_flipped_bit_after_an_orderly_end() {
    let written = written();
    let (mut opened, _) = open(&written.medium, 3000).unwrap();
    let (next, epoch) = (opened.next_seq(), opened.epoch);
    append(&mut opened, &group(next, 2, Some(epoch))).unwrap();
    close(opened);
    let names = written.medium.storage().names().unwrap();
    let segments: Vec<_> = names.iter().filter(|name| name.ends_with(".wal")).collect();
    assert_eq!(segments.len(), 1);
    let bytes = written.medium.content(segments[0]);
    for bit in 0..bytes.len() * 8 {
        let medium = written.medium.copy();
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        medium.set_content(segments[0], &flipped);
        let error = open(&medium, 4000).map(|_| ()).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "bit {bit}: {error}");
    }
}

#[test]
fn refuses_a_manifest_with_any_bit_flipped_or_byte_missing() {
    let written = written();
    let manifest = written.medium.content(MANIFEST_FILE);
    let refused = |bytes: &[u8]| {
        let medium = written.medium.copy();
        medium.set_content(MANIFEST_FILE, bytes);
        let error = open(&medium, 3000).map(|_| ()).unwrap_err();
        assert!(matches!(&error, OpenError::Damaged { file, .. } if file.ends_with(MANIFEST_FILE)), "{error}");
    };
    for bit in 0..manifest.len() * 8 {
        let mut flipped = manifest.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        refused(&flipped);
    }
    for length in 0..manifest.len() {
        refused(&manifest[..length]);
    }
}

#[test]
fn refuses_a_manifest_older_than_the_segments() {
    for orderly in [true, false] {
        let medium = Medium::new(1);
        let (mut opened, _) = open(&medium, 1000).unwrap();
        append(&mut opened, &group(1, 3, Some(1000))).unwrap();
        if orderly {
            close(opened);
        } else {
            drop(opened);
        }
        let older = medium.content(MANIFEST_FILE);
        let first = medium.content(&segment(1));
        let (mut opened, _) = open(&medium, 2000).unwrap();
        append(&mut opened, &group(4, 3, Some(2000))).unwrap();
        drop(opened);
        // A backup took the manifest before a restart and the segments after it.
        medium.set_content(MANIFEST_FILE, &older);
        let newest = if orderly { segment(1) } else { segment(2) };
        let before = medium.content(&newest);
        if !orderly {
            drop(medium.storage().create(&segment(1)).unwrap());
            medium.set_content(&segment(1), &first);
        }
        let Err(OpenError::Damaged { detail, .. }) = open(&medium, 3000) else { panic!("orderly {orderly}") };
        assert!(detail.contains("put the newer"), "{detail}");
        assert_eq!(medium.content(&newest), before, "nothing is cut off");
    }
}

#[test]
fn a_manifest_that_names_no_files_is_of_another_program_and_no_damage() {
    let written = written();
    let text = String::from_utf8(written.medium.content(MANIFEST_FILE)).unwrap();
    let mut body: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    body["files"] = serde_json::Value::Null;
    let line = format!("{body}\n");
    let sum = twox_hash::XxHash3_64::oneshot(line.as_bytes());
    let medium = written.medium.copy();
    medium.set_content(MANIFEST_FILE, format!("{line}xxh3:{sum:016x}\n").as_bytes());
    // What starts, and what only looks.
    let errors = [open(&medium, 3000).map(drop), Manifest::read_any(&*medium.storage()).map(drop)];
    for error in errors.map(Result::unwrap_err) {
        assert!(matches!(&error, OpenError::Mismatch { detail, .. } if detail.contains("made it")), "{error}");
    }
}

#[test]
fn refuses_another_format_or_backend_by_name() {
    let written = written();
    let text = String::from_utf8(written.medium.content(MANIFEST_FILE)).unwrap();
    let line = text.lines().next().unwrap();
    for (from, to, named) in [
        ("\"format\":1", "\"format\":2", "format version 2"),
        ("\"file\"", "\"memory\"", "a writer's memory log"),
        ("\"file\"", "\"replica\"", "a replica's own disk"),
        ("\"file\"", "\"kafka\"", "kafka"),
    ] {
        let line = format!("{}\n", line.replace(from, to));
        let sum = twox_hash::XxHash3_64::oneshot(line.as_bytes());
        let medium = written.medium.copy();
        medium.set_content(MANIFEST_FILE, format!("{line}xxh3:{sum:016x}\n").as_bytes());
        let error = open(&medium, 3000).map(|_| ()).unwrap_err();
        assert!(matches!(error, OpenError::Mismatch { .. }), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn refuses_records_without_a_manifest() {
    let written = written();
    let medium = written.medium.copy();
    medium.storage().remove(MANIFEST_FILE).unwrap();
    let error = open(&medium, 3000).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[test]
fn opens_or_refuses_whatever_the_segment_holds() {
    let written = written();
    let mut random = Random(11);
    for _ in 0..2_000 {
        let mut bytes = written.bytes.clone();
        for _ in 0..1 + random.below(8) {
            let (from, length) = (random.below(bytes.len()), random.below(64));
            let to = (from + length).min(bytes.len());
            match random.below(4) {
                0 => bytes[from..to].fill(random.below(256) as u8),
                1 => drop(bytes.drain(from..to)),
                2 => bytes.extend_from_within(from..to),
                _ => bytes[from..to].reverse(),
            }
            if bytes.is_empty() {
                bytes.push(0xff);
            }
        }
        match reopened(&written, &bytes) {
            Ok((_, replayed)) => drop(seqs(&written, &replayed)),
            Err(OpenError::Damaged { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn reading_back_stops_at_damage() {
    let written = written();
    let (opened, _) = open(&written.medium, 3000).unwrap();
    let newest = segment(2);
    let mut bytes = written.medium.content(&newest);
    let from = bytes.len() / 2;
    bytes[from..from + 60].fill(0);
    written.medium.set_content(&newest, &bytes);
    let error = super::super::super::conformance::run(opened.reader.read(1, 1 << 20)).unwrap_err();
    assert!(matches!(error, ReadError::Damaged { offset, .. } if offset <= from as u64), "{error}");
}
