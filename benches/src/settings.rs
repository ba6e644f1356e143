//! What a run can be told, and what follows from it for every bench.

use crate::bench::Name;
use crate::cores::Cores;
use anyhow::Context;
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

#[derive(Args)]
pub(crate) struct RunArgs {
    /// Which benches to run, in this order [default: all but herd]
    #[arg(value_enum, value_name = "NAME")]
    pub(crate) names: Vec<Name>,

    /// The program to measure [default: headwater beside this one]
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,

    /// An earlier release of it, which `get` measures by turns with the present one
    #[arg(long, value_name = "PATH")]
    before: Option<PathBuf>,

    /// Turns of each contender
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Length of one turn, in ms
    #[arg(long, value_name = "MS", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(10..))]
    turn_ms: u64,

    /// See that everything works, in seconds: one short turn each, few clients; the figures mean nothing
    #[arg(long)]
    smoke: bool,

    /// Directory on the medium to be measured [default: the system's for temporary files]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,

    /// File for all figures as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Print the tables of docs/performance.md instead of those for a terminal
    #[arg(long)]
    pub(crate) markdown: bool,

    /// End with a failure when a requirement is not reached
    #[arg(long)]
    pub(crate) strict: bool,
}

/// A run's settings. Dropping it removes everything the run has written to its directory.
pub(crate) struct Settings {
    /// The program to measure.
    pub(crate) server: PathBuf,
    /// An earlier release of it.
    pub(crate) before: Option<PathBuf>,
    /// Who runs where.
    pub(crate) cores: Cores,
    /// Turns of each contender.
    pub(crate) rounds: u32,
    /// Time at the beginning of a turn that is not counted.
    pub(crate) warm_up: Duration,
    /// Length of a turn.
    pub(crate) turn: Duration,
    /// Whether this run only shows that everything works.
    pub(crate) smoke: bool,
    /// How many files a process may have open, here and in servers, which inherit it; `None` for any number.
    open_files: Option<u64>,
    directory: TempDir,
}

/// The settings as the report shows them.
#[derive(Serialize)]
pub(crate) struct SettingsFacts {
    rounds: u32,
    turn_ms: u128,
    smoke: bool,
    server_core: usize,
    load_core: usize,
    optimised: bool,
}

impl Settings {
    /// Checks the arguments and makes the working directory.
    pub(crate) fn new(arguments: RunArgs) -> anyhow::Result<Self> {
        let server = match arguments.server {
            Some(path) => path,
            None => std::env::current_exe()?.with_file_name("headwater"),
        };
        anyhow::ensure!(server.is_file(), "{} is no program: `./dev bench` builds it", server.display());
        let before = arguments.before.map(|path| path.canonicalize().with_context(|| format!("{}", path.display())));
        let open_files = raise_open_files()?;
        let parent = arguments.directory.unwrap_or_else(std::env::temp_dir);
        std::fs::create_dir_all(&parent)?;
        let directory = tempfile::Builder::new().prefix("headwater-bench-").tempdir_in(parent)?;
        let smoke = arguments.smoke;
        Ok(Self {
            server: server.canonicalize()?,
            before: before.transpose()?,
            cores: Cores::choose()?,
            rounds: if smoke { 1 } else { arguments.rounds },
            warm_up: Duration::from_millis(if smoke { 20 } else { 200 }),
            turn: Duration::from_millis(if smoke { 100 } else { arguments.turn_ms }),
            smoke,
            open_files,
            directory,
        })
    }

    /// The directory on the medium under measurement.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Refuses to begin what takes more open files in one process than there may be.
    pub(crate) fn needs_open_files(&self, count: u64) -> anyhow::Result<()> {
        let most = self.open_files.unwrap_or(u64::MAX);
        anyhow::ensure!(
            most >= count,
            "{count} open files are needed in one process and the hard limit is {most}: raise it (`ulimit -Hn {count}` as \
             root, or LimitNOFILE= under systemd)"
        );
        Ok(())
    }

    /// `full`, or `smoke` in a smoke run.
    pub(crate) fn sized<T>(&self, full: T, smoke: T) -> T {
        if self.smoke { smoke } else { full }
    }

    /// The settings for the report.
    pub(crate) fn facts(&self) -> SettingsFacts {
        SettingsFacts {
            rounds: self.rounds,
            turn_ms: self.turn.as_millis(),
            smoke: self.smoke,
            server_core: self.cores.server,
            load_core: self.cores.load,
            optimised: !cfg!(debug_assertions),
        }
    }
}

/// A thousand streams are a thousand sockets here and in the server, which inherits the limit. Returns it.
fn raise_open_files() -> anyhow::Result<Option<u64>> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("raising the limit of open files")?;
    Ok(maximum)
}
