//! `headwater-bench`: measures Headwater beside what limits it. `./dev bench` builds it for release and runs it.
//!
//! Absolute figures change between hours and machines by a factor of two; what holds is the ratio between two programs
//! that took turns on the same cores within seconds. So each bench lets ours and its reference alternate for some rounds
//! and reports the median of the rounds' ratios with its spread. A figure without a reference carries a bound.
//!
//! A wrong answer, a lost line or a refused request ends the run: speed is only looked at where the result is right.
//! No caller tells one failure of a bench from another, so all of this program reports through `anyhow`.

mod bench;
mod competitor;
mod cores;
mod crowd;
mod histogram;
mod http;
mod load;
mod machine;
mod print;
mod process;
mod report;
mod settings;
mod socket;
mod stream;

use crate::bench::Name;
use crate::competitor::Competitor;
use crate::crowd::Crowd;
use crate::report::Run;
use crate::settings::{RunArgs, Settings};
use anyhow::Context;
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// Both sides of every comparison allocate alike, so that no ratio owes anything to that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "headwater-bench", about, args_conflicts_with_subcommands = true, args_override_self = true)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    run: RunArgs,
}

/// What the harness starts of itself.
#[derive(Subcommand)]
enum Part {
    /// Becomes another program, confined to one core
    #[command(hide = true)]
    Pinned {
        core: usize,
        #[arg(trailing_var_arg = true, required = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Is a crowd of children
    #[command(hide = true)]
    Crowd(Crowd),
    /// Serves as something to compare with
    #[command(hide = true)]
    Competitor {
        #[command(subcommand)]
        competitor: Competitor,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    match arguments.part {
        Some(Part::Pinned { core, command }) => Err(cores::become_pinned(core, &command)),
        Some(Part::Crowd(crowd)) => crowd.be().map(|()| ExitCode::SUCCESS),
        Some(Part::Competitor { competitor }) => competitor.serve().map(|()| ExitCode::SUCCESS),
        None => run(arguments.run),
    }
}

/// Runs the benches asked for. The load runs in this process, on one thread of one core.
fn run(arguments: RunArgs) -> anyhow::Result<ExitCode> {
    let markdown = arguments.markdown;
    let strict = arguments.strict;
    let json = arguments.json.clone();
    let names = if arguments.names.is_empty() { Name::ALL.to_vec() } else { arguments.names.clone() };
    let settings = Settings::new(arguments)?;
    settings.cores.take_load_core()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut run = Run { machine: machine::facts(&settings)?, settings: settings.facts(), benches: Vec::new() };
    for name in names {
        eprintln!("{name}: {}", name.title());
        let report = runtime.block_on(name.measure(&settings)).with_context(|| format!("bench {name}"))?;
        if !markdown {
            println!("{}", print::terminal(&report));
        }
        run.benches.push(report);
    }
    run.machine.load_after = machine::load_average()?;
    if markdown {
        println!("{}", print::markdown(&run));
    }
    if let Some(path) = json {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(&path, serde_json::to_vec_pretty(&run)?).with_context(|| path.display().to_string())?;
        eprintln!("all figures: {}", path.display());
    }
    let missed = run.benches.iter().flat_map(report::Report::missed).count();
    if missed > 0 {
        eprintln!("{missed} requirement(s) not reached in this run");
    }
    Ok(if strict && missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
