//! The medium fails, is full or lies at every effect of a workload; the log is opened again by the same process, and by a
//! new one.

use super::history::{History, Step, WORKLOAD};
use super::medium::{Fault, Medium};
use super::{FileOptions, WAYS, unnamed};

const FAULTS: [Fault; 4] = [Fault::Io, Fault::Full, Fault::FullAtSync, Fault::Renames];
/// How often a log is opened in vain before the medium is well again.
const IN_VAIN: usize = 3;
/// So many effects after a lie power is lost, at the latest at the end of the workload.
const CUTS_AFTER_LIES: [u64; 11] = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, u64::MAX];

#[test]
fn nothing_acknowledged_is_lost_whenever_the_medium_fails() {
    for (name, files) in WAYS {
        for fault in FAULTS {
            let (mut tried, mut reopened) = (0, 0);
            for effect in 1.. {
                let (strikes, openings) = fail(files, fault, effect);
                if strikes == 0 {
                    break;
                }
                (tried, reopened) = (tried + 1, reopened + openings);
            }
            println!("{name}: {tried} times {fault:?}, {reopened} reopenings");
            assert!(tried > 80 && reopened > 30, "{name} {fault:?}: {tried}, {reopened}");
        }
    }
}

/// Does the workload on a medium that fails at this effect. Returns how often it failed, and how often the log had to be
/// opened again for it.
fn fail(files: FileOptions, fault: Fault, effect: u64) -> (u64, u64) {
    let what = format!("{fault:?} at effect {effect}");
    let medium = Medium::new(effect);
    let mut history = History::new(&medium, files);
    medium.fault(effect, fault);
    let mut openings = 0;
    for step in WORKLOAD {
        if history.step(step).is_ok() {
            continue;
        }
        assert!(medium.struck() > 0, "{what}: {step:?} fails by itself");
        // What stores a baseline or lets go of segments may fail, and the log goes on.
        if matches!(step, Step::StoreBaseline | Step::Trim) {
            medium.heal();
            continue;
        }
        let made = (0..IN_VAIN).filter(|_| history.step(Step::Reopen).is_err()).count();
        let left = unnamed(&medium);
        assert!(left.len() <= 2, "{what}: after {made} openings in vain {left:?} lie there");
        medium.heal();
        history.step(Step::Reopen).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(unnamed(&medium), [""; 0], "{what}");
        openings += 1;
        if let Step::Append(count) = step {
            history.append(count).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }
    medium.heal();
    history.step(Step::Start).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(unnamed(&medium), [""; 0], "{what}");
    history.append(2).unwrap();
    history.power_on();
    history.step(Step::Start).unwrap_or_else(|error| panic!("{what}: {error}"));
    (medium.struck(), openings)
}

#[test]
fn power_lost_right_after_a_failure_takes_nothing_acknowledged() {
    for (name, files) in WAYS {
        for fault in FAULTS {
            let mut tried = 0;
            for effect in 1.. {
                let medium = Medium::new(effect);
                let mut history = History::new(&medium, files);
                medium.fault(effect, fault);
                // Up to the step that met with it, or that it was hidden from.
                WORKLOAD.iter().find(|step| history.step(**step).is_err() || medium.struck() > 0);
                if medium.struck() == 0 {
                    break;
                }
                history.power_on();
                history.step(Step::Start).unwrap_or_else(|error| panic!("{fault:?} at effect {effect}: {error}"));
                tried += 1;
            }
            println!("{name}: {tried} times {fault:?}, and then no power");
            assert!(tried > 80, "{name} {fault:?}: {tried}");
        }
    }
}

#[test]
fn a_medium_that_lied_is_found_out_or_gives_a_beginning() {
    for (name, files) in WAYS {
        let (mut tried, mut whole, mut shorter, mut refused) = (0, 0, 0, 0);
        for lie in 1..=effects(files) {
            for (seed, cut) in CUTS_AFTER_LIES.into_iter().enumerate() {
                let medium = Medium::new(1000 * seed as u64 + lie);
                let mut history = History::new(&medium, files);
                medium.fault(lie, Fault::Lie);
                medium.also(cut.saturating_add(lie), Fault::PowerCut);
                for step in WORKLOAD {
                    if history.step(step).is_err() || !medium.is_on() {
                        break;
                    }
                }
                // Other effects than syncs have nothing to lie about.
                if medium.struck() == u64::from(!medium.is_on()) {
                    break;
                }
                history.power_on();
                tried += 1;
                match history.open_after_lies() {
                    None => refused += 1,
                    Some((found, written)) if found < written => shorter += 1,
                    Some(_) => whole += 1,
                }
            }
        }
        println!("{name}: {tried} lies and then no power: {whole} logs whole, {shorter} shorter, {refused} refused");
        assert!(whole > 50 && shorter > 10 && refused > 50, "{name}: {whole} {shorter} {refused}");
    }
}

/// How many effects the workload has on a medium that is well.
fn effects(files: FileOptions) -> u64 {
    let medium = Medium::new(1);
    let mut history = History::new(&medium, files);
    assert!(WORKLOAD.iter().all(|&step| history.step(step).is_ok()));
    medium.effects()
}
