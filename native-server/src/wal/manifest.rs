//! The manifest: the small file that says what a directory holds, and the one place of its form.
//!
//! Two lines of text: a JSON object, and the XXH3-64 of that line. It is replaced as a whole (written apart, synced,
//! renamed, directory synced), so a reader finds the old one or the new one. Everything before `format` and `backend`
//! in [`Manifest::read`] stays as it is for ever, so that any later program can tell what it has before it.

use super::error::OpenError;
use super::replace::{put_in_place, write_apart};
use super::storage::Storage;
use headwater_core::id::Id;
use headwater_core::position::{EpochStart, EpochTable};
use serde::{Deserialize, Serialize};
use std::fmt;
use twox_hash::XxHash3_64;

/// Name of the manifest in its directory.
pub const MANIFEST_FILE: &str = "MANIFEST";

const MANIFEST_BYTES_MAX: u64 = 8 << 20;

/// The format version this program writes, and the only one it reads.
pub const FORMAT: u32 = 1;

/// What made the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// A writer's file log.
    File,
    /// A writer whose log is in memory.
    Memory,
    /// A replica's own disk.
    Replica,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "a writer's file log (file:DIR)",
            Self::Memory => "a writer's memory log (memory:)",
            Self::Replica => "a replica's own disk",
        })
    }
}

/// What a directory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// What made the directory.
    pub backend: Backend,
    /// The deployment; a replica's is in its progress instead.
    pub cluster: Option<Id>,
    /// The highest epoch ever given out, whether or not anything was written in it.
    pub epoch: u64,
    /// When the log was last put in the place of another one, Unix ms as a rule; 0 for never. Every later opening keeps it.
    pub takeover: u64,
    /// Openings so far. Every frame carries the number of the opening that wrote it.
    pub opening: u32,
    /// The epochs whose EPOCH commands are known to be durable.
    pub epochs: EpochTable,
    /// The files of the log; the memory log has none.
    pub files: Option<Files>,
}

/// The files that make up a log, in the order in which they are read: the stored baseline, the sealed segments, the
/// segment in use. What else lies in the directory is of no meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The stored baseline; `None`: the segments begin with the first record.
    pub baseline: Option<BaselinePlace>,
    /// Segments that take no further record, oldest first.
    pub sealed: Vec<SealedPlace>,
    /// The segment in use.
    pub active: ActivePlace,
    /// The number of the next file that is made. Numbers are never given twice: one whose making failed stays unused.
    pub next_number: u32,
}

/// A stored baseline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BaselinePlace {
    /// Its number, which gives its name.
    pub number: u32,
    /// The seq it is exact at.
    pub seq: u64,
    /// Records before this segment are within it, whatever their seq.
    pub from_segment: u32,
    /// Its length in bytes.
    pub end: u64,
    /// The checksum of its last frame.
    pub sum: Sum,
    /// Entries in it.
    pub keys: u64,
    /// Digest of the state it holds.
    pub digest: String,
}

/// A segment that takes no further record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealedPlace {
    /// Its number, which gives its name.
    pub number: u32,
    /// Seq of the newest record in it and before it.
    pub through: u64,
    /// Where its last frame ends. Nothing behind counts.
    pub end: u64,
    /// That frame's checksum.
    pub sum: Sum,
    /// When it was sealed, Unix ms by this machine's clock.
    pub sealed_ms: u64,
}

/// The segment in use and what is known of it. Not rewritten at each append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivePlace {
    /// Its number, which gives its name.
    pub number: u32,
    /// Where the newest opening began to write.
    pub start: u64,
    /// Everything before this byte was synced; what is wrong there is damage and never a torn write.
    pub synced: u64,
}

/// A checksum; 16 hex digits in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sum(pub u64);

impl From<Sum> for String {
    fn from(sum: Sum) -> Self {
        format!("{:016x}", sum.0)
    }
}

impl TryFrom<String> for Sum {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u64::from_str_radix(&text, 16).map(Self)
    }
}

