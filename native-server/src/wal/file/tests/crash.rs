//! Power lost at every effect of a workload, and again at every effect of the recovery that follows.

use super::super::super::conformance::{append, group, line, options, run};
use super::super::super::{BaselinePiece, Opened, Replayed, StateFacts, Wal};
use super::super::{FileOptions, FileWal};
use super::medium::{Fault, Medium};
use super::{OPTIONS, SMALL, keep_nothing};

const SEEDS: u64 = 2;

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
    fn open(&mut self, wal: &mut FileWal) -> Option<Opened> {
        let (opened, found) = open(wal)?;
        assert!(found.len() >= self.durable.len(), "{} acknowledged, {} found", self.durable.len(), found.len());
        let (durable, more) = found.split_at(self.durable.len());
        assert_eq!(durable, self.durable);
        assert!(self.uncertain.starts_with(more), "records that nobody wrote");
        assert!(self.epochs.last().is_none_or(|&last| last < opened.epoch), "an epoch repeats");
        assert_eq!(opened.last.map_or(0, |last| last.seq), found.len() as u64);
        self.epochs.push(opened.epoch);
        self.durable = found;
        self.uncertain.clear();
        Some(opened)
    }

    /// Stores a baseline, which here is all lines.
    fn store_baseline(&self, opened: &Opened) -> Option<()> {
        let keeper = opened.keeper.as_ref()?;
        let seq = self.durable.len() as u64;
        let mut sink = run(keeper.begin(seq)).ok()?;
        for line in &self.durable {
            run(sink.push(BaselinePiece::Lines(&[&line[..], b"\n"].concat()))).ok()?;
        }
        run(sink.finish(StateFacts { seq, keys: seq, digest: "xxh3:0".into() })).ok()?;
        Some(())
    }

    fn append(&mut self, opened: &mut Opened, count: u64, epoch: Option<u64>) -> Option<()> {
        let first = self.durable.len() as u64 + 1;
        self.uncertain = (first..first + count).map(|seq| line(seq, epoch.filter(|_| seq == first))).collect();
        append(opened, &group(first, count, epoch)).ok()?;
        self.durable.append(&mut self.uncertain);
        Some(())
    }

    /// Opens, writes, stores a baseline, closes, opens again in the same process and in a new one. `None`: power was lost.
    fn workload(&mut self, medium: &Medium, files: FileOptions) -> Option<()> {
        for round in 0..2 {
            let mut wal = FileWal::on(medium.storage(), files);
            for sizes in [&[1, 12, 1][..], &[2, 30]] {
                let mut opened = self.open(&mut wal)?;
                let mut epoch = Some(opened.epoch);
                for (index, &size) in sizes.iter().enumerate() {
                    self.append(&mut opened, size, epoch.take())?;
                    if index == 1 {
                        self.store_baseline(&opened)?;
                    }
                    run(opened.keeper.as_ref()?.trim(&keep_nothing(), None)).ok()?;
                }
                if round == 0 {
                    run(opened.appender.close()).ok()?;
                }
            }
        }
        Some(())
    }
}

/// Opens the log and returns all lines it holds, those of its baseline first.
fn open(wal: &mut FileWal) -> Option<(Opened, Vec<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut replay = |piece: Replayed<'_>| {
        match piece {
            Replayed::Baseline(BaselinePiece::Lines(text)) => {
                found.extend(text.split_inclusive(|&byte| byte == b'\n').map(|line| line[..line.len() - 1].to_vec()));
            }
            Replayed::Baseline(_) => return Err("a piece that nobody wrote".into()),
            Replayed::Record(record) => found.push(record.line.to_vec()),
        }
        Ok(())
    };
    let opened = run(wal.open(&options(1000), &mut replay)).ok()?;
    Some((opened, found))
}

#[test]
fn nothing_acknowledged_is_lost_whenever_power_is_cut() {
    for (name, files, least) in [("one segment", OPTIONS, 60), ("many segments", SMALL, 120)] {
        let (cuts, cuts_of_recovery) = cut_everywhere(files);
        println!("{name}: {cuts} cuts, {cuts_of_recovery} more during recovery");
        assert!(cuts > least * SEEDS, "{name}: the workload has more effects than {cuts} cuts tried");
    }
}

/// Cuts the power at each effect of the workload, and of the recovery from that.
fn cut_everywhere(files: FileOptions) -> (u64, u64) {
    let (mut cuts, mut cuts_of_recovery) = (0, 0);
    for cut in 1.. {
        for seed in 0..SEEDS {
            let mut again = 0;
            loop {
                let medium = Medium::new(seed * 1000 + cut);
                let mut history = History::default();
                medium.fault(cut, Fault::PowerCut);
                let ended = history.workload(&medium, files).is_some();
                if ended && medium.is_on() {
                    return (cuts, cuts_of_recovery);
                }
                medium.power_on();
                // The recovery is cut too, at a later effect each time, until it comes to its end.
                let mut recovered = true;
                if again > 0 {
                    medium.fault(again, Fault::PowerCut);
                    recovered = history.open(&mut FileWal::on(medium.storage(), files)).is_some();
                    cuts_of_recovery += 1;
                    medium.power_on();
                }
                let mut wal = FileWal::on(medium.storage(), files);
                let mut opened = history.open(&mut wal).expect("nothing is wrong now");
                let epoch = opened.epoch;
                history.append(&mut opened, 2, Some(epoch)).expect("nothing is wrong now");
                drop((opened, wal));
                history.open(&mut FileWal::on(medium.storage(), files)).expect("nothing is wrong now");
                if again > 0 && recovered {
                    break;
                }
                again += 1;
            }
            cuts += 1;
        }
    }
    unreachable!("the workload comes to an end")
}
