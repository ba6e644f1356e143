//! A damaged log is mended as far as it can be, with copies of what goes, and a power cut during it makes nothing worse.

mod anything;
mod lost;
mod replica;

use super::super::super::conformance::{append, close, group, line, options, run};
use super::super::super::error::{OpenError, ReplayRefused};
use super::super::super::manifest::{Backend, MANIFEST_FILE, Manifest};
use super::super::super::{BaselinePiece, Opened, Replayed, StateFacts, Wal};
use super::super::header::FileKind;
use super::super::inspect::{Inspect, Inspected};
use super::super::repair::{Known, Outlook, Plan, Repair, TakesContent};
use super::super::replica::{ReplicaFrame, ReplicaLog};
use super::super::{FileOptions, FileWal};
use super::medium::{Fault, Medium};
use super::{OPTIONS, SMALL, keep_nothing, segment};
use headwater_core::position::{EpochStart, EpochTable};

/// When the logs of these tests are repaired.
const NOW_MS: u64 = 5_000;

/// The lines that a log holds, those of its baseline first.
#[derive(Default)]
struct Content {
    lines: Vec<Vec<u8>>,
    epochs: EpochTable,
}

impl TakesContent for Content {
    fn piece(&mut self, piece: BaselinePiece<'_>) -> Result<(), ReplayRefused> {
        if let BaselinePiece::Lines(text) = piece {
            self.lines.extend(text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec));
        }
        Ok(())
    }

    fn baseline_ends(&mut self) -> Result<(), ReplayRefused> {
        Ok(())
    }

    fn frames(&mut self) -> Box<Inspect<'_>> {
        Box::new(|frame| {
            if let Inspected::Record(record) = frame {
                self.lines.push(record.line.to_vec());
                if let Some(epoch) = record.epoch {
                    self.epochs.push(EpochStart { epoch, first: record.seq });
                }
            }
            Ok(())
        })
    }
}

/// What a start finds.
fn opened(medium: &Medium, files: FileOptions) -> Result<(Opened, Vec<Vec<u8>>), OpenError> {
    let mut content = Content::default();
    let mut wal = FileWal::on(medium.storage(), files);
    let opened = run(wal.open(&options(1_000), &mut |found| match found {
        Replayed::Baseline(piece) => content.piece(piece),
        Replayed::Record(record) => {
            content.lines.push(record.line.to_vec());
            Ok(())
        }
    }))?;
    Ok((opened, content.lines))
}

/// Which part of a log is broken, and what is to be left of it.
struct Case {
    name: &'static str,
    files: FileOptions,
    /// After how many records a baseline is stored.
    baseline: Option<u64>,
    /// Whether what it covers is let go of.
    trims: bool,
    damage: fn(&Medium),
    /// How many of the 20 records are left.
    left: u64,
    /// Whether the outlook says that something is lost.
    loses: bool,
}

const RECORDS: u64 = 20;
const EPOCHS: [u64; 2] = [1_000, 2_000];
const TAKEOVER: u64 = 1_500;

/// Two openings of ten records each, one a group.
fn written(case: &Case) -> Medium {
    let medium = Medium::new(7);
    let mut seq = 0;
    for now_ms in EPOCHS {
        let mut wal = FileWal::on(medium.storage(), case.files);
        let mut ignored = |_: Replayed<'_>| Ok(());
        let mut opened = run(wal.open(&options(now_ms), &mut ignored)).unwrap();
        for index in 0..RECORDS / 2 {
            seq += 1;
            let epoch = (index == 0).then_some(opened.epoch);
            append(&mut opened, &group(seq, 1, epoch)).unwrap();
            if case.baseline == Some(seq) {
                let keeper = opened.keeper.as_ref().unwrap();
                let mut sink = run(keeper.begin(seq)).unwrap();
                for line in lines(seq) {
                    run(sink.push(BaselinePiece::Lines(&[&line[..], b"\n"].concat()))).unwrap();
                }
                run(sink.push(BaselinePiece::Progress(b"{}"))).unwrap();
                run(sink.finish(StateFacts { seq, keys: seq, digest: "xxh3:0".into() })).unwrap();
                if case.trims {
                    run(keeper.trim(&keep_nothing(), None)).unwrap();
                }
            }
        }
        close(opened);
    }
    medium
}

/// The first lines of the log.
fn lines(count: u64) -> Vec<Vec<u8>> {
    let epoch_of = |seq| match seq {
        1 => Some(EPOCHS[0]),
        11 => Some(EPOCHS[1]),
        _ => None,
    };
    (1..=count).map(|seq| line(seq, epoch_of(seq))).collect()
}

fn manifest(medium: &Medium) -> Manifest {
    Manifest::read_any(&*medium.storage()).unwrap().unwrap()
}

