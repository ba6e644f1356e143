//! Who changed what, and who was refused: what is kept of it, and what nobody else sees.

mod by;
mod chain;
mod full;
mod refusals;
mod writes;

use crate::api::Writer;
use crate::cli::{Cli, Done};
use headwater_tests::{Node, eventually};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// The directory of a node's audit log.
fn directory(node: &Node) -> PathBuf {
    node.data().join("state/audit")
}

/// All bytes of a node's audit log.
fn content(node: &Node) -> String {
    let mut names: Vec<_> = fs::read_dir(directory(node))
        .expect("the node has an audit log")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ndjson"))
        .collect();
    names.sort();
    names.iter().map(|path| String::from_utf8_lossy(&fs::read(path).expect("it can be read")).into_owned()).collect()
}

/// The whole lines of a node's audit log.
fn entries(node: &Node) -> Vec<Value> {
    content(node).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Waits until the lines with this event are as wanted.
async fn told(node: &Node, event: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let mut found = Vec::new();
    eventually(&format!("{event} is noted"), || {
        found = entries(node).into_iter().filter(|entry| entry["event"] == event).collect();
        let outcome = if wanted(&found) { Ok(()) } else { Err(found.clone()) };
        async move { outcome }
    })
    .await;
    found
}

/// `headwater audit` on a node's directory.
async fn audit(node: &Node, command: &str, more: &[&str]) -> Done {
    let state = node.data().join("state");
    let arguments = [&["audit", command, state.to_str().expect("temporary paths are UTF-8")], more].concat();
    Cli::of(node).run(&arguments).await
}

/// What `headwater audit verify` finds in a log that is whole.
async fn verified(node: &Node) -> Value {
    let done = audit(node, "verify", &[]).await;
    assert_eq!((done.status, &*done.stderr), (0, ""), "{done:?}");
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}

/// The head that a node tells of.
async fn head(writer: &Writer) -> String {
    writer.client.status().await["audit"]["head"].as_str().expect("it has an audit log").to_owned()
}
