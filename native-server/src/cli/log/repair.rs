//! `headwater log repair`: says what is wrong and what can be done, and does it when told.

use super::super::failure::{Failure, Kind};
use super::super::output::Output;
use super::content::{Content, empty_store, facts};
use super::verify::findings;
use super::{Place, helped, log_directory, no_log, refused};
use crate::clock::wall_ms;
use crate::remedy;
use crate::wal::error::damage_words;
use crate::wal::file::inspect::{Inspect, Inspected, Inspection};
use crate::wal::file::repair::{self, Known, Outlook, Plan, TakesContent};
use crate::wal::{BaselinePiece, ReplayRefused};
use clap::Args;
use headwater_core::api::rfc3339;
use headwater_core::store::Store;
use headwater_core::store::memory::MemoryStore;
use serde_json::json;
use std::path::Path;

pub(super) const HELP: &str = "\
Examples:
  headwater log repair ./headwater-data          what is wrong, what it would do, and what would be lost
  headwater log repair ./headwater-data --yes    does it

Before it cuts anything off: a replica that has the records can be promoted instead, and a backup with an archive restored. \
Once the mended writer starts, replicas drop what it has lost, too.";

/// `headwater log repair`.
#[derive(Debug, Args)]
pub(super) struct Repair {
    #[command(flatten)]
    pub(super) place: Place,
    /// Do it, rather than say what would be done
    #[arg(long)]
    yes: bool,
}

/// What the log holds, once it is mended.
struct State {
    position: String,
    keys: u64,
}

/// Takes the content of the mended log as a start would.
struct Replayed<'s> {
    store: &'s MemoryStore,
    content: Content<'s>,
    of_replica: bool,
    baseline: (u64, String),
}

impl TakesContent for Replayed<'_> {
    fn piece(&mut self, piece: BaselinePiece<'_>) -> Result<(), ReplayRefused> {
        self.content.piece(piece)
    }

    fn baseline_ends(&mut self) -> Result<(), ReplayRefused> {
        self.baseline = facts(self.store)?;
        Ok(())
    }

    fn frames(&mut self) -> Box<Inspect<'_>> {
        let (content, of_replica) = (&mut self.content, self.of_replica);
        Box::new(move |frame| match frame {
            Inspected::Record(record) => content.record(&record, true),
            Inspected::Progress { text, .. } if of_replica => content.progress(text),
            Inspected::Progress { .. } => Ok(()),
        })
    }
}

impl Repair {
    pub(super) fn run(&self, output: &mut Output) -> Result<(), Failure> {
        let directory = log_directory(&self.place.directory)?;
        if !repair::is_log(&directory).map_err(|error| refused(&error, &directory))? {
            return Err(no_log(&directory));
        }
        let unable = |error| refused(&error, &directory);
        let repair = repair::Repair::of(&directory).map_err(unable)?;
        let plan = match repair.outlook().map_err(unable)? {
            Outlook::Whole => return whole(&directory, output),
            Outlook::Hopeless { damages, tried } => return Err(hopeless(&damages, &tried, &directory, output)),
            Outlook::Mendable(plan) => plan,
        };
        let store = empty_store();
        let (state, known) = match replayed(&repair, &plan, &store) {
            Ok(replayed) => replayed,
            Err(error) => {
                let tried = format!("{}: {error}", plan.steps.join("; "));
                return Err(hopeless(&plan.damages, &[tried], &directory, output));
            }
        };
        let removed = free_name(&directory);
        if self.yes {
            repair.carry_out(&plan, &known, wall_ms(), &removed).map_err(|error| {
                refused(&error, &directory).next("The log is as damaged as it was, or mended: say it again")
            })?;
        }
        let copies = directory.join(&removed).display().to_string();
        let help = if plan.losses.is_empty() { Vec::new() } else { remedy::before_repair(&directory) };
        tell(&plan, &state, (&copies, &help), self.yes, output)?;
        if !self.yes {
            output.finish()?;
            let failure = Failure::new(Kind::Refused, "the log is damaged, and nothing was changed");
            return Err(failure.next(format!("headwater log repair {} --yes does the above", directory.display())));
        }
        drop(repair);
        // To look is better than to believe.
        let inspection = Inspection::of(&directory).map_err(unable)?.ok_or_else(|| no_log(&directory))?;
        let found = findings(&inspection)?;
        match found.damages.first() {
            None => Ok(()),
            Some(damage) => {
                let words = damage_words(&damage.file, damage.offset, &damage.detail);
                Err(Failure::new(Kind::Refused, format!("something is still wrong: {words}")))
            }
        }
    }
}

