//! A damaged log is mended as far as it can be, with copies of what goes, and a power cut during it makes nothing worse.

use super::super::super::conformance::{append, close, group, line, options, run};
use super::super::super::error::{OpenError, ReplayRefused};
use super::super::super::manifest::{Backend, MANIFEST_FILE, Manifest};
use super::super::super::{BaselinePiece, Opened, Replayed, StateFacts, Wal};
use super::super::header::FileKind;
use super::super::inspect::{Inspect, Inspected};
use super::super::repair::{Known, Outlook, Plan, Repair, TakesContent};
use super::super::replica::{ReplicaFrame, ReplicaLog};
use super::super::{FileOptions, FileWal};
use super::medium::{Fault, Medium, Random};
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
    Known { epochs: EpochTable::new(starts.into()).unwrap(), epoch_highest: EPOCHS[1], ..Known::default() }
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
fn without_a_manifest_what_an_unreadable_newest_segment_held_is_said_to_be_lost() {
    let case = &CASES[5];
    let medium = written(case);
    let newest = segment(manifest(&medium).files.unwrap().active.number);
    lose_manifest(&medium);
    let mut bytes = medium.content(&newest);
    bytes[30] ^= 1;
    medium.set_content(&newest, &bytes);
    let plan = plan(&Repair::on(medium.storage()).unwrap());
    assert_eq!(plan.losses, [format!("what {newest} held is lost")]);
    assert!(plan.cautions[0].contains("only the manifest could tell"), "{:?}", plan.cautions);
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

#[test]
fn without_a_manifest_a_baseline_stands_for_segments_that_are_gone() {
    let case = Case { baseline: Some(15), ..CASES[5] };
    let medium = written(&case);
    let files = manifest(&medium).files.unwrap();
    lose_manifest(&medium);
    for place in &files.sealed[9..] {
        medium.storage().remove(&segment(place.number)).unwrap();
    }
    medium.storage().remove(&segment(files.active.number)).unwrap();
    medium.storage().sync_directory().unwrap();
    repaired(&medium, 15).unwrap();
    let (opened, found) = opened(&medium, case.files).unwrap();
    assert_eq!((found, opened.next_seq()), (lines(15), 16));
}

/// A manifest that is older than the segments, as a backup that took its time makes it.
#[test]
fn an_older_manifest_is_brought_up_to_its_segments() {
    let case = &CASES[0];
    let medium = written(case);
    let older = medium.content(MANIFEST_FILE);
    let (mut opened, _) = opened(&medium, case.files).unwrap();
    let epoch = opened.epoch;
    append(&mut opened, &group(RECORDS + 1, 1, Some(epoch))).unwrap();
    append(&mut opened, &group(RECORDS + 2, 3, None)).unwrap();
    drop(opened);
    medium.set_content(MANIFEST_FILE, &older);
    let mut expected = lines(RECORDS);
    expected.push(line(RECORDS + 1, Some(epoch)));
    expected.extend((2..=4).map(|ahead| line(RECORDS + ahead, None)));
    let repair = Repair::on(medium.storage()).unwrap();
    let plan = plan(&repair);
    let mut content = Content::default();
    repair.replay(&plan, &mut content).unwrap();
    assert_eq!(content.lines, expected);
    let known = Known { epochs: content.epochs, epoch_highest: epoch, ..Known::default() };
    repair.carry_out(&plan, &known, NOW_MS, "removed-1").unwrap();
    drop(repair);
    let (opened, found) = self::opened(&medium, case.files).unwrap();
    assert_eq!(found, expected);
    assert!(opened.epoch > epoch);
}

/// Damages one file somehow, and says which.
fn damage_something(medium: &Medium, random: &mut Random) -> String {
    let names = medium.storage().names().unwrap();
    let name = names[random.below(names.len())].clone();
    let mut bytes = medium.content(&name);
    if bytes.is_empty() {
        bytes.push(0);
    }
    let (from, length) = (random.below(bytes.len()), 1 + random.below(64));
    let to = (from + length).min(bytes.len());
    match random.below(6) {
        0 => {
            medium.storage().remove(&name).unwrap();
            medium.storage().sync_directory().unwrap();
            return name;
        }
        1 => bytes.truncate(from),
        2 => bytes[from..to].fill(0),
        3 => drop(bytes.drain(from..to)),
        _ => bytes[from] ^= 1 << random.below(8),
    }
    medium.set_content(&name, &bytes);
    name
}

#[test]
fn whatever_is_damaged_what_is_left_is_a_beginning_of_what_was_written() {
    let (mut mended, mut hopeless, mut opens) = (0, 0, 0);
    let mut random = Random(5);
    for (files, baseline, trims) in [
        (SMALL, None, false),
        (SMALL, Some(8), false),
        (SMALL, Some(8), true),
        (OPTIONS, None, false),
        (OPTIONS, Some(15), false),
    ] {
        let case = Case { files, baseline, trims, ..CASES[0] };
        let written = written(&case);
        for round in 0..300 {
            let medium = written.copy();
            let damaged: Vec<_> = (0..1 + round % 2).map(|_| damage_something(&medium, &mut random)).collect();
            let told = format!("{damaged:?} of baseline {baseline:?}, round {round}");
            // A start takes a directory for new that holds no record: nothing is left to mend.
            if let Ok((_, found)) = opened(&medium.copy(), files) {
                assert!(lines(RECORDS).starts_with(&found), "{told}");
                opens += 1;
                continue;
            }
            let repair = Repair::on(medium.storage()).unwrap();
            match repair.outlook().unwrap() {
                Outlook::Whole => panic!("{told}: a start refuses it"),
                Outlook::Hopeless { tried, .. } => {
                    let first = segment(manifest(&written).files.unwrap().segment_numbers().next().unwrap());
                    let is_first = damaged.contains(&first);
                    let is_baseline = damaged.iter().any(|name| name.ends_with(".base"));
                    assert!(is_first || is_baseline && trims, "{told}: {tried:?}");
                    hopeless += 1;
                }
                Outlook::Mendable(plan) => {
                    let mut content = Content::default();
                    repair.replay(&plan, &mut content).unwrap_or_else(|error| panic!("{told}: {error}"));
                    assert!(lines(RECORDS).starts_with(&content.lines), "{told}");
                    let (is_all, told_of) = (content.lines.len() as u64 == RECORDS, !plan.losses.is_empty());
                    let is_good = is_all != told_of || !is_all && !plan.cautions.is_empty();
                    assert!(is_good, "{told}: {plan:?}");
                    let names_manifest = damaged.iter().any(|name| name == MANIFEST_FILE);
                    assert_eq!(!plan.cautions.is_empty(), names_manifest, "{told}");
                    repair.carry_out(&plan, &known(), NOW_MS, "removed-1").unwrap();
                    drop(repair);
                    goes_on(&medium, &Case { left: content.lines.len() as u64, ..case });
                    mended += 1;
                }
            }
        }
    }
    println!("{mended} mended, {hopeless} hopeless, {opens} opened by themselves");
    assert!(mended > 500 && hopeless > 10, "{mended} {hopeless}");
}

/// A replica's disk: a baseline, and groups of two lines with their progress, a segment each.
fn replica() -> (Medium, Vec<u64>) {
    let medium = Medium::new(9);
    let mut log = ReplicaLog::open_on(medium.storage(), SMALL, "r", &mut |_| Ok(())).unwrap().log;
    let mut ends = Vec::new();
    let group = |log: &mut ReplicaLog, seq: u64| {
        let texts = [format!("{{\"seq\":{seq}}}\n"), format!("{{\"seq\":{}}}\n", seq + 2)];
        let progress = format!("{}", seq + 5);
        log.append(&[
            ReplicaFrame::Line { seq, line: texts[0].as_bytes() },
            ReplicaFrame::Line { seq: seq + 2, line: texts[1].as_bytes() },
            ReplicaFrame::Progress { seq: seq + 5, text: progress.as_bytes() },
        ])
        .unwrap();
    };
    for seq in [10, 20, 30] {
        group(&mut log, seq);
    }
    // The position is beyond the last line: the scope leaves some out.
    let mut baseline = log.baseline(35).unwrap();
    baseline.push(BaselinePiece::Progress(b"35")).unwrap();
    baseline.finish(StateFacts { seq: 35, keys: 0, digest: "xxh3:0".into() }).unwrap();
    for seq in [40, 50, 60, 70] {
        group(&mut log, seq);
        ends.push(seq + 5);
    }
    log.close().unwrap();
    (medium, ends)
}

/// The seq of the progress and the lines behind the baseline that a replica finds.
fn restarted(medium: &Medium) -> Result<(u64, Vec<u64>), OpenError> {
    let (mut progress, mut lines) = (0, Vec::new());
    ReplicaLog::open_on(medium.storage(), SMALL, "r", &mut |frame| {
        match frame {
            ReplicaFrame::Line { seq, .. } => lines.push(seq),
            ReplicaFrame::Progress { seq, .. } => progress = seq,
            ReplicaFrame::Baseline(BaselinePiece::Progress(_)) => progress = 35,
            ReplicaFrame::Baseline(_) => {}
        }
        Ok(())
    })?;
    Ok((progress, lines))
}

fn repair_replica(medium: &Medium) -> Box<Plan> {
    let repair = Repair::on(medium.storage()).unwrap();
    let plan = plan(&repair);
    assert!(plan.is_of_replica());
    repair.replay(&plan, &mut Content::default()).unwrap();
    repair.carry_out(&plan, &Known::default(), NOW_MS, "removed-1").unwrap();
    plan
}

#[test]
fn a_replica_s_disk_falls_back_to_a_whole_group() {
    let (medium, _) = replica();
    assert_eq!(restarted(&medium.copy()).unwrap(), (75, vec![40, 42, 50, 52, 60, 62, 70, 72]));
    let files = manifest(&medium).files.unwrap();
    let from = files.baseline.unwrap().from_segment;
    let second = files.sealed.iter().filter(|place| place.number >= from).nth(1).unwrap().number;
    flip(&medium, &segment(second));
    let plan = repair_replica(&medium);
    assert!(plan.losses[0].contains("43 to 72"), "{:?}", plan.losses);
    assert_eq!(restarted(&medium).unwrap(), (45, vec![40, 42]));
    assert_eq!(manifest(&medium).backend, Backend::Replica);
}

#[test]
fn a_replica_whose_position_is_beyond_its_last_line_starts_again_from_its_baseline() {
    let medium = Medium::new(9);
    let mut log = ReplicaLog::open_on(medium.storage(), SMALL, "r", &mut |_| Ok(())).unwrap().log;
    log.append(&[ReplicaFrame::Line { seq: 30, line: b"{}\n" }, ReplicaFrame::Progress { seq: 35, text: b"35" }])
        .unwrap();
    let mut baseline = log.baseline(35).unwrap();
    baseline.push(BaselinePiece::Progress(b"35")).unwrap();
    baseline.finish(StateFacts { seq: 35, keys: 0, digest: "xxh3:0".into() }).unwrap();
    log.close().unwrap();
    assert_eq!(restarted(&medium).unwrap(), (35, vec![]));
    assert!(matches!(Repair::on(medium.storage()).unwrap().outlook().unwrap(), Outlook::Whole));
    // What is older than the baseline stays so, also where only the files tell which that is.
    lose_manifest(&medium);
    repair_replica(&medium);
    assert_eq!(restarted(&medium).unwrap(), (35, vec![]));
}

#[test]
fn a_replica_s_manifest_is_found_again() {
    let (medium, _) = replica();
    let whole = restarted(&medium.copy()).unwrap();
    lose_manifest(&medium);
    repair_replica(&medium);
    assert_eq!(restarted(&medium).unwrap(), whole);
}

#[test]
fn a_replica_s_segment_that_the_baseline_covers_may_go() {
    let (medium, _) = replica();
    let whole = restarted(&medium.copy()).unwrap();
    flip_sealed(&medium, 1);
    let plan = repair_replica(&medium);
    assert_eq!(plan.losses, Vec::<String>::new());
    assert_eq!(restarted(&medium).unwrap(), whole);
}
