//! A replica's disk gives back entries and progress that belong together, whatever happened.

mod faults;

use super::super::super::Chunk;
use super::super::super::conformance::{TestDirectory, run};
use super::super::super::error::{AppendCause, AppendError, OpenError, ReadError};
use super::super::super::keeper::{BaselinePiece, StateFacts};
use super::super::replica::{ReplicaFrame, ReplicaLog, ReplicaOpened};
use super::medium::{Fault, Medium};
use super::{FileOptions, OPTIONS, keep_nothing, segment, unnamed};
use bytes::Bytes;

/// What a replica makes of its disk: the lines in force, and the progress last found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    baseline: Vec<String>,
    lines: Vec<(u64, String)>,
    progress: Option<(u64, String)>,
}

impl State {
    fn take(&mut self, frame: ReplicaFrame<'_>) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        match frame {
            ReplicaFrame::Baseline(BaselinePiece::Lines(lines)) => {
                self.baseline.extend(text(lines).split_inclusive('\n').map(str::to_owned));
            }
            ReplicaFrame::Baseline(BaselinePiece::Progress(progress)) => {
                let text = text(progress);
                let seq = text.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
                self.progress = Some((seq, text));
            }
            ReplicaFrame::Baseline(BaselinePiece::Beside(_)) => panic!("nobody wrote one"),
            ReplicaFrame::Line { seq, line } => self.lines.push((seq, text(line))),
            ReplicaFrame::Progress { seq, text: progress } => self.progress = Some((seq, text(progress))),
        }
    }
}

fn open(medium: &Medium) -> Result<(ReplicaOpened, State), OpenError> {
    let mut state = State::default();
    let opened = ReplicaLog::open_on(medium.storage(), OPTIONS, "node-b", &mut |frame| {
        state.take(frame);
        Ok(())
    })?;
    Ok((opened, state))
}

/// Lines `from`, `from + 2`, ... with their progress, as one step; the state is brought along if it is durable.
fn append(log: &mut ReplicaLog, state: &mut State, from: u64, count: u64) -> Result<(), AppendError> {
    let lines: Vec<_> = (0..count).map(|n| (from + 2 * n, format!("{{\"seq\":{}}}\n", from + 2 * n))).collect();
    let last = from + 2 * count;
    let progress = format!("{{\"seq\":{last}}}");
    let mut frames: Vec<_> =
        lines.iter().map(|(seq, line)| ReplicaFrame::Line { seq: *seq, line: line.as_bytes() }).collect();
    frames.push(ReplicaFrame::Progress { seq: last, text: progress.as_bytes() });
    log.append(&frames)?;
    frames.into_iter().for_each(|frame| state.take(frame));
    Ok(())
}

/// Makes a baseline of `entries` as of `seq` the whole content.
fn rebase(log: &mut ReplicaLog, seq: u64, entries: u64) -> Option<State> {
    let after = rebased(seq, entries);
    let mut rebase = log.rebase(seq).ok()?;
    for (is_progress, text) in pieces(&after) {
        let piece = if is_progress { BaselinePiece::Progress(&text) } else { BaselinePiece::Lines(&text) };
        rebase.push(piece).ok()?;
    }
    rebase.finish(facts(seq, entries)).ok()?;
    Some(after)
}

/// Stores `state`, to which what was appended leads, as a baseline beside it, and lets go of what it covers.
fn store_baseline(log: &mut ReplicaLog, state: &State) -> Option<()> {
    let (seq, _) = state.progress.as_ref()?;
    let mut baseline = log.baseline(*seq).ok()?;
    for (is_progress, text) in pieces(state) {
        let piece = if is_progress { BaselinePiece::Progress(&text) } else { BaselinePiece::Lines(&text) };
        baseline.push(piece).ok()?;
    }
    baseline.finish(facts(*seq, 1)).ok()?;
    log.keeper().trim_now(&keep_nothing(), None).ok()?;
    Some(())
}

