//! What `promote` and `restore` note of themselves in the audit log of the node whose directory they make: where that node
//! will look for it. What could not be noted is said.

use super::failure::Failure;
use super::output::Output;
use crate::audit::{Event, note_of_command};
use clap::Args;
use std::path::PathBuf;

/// Where the node's audit log is.
#[derive(Debug, Default, Args)]
pub(super) struct Noting {
    /// The node's audit log, in which this is noted: what `headwater serve` is given as --audit
    /// [default: the directory audit within its data directory]
    #[arg(long, env = "HEADWATER_AUDIT", value_name = "DIR|off")]
    pub(super) audit: Option<PathBuf>,
}

/// Where a node looks that is given no --audit.
pub(super) enum Usual {
    /// There; it is made if need be.
    Made(PathBuf),
    /// There, if there is one.
    Found(PathBuf),
    /// Nobody can tell.
    Unknown,
}

/// What came of it.
pub(super) enum Noted {
    In(PathBuf),
    /// There is none, and nobody wants one.
    Off,
    Not(String),
}

impl Noting {
    /// Notes it. `author` is the command.
    pub(super) fn note(&self, usual: Usual, author: &str, event: Event) -> Noted {
        let elsewhere = "if the node's is elsewhere, say so beforehand: --audit DIR";
        let directory = match (&self.audit, usual) {
            (Some(path), _) if path.as_os_str() == "off" => return Noted::Off,
            (Some(path), _) => path.clone(),
            (None, Usual::Made(path)) => path,
            (None, Usual::Found(path)) if path.is_dir() => path,
            (None, Usual::Found(path)) => {
                return Noted::Not(format!("{} is not there; {elsewhere}", path.display()));
            }
            (None, Usual::Unknown) => {
                return Noted::Not(format!("the data directory is not known; {elsewhere}"));
            }
        };
        match note_of_command(&directory, author, event) {
            Ok(()) => Noted::In(directory),
            Err(error) => Noted::Not(format!("{}: {error}", directory.display())),
        }
    }
}

impl Noted {
    /// Says where it was noted, or that it was not.
    pub(super) fn tell(&self, output: &mut Output) -> Result<(), Failure> {
        match self {
            Self::In(path) if output.human => output.line(format!("noted in the audit log in {}", path.display())),
            Self::In(_) | Self::Off => Ok(()),
            Self::Not(why) => {
                eprintln!("note: this is in no audit log: {why}");
                Ok(())
            }
        }
    }
}
