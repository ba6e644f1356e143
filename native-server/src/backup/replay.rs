//! Point in time: brings a state that was loaded from a backup forward, by archived pieces and by the log of a writer that
//! does not run.
//!
//! What is needed is planned before anything is applied: which history leads to the target, that the backup lies on it, and
//! that no record between them is missing.

use super::archive::{Archive, Piece};
use super::error::BackupError;
use super::source::log_in;
use crate::wal::MANIFEST_FILE;
use crate::wal::file::reading::{self, Found, From};
use headwater_core::apply::apply;
use headwater_core::command::{Line, Trust, decode};
use headwater_core::position::{EpochTable, Position};
use headwater_core::store::memory::MemoryStore;
use headwater_core::store::scan::{Scan, Walk};
use headwater_core::store::{Progress, Snapshot, Store};
use std::path::{Path, PathBuf};

/// Up to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Exactly this position.
    Position(Position),
    /// Everything up to this time by the writer's clock, Unix ms.
    Time(u64),
    /// All there is.
    Newest,
}

/// Where records may come from.
#[derive(Clone, Debug, Default)]
pub struct Sources<'a> {
    /// An archive.
    pub archive: Option<&'a Path>,
    /// The data directory of a writer that does not run.
    pub data: Option<&'a Path>,
}

/// Records of one place, in order.
struct Range {
    after: Position,
    through: Position,
    epochs: EpochTable,
    place: Place,
}

enum Place {
    Piece(Piece),
    Log(PathBuf),
}

/// Applies to `store`, which holds a backup, what lies between that and `target`. `step` hears how many records are applied.
///
/// # Errors
/// [`BackupError::Unfit`] when records are missing, named by their seqs, or the target is on no history of the backup. What
/// the store holds after an error is to be thrown away.
pub fn replay(
    store: &MemoryStore,
    sources: &Sources<'_>,
    target: Target,
    step: &mut dyn FnMut(u64),
) -> Result<(), BackupError> {
    let progress = store.progress();
    let cluster = progress.cluster.ok_or_else(|| BackupError::Unfit("a state without a cluster".into()))?;
    let mut ranges: Vec<Range> = Vec::new();
    if let Some(directory) = sources.archive {
        for piece in Archive::new(directory, cluster).pieces()? {
            let (after, through, epochs) = (piece.after, piece.through, piece.epochs.clone());
            ranges.push(Range { after, through, epochs, place: Place::Piece(piece) });
        }
    }
    if let Some(data) = sources.data {
        let directory = log_in(data);
        if !directory.join(MANIFEST_FILE).exists() {
            return Err(BackupError::Unfit(format!("there is no log of a writer in {}", data.display())));
        }
        let history = reading::history(&directory)?;
        if history.cluster != Some(cluster) {
            return Err(BackupError::Unfit(format!("the log in {} is of another cluster", data.display())));
        }
        if let Some((after, through)) = history.records {
            let epochs = history.epochs;
            let at = |seq| Position { epoch: epochs.epoch_of(seq).unwrap_or(0), seq };
            let (after, through) = (at(after), at(through));
            ranges.push(Range { after, through, epochs, place: Place::Log(directory) });
        }
    }
    if let Target::Time(ms) = target {
        refuse_newer(store, ms)?;
    }
    let from = progress.position;
    let (history, end) = choose(&ranges, from, target)?;
    let plan = plan(&ranges, &history, from, end)?;
    let mut applying =
        Applying { store, seq: from.seq, end, until_ms: u64::MAX, applied: 0, step, scratch: Vec::new() };
    if let Target::Time(ms) = target {
        applying.until_ms = ms;
    }
    for range in plan {
        applying.range(range)?;
    }
    // The next opening takes an epoch above all of them, those of histories that were left behind included.
    let newest = ranges.iter().filter_map(|range| range.epochs.newest()).map(|start| start.epoch).max();
    let progress = store.progress();
    let epoch_highest = progress.epoch_highest.max(newest.unwrap_or(0));
    Ok(store.set_progress(&Progress { epoch_highest, ..progress })?)
}

/// A backup that holds an entry written after `ms` cannot be brought back to then.
fn refuse_newer(store: &MemoryStore, ms: u64) -> Result<(), BackupError> {
    let snapshot = store.snapshot()?;
    for facts in snapshot.collections() {
        let mut walk: Walk = Scan::under("", None).into();
        while let Some(record) = walk.next_record(&snapshot, &facts.name)? {
            if record.timestamp() > ms {
                let detail = "the backup holds entries that were written after that time: take an older one";
                return Err(BackupError::Unfit(detail.into()));
            }
        }
    }
    Ok(())
}