fn replayed(
    repair: &repair::Repair,
    plan: &Plan,
    store: &MemoryStore,
) -> Result<(State, Known), Box<dyn std::error::Error>> {
    let of_replica = plan.is_of_replica();
    let content = Content::new(store, of_replica);
    let mut replayed = Replayed { store, content, of_replica, baseline: (0, String::new()) };
    repair.replay(plan, &mut replayed)?;
    let progress = store.progress();
    let known = Known {
        cluster: progress.cluster,
        epochs: (*progress.epochs).clone(),
        epoch_highest: progress.epoch_highest,
        takeover: progress.takeover.max(progress.takeover_highest),
        baseline: replayed.baseline,
    };
    Ok((State { position: store.position().to_string(), keys: facts(store)?.0 }, known))
}

/// Nothing is to be done to the files.
fn whole(directory: &Path, output: &mut Output) -> Result<(), Failure> {
    if !output.human {
        return output.line(json!({"ok": true, "done": false, "damages": []}).to_string());
    }
    output.line("nothing to repair: every file is as it was written")?;
    output.line(format!("headwater log verify {} checks what the records mean, too", directory.display()))
}

fn hopeless(damages: &[String], tried: &[String], directory: &Path, output: &mut Output) -> Failure {
    let help = remedy::before_repair(directory);
    let told = if output.human {
        let damages = damages.iter().map(|damage| format!("{} {damage}", output.paint.bad("damaged")));
        let tried = tried.iter().map(|words| format!("tried   {words}"));
        let lines: Vec<_> = damages.chain(tried).collect();
        lines.iter().try_for_each(|line| output.line(line))
    } else {
        output.line(json!({"ok": false, "done": false, "damages": damages, "tried": tried, "help": help}).to_string())
    };
    match told.and_then(|()| output.finish()) {
        Err(failure) => failure,
        Ok(()) => {
            let failure = Failure::new(Kind::Refused, "the log is damaged and cannot be mended; nothing was changed");
            helped(failure, help)
        }
    }
}

fn tell(
    plan: &Plan,
    state: &State,
    (copies, help): (&str, &[String]),
    is_done: bool,
    output: &mut Output,
) -> Result<(), Failure> {
    let Plan { damages, steps, losses, cautions, removed, .. } = plan;
    if !output.human {
        let text = json!({
            "ok": is_done, "done": is_done, "damages": damages, "steps": steps, "losses": losses, "cautions": cautions, "copied": removed,
            "copiedTo": is_done.then_some(copies), "position": state.position, "keys": state.keys,
            "help": help,
        });
        return output.line(text.to_string());
    }
    for damage in damages {
        output.line(format!("{} {damage}", output.paint.bad("damaged")))?;
    }
    for step in steps {
        output.line(format!("{}  {step}", if is_done { "done  " } else { "would " }))?;
    }
    for loss in losses {
        output.line(format!("{}    {loss}", output.paint.bad("lost")))?;
    }
    if losses.is_empty() {
        let nothing =
            if plan.is_of_replica() { "nothing that its parent does not have" } else { "nothing of the state" };
        output.line(format!("{}    {nothing}", output.paint.good("lost")))?;
    }
    for line in help {
        output.line(format!("{}    {line}", output.paint.yellow("help")))?;
    }
    for caution in cautions {
        output.line(format!("{}    {caution}", output.paint.yellow("note")))?;
    }
    let copied = match (is_done, removed.len()) {
        (true, 1) => "was copied",
        (true, _) => "were copied",
        (false, 1) => "is copied first",
        (false, _) => "are copied first",
    };
    output.line(format!("copies  {} {copied} to {copies}", removed.join(", ")))?;
    if is_done {
        output.line("        delete them once you are sure that nothing of them is needed")?;
    }
    output.line(format!("state   {} entries at {}; the next start opens a new epoch", state.keys, state.position))
}

/// A name for the directory of what is removed that nothing has yet.
fn free_name(directory: &Path) -> String {
    let name = format!("removed-{}", rfc3339(wall_ms()).replace([':', '.'], "-"));
    let mut free = name.clone();
    for number in 2.. {
        if !directory.join(&free).exists() {
            break;
        }
        free = format!("{name}-{number}");
    }
    free
}
