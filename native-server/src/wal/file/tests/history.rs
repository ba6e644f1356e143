//! A workload step by step, and what must be found of it, what may be, and what never.

use super::super::super::conformance::{append, group, line, options, run};
use super::super::super::error::{AppendError, OpenError};
use super::super::super::{BaselinePiece, Opened, Replayed, StateFacts, Wal};
use super::super::{FileOptions, FileWal, SyncMode};
use super::keep_nothing;
use super::medium::Medium;
use headwater_core::position::{EpochStart, Position};

/// What is done with a log.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A process starts and opens it.
    Start,
    /// The same process opens it again.
    Reopen,
    Append(u64),
    /// What the thread beside does now and then.
    Sync,
    StoreBaseline,
    Trim,
    /// The opening ends in an orderly way.
    Close,
}

use Step::{Append, Close, Reopen, Start, StoreBaseline, Sync, Trim};

/// Writes, stores baselines, lets go of segments, opens again in the same process and in a new one, in order or not.
pub(super) const WORKLOAD: [Step; 26] = [
    Start,
    Append(1),
    Trim,
    Append(12),
    StoreBaseline,
    Trim,
    Append(1),
    Close,
    Reopen,
    Append(2),
    Append(30),
    Sync,
    StoreBaseline,
    Trim,
    Close,
    Start,
    Append(1),
    Append(12),
    StoreBaseline,
    Append(1),
    Sync,
    Append(2),
    Reopen,
    Append(2),
    StoreBaseline,
    Append(30),
];

/// One log, and all that ever happened to it.
pub(super) struct History {
    files: FileOptions,
    medium: Medium,
    wal: FileWal,
    opened: Option<Opened>,
    /// Lines that were acknowledged, or shown by an opening that succeeded, and the epoch that each was written in.
    acknowledged: Vec<(u64, Vec<u8>)>,
    /// How many of them power loss must leave.
    synced: usize,
    /// Lines of the append that was under way: a prefix of them may follow.
    uncertain: Vec<Vec<u8>>,
    epochs: Vec<u64>,
    /// Whether power was lost since the last opening, so that what was not synced may be gone.
    lost_power: bool,
    /// Acknowledged lines that were gone after that.
    pub(super) lost: usize,
}

impl History {
    pub(super) fn new(medium: &Medium, files: FileOptions) -> Self {
        Self {
            files,
            medium: medium.clone(),
            wal: FileWal::on(medium.storage(), files),
            opened: None,
            acknowledged: Vec::new(),
            synced: 0,
            uncertain: Vec::new(),
            epochs: Vec::new(),
            lost_power: false,
            lost: 0,
        }
    }

    /// Loses power if it is on, and gives it back to a new process.
    pub(super) fn power_on(&mut self) {
        self.end_process();
        self.medium.power_on();
        self.lost_power = true;
    }

    fn end_process(&mut self) {
        self.opened = None;
        self.wal = FileWal::on(self.medium.storage(), self.files);
    }

