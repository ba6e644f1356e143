//! Why there is no backup, or nothing can be made of one.

use crate::wal::OpenError;
use headwater_core::store::{SnapshotError, StoreError};
use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Debug)]
#[non_exhaustive]
pub enum BackupError {
    /// A file or directory cannot be read or written.
    Io {
        /// What was being done, as in "writing".
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of a backup is not what it was when the backup was made, or is no part of one.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// What is to be made is there already.
    Exists(PathBuf),
    /// The source holds nothing that a deployment could be made of again; says why.
    Unfit(String),
    /// A log's directory cannot be read or made.
    Log(OpenError),
    /// The state gave out while it was read.
    State(String),
}

impl BackupError {
    /// Makes an [`BackupError::Io`] of what the system said.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source }
    }

    pub(crate) fn damaged(path: &Path, detail: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_path_buf(), detail: detail.into() }
    }
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, path, source } => write!(f, "{doing} {}: {source}", path.display()),
            Self::Damaged { path, detail } => write!(f, "{}: {detail}", path.display()),
            Self::Exists(path) => write!(f, "{} is there already", path.display()),
            Self::Unfit(detail) | Self::State(detail) => f.write_str(detail),
            Self::Log(error) => error.fmt(f),
        }
    }
}

impl Error for BackupError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Log(error) => Some(error),
            _ => None,
        }
    }
}

impl From<OpenError> for BackupError {
    fn from(error: OpenError) -> Self {
        Self::Log(error)
    }
}

impl From<SnapshotError> for BackupError {
    fn from(error: SnapshotError) -> Self {
        Self::State(format!("the state cannot be read: {error}"))
    }
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        Self::State(format!("the state cannot be kept: {error}"))
    }
}
