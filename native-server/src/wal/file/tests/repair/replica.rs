//! A replica's disk is mended to a whole group, or to its baseline.

use super::*;

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
    assert!(plan.losses.is_empty() && plan.cautions[0].contains("43 to 72"), "{plan:?}");
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
