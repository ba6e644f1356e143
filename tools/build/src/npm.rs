//! Finds and runs the programs that the npm lock file brings. It never installs them.

use std::{
    env::consts::{ARCH, OS},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

const MODULES: &str = "node_modules";

/// Returns esbuild's own binary for this machine (npm's start script would cost a Node.js start each time).
pub(crate) fn esbuild() -> Result<PathBuf> {
    let os = if OS == "macos" { "darwin" } else { OS };
    let arch = match ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    present(format!("@esbuild/{os}-{arch}/bin/esbuild"))
}

/// Returns wasm-opt: itself a wasm program that Node.js runs.
pub(crate) fn wasm_opt() -> Result<PathBuf> {
    present("binaryen/bin/wasm-opt".to_owned())
}

fn present(path: String) -> Result<PathBuf> {
    let path = Path::new(MODULES).join(path);
    ensure!(path.is_file(), "{} is missing: run ./dev setup", path.display());
    path.canonicalize().with_context(|| format!("cannot resolve {}", path.display()))
}

/// Runs `command` to its end.
///
/// # Errors
/// It cannot be started, or it ends with another status than 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = PathBuf::from(command.get_program());
    let status = command.status().with_context(|| format!("cannot start {}", name.display()))?;
    ensure!(status.success(), "{} ended with {status}", name.display());
    Ok(())
}
