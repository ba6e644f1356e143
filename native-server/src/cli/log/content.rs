//! What the records of a log mean: whether each line is what its frame says, whether they follow each other, and the
//! state that they make.

use crate::stored::Restore;
use crate::wal::file::inspect::{Inspected, Inspection};
use crate::wal::manifest::BaselinePlace;
use crate::wal::{BaselinePiece, OpenError, Record, ReplayRefused};
use headwater_core::apply::scope_digest;
use headwater_core::command::{Action, Line, Logged, Trust, decode, unknown_feature};
use headwater_core::position::EpochStart;
use headwater_core::scope::Scope;
use headwater_core::store::memory::{MemoryOptions, MemoryStore};
use headwater_core::store::{Progress, Snapshot, Store};
use std::collections::HashMap;

/// An empty store, complete once everything is in it.
pub(crate) fn empty_store() -> MemoryStore {
    let progress = Progress { complete: true, ..Progress::new(Scope::Everything) };
    MemoryStore::new(progress, MemoryOptions::threaded(crate::random::bits()))
}

/// Checks what is read, and builds the state from it.
pub(crate) struct Content<'s> {
    store: &'s MemoryStore,
    restore: Restore<'s>,
    /// Whether a replica wrote it: what its scope leaves out is missing between two lines.
    of_replica: bool,
    /// Seq of the last command of each collection that was seen.
    last: HashMap<String, u64>,
    /// The openings whose EPOCH command was seen.
    epochs: Vec<EpochStart>,
    /// Whether everything so far was applied.
    is_whole: bool,
}

impl<'s> Content<'s> {
    pub(crate) fn new(store: &'s MemoryStore, of_replica: bool) -> Self {
        let (last, epochs) = (HashMap::new(), Vec::new());
        Self { store, restore: Restore::new(store), of_replica, last, epochs, is_whole: true }
    }

    /// From here on nothing can be applied: something before is missing.
    pub(crate) fn is_broken(&mut self) {
        self.is_whole = false;
        self.last.clear();
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The openings whose EPOCH command was seen, in the order of the log.
    pub(crate) fn epochs(&self) -> &[EpochStart] {
        &self.epochs
    }

    pub(crate) fn piece(&mut self, piece: BaselinePiece<'_>) -> Result<(), ReplayRefused> {
        self.restore.piece(piece)
    }

    /// Compares the baseline that was read with what the manifest says of it.
    pub(crate) fn baseline_is(&self, place: &BaselinePlace) -> Result<(), String> {
        let (keys, digest) = facts(self.store).map_err(|error| error.to_string())?;
        let seq = self.store.position().seq;
        if seq != place.seq {
            return Err(format!("it is a state as of seq {seq}, and the manifest says {}", place.seq));
        }
        if (keys, &digest) != (place.keys, &place.digest) {
            let found = format!("{keys} entries with digest {digest}");
            return Err(format!("it holds {found}, and the manifest says {} with {}", place.keys, place.digest));
        }
        Ok(())
    }

    /// Takes a record; with `applies`, into the state too.
    pub(crate) fn record(&mut self, record: &Record<'_>, applies: bool) -> Result<(), ReplayRefused> {
        let trust = if record.is_canonical { Trust::Canonical } else { Trust::Checked };
        // Trust does not check everything: that a writer's lines are JSON is looked at here.
        if record.is_canonical {
            decode(record.line, Trust::Checked)?;
        }
        let Line::Log(command) = decode(record.line, trust)? else { return Err("no command of the log".into()) };
        if command.seq != record.seq {
            return Err(format!("the line says seq {}", command.seq).into());
        }
        self.follows(&command)?;
        if let Action::Epoch { epoch, requires, .. } = &command.action {
            if record.is_canonical && record.epoch != Some(*epoch) {
                return Err(format!("the line opens epoch {epoch}, and its frame {:?}", record.epoch).into());
            }
            if self.epochs.last().is_some_and(|newest| newest.epoch >= *epoch) {
                return Err(format!("epoch {epoch} is not above the one before").into());
            }
            self.epochs.push(EpochStart { epoch: *epoch, first: command.seq });
            if let Some(feature) = unknown_feature(requires.iter().map(|name| &**name)) {
                return Err(format!("the log needs the feature {feature:?}, which this release does not know").into());
            }
        }
        if applies && self.is_whole { self.restore.command(&command) } else { Ok(()) }
    }

    /// Whether a command's `prev` is the last one of its collection, where that was seen.
    fn follows(&mut self, command: &Logged<'_>) -> Result<(), ReplayRefused> {
        let Some(name) = command.collection.as_deref() else { return Ok(()) };
        let known = self.last.insert(name.into(), command.seq);
        let (Some(known), Some(prev)) = (known, command.prev) else { return Ok(()) };
        let is_good = if self.of_replica { known <= prev && prev < command.seq } else { known == prev };
        if is_good {
            Ok(())
        } else {
            Err(format!("it follows {prev} of {name:?}, and the last one there is {known}").into())
        }
    }

    /// Takes how far a replica was.
    pub(crate) fn progress(&mut self, text: &[u8]) -> Result<(), ReplayRefused> {
        if self.is_whole { self.restore.progress(std::str::from_utf8(text)?) } else { Ok(()) }
    }
}

/// Reads a log that must be whole into `content`.
///
/// # Errors
/// Those of an opening.
pub(crate) fn replayed(inspection: &Inspection, content: &mut Content<'_>) -> Result<(), OpenError> {
    let (covered, from_segment) = inspection.baseline().map_or((0, 0), |place| (place.seq, place.from_segment));
    inspection.read_baseline(&mut |piece| content.piece(piece))?;
    let mut reading = inspection.read();
    for place in inspection.segments() {
        let is_within = place.number < from_segment;
        let read = reading.next(&mut |frame| match frame {
            Inspected::Record(record) => content.record(&record, !is_within && record.seq > covered),
            Inspected::Progress { text, .. } if content.of_replica && !is_within => content.progress(text),
            Inspected::Progress { .. } => Ok(()),
        });
        if let Some(read) = read {
            read.outcome?;
        }
    }
    Ok(())
}

/// Reads a log that must be whole into `store`, as a writer would.
///
/// # Errors
/// Those of a writer's opening.
pub(crate) fn as_writer(inspection: Inspection, store: &MemoryStore) -> Result<(), OpenError> {
    replayed(&inspection.as_writer(), &mut Content::new(store, false))
}

/// Entries of a state and its digest as the stream writes it.
pub(crate) fn facts(store: &MemoryStore) -> Result<(u64, String), headwater_core::store::SnapshotError> {
    let snapshot = store.snapshot()?;
    let collections = snapshot.collections();
    Ok((collections.iter().map(|facts| facts.keys).sum(), format!("xxh3:{}", scope_digest(collections))))
}
