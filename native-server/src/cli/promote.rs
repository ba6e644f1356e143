//! `headwater promote`: makes the directory of a replica that holds everything the directory of a writer.

use super::failure::{Failure, Kind};
use super::log::{Content, as_writer, empty_store, log_directory, no_log, refused, replayed};
use super::output::Output;
use crate::replica::open_disk;
use crate::stored::StatePieces;
use crate::wal::file::inspect::{self, Inspection};
use crate::wal::file::promote::Promotion;
use crate::wal::file::{FileOptions, ReplicaLog};
use crate::wal::manifest::Backend;
use clap::Args;
use headwater_core::command::unknown_feature;
use headwater_core::scope::Scope;
use headwater_core::store::memory::{MemoryOptions, MemoryStore};
use headwater_core::store::{Progress, Store};
use serde_json::json;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const HELP: &str = "\
Examples:
  headwater promote /var/lib/headwater-replica --old-writer-stopped
  headwater serve --data /var/lib/headwater-replica           without --parent: it is the writer now

The old writer must be stopped for good: nothing here can keep it from taking writes, and what it takes from now on is \
lost to everybody who follows the new one. Of several replicas take the one whose position (headwater status) is the \
highest: what it does not have is lost. Children need the new writer's address in their --parent list; those that are \
where the new writer is, or behind, go on from there, and those that are ahead get a baseline and say so \
(not_on_history).

Exit status: 0 done, 1 refused, 2 wrong usage or no replica's directory, 3 in use or unreadable";

/// `headwater promote`.
#[derive(Debug, Args)]
pub struct Promote {
    /// Directory of the replica's state, or its log
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The old writer does not run any more, and will not
    #[arg(long)]
    old_writer_stopped: bool,
    /// JSON on a terminal too
    #[arg(long)]
    pub(super) json: bool,
}

impl Promote {
    pub(super) fn run(&self, output: &mut Output) -> Result<(), Failure> {
        let directory = log_directory(&self.directory)?;
        self.look(&directory)?;
        let unable = |error| refused(&error, &directory);
        let store = MemoryStore::new(Progress::new(Scope::Everything), MemoryOptions::threaded(crate::random::bits()));
        let mut log = open_disk(&directory, FileOptions::default(), "headwater promote", &store).map_err(unable)?;
        let progress = store.progress();
        may_write(&progress)?;
        // What a writer would make of the lines decides whether they stay.
        let keeps_lines = leads_to(&directory, &store)?;
        if !keeps_lines {
            rebase(&mut log, &store).map_err(|error| Failure::unable(format!("storing the state: {error}")))?;
        }
        let newest = progress.epochs.newest().map_or(0, |start| start.epoch);
        let epoch = progress.epoch_highest.max(newest).max(progress.position.epoch);
        let cluster = progress.cluster.expect("asked before");
        log.promote(Promotion { cluster, epoch, epochs: (*progress.epochs).clone() }).map_err(unable)?;
        self.tell(&progress, epoch, keeps_lines, output)
    }

    /// Refuses what cannot be before anything is touched.
    fn look(&self, directory: &Path) -> Result<(), Failure> {
        let inspection = Inspection::of(directory).map_err(|error| refused(&error, directory))?;
        let inspection = inspection.ok_or_else(|| no_log(directory))?;
        match inspection.manifest().backend {
            Backend::Replica => {}
            Backend::File => {
                let words = format!("{} is a writer's already", directory.display());
                return Err(Failure::new(Kind::Refused, words).next("Start it: headwater serve, without --parent"));
            }
            found @ Backend::Memory => {
                return Err(Failure::usage(format!("{} holds {found}, not a replica's disk", directory.display())));
            }
        }
        if let Some(holder) = inspect::holder(directory).unwrap_or_default() {
            let words = format!("{} is in use by {holder}", directory.display());
            return Err(Failure::unable(words).next("Stop that node first"));
        }
        let store = empty_store();
        store.set_progress(&Progress::new(Scope::Everything)).map_err(|error| Failure::unable(error.to_string()))?;
        let mut content = Content::new(&store, true);
        replayed(&inspection, &mut content).map_err(|error| refused(&error, directory))?;
        may_write(&store.progress())?;
        if !self.old_writer_stopped {
            let words = "nothing here can keep the old writer from taking writes, which would be lost";
            return Err(Failure::usage(words).next("Stop it for good, and say so: --old-writer-stopped"));
        }
        Ok(())
    }

    fn tell(&self, progress: &Progress, epoch: u64, keeps_lines: bool, output: &mut Output) -> Result<(), Failure> {
        let position = progress.position;
        if !output.human {
            let cluster = progress.cluster.map(|cluster| cluster.to_string());
            let position = position.to_string();
            let told = json!({"ok": true, "position": position, "cluster": cluster, "epochAbove": epoch, "keptLines": keeps_lines});
            return output.line(told.to_string());
        }
        let directory = self.directory.display();
        output.line(format!("{directory} is a writer's now, at {position}; its first epoch will be above {epoch}"))?;
        if !keeps_lines {
            output.line("its lines do not lead to its state and were left out: every child gets a baseline")?;
        }
        output.line(format!("start it without --parent: headwater serve --data {directory}"))
    }
}

/// Whether a state with this progress is all that a writer needs.
fn may_write(progress: &Progress) -> Result<(), Failure> {
    let refusal = |words: String| Err(Failure::new(Kind::Refused, words));
    if progress.scope != Scope::Everything {
        let scope = &progress.scope;
        return refusal(format!("the replica follows {scope}, and a writer needs all of the log: \"**\""));
    }
    if !progress.complete {
        return refusal("the state is incomplete: its first baseline never came to its end".into());
    }
    if progress.baseline_due {
        return refusal("the state is known to lack something, and waits for a baseline of its parent".into());
    }
    if progress.cluster.is_none() || progress.epochs.newest().is_none() {
        return refusal("the state does not say which log it belongs to".into());
    }
    if let Some(feature) = unknown_feature(progress.requires.iter().map(|name| &**name)) {
        return refusal(format!("the log needs the feature {feature:?}, which this release does not know"));
    }
    Ok(())
}

/// Whether a writer that reads the directory comes to the state in `store`.
fn leads_to(directory: &Path, store: &MemoryStore) -> Result<bool, Failure> {
    let inspection = Inspection::of(directory).map_err(|error| refused(&error, directory))?;
    let inspection = inspection.ok_or_else(|| no_log(directory))?;
    let found = empty_store();
    if as_writer(inspection, &found).is_err() {
        return Ok(false);
    }
    let same = |a: &MemoryStore, b: &MemoryStore| -> Result<bool, Box<dyn Error>> {
        let (a_progress, b_progress) = (a.progress(), b.progress());
        let is_there = may_write(&a_progress).is_ok()
            && a_progress.position == b_progress.position
            && a_progress.epochs == b_progress.epochs
            && a_progress.cluster == b_progress.cluster;
        Ok(is_there && super::log::facts(a)? == super::log::facts(b)?)
    };
    same(&found, store).map_err(|error| Failure::unable(error.to_string()))
}

/// Puts the state in place of the lines that do not lead to it.
fn rebase(log: &mut ReplicaLog, store: &MemoryStore) -> Result<(), Box<dyn Error>> {
    let mut pieces = StatePieces::new(Arc::new(store.snapshot()?));
    let facts = pieces.facts();
    let mut rebase = log.rebase(facts.seq)?;
    while let Some(piece) = pieces.next_piece()? {
        rebase.push(piece.as_baseline())?;
    }
    Ok(rebase.finish(facts)?)
}