/// The history that leads to the target, and the seq to end at.
fn choose(ranges: &[Range], from: Position, target: Target) -> Result<(EpochTable, u64), BackupError> {
    let unfit = |detail: String| Err(BackupError::Unfit(detail));
    if let Target::Position(wanted) = target {
        if wanted == from {
            return Ok((EpochTable::default(), from.seq));
        }
        let held = |range: &&Range| {
            let (after, through) = (range.after.seq, range.through.seq);
            after < wanted.seq && wanted.seq <= through && range.epochs.epoch_of(wanted.seq) == Some(wanted.epoch)
        };
        let Some(range) = ranges.iter().find(held) else {
            return unfit(format!("the record of position {wanted} is neither in the archive nor in the log"));
        };
        if wanted.seq < from.seq || range.epochs.epoch_of(from.seq) != Some(from.epoch) {
            return unfit(format!("the backup's position {from} is not on the way to {wanted}: take an older backup"));
        }
        return Ok((range.epochs.clone(), wanted.seq));
    }
    let leads_on = |range: &&Range| range.through.seq > from.seq && range.epochs.epoch_of(from.seq) == Some(from.epoch);
    let onward: Vec<&Range> = ranges.iter().filter(leads_on).collect();
    let Some(furthest) = onward.iter().max_by_key(|range| range.through.seq) else {
        return Ok((EpochTable::default(), from.seq));
    };
    for range in &onward {
        if furthest.epochs.epoch_of(range.through.seq) != Some(range.through.epoch) {
            let (one, other) = (furthest.through, range.through);
            return unfit(format!(
                "two histories lead on from the backup, to {one} and to {other}: say which with --to EPOCH.SEQ"
            ));
        }
    }
    Ok((furthest.epochs.clone(), furthest.through.seq))
}

/// The ranges to apply, in order.
fn plan<'r>(
    ranges: &'r [Range],
    history: &EpochTable,
    from: Position,
    end: u64,
) -> Result<Vec<&'r Range>, BackupError> {
    let (mut plan, mut seq) = (Vec::new(), from.seq);
    let fits = |range: &&Range| {
        let last = range.through.seq.min(end);
        range.epochs.epoch_of(last) == history.epoch_of(last)
    };
    let on_history: Vec<&Range> = ranges.iter().filter(fits).collect();
    while seq < end {
        let next = on_history.iter().filter(|range| range.after.seq <= seq && range.through.seq > seq);
        let Some(next) = next.max_by_key(|range| range.through.seq) else {
            let later = on_history.iter().map(|range| range.after.seq).filter(|&after| after > seq);
            let until = later.min().unwrap_or(end).min(end);
            let detail = format!("records {} to {until} are neither in the archive nor in the log", seq + 1);
            return Err(BackupError::Unfit(detail));
        };
        seq = next.through.seq;
        plan.push(*next);
    }
    Ok(plan)
}

struct Applying<'a> {
    store: &'a MemoryStore,
    /// The record applied last.
    seq: u64,
    end: u64,
    until_ms: u64,
    applied: u64,
    step: &'a mut dyn FnMut(u64),
    scratch: Vec<u8>,
}

impl Applying<'_> {
    fn range(&mut self, range: &Range) -> Result<(), BackupError> {
        match &range.place {
            Place::Piece(piece) => {
                piece.walk(&mut |line| self.line(line).map_err(|detail| BackupError::damaged(&piece.path, detail)))
            }
            Place::Log(directory) => reading::read(directory, From::Oldest, &mut |found| match found {
                Found::Line { line, .. } => Ok(self.line(line.strip_suffix(b"\n").unwrap_or(line)).map(drop)?),
                Found::Baseline(_) | Found::Progress(_) => Ok(()),
            })
            .map(drop)
            .map_err(BackupError::from),
        }
    }

    /// Applies a line that comes next, and passes over others. Whether more are wanted.
    fn line(&mut self, line: &[u8]) -> Result<bool, String> {
        if self.seq >= self.end {
            return Ok(false);
        }
        let Line::Log(command) = decode(line, Trust::Checked).map_err(|error| error.to_string())? else {
            return Err("a line that is no command of the log".into());
        };
        if command.seq <= self.seq {
            return Ok(true);
        }
        if command.seq != self.seq + 1 {
            return Err(format!("record {} follows record {}", command.seq, self.seq));
        }
        if command.timestamp > self.until_ms {
            self.end = self.seq;
            return Ok(false);
        }
        apply(self.store, &command, &mut self.scratch).map_err(|error| error.to_string())?;
        self.seq = command.seq;
        self.applied += 1;
        (self.step)(self.applied);
        Ok(true)
    }
}
