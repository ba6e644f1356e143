//! A replica's directory becomes a writer's in one step, and is the one or the other whenever power is lost.

use super::super::super::conformance::{append, group, open_with, options};
use super::super::super::error::OpenError;
use super::super::super::manifest::{Backend, Manifest};
use super::super::promote::Promotion;
use super::super::replica::{ReplicaFrame, ReplicaLog};
use super::super::{FileOptions, FileWal};
use super::medium::{Fault, Medium};
use super::{OPTIONS, SMALL};
use headwater_core::id::Id;
use headwater_core::position::{EpochStart, EpochTable};

const EPOCH: u64 = 4_000;
const TAKEOVER: u64 = 5_000;
const RECORDS: u64 = 6;

fn text(seq: u64) -> String {
    format!("{{ \"seq\": {seq} }}")
}

/// A replica's disk with some lines, spelled as no writer would.
fn replica(files: FileOptions) -> Medium {
    let medium = Medium::new(3);
    let mut log = open(&medium, files).unwrap();
    for seq in 1..=RECORDS {
        let (line, progress) = (format!("{}\n", text(seq)), seq.to_string());
        let line = ReplicaFrame::Line { seq, line: line.as_bytes() };
        log.append(&[line, ReplicaFrame::Progress { seq, text: progress.as_bytes() }]).unwrap();
    }
    medium
}

fn open(medium: &Medium, files: FileOptions) -> Result<ReplicaLog, OpenError> {
    ReplicaLog::open_on(medium.storage(), files, "r", &mut |_| Ok(())).map(|opened| opened.log)
}

fn promote(medium: &Medium, files: FileOptions) -> Option<()> {
    let epochs = EpochTable::new(vec![EpochStart { epoch: EPOCH, first: 1 }]).unwrap();
    let promotion = Promotion { cluster: Id::from_bytes([5; 16]), epoch: EPOCH, takeover: TAKEOVER, epochs };
    open(medium, files).ok()?.promote(promotion).ok()
}

/// Opens as a writer again and again, with records of its own.
fn serves(medium: &Medium, files: FileOptions) {
    let mut last = EPOCH;
    for round in 0..3 {
        let mut wal = FileWal::on(medium.storage(), files);
        let (mut opened, found) = open_with(&mut wal, &options(1_000)).unwrap();
        let lines: Vec<_> = found[..RECORDS as usize].iter().map(|(_, line, ..)| line.clone()).collect();
        assert_eq!(lines, (1..=RECORDS).map(|seq| text(seq).into_bytes()).collect::<Vec<_>>());
        assert_eq!(found.len() as u64, RECORDS + 2 * round);
        assert!(opened.epoch > last, "{} after {last}", opened.epoch);
        assert_eq!((opened.cluster, opened.takeover), (Id::from_bytes([5; 16]), TAKEOVER));
        assert_eq!(opened.last.map(|last| last.seq), Some(RECORDS + 2 * round));
        assert_eq!(opened.epochs.starts()[0], EpochStart { epoch: EPOCH, first: 1 });
        last = opened.epoch;
        let next = opened.next_seq();
        append(&mut opened, &group(next, 2, Some(last))).unwrap();
    }
}

#[test]
fn a_writer_goes_on_behind_a_replica_s_lines_however_often_it_starts() {
    for files in [OPTIONS, SMALL] {
        let medium = replica(files);
        promote(&medium, files).unwrap();
        serves(&medium, files);
        assert!(matches!(open(&medium, files), Err(OpenError::Mismatch { .. })));
    }
}

#[test]
fn power_lost_during_a_promotion_leaves_the_one_or_the_other() {
    let (mut cuts, mut promoted) = (0, 0);
    for files in [OPTIONS, SMALL] {
        let before = replica(files);
        for cut in 1.. {
            let medium = before.copy();
            medium.fault(cut, Fault::PowerCut);
            let ended = promote(&medium, files).is_some() && medium.is_on();
            medium.power_on();
            match Manifest::read_any(&*medium.storage()).unwrap().unwrap().backend {
                Backend::File => promoted += 1,
                _ => promote(&medium, files).unwrap(),
            }
            serves(&medium, files);
            if ended {
                break;
            }
            cuts += 1;
        }
    }
    println!("{cuts} cuts during a promotion, {promoted} after it");
    assert!(cuts > 20 && promoted >= 2, "{cuts} {promoted}");
}
