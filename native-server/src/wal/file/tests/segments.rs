//! A log of many segments and a stored baseline is read as one, and refused when a piece of it is not what it was.

use super::super::super::conformance::{append, close, group, line, open_with, options, run};
use super::super::super::error::{OpenError, ReadError};
use super::super::super::manifest::{Backend, Files, Manifest};
use super::super::super::{BaselinePiece, Opened, Replayed, StateFacts, Wal};
use super::super::FileWal;
use super::super::header::FileKind;
use super::medium::Medium;
use super::{SMALL, keep_nothing};

/// A log of sixty records in many segments, left without an orderly end.
fn written(medium: &Medium) -> Opened {
    let mut wal = FileWal::on(medium.storage(), SMALL);
    let mut opened = open_with(&mut wal, &options(1000)).unwrap().0;
    for first in (1..=60).step_by(3) {
        append(&mut opened, &group(first, 3, (first == 1).then_some(1000))).unwrap();
    }
    opened
}

fn open(medium: &Medium, now_ms: u64) -> Result<Opened, OpenError> {
    run(FileWal::on(medium.storage(), SMALL).open(&options(now_ms), &mut |_| Ok(())))
}

fn files(medium: &Medium) -> Files {
    Manifest::read(&*medium.storage(), Backend::File).unwrap().unwrap().files.unwrap()
}

fn store_baseline(opened: &Opened, seq: u64, text: &[u8]) {
    let mut sink = run(opened.keeper.as_ref().unwrap().begin(seq)).unwrap();
    run(sink.push(BaselinePiece::Lines(text))).unwrap();
    run(sink.finish(StateFacts { seq, keys: 1, digest: "xxh3:0".into() })).unwrap();
}

/// The baseline's text and the records behind it.
fn replayed(medium: &Medium, now_ms: u64) -> (Vec<u8>, Vec<u64>) {
    let (mut baseline, mut seqs) = (Vec::new(), Vec::new());
    let mut wal = FileWal::on(medium.storage(), SMALL);
    run(wal.open(&options(now_ms), &mut |piece| {
        match piece {
            Replayed::Baseline(BaselinePiece::Lines(text)) => baseline.extend_from_slice(text),
            Replayed::Baseline(other) => panic!("{other:?}"),
            Replayed::Record(record) => seqs.push(record.seq),
        }
        Ok(())
    }))
    .unwrap();
    (baseline, seqs)
}

/// Reads from each record on, up to the end.
fn reads_all(opened: &Opened) {
    for from in 1..=60 {
        let mut next = from;
        while let Some(chunk) = run(opened.reader.read(next, 400)).unwrap() {
            for text in chunk.lines.split_inclusive(|&byte| byte == b'\n') {
                assert_eq!(text[..text.len() - 1], line(next, (next == 1).then_some(1000)));
                next += 1;
            }
            assert_eq!(next, chunk.through + 1);
        }
        assert_eq!(next, 61);
    }
}

#[test]
fn reads_and_replays_over_all_segments() {
    let medium = Medium::new(1);
    let opened = written(&medium);
    assert!(files(&medium).sealed.len() > 10, "{} segments", files(&medium).sealed.len());
    reads_all(&opened);
    drop(opened);
    for _ in 0..3 {
        assert_eq!(replayed(&medium, 2000), (vec![], (1..=60).collect()));
    }
}

#[test]
fn reads_what_a_baseline_covers_after_a_start() {
    let medium = Medium::new(1);
    let opened = written(&medium);
    store_baseline(&opened, 40, b"forty\n");
    drop(opened);
    reads_all(&open(&medium, 2000).unwrap());
}

#[test]
fn usage_tells_what_a_baseline_saves_a_start() {
    let medium = Medium::new(1);
    let opened = written(&medium);
    let before = opened.keeper.as_ref().unwrap().usage();
    store_baseline(&opened, 40, b"forty\n");
    let usage = opened.keeper.as_ref().unwrap().usage();
    assert_eq!((usage.log_bytes, usage.baseline.map(|baseline| baseline.seq)), (before.log_bytes, Some(40)));
    assert!(usage.replay_bytes < before.log_bytes / 2);
}

