//! `headwater log cat --past-damage`: what a start would read, and behind it whatever is still whole, marked, so that a
//! person can save it by hand.

use super::super::failure::{Failure, Kind};
use super::super::output::Output;
use super::super::table::Table;
use super::cat::{Cat, as_json};
use super::verify::{counted, damage};
use super::{Looking, helped};
use crate::remedy;
use crate::wal::error::damage_words;
use crate::wal::file::inspect::Inspected;
use crate::wal::{OpenError, Record, ReplayRefused};
use serde_json::json;

/// What is shown, and how far it is.
struct Showing<'a> {
    cat: &'a Cat,
    table: &'a mut Table,
    output: &'a mut Output,
    /// The newest record met: a segment that is looked through again shows only what lies behind.
    newest: u64,
    /// Places that were met where the log is damaged.
    damages: u64,
    /// Why nothing more can be shown.
    failure: Option<Failure>,
}

/// Shows each segment as far as a start would read it, then what is whole behind the place that is damaged.
///
/// # Errors
/// When the log is damaged, after everything was shown.
pub(super) fn show(cat: &Cat, looking: &Looking, table: &mut Table, output: &mut Output) -> Result<(), Failure> {
    let inspection = &looking.inspection;
    let mut showing = Showing { cat, table, output, newest: 0, damages: 0, failure: None };
    let mut reading = inspection.read();
    while let Some(read) = reading.next(&mut |frame| showing.frame(frame)) {
        let Err(error) = read.outcome else { continue };
        showing.damage(error, &read.name)?;
        let name = &read.name;
        match inspection.survey(read.place, &mut |frame| showing.frame(frame)) {
            Ok(_) => {}
            Err(OpenError::Damaged { .. }) => eprintln!("note: nothing of {name} can be read"),
            Err(error) => showing.damage(error, name)?,
        }
    }
    if showing.damages == 0 {
        return Ok(());
    }
    let places = counted(showing.damages, "place");
    let failure = Failure::new(Kind::Refused, format!("the log is damaged in {places} or more"));
    Err(helped(failure, remedy::lines(&looking.directory)))
}

impl Showing<'_> {
    fn frame(&mut self, frame: Inspected<'_>) -> Result<(), ReplayRefused> {
        let Inspected::Record(Record { seq, line, meta, .. }) = frame else { return Ok(()) };
        if seq <= self.newest {
            return Ok(());
        }
        self.newest = seq;
        if !(self.cat.from..=self.cat.to).contains(&seq) {
            return Ok(());
        }
        let shown = if self.output.human {
            self.cat.rows(line, meta, self.table, self.output)
        } else {
            let (meta, line, past) = (as_json(meta), as_json(line), self.damages > 0);
            self.output.line(format!("{{\"seq\":{seq},\"meta\":{meta},\"line\":{line},\"pastDamage\":{past}}}"))
        };
        shown.map_err(|failure| {
            self.failure = Some(failure);
            "the output is closed".into()
        })
    }

    /// Marks the place where the log is damaged.
    fn damage(&mut self, error: OpenError, name: &str) -> Result<(), Failure> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.damages += 1;
        let found = damage(error, name)?;
        if !self.output.human {
            let (file, offset, detail) = (found.file, found.offset, found.detail);
            return self.output.line(json!({"damage": {"file": file, "offset": offset, "detail": detail}}).to_string());
        }
        let words = damage_words(&found.file, found.offset, &found.detail);
        let words = format!("{words}; what follows is whole, and no start reads it");
        let out = self.output.writer();
        let written = if self.cat.meta {
            self.table.row(["", "", "DAMAGE", "", "", &words, ""], out)
        } else {
            self.table.row(["", "", "DAMAGE", "", "", &words], out)
        };
        Ok(written?)
    }
}
