//! What can go wrong with a log, one enum per operation, split by what the caller does about it.

use headwater_core::id::Id;
use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why the caller of an opening would not take a record.
pub type ReplayRefused = Box<dyn Error + Send + Sync>;

/// The log was not opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process holds the log. Stop it first.
    InUse {
        /// The directory that is held.
        directory: PathBuf,
        /// What the holder wrote about itself; may be empty.
        holder: String,
    },
    /// The log is of another format version or backend. Use the program or the URL that made it.
    Mismatch {
        /// The file that says so.
        file: PathBuf,
        /// What it is, and what was expected.
        detail: String,
    },
    /// The log belongs to another deployment than the one asked for.
    OtherCluster {
        /// Cluster asked for.
        expected: Id,
        /// Cluster found.
        found: Id,
    },
    /// Something that was durable is no longer what was written. Never repaired silently.
    Damaged {
        /// The damaged file.
        file: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// What is wrong there. Of a file that is not there it begins with `is missing`.
        detail: String,
    },
    /// The caller would not take a record that is valid as far as the log can tell.
    Refused {
        /// The record's seq.
        seq: u64,
        /// The caller's reason.
        source: ReplayRefused,
    },
    /// The epoch would not fit the numbers of the protocol.
    EpochExhausted {
        /// The epoch that the new one must be above.
        previous: u64,
    },
    /// The medium failed or is full; the same call may succeed later.
    Io {
        /// What was being done, as in "writing".
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl OpenError {
    /// Makes a function that wraps a system error, for `map_err`.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.into(), source }
    }

    pub(super) fn damaged(file: &Path, offset: u64, detail: impl Into<String>) -> Self {
        Self::Damaged { file: file.into(), offset, detail: detail.into() }
    }

    /// Whether the same call may succeed later without anybody's help but the medium's.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Io { .. })
    }

    /// Whether the medium is full.
    pub fn is_storage_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_storage_full(source))
    }
}

/// Whether a system error says that the medium, the quota or the file's limit is exhausted.
pub(super) fn is_storage_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

fn is_missing(detail: &str) -> bool {
    detail.starts_with("is missing")
}

/// A damage in words: which file, where, and what.
pub(crate) fn damage_words(file: &str, offset: u64, detail: &str) -> String {
    if is_missing(detail) { format!("{file} {detail}") } else { format!("{file} at byte {offset}: {detail}") }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { directory, holder } => {
                let holder = if holder.is_empty() { "another process" } else { holder.as_str() };
                let directory = directory.display();
                write!(f, "{directory} is in use by {holder}: stop that process first")
            }
            Self::Mismatch { file, detail } => write!(f, "{}: {detail}", file.display()),
            Self::OtherCluster { expected, found } => {
                write!(f, "the log belongs to cluster {found}, not to {expected}")
            }
            Self::Damaged { file, detail, .. } if is_missing(detail) => write!(f, "{} {detail}", file.display()),
            Self::Damaged { file, offset, detail } => {
                write!(f, "{} is damaged at byte {offset}: {detail}", file.display())
            }
            Self::Refused { seq, source } => write!(f, "record {seq} cannot be applied: {source}"),
            Self::EpochExhausted { previous } => write!(f, "no epoch above {previous} fits the protocol's numbers"),
            Self::Io { doing, path, source } => write!(f, "{doing} {}: {source}", path.display()),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused { source, .. } => Some(source.as_ref()),
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A group was not acknowledged by the log. Either way the appender takes nothing any more.
#[derive(Debug)]
pub enum AppendError {
    /// None of the group is in the log, now or after any restart.
    NotDone(AppendCause),
    /// The group, or a prefix of it, may be found by the next opening.
    Unknown(AppendCause),
}

/// Why a group was not acknowledged.
#[derive(Debug)]
#[non_exhaustive]
pub enum AppendCause {
    /// An earlier append of this opening failed. Open the log again.
    Poisoned,
    /// A newer opening has taken the log over.
    Fenced,
    /// The group does not belong at the end of this log: a mistake of the caller, nothing was written.
    OutOfPlace(String),
    /// The medium is full.
    StorageFull(io::Error),
    /// The medium failed.
    Io(io::Error),
}

impl From<io::Error> for AppendCause {
    fn from(error: io::Error) -> Self {
        if is_storage_full(&error) { Self::StorageFull(error) } else { Self::Io(error) }
    }
}

impl AppendError {
    /// Why the group was not acknowledged.
    pub fn cause(&self) -> &AppendCause {
        match self {
            Self::NotDone(cause) | Self::Unknown(cause) => cause,
        }
    }
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self {
            Self::NotDone(_) => "not appended",
            Self::Unknown(_) => "append uncertain",
        };
        match self.cause() {
            AppendCause::Poisoned => write!(f, "{outcome}: an earlier append failed"),
            AppendCause::Fenced => write!(f, "{outcome}: a newer writer has opened the log"),
            AppendCause::OutOfPlace(detail) => write!(f, "{outcome}: {detail}"),
            AppendCause::StorageFull(source) | AppendCause::Io(source) => write!(f, "{outcome}: {source}"),
        }
    }
}

impl Error for AppendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.cause() {
            AppendCause::StorageFull(source) | AppendCause::Io(source) => Some(source),
            _ => None,
        }
    }
}

/// Lines could not be read back.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The log no longer holds everything from the place asked for: the stream needs a baseline.
    Trimmed {
        /// The lowest seq from which everything is held.
        floor: u64,
    },
    /// What is stored is not what was written. Nothing from here on may be served.
    Damaged {
        /// The damaged file.
        file: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
    },
    /// The medium failed.
    Io(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trimmed { floor } => write!(f, "the log is held from seq {floor} on"),
            Self::Damaged { file, offset } => write!(f, "{} is damaged at byte {offset}", file.display()),
            Self::Io(source) => write!(f, "reading the log: {source}"),
        }
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let Self::Io(source) = self { Some(source) } else { None }
    }
}
