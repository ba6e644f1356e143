//! The wire vectors, for the runtimes that cannot read files by themselves.

use std::fs;
use std::path::{Path, PathBuf};

/// The ways a vector's bytes are handed over: whole, byte by byte, and in random pieces, as core numbers them.
pub const PIECES: [u32; 4] = [0, 1, 2, 3];

/// A stream and what a replica must make of it.
pub struct Vector {
    /// Where it stands.
    pub path: PathBuf,
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// The outcome written beside it.
    pub expected: String,
}

/// Every vector there is.
pub fn vectors() -> Vec<Vector> {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/vectors"));
    let files = fs::read_dir(directory).expect("the vectors are here").map(|file| file.expect("it is readable").path());
    let files = files.filter(|path| path.extension().is_some_and(|ending| ending == "ndjson"));
    let vectors: Vec<_> = files
        .map(|path| Vector {
            bytes: fs::read(&path).expect("a vector is readable"),
            expected: fs::read_to_string(path.with_extension("expected.json")).expect("each vector has its outcome"),
            path,
        })
        .collect();
    assert!(vectors.len() > 100, "only {} vectors in {}", vectors.len(), directory.display());
    vectors
}