/// A state's baseline, some lines to a piece, and its progress.
fn pieces(state: &State) -> Vec<(bool, Vec<u8>)> {
    let lines = state.baseline.chunks(7).map(|lines| (false, lines.concat().into_bytes()));
    let progress = state.progress.iter().map(|(_, text)| (true, text.clone().into_bytes()));
    lines.chain(progress).collect()
}

fn facts(seq: u64, keys: u64) -> StateFacts {
    StateFacts { seq, keys, digest: "xxh3:0".into() }
}

fn rebased(seq: u64, entries: u64) -> State {
    State {
        baseline: (0..entries).map(|entry| format!("{{\"key\":\"{entry}\",\"seq\":{seq}}}\n")).collect(),
        lines: Vec::new(),
        progress: Some((seq, format!("{{\"seq\":{seq}}}"))),
    }
}

#[test]
fn gives_back_what_was_kept_after_a_restart() {
    let directory = TestDirectory::new();
    let mut kept = State::default();
    let mut none = |_: ReplicaFrame<'_>| Err("a new disk is empty".into());
    let mut log =
        ReplicaLog::open(directory.path().join("b"), FileOptions::default(), "node-b", &mut none).unwrap().log;
    append(&mut log, &mut kept, 5, 3).unwrap();
    kept = rebase(&mut log, 20, 50_000).unwrap();
    append(&mut log, &mut kept, 31, 3).unwrap();
    append(&mut log, &mut kept, 41, 1).unwrap();
    drop(log);
    for _ in 0..2 {
        let mut found = State::default();
        let opened = ReplicaLog::open(directory.path().join("b"), FileOptions::default(), "node-b", &mut |frame| {
            found.take(frame);
            Ok(())
        });
        assert_eq!(opened.unwrap().recovered, None);
        assert_eq!(found, kept);
    }
    let files = std::fs::read_dir(directory.path().join("b")).unwrap().count();
    assert_eq!(files, 4, "the lock, the manifest, the baseline and one segment");
}

#[test]
fn a_torn_step_is_dropped_as_a_whole() {
    let medium = Medium::new(1);
    let mut kept = State::default();
    let mut log = open(&medium).unwrap().0.log;
    append(&mut log, &mut kept, 5, 3).unwrap();
    let from = medium.content(&segment(1)).len();
    append(&mut log, &mut kept.clone(), 31, 3).unwrap();
    drop(log);
    let bytes = medium.content(&segment(1));
    for length in from..bytes.len() {
        let copy = medium.copy();
        copy.set_content(&segment(1), &bytes[..length]);
        let (opened, found) = open(&copy).unwrap();
        assert_eq!(found, kept, "{length}");
        assert_eq!(opened.recovered.is_some(), length > from);
    }
}

#[test]
fn a_damaged_disk_is_refused() {
    let medium = Medium::new(1);
    let mut log = open(&medium).unwrap().0.log;
    rebase(&mut log, 20, 20).unwrap();
    drop(log);
    let names = medium.storage().names().unwrap();
    let names: Vec<_> = names.iter().filter(|name| name.contains('.')).collect();
    assert_eq!(names.len(), 2, "a baseline and a segment");
    for name in names {
        let bytes = medium.content(name);
        for byte in 0..bytes.len() {
            let copy = medium.copy();
            let mut bytes = bytes.clone();
            bytes[byte] ^= 0x10;
            copy.set_content(name, &bytes);
            let error = open(&copy).map(|_| ()).unwrap_err();
            assert!(matches!(error, OpenError::Damaged { .. }), "{name} {byte}: {error}");
        }
    }
}

