//! Small files that are found whole or not at all.

use super::error::OpenError;
use super::storage::{Storage, StoredFile};
use std::io;

/// Puts a file with what `write` writes in place of `name`, durably: written apart, synced, renamed, directory synced.
/// After an error the old one or the new one may be found.
///
/// # Errors
/// [`OpenError::Io`].
pub(super) fn replace(
    storage: &dyn Storage,
    name: &str,
    write: impl FnOnce(&dyn StoredFile) -> io::Result<()>,
) -> Result<(), OpenError> {
    let new = format!("{name}.new");
    let apart = storage.path(&new);
    let file = storage.create(&new).map_err(OpenError::io("creating", &apart))?;
    write(&*file).map_err(OpenError::io("writing", &apart))?;
    file.sync_all().map_err(OpenError::io("syncing", &apart))?;
    let place = storage.path(name);
    storage.rename(&new, name).map_err(OpenError::io("replacing", &place))?;
    storage.sync_directory().map_err(OpenError::io("syncing the directory of", &place))
}
