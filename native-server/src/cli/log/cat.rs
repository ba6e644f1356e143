//! `headwater log cat`: the records as they are.

use super::super::failure::Failure;
use super::super::output::Output;
use super::super::table::Table;
use super::{Looking, Place, past_damage, refused};
use crate::wal::file::inspect::Inspected;
use crate::wal::manifest::Backend;
use crate::wal::{BaselinePiece, OpenError, Record, ReplayRefused};
use crate::whole::whole;
use clap::Args;
use headwater_core::api::rfc3339;
use headwater_core::command::{Action, Line, Trust, decode, lines};
use headwater_core::limits::INTEGER_MAX;
use serde_json::value::RawValue;

/// How often a log is taken up again that a node changes meanwhile.
const ATTEMPTS: usize = 5;

/// `headwater log cat`.
#[derive(Debug, Args)]
pub(super) struct Cat {
    #[command(flatten)]
    pub(super) place: Place,
    /// Only records from this seq on
    #[arg(long, value_name = "SEQ", value_parser = whole::<u64>("seq", 0..=INTEGER_MAX), default_value_t = 0, hide_default_value = true)]
    pub(super) from: u64,
    /// Only records up to this seq
    #[arg(long, value_name = "SEQ", value_parser = whole::<u64>("seq", 0..=INTEGER_MAX), default_value_t = INTEGER_MAX, hide_default_value = true)]
    pub(super) to: u64,
    /// What is stored beside each line too
    #[arg(long)]
    pub(super) meta: bool,
    /// The stored baseline instead of the records
    #[arg(long, conflicts_with_all = ["from", "to", "past_damage"])]
    baseline: bool,
    /// Go on behind damage: whole records there are shown too, marked as such, though no start would read them. Into a
    /// pipe as {"seq","meta","line","pastDamage":true}, and each damage as {"damage":{"file","offset","detail"}}
    #[arg(long)]
    past_damage: bool,
}

pub(super) const HELP: &str = "\
Examples:
  headwater log cat ./headwater-data --from 812
  headwater log cat ./headwater-data --baseline
  headwater log cat ./headwater-data --past-damage --from 26 > saved.ndjson

A record behind damage is whole by its own checksum; whether one is missing before it only the seqs tell.";

/// Why reading ends before the log does: what was wanted has been shown, or nobody reads any more.
#[derive(Debug)]
enum Stop {
    Enough,
    Output(Failure),
}

impl Cat {
    pub(super) fn run(&self, output: &mut Output) -> Result<(), Failure> {
        let mut looking = Looking::at(&self.place)?;
        looking.say_holder();
        if self.baseline && looking.inspection.baseline().is_none() {
            eprintln!("note: no baseline is stored yet");
        }
        let paint = output.paint;
        let titles: &[&str] = if self.meta { &TITLES } else { &TITLES[..6] };
        let mut table = Table::new(titles, &[0], paint, Output::width());
        let shown = if self.baseline {
            self.show_baseline(&looking, &mut table, output)
        } else if self.past_damage {
            past_damage::show(self, &looking, &mut table, output)
        } else {
            self.show_records(&mut looking, &mut table, output)
        };
        table.finish(output.writer())?;
        // What went wrong is said below what was shown.
        output.finish()?;
        shown
    }

    fn show_baseline(&self, looking: &Looking, table: &mut Table, output: &mut Output) -> Result<(), Failure> {
        let mut stop = None;
        let read = looking.inspection.read_baseline(&mut |piece| {
            let shown = match piece {
                BaselinePiece::Lines(text) => {
                    lines(text).try_for_each(|(_, line)| self.show(None, line, b"", table, output))
                }
                BaselinePiece::Beside(text) | BaselinePiece::Progress(text) if self.meta && !output.human => text
                    .split(|&byte| byte == b'\n')
                    .filter(|line| !line.is_empty())
                    .try_for_each(|line| output.line(line)),
                BaselinePiece::Beside(_) | BaselinePiece::Progress(_) => Ok(()),
            };
            shown.map_err(|failure| stopping(&mut stop, Stop::Output(failure)))
        });
        finished(stop, read, looking)
    }

