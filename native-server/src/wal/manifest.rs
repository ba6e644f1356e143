//! The manifest: the small file that says what a directory holds, and the one place of its form.
//!
//! Two lines of text: a JSON object, and the XXH3-64 of that line. It is replaced as a whole (written apart, synced,
//! renamed, directory synced), so a reader finds the old one or the new one. Everything before `format` and `backend`
//! in [`Manifest::read`] stays as it is for ever, so that any later program can tell what it has before it.

use super::error::OpenError;
use super::replace::replace;
use super::storage::Storage;
use headwater_core::id::Id;
use headwater_core::position::{EpochStart, EpochTable};
use serde::{Deserialize, Serialize};
use std::fmt;
use twox_hash::XxHash3_64;

/// Name of the manifest in its directory.
pub const MANIFEST_FILE: &str = "MANIFEST";

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
    /// Openings so far. Every frame carries the number of the opening that wrote it.
    pub opening: u32,
    /// The file that frames are in; the memory log has none.
    pub segment: Option<SegmentPlace>,
    /// The epochs whose EPOCH commands are known to be durable.
    pub epochs: EpochTable,
}

/// The segment in use and what is known of it. Rewritten at each opening and orderly end, not at each append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentPlace {
    /// Its number, which gives its name.
    pub number: u32,
    /// Where the newest opening began to write.
    pub start: u64,
    /// Everything before this byte was synced; what is wrong there is damage and never a torn write.
    pub synced: u64,
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
    opening: u32,
    segment: Option<SegmentPlace>,
    epochs: Vec<(u64, u64)>,
}

impl Manifest {
    /// A manifest of a directory in which nothing has been opened yet.
    pub fn new(backend: Backend) -> Self {
        Self { backend, cluster: None, epoch: 0, opening: 0, segment: None, epochs: EpochTable::default() }
    }

    /// Reads the manifest; `None` when the directory has none.
    ///
    /// # Errors
    /// [`OpenError::Damaged`], [`OpenError::Mismatch`] for another format or backend than `backend`, [`OpenError::Io`].
    pub fn read(storage: &dyn Storage, backend: Backend) -> Result<Option<Self>, OpenError> {
        let path = storage.path(MANIFEST_FILE);
        let Some(file) = storage.open(MANIFEST_FILE).map_err(OpenError::io("opening", &path))? else {
            return Ok(None);
        };
        let length = file.length().map_err(OpenError::io("reading", &path))?;
        // A manifest is below 100 KiB; a larger file is none, and is not worth the memory to find out.
        let mut bytes = vec![0; usize::try_from(length.min(1 << 20)).expect("1 MiB fits a usize")];
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
        if head.backend != backend {
            let found = head.backend;
            return Err(mismatch(format!("the directory holds {found}, not {backend}: use another directory")));
        }
        Self::from_line(line).map(Some).ok_or_else(|| damaged(0, "the manifest contradicts itself"))
    }

    fn from_line(line: &[u8]) -> Option<Self> {
        let body: Body = serde_json::from_slice(line).ok()?;
        let starts = body.epochs.iter().map(|&(epoch, first)| EpochStart { epoch, first }).collect();
        let cluster = match body.cluster {
            Some(text) => Some(text.parse().ok()?),
            None => None,
        };
        Some(Self {
            backend: body.head.backend,
            cluster,
            epoch: body.epoch,
            opening: body.opening,
            segment: body.segment,
            epochs: EpochTable::new(starts)?,
        })
    }

    /// Puts this manifest in place of the one there, durably. After an error either of them may be found.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub fn write(&self, storage: &dyn Storage) -> Result<(), OpenError> {
        let body = Body {
            head: Head { format: FORMAT, backend: self.backend },
            cluster: self.cluster.map(|id| id.to_string()),
            epoch: self.epoch,
            opening: self.opening,
            segment: self.segment,
            epochs: self.epochs.starts().iter().map(|start| (start.epoch, start.first)).collect(),
        };
        let mut bytes = serde_json::to_vec(&body).expect("numbers and strings serialise");
        bytes.push(b'\n');
        bytes.extend_from_slice(&checksum_line(&bytes));

        replace(storage, MANIFEST_FILE, |file| file.write_at(&bytes, 0))
    }
}

fn checksum_line(line: &[u8]) -> Vec<u8> {
    format!("xxh3:{:016x}\n", XxHash3_64::oneshot(line)).into_bytes()
}