    /// Does what the step says. Power may be lost meanwhile and the step succeed: in what changes nothing any more.
    pub(super) fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Start => {
                self.end_process();
                self.open().map_err(|error| error.to_string())
            }
            Reopen => self.open().map_err(|error| error.to_string()),
            Append(count) => self.append(count).map_err(|error| error.to_string()),
            Sync => self.sync(),
            StoreBaseline => self.store_baseline().map_err(|error| error.to_string()),
            Trim => {
                let keeper = self.opened().keeper.clone().unwrap();
                run(keeper.trim(&keep_nothing(), None)).map(drop).map_err(|error| error.to_string())
            }
            Close => {
                let opened = self.opened.take().unwrap();
                run(opened.appender.close()).map_err(|error| error.to_string())?;
                self.synced = self.acknowledged.len();
                Ok(())
            }
        }
    }

    fn opened(&mut self) -> &mut Opened {
        self.opened.as_mut().expect("the workload opens it first")
    }

    /// Opens the log, compares, and takes over what was found.
    pub(super) fn open(&mut self) -> Result<(), OpenError> {
        let (opened, found) = open(&mut self.wal)?;
        let lines: Vec<_> = self.acknowledged.iter().map(|(_, line)| line).chain(&self.uncertain).collect();
        let must = if self.lost_power { self.synced } else { self.acknowledged.len() };
        assert!(found.len() >= must, "{must} must be there, {} found", found.len());
        assert!(found.len() <= lines.len(), "{} written, {} found", lines.len(), found.len());
        assert!(found.iter().zip(&lines).all(|(found, line)| found == *line), "records that nobody wrote");
        assert!(self.epochs.last().is_none_or(|&last| last < opened.epoch), "an epoch repeats");
        assert_eq!(opened.last.map_or(0, |last| last.seq), found.len() as u64);
        let epoch_before = self.epochs.last().copied();
        self.epochs.push(opened.epoch);

        // A child at a record that is gone is not on the history of the new epoch, and one at a record that is there is.
        let mut history = opened.epochs.clone();
        assert!(history.push(EpochStart { epoch: opened.epoch, first: opened.next_seq() }), "{history:?}");
        for (index, &(epoch, _)) in self.acknowledged.iter().enumerate() {
            let position = Position { epoch, seq: index as u64 + 1 };
            assert_eq!(history.holds(position), index < found.len(), "{position}, {} found", found.len());
        }
        self.lost += self.acknowledged.len().saturating_sub(found.len());
        let known = self.acknowledged.len();
        let new = found.iter().skip(known).map(|line| (epoch_before.expect("somebody wrote it"), line.clone()));
        let new: Vec<_> = new.collect();
        self.acknowledged.truncate(found.len());
        self.acknowledged.extend(new);
        self.synced = self.acknowledged.len();
        self.uncertain.clear();
        self.lost_power = false;
        self.opened = Some(opened);
        Ok(())
    }

    pub(super) fn append(&mut self, count: u64) -> Result<(), AppendError> {
        let first = self.acknowledged.len() as u64 + 1;
        let epoch = *self.epochs.last().unwrap();
        let opens = (self.acknowledged.last().is_none_or(|&(last, _)| last != epoch)).then_some(epoch);
        self.uncertain = (first..first + count).map(|seq| line(seq, opens.filter(|_| seq == first))).collect();
        let appended = append(self.opened(), &group(first, count, opens));
        match &appended {
            Ok(()) => {
                self.acknowledged.extend(self.uncertain.drain(..).map(|line| (epoch, line)));
                if self.files.sync == SyncMode::Group || opens.is_some() {
                    self.synced = self.acknowledged.len();
                }
            }
            Err(AppendError::NotDone(_)) => self.uncertain.clear(),
            Err(AppendError::Unknown(_)) => {}
        }
        appended
    }

    /// Syncs as the thread beside does, and tells nobody whether that failed.
    fn sync(&mut self) -> Result<(), String> {
        let (_, synced) = self.wal.current.as_ref().unwrap();
        if synced.sync().is_ok() {
            self.synced = self.acknowledged.len();
        }
        Ok(())
    }

    /// Stores a baseline, which here is all lines.
    fn store_baseline(&mut self) -> Result<(), OpenError> {
        let keeper = self.opened().keeper.clone().unwrap();
        let seq = self.acknowledged.len() as u64;
        let mut sink = run(keeper.begin(seq))?;
        for (_, line) in &self.acknowledged {
            run(sink.push(BaselinePiece::Lines(&[&line[..], b"\n"].concat())))?;
        }
        run(sink.finish(StateFacts { seq, keys: seq, digest: "xxh3:0".into() }))?;
        self.synced = self.acknowledged.len();
        Ok(())
    }

    /// Opens in a new process a log that may have been lied to. `Some`: how many lines were found and how many were
    /// written, which must be a beginning of them, and it must go on. `None`: refused with a file and a place.
    pub(super) fn open_after_lies(&mut self) -> Option<(usize, usize)> {
        self.end_process();
        let (mut opened, mut found) = match open(&mut self.wal) {
            Ok(opened) => opened,
            Err(OpenError::Damaged { .. }) => return None,
            Err(other) => panic!("{other}"),
        };
        let lines: Vec<_> = self.acknowledged.iter().map(|(_, line)| line).chain(&self.uncertain).collect();
        assert!(found.len() <= lines.len() && found.iter().zip(&lines).all(|(found, line)| found == *line));
        let count = (found.len(), self.acknowledged.len());
        let (epoch, next) = (opened.epoch, opened.next_seq());
        append(&mut opened, &group(next, 1, Some(epoch))).unwrap();
        found.push(line(next, Some(epoch)));
        drop(opened);
        self.end_process();
        self.medium.power_on();
        assert_eq!(open(&mut self.wal).map(|(_, found)| found).unwrap(), found);
        Some(count)
    }
}

/// Opens the log and returns all lines it holds, those of its baseline first.
fn open(wal: &mut FileWal) -> Result<(Opened, Vec<Vec<u8>>), OpenError> {
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
    let opened = run(wal.open(&options(1000), &mut replay))?;
    Ok((opened, found))
}
