//! Moments at which a node works on its log beside the writes: storing a baseline, rolling, letting go of segments.

use crate::node::{Node, NodeBuilder};
use crate::random::Random;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long such a moment is waited for. It need not come: a load that is held back makes nothing new.
const COMES_WITHIN: Duration = Duration::from_secs(2);

/// Settings with which a few hundred writes make a log roll many times, store baselines and, where `retain_bytes` is
/// less than what is written, let go of segments.
#[must_use]
pub fn restless(builder: NodeBuilder, retain_bytes: u64) -> NodeBuilder {
    let builder = builder.option("--segment-bytes", "16384").option("--baseline-after-bytes", "16384");
    builder.option("--retain-bytes", &retain_bytes.to_string())
}

/// Half of the time waits until `node` begins to store a baseline, which it then removes segments for, and then a little:
/// so that what comes next strikes anywhere in it.
pub async fn drawn(node: &Node, random: &mut Random) {
    if random.below(2) == 0 {
        return;
    }
    let state = node.data().join("state");
    let before = baselines(&state);
    let until = Instant::now() + COMES_WITHIN;
    while baselines(&state).is_subset(&before) && Instant::now() < until {
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    tokio::time::sleep(Duration::from_micros(random.below(20_000))).await;
}

/// The stored baselines below a directory, those in the making included.
fn baselines(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    // A directory or an entry that is not there yet, or any more, has none.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.append(&mut baselines(&path));
        } else if path.extension().is_some_and(|extension| extension == "base") {
            found.insert(path);
        }
    }
    found
}
