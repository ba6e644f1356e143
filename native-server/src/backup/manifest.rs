//! `MANIFEST.json`: what a backup holds, and the one place of its form. Fields that are not known are passed over; another
//! `format` is refused.

use super::error::BackupError;
use super::hashing::sha256;
use crate::wal::manifest::is_zero;
use headwater_core::api::{rfc3339, unix_ms};
use headwater_core::apply::scope_digest;
use headwater_core::digest::Digest;
use headwater_core::id::Id;
use headwater_core::limits::INTEGER_MAX;
use headwater_core::position::{EpochStart, EpochTable, Position};
use headwater_core::scope::Scope;
use headwater_core::store::{Collection, Progress};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// The form this program writes, and the only one it reads.
pub const FORMAT: u32 = 1;
/// Name of the manifest.
pub const MANIFEST_FILE: &str = "MANIFEST.json";
/// Name of the file that holds the SHA-256 of the others, as `sha256sum -c` takes it.
pub const SUMS_FILE: &str = "SHA256SUMS";
/// Name of the file that holds the state.
pub const BASELINE_FILE: &str = "baseline.ndjson.zst";

/// Longest manifest that is read: far above that of the most collections.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The form of the backup.
    pub format: u32,
    /// The release that wrote it.
    pub headwater: String,
    /// When, RFC 3339 by the clock of the machine that wrote it.
    pub created: String,
    /// From what it was made, for people.
    pub source: String,
    /// The deployment.
    pub cluster: String,
    /// What it is exact as of, `<epoch>.<seq>`.
    pub position: String,
    /// Timestamp of the newest record it covers, RFC 3339 by the writer's clock; left out where the source did not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The highest epoch that is known to have been given out.
    pub epoch_highest: u64,
    /// The highest takeover that is known; left out where there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub takeover: u64,
    /// The openings of the log: epoch and first seq each.
    pub epochs: Vec<(u64, u64)>,
    /// Features without which the state must not be written on.
    pub requires: Vec<String>,
    /// Entries of all collections.
    pub keys: u64,
    /// The digest of the whole state, as the stream writes it.
    pub digest: String,
    /// The collections in order of their names.
    pub collections: Vec<CollectionFacts>,
    /// The files beside this one.
    pub files: Vec<FileFacts>,
}

/// One collection of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CollectionFacts {
    /// Its name.
    pub collection: String,
    /// Seq of the CREATE that made it.
    pub created: u64,
    /// Entries in it.
    pub keys: u64,
    /// Seq of the last command of it, as far as the source knew.
    pub last_seq: u64,
    /// Its digest, as the stream writes it.
    pub digest: String,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileFacts {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in hex digits.
    pub sha256: String,
    /// Length of what it holds, unpacked.
    pub plain_bytes: u64,
}

impl Manifest {
    /// The manifest of a state without its files.
    ///
    /// # Errors
    /// [`BackupError::Unfit`] for a state that is not a whole one of a deployment.
    pub fn of(
        progress: &Progress,
        collections: &[Collection],
        source: &str,
        created: String,
    ) -> Result<Self, BackupError> {
        let unfit = |detail: String| Err(BackupError::Unfit(detail));
        if progress.scope != Scope::Everything {
            return unfit(format!("the source holds {} and not everything (\"**\"): ask its parent", progress.scope));
        }
        let (Some(cluster), true, false) = (progress.cluster, progress.complete, progress.baseline_due) else {
            return unfit("the source holds no complete state yet".into());
        };
        let is_known = progress.timestamp > 0;
        let facts = collections.iter().map(|facts| CollectionFacts {
            collection: facts.name.to_string(),
            created: facts.created,
            keys: facts.keys,
            last_seq: facts.last_seq,
            digest: facts.digest.to_wire(),
        });
        Ok(Self {
            format: FORMAT,
            headwater: env!("CARGO_PKG_VERSION").into(),
            created,
            source: source.into(),
            cluster: cluster.to_string(),
            position: progress.position.to_string(),
            // A clock that is millennia ahead makes no time that can be written down.
            time: Some(rfc3339(progress.timestamp))
                .filter(|time| is_known && unix_ms(time) == Some(progress.timestamp)),
            epoch_highest: progress.epoch_highest.max(progress.position.epoch),
            takeover: progress.takeover.max(progress.takeover_highest),
            epochs: progress.epochs.starts().iter().map(|start| (start.epoch, start.first)).collect(),
            requires: progress.requires.to_vec(),
            keys: collections.iter().map(|facts| facts.keys).sum(),
            digest: scope_digest(collections).to_wire(),
            collections: facts.collect(),
            files: Vec::new(),
        })
    }