/// Flips a bit in the middle of a file.
fn flip(medium: &Medium, name: &str) {
    let mut bytes = medium.content(name);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    medium.set_content(name, &bytes);
}

fn flip_sealed(medium: &Medium, index: usize) {
    let files = manifest(medium).files.unwrap();
    flip(medium, &segment(files.sealed[index].number));
}

fn flip_baseline(medium: &Medium) {
    let files = manifest(medium).files.unwrap();
    flip(medium, &FileKind::Baseline.name(files.baseline.unwrap().number));
}

fn lose_manifest(medium: &Medium) {
    medium.storage().remove(MANIFEST_FILE).unwrap();
    medium.storage().sync_directory().unwrap();
}

const CASES: [Case; 10] = [
    Case {
        name: "a segment in the middle",
        files: SMALL,
        baseline: None,
        trims: false,
        damage: |medium| flip_sealed(medium, 6),
        left: 7,
        loses: true,
    },
    Case {
        name: "the only segment, in the middle",
        files: OPTIONS,
        baseline: None,
        trims: false,
        damage: |medium| flip(medium, &segment(1)),
        left: 10,
        loses: true,
    },
    Case {
        name: "a segment that the baseline covers",
        files: SMALL,
        baseline: Some(8),
        trims: false,
        damage: |medium| flip_sealed(medium, 3),
        left: RECORDS,
        loses: false,
    },
    Case {
        name: "the part of the only segment that the baseline covers",
        files: OPTIONS,
        baseline: Some(15),
        trims: false,
        damage: |medium| flip(medium, &segment(1)),
        left: RECORDS,
        loses: false,
    },
    Case {
        name: "the header of a segment behind the baseline",
        files: SMALL,
        baseline: Some(8),
        trims: true,
        damage: |medium| {
            let number = manifest(medium).files.unwrap().sealed[4].number;
            let mut bytes = medium.content(&segment(number));
            bytes[20] = 1;
            medium.set_content(&segment(number), &bytes);
        },
        left: 11,
        loses: true,
    },
    Case {
        name: "no manifest",
        files: SMALL,
        baseline: None,
        trims: false,
        damage: lose_manifest,
        left: RECORDS,
        loses: false,
    },
    Case {
        name: "no manifest, and a baseline",
        files: SMALL,
        baseline: Some(8),
        trims: true,
        damage: lose_manifest,
        left: RECORDS,
        loses: false,
    },
    Case {
        name: "a damaged manifest and a damaged segment",
        files: SMALL,
        baseline: None,
        trims: false,
        damage: |medium| {
            flip_sealed(medium, 6);
            flip(medium, MANIFEST_FILE);
        },
        left: 7,
        loses: true,
    },
    Case {
        name: "the baseline, with all segments there",
        files: SMALL,
        baseline: Some(8),
        trims: false,
        damage: flip_baseline,
        left: RECORDS,
        loses: false,
    },
    Case {
        name: "a segment that is gone",
        files: SMALL,
        baseline: Some(8),
        trims: true,
        damage: |medium| {
            let number = manifest(medium).files.unwrap().sealed[2].number;
            medium.storage().remove(&segment(number)).unwrap();
            medium.storage().sync_directory().unwrap();
        },
        left: 9,
        loses: true,
    },
];

fn plan(repair: &Repair) -> Box<Plan> {
    match repair.outlook().unwrap() {
        Outlook::Mendable(plan) => plan,
        other => panic!("{other:?}"),
    }
}

/// What a real state knows from its baseline and its lines.
fn known() -> Known {
    let starts = [(EPOCHS[0], 1), (EPOCHS[1], 11)].map(|(epoch, first)| EpochStart { epoch, first });
    Known {
        epochs: EpochTable::new(starts.into()).unwrap(),
        epoch_highest: EPOCHS[1],
        takeover: TAKEOVER,
        ..Known::default()
    }
}

/// Repairs the log; `None` when power was lost.
fn repaired(medium: &Medium, left: u64) -> Option<()> {
    let repair = Repair::on(medium.storage()).ok()?;
    let plan = plan(&repair);
    let mut content = Content::default();
    repair.replay(&plan, &mut content).ok()?;
    assert_eq!(content.lines.len() as u64, left, "what is said to be left: {plan:?}");
    assert_eq!(content.lines, lines(left));
    let known = Known { baseline: (9, "xxh3:0".into()), ..known() };
    repair.carry_out(&plan, &known, NOW_MS, "removed-1").ok()
}

