//! `headwater import`: makes a node hold what a file says, and shows first what that would change.

mod apply;
mod diff;
mod file;

use super::client::Client;
use super::connection::Connection;
use super::export::Format;
use super::failure::{Failure, Kind};
use super::output::{Output, json_string};
use super::paint::visible;
use super::progress::Progress;
use super::state;
use super::table::Table;
use apply::Applied;
use clap::Args;
use diff::{Change, CollectionDiff};
use headwater_core::store::Snapshot;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

pub(super) const HELP: &str = "\
Examples:
  headwater import some.ndjson --dry-run          what it would change
  headwater import some.ndjson
  headwater import flags.json --prune             keys that are not in the file go
  zstd -dc all.ndjson.zst | headwater import -

The file is what headwater export writes, or is like it: of each line, the collection, key and value count. All of it is \
checked before anything is sent. A key that changes while it runs is left alone and reported, unless --force is given.

JSON: with --dry-run {\"collection\",\"key\",\"change\"} a line, and at the end always {\"dryRun\",\"position\",\
\"collections\":{\"flags\":{\"added\",\"changed\",\"removed\",\"kept\",\"unchanged\"}},\"written\",\"conflicts\"}";

/// Conflicts that are named one by one.
const CONFLICTS_SHOWN: usize = 20;

/// `headwater import`.
#[derive(Debug, Args)]
pub struct Import {
    /// The file; - is stdin
    file: String,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove keys that the file does not have from the collections it has
    #[arg(long)]
    prune: bool,
    /// Write over what others changed meanwhile
    #[arg(long)]
    force: bool,
    /// How the file is written; it tells by itself
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    pub(super) connection: Connection,
}

impl Import {
    pub(super) async fn run(&self, client: Client, output: &mut Output) -> Result<(), Failure> {
        let bytes = self.read()?;
        let wish = file::read(&bytes, self.format.map(|format| format == Format::Ndjson))?;
        if let Some((name, said, found)) = wish.miscounted.as_ref().filter(|_| self.prune) {
            let message = format!(
                "the first line says that {name} has {said} entries, and there are {found}; nothing was written"
            );
            return Err(Failure::usage(message)
                .next("A file that was cut short would remove what is missing from it.")
                .next("If it was edited on purpose, take \"keys\" out of its first line."));
        }
        if wish.collections.is_empty() {
            return Err(Failure::usage("the file names no collection; nothing was written"));
        }
        let scope = state::scope_of(wish.collections.keys().map(|name| &**name).collect::<Vec<_>>().into_iter());
        let mut progress = Progress::new();
        let held = state::take(&client, scope, "headwater import", &mut progress).await?;
        progress.clear();
        let diffs = diff::diff(wish.collections, &held, self.prune)?;
        let position = held.progress().position.to_string();
        drop(held);

        let mut applied = Applied::default();
        let outcome = if self.dry_run {
            show(&diffs, output)
        } else {
            let outcome = apply::apply(Arc::new(client), &diffs, self.force, &mut applied, &mut progress).await;
            progress.clear();
            outcome
        };
        self.sum(&diffs, &applied, &position, output)?;
        output.finish()?;
        outcome.map_err(|failure| {
            let written = applied.written();
            failure.next(format!("{written} entries were written before; the same command again goes on from there."))
        })?;
        conflicts(&applied)
    }

    fn read(&self) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let read = if self.file == "-" {
            io::stdin().lock().read_to_end(&mut bytes).map(|_| ())
        } else {
            std::fs::read(Path::new(&self.file)).map(|read| bytes = read)
        };
        read.map_err(|error| Failure::usage(format!("cannot read {}: {error}", self.file)))?;
        Ok(bytes)
    }

    /// Counts of each collection.
    fn sum(
        &self,
        diffs: &[CollectionDiff<'_>],
        applied: &Applied,
        position: &str,
        output: &mut Output,
    ) -> Result<(), Failure> {
        const CHANGES: [Change; 5] = [Change::Added, Change::Changed, Change::Removed, Change::Kept, Change::Unchanged];
        if !output.human {
            let collections = diffs.iter().map(|diff| {
                let counts = CHANGES.map(|change| format!("\"{}\":{}", change.word(), diff.count(change)));
                format!("{}:{{{}}}", json_string(&diff.name), counts.join(","))
            });
            let collections = collections.collect::<Vec<_>>().join(",");
            let conflicts = applied.conflicts.iter().map(|(collection, key)| {
                format!("{{\"collection\":{},\"key\":{}}}", json_string(collection), json_string(key))
            });
            let conflicts = conflicts.collect::<Vec<_>>().join(",");
            return output.line(format!(
                "{{\"dryRun\":{},\"position\":\"{position}\",\"collections\":{{{collections}}},\"written\":{},\"conflicts\":[{conflicts}]}}",
                self.dry_run,
                applied.written()
            ));
        }
        let titles = &["COLLECTION", "ADDED", "CHANGED", "REMOVED", "KEPT", "UNCHANGED", ""];
        let mut table = Table::new(titles, &[1, 2, 3, 4, 5], output.paint, Output::width());
        for diff in diffs {
            let [added, changed, removed, kept, unchanged] = CHANGES.map(|change| diff.count(change).to_string());
            let new = if diff.is_new { "new" } else { "" };
            table.row([&diff.name, &added, &changed, &removed, &kept, &unchanged, new], output.writer())?;
        }
        table.finish(output.writer())?;
        if self.dry_run {
            return output.line(format!("as of {position}; nothing was written"));
        }
        let Applied { added, changed, removed, .. } = applied;
        output.line(format!("written: {added} added, {changed} changed, {removed} removed"))
    }
}

/// Every key and what becomes of it.
fn show(diffs: &[CollectionDiff<'_>], output: &mut Output) -> Result<(), Failure> {
    if !output.human {
        for diff in diffs {
            for row in &diff.rows {
                let (name, key) = (json_string(&diff.name), json_string(&row.key));
                let change = row.change.word();
                output.line(format!("{{\"collection\":{name},\"key\":{key},\"change\":\"{change}\"}}"))?;
            }
        }
        return Ok(());
    }
    let titles = &["CHANGE", "COLLECTION", "KEY", "NOW", "IN THE FILE"];
    let mut table = Table::new(titles, &[], output.paint, Output::width());
    for diff in diffs {
        for row in &diff.rows {
            let [held, wanted] = [row.held.as_deref(), row.wanted.as_deref()].map(Option::unwrap_or_default);
            let held = super::table::cut(held, 30);
            table.row([row.change.word(), &diff.name, &row.key, &held, wanted], output.writer())?;
        }
    }
    table.finish(output.writer())?;
    output.line("")
}

/// # Errors
/// When there are any.
fn conflicts(applied: &Applied) -> Result<(), Failure> {
    if applied.conflicts.is_empty() {
        return Ok(());
    }
    let count = applied.conflicts.len();
    let message = format!("{count} keys were changed by somebody else meanwhile, and left alone");
    let failure = Failure { code: Some("precondition_failed".into()), ..Failure::new(Kind::Refused, message) };
    let named = applied.conflicts.iter().take(CONFLICTS_SHOWN);
    let failure = named.fold(failure, |failure, (collection, key)| {
        failure.next(format!("{collection} {}", visible(&super::value::shell_quoted(key))))
    });
    let failure = if count > CONFLICTS_SHOWN { failure.next("and others") } else { failure };
    Err(failure.next("See what they are now with --dry-run; --force writes over them."))
}
