//! `headwater promote`: makes the directory of a replica that holds everything the directory of a writer.

use super::failure::{Failure, Kind};
use super::log::{Content, as_writer, empty_store, log_directory, no_log, refused, replayed};
use super::noting::{Noting, Usual};
use super::output::Output;
use crate::audit::Event;
use crate::clock::wall_ms;
use crate::replica::open_disk;
use crate::settings::audit_directory;
use crate::stored::StatePieces;
use crate::wal::file::inspect::{self, Inspection};
use crate::wal::file::promote::Promotion;
use crate::wal::file::{FileOptions, ReplicaLog};
use crate::wal::manifest::Backend;
use crate::wal::opening::next_takeover;
use clap::Args;
use headwater_core::command::unknown_feature;
use headwater_core::position::Term;
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
lost to everybody who follows the new one. Nodes that have met the new one refuse it, whenever it is started again. Of several replicas take the one whose position (headwater status) is the \
highest: what it does not have is lost. Children need the new writer's address in their --parent list; those that are \
where the new writer is, or behind, go on from there, and those that are ahead get a baseline and say so \
(not_on_history).

A replica's config file or unit names its parent, and cannot have what is for a writer alone: take `parent` out, and put in \
`protect` and `archive` if the old writer had them.

What was done is noted in the audit log that the replica has in its directory, or in the one that --audit names.

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
    /// Take over above this number too: where a wrong clock once made one too high (stale_parent names it)
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    takeover_above: u64,
    #[command(flatten)]
    noting: Noting,
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
        let known = progress.takeover.max(progress.takeover_highest).max(self.takeover_above);
        let exhausted = || Failure::new(Kind::Refused, format!("there is no takeover above {known}"));
        let takeover = next_takeover(known, wall_ms()).ok_or_else(exhausted)?;
        let epochs = (*progress.epochs).clone();
        log.promote(Promotion { cluster, epoch, takeover, epochs }).map_err(unable)?;
        let data = &self.directory;
        let usual = if directory == *data { Usual::Unknown } else { Usual::Found(audit_directory(data)) };
        let promoted = Event::Promoted { position: progress.position, takeover };
        let noted = self.noting.note(usual, "headwater promote", promoted);
        self.tell(&progress, Term { takeover, epoch }, keeps_lines, output)?;
        noted.tell(output)
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

    fn tell(&self, progress: &Progress, above: Term, keeps_lines: bool, output: &mut Output) -> Result<(), Failure> {
        let Term { takeover, epoch } = above;
        let position = progress.position;
        if !output.human {
            let cluster = progress.cluster.map(|cluster| cluster.to_string());
            let position = position.to_string();
            let told = json!({"ok": true, "position": position, "cluster": cluster, "epochAbove": epoch, "takeover": takeover, "keptLines": keeps_lines});
            return output.line(told.to_string());
        }
        let directory = self.directory.display();
        output.line(format!("{directory} is a writer's now, at {position}; its first epoch will be above {epoch}"))?;
        if !keeps_lines {
            output.line("its lines do not lead to its state and were left out: every child gets a baseline")?;
        }
        output.line(
            "take `parent` out of its config file and of its unit, and put in what only a writer has: protect, archive",
        )?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::file::FileWal;
    use crate::wal::file::replica::ReplicaFrame;
    use crate::wal::{BaselinePiece, OpenOptions, Opened, Replayed, Wal};
    use headwater_core::id::Id;
    use headwater_core::position::{EpochStart, EpochTable, Position};

    const CREATE: &str = r#"{"type":"CREATE","collection":"c","seq":6,"timestamp":1}"#;

    fn progress(seq: u64) -> Progress {
        Progress {
            position: Position { epoch: 10, seq },
            complete: true,
            cluster: Some(Id::from_bytes([5; 16])),
            epochs: Arc::new(EpochTable::new(vec![EpochStart { epoch: 10, first: 1 }]).unwrap()),
            takeover_highest: 1 << 50,
            epoch_highest: 30,
            ..Progress::new(Scope::Everything)
        }
    }

    /// A replica's disk with an empty state as of seq 5, then these lines, then a position at `seq`.
    fn disk(directory: &Path, lines: &[(u64, &str)], seq: u64) {
        let store = MemoryStore::new(progress(5), MemoryOptions::threaded(1));
        let mut log = ReplicaLog::open(directory, FileOptions::default(), "r", &mut |_| Ok(())).unwrap().log;
        rebase(&mut log, &store).unwrap();
        let lines: Vec<_> = lines.iter().map(|(seq, line)| (*seq, format!("{line}\n"))).collect();
        let text = progress(seq).to_json();
        let mut frames: Vec<_> =
            lines.iter().map(|(seq, line)| ReplicaFrame::Line { seq: *seq, line: line.as_bytes() }).collect();
        frames.push(ReplicaFrame::Progress { seq, text: text.as_bytes() });
        log.append(&frames).unwrap();
        log.close().unwrap();
    }

    /// Promotes it and opens it as a writer; the records beside what was stored as a whole.
    fn promoted(directory: &Path) -> (Opened, usize) {
        let (directory_given, noting) = (directory.into(), Noting::default());
        let promote =
            Promote { directory: directory_given, old_writer_stopped: true, takeover_above: 0, noting, json: true };
        promote.run(&mut Output::new(true)).unwrap_or_else(|failure| panic!("{failure:?}"));
        let mut records = 0;
        let mut wal = FileWal::new(directory, FileOptions::default());
        let mut replay = |found: Replayed<'_>| {
            records += usize::from(matches!(found, Replayed::Record(_)));
            if let Replayed::Baseline(BaselinePiece::Progress(text)) = found {
                assert!(Progress::from_json(std::str::from_utf8(text)?).is_ok());
            }
            Ok(())
        };
        let options = OpenOptions { now_ms: 20, ..OpenOptions::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let opened = runtime.block_on(wal.open(&options, &mut replay)).unwrap();
        (opened, records)
    }

    #[test]
    fn lines_that_lead_to_the_state_stay() {
        let directory = tempfile::tempdir().unwrap();
        disk(directory.path(), &[(6, CREATE)], 6);
        let (opened, records) = promoted(directory.path());
        assert_eq!((opened.last, records), (Some(Position { epoch: 10, seq: 6 }), 1));
        assert!(opened.epoch > 30, "above what it has only heard of: {}", opened.epoch);
        assert_eq!(opened.takeover, (1 << 50) + 1, "above what it has only heard of");
        assert_eq!(opened.reader.floor(), 6);
    }

    #[test]
    fn a_position_beyond_the_last_line_and_a_hole_between_lines_are_stored_as_a_whole() {
        let later = r#"{"type":"CREATE","collection":"d","seq":8,"timestamp":1}"#;
        for (lines, seq) in [(&[(6, CREATE)][..], 9), (&[(6, CREATE), (8, later)], 8), (&[], 7)] {
            let directory = tempfile::tempdir().unwrap();
            disk(directory.path(), lines, seq);
            let (opened, records) = promoted(directory.path());
            assert_eq!((opened.last, records), (Some(Position { epoch: 10, seq }), 0), "{lines:?}");
            assert_eq!(opened.next_seq(), seq + 1, "no seq is given twice");
            assert_eq!(opened.reader.floor(), seq + 1, "nobody is given lines that do not lead on");
        }
    }

    #[test]
    fn refuses_a_state_that_waits_for_a_baseline() {
        let refused = |progress: Progress| may_write(&progress).map_err(|failure| failure.message).unwrap_err();
        assert_eq!(may_write(&progress(5)).map_err(|failure| failure.message), Ok(()));
        assert!(refused(Progress { baseline_due: true, ..progress(5) }).contains("waits for a baseline"));
        assert!(refused(Progress { complete: false, ..progress(5) }).contains("incomplete"));
        assert!(refused(Progress { scope: Scope::Public, ..progress(5) }).contains("\"*\""));
        assert!(refused(Progress { cluster: None, ..progress(5) }).contains("which log"));
        assert!(refused(Progress { requires: [String::from("new")].into(), ..progress(5) }).contains("\"new\""));
    }
}
