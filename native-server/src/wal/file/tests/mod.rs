//! What only the file log promises: torn writes and damage told apart, failures that end an opening, crashes anywhere.

mod crash;
mod create;
mod damage;
mod failure;
mod faults;
mod flips;
mod history;
mod leftovers;
mod medium;
mod promote;
mod repair;
mod replica;
mod segments;

use super::super::Retention;
use super::super::manifest::Manifest;
use super::header::FileKind;
use super::{FileOptions, SyncMode};
use medium::Medium;
use std::time::Duration;

/// One segment for all, and no room ahead of its end.
const OPTIONS: FileOptions = FileOptions { segment_bytes: 1 << 30, room_bytes: 0, sync: SyncMode::Group };

/// A new segment with every group, and little room ahead of its end.
const SMALL: FileOptions = FileOptions { segment_bytes: 150, room_bytes: 300, sync: SyncMode::Group };

/// Synced by hand: the thread beside waits for ever.
const INTERVAL: FileOptions =
    FileOptions { segment_bytes: 1_500, room_bytes: 300, sync: SyncMode::Interval(Duration::MAX) };

/// Ways to write a log.
const WAYS: [(&str, FileOptions); 3] =
    [("one segment", OPTIONS), ("many segments", SMALL), ("synced at intervals", INTERVAL)];

/// Name of a segment.
fn segment(number: u32) -> String {
    FileKind::Segment.name(number)
}

/// Files of the log that its manifest does not name.
fn unnamed(medium: &Medium) -> Vec<String> {
    let files = Manifest::read_any(&*medium.storage()).unwrap().and_then(|manifest| manifest.files);
    let segments = files.iter().flat_map(|files| files.segment_numbers().map(segment));
    let baseline = files.iter().filter_map(|files| files.baseline.as_ref());
    let named: Vec<_> = segments.chain(baseline.map(|place| FileKind::Baseline.name(place.number))).collect();
    let names = medium.storage().names().unwrap().into_iter();
    let ours = names.filter(|name| name.ends_with(".wal") || name.ends_with(".base"));
    ours.filter(|name| !named.contains(name)).collect()
}

/// Retention that lets go of all that a baseline covers.
fn keep_nothing() -> Retention {
    Retention { bytes: 0, age: Duration::ZERO, bytes_max: 0 }
}
