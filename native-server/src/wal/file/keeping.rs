//! The manifest of an open directory, changed by whoever appends and by whoever stores a baseline or trims; and the files
//! that it does not name, so that none of them stays.
//!
//! A file goes once nobody makes it and no manifest can be found that names it. What a manifest named goes with the next
//! one that does not. What was to be named goes with its maker, except where the writing of the manifest failed so late
//! that either manifest may be found: then the next one that is durable settles it, and until one is, nothing new is made.

use super::super::error::OpenError;
use super::super::manifest::{Files, Manifest};
use super::super::storage::Storage;
use super::header::FileKind;
use super::releasing::release;
use headwater_core::position::EpochStart;
use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A manifest and its place. One per directory and process.
#[derive(Debug)]
pub(super) struct Keeping {
    storage: Arc<dyn Storage>,
    /// Locked while it is written, which a slow medium may draw out.
    manifest: Mutex<Manifest>,
    /// The files as last written, for those who must not wait.
    shown: Mutex<Files>,
    loose: Mutex<Loose>,
}

/// Files that the manifest does not name.
#[derive(Debug, Default)]
struct Loose {
    /// Those that somebody makes.
    making: BTreeSet<String>,
    /// Those that a manifest would have named whose writing failed when either could already be found.
    offered: BTreeSet<String>,
    /// Those that are of no use, to be removed once a manifest is durable.
    left: BTreeSet<String>,
}

impl Keeping {
    /// Takes a directory over, with the manifest that was found there. What else lies there goes once that has been
    /// replaced.
    pub(super) fn open(storage: Arc<dyn Storage>, manifest: Manifest) -> Result<Self, OpenError> {
        let shown = Mutex::new(files_of(&manifest).clone());
        let names = storage.names().map_err(OpenError::io("listing", &storage.path("")))?;
        let is_ours = |name: &String| [FileKind::Segment, FileKind::Baseline].iter().any(|k| k.number(name).is_some());
        let left = names.into_iter().filter(is_ours).collect();
        let loose = Mutex::new(Loose { left, ..Loose::default() });
        Ok(Self { storage, manifest: Mutex::new(manifest), shown, loose })
    }

