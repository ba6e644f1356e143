//! Small files that are found whole or not at all: written apart, synced, renamed, directory synced.

use super::error::OpenError;
use super::storage::{Storage, StoredFile};
use std::io;

/// Makes what `write` writes durable beside the file `name`. After an error the old one is there, and nothing else will be
/// found.
///
/// # Errors
/// [`OpenError::Io`].
pub(super) fn write_apart(
    storage: &dyn Storage,
    name: &str,
    write: impl FnOnce(&dyn StoredFile) -> io::Result<()>,
) -> Result<(), OpenError> {
    let new = apart(name);
    let path = storage.path(&new);
    let file = storage.create(&new).map_err(OpenError::io("creating", &path))?;
    write(&*file).map_err(OpenError::io("writing", &path))?;
    file.sync_all().map_err(OpenError::io("syncing", &path))
}

/// Puts what [`write_apart`] wrote in place of `name`, durably. After an error the old one or the new one may be found.
///
/// # Errors
/// [`OpenError::Io`].
pub(super) fn put_in_place(storage: &dyn Storage, name: &str) -> Result<(), OpenError> {
    let place = storage.path(name);
    storage.rename(&apart(name), name).map_err(OpenError::io("replacing", &place))?;
    storage.sync_directory().map_err(OpenError::io("syncing the directory of", &place))
}

fn apart(name: &str) -> String {
    format!("{name}.new")
}