impl Files {
    /// The numbers of the segments, oldest first.
    pub fn segment_numbers(&self) -> impl Iterator<Item = u32> + Clone {
        self.sealed.iter().map(|sealed| sealed.number).chain([self.active.number])
    }

    /// Whether the numbers go with each other.
    fn is_consistent(&self) -> bool {
        let numbers = self.segment_numbers();
        let rises = self.sealed.windows(2).all(|pair| pair[0].through <= pair[1].through);
        let mut before = 0;
        let in_order = numbers.clone().all(|number| std::mem::replace(&mut before, number) < number);
        let below_next = numbers.chain(self.baseline.iter().map(|baseline| baseline.number));
        in_order && rises && below_next.max().is_some_and(|highest| highest < self.next_number)
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    backend: Backend,
}

#[derive(Serialize, Deserialize)]
struct Body {
    #[serde(flatten)]
    head: Head,
    cluster: Option<String>,
    epoch: u64,
    // Left out where there was none, as in manifests of releases that knew of none.
    #[serde(default, skip_serializing_if = "is_zero")]
    takeover: u64,
    opening: u32,
    files: Option<Files>,
    epochs: Vec<(u64, u64)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
pub(crate) fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Manifest {
    /// A manifest of a directory in which nothing has been opened yet.
    pub fn new(backend: Backend) -> Self {
        let epochs = EpochTable::default();
        Self { backend, cluster: None, epoch: 0, takeover: 0, opening: 0, epochs, files: None }
    }

    /// Takes a number for a new file. It is not given again by this process, and after a restart only if no manifest was
    /// written meanwhile, and so nothing names the file.
    ///
    /// # Errors
    /// When there are no numbers left.
    pub(super) fn take_number(&mut self, storage: &dyn Storage) -> Result<u32, OpenError> {
        let exhausted = || OpenError::damaged(&storage.path(MANIFEST_FILE), 0, "there are no numbers for files left");
        let files = self.files.as_mut().ok_or_else(exhausted)?;
        let number = files.next_number;
        files.next_number = number.checked_add(1).ok_or_else(exhausted)?;
        Ok(number)
    }

    /// Reads the manifest; `None` when the directory has none.
    ///
    /// # Errors
    /// [`OpenError::Damaged`], [`OpenError::Mismatch`] for another format or backend than `backend`, [`OpenError::Io`].
    pub fn read(storage: &dyn Storage, backend: Backend) -> Result<Option<Self>, OpenError> {
        Self::read_of(storage, Some(backend))
    }

    /// Reads the manifest, whatever made it.
    ///
    /// # Errors
    /// Those of [`Manifest::read`].
    pub fn read_any(storage: &dyn Storage) -> Result<Option<Self>, OpenError> {
        Self::read_of(storage, None)
    }

    fn read_of(storage: &dyn Storage, backend: Option<Backend>) -> Result<Option<Self>, OpenError> {
        let path = storage.path(MANIFEST_FILE);
        let Some(file) = storage.open(MANIFEST_FILE).map_err(OpenError::io("opening", &path))? else {
            return Ok(None);
        };
        let length = file.length().map_err(OpenError::io("reading", &path))?;
        // Ten thousand segments take 1 MiB; a larger file is none, and is not worth the memory to find out.
        let mut bytes = vec![0; usize::try_from(length.min(MANIFEST_BYTES_MAX)).expect("it fits a usize")];
        let read = file.read_at(&mut bytes, 0).map_err(OpenError::io("reading", &path))?;
        bytes.truncate(read);

        let damaged = |offset: usize, detail: &str| OpenError::damaged(&path, offset as u64, detail);
        let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
            return Err(damaged(read, "the manifest ends within its first line"));
        };
        let (line, check) = bytes.split_at(end + 1);
        if check != checksum_line(line) {
            return Err(damaged(end + 1, "the manifest's checksum does not match"));
        }
        let head: Head = serde_json::from_slice(line).map_err(|error| OpenError::Mismatch {
            file: path.clone(),
            detail: format!("the manifest is of a form this program does not know ({error}): use the one that made it"),
        })?;
        let mismatch = |detail: String| OpenError::Mismatch { file: path.clone(), detail };
        if head.format != FORMAT {
            let found = head.format;
            return Err(mismatch(format!(
                "format version {found}, and this program reads {FORMAT}: use the one that made it"
            )));
        }
        if let Some(backend) = backend.filter(|&backend| backend != head.backend) {
            let found = head.backend;
            let next = match (found, backend) {
                (Backend::Replica, Backend::File) => {
                    "use another directory, or make it a writer's with `headwater promote`"
                }
                // There may be no other one with the state that is here.
                (Backend::File, Backend::Replica) => "it is the writer's that is started without a parent",
                _ => "use another directory",
            };
            return Err(mismatch(format!("the directory holds {found}, not {backend}: {next}")));
        }
        let manifest = Self::from_line(line).ok_or_else(|| damaged(0, "the manifest contradicts itself"))?;
        if manifest.files.is_none() && manifest.backend != Backend::Memory {
            let detail =
                "the manifest is of a form this program does not know (it names no files): use the one that made it";
            return Err(mismatch(detail.into()));
        }
        Ok(Some(manifest))
    }

