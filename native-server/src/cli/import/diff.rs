//! What an import would change: the file beside what the node holds, as of one position.

use super::file::{Value, Wanted};
use headwater_core::record::Record;
use headwater_core::store::memory::MemorySnapshot;
use headwater_core::store::scan::{Scan, Walk};
use headwater_core::store::{Snapshot, SnapshotError};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What becomes of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Only the file has it.
    Added,
    /// The values differ.
    Changed,
    /// Only the node has it, and what the file does not have goes.
    Removed,
    /// Only the node has it, and it stays.
    Kept,
    /// Both have it, with the same value in the same spelling.
    Unchanged,
}

impl Change {
    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Kept => "kept",
            Self::Unchanged => "unchanged",
        }
    }
}

/// One key of both sides.
#[derive(Debug)]
pub(super) struct Row<'t> {
    pub(super) change: Change,
    pub(super) key: Cow<'t, str>,
    /// The ETag of what the node holds, in its quotes.
    pub(super) tag: Option<String>,
    /// The value in the file.
    pub(super) wanted: Option<Cow<'t, str>>,
    /// The value the node holds.
    pub(super) held: Option<String>,
}

/// One collection of the file.
#[derive(Debug)]
pub(super) struct CollectionDiff<'t> {
    pub(super) name: Cow<'t, str>,
    /// The node does not have it.
    pub(super) is_new: bool,
    /// In order of their keys.
    pub(super) rows: Vec<Row<'t>>,
}

impl CollectionDiff<'_> {
    /// How many keys `change` becomes of.
    pub(super) fn count(&self, change: Change) -> usize {
        self.rows.iter().filter(|row| row.change == change).count()
    }
}

/// Compares what is wanted with what is held; `prune`: keys that are not wanted go.
///
/// # Errors
/// Those of reading the snapshot.
pub(super) fn diff<'t>(
    wanted: Wanted<'t>,
    held: &MemorySnapshot,
    prune: bool,
) -> Result<Vec<CollectionDiff<'t>>, SnapshotError> {
    let compared = wanted.into_iter().map(|(name, entries)| {
        let is_new = held.collections().iter().all(|facts| *facts.name != *name);
        let rows = if is_new { entries.into_iter().map(added).collect() } else { rows(&name, entries, held, prune)? };
        Ok(CollectionDiff { name, is_new, rows })
    });
    compared.collect()
}

fn added<'t>((key, value): (Cow<'t, str>, Value<'t>)) -> Row<'t> {
    Row { change: Change::Added, key, tag: None, wanted: Some(value.text), held: None }
}

fn rows<'t>(
    name: &str,
    entries: BTreeMap<Cow<'t, str>, Value<'t>>,
    snapshot: &MemorySnapshot,
    prune: bool,
) -> Result<Vec<Row<'t>>, SnapshotError> {
    let mut rows = Vec::with_capacity(entries.len());
    let mut walk: Walk = Scan::under("", None).into();
    let mut entries = entries.into_iter().peekable();
    let mut record = walk.next_record(snapshot, name)?;
    loop {
        let order = match (entries.peek(), &record) {
            (None, None) => return Ok(rows),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((key, _)), Some(record)) => (**key).cmp(record.key()),
        };
        let wanted = if order.is_le() { entries.next() } else { None };
        let held = match order {
            Ordering::Less => None,
            _ => std::mem::replace(&mut record, walk.next_record(snapshot, name)?),
        };
        match (wanted, held) {
            (Some(wanted), None) => rows.push(added(wanted)),
            (Some((key, value)), Some(held)) if *value.text == *held.value() => {
                rows.push(Row { change: Change::Unchanged, ..both(key, None, &held) });
            }
            (Some((key, value)), Some(held)) => rows.push(both(key, Some(value.text), &held)),
            (None, Some(held)) => {
                let change = if prune { Change::Removed } else { Change::Kept };
                rows.push(Row { change, ..both(held.key().to_owned().into(), None, &held) });
            }
            (None, None) => {}
        }
    }
}

fn both<'t>(key: Cow<'t, str>, wanted: Option<Cow<'t, str>>, held: &Record) -> Row<'t> {
    let (tag, held) = (Some(format!("\"{}\"", held.tag())), Some(held.value().to_owned()));
    Row { change: Change::Changed, key, tag, wanted, held }
}
