//! The settings of the audit log.

use super::InvalidSetting;
use super::storage::age;
use crate::audit::{Keep, Plan};
use crate::size::{Size, size};
use clap::Args;
use clap::builder::BoolishValueParser;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Flags and variables of the audit log.
#[derive(Args, Clone, Debug)]
pub struct AuditArgs {
    /// Directory of the audit log: who changed what, when and from where, and who was refused; "off" for none
    /// [default: the directory audit within --data]
    #[arg(long, help_heading = "Audit log", env = "HEADWATER_AUDIT", value_name = "DIR|off")]
    pub audit: Option<PathBuf>,

    /// Take no write while it could not be noted, instead of going on and telling so
    #[arg(long, help_heading = "Audit log", env = "HEADWATER_AUDIT_REQUIRED", value_parser = BoolishValueParser::new())]
    pub audit_required: bool,

    /// Bytes after which the audit log goes on in a new file: 4KiB to 1GiB
    #[arg(long, help_heading = "Audit log", env = "HEADWATER_AUDIT_FILE_BYTES", value_name = "SIZE", value_parser = size(4_096..=1 << 30), default_value_t = Size(16 << 20))]
    pub audit_file_bytes: Size,

    /// Bytes of full files of the audit log that are kept: 0 to 1024TiB
    #[arg(long, help_heading = "Audit log", env = "HEADWATER_AUDIT_RETAIN_BYTES", value_name = "SIZE", value_parser = size(0..=1 << 50), default_value_t = Size(1 << 30))]
    pub audit_retain_bytes: Size,

    /// Age at which a file of the audit log goes though there is room: 90s, 30m, 24h, 7d
    #[arg(long, help_heading = "Audit log", env = "HEADWATER_AUDIT_RETAIN_AGE", value_name = "AGE", default_value = "365d", value_parser = age)]
    pub audit_retain_age: Duration,
}

impl AuditArgs {
    /// What is to be kept of a node whose state is in `data`; `None` for nothing.
    pub(super) fn plan(&self, data: &Path) -> Result<Option<Plan>, InvalidSetting> {
        let directory = match &self.audit {
            Some(path) if path.as_os_str() == "off" => {
                if self.audit_required {
                    let reason = "nothing can be noted with --audit off".into();
                    return Err(InvalidSetting { setting: "--audit-required", reason });
                }
                return Ok(None);
            }
            Some(path) => path.clone(),
            None => audit_directory(data),
        };
        let keep =
            Keep { file_bytes: self.audit_file_bytes.0, bytes: self.audit_retain_bytes.0, age: self.audit_retain_age };
        Ok(Some(Plan { directory, keep, required: self.audit_required }))
    }
}

/// The directory of a node's audit log within its data directory.
pub(crate) fn audit_directory(data: &Path) -> PathBuf {
    data.join("audit")
}
