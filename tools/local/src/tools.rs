//! Where the programs are that the tests and `./dev run` start.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// The places written by `./dev` before it runs anything, all absolute.
#[derive(Clone, Debug, Deserialize)]
pub struct Tools {
    /// The program `headwater`.
    pub server: PathBuf,
    /// The program of `./dev run`, `headwater-local`.
    pub local: PathBuf,
    /// Directory of the built edge worker: `workerd.capnp` and the modules it embeds.
    pub edge: PathBuf,
    /// Directory of the edge worker with the routes that test its store, once `./dev test` has built it.
    pub edge_selftest: Option<PathBuf>,
    /// Directory of the built browser replica.
    pub web: PathBuf,
    /// Directory of the browser replica that also plays wire vectors, once `./dev test` has built it.
    pub web_selftest: Option<PathBuf>,
    /// The Workers runtime.
    pub workerd: PathBuf,
    /// Node.js.
    pub node: PathBuf,
    /// Chromium; `None` where only `./dev run` was set up, which needs no browser.
    pub chromium: Option<PathBuf>,
}

impl Tools {
    /// Reads the file named by `HEADWATER_TOOLS`, else `dev/tools.json` in cargo's target directory.
    ///
    /// # Errors
    /// The file is missing or not what `./dev` writes; the message says how to make it.
    pub fn load() -> io::Result<Self> {
        let path = env::var_os("HEADWATER_TOOLS").map_or_else(default_path, PathBuf::from);
        let advice = |error: &dyn std::fmt::Display| {
            io::Error::other(format!("{}: {error} (`./dev build` writes it)", path.display()))
        };
        let text = fs::read_to_string(&path).map_err(|error| advice(&error))?;
        serde_json::from_str(&text).map_err(|error| advice(&error))
    }
}

fn default_path() -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository.join("target"), PathBuf::from).join("dev/tools.json")
}