    fn show_records(&self, looking: &mut Looking, table: &mut Table, output: &mut Output) -> Result<(), Failure> {
        let mut from = self.from;
        for attempt in 1.. {
            let shown = self.show_from(&mut from, looking, table, output);
            match shown {
                Err(_) if attempt < ATTEMPTS && looking.may_be_moving() => looking.again()?,
                Ok(newest) if from == self.from && newest < from => {
                    eprintln!("note: the newest record is {newest}");
                    return Ok(());
                }
                shown => return shown.map(drop),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Shows the records from `from` on, and moves it behind each that was.
    /// Returns the seq of the newest record that was met.
    fn show_from(
        &self,
        from: &mut u64,
        looking: &Looking,
        table: &mut Table,
        output: &mut Output,
    ) -> Result<u64, Failure> {
        let (mut stop, mut newest) = (None, 0);
        let of_replica = looking.inspection.manifest().backend == Backend::Replica;
        let mut reading = looking.inspection.read();
        loop {
            let read = reading.next(&mut |frame| {
                if let Inspected::Record(record) = frame {
                    newest = record.seq;
                }
                let shown = match frame {
                    Inspected::Record(record) if record.seq > self.to => Err(Stop::Enough),
                    Inspected::Record(record) if record.seq < *from => Ok(()),
                    Inspected::Record(Record { seq, line, meta, .. }) => {
                        // A replica's lines have holes by nature.
                        if *from > self.from && seq > *from && !of_replica {
                            eprintln!("note: the records {from} to {} were let go of while this was read", seq - 1);
                        }
                        *from = seq + 1;
                        self.show(Some(seq), line, meta, table, output).map_err(Stop::Output)
                    }
                    Inspected::Progress { .. } => Ok(()),
                };
                shown.map_err(|why| stopping(&mut stop, why))
            });
            let Some(read) = read else { return Ok(newest) };
            match read.outcome {
                Ok(_) => {}
                Err(error) => return finished(stop, Err(error), looking).map(|()| newest),
            }
        }
    }

    fn show(
        &self,
        seq: Option<u64>,
        line: &[u8],
        meta: &[u8],
        table: &mut Table,
        output: &mut Output,
    ) -> Result<(), Failure> {
        if output.human {
            return self.rows(line, meta, table, output);
        }
        match seq.filter(|_| self.meta) {
            None => output.line(line),
            Some(seq) => {
                output.line(format!("{{\"seq\":{seq},\"meta\":{},\"line\":{}}}", as_json(meta), as_json(line)))
            }
        }
    }

    /// The rows of a line: one, or for a batch one for each of its operations.
    pub(super) fn rows(&self, line: &[u8], meta: &[u8], table: &mut Table, output: &mut Output) -> Result<(), Failure> {
        let meta = String::from_utf8_lossy(meta).into_owned();
        let mut row = |cells: [&str; 6]| -> Result<(), Failure> {
            let [seq, time, kind, collection, key, value] = cells;
            if self.meta {
                Ok(table.row([seq, time, kind, collection, key, value, &meta], output.writer())?)
            } else {
                Ok(table.row(cells, output.writer())?)
            }
        };
        let text = String::from_utf8_lossy(line);
        let command = match decode(line, Trust::Checked) {
            Ok(Line::Log(command) | Line::Entry(command)) => command,
            // A line that steers, or one that nobody can read: as it is.
            _ => return row(["", "", "", "", "", &text]),
        };
        let (seq, time) = (command.seq.to_string(), second(command.timestamp));
        let name = command.collection.as_deref().unwrap_or_default();
        match &command.action {
            Action::Set { key, value, .. } => row([&seq, &time, "SET", name, key, value]),
            Action::Delete { key, .. } => row([&seq, &time, "DELETE", name, key, ""]),
            Action::Create => row([&seq, &time, "CREATE", name, "", ""]),
            Action::Drop => row([&seq, &time, "DROP", name, "", ""]),
            Action::Epoch { epoch, node, .. } => {
                row([&seq, &time, "EPOCH", "", "", &format!("epoch {epoch}, opened by {node}")])
            }
            Action::Unknown { name: kind, .. } => row([&seq, &time, kind, name, "", &text]),
            Action::Batch(ops) => ops.iter().try_for_each(|op| {
                let kind = if op.value.is_some() { "BATCH set" } else { "BATCH delete" };
                row([&seq, &time, kind, name, &op.key, op.value.unwrap_or_default()])
            }),
        }
    }
}

const TITLES: [&str; 7] = ["SEQ", "TIME (UTC)", "TYPE", "COLLECTION", "KEY", "VALUE", "META"];

/// A time to the second, in UTC: the line has the rest.
fn second(ms: u64) -> String {
    rfc3339(ms).replace('T', " ").chars().take(19).collect()
}

/// Notes why reading ends; what is returned only ends it.
fn stopping(noted: &mut Option<Stop>, why: Stop) -> ReplayRefused {
    *noted = Some(why);
    "enough was read".into()
}

fn finished(stop: Option<Stop>, read: Result<(), OpenError>, looking: &Looking) -> Result<(), Failure> {
    match (stop, read) {
        (Some(Stop::Enough), _) | (None, Ok(())) => Ok(()),
        (Some(Stop::Output(failure)), _) => Err(failure),
        (None, Err(error)) => Err(refused(&error, &looking.directory)),
    }
}

/// Bytes as they are if they are JSON, `null` for none, else a string of hex digits.
pub(super) fn as_json(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "null".into();
    }
    match serde_json::from_slice::<&RawValue>(bytes) {
        Ok(raw) => raw.get().into(),
        Err(_) => format!("\"{}\"", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_as_short_as_it_can_be_read() {
        assert_eq!(second(1_763_650_000_123), "2025-11-20 14:46:40");
    }

    #[test]
    fn meta_is_shown_as_json_or_as_hex() {
        assert_eq!(as_json(b"{\"by\":\"a\"}"), "{\"by\":\"a\"}");
        assert_eq!((as_json(b""), as_json(b"\x00\xff")), ("null".into(), "\"00ff\"".into()));
    }
}
