//! Prints what a package weighs, raw and as a server would send it.

use std::{fs, io::Write, path::Path};

use anyhow::{Context, Result};
use flate2::{Compression, write::GzEncoder};

/// Prints one line for each of `files` in `directory`.
pub(crate) fn report(directory: &Path, files: &[&str]) -> Result<()> {
    for file in files {
        let path = directory.join(file);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&bytes)?;
        let (raw, packed) = (kib(bytes.len()), kib(gzip.finish()?.len()));
        println!("{:<36} {raw:>7.1} KiB  {packed:>7.1} KiB gzip", path.display());
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a size for people, shown to a tenth of a KiB")]
fn kib(bytes: usize) -> f64 {
    bytes as f64 / 1024.0
}
