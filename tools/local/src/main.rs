//! `./dev run`: a writer, an edge worker and a native replica on this machine, and one key as all three answer it.

mod cluster;
mod show;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use headwater_local::tools::Tools;
use tokio::signal::unix::{SignalKind, signal};

use crate::cluster::Cluster;

type Failure = Box<dyn std::error::Error>;

#[derive(Parser)]
#[command(about = "Starts a writer, an edge worker and a native replica, and shows one key as each answers it")]
struct Options {
    /// End after showing the key
    #[arg(long)]
    once: bool,
    /// Keep the state here [default: a temporary directory, removed at the end]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Write the addresses here while all three run
    #[arg(long, default_value = "target/dev/run.json")]
    run_file: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Failure> {
    let tools = Tools::load()?;
    let Some(data) = &options.data else {
        let temporary = tempfile::tempdir()?;
        let outcome = run_in(&tools, temporary.path(), &options).await;
        if outcome.is_err() {
            eprintln!("What all three said and stored is kept in {}", temporary.keep().display());
        }
        return outcome;
    };
    run_in(&tools, data, &options).await
}

async fn run_in(tools: &Tools, data: &Path, options: &Options) -> Result<(), Failure> {
    let mut cluster = Cluster::start(tools, data).await?;
    let outcome = serve(&mut cluster, options).await;
    let stopped = cluster.stop().await;
    outcome?;
    stopped?;
    Ok(())
}

/// Shows what there is to see and, unless once is enough, stays until it is told to end or none of the three is left:
/// stopping one is how to see what the others do without it.
async fn serve(cluster: &mut Cluster, options: &Options) -> Result<(), Failure> {
    let written = show::write_samples(cluster).await?;
    show::compare_reads(cluster, &written).await?;
    if options.once {
        return Ok(());
    }
    let run_file = RunFile::write(&options.run_file, cluster)?;
    show::addresses(cluster, &options.run_file);
    let mut terminate = signal(SignalKind::terminate())?;
    let outcome = loop {
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => break interrupted.map_err(Failure::from),
            _ = terminate.recv() => break Ok(()),
            end = cluster.next_end() => eprintln!("{end}"),
        }
        if cluster.all_ended() {
            break Err("all three have ended".into());
        }
    };
    drop(run_file);
    outcome
}

/// The file with the addresses; it exists as long as they are good.
struct RunFile<'a>(&'a Path);

impl<'a> RunFile<'a> {
    fn write(path: &'a Path, cluster: &Cluster) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let addresses = serde_json::json!({
            "writer": cluster.writer.url,
            "replica": cluster.replica.url,
            "edge": cluster.edge.url,
            "apikey": cluster::APIKEY,
            "secret": cluster::SECRET,
        });
        fs::write(path, format!("{addresses}\n"))?;
        Ok(Self(path))
    }
}

impl Drop for RunFile<'_> {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}
