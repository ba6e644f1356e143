//! A manifest that is gone, or older than the segments, is made again from what the files say of each other.

use super::*;

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