fn goes_on(medium: &Medium, case: &Case) {
    let (mut opened, found) = opened(medium, case.files).unwrap();
    assert_eq!(found, lines(case.left), "{}", case.name);
    assert_eq!(opened.takeover, TAKEOVER, "{}", case.name);
    assert!(opened.epoch > EPOCHS[1], "{}: epoch {} was given out before", case.name, opened.epoch);
    assert_eq!(opened.last.map_or(0, |last| last.seq), case.left, "{}", case.name);
    let known: Vec<_> = opened.epochs.starts().iter().map(|start| (start.epoch, start.first)).collect();
    let expected = [(1_000, 1), (2_000, 11)];
    assert!(known.iter().all(|start| expected.contains(start) && start.1 <= case.left), "{}: {known:?}", case.name);
    let (next, epoch) = (opened.next_seq(), opened.epoch);
    append(&mut opened, &group(next, 2, Some(epoch))).unwrap();
    drop(opened);
    let (_, again) = self::opened(medium, case.files).unwrap();
    assert_eq!(again.len() as u64, case.left + 2, "{}", case.name);
}

#[test]
fn mends_what_can_be_mended_and_says_what_is_lost() {
    for case in &CASES {
        let medium = written(case);
        (case.damage)(&medium);
        assert!(matches!(opened(&medium.copy(), case.files), Err(OpenError::Damaged { .. })), "{}", case.name);
        let before = medium.copy();
        let repair = Repair::on(medium.storage()).unwrap();
        let plan = plan(&repair);
        assert!(!plan.damages.is_empty(), "{}", case.name);
        assert_eq!(!plan.losses.is_empty(), case.loses, "{}: {:?}", case.name, plan.losses);
        drop(repair);
        repaired(&medium, case.left).unwrap();
        for name in &plan.removed {
            assert_eq!(medium.content(&format!("removed-1/{name}")), before.content(name), "{}: {name}", case.name);
        }
        assert!(matches!(Repair::on(medium.storage()).unwrap().outlook().unwrap(), Outlook::Whole), "{}", case.name);
        goes_on(&medium, case);
    }
}

#[test]
fn power_lost_during_a_repair_leaves_it_damaged_or_mended() {
    let mut cuts = 0;
    for (case, seed) in CASES.iter().flat_map(|case| [1, 2, 3].map(|seed| (case, seed))) {
        let damaged = written(case);
        (case.damage)(&damaged);
        for cut in 1.. {
            let medium = damaged.copy();
            medium.reseed(seed * 1_000 + cut);
            medium.fault(cut, Fault::PowerCut);
            let ended = repaired(&medium, case.left).is_some() && medium.is_on();
            medium.power_on();
            match opened(&medium.copy(), case.files) {
                Ok((_, found)) => assert_eq!(found, lines(case.left), "{}: cut {cut}", case.name),
                Err(OpenError::Damaged { .. }) => {
                    repaired(&medium, case.left).unwrap_or_else(|| panic!("{}: cut {cut}", case.name));
                }
                Err(error) => panic!("{}: cut {cut}: {error}", case.name),
            }
            goes_on(&medium, case);
            if ended {
                break;
            }
            cuts += 1;
        }
    }
    println!("{cuts} cuts during a repair");
    assert!(cuts > 1_000, "{cuts}");
}

#[test]
fn a_medium_without_room_leaves_a_repair_undone_and_the_log_as_it_was() {
    let case = &CASES[0];
    let medium = written(case);
    (case.damage)(&medium);
    let before = medium.content(MANIFEST_FILE);
    medium.fault(1, Fault::Full);
    assert!(repaired(&medium, case.left).is_none());
    assert_eq!(medium.content(MANIFEST_FILE), before);
    medium.heal();
    repaired(&medium, case.left).unwrap();
    goes_on(&medium, case);
}

#[test]
fn a_damaged_baseline_is_hopeless_where_nothing_before_is_kept() {
    let case = Case { damage: flip_baseline, trims: true, ..CASES[8] };
    let medium = written(&case);
    (case.damage)(&medium);
    let Outlook::Hopeless { damages, tried } = Repair::on(medium.storage()).unwrap().outlook().unwrap() else {
        panic!()
    };
    assert!(damages[0].contains(".base at byte"), "{damages:?}");
    assert!(tried.iter().any(|words| words.contains("begins behind record 7")), "{tried:?}");
}

#[test]
fn a_whole_log_is_left_alone() {
    let medium = written(&CASES[0]);
    assert!(matches!(Repair::on(medium.storage()).unwrap().outlook().unwrap(), Outlook::Whole));
}

#[test]
fn a_log_in_use_is_not_repaired() {
    let medium = written(&CASES[0]);
    let _held = Repair::on(medium.storage()).unwrap();
    assert!(matches!(Repair::on(medium.storage()), Err(OpenError::InUse { .. })));
}
