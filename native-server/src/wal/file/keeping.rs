//! The manifest of an open directory, changed by whoever appends and by whoever stores a baseline or trims.

use super::super::error::OpenError;
use super::super::manifest::{Files, Manifest};
use super::super::storage::Storage;
use super::header::FileKind;
use headwater_core::position::EpochStart;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A manifest and its place. One per directory and process.
#[derive(Debug)]
pub(super) struct Keeping {
    storage: Arc<dyn Storage>,
    /// Locked while it is written, which a slow medium may draw out.
    manifest: Mutex<Manifest>,
    /// The files as last written, for those who must not wait.
    shown: Mutex<Files>,
}

impl Keeping {
    pub(super) fn new(storage: Arc<dyn Storage>, manifest: Manifest) -> Self {
        let shown = Mutex::new(files_of(&manifest).clone());
        Self { storage, manifest: Mutex::new(manifest), shown }
    }

    pub(super) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The manifest, for as long as nobody else may change it.
    pub(super) fn lock(&self) -> MutexGuard<'_, Manifest> {
        // It is assigned to as a whole, after it was written.
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files as they are named. Never waits for the medium.
    pub(super) fn files(&self) -> Files {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over a manifest that was written.
    pub(super) fn assign(&self, held: &mut Manifest, written: Manifest) {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone_from(files_of(&written));
        *held = written;
    }

    /// Takes a number for a new file. See [`Manifest::take_number`].
    pub(super) fn take_number(&self) -> Result<u32, OpenError> {
        self.lock().take_number(&*self.storage)
    }

    /// Notes that an epoch's EPOCH command is durable, to be written with the next change: before the segment that tells
    /// it can go.
    pub(super) fn learn(&self, start: EpochStart) {
        self.lock().epochs.push(start);
    }

    /// Changes the files, durably. After an error the directory may have the old manifest or the new one, and both must
    /// be of use.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Files) -> T) -> Result<T, OpenError> {
        let mut manifest = self.lock();
        let mut changed = manifest.clone();
        let result = change(changed.files.as_mut().expect("an open log has files"));
        changed.write(&*self.storage)?;
        self.assign(&mut manifest, changed);
        Ok(result)
    }

    /// Puts another manifest in place, durably. As [`Keeping::change`].
    pub(super) fn replace(&self, manifest: Manifest) -> Result<(), OpenError> {
        let mut held = self.lock();
        manifest.write(&*self.storage)?;
        self.assign(&mut held, manifest);
        Ok(())
    }

    /// Removes a file that nothing names. One that cannot be removed now is removed at the next start of a process: it
    /// costs room, and nothing reads it.
    pub(super) fn discard(&self, kind: FileKind, number: u32) {
        drop(self.storage.remove(&kind.name(number)));
    }

    /// Removes all files that the manifest does not name. Only while nobody makes one.
    pub(super) fn remove_unnamed(&self) -> Result<(), OpenError> {
        let manifest = self.lock();
        let files = files_of(&manifest);
        let directory = self.storage.path("");
        for name in self.storage.names().map_err(OpenError::io("listing", &directory))? {
            let segment = FileKind::Segment.number(&name);
            let baseline = FileKind::Baseline.number(&name);
            let is_named = match (segment, baseline) {
                (Some(number), _) => files.segment_numbers().any(|named| named == number),
                (_, Some(number)) => files.baseline.as_ref().is_some_and(|named| named.number == number),
                (None, None) => true,
            };
            if !is_named {
                self.storage.remove(&name).map_err(OpenError::io("removing", &self.storage.path(&name)))?;
            }
        }
        Ok(())
    }
}

fn files_of(manifest: &Manifest) -> &Files {
    manifest.files.as_ref().expect("an open log has files")
}