#[test]
fn finds_one_whole_step_whenever_power_is_cut() {
    let mut cuts = 0;
    'workload: for cut in 1.. {
        for seed in 0..6 {
            let medium = Medium::new(seed * 1000 + cut);
            medium.fault(cut, Fault::PowerCut);
            // States in the order in which they may be found: the last is the one that was under way.
            let mut states = vec![State::default()];
            let mut durable = 0;
            let mut workload = || {
                let (mut opened, _) = open(&medium).ok()?;
                for round in 0..2 {
                    for from in [5, 15, 45] {
                        let mut next = states[durable].clone();
                        let from = 100 * round + from;
                        let done = append(&mut opened.log, &mut next, from, 3).is_ok();
                        if !done {
                            // What the step would have given, had it come to its end.
                            let log = &mut open(&Medium::new(1)).ok()?.0.log;
                            append(log, &mut next, from, 3).unwrap();
                        }
                        states.push(next);
                        done.then_some(())?;
                        durable = states.len() - 1;
                    }
                    let seq = 100 * round + 51;
                    states.push(State { progress: states[durable].progress.clone(), ..rebased(seq, 25) });
                    store_baseline(&mut opened.log, &states[states.len() - 1])?;
                    durable = states.len() - 1;
                    states.push(rebased(100 * round + 90, 40));
                    rebase(&mut opened.log, 100 * round + 90, 40)?;
                    durable = states.len() - 1;
                }
                Some(())
            };
            if workload().is_some() && medium.is_on() {
                break 'workload;
            }
            medium.power_on();
            // The recovery is cut too, at a later effect each time, until it comes to its end.
            let (mut opened, found) = (1..500)
                .find_map(|effect| {
                    medium.fault(effect, Fault::PowerCut);
                    let opened = open(&medium);
                    if let Err(error @ OpenError::Damaged { .. }) = &opened {
                        panic!("cut {cut} seed {seed} effect {effect}: {error}");
                    }
                    // What is removed last changes nothing, also if power is lost meanwhile.
                    let opened = opened.ok().filter(|_| medium.is_on());
                    if opened.is_none() {
                        medium.power_on();
                    }
                    medium.heal();
                    opened
                })
                .expect("the effects of a recovery come to an end");
            assert!(states[durable..].contains(&found), "cut {cut} seed {seed}: {found:?}");
            assert_eq!(unnamed(&medium), Vec::<String>::new(), "a rebase that was cut short leaves nothing behind");
            let mut found = found;
            append(&mut opened.log, &mut found, 500, 2).unwrap();
            drop(opened);
            medium.power_on();
            assert_eq!(open(&medium).unwrap().1, found, "cut {cut} seed {seed}");
            cuts += 1;
        }
    }
    println!("{cuts} cuts");
    assert!(cuts > 200, "{cuts}");
}

#[test]
fn a_failed_medium_is_left_by_a_rebase() {
    let medium = Medium::new(1);
    let (mut opened, mut state) = open(&medium).unwrap();
    let log = &mut opened.log;
    append(log, &mut state, 5, 3).unwrap();
    medium.fault(2, Fault::Io);
    let error = append(log, &mut state, 15, 3).unwrap_err();
    assert!(matches!(error, AppendError::Unknown(_)), "{error}");
    let error = append(log, &mut state, 15, 3).unwrap_err();
    assert!(matches!(error, AppendError::NotDone(AppendCause::Poisoned)), "{error}");
    for effect in 1.. {
        medium.fault(effect, Fault::Io);
        if let Some(after) = rebase(log, 30, 20) {
            state = after;
            break;
        }
    }
    medium.heal();
    assert_eq!(unnamed(&medium), [""; 0], "the rebases that failed left nothing");
    append(log, &mut state, 35, 3).unwrap();
    drop(opened);
    medium.power_on();
    assert_eq!(open(&medium).unwrap().1, state);
}

#[test]
fn after_a_failed_rebase_nothing_is_taken_that_a_restart_may_not_find() {
    let mut taken = 0;
    for seed in 0..20 {
        for effect in 1.. {
            let medium = Medium::new(seed);
            let (mut opened, mut state) = open(&medium).unwrap();
            let log = &mut opened.log;
            append(log, &mut state, 5, 3).unwrap();
            medium.fault(effect, Fault::Io);
            if rebase(log, 30, 20).is_some() {
                break;
            }
            let appended = append(log, &mut state, 35, 3).is_ok();
            taken += u32::from(appended);
            drop(opened);
            medium.power_on();
            let found = open(&medium).unwrap().1;
            assert!(found == state || !appended && found == rebased(30, 20), "seed {seed} effect {effect}");
        }
    }
    assert!(taken > 0, "a rebase that fails early does no harm");
}

