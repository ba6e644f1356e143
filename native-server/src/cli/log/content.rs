//! What the records of a log mean: whether each line is what its frame says, whether they follow each other, and the
//! state that they make.

use crate::stored::Restore;
use crate::wal::file::inspect::{Inspected, Inspection};
use crate::wal::manifest::BaselinePlace;
use crate::wal::{BaselinePiece, OpenError, Record, ReplayRefused};
use crate::writer::Origin;
use headwater_core::apply::scope_digest;
use headwater_core::command::{Action, Line, Logged, Trust, decode};
use headwater_core::position::EpochStart;
use headwater_core::scope::Scope;
use headwater_core::store::memory::{MemoryOptions, MemoryStore};
use headwater_core::store::{Progress, Snapshot, Store, check_features};
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
        self.restore.piece(piece)?;
        // They were read, and so are as a writer needs them; nobody asks for them here.
        drop(self.restore.take_repeatable());
        Ok(())
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
        if !self.of_replica {
            Origin::read(record.meta).map_err(|error| format!("what is stored beside the line: {error}"))?;
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
            check_features(requires.iter().map(|name| &**name))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "00000000000000000000000000000001";

    fn epoch(seq: u64, epoch: u64) -> String {
        format!(
            r#"{{"type":"EPOCH","seq":{seq},"timestamp":1,"epoch":{epoch},"cluster":"{CLUSTER}","node":"w","requires":[]}}"#
        )
    }

    fn set(seq: u64, prev: u64) -> String {
        format!(
            r#"{{"type":"SET","collection":"c","seq":{seq},"prev":{prev},"key":"k","version":1,"timestamp":1,"value":1}}"#
        )
    }

    /// What is said of the last of these lines, each with the seq and the epoch of its frame.
    fn said(of_replica: bool, lines: &[(u64, Option<u64>, String)]) -> Result<(), String> {
        let store = empty_store();
        let mut content = Content::new(&store, of_replica);
        let mut last = Ok(());
        for (seq, epoch, line) in lines {
            assert_eq!(last, Ok(()));
            let record =
                Record { seq: *seq, line: line.as_bytes(), meta: b"", epoch: *epoch, is_canonical: !of_replica };
            last = content.record(&record, true).map_err(|error| error.to_string());
        }
        last
    }

    fn begun(mut more: Vec<(u64, Option<u64>, String)>) -> Vec<(u64, Option<u64>, String)> {
        let create = r#"{"type":"CREATE","collection":"c","seq":2,"timestamp":1}"#.to_owned();
        more.splice(0..0, [(1, Some(10), epoch(1, 10)), (2, None, create)]);
        more
    }

    #[test]
    fn takes_lines_that_follow_each_other() {
        let lines = begun(vec![(3, None, set(3, 2)), (4, Some(20), epoch(4, 20)), (5, None, set(5, 3))]);
        assert_eq!(said(false, &lines), Ok(()));
    }

    #[test]
    fn names_what_a_line_has_wrong() {
        for (line, said_of_it) in [
            ((3, None, set(4, 2)), "the line says seq 4"),
            ((3, None, set(3, 1)), "it follows 1 of \"c\", and the last one there is 2"),
            ((3, Some(21), epoch(3, 20)), "the line opens epoch 20, and its frame Some(21)"),
            ((3, Some(10), epoch(3, 10)), "epoch 10 is not above the one before"),
            ((3, None, r#"{"type":"PING"}"#.into()), "no command of the log"),
        ] {
            let error = said(false, &begun(vec![line])).unwrap_err();
            assert!(error.contains(said_of_it), "{error}");
        }
        assert!(said(false, &begun(vec![(3, None, "{".into())])).is_err());
    }

    #[test]
    fn what_is_stored_beside_a_line_must_be_what_a_writer_reads() {
        let store = empty_store();
        let mut content = Content::new(&store, false);
        let line = epoch(1, 10);
        let record = Record { seq: 1, line: line.as_bytes(), meta: b"{}", epoch: Some(10), is_canonical: true };
        let error = content.record(&record, true).unwrap_err().to_string();
        assert!(error.contains("beside the line"), "{error}");
    }

    #[test]
    fn a_replica_may_lack_commands_between_two_lines() {
        assert_eq!(said(true, &begun(vec![(5, None, set(5, 4))])), Ok(()));
        assert!(said(true, &begun(vec![(5, None, set(5, 1))])).is_err());
    }

    #[test]
    fn a_baseline_must_be_what_the_manifest_says() {
        let store = empty_store();
        let content = Content::new(&store, false);
        let digest = facts(&store).unwrap().1;
        let place = |seq, keys, digest: &str| BaselinePlace {
            number: 1,
            seq,
            from_segment: 0,
            end: 0,
            sum: crate::wal::manifest::Sum(0),
            keys,
            digest: digest.into(),
        };
        assert_eq!(content.baseline_is(&place(0, 0, &digest)), Ok(()));
        for (wrong, words) in [
            (place(7, 0, &digest), "as of seq 0, and the manifest says 7"),
            (place(0, 1, &digest), "holds 0 entries"),
            (place(0, 0, "xxh3:1"), "the manifest says 0 with xxh3:1"),
        ] {
            let error = content.baseline_is(&wrong).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
