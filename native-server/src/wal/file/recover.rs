//! Bringing a directory into a state that may be appended to: finding its manifest and segment, cutting off a torn write,
//! and making what is kept durable before anybody relies on it. Every step can be cut short and repeated.

use super::super::Recovered;
use super::super::error::{OpenError, ReplayRefused};
use super::super::manifest::{Backend, MANIFEST_FILE, Manifest, SegmentPlace};
use super::super::opening::OpenOptions;
use super::super::storage::{LOCK_FILE, Lock, Storage, StoredFile};
use super::frame::{FrameContent, SEGMENT_HEADER_BYTES};
use super::scan::{Expected, Found, Shape, scan};
use super::segment::{create_segment, is_segment_name, segment_name};
use super::spare;
use std::sync::Arc;

/// Takes the directory for this process, creating it if it is missing.
pub(in super::super) fn lock(storage: &dyn Storage, options: &OpenOptions) -> Result<Lock, OpenError> {
    let path = storage.path(LOCK_FILE);
    storage.create_directory().map_err(OpenError::io("creating the directory of", &path))?;
    let holder = format!("process {} (node {})", std::process::id(), options.node);
    let directory = || path.parent().unwrap_or(&path).to_path_buf();
    storage
        .lock(&holder)
        .map_err(OpenError::io("locking", &path))?
        .map_err(|holder| OpenError::InUse { directory: directory(), holder })
}

/// Reads the manifest, or makes the first segment of a new log and a manifest that is not written yet.
pub(super) fn read_or_create(storage: &dyn Storage, backend: Backend) -> Result<(Manifest, SegmentPlace), OpenError> {
    let path = storage.path(MANIFEST_FILE);
    if let Some(manifest) = Manifest::read(storage, backend)? {
        let place = manifest.segment.ok_or_else(|| OpenError::damaged(&path, 0, "the manifest names no segment"))?;
        return Ok((manifest, place));
    }
    let header = SEGMENT_HEADER_BYTES as u64;
    for name in storage.names().map_err(OpenError::io("listing the directory of", &path))? {
        if !is_segment_name(&name) {
            continue;
        }
        // The first segment is made before the manifest: one without frames is what a start that was cut short left.
        let file = storage.open(&name).and_then(|file| file.map_or(Ok(0), |file| file.length()));
        if file.map_err(OpenError::io("reading", &storage.path(&name)))? > header {
            let detail = format!("the manifest is missing, and {name} holds records");
            return Err(OpenError::damaged(&path, 0, detail));
        }
    }
    create_segment(storage, 1)?;
    let place = SegmentPlace { number: 1, start: header, synced: header };
    Ok((Manifest::new(backend), place))
}

/// A segment whose every byte is durable and counts.
pub(super) struct Recovery {
    pub(super) file: Arc<dyn StoredFile>,
    pub(super) found: Found,
    pub(super) recovered: Option<Recovered>,
}

/// Reads the segment, shows its frames to `visit`, and leaves nothing behind the last one that counts.
///
/// `known_synced` is given when this process wrote the segment and an append failed: what lies behind that byte may be
/// in the page cache and not on the medium, whatever it looks like, and none of it was acknowledged; it is cut off.
pub(super) fn recover(
    storage: &dyn Storage,
    shape: Shape,
    opening: u32,
    place: SegmentPlace,
    known_synced: Option<u64>,
    visit: &mut dyn FnMut(&FrameContent<'_>) -> Result<(), ReplayRefused>,
) -> Result<Recovery, OpenError> {
    let SegmentPlace { number, start, synced } = place;
    let name = segment_name(number);
    let path = storage.path(&name);
    let file = storage
        .open(&name)
        .map_err(OpenError::io("opening", &path))?
        .ok_or_else(|| OpenError::damaged(&path, 0, "the manifest names this segment, and it is missing"))?;
    let synced = known_synced.unwrap_or(0).max(synced);
    let synced = spare::put_back(storage, &*file, &path, synced)?.unwrap_or(synced);
    let limit = known_synced.unwrap_or(u64::MAX);
    let expected = Expected { path: &path, shape, number, opening, start, synced, limit };
    let found = scan(&*file, &expected, visit)?;

    let unproven = found.group_start.max(synced);
    if unproven < found.end {
        spare::write_again(storage, &*file, &path, found.salt, unproven..found.end)?;
    }
    if found.length > found.end {
        file.truncate(found.end).map_err(OpenError::io("truncating", &path))?;
    }
    if found.length > found.end || unproven < found.end {
        file.sync_all().map_err(OpenError::io("syncing", &path))?;
    }
    spare::remove(storage)?;
    let truncated_bytes = found.length - found.end;
    let recovered = (truncated_bytes > 0).then(|| Recovered {
        file: path.display().to_string(),
        offset: found.end,
        truncated_bytes,
    });
    Ok(Recovery { file, found, recovered })
}
