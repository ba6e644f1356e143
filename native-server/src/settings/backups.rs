//! The settings of the backups that a node makes of itself.

use super::InvalidSetting;
use crate::backup::schedule::Schedule;
use crate::backup::scheduled::Plan;
use clap::Args;
use std::path::PathBuf;

/// Flags and variables of scheduled backups.
#[derive(Args, Clone, Debug)]
pub struct BackupArgs {
    /// Directory in which the node makes backups of itself, one of its own for each node
    #[arg(long, env = "HEADWATER_BACKUP_TO", value_name = "DIR")]
    pub backup_to: Option<PathBuf>,

    /// When, as five cron fields in UTC: minute, hour, day of the month, month, day of the week
    #[arg(long, env = "HEADWATER_BACKUP_SCHEDULE", value_name = "CRON", default_value = "0 3 * * *")]
    pub backup_schedule: Schedule,

    /// How many of them are kept
    #[arg(long, env = "HEADWATER_BACKUP_KEEP", value_name = "N", default_value_t = 7)]
    pub backup_keep: usize,
}

impl BackupArgs {
    /// `None` where none are to be made.
    pub(super) fn check(&self) -> Result<Option<Plan>, InvalidSetting> {
        if self.backup_keep == 0 {
            let reason = "at least the newest one is kept".into();
            return Err(InvalidSetting { setting: "--backup-keep", reason });
        }
        let (schedule, keep) = (self.backup_schedule.clone(), self.backup_keep);
        Ok(self.backup_to.clone().map(|directory| Plan { directory, schedule, keep }))
    }
}
