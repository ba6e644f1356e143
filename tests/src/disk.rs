//! A node's directory, copied and put back, as backups, hypervisors and mistakes do it.

use crate::node::Node;
use std::fs;
use std::path::{Path, PathBuf};

/// Copies a directory with everything below it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the test's directory can be written");
    for entry in fs::read_dir(from).expect("the directory is there") {
        let entry = entry.expect("the directory can be read");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("an entry has a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}

/// Puts a copy in the place of a dead node's state.
pub fn restore(saved: &Path, node: &Node) {
    let state = node.data().join("state");
    fs::remove_dir_all(&state).expect("the node has a state");
    copy(saved, &state);
}

/// The largest file below a directory: a log's segment, where there is one.
pub fn largest_file(directory: &Path) -> PathBuf {
    let mut largest = (0, PathBuf::new());
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("the directory can be read") {
            let entry = entry.expect("the directory can be read");
            let facts = entry.metadata().expect("an entry has facts");
            if facts.is_dir() {
                directories.push(entry.path());
            } else if facts.len() > largest.0 {
                largest = (facts.len(), entry.path());
            }
        }
    }
    largest.1
}
