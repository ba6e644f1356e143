//! Writing a backup: under a name of its own until every byte is synced and read back.

use super::error::BackupError;
use super::hashing::Hashing;
use super::manifest::{BASELINE_FILE, FileFacts, MANIFEST_FILE, Manifest, SUMS_FILE};
use super::read;
use headwater_core::api::rfc3339;
use headwater_core::apply::scope_digest;
use headwater_core::baseline::{Baseline, PIECE_BYTES};
use headwater_core::command::{Ready, Steer};
use headwater_core::scope::Scope;
use headwater_core::store::Snapshot;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zstd::stream::write::Encoder;

/// How hard the lines are packed: of the levels, the one that still keeps up with a disk.
pub(super) const LEVEL: i32 = 3;

/// What is made under another name first. Dropped before it is given its own, it is removed.
#[derive(Debug)]
pub(super) struct InTheMaking {
    pub(super) path: PathBuf,
    target: PathBuf,
    done: bool,
}

impl InTheMaking {
    /// Makes an empty directory beside `target`, which must not be there yet.
    pub(super) fn directory(target: &Path) -> Result<Self, BackupError> {
        let is_free = match target.symlink_metadata() {
            Ok(_) => false,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
            Err(error) => return Err(BackupError::io("reading", target)(error)),
        };
        let Some(name) = target.file_name().filter(|_| is_free) else {
            return Err(BackupError::Exists(target.into()));
        };
        let path = target.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
        // For its owner alone: it holds the hashes of credentials, and what they protect.
        DirBuilder::new().mode(0o700).create(&path).map_err(BackupError::io("making", &path))?;
        Ok(Self { path, target: target.into(), done: false })
    }

    /// Syncs it and gives it its name.
    pub(super) fn finish(mut self) -> Result<(), BackupError> {
        sync_directory(&self.path)?;
        fs::rename(&self.path, &self.target).map_err(BackupError::io("making", &self.target))?;
        self.done = true;
        sync_directory(parent(&self.target))
    }
}

impl Drop for InTheMaking {
    fn drop(&mut self) {
        if !self.done {
            // What cannot be removed is under a name that nothing reads.
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

/// Writes what `snapshot` holds to the directory `target`, which must not be there yet. `source` says to people where it
/// comes from; `created_ms` is the time now, Unix ms; `epoch_highest` is the highest epoch known to have been given out
/// beside those of the snapshot; `step` hears how many bytes of lines are written, and how many of them are read back then.
///
/// # Errors
/// See [`BackupError`]; there is nothing at `target` then.
pub fn write<P: Snapshot>(
    snapshot: &Arc<P>,
    target: &Path,
    source: &str,
    (created_ms, epoch_highest): (u64, u64),
    step: &mut dyn FnMut(u64) -> Result<(), BackupError>,
) -> Result<Manifest, BackupError> {
    let (progress, collections) = (snapshot.progress(), snapshot.collections());
    let mut manifest = Manifest::of(progress, collections, source, rfc3339(created_ms))?;
    manifest.epoch_highest = manifest.epoch_highest.max(epoch_highest);
    let making = InTheMaking::directory(target)?;

    let path = making.path.join(BASELINE_FILE);
    let failed = || BackupError::io("writing", &path);
    let file = Hashing::new(new_file(&path)?);
    let mut encoder = Encoder::new(file, LEVEL).map_err(failed())?;
    encoder.include_checksum(true).map_err(failed())?;
    let mut baseline = Baseline::new(Arc::clone(snapshot), &Scope::Everything);
    let (mut text, mut plain_bytes) = (Vec::with_capacity(2 * PIECE_BYTES), 0);
    loop {
        text.clear();
        let piece = baseline.piece(&Scope::Everything, &mut text)?;
        if piece.is_last {
            let (seq, count) = (progress.position.seq, collections.len() as u64);
            let epochs = (*progress.epochs).clone();
            let timestamp = manifest.time.is_some().then_some(progress.timestamp);
            let ready = Ready { seq, collections: count, digest: scope_digest(collections), epochs, timestamp };
            Steer::Ready(ready).write_line(&mut text);
            text.push(b'\n');
        }
        encoder.write_all(&text).map_err(failed())?;
        plain_bytes += text.len() as u64;
        step(plain_bytes)?;
        if piece.is_last {
            break;
        }
    }
    let (file, bytes, sha256) = encoder.finish().map_err(failed())?.finish();
    file.sync_all().map_err(failed())?;
    manifest.files.push(FileFacts { name: BASELINE_FILE.into(), bytes, sha256, plain_bytes });

    let text = manifest.to_text();
    for (name, text) in [(SUMS_FILE, manifest.sums(&text)), (MANIFEST_FILE, text)] {
        let path = making.path.join(name);
        let mut file = new_file(&path)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(BackupError::io("writing", &path))?;
    }
    read::verify(&making.path, step)?;
    making.finish()?;
    Ok(manifest)
}

pub(super) fn new_file(path: &Path) -> Result<File, BackupError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(BackupError::io("making", path))
}

/// The directory that holds `path`'s name.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(super) fn sync_directory(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(BackupError::io("syncing", path))
}
