//! The seam to the medium: every effect that a log has on a directory goes through [`Storage`] and [`StoredFile`], so
//! that a test can lose, tear or fail each one. It adds no policy: what is synced when is decided by the callers.

mod holder;

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the file that says who uses the directory, for people. The lock itself is the directory's: a file could be
/// removed under the one that holds it.
pub const LOCK_FILE: &str = "LOCK";

/// Held while a process uses a directory; dropping it lets the next one in.
pub type Lock = Box<dyn Send + Sync>;

/// One directory of files. Names have no path separators.
pub trait Storage: Send + Sync + fmt::Debug {
    /// The path of `name`, for messages.
    fn path(&self, name: &str) -> PathBuf;

    /// Creates the directory durably if it is missing.
    fn create_directory(&self) -> io::Result<()>;

    /// Takes the directory for this process and leaves `holder` to be read by others; `Err(holder)` inside when another
    /// process has it. One whose files are only read is shared with others that read, and nothing is left in it.
    fn lock(&self, holder: &str) -> io::Result<Result<Lock, String>>;

    /// The names in the directory, in any order.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Opens an existing file for reading and writing; `None` when there is none.
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn StoredFile>>>;

    /// Makes an empty file, in place of what has this name.
    fn create(&self, name: &str) -> io::Result<Arc<dyn StoredFile>>;

    /// Gives a file another name, in place of what has that name, as one step.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names as they are now durable.
    fn sync_directory(&self) -> io::Result<()>;

    /// Who has taken the directory, as far as that can be told without taking it; for people.
    fn holder(&self) -> io::Result<Option<String>>;

    /// Bytes that are left on the medium for this process; `None` where that cannot be told.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// A directory within this one, made if it is missing; its name lasts once this one is synced.
    fn within(&self, name: &str) -> io::Result<Arc<dyn Storage>>;
}

/// An open file. Shared between the one that appends and those that read.
pub trait StoredFile: Send + Sync + fmt::Debug {
    /// Length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset` on; less only where the file ends. Returns the bytes read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes`. An error may leave any part of them written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Sees to it that the file is `length` bytes long, with room on the medium, zeros behind its end. For speed only: an
    /// error changes nothing that matters, and a medium that cannot do it may do nothing.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Sets the length.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Makes the content, and as much of the length as reading it takes, durable.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes the content and everything the system knows of the file durable.
    fn sync_all(&self) -> io::Result<()>;
}

/// A directory of the file system.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Whether files are opened for reading only.
    reads_only: bool,
}

impl Directory {
    /// Names a directory, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), reads_only: false }
    }

    /// Names a directory whose files are only read: they may belong to somebody else.
    pub fn read_only(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), reads_only: true }
    }
}

impl Storage for Directory {
    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn create_directory(&self) -> io::Result<()> {
        make_directory(&self.path)
    }

    fn lock(&self, holder: &str) -> io::Result<Result<Lock, String>> {
        let directory = File::open(&self.path)?;
        let taken = if self.reads_only { directory.try_lock_shared() } else { directory.try_lock() };
        match taken {
            Ok(()) => {
                if !self.reads_only
                    && let Err(error) = fs::write(self.path.join(LOCK_FILE), holder)
                {
                    // It is for people only, and a full disk must not keep a node from starting.
                    tracing::warn!(%error, "the file that says who has the log in use could not be written");
                }
                Ok(Ok(Box::new(directory)))
            }
            Err(TryLockError::WouldBlock) => Ok(Err(self.label_of_holder(&directory.metadata()?)?)),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn names(&self) -> io::Result<Vec<String>> {
        // Names that are no UTF-8 are not ours.
        fs::read_dir(&self.path)?
            .filter_map(|entry| entry.map(|e| e.file_name().into_string().ok()).transpose())
            .collect()
    }

    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn StoredFile>>> {
        match OpenOptions::new().read(true).write(!self.reads_only).open(self.path.join(name)) {
            Ok(file) => Ok(Some(Arc::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        let path = self.path.join(name);
        Ok(Arc::new(OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn holder(&self) -> io::Result<Option<String>> {
        let facts = fs::metadata(&self.path)?;
        let label = self.label()?;
        // Trying the lock would take it for a moment, in which a node that starts would be refused.
        let locks = fs::read_to_string("/proc/locks")?;
        let mut found = locks.lines().filter_map(|line| holder::lock_of(line, facts.dev(), facts.ino(), &label));
        // Those that only read change nothing.
        let is_taken = found.any(|(kind, _)| kind == "WRITE");
        Ok(is_taken.then(|| if label.is_empty() { "another process".into() } else { label }))
    }

    fn free_bytes(&self) -> Option<u64> {
        let facts = rustix::fs::statvfs(&self.path).ok()?;
        facts.f_bavail.checked_mul(facts.f_frsize)
    }

    fn within(&self, name: &str) -> io::Result<Arc<dyn Storage>> {
        let path = self.path.join(name);
        private_directory(&path)?;
        Ok(Arc::new(Self::new(path)))
    }
}

/// Makes a directory, and those above that are missing, for this user alone, so that they last.
///
/// # Errors
/// The system's.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    private_directory(path)?;
    // A directory lasts once the one above it is synced. All of them are, each time: an earlier start may have been cut
    // short between the two. Those above that cannot be opened or synced were there before us.
    for above in path.canonicalize()?.ancestors().skip(1) {
        match File::open(above).and_then(|directory| directory.sync_all()) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// As [`make_directory`], for one whose name need not last yet: what lies in it holds everything, too.
pub(crate) fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

impl StoredFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match FileExt::read_at(self, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let present = self.metadata()?.len();
        if length > present {
            rustix::fs::fallocate(self, rustix::fs::FallocateFlags::empty(), present, length - present)?;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)?;
        is_still_named(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        File::sync_all(self)?;
        is_still_named(self)
    }
}

/// A file that was removed under us takes everything with it, however well it was synced.
fn is_still_named(file: &File) -> io::Result<()> {
    if file.metadata()?.nlink() > 0 {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "the file was removed while it was in use"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_for_this_user_alone() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::new(place.path().join("a/log"));
        directory.create_directory().unwrap();
        drop(directory.create("file").unwrap());
        directory.within("removed").unwrap();
        for (name, mode) in [("a", 0o700), ("a/log", 0o700), ("a/log/removed", 0o700), ("a/log/file", 0o600)] {
            assert_eq!(fs::metadata(place.path().join(name)).unwrap().mode() & 0o777, mode, "{name}");
        }
    }

    #[test]
    fn a_file_that_was_removed_cannot_be_made_durable() {
        let place = tempfile::tempdir().unwrap();
        let file = Directory::new(place.path()).create("a").unwrap();
        file.write_at(b"x", 0).unwrap();
        file.sync_data().unwrap();
        fs::remove_file(place.path().join("a")).unwrap();
        for synced in [file.sync_data(), file.sync_all()] {
            assert_eq!(synced.unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }
}
