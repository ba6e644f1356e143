//! The settings of the backups that a node makes of itself.

use crate::backup::schedule::Schedule;
use crate::backup::scheduled::Plan;
use crate::whole::whole;
use clap::Args;
use std::path::PathBuf;

/// Flags and variables of scheduled backups.
#[derive(Args, Clone, Debug)]
pub struct BackupArgs {
    /// Directory in which the node makes backups of itself, one of its own for each node
    #[arg(long, help_heading = "Backups", env = "HEADWATER_BACKUP_TO", value_name = "DIR")]
    pub backup_to: Option<PathBuf>,

    /// When, as five cron fields in UTC: minute, hour, day of the month, month, day of the week
    #[arg(
        long,
        help_heading = "Backups",
        env = "HEADWATER_BACKUP_SCHEDULE",
        value_name = "CRON",
        requires = "backup_to",
        default_value = "0 3 * * *"
    )]
    pub backup_schedule: Schedule,

    /// How many of them are kept, at least 1
    #[arg(long, help_heading = "Backups", env = "HEADWATER_BACKUP_KEEP", value_name = "N", requires = "backup_to", value_parser = whole::<usize>("backups", 1..=1_000_000), default_value_t = 7)]
    pub backup_keep: usize,
}

impl BackupArgs {
    /// `None` where none are to be made.
    pub(super) fn plan(&self) -> Option<Plan> {
        let (schedule, keep) = (self.backup_schedule.clone(), self.backup_keep);
        self.backup_to.clone().map(|directory| Plan { directory, schedule, keep })
    }
}
