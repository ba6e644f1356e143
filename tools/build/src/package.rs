//! The two packages, step by step.
//!
//! A package is built in a directory beside cargo's output and then moved file by file over the old one, so a reader
//! of the old package never meets half a file. Its key, a hash over everything that went in, is written last: a
//! package with the right key is left alone.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use twox_hash::XxHash3_128;

use crate::{bindgen, bindgen::Host, cargo, npm, optimise, size};

const KEY_FILE: &str = ".key";
const EDGE_FILES: [&str; 3] = ["index.js", "index_bg.wasm", "workerd.capnp"];
const WEB_FILES: [&str; 3] = ["headwater_web.js", "headwater_web_bg.wasm", "headwater_web.d.ts"];

/// Builds the edge worker into `out`.
///
/// # Errors
/// Any step's; `out` is then as it was, or has no key and is built again next time.
pub(crate) fn edge(out: &Path, fast: bool, selftest: bool) -> Result<()> {
    let (shim, config) = (Path::new("edge-worker/shim.js"), Path::new("edge-worker/workerd.capnp"));
    let module = cargo::wasm("headwater-edge", features(selftest))?;
    let package = Package { out, files: &EDGE_FILES, key: key(&[&module, shim, config], fast)? };
    package.build(|stage| {
        bindgen::generate(&module, "glue", Host::Worker, fast, stage)?;
        copy(shim, &stage.join("shim.js"))?;
        copy(config, &stage.join("workerd.capnp"))?;
        let wasm = stage.join("index_bg.wasm");
        fs::rename(stage.join("glue_bg.wasm"), &wasm).context("wasm-bindgen wrote no module")?;
        if !fast {
            // The abort handler catches and rethrows around every export.
            optimise::shrink(&wasm, &["--enable-exception-handling"])?;
        }
        bundle(stage, fast)
    })
}

/// Builds the browser replica into `out`.
///
/// # Errors
/// As [`edge`].
pub(crate) fn web(out: &Path, fast: bool, selftest: bool) -> Result<()> {
    let module = cargo::wasm("headwater-web", features(selftest))?;
    let package = Package { out, files: &WEB_FILES, key: key(&[&module], fast)? };
    package.build(|stage| {
        bindgen::generate(&module, "headwater_web", Host::Browser, fast, stage)?;
        if fast { Ok(()) } else { optimise::shrink(&stage.join("headwater_web_bg.wasm"), &[]) }
    })
}

fn features(selftest: bool) -> &'static [&'static str] {
    if selftest { &["selftest"] } else { &[] }
}

struct Package<'a> {
    out: &'a Path,
    files: &'a [&'a str],
    key: String,
}

impl Package<'_> {
    fn build(&self, steps: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let key_file = self.out.join(KEY_FILE);
        let complete = self.files.iter().all(|file| self.out.join(file).is_file());
        if complete && fs::read_to_string(&key_file).is_ok_and(|key| key == self.key) {
            return size::report(self.out, self.files);
        }
        let stage = self.stage();
        if stage.exists() {
            fs::remove_dir_all(&stage).with_context(|| format!("cannot empty {}", stage.display()))?;
        }
        create(&stage)?;
        steps(&stage)?;
        create(self.out)?;
        if key_file.exists() {
            fs::remove_file(&key_file)?;
        }
        for file in self.files {
            // A rename is atomic, but only within one file system: copy next to the place first.
            let (from, beside) = (stage.join(file), self.out.join(format!("{file}.new")));
            copy(&from, &beside)?;
            fs::rename(&beside, self.out.join(file))?;
        }
        fs::write(&key_file, &self.key)?;
        size::report(self.out, self.files)
    }

    /// One stage for each output, so that two packages can be built at the same time.
    fn stage(&self) -> PathBuf {
        let name = format!("{:032x}", XxHash3_128::oneshot(self.out.as_os_str().as_encoded_bytes()));
        cargo::target_dir().join("packages").join(name)
    }
}

/// Puts shim, glue and the crates' JavaScript snippets into one file that imports the module beside it.
fn bundle(stage: &Path, fast: bool) -> Result<()> {
    let glue = stage.join("glue.js");
    // The runtime knows wasm modules as ordinary imports, not as the proposal's `import source`.
    let text = fs::read_to_string(&glue).context("wasm-bindgen wrote no glue")?;
    fs::write(&glue, text.replace("import source ", "import ").replace("./glue_bg.wasm", "./index_bg.wasm"))?;
    let mut esbuild = Command::new(npm::esbuild()?);
    esbuild.current_dir(stage).args([
        "shim.js",
        "--bundle",
        "--format=esm",
        "--log-level=warning",
        "--outfile=index.js",
        "--external:./index_bg.wasm",
        "--external:cloudflare:*",
    ]);
    if !fast {
        esbuild.arg("--minify");
    }
    npm::run(&mut esbuild)
}

/// Hashes all that decides what a package contains: inputs, tools by lock files, and the mode.
fn key(inputs: &[&Path], fast: bool) -> Result<String> {
    let mut key = if fast { "fast" } else { "small" }.to_owned();
    for input in inputs.iter().copied().chain([Path::new("Cargo.lock"), Path::new("package-lock.json")]) {
        let bytes = fs::read(input).with_context(|| format!("cannot read {}", input.display()))?;
        key.push_str(&format!(" {:032x}", XxHash3_128::oneshot(&bytes)));
    }
    // This program's own steps change too; its binary stands for them.
    let program = fs::read(std::env::current_exe()?)?;
    key.push_str(&format!(" {:032x}", XxHash3_128::oneshot(&program)));
    Ok(key)
}

fn create(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}