    fn from_line(line: &[u8]) -> Option<Self> {
        let body: Body = serde_json::from_slice(line).ok()?;
        if body.files.as_ref().is_some_and(|files| !files.is_consistent()) {
            return None;
        }
        let starts = body.epochs.iter().map(|&(epoch, first)| EpochStart { epoch, first }).collect();
        let cluster = match body.cluster {
            Some(text) => Some(text.parse().ok()?),
            None => None,
        };
        Some(Self {
            backend: body.head.backend,
            cluster,
            epoch: body.epoch,
            takeover: body.takeover,
            opening: body.opening,
            epochs: EpochTable::new(starts)?,
            files: body.files,
        })
    }

    /// Puts this manifest in place of the one there, durably. After an error either of them may be found.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub fn write(&self, storage: &dyn Storage) -> Result<(), OpenError> {
        self.write_apart(storage)?;
        Self::put_in_place(storage)
    }

    /// Puts what [`Manifest::write_apart`] wrote in place of the manifest there, durably. After an error either of them
    /// may be found.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub(super) fn put_in_place(storage: &dyn Storage) -> Result<(), OpenError> {
        put_in_place(storage, MANIFEST_FILE)
    }

    /// Makes this manifest durable beside the one there. After an error that one is found, and never this one.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub(super) fn write_apart(&self, storage: &dyn Storage) -> Result<(), OpenError> {
        let body = Body {
            head: Head { format: FORMAT, backend: self.backend },
            cluster: self.cluster.map(|id| id.to_string()),
            epoch: self.epoch,
            takeover: self.takeover,
            opening: self.opening,
            files: self.files.clone(),
            epochs: self.epochs.starts().iter().map(|start| (start.epoch, start.first)).collect(),
        };
        let mut bytes = serde_json::to_vec(&body).expect("numbers and strings serialise");
        bytes.push(b'\n');
        bytes.extend_from_slice(&checksum_line(&bytes));

        write_apart(storage, MANIFEST_FILE, |file| file.write_at(&bytes, 0))
    }
}

fn checksum_line(line: &[u8]) -> Vec<u8> {
    format!("xxh3:{:016x}\n", XxHash3_64::oneshot(line)).into_bytes()
}

/// Adds to a manifest's epochs those that segments tell of, in order: the newest may not have been written to it yet.
///
/// # Errors
/// In words, when they contradict each other.
pub(super) fn add_epochs(
    epochs: &mut EpochTable,
    told: impl IntoIterator<Item = EpochStart>,
) -> Result<(), &'static str> {
    for start in told {
        if epochs.newest().is_none_or(|newest| start.epoch > newest.epoch) && !epochs.push(start) {
            return Err("the epochs of the segments do not follow the manifest's");
        }
    }
    Ok(())
}
