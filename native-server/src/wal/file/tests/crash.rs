//! Power lost at every effect of a workload, and again at every effect of the recovery that follows.

use super::super::super::conformance::{append, group, line, open_with, options};
use super::super::super::{OpenOptions, Wal};
use super::super::FileWal;
use super::medium::{Fault, Medium};

const SEEDS: u64 = 6;

/// What must be found, and what may be.
#[derive(Default)]
struct History {
    /// Lines that were acknowledged, or shown by an opening that succeeded.
    durable: Vec<Vec<u8>>,
    /// Lines of the append that was under way: a prefix of them may follow.
    uncertain: Vec<Vec<u8>>,
    epochs: Vec<u64>,
}

impl History {
    /// Opens the log, compares, and takes over what was found. Returns whether it came so far.
    fn open(&mut self, wal: &mut dyn Wal, options: &OpenOptions) -> Option<super::super::super::Opened> {
        let (opened, replayed) = open_with(wal, options).ok()?;
        let found: Vec<_> = replayed.into_iter().map(|record| record.1).collect();
        assert!(found.len() >= self.durable.len(), "{} acknowledged, {} found", self.durable.len(), found.len());
        let (durable, more) = found.split_at(self.durable.len());
        assert_eq!(durable, self.durable);
        assert!(self.uncertain.starts_with(more), "records that nobody wrote");
        assert!(self.epochs.last().is_none_or(|&last| last < opened.epoch), "an epoch repeats");
        self.epochs.push(opened.epoch);
        self.durable = found;
        self.uncertain.clear();
        Some(opened)
    }

    fn append(&mut self, opened: &mut super::super::super::Opened, count: u64, epoch: Option<u64>) -> Option<()> {
        let first = self.durable.len() as u64 + 1;
        self.uncertain = (first..first + count).map(|seq| line(seq, epoch.filter(|_| seq == first))).collect();
        append(opened, &group(first, count, epoch)).ok()?;
        self.durable.append(&mut self.uncertain);
        Some(())
    }

    /// Opens, writes, closes, opens again in the same process and in a new one. `None`: power was lost.
    fn workload(&mut self, medium: &Medium) -> Option<()> {
        for round in 0..2 {
            let mut wal = FileWal::on(medium.storage());
            for sizes in [&[1, 12, 1][..], &[2, 30]] {
                let mut opened = self.open(&mut wal, &options(1000))?;
                let mut epoch = Some(opened.epoch);
                for &size in sizes {
                    self.append(&mut opened, size, epoch.take())?;
                }
                if round == 0 {
                    super::super::super::conformance::run(opened.appender.close()).ok()?;
                }
            }
        }
        Some(())
    }
}

#[test]
fn nothing_acknowledged_is_lost_whenever_power_is_cut() {
    let (mut cuts, mut cuts_of_recovery) = (0, 0);
    'workload: for cut in 1.. {
        for seed in 0..SEEDS {
            let mut again = 0;
            loop {
                let medium = Medium::new(seed * 1000 + cut);
                let mut history = History::default();
                medium.fault(cut, Fault::PowerCut);
                let ended = history.workload(&medium).is_some();
                if ended && medium.is_on() {
                    break 'workload;
                }
                medium.power_on();
                // The recovery is cut too, at a later effect each time, until it comes to its end.
                let mut recovered = true;
                if again > 0 {
                    medium.fault(again, Fault::PowerCut);
                    recovered = history.open(&mut FileWal::on(medium.storage()), &options(1000)).is_some();
                    cuts_of_recovery += 1;
                    medium.power_on();
                }
                let mut wal = FileWal::on(medium.storage());
                let mut opened = history.open(&mut wal, &options(1000)).expect("nothing is wrong now");
                let epoch = opened.epoch;
                history.append(&mut opened, 2, Some(epoch)).expect("nothing is wrong now");
                drop((opened, wal));
                history.open(&mut FileWal::on(medium.storage()), &options(1000)).expect("nothing is wrong now");
                if again > 0 && recovered {
                    break;
                }
                again += 1;
            }
            cuts += 1;
        }
    }
    println!("{cuts} cuts, {cuts_of_recovery} more during recovery");
    assert!(cuts > 50 * SEEDS, "the workload has more effects than {cuts} cuts tried");
}
