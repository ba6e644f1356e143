//! Asks cargo for a crate's wasm. Cargo alone decides whether anything needs compiling.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

const TARGET: &str = "wasm32-unknown-unknown";
const PROFILE: &str = "wasm";

/// Returns where cargo puts what it builds: `CARGO_TARGET_DIR`, else `target`.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

/// Builds the library of `package` with these features for wasm32 and returns the path of its module.
///
/// # Errors
/// The compiler's own failure; its messages have gone to the terminal by then.
pub(crate) fn wasm(package: &str, features: &[&str]) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--lib", "--target", TARGET])
        .args(["--profile", PROFILE, "--package", package])
        .args(["--features", &features.join(",")])
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "cargo could not build {package} for {TARGET}");
    let file = format!("{}.wasm", package.replace('-', "_"));
    Ok(target_dir().join(TARGET).join(PROFILE).join(file))
}
