//! Lists the console's files for the binary to embed. The browser package (`../www/pkg`) is a build product: where it
//! is missing the build goes on, and the server says so where the console would be.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What a browser is served; everything else in the directory is source or note.
const EXTENSIONS: &[&str] = &["html", "js", "css", "wasm", "svg", "png", "woff2"];

fn main() -> io::Result<()> {
    let manifest =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or_else(|| io::Error::other("not run by cargo"))?);
    let www = manifest.join("../www").canonicalize()?;
    let package = www.join("pkg");
    let mut files = files(&www)?;
    if package.is_dir() {
        files.extend(self::files(&package)?);
        println!("cargo::rerun-if-changed={}", package.display());
    }
    // Of a directory cargo watches everything below it too; that www/wasm is there costs a look at a few files.
    println!("cargo::rerun-if-changed={}", www.display());
    files.sort();
    let mut code = String::from("&[\n");
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
        let name = file.strip_prefix(&www).map_err(io::Error::other)?;
        code.push_str(&format!("    ({:?}, include_bytes!({:?})),\n", name.display().to_string(), file));
    }
    code.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("not run by cargo"))?);
    fs::write(out.join("console_files.rs"), code)
}

fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_file() && extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) {
            found.push(path);
        }
    }
    Ok(found)
}
