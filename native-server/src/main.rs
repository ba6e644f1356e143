//! The program: `headwater serve`, and what there is to ask a running node.

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::{Shell, generate};
use headwater::settings::{InvalidSetting, Layered, ServeArgs};
use headwater::{cli, logging, serve};
use std::io::Write as _;
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
    /// Print what makes a shell complete commands and flags
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// The shell
        #[arg(value_enum, value_name = "SHELL")]
        shell: Completed,
    },
    #[command(flatten)]
    Client(Box<cli::Command>),
    #[command(flatten)]
    Local(Box<cli::LocalCommand>),
}

fn main() -> ExitCode {
    let layered = match Layered::of(std::env::args_os().collect()) {
        Ok(layered) => layered,
        Err(invalid) => {
            eprintln!("error: {invalid}");
            return ExitCode::from(USAGE);
        }
    };
    let mut line = cli::with_plain_usage(Cli::command());
    let matches = line.try_get_matches_from_mut(&layered.words);
    let parsed = matches.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    let parsed = parsed.unwrap_or_else(|error| {
        let error = error.format(&mut line);
        if layered.file.is_some() && error.use_stderr() {
            eprintln!("With the settings of the file of --config, which are as flags:");
        }
        error.exit()
    });
    let outcome = match parsed.command {
        Command::Serve(args) => run_node(*args, &layered),
        Command::Completions { shell } => return complete(shell),
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

const COMPLETIONS_HELP: &str = "\
Examples:
  headwater completions bash > ~/.local/share/bash-completion/completions/headwater
  headwater completions zsh > ~/.zfunc/_headwater              with ~/.zfunc in fpath
  headwater completions fish > ~/.config/fish/completions/headwater.fish";

/// Shells that are told how to complete.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Completed {
    Bash,
    Fish,
    Zsh,
}

fn complete(shell: Completed) -> ExitCode {
    let shell = match shell {
        Completed::Bash => Shell::Bash,
        Completed::Fish => Shell::Fish,
        Completed::Zsh => Shell::Zsh,
    };
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "headwater", &mut script);
    match std::io::stdout().write_all(&script) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Exit status for a command line or a file that is not right.
const USAGE: u8 = 2;

fn run_node(args: ServeArgs, layered: &Layered) -> anyhow::Result<()> {
    anyhow::ensure!(args.config.is_some() == layered.file.is_some(), "--config: not read: a fault of this program");
    let (format, filter) = (args.log_format, args.log.clone());
    let settings = layered.check(args).map_err(anyhow::Error::msg)?;
    logging::start(format, &filter)?;
    for warning in layered.warnings(&settings) {
        tracing::warn!("{warning}");
    }
    // What only the start finds out about a setting has its place in the file, too.
    serve::run(settings).map_err(|error| match error.downcast::<InvalidSetting>() {
        Ok(invalid) => anyhow::Error::msg(layered.located(&invalid)),
        Err(error) => error,
    })
}
