//! What only the file log promises: torn writes and damage told apart, failures that end an opening, crashes anywhere.

mod crash;
mod create;
mod damage;
mod failure;
mod flips;
mod medium;
mod promote;
mod repair;
mod replica;
mod segments;

use super::super::Retention;
use super::header::FileKind;
use super::{FileOptions, SyncMode};
use std::time::Duration;

/// One segment for all, and no room ahead of its end.
const OPTIONS: FileOptions = FileOptions { segment_bytes: 1 << 30, room_bytes: 0, sync: SyncMode::Group };

/// A new segment with every group, and little room ahead of its end.
const SMALL: FileOptions = FileOptions { segment_bytes: 150, room_bytes: 300, sync: SyncMode::Group };

/// Name of a segment.
fn segment(number: u32) -> String {
    FileKind::Segment.name(number)
}

/// Retention that lets go of all that a baseline covers.
fn keep_nothing() -> Retention {
    Retention { bytes: 0, age: Duration::ZERO, bytes_max: 0 }
}
