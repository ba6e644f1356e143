//! From a replica's disk back to its state. What is found is checked as a baseline of a parent would be: a restart may
//! fall back, but never invent.

use crate::wal::file::ReplicaLog;
use crate::wal::file::replica::ReplicaFrame;
use crate::wal::{OpenError, ReplayRefused};
use headwater_core::apply::apply;
use headwater_core::command::{Action, Line, Logged, Steer, Trust, decode};
use headwater_core::record::{Parts, Record};
use headwater_core::store::memory::MemoryStore;
use headwater_core::store::{Collection, Progress, Store};
use std::path::Path;

/// Records handed to the store at once.
const RECORDS_MAX: usize = 512;

/// Opens the disk in `directory` and puts what it holds into the empty `store`.
///
/// # Errors
/// Those of [`ReplicaLog::open`]; what the store holds is to be thrown away then.
pub(crate) fn open_disk(directory: &Path, node: &str, store: &MemoryStore) -> Result<ReplicaLog, OpenError> {
    let mut restore = Restore { store, baseline: None, scratch: Vec::new() };
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
    baseline: Option<Baseline>,
    scratch: Vec<u8>,
}

/// The stored baseline while it is read.
#[derive(Default)]
struct Baseline {
    done: Vec<Collection>,
    current: Option<Collection>,
    pending: Vec<Record>,
}

impl Restore<'_> {
    fn frame(&mut self, frame: ReplicaFrame<'_>) -> Result<(), ReplayRefused> {
        match frame {
            ReplicaFrame::Baseline(line) => self.baseline_line(without_newline(line)),
            ReplicaFrame::Line { line, .. } => match decode(without_newline(line), Trust::Own)? {
                Line::Log(command) => Ok(apply(self.store, &command, &mut self.scratch)?),
                _ => Err("a stored line is no command of the log".into()),
            },
            ReplicaFrame::Progress { text, .. } => {
                let progress = Progress::from_json(std::str::from_utf8(text)?)?;
                match self.baseline.take() {
                    None => Ok(self.store.set_progress(&progress)?),
                    Some(baseline) if baseline.current.is_none() => Ok(self.store.swap(baseline.done, &progress)?),
                    Some(_) => Err("the stored baseline ends within a collection".into()),
                }
            }
        }
    }

    fn baseline_line(&mut self, line: &[u8]) -> Result<(), ReplayRefused> {
        let baseline = match &mut self.baseline {
            Some(baseline) => baseline,
            None => {
                self.store.stage()?;
                self.baseline.insert(Baseline::default())
            }
        };
        match decode(line, Trust::Own)? {
            Line::Steer(Steer::BaselineBegin { collection, created }) if baseline.current.is_none() => {
                baseline.current = Some(Collection::new((*collection).into(), created));
                Ok(())
            }
            Line::Entry(entry) => baseline.entry(self.store, &entry, &mut self.scratch),
            Line::Steer(Steer::BaselineEnd { keys, digest, .. }) => {
                let facts = baseline.current.take().ok_or("the stored baseline ends a collection it did not begin")?;
                if facts.keys != keys || facts.digest != digest {
                    return Err(format!("the stored baseline of {:?} contradicts its own digest", facts.name).into());
                }
                self.store.stage_records(&facts.name, &baseline.pending)?;
                baseline.pending.clear();
                baseline.done.push(facts);
                Ok(())
            }
            _ => Err("a line of the stored baseline is out of place".into()),
        }
    }
}

impl Baseline {
    fn entry(&mut self, store: &MemoryStore, entry: &Logged<'_>, scratch: &mut Vec<u8>) -> Result<(), ReplayRefused> {
        let (Some(facts), Action::Set { key, version, value }) = (&mut self.current, &entry.action) else {
            return Err("a stored entry belongs to no collection".into());
        };
        let record = Record::new(Parts {
            key,
            value,
            seq: entry.seq,
            version: *version,
            timestamp: entry.timestamp,
            extra: &entry.extra,
        });
        facts.digest.add(record.digest(&facts.name, scratch));
        facts.keys += 1;
        facts.last_seq = facts.last_seq.max(entry.seq);
        self.pending.push(record);
        if self.pending.len() >= RECORDS_MAX {
            store.stage_records(&facts.name, &self.pending)?;
            self.pending.clear();
        }
        Ok(())
    }
}

fn without_newline(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}