#[test]
fn a_rebase_that_fails_before_its_switch_leaves_the_log_going_on() {
    let medium = Medium::new(1);
    let (mut opened, mut state) = open(&medium).unwrap();
    let log = &mut opened.log;
    append(log, &mut state, 5, 3).unwrap();
    let mut unfinished = log.rebase(30).unwrap();
    unfinished.push(BaselinePiece::Lines(b"{}\n")).unwrap();
    drop(unfinished);
    medium.fault(4, Fault::Full);
    assert_eq!(rebase(log, 30, 20), None);
    medium.heal();
    append(log, &mut state, 35, 3).unwrap();
    assert!(!medium.storage().names().unwrap().contains(&segment(3)));
    drop(opened);
    assert_eq!(open(&medium).unwrap().1, state);
}

#[test]
fn refuses_lines_out_of_order_and_a_baseline_in_between() {
    let medium = Medium::new(1);
    let (mut opened, mut state) = open(&medium).unwrap();
    append(&mut opened.log, &mut state, 5, 3).unwrap();
    for frames in [
        &[ReplicaFrame::Line { seq: 9, line: b"{}\n" }][..],
        &[ReplicaFrame::Line { seq: 12, line: b"{}\n" }, ReplicaFrame::Line { seq: 12, line: b"{}\n" }],
        &[ReplicaFrame::Baseline(BaselinePiece::Lines(b"{}\n"))],
    ] {
        let error = opened.log.append(frames).unwrap_err();
        assert!(matches!(error, AppendError::NotDone(AppendCause::OutOfPlace(_))), "{error}");
    }
    append(&mut opened.log, &mut state, 11, 3).unwrap();
    drop(opened);
    assert_eq!(open(&medium).unwrap().1, state);
}

#[test]
fn reads_back_the_lines_behind_the_baseline_holes_and_all() {
    let medium = Medium::new(1);
    let (mut opened, _) = open(&medium).unwrap();
    let mut state = rebase(&mut opened.log, 20, 30).unwrap();
    append(&mut opened.log, &mut state, 31, 3).unwrap();
    for reader in [opened.log.reader(), {
        drop(opened);
        open(&medium).unwrap().0.log.reader()
    }] {
        assert_eq!(reader.floor(), 21);
        assert!(matches!(run(reader.read(20, 100)), Err(ReadError::Trimmed { floor: 21 })));
        let chunk = run(reader.read(32, 1 << 20)).unwrap().unwrap();
        assert_eq!((&chunk.lines[..], chunk.through), (&b"{\"seq\":33}\n{\"seq\":35}\n"[..], 37));
        let chunk = run(reader.read(32, 1)).unwrap().unwrap();
        assert_eq!((&chunk.lines[..], chunk.through), (&b"{\"seq\":33}\n"[..], 33));
    }
}

#[test]
fn holds_everything_up_to_its_progress_though_no_line_reaches_so_far() {
    let medium = Medium::new(1);
    let (mut opened, _) = open(&medium).unwrap();
    let mut state = rebase(&mut opened.log, 20, 3).unwrap();
    let nothing = |through| Some(Chunk { lines: Bytes::new(), through });
    let before = opened.log.reader();
    assert_eq!((before.through(), run(before.read(21, 100)).unwrap()), (20, None));
    append(&mut opened.log, &mut state, 31, 1).unwrap();
    for progress in [40, 60] {
        opened.log.append(&[ReplicaFrame::Progress { seq: progress, text: b"{}" }]).unwrap();
    }
    for reader in [opened.log.reader(), {
        drop(opened);
        open(&medium).unwrap().0.log.reader()
    }] {
        assert_eq!(reader.through(), 60);
        for from in [32, 45, 60] {
            assert_eq!(run(reader.read(from, 100)).unwrap(), nothing(60), "from {from}");
        }
        assert_eq!(run(reader.read(61, 100)).unwrap(), None);
        let chunk = run(reader.read(21, 100)).unwrap().unwrap();
        assert_eq!((&chunk.lines[..], chunk.through), (&b"{\"seq\":31}\n"[..], 60));
    }
}
