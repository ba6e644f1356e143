//! The medium of a replica's disk fails or is full at every effect of a workload. A rebase makes up for it, and a restart
//! finds what was kept.

use super::super::medium::{Fault, Medium};
use super::super::unnamed;
use super::{State, append, open, rebase, store_baseline};

#[test]
fn what_was_kept_is_found_whenever_the_medium_fails() {
    for fault in [Fault::Io, Fault::Full, Fault::FullAtSync, Fault::Renames] {
        let (mut tried, mut rebased) = (0, 0);
        for effect in 1.. {
            let (strikes, rebases) = fail(fault, effect);
            if strikes == 0 {
                break;
            }
            fail_and_lose_power(fault, effect);
            (tried, rebased) = (tried + 1, rebased + rebases);
        }
        println!("{tried} times {fault:?} on a replica's disk, {rebased} rebases for it");
        assert!(tried > 40 && rebased > 10, "{fault:?}: {tried}, {rebased}");
    }
}

/// Appends until the medium fails, and loses power then.
fn fail_and_lose_power(fault: Fault, effect: u64) {
    let medium = Medium::new(effect);
    medium.fault(effect, fault);
    let mut states = vec![State::default()];
    if let Ok((mut opened, _)) = open(&medium) {
        // A fault of renames is not met with here.
        for round in 0..60 {
            let before = states[0].clone();
            let mut next = before.clone();
            let is_done = append(&mut opened.log, &mut next, 10 * round + 5, 3).is_ok();
            if !is_done {
                // What was under way may be found.
                next = before.clone();
                append(&mut open(&Medium::new(1)).unwrap().0.log, &mut next, 10 * round + 5, 3).unwrap();
            }
            states = if is_done { vec![next] } else { vec![before, next] };
            if medium.struck() > 0 {
                break;
            }
        }
    }
    medium.power_on();
    let found = open(&medium).unwrap_or_else(|error| panic!("{fault:?} at effect {effect}: {error}")).1;
    assert!(states.contains(&found), "{fault:?} at effect {effect}: {found:?}");
}

/// All lines, wherever they are stored.
fn entries(state: &State) -> Vec<String> {
    state.baseline.iter().chain(state.lines.iter().map(|(_, line)| line)).cloned().collect()
}

/// Does the workload on a medium that fails at this effect. Returns how often it failed, and how many rebases that took.
fn fail(fault: Fault, effect: u64) -> (u64, u64) {
    let what = format!("{fault:?} at effect {effect}");
    let medium = Medium::new(effect);
    medium.fault(effect, fault);
    let mut opened = open(&medium).or_else(|_| {
        medium.heal();
        open(&medium)
    });
    let log = &mut opened.as_mut().unwrap_or_else(|error| panic!("{what}: {error}")).0.log;
    let (mut state, mut rebases) = (State::default(), 0);
    for round in 0..3 {
        for from in [5, 15, 45] {
            if append(log, &mut state, 100 * round + from, 3).is_ok() {
                continue;
            }
            assert!(medium.struck() > 0, "{what}: it fails by itself");
            // As long as it does not succeed nothing is taken, and nothing gathers.
            for _ in 0..3 {
                let Some(after) = rebase(log, 100 * round + from, 20) else {
                    assert!(append(log, &mut state.clone(), 100 * round + from + 1, 1).is_err(), "{what}");
                    assert!(unnamed(&medium).len() <= 2, "{what}: {:?}", unnamed(&medium));
                    continue;
                };
                state = after;
            }
            medium.heal();
            state = rebase(log, 100 * round + from + 1, 20).unwrap_or_else(|| panic!("{what}: no rebase"));
            assert_eq!(unnamed(&medium), [""; 0], "{what}");
            rebases += 1;
        }
        // Whether that is done or not, a restart finds the same.
        store_baseline(log, &State { baseline: entries(&state), lines: Vec::new(), progress: state.progress.clone() });
    }
    drop(opened);
    medium.heal();
    for _ in 0..2 {
        let (opened, found) = open(&medium).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((entries(&found), found.progress), (entries(&state), state.progress.clone()), "{what}");
        assert_eq!(unnamed(&medium), [""; 0], "{what}");
        drop(opened);
        medium.power_on();
    }
    (medium.struck(), rebases)
}
