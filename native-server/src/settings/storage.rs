//! The settings of what a node keeps on its disk: how the log is written, and what is kept of it.

use super::InvalidSetting;
use crate::size::{Size, size};
use crate::wal::Retention;
use crate::wal::file::{FileOptions, SyncMode};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Flags and variables of the log's files.
#[derive(Args, Clone, Debug)]
pub struct StorageArgs {
    /// When a write is durable: group (synced before it is acknowledged) or interval:MS (handed to the system; a power
    /// cut may take the last MS milliseconds)
    #[arg(long, help_heading = "Storage", env = "HEADWATER_SYNC", value_name = "WHEN", default_value_t = SyncMode::Group)]
    pub sync: SyncMode,

    /// Bytes after which the log goes on in a new file: 4KiB to 1GiB
    #[arg(long, help_heading = "Storage", env = "HEADWATER_SEGMENT_BYTES", value_name = "SIZE", value_parser = size(4_096..=1 << 30), default_value_t = Size(64 << 20))]
    pub segment_bytes: Size,

    /// Bytes of new log after which the state is stored as a whole, so that a start reads no more than that; at least as
    /// many as the state itself has; 4KiB to 1TiB
    #[arg(long, help_heading = "Storage", env = "HEADWATER_BASELINE_AFTER_BYTES", value_name = "SIZE", value_parser = size(4_096..=1 << 40), default_value_t = Size(64 << 20))]
    pub baseline_after_bytes: Size,

    /// Bytes of older log that are kept for nodes which were away: 0 to 1024TiB
    #[arg(long, help_heading = "Storage", env = "HEADWATER_RETAIN_BYTES", value_name = "SIZE", value_parser = size(0..=1 << 50), default_value_t = Size(256 << 20))]
    pub retain_bytes: Size,

    /// Age at which older log goes though there is room: 90s, 30m, 24h, 7d
    #[arg(long, help_heading = "Storage", env = "HEADWATER_RETAIN_AGE", value_name = "AGE", default_value = "7d", value_parser = age)]
    pub retain_age: Duration,

    /// Bytes of log up to which more is kept while a connected node has yet to read it: --retain-bytes to 1024TiB
    #[arg(long, help_heading = "Storage", env = "HEADWATER_RETAIN_BYTES_MAX", value_name = "SIZE", value_parser = size(0..=1 << 50), default_value_t = Size(1 << 30))]
    pub retain_bytes_max: Size,

    /// Directory to which a writer copies what its log has sealed, before it lets go of it: a backup can be brought forward
    /// to any record there
    #[arg(long, help_heading = "Storage", env = "HEADWATER_ARCHIVE", value_name = "DIR")]
    pub archive: Option<PathBuf>,

    /// Age at which what was written is sealed for the archive though there is little of it: 30s, 5m [default: 5m]
    #[arg(long, help_heading = "Storage", env = "HEADWATER_ARCHIVE_AFTER", value_name = "AGE", value_parser = age)]
    pub archive_after: Option<Duration>,
}

/// The same, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// How files are written.
    pub files: FileOptions,
    /// What is kept though a stored baseline covers it.
    pub retention: Retention,
    /// Bytes of new log after which a baseline is stored.
    pub baseline_after_bytes: u64,
    /// Where sealed segments are copied to; `None` where they are not.
    pub archive: Option<ArchivePlan>,
}

/// What is archived, and how soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivePlan {
    /// Where to.
    pub directory: PathBuf,
    /// Age at which what was written is sealed.
    pub after: Duration,
}

/// See [`StorageArgs::archive_after`].
const ARCHIVE_AFTER: Duration = Duration::from_secs(300);
/// Less would make a segment of nearly each write.
const ARCHIVE_AFTER_LEAST: Duration = Duration::from_secs(1);

impl StorageArgs {
    pub(super) fn check(&self) -> Result<Storage, InvalidSetting> {
        if self.retain_bytes_max < self.retain_bytes {
            let reason = format!("{} is less than --retain-bytes, {}", self.retain_bytes_max, self.retain_bytes);
            return Err(InvalidSetting { setting: "--retain-bytes-max", reason });
        }
        let archive_after = |reason: String| InvalidSetting { setting: "--archive-after", reason };
        if self.archive.is_none() && self.archive_after.is_some() {
            return Err(archive_after("nothing is archived: it wants --archive beside it".into()));
        }
        let after = self.archive_after.unwrap_or(ARCHIVE_AFTER);
        if after < ARCHIVE_AFTER_LEAST {
            return Err(archive_after(format!("{} ms is less than 1s, the least", after.as_millis())));
        }
        Ok(Storage {
            files: FileOptions { segment_bytes: self.segment_bytes.0, sync: self.sync, ..FileOptions::default() },
            retention: Retention {
                bytes: self.retain_bytes.0,
                age: self.retain_age,
                bytes_max: self.retain_bytes_max.0,
            },
            baseline_after_bytes: self.baseline_after_bytes.0,
            archive: self.archive.clone().map(|directory| ArchivePlan { directory, after }),
        })
    }
}

/// How an age is written, by examples.
pub(super) const AGES: &str = "\"90s\", \"30m\", \"24h\", \"7d\"";

/// Reads a time with its unit.
pub(crate) fn age(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("a whole number and its unit are expected: 90s, 30m, 24h or 7d".into()),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{digits:?} is no whole number, as in 24h"))?;
    let ms = number.checked_mul(unit_ms).filter(|&ms| ms <= 3_650 * 86_400_000);
    ms.map(Duration::from_millis).ok_or_else(|| "the limit is 3650d".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_time_with_its_unit() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("24h", 86_400), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "7", "d", "7 d", "-1d", "1.5h", "3651d", "99999999999999999999d", "7w"] {
            assert!(age(text).is_err(), "{text}");
        }
    }
}
