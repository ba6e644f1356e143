//! `headwater audit`: the audit log of a node, read and checked on this machine.
//!
//! Both commands change nothing and take no lock, so that they may be used beside the node.

mod cat;
mod verify;

use super::failure::Failure;
use super::output::Output;
use crate::audit::files;
use crate::settings::audit_directory;
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

pub(super) const HELP: &str = "\
Examples:
  headwater audit cat ./headwater-data --since 1h      what happened in the last hour
  headwater audit cat ./headwater-data --event refused
  headwater audit verify ./headwater-data              whether every line follows the one before it

DIR is a node's data directory, or the directory that its --audit names. Both may be used while the node runs.

Exit status: 0 done and whole, 1 the chain does not hold, 2 wrong usage or no audit log there, 3 unreadable";

/// `headwater audit`.
#[derive(Debug, Args)]
pub struct Audit {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print what is in it, oldest first
    #[command(after_help = cat::HELP)]
    Cat(cat::Cat),
    /// Follow the chain from its first line to its last
    #[command(after_help = verify::HELP)]
    Verify(verify::Verify),
}

/// Where the audit log is.
#[derive(Debug, Args)]
struct Place {
    /// Directory of a node's data, or of its audit log
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// JSON on a terminal too
    #[arg(long)]
    json: bool,
}

impl Audit {
    pub(super) fn json(&self) -> bool {
        match &self.action {
            Action::Cat(cat) => cat.place.json,
            Action::Verify(verify) => verify.place.json,
        }
    }

    pub(super) fn run(&self, output: &mut Output) -> Result<(), Failure> {
        match &self.action {
            Action::Cat(cat) => cat.run(output),
            Action::Verify(verify) => verify.run(output),
        }
    }
}

impl Place {
    /// The directory that holds the files.
    fn find(&self) -> Result<PathBuf, Failure> {
        if !self.directory.is_dir() {
            return Err(Failure::usage(format!("{} is no directory", self.directory.display())));
        }
        let within = audit_directory(&self.directory);
        for directory in [&self.directory, &within] {
            if directory.is_dir() && !files(directory).map_err(|error| unreadable(directory, &error))?.is_empty() {
                return Ok(directory.clone());
            }
        }
        Err(Failure::usage(format!("{} holds no audit log: there is no audit-*.ndjson", self.directory.display()))
            .next("DIR is a node's data directory that has it as audit, or what its --audit names"))
    }
}

fn unreadable(directory: &Path, error: &std::io::Error) -> Failure {
    Failure::unable(format!("reading {}: {error}", directory.display()))
}