#[test]
fn a_start_goes_on_from_baseline_and_tail_before_and_after_trimming() {
    let medium = Medium::new(1);
    let opened = written(&medium);
    store_baseline(&opened, 40, b"forty\n");
    assert_eq!(replayed_copy(&medium), (b"forty\n".to_vec(), (41..=60).collect()));
    let freed = run(opened.keeper.as_ref().unwrap().trim(&keep_nothing(), None)).unwrap();
    assert!(freed > 0);
    let floor = opened.reader.floor();
    assert!((38..=41).contains(&floor), "{floor}");
    assert!(matches!(run(opened.reader.read(floor - 1, 100)), Err(ReadError::Trimmed { .. })));
    assert!(run(opened.reader.read(floor, 100)).unwrap().is_some());
    let gone = medium.storage().names().unwrap().iter().filter(|name| name.ends_with(".wal")).count();
    assert_eq!(gone, files(&medium).segment_numbers().count(), "files of what was let go of are removed");
    drop(opened);
    assert_eq!(replayed(&medium, 2000), (b"forty\n".to_vec(), (41..=60).collect()));
    // A newer baseline takes the older one's place.
    let mut opened = open(&medium, 3000).unwrap();
    let epoch = opened.epoch;
    append(&mut opened, &group(61, 2, Some(epoch))).unwrap();
    store_baseline(&opened, 62, b"sixty-two\n");
    let baselines = medium.storage().names().unwrap().into_iter().filter(|name| name.ends_with(".base")).count();
    assert_eq!(baselines, 1);
    drop(opened);
    assert_eq!(replayed(&medium, 4000), (b"sixty-two\n".to_vec(), vec![]));
}

fn replayed_copy(medium: &Medium) -> (Vec<u8>, Vec<u64>) {
    replayed(&medium.copy(), 2000)
}

#[test]
fn a_baseline_given_up_changes_nothing() {
    let medium = Medium::new(1);
    let opened = written(&medium);
    let names = medium.storage().names().unwrap();
    let mut sink = run(opened.keeper.as_ref().unwrap().begin(40)).unwrap();
    run(sink.push(BaselinePiece::Lines(b"forty\n"))).unwrap();
    drop(sink);
    assert_eq!(medium.storage().names().unwrap(), names);
    assert_eq!(replayed_copy(&medium).1.len(), 60);
}

#[test]
fn refuses_a_missing_exchanged_or_shortened_file_by_name() {
    let medium = Medium::new(1);
    let opened = written(&medium);
    store_baseline(&opened, 20, b"twenty\n");
    drop(opened);
    let files = files(&medium);
    let baseline = FileKind::Baseline.name(files.baseline.as_ref().unwrap().number);
    let segments: Vec<_> = files.segment_numbers().map(|number| FileKind::Segment.name(number)).collect();
    let mut refused = 0;
    for name in segments.iter().chain([&baseline]) {
        let damages: [&dyn Fn(&Medium); 3] = [
            &|medium| medium.storage().remove(name).unwrap(),
            &|medium| medium.set_content(name, &medium.content(&segments[if *name == segments[3] { 4 } else { 3 }])),
            &|medium| {
                let bytes = medium.content(name);
                medium.set_content(name, &bytes[..bytes.len() / 2]);
            },
        ];
        // The end of the segment in use was never synced for all the manifest tells: what is missing there was torn.
        let count = if *name == segments[segments.len() - 1] { 2 } else { 3 };
        for damage in &damages[..count] {
            let medium = medium.copy();
            damage(&medium);
            match open(&medium, 2000) {
                Err(OpenError::Damaged { file, .. }) => {
                    assert!(file.ends_with(name), "{name}: {}", file.display());
                    refused += 1;
                }
                Err(other) => panic!("{name}: {other}"),
                Ok(_) => panic!("{name}: opened"),
            }
        }
    }
    assert_eq!(refused, 3 * (segments.len() + 1) - 1);
}

#[test]
fn finds_every_flipped_bit_of_sealed_segments_and_the_baseline() {
    let medium = Medium::new(1);
    let opened = written(&medium);
    store_baseline(&opened, 20, b"twenty\n");
    close(opened);
    let mut flips = 0;
    for name in medium.storage().names().unwrap().iter().filter(|name| name.contains('.')) {
        let bytes = medium.content(name);
        for bit in (0..bytes.len() * 8).step_by(5) {
            let medium = medium.copy();
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            medium.set_content(name, &flipped);
            let error = open(&medium, 2000).map(|_| ()).unwrap_err();
            assert!(matches!(&error, OpenError::Damaged { file, .. } if file.ends_with(name)), "{name} {bit}: {error}");
            flips += 1;
        }
    }
    println!("{flips} flips refused");
    assert!(flips > 5_000, "{flips}");
}
