//! `headwater log`: what is in a log's directory on this machine, whether it is whole, and mending it where it is not.
//!
//! `cat`, `stat` and `verify` change nothing and take no lock, so that they may be used beside a node that runs. `repair`
//! takes the lock, shows what it would do, and does it when told `--yes`.

mod bar;
mod cat;
mod content;
mod past_damage;
mod repair;
mod stat;
mod verify;

pub(super) use content::{Content, as_writer, empty_store, facts, replayed};
pub(super) use verify::counted;

use super::failure::{Failure, Kind};
use super::output::Output;
use crate::remedy;
use crate::wal::OpenError;
use crate::wal::file::inspect::{self, Inspection};
use crate::wal::manifest::MANIFEST_FILE;
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

pub(super) const HELP: &str = "\
Examples:
  headwater log stat ./headwater-data               what there is
  headwater log cat ./headwater-data --from 812     the lines as they are
  headwater log cat ./headwater-data --past-damage  what is whole behind damage too, for saving it by hand
  headwater log verify ./headwater-data             reads everything, as a start would and more
  headwater log repair ./headwater-data             says what it would do; with --yes does it

DIR is the log's directory, or a node's data directory that has it as log. cat, stat and verify may be used while a node \
runs: what it writes meanwhile may be seen or not.

Exit status: 0 done and whole, 1 damaged or refused, 2 wrong usage or no log there, 3 in use or unreadable";

/// `headwater log`.
#[derive(Debug, Args)]
pub struct Log {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the records, oldest first
    #[command(after_help = cat::HELP)]
    Cat(cat::Cat),
    /// Read everything and say whether it is whole
    #[command(after_help = "Example:\n  headwater log verify ./headwater-data")]
    Verify(verify::Verify),
    /// List the files and what is in them
    #[command(after_help = "Example:\n  headwater log stat ./headwater-data")]
    Stat(stat::Stat),
    /// Mend a damaged log: says what it would do, and does it with --yes
    #[command(after_help = repair::HELP)]
    Repair(repair::Repair),
}

/// Where the log is.
#[derive(Debug, Args)]
struct Place {
    /// Directory of the log, or of a node that has it as `log`
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// JSON on a terminal too
    #[arg(long)]
    json: bool,
}

impl Log {
    pub(super) fn json(&self) -> bool {
        match &self.action {
            Action::Cat(cat) => cat.place.json,
            Action::Verify(verify) => verify.place.json,
            Action::Stat(stat) => stat.place.json,
            Action::Repair(repair) => repair.place.json,
        }
    }

    pub(super) fn run(&self, output: &mut Output) -> Result<(), Failure> {
        match &self.action {
            Action::Cat(cat) => cat.run(output),
            Action::Verify(verify) => verify.run(output),
            Action::Stat(stat) => stat.run(output),
            Action::Repair(repair) => repair.run(output),
        }
    }
}

/// A log that is read beside whoever may use it.
struct Looking {
    directory: PathBuf,
    inspection: Inspection,
    holder: Option<String>,
}

impl Looking {
    fn at(place: &Place) -> Result<Self, Failure> {
        let directory = log_directory(&place.directory)?;
        // Where the system does not tell, nothing is said of it.
        let holder = inspect::holder(&directory).unwrap_or_default();
        let inspection = Inspection::of(&directory).map_err(|error| refused(&error, &directory))?;
        let inspection = inspection.ok_or_else(|| no_log(&directory))?;
        Ok(Self { directory, inspection, holder })
    }

    /// Reads the manifest anew.
    fn again(&mut self) -> Result<(), Failure> {
        let inspection = Inspection::of(&self.directory).map_err(|error| refused(&error, &self.directory))?;
        self.inspection = inspection.ok_or_else(|| no_log(&self.directory))?;
        Ok(())
    }

    /// Whether what is wrong may be so only because a node changes the files meanwhile.
    fn may_be_moving(&self) -> bool {
        self.holder.is_some() || self.inspection.is_outdated()
    }

    /// What a person is to know of who uses it.
    fn say_holder(&self) {
        if let Some(holder) = &self.holder {
            eprintln!("note: {holder} has the directory in use; what is shown may lag behind it");
        }
    }
}

/// The directory of the log that a directory is or has.
pub(super) fn log_directory(given: &Path) -> Result<PathBuf, Failure> {
    if given.is_dir() {
        return Ok(inspect::log_in(given));
    }
    Err(Failure::usage(format!("{} is no directory", given.display())))
}

pub(super) fn no_log(directory: &Path) -> Failure {
    Failure::usage(format!("{} holds no log: there is no {MANIFEST_FILE}", directory.display()))
        .next("DIR is the log's directory, or a node's data directory that has it as log")
        .next("If there are segments (*.wal): headwater log repair")
}

/// A failure with what helps.
pub(super) fn helped(failure: Failure, lines: Vec<String>) -> Failure {
    lines.into_iter().fold(failure, Failure::next)
}

/// Why a log cannot be read, as the failure of a command.
pub(super) fn refused(error: &OpenError, directory: &Path) -> Failure {
    match error {
        OpenError::Io { .. } | OpenError::InUse { .. } => Failure::unable(error.to_string()),
        OpenError::Damaged { .. } => helped(Failure::new(Kind::Refused, error.to_string()), remedy::lines(directory)),
        _ => Failure::new(Kind::Refused, error.to_string()),
    }
}
