//! wasm-opt, for download size: the modules travel to every browser and every edge location.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::npm;

/// Rewrites `module` smaller, without names and producers. Its own feature section says what it may use, and `features`
/// what the glue added after the compiler wrote that section.
///
/// # Errors
/// wasm-opt is missing or refuses the module.
pub(crate) fn shrink(module: &Path, features: &[&str]) -> Result<()> {
    let smaller = module.with_extension("opt.wasm");
    npm::run(
        Command::new(npm::wasm_opt()?)
            .args(["-Oz", "--strip-debug", "--strip-producers", "--strip-target-features"])
            .args(features)
            .arg(module)
            .arg("--output")
            .arg(&smaller),
    )?;
    fs::rename(&smaller, module).with_context(|| format!("cannot replace {}", module.display()))
}
