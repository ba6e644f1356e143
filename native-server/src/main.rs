//! The program: `headwater serve`, and what there is to ask a running node.

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use headwater::settings::{Pair, ServeArgs, Settings};
use headwater::{cli, logging, serve};
use std::process::ExitCode;

/// A read allocates a dozen small pieces: with glibc's allocator it takes a quarter more of the processor's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A store of JSON values under keys: one writer takes the changes, and replicas follow it to answer reads nearby
#[derive(Parser)]
#[command(name = "headwater", version, after_help = cli::AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node: a writer, or with --parent a replica
    Serve(Box<ServeArgs>),
    #[command(flatten)]
    Client(Box<cli::Command>),
    #[command(flatten)]
    Local(Box<cli::LocalCommand>),
}

fn main() -> ExitCode {
    let mut line = cli::with_plain_usage(Cli::command());
    let matches = line.get_matches_mut();
    let parsed = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut line).exit());
    let outcome = match parsed.command {
        Command::Serve(args) => run_node(*args),
        Command::Client(command) => return command.run(),
        Command::Local(command) => return command.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_node(args: ServeArgs) -> anyhow::Result<()> {
    let (format, filter) = (args.log_format, args.log.clone());
    let settings = Settings::check(args, Pair::from_environment()?)?;
    logging::start(format, &filter)?;
    serve::run(settings)
}
