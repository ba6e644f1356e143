//! Damage of any kind anywhere: what is left is a beginning of what was written, and what is lost is said.

use super::super::medium::Random;
use super::*;

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
