//! Every vector of `tests/vectors`, in whole streams, byte by byte and in random pieces.
//!
//! `UPDATE_VECTORS=1` writes the outcomes anew; read the difference before it is committed.
#![expect(
    clippy::disallowed_methods,
    reason = "the vectors are files, so that every platform and person can read them"
)]

use super::*;
use crate::scope::Scope;
use crate::store::memory::{MemoryOptions, MemoryStore};
use alloc::format;
use std::fs;
use std::path::{Path, PathBuf};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors");

fn outcome(vector: &[u8], pieces: Pieces) -> String {
    let store = MemoryStore::new(Progress::new(Scope::Everything), MemoryOptions::single_threaded(3));
    run(store, vector, pieces).unwrap()
}

/// The names of all files that end so, the ending taken off.
fn names(ending: &str) -> Vec<String> {
    let files = fs::read_dir(DIRECTORY).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = files.filter_map(|file| file.strip_suffix(ending).map(String::from)).collect();
    names.sort_unstable();
    names
}

fn path(name: &str, ending: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{name}{ending}"))
}

#[track_caller]
fn same(name: &str, how: &str, found: &str, expected: &str) {
    for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "{name}, {how}: line {} of its outcome", number + 1);
    }
    assert_eq!(found.len(), expected.len(), "{name}, {how}: the outcome ends early or late");
}

#[test]
fn every_vector_has_the_outcome_written_beside_it_for_every_split() {
    let vectors = names(".ndjson");
    assert!(vectors.len() > 100, "only {} vectors found in {DIRECTORY}", vectors.len());
    let update = std::env::var_os("UPDATE_VECTORS").is_some();
    for name in &vectors {
        let vector = fs::read(path(name, ".ndjson")).unwrap();
        let whole = outcome(&vector, Pieces::Whole);
        if update {
            fs::write(path(name, ".expected.json"), &whole).unwrap();
        }
        let expected = fs::read_to_string(path(name, ".expected.json")).unwrap_or_default();
        same(name, "whole", &whole, &expected);
        same(name, "byte by byte", &outcome(&vector, Pieces::Bytes), &expected);
        for seed in 0..6 {
            same(name, &format!("pieces by seed {seed}"), &outcome(&vector, Pieces::Seeded(seed)), &expected);
        }
    }
}

#[test]
fn a_vector_is_called_bad_when_the_parent_offends_and_only_then() {
    for name in names(".ndjson") {
        let vector = fs::read(path(&name, ".ndjson")).unwrap();
        let header = vector.split(|byte| *byte == b'\n').next().unwrap();
        let header: serde_json::Value = serde_json::from_slice(header).unwrap();
        assert_eq!(header["vector"], *name);
        // Not by serde_json: some outcome is deeper than it reads.
        let offended = outcome(&vector, Pieces::Whole)
            .lines()
            .any(|line| line.trim_start().starts_with("\"offence\":") && !line.ends_with("null,"));
        assert_eq!(header["verdict"], if offended { "bad" } else { "good" }, "{name}");
        assert!(header["rule"].as_str().is_some_and(|rule| !rule.is_empty()), "{name}");
    }
}

#[test]
fn every_outcome_belongs_to_a_vector() {
    assert_eq!(names(".expected.json"), names(".ndjson"));
}

#[test]
fn what_is_no_vector_is_refused() {
    let header = "{\"vector\":\"x\",\"scope\":\"*\",\"now\":1}\n";
    for text in [
        "",
        "{}\n",
        "{\"scope\":\"*\"}\n",
        "{\"scope\":1,\"now\":1}\n",
        "no JSON\n",
        &format!("{header}{{\"%\":\"wait\"}}\n"),
        &format!("{header}{{\"%\":\"pass\"}}\n"),
        &format!("{header}{{\"%\":\"hex\",\"bytes\":\"0\\u00e9\"}}\n"),
        &format!("{header}torn"),
    ] {
        let store = MemoryStore::new(Progress::new(Scope::Everything), MemoryOptions::single_threaded(3));
        assert!(run(store, text.as_bytes(), Pieces::Whole).is_err(), "{text}");
    }
}