    pub(super) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The manifest, for as long as nobody else may change it.
    pub(super) fn lock(&self) -> MutexGuard<'_, Manifest> {
        // It is assigned to as a whole, after it was written.
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn loose(&self) -> MutexGuard<'_, Loose> {
        // What a panic leaves in it is a file too many that stays.
        self.loose.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self) -> MutexGuard<'_, Files> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files as they are named. Never waits for the medium.
    pub(super) fn files(&self) -> Files {
        self.shown().clone()
    }

    /// Takes a number for a new file.
    pub(super) fn new_file(self: &Arc<Self>, kind: FileKind) -> Result<NewFile, OpenError> {
        self.new_file_under(&mut self.lock(), kind)
    }

    /// [`Keeping::new_file`] for the one who holds the manifest.
    pub(super) fn new_file_under(self: &Arc<Self>, held: &mut Manifest, kind: FileKind) -> Result<NewFile, OpenError> {
        if !self.loose().offered.is_empty() {
            // As long as this fails no further file is made, of which each might be one that must stay.
            let settled = held.clone();
            self.write(held, settled)?;
        }
        let number = held.take_number(&*self.storage)?;
        let name = kind.name(number);
        self.loose().making.insert(name.clone());
        Ok(NewFile { keeping: self.clone(), number, name, is_made: AtomicBool::new(false) })
    }

    /// Notes that an epoch's EPOCH command is durable, to be written with the next change: before the segment that tells
    /// it can go.
    pub(super) fn learn(&self, start: EpochStart) {
        self.lock().epochs.push(start);
    }

    /// Changes the files, durably, and removes those that are not named any more. After an error the directory may have
    /// the old manifest or the new one, and both must be of use.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Files) -> T) -> Result<T, OpenError> {
        let mut held = self.lock();
        let mut changed = held.clone();
        let result = change(changed.files.as_mut().expect("an open log has files"));
        let unnamed = self.put(&mut held, changed)?;
        drop(held);
        // To remove a large file takes a while, and nothing will ever name it again.
        for name in unnamed {
            self.let_go(name);
        }
        Ok(result)
    }

    /// Puts another manifest in place, durably. As [`Keeping::change`].
    pub(super) fn replace(&self, manifest: Manifest) -> Result<(), OpenError> {
        self.write(&mut self.lock(), manifest)
    }

    /// [`Keeping::replace`] for the one who holds the manifest.
    pub(super) fn write(&self, held: &mut Manifest, manifest: Manifest) -> Result<(), OpenError> {
        let unnamed = self.put(held, manifest)?;
        self.remove(unnamed);
        Ok(())
    }

    /// Puts a manifest in place, removes what was left before, and says which files go by it.
    fn put(&self, held: &mut Manifest, manifest: Manifest) -> Result<BTreeSet<String>, OpenError> {
        manifest.write_apart(&*self.storage)?;
        let (before, after) = (names_of(files_of(held)), names_of(files_of(&manifest)));
        if let Err(error) = Manifest::put_in_place(&*self.storage) {
            self.loose().offered.extend(after.difference(&before).cloned());
            return Err(error);
        }
        self.shown().clone_from(files_of(&manifest));
        *held = manifest;
        let left: Vec<_> = {
            let Loose { making, offered, left } = &mut *self.loose();
            offered.clear();
            left.extract_if(.., |name| !making.contains(name)).filter(|name| !after.contains(name)).collect()
        };
        // While nobody can take a number: what an earlier process left may have one that is given again.
        self.remove(left);
        Ok(before.difference(&after).cloned().collect())
    }

    /// Removes a file that a manifest named until now.
    fn let_go(&self, name: String) {
        // Segments are read by streams. A stored baseline is read by nobody as long as the directory is in use.
        let is_baseline = FileKind::Baseline.number(&name).is_some();
        let baseline = if is_baseline { self.storage.open(&name).ok().flatten() } else { None };
        self.remove([name]);
        baseline.into_iter().for_each(release);
    }

    /// Removes files that nothing names. What cannot be removed now is tried again after the next manifest: it costs room,
    /// and nothing reads it.
    fn remove(&self, names: impl IntoIterator<Item = String>) {
        for name in names {
            match self.storage.remove(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(name, %error, "a file of the log that is of no use could not be removed");
                    self.loose().left.insert(name);
                }
                Ok(()) | Err(_) => {}
            }
        }
    }
}

/// The number of a file in the making. Dropped, it takes the file with it, if no manifest names that or may name it.
#[derive(Debug)]
pub(super) struct NewFile {
    keeping: Arc<Keeping>,
    number: u32,
    name: String,
    /// Before, what has this name is not ours: a start that is refused must leave everything as it is.
    is_made: AtomicBool,
}

impl NewFile {
    /// Its number.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Its number, for the one who makes it now.
    pub(super) fn make(&self) -> u32 {
        self.is_made.store(true, Ordering::Relaxed);
        self.number
    }

    /// Itself, to be kept until `manifest` is written, if that names the file. Otherwise none was made, and the number may
    /// be given again.
    pub(super) fn unless_unused(self, manifest: &Manifest) -> Option<Self> {
        let is_used = names_of(files_of(manifest)).contains(&self.name);
        if !is_used {
            // Before it is dropped, which then has nothing to remove.
            self.keeping.loose().making.remove(&self.name);
        }
        is_used.then_some(self)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        let mut loose = self.keeping.loose();
        if !loose.making.remove(&self.name) || !*self.is_made.get_mut() {
            return;
        }
        if loose.offered.contains(&self.name) {
            loose.left.insert(std::mem::take(&mut self.name));
            return;
        }
        drop(loose);
        if !names_of(&self.keeping.shown()).contains(&self.name) {
            self.keeping.remove([std::mem::take(&mut self.name)]);
        }
    }
}

fn names_of(files: &Files) -> BTreeSet<String> {
    let baseline = files.baseline.iter().map(|place| FileKind::Baseline.name(place.number));
    files.segment_numbers().map(|number| FileKind::Segment.name(number)).chain(baseline).collect()
}

fn files_of(manifest: &Manifest) -> &Files {
    manifest.files.as_ref().expect("an open log has files")
}
