//! Point in time: brings a state that was loaded from a backup forward, by archived pieces and by the log of a writer that
//! does not run.
//!
//! What is needed is planned before anything is applied: which history leads to the target, that the backup lies on it, and
//! that no record between them is missing.

use super::archive::{Archive, Piece, common};
use super::error::BackupError;
use super::manifest::{MANIFEST_FILE as BACKUP_MANIFEST, Manifest};
use crate::wal::MANIFEST_FILE;
use crate::wal::file::inspect::log_in;
use crate::wal::file::reading::{self, Found, From};
use headwater_core::api::rfc3339;
use headwater_core::apply::apply;
use headwater_core::command::{Action, Line, Trust, decode};
use headwater_core::position::{EpochTable, Position};
use headwater_core::store::memory::MemoryStore;
use headwater_core::store::{Progress, Store, check_features};
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

/// How far a state was brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Records that were applied.
    pub applied: u64,
    /// Whether a record behind the target was seen, so that nothing before it can be missing. Where the target is a time
    /// and none was, there may have been more before that time that nobody has any more.
    pub later_seen: bool,
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

/// Makes sure that the backup in `directory`, which has this manifest, covers nothing later than `ms`, Unix ms by the writer's
/// clock.
///
/// # Errors
/// [`BackupError::Unfit`] with what to do; the newest backup beside it that covers nothing later is named.
pub fn refuse_later(directory: &Path, manifest: &Manifest, ms: u64) -> Result<(), BackupError> {
    let newest = manifest.newest_ms(&directory.join(BACKUP_MANIFEST))?;
    if newest <= ms {
        return Ok(());
    }
    let holds = match &manifest.time {
        Some(time) => format!("the backup holds what was written up to {time}"),
        None => format!("the backup was made at {}", rfc3339(newest)),
    };
    let older = older_beside(directory, &manifest.cluster, ms);
    let older = older.map_or(String::new(), |path| format!(", {}", path.display()));
    Err(BackupError::Unfit(format!("{holds}, which is later than {}: take an older one{older}", rfc3339(ms))))
}

/// The newest backup of the cluster beside `directory` that covers nothing later than `ms`. What cannot be read is none.
fn older_beside(directory: &Path, cluster: &str, ms: u64) -> Option<PathBuf> {
    let place = directory.canonicalize().ok()?.parent()?.to_path_buf();
    let paths = std::fs::read_dir(&place).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let fit = paths.filter_map(|path| {
        let manifest = Manifest::read(&path).ok().filter(|manifest| manifest.cluster == cluster)?;
        let newest = manifest.newest_ms(&path).ok().filter(|&newest| newest <= ms)?;
        Some((newest, path))
    });
    fit.max().map(|(_, path)| path)
}

