//! A log of more than 64 KiB, of two openings, with sealed segments, a stored baseline and no orderly end: whichever bit of
//! it is turned, the opening names the file, or the bit lies in the last write and no more than that is cut off.

use super::super::super::conformance::{append, close, group, options, run};
use super::super::super::error::OpenError;
use super::super::super::manifest::{Backend, MANIFEST_FILE, Manifest};
use super::super::super::{BaselinePiece, Opened, Replayed, StateFacts, Wal};
use super::super::header::FileKind;
use super::super::{FileOptions, FileWal, SyncMode};
use super::medium::Medium;
use super::segment;
use std::env;
use std::thread::{self, available_parallelism};

const FILES: FileOptions = FileOptions { segment_bytes: 12 << 10, room_bytes: 0, sync: SyncMode::Group };
const LOG_BYTES_MIN: usize = 64 << 10;
const BASELINE_SEQ: u64 = 90;
const LAST_GROUP: u64 = 5;
/// Unless `HEADWATER_FLIPS=all`, one bit in so many is tried; prime, so that all places in a byte and a field are met.
const STEP: usize = 67;

struct Written {
    medium: Medium,
    /// The newest segment, and where the last group begins in it.
    active: String,
    last_start: usize,
    /// The newest seq that is known to be durable, and the newest of all.
    durable: u64,
    last: u64,
}

fn written() -> Written {
    let medium = Medium::new(1);
    let mut wal = FileWal::on(medium.storage(), FILES);
    let mut next = 1;
    let mut fill = |opened: &mut Opened, groups: u64| {
        let mut epoch = Some(opened.epoch);
        for size in (1..=groups).map(|group| group % 9 + 1) {
            append(opened, &group(next, size, epoch.take())).unwrap();
            next += size;
        }
        next - 1
    };
    let mut opened = run(wal.open(&options(1_000), &mut |_| Ok(()))).unwrap();
    fill(&mut opened, 40);
    let mut sink = run(opened.keeper.as_ref().unwrap().begin(BASELINE_SEQ)).unwrap();
    run(sink.push(BaselinePiece::Lines(&b"{\"key\":1}\n".repeat(300)))).unwrap();
    run(sink.finish(StateFacts { seq: BASELINE_SEQ, keys: 300, digest: "xxh3:0".into() })).unwrap();
    close(opened);
    let mut opened = run(wal.open(&options(2_000), &mut |_| Ok(()))).unwrap();
    let durable = fill(&mut opened, 60);
    let active =
        segment(Manifest::read(&*medium.storage(), Backend::File).unwrap().unwrap().files.unwrap().active.number);
    let last_start = medium.content(&active).len();
    append(&mut opened, &group(durable + 1, LAST_GROUP, None)).unwrap();
    drop(opened);
    assert!(medium.content(&active).len() > last_start, "the last group went to another segment");
    Written { medium, active, last_start, durable, last: durable + LAST_GROUP }
}

/// Opens the log; the newest seq that was found, which all before must lead to.
fn open(medium: &Medium) -> Result<u64, OpenError> {
    let mut last = BASELINE_SEQ;
    let mut replay = |piece: Replayed<'_>| {
        if let Replayed::Record(record) = piece {
            assert_eq!(record.seq, last + 1);
            last = record.seq;
        }
        Ok(())
    };
    run(FileWal::on(medium.storage(), FILES).open(&options(3_000), &mut replay))?;
    Ok(last)
}

/// Turns one bit of a file and opens. Returns whether that was refused.
fn refused(written: &Written, name: &str, content: &[u8], bit: usize) -> bool {
    let medium = written.medium.copy();
    let mut flipped = content.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    medium.set_content(name, &flipped);
    match open(&medium) {
        Err(OpenError::Damaged { file, .. } | OpenError::Mismatch { file, .. }) => {
            assert!(file.ends_with(name), "bit {bit} of {name}: {} is named", file.display());
            true
        }
        Err(other) => panic!("bit {bit} of {name}: {other}"),
        Ok(last) => {
            assert!(name == written.active && bit / 8 >= written.last_start, "bit {bit} of {name} was not noticed");
            assert!((written.durable..=written.last).contains(&last), "bit {bit} of {name}: {last}");
            false
        }
    }
}

#[test]
fn no_turned_bit_of_a_log_goes_unnoticed() {
    let written = written();
    let step = if env::var("HEADWATER_FLIPS").is_ok_and(|which| which == "all") { 1 } else { STEP };
    let threads = available_parallelism().map_or(1, usize::from);
    let names = written.medium.storage().names().unwrap();
    let files = names.iter().filter(|name| name.contains('.') || *name == MANIFEST_FILE);
    let (mut bytes, mut segments, mut flips, mut torn) = (0, 0, 0, 0);
    for name in files {
        let content = &written.medium.content(name)[..];
        (bytes, segments) = (bytes + content.len(), segments + usize::from(FileKind::Segment.number(name).is_some()));
        let written = &written;
        let tried = thread::scope(|scope| {
            let parts: Vec<_> = (0..threads)
                .map(|part| {
                    let bits = (part * step..content.len() * 8).step_by(threads * step);
                    scope.spawn(move || {
                        let tried: Vec<_> = bits.map(|bit| refused(written, name, content, bit)).collect();
                        (tried.len(), tried.iter().filter(|refused| !**refused).count())
                    })
                })
                .collect();
            parts.into_iter().map(|part| part.join().unwrap()).collect::<Vec<_>>()
        });
        for (count, accepted) in tried {
            (flips, torn) = (flips + count, torn + accepted);
        }
    }
    println!(
        "{flips} of {} bits turned in {segments} segments, baseline and manifest: {torn} in the last write, \
              the others refused",
        bytes * 8
    );
    assert!(bytes >= LOG_BYTES_MIN && segments >= 4, "{bytes} bytes in {segments} segments");
    let last_bits = (written.medium.content(&written.active).len() - written.last_start) * 8;
    assert!(torn.abs_diff(last_bits / step) <= threads, "{torn} of {last_bits}");
}
