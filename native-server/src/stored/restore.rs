//! From what is stored back to a state. What is found is checked as a baseline of a parent would be, by the same code: a
//! restart may fall back, but never invent.

use super::Beside;
use crate::wal::{BaselinePiece, ReplayRefused};
use headwater_core::apply::apply;
use headwater_core::command::{Action, Line, Logged, Steer, Trust, decode, lines};
use headwater_core::limits::INTEGER_MAX;
use headwater_core::position::EpochTable;
use headwater_core::repeats::{Answered, Mark};
use headwater_core::replica::Staging;
use headwater_core::scope::Scope;
use headwater_core::store::memory::MemoryStore;
use headwater_core::store::{Progress, Store, check_features};
use std::collections::HashMap;
use std::sync::Arc;

/// Puts what is found into an empty store. After an error what the store holds is to be thrown away.
pub(crate) struct Restore<'s> {
    store: &'s MemoryStore,
    /// The stored baseline while it is read.
    baseline: Option<Staging>,
    last_seqs: HashMap<String, u64>,
    /// Writes that may be sent again, found since they were last taken.
    repeatable: Vec<(Mark, Answered)>,
    /// Timestamp of the newest entry or command.
    timestamp: u64,
    /// The table of epochs that was stored last: progress that leaves it out means this one.
    epochs: Option<Arc<EpochTable>>,
    scratch: Vec<u8>,
}

impl<'s> Restore<'s> {
    pub(crate) fn new(store: &'s MemoryStore) -> Self {
        let (last_seqs, repeatable, scratch) = (HashMap::new(), Vec::new(), Vec::new());
        Self { store, baseline: None, last_seqs, repeatable, timestamp: 0, epochs: None, scratch }
    }

    /// The newest timestamp found, Unix ms.
    pub(crate) fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// Takes a piece of the stored baseline.
    pub(crate) fn piece(&mut self, piece: BaselinePiece<'_>) -> Result<(), ReplayRefused> {
        match piece {
            BaselinePiece::Lines(text) => lines(text).try_for_each(|(_, line)| self.baseline_line(line)),
            BaselinePiece::Beside(text) => {
                for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                    match serde_json::from_slice(line)? {
                        Beside::LastSeq { collection, seq } => drop(self.last_seqs.insert(collection, seq)),
                        Beside::Repeatable(repeatable) => self.repeatable.push(repeatable.read()?),
                    }
                }
                Ok(())
            }
            BaselinePiece::Progress(text) => {
                // A state without collections has no line.
                self.begin_baseline()?;
                self.progress(std::str::from_utf8(text)?)
            }
        }
    }

    /// The writes that may be sent again, of the pieces since the last call.
    pub(crate) fn take_repeatable(&mut self) -> Vec<(Mark, Answered)> {
        std::mem::take(&mut self.repeatable)
    }

    /// Applies a command behind the baseline. One that needs what this release does not know is refused.
    pub(crate) fn command(&mut self, command: &Logged<'_>) -> Result<(), ReplayRefused> {
        if let Action::Epoch { requires, .. } = &command.action {
            check_features(requires.iter().map(|name| &**name))?;
        }
        apply(self.store, command, &mut self.scratch)?;
        self.timestamp = self.timestamp.max(command.timestamp);
        Ok(())
    }

    /// Takes over how far the state is; with the last piece of a baseline, the baseline too. A state that needs what this
    /// release does not know is refused: the EPOCH that told so first may be trimmed.
    pub(crate) fn progress(&mut self, text: &str) -> Result<(), ReplayRefused> {
        let progress = Progress::from_json_with(text, self.epochs.as_ref())?;
        progress.check_features()?;
        self.epochs = Some(Arc::clone(&progress.epochs));
        // What it was of may have left no entry: a DELETE, a DROP.
        self.timestamp = self.timestamp.max(progress.timestamp);
        let Some(staging) = self.baseline.take() else { return Ok(self.store.set_progress(&progress)?) };
        let mut collections = staging.end()?;
        for facts in &mut collections {
            if let Some(&seq) = self.last_seqs.get(&*facts.name) {
                facts.last_seq = facts.last_seq.max(seq);
            }
        }
        if collections.iter().any(|facts| facts.last_seq > progress.position.seq) {
            return Err("the stored baseline is newer than its position".into());
        }
        Ok(self.store.swap(collections, &progress)?)
    }

    fn begin_baseline(&mut self) -> Result<&mut Staging, ReplayRefused> {
        if self.baseline.is_none() {
            // The position comes behind it, and a state that was narrowed holds more than its scope until a baseline
            // of a parent replaces it.
            self.baseline = Some(Staging::begin(self.store, INTEGER_MAX, Scope::Everything)?);
        }
        Ok(self.baseline.as_mut().expect("made above"))
    }

    /// A line of the baseline, which this program wrote in canonical form.
    fn baseline_line(&mut self, line: &[u8]) -> Result<(), ReplayRefused> {
        let store = self.store;
        match decode(line, Trust::Canonical)? {
            Line::Steer(Steer::BaselineBegin { collection, created }) => {
                Ok(self.begin_baseline()?.collection_begins(&collection, created)?)
            }
            Line::Entry(entry) => {
                self.timestamp = self.timestamp.max(entry.timestamp);
                Ok(self.begin_baseline()?.entry(store, &entry)?)
            }
            Line::Steer(Steer::BaselineEnd { collection, keys, digest }) => {
                Ok(self.begin_baseline()?.collection_ends(store, &collection, keys, digest)?)
            }
            _ => Err("a line of the stored baseline is out of place".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::store::memory::MemoryOptions;

    #[test]
    fn what_needs_an_unknown_feature_is_refused_wherever_it_is_said() {
        let needs = |requires: &[&str]| Progress {
            requires: requires.iter().map(|&name| name.to_owned()).collect(),
            ..Progress::new(Scope::Everything)
        };
        let refused = |take: &dyn Fn(&mut Restore<'_>) -> Result<(), ReplayRefused>| {
            let store = MemoryStore::new(needs(&[]), MemoryOptions::single_threaded(7));
            let error = take(&mut Restore::new(&store)).err()?.to_string();
            assert_eq!(store.progress(), needs(&[]), "nothing is taken over");
            Some(error)
        };
        let text = needs(&["expiry"]).to_json();
        let epoch = r#"{"type":"EPOCH","seq":1,"timestamp":1,"epoch":1,"cluster":"00000000000000000000000000000001","node":"w","requires":["expiry"]}"#;
        let Ok(Line::Log(epoch)) = decode(epoch.as_bytes(), Trust::Checked) else { panic!("an EPOCH") };
        for error in [
            refused(&|restore| restore.piece(BaselinePiece::Progress(text.as_bytes()))),
            refused(&|restore| restore.progress(&text)),
            refused(&|restore| restore.command(&epoch)),
        ] {
            let error = error.expect("it needs what no release knows yet");
            assert!(error.contains("the feature \"expiry\""), "{error}");
        }
        let known = needs(&[]).to_json();
        assert_eq!(refused(&|restore| restore.piece(BaselinePiece::Progress(known.as_bytes()))), None);
    }
}