/// Applies to `store`, which holds a backup, what lies between that and `target`. `step` hears how many records are applied.
///
/// The caller has made sure that the backup is not behind a target that is a time ([`refuse_later`]).
///
/// # Errors
/// [`BackupError::Unfit`] when there is nothing of this cluster at a source, when records are missing, named by their seqs,
/// or the target is on no history of the backup. What the store holds after an error is to be thrown away.
pub fn replay(
    store: &MemoryStore,
    sources: &Sources<'_>,
    target: Target,
    step: &mut dyn FnMut(u64),
) -> Result<Reached, BackupError> {
    let progress = store.progress();
    let cluster = progress.cluster.ok_or_else(|| BackupError::Unfit("a state without a cluster".into()))?;
    let (mut ranges, mut takeover): (Vec<Range>, u64) = (Vec::new(), 0);
    let mut wrong = None;
    if let Some(directory) = sources.archive {
        let archive = Archive::new(directory, cluster);
        if !archive.exists() {
            let detail = format!("there is no archive of the cluster {cluster} in {}", directory.display());
            return Err(BackupError::Unfit(detail));
        }
        let (pieces, unreadable) = archive.pieces()?;
        wrong = unreadable;
        for piece in pieces {
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
        takeover = history.takeover;
        if let Some((after, through)) = history.records {
            let epochs = history.epochs;
            let at = |seq| Position { epoch: epochs.epoch_of(seq).unwrap_or(0), seq };
            let (after, through) = (at(after), at(through));
            ranges.push(Range { after, through, epochs, place: Place::Log(directory) });
        }
    }
    let from = progress.position;
    let Chosen { history, end, parting } = choose(&ranges, from, target)?;
    let Plan { ranges: planned, missing } = plan(&ranges, &history, from, end);
    // What stands in the way comes after all that is planned. A note that cannot be read may be why something is missing.
    let missing = missing.map(|missing| wrong.unwrap_or(BackupError::Unfit(missing)));
    let obstacle = missing.or(parting.map(BackupError::Unfit));
    let (until_ms, obstacle) = match (target, obstacle) {
        // Whether it lies before that time, only the records before it can tell.
        (Target::Time(ms), obstacle) => (ms, obstacle),
        (_, None) => (u64::MAX, None),
        (_, Some(obstacle)) => return Err(obstacle),
    };
    let reached = Reached { applied: 0, later_seen: false };
    let mut applying =
        Applying { store, seq: from.seq, end, range_end: end, until_ms, reached, step, scratch: Vec::new() };
    for (range, through) in planned {
        if !applying.reached.later_seen {
            applying.range(range, through)?;
        }
    }
    let reached = applying.reached;
    if let Some(obstacle) = obstacle.filter(|_| !reached.later_seen) {
        return Err(obstacle);
    }
    // The next opening takes an epoch above all of them, those of histories that were left behind included, and so does the
    // takeover.
    let newest = ranges.iter().filter_map(|range| range.epochs.newest()).map(|start| start.epoch).max();
    let progress = store.progress();
    let epoch_highest = progress.epoch_highest.max(newest.unwrap_or(0));
    let takeover_highest = progress.takeover_highest.max(takeover);
    store.set_progress(&Progress { epoch_highest, takeover_highest, ..progress })?;
    Ok(reached)
}

/// Which way leads to the target.
struct Chosen {
    history: EpochTable,
    /// The seq to end at.
    end: u64,
    /// Why it ends there though there is more: two histories lead on.
    parting: Option<String>,
}

fn choose(ranges: &[Range], from: Position, target: Target) -> Result<Chosen, BackupError> {
    let chosen = |history: &EpochTable, end| Ok(Chosen { history: history.clone(), end, parting: None });
    let unfit = |detail: String| Err(BackupError::Unfit(detail));
    if let Target::Position(wanted) = target {
        if wanted == from {
            return chosen(&EpochTable::default(), from.seq);
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
        return chosen(&range.epochs, wanted.seq);
    }
    let leads_on = |range: &&Range| range.through.seq > from.seq && range.epochs.epoch_of(from.seq) == Some(from.epoch);
    let onward: Vec<&Range> = ranges.iter().filter(leads_on).collect();
    let Some(furthest) = onward.iter().max_by_key(|range| range.through.seq) else {
        return chosen(&EpochTable::default(), from.seq);
    };
    let mut chosen = Chosen { history: furthest.epochs.clone(), end: furthest.through.seq, parting: None };
    for range in &onward {
        let end = common(&furthest.epochs, &range.epochs);
        if range.through.seq > end && chosen.end > end {
            let (one, other) = (furthest.through, range.through);
            let detail = format!(
                "two histories lead on from the backup, to {one} and to {other}: say which with --to EPOCH.SEQ"
            );
            (chosen.end, chosen.parting) = (end, Some(detail));
        }
    }
    Ok(chosen)
}

/// What leads to the end.
struct Plan<'r> {
    /// The ranges to apply, in order, and the seq up to which each is.
    ranges: Vec<(&'r Range, u64)>,
    /// Which records behind them are nowhere.
    missing: Option<String>,
}

fn plan<'r>(ranges: &'r [Range], history: &EpochTable, from: Position, end: u64) -> Plan<'r> {
    let (mut plan, mut seq) = (Vec::new(), from.seq);
    // Of a piece that goes on into another history, what lies before that is as good as any.
    let on_history = |range: &'r Range| (range, range.through.seq.min(common(&range.epochs, history)));
    let on_history = ranges.iter().map(on_history).filter(|(range, through)| range.after.seq < *through);
    let on_history: Vec<(&Range, u64)> = on_history.collect();
    while seq < end {
        let next = on_history.iter().filter(|(range, through)| range.after.seq <= seq && *through > seq);
        let Some(next) = next.max_by_key(|(_, through)| *through) else {
            let later = on_history.iter().map(|(range, _)| range.after.seq).filter(|&after| after > seq);
            let until = later.min().unwrap_or(end).min(end);
            let detail = format!("records {} to {until} are neither in the archive nor in the log", seq + 1);
            return Plan { ranges: plan, missing: Some(detail) };
        };
        seq = next.1;
        plan.push(*next);
    }
    Plan { ranges: plan, missing: None }
}

struct Applying<'a> {
    store: &'a MemoryStore,
    /// The record applied last.
    seq: u64,
    end: u64,
    /// Where what is read now ends or leaves the history.
    range_end: u64,
    until_ms: u64,
    reached: Reached,
    step: &'a mut dyn FnMut(u64),
    scratch: Vec<u8>,
}

impl Applying<'_> {
    /// Applies the records of `range` that come next, up to `through`.
    fn range(&mut self, range: &Range, through: u64) -> Result<(), BackupError> {
        self.range_end = through;
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
        if self.seq >= self.end.min(self.range_end) {
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
            self.reached.later_seen = true;
            return Ok(false);
        }
        if let Action::Epoch { requires, .. } = &command.action {
            check_features(requires.iter().map(|name| &**name)).map_err(|error| error.to_string())?;
        }
        apply(self.store, &command, &mut self.scratch).map_err(|error| error.to_string())?;
        self.seq = command.seq;
        self.reached.applied += 1;
        (self.step)(self.reached.applied);
        Ok(true)
    }
}