    /// How far the state is, as a node that holds it says it.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] with `path` for a manifest that contradicts itself.
    pub fn progress(&self, path: &Path) -> Result<Progress, BackupError> {
        let damaged = |what: &str| BackupError::damaged(path, format!("{what} is not what one is"));
        let starts = self.epochs.iter().map(|&(epoch, first)| EpochStart { epoch, first }).collect();
        let epochs = EpochTable::new(starts).ok_or_else(|| damaged("\"epochs\""))?;
        let position: Position = self.position.parse().map_err(|_| damaged("\"position\""))?;
        let cluster: Id = self.cluster.parse().map_err(|_| damaged("\"cluster\""))?;
        let timestamp = match &self.time {
            None => 0,
            Some(time) => unix_ms(time).ok_or_else(|| damaged("\"time\""))?,
        };
        if self.epoch_highest >= INTEGER_MAX {
            return Err(damaged("\"epochHighest\""));
        }
        if !epochs.holds(position) {
            return Err(BackupError::damaged(path, "the position is not within the epochs"));
        }
        Ok(Progress {
            position,
            complete: true,
            cluster: Some(cluster),
            epochs: Arc::new(epochs),
            epoch_highest: self.epoch_highest,
            timestamp,
            takeover: self.takeover,
            takeover_highest: self.takeover,
            requires: self.requires.iter().cloned().collect(),
            ..Progress::new(Scope::Everything)
        })
    }

    /// The time, Unix ms, that nothing it covers is later than: that of its newest record. Backups of sources that did not
    /// know it, as those of earlier releases, have only the time they were made at.
    ///
    /// # Errors
    /// As [`Manifest::progress`].
    pub fn newest_ms(&self, path: &Path) -> Result<u64, BackupError> {
        let time = self.time.as_ref().unwrap_or(&self.created);
        unix_ms(time).ok_or_else(|| BackupError::damaged(path, format!("{time:?} is no time")))
    }

    /// The facts of the collections, as a store keeps them.
    ///
    /// # Errors
    /// As [`Manifest::progress`].
    pub fn facts(&self, path: &Path) -> Result<Vec<Collection>, BackupError> {
        let facts = self.collections.iter().map(|facts| {
            let digest = Digest::from_wire(&facts.digest)?;
            let (keys, last_seq) = (facts.keys, facts.last_seq);
            Some(Collection { keys, last_seq, digest, ..Collection::new((*facts.collection).into(), facts.created) })
        });
        let facts: Option<Vec<_>> = facts.collect();
        facts.ok_or_else(|| BackupError::damaged(path, "a collection's digest is not what one is"))
    }

    /// The text of the file.
    pub(super) fn to_text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("numbers and strings serialise");
        text.push(b'\n');
        text
    }

    /// Reads the manifest of the backup in `directory`, and checks it against the sums beside it.
    ///
    /// # Errors
    /// [`BackupError::Io`], [`BackupError::Damaged`].
    pub fn read(directory: &Path) -> Result<Self, BackupError> {
        let path = directory.join(MANIFEST_FILE);
        let text = read_file(&path)?;
        let sums_path = directory.join(SUMS_FILE);
        let sums = read_file(&sums_path)?;
        let manifest: Option<Self> = match serde_json::from_slice::<Head>(&text) {
            Ok(head) if head.format != FORMAT => {
                let detail = format!("a backup of format {}, and this program reads {FORMAT}", head.format);
                return Err(BackupError::damaged(&path, detail));
            }
            _ => serde_json::from_slice(&text).ok(),
        };
        let line = sum_line(&sha256(&text), MANIFEST_FILE);
        if !sums.split_inclusive(|&byte| byte == b'\n').any(|found| *found == *line.as_bytes()) {
            let detail = format!("it does not match its SHA-256 in {SUMS_FILE}");
            return Err(BackupError::damaged(&path, detail));
        }
        let manifest = manifest.ok_or_else(|| BackupError::damaged(&path, "it is no manifest of a backup"))?;
        if manifest.sums(&text) != sums {
            return Err(BackupError::damaged(&sums_path, "it does not say what the manifest says"));
        }
        Ok(manifest)
    }

    /// The text of the sums beside a manifest of this text.
    pub(super) fn sums(&self, text: &[u8]) -> Vec<u8> {
        let files = self.files.iter().map(|file| sum_line(&file.sha256, &file.name));
        files.chain([sum_line(&sha256(text), MANIFEST_FILE)]).collect::<String>().into_bytes()
    }
}

#[derive(Deserialize)]
struct Head {
    format: u32,
}

fn sum_line(sum: &str, name: &str) -> String {
    format!("{sum}  {name}\n")
}

fn read_file(path: &Path) -> Result<Vec<u8>, BackupError> {
    let length = fs::metadata(path).map_err(BackupError::io("reading", path))?.len();
    if length > MANIFEST_BYTES_MAX {
        return Err(BackupError::damaged(path, format!("{length} bytes are more than any backup has here")));
    }
    fs::read(path).map_err(BackupError::io("reading", path))
}
