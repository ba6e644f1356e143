//! From a replica's disk back to its state. What is found is checked as a baseline of a parent would be, by the same code:
//! a restart may fall back, but never invent.

use crate::wal::file::ReplicaLog;
use crate::wal::file::replica::ReplicaFrame;
use crate::wal::{OpenError, ReplayRefused};
use headwater_core::apply::apply;
use headwater_core::command::{Line, Steer, Trust, decode};
use headwater_core::limits::INTEGER_MAX;
use headwater_core::position::EpochTable;
use headwater_core::replica::Staging;
use headwater_core::scope::Scope;
use headwater_core::store::memory::MemoryStore;
use headwater_core::store::{Progress, Store};
use std::path::Path;
use std::sync::Arc;

/// Opens the disk in `directory` and puts what it holds into the empty `store`.
///
/// # Errors
/// Those of [`ReplicaLog::open`]; what the store holds is to be thrown away then.
pub(crate) fn open_disk(directory: &Path, node: &str, store: &MemoryStore) -> Result<ReplicaLog, OpenError> {
    let mut restore = Restore { store, baseline: None, epochs: None, scratch: Vec::new() };
    let opened = ReplicaLog::open(directory, node, &mut |frame| restore.frame(frame))?;
    if let Some(cut) = &opened.recovered {
        tracing::warn!(
            file = cut.file,
            offset = cut.offset,
            bytes = cut.truncated_bytes,
            "a torn end was cut off the disk"
        );
    }
    Ok(opened.log)
}

struct Restore<'s> {
    store: &'s MemoryStore,
    /// The stored baseline while it is read.
    baseline: Option<Staging>,
    /// The table of epochs that was stored last: progress that leaves it out means this one.
    epochs: Option<Arc<EpochTable>>,
    scratch: Vec<u8>,
}

impl Restore<'_> {
    fn frame(&mut self, frame: ReplicaFrame<'_>) -> Result<(), ReplayRefused> {
        match frame {
            ReplicaFrame::Baseline(line) => self.baseline_line(without_newline(line)),
            // As the parent sent it, which may be spelled in any way.
            ReplicaFrame::Line { line, .. } => match decode(without_newline(line), Trust::Checked)? {
                Line::Log(command) => Ok(apply(self.store, &command, &mut self.scratch)?),
                _ => Err("a stored line is no command of the log".into()),
            },
            ReplicaFrame::Progress { text, .. } => self.progress(std::str::from_utf8(text)?),
        }
    }

    /// A line of the baseline, which this node's own disk wrote in canonical form.
    fn baseline_line(&mut self, line: &[u8]) -> Result<(), ReplayRefused> {
        let staging = match &mut self.baseline {
            Some(staging) => staging,
            // The position comes behind it, and a state that was narrowed holds more than its scope until a baseline
            // of a parent replaces it.
            None => self.baseline.insert(Staging::begin(self.store, INTEGER_MAX, Scope::Everything)?),
        };
        match decode(line, Trust::Canonical)? {
            Line::Steer(Steer::BaselineBegin { collection, created }) => {
                Ok(staging.collection_begins(&collection, created)?)
            }
            Line::Entry(entry) => Ok(staging.entry(self.store, &entry)?),
            Line::Steer(Steer::BaselineEnd { collection, keys, digest }) => {
                Ok(staging.collection_ends(self.store, &collection, keys, digest)?)
            }
            _ => Err("a line of the stored baseline is out of place".into()),
        }
    }

    fn progress(&mut self, text: &str) -> Result<(), ReplayRefused> {
        let progress = Progress::from_json_with(text, self.epochs.as_ref())?;
        self.epochs = Some(Arc::clone(&progress.epochs));
        let Some(staging) = self.baseline.take() else { return Ok(self.store.set_progress(&progress)?) };
        let collections = staging.end()?;
        if collections.iter().any(|facts| facts.last_seq > progress.position.seq) {
            return Err("the stored baseline is newer than its position".into());
        }
        Ok(self.store.swap(collections, &progress)?)
    }
}

fn without_newline(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}
