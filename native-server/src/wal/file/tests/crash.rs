//! Power lost at every effect of a workload, and again at every effect of the recovery that follows.

use super::history::{History, Step, WORKLOAD};
use super::medium::{Fault, Medium};
use super::{FileOptions, WAYS};

const SEEDS: u64 = 2;

#[derive(Debug, Default)]
struct Tried {
    cuts: u64,
    cuts_of_recovery: u64,
    /// Acknowledged records that were gone.
    lost: usize,
}

#[test]
fn nothing_acknowledged_is_lost_whenever_power_is_cut() {
    for (name, files) in WAYS {
        let Tried { cuts, cuts_of_recovery, lost } = cut_everywhere(files);
        println!(
            "{name}: {cuts} cuts, {cuts_of_recovery} more during recovery, {lost} records that were not synced gone"
        );
        assert!(cuts > 80 * SEEDS, "{name}: the workload has more effects than {cuts} cuts tried");
        assert_eq!(lost > 0, files.sync != super::SyncMode::Group, "{name}: {lost} lost");
    }
}

/// Cuts the power at each effect of the workload, and of the recovery from that.
fn cut_everywhere(files: FileOptions) -> Tried {
    let mut tried = Tried::default();
    for cut in 1.. {
        for seed in 0..SEEDS {
            let mut again = 0;
            loop {
                let medium = Medium::new(seed * 1000 + cut);
                let mut history = History::new(&medium, files);
                medium.fault(cut, Fault::PowerCut);
                let ended = WORKLOAD.iter().all(|&step| history.step(step).is_ok());
                if ended && medium.is_on() {
                    return tried;
                }
                history.power_on();
                // The recovery is cut too, at a later effect each time, until it comes to its end.
                let mut recovered = true;
                if again > 0 {
                    medium.fault(again, Fault::PowerCut);
                    recovered = history.step(Step::Start).is_ok() && medium.is_on();
                    tried.cuts_of_recovery += 1;
                    history.power_on();
                }
                for step in [Step::Start, Step::Append(2), Step::Start] {
                    history.step(step).expect("nothing is wrong now");
                }
                tried.lost += history.lost;
                if again > 0 && recovered {
                    break;
                }
                again += 1;
            }
            tried.cuts += 1;
        }
    }
    unreachable!("the workload comes to an end")
}
