//! Builds the two wasm packages from the workspace's own crates.
//!
//! `headwater-build edge` writes a directory that the Workers runtime runs as it is (`index.js`, `index_bg.wasm`,
//! `workerd.capnp`); `headwater-build web` writes the ES module that the writer serves to browsers. Each is cargo's
//! wasm, then wasm-bindgen as a library (so its version is pinned by `Cargo.lock` beside the crate it must equal),
//! then esbuild (edge only) and wasm-opt from the npm lock file.
//!
//! It installs nothing and downloads nothing: `./dev setup` does that. It is started in the repository's root.

mod bindgen;
mod cargo;
mod npm;
mod optimise;
mod package;
mod size;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Builds the wasm packages: the edge worker and the browser replica")]
struct Command {
    #[command(subcommand)]
    package: Package,
}

#[derive(Subcommand)]
enum Package {
    /// The Worker and its Durable Object, ready for workerd and for deployment
    Edge(Options),
    /// The browser replica as an ES module
    Web(Options),
}

#[derive(Args)]
struct Options {
    /// Where the package is written [default: edge-worker/build or www/pkg]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Skip wasm-opt and minifying: a third larger, names kept, ready sooner
    #[arg(long)]
    fast: bool,
    /// With what tests it in its own runtime: never to be deployed
    #[arg(long, requires = "out")]
    selftest: bool,
}

fn main() -> ExitCode {
    match run(Command::parse().package) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(package: Package) -> Result<()> {
    match package {
        Package::Edge(Options { out, fast, selftest }) => {
            package::edge(&out.unwrap_or_else(|| PathBuf::from("edge-worker/build")), fast, selftest)
        }
        Package::Web(Options { out, fast, selftest }) => {
            package::web(&out.unwrap_or_else(|| PathBuf::from("www/pkg")), fast, selftest)
        }
    }
}
