//! Where changes and what became of the connection are shown: changes on stdout, the rest on stderr, and on a terminal
//! a last line that says how things stand.

use super::super::failure::Failure;
use super::super::output::{Output, json_string};
use super::super::paint::{Paint, visible};
use super::super::table::cut;
use super::difference::Change;
use super::rows::Rows;
use headwater_core::command::{Line, Trust, decode, lines};
use headwater_core::position::Position;
use headwater_core::store::Collection;
use std::io::{self, IsTerminal, Write};

/// See the module.
pub(super) struct Screen<'o> {
    output: &'o mut Output,
    /// For people; `None` writes JSON.
    rows: Option<Rows>,
    /// Whether there is a last line; it is on stderr, so only where both are terminals.
    has_status: bool,
    status_shown: bool,
    paint: Paint,
    scratch: Vec<u8>,
}

impl<'o> Screen<'o> {
    /// A screen for one collection, or for several.
    pub(super) fn new(output: &'o mut Output, with_collection: bool) -> Self {
        let rows = output.human.then(|| Rows::new(output.paint, with_collection));
        let stderr_is_terminal = io::stderr().is_terminal();
        let has_status = output.is_terminal && stderr_is_terminal;
        let paint = Paint::of(stderr_is_terminal);
        Self { output, rows, has_status, status_shown: false, paint, scratch: Vec::new() }
    }

    /// Whether the last line wants to be kept up to date.
    pub(super) fn has_status(&self) -> bool {
        self.has_status
    }

    /// Shows lines of the log, whole ones.
    pub(super) fn log(&mut self, block: &[u8]) -> Result<(), Failure> {
        self.clear_status();
        let Some(rows) = &mut self.rows else {
            self.output.writer().write_all(block)?;
            return Ok(());
        };
        for (_, line) in lines(block) {
            // The replica has decoded and applied it, so it can be read.
            if let Ok(Line::Log(command)) = decode(line, Trust::Checked) {
                rows.of_command(&command).iter().try_for_each(|row| self.output.line(row))?;
            }
        }
        Ok(())
    }

    /// Announces differences that [`Screen::change`] shows: the state was replaced as a whole.
    pub(super) fn rebased(
        &mut self,
        position: Position,
        before: Position,
        reason: &str,
        collections: &[Collection],
    ) -> Result<(), Failure> {
        if self.rows.is_some() {
            return Ok(());
        }
        let names: Vec<_> = collections.iter().map(|facts| json_string(&facts.name)).collect();
        let before = if before == Position::START { "null".into() } else { format!("\"{before}\"") };
        self.output.line(format!(
            "{{\"type\":\"REBASED\",\"position\":\"{position}\",\"before\":{before},\"reason\":\"{reason}\",\"collections\":[{}]}}",
            names.join(",")
        ))
    }

    /// Shows one difference.
    pub(super) fn change(&mut self, change: &Change<'_>) -> Result<(), Failure> {
        self.clear_status();
        if let Some(rows) = &mut self.rows {
            return self.output.line(rows.of_change(change));
        }
        match *change {
            // Which collections there are has been said.
            Change::Created(_) | Change::Dropped(_) => Ok(()),
            Change::Put(name, record) => {
                self.scratch.clear();
                record.write_line(name, &mut self.scratch);
                self.output.line(self.scratch.trim_ascii_end())
            }
            Change::Gone(name, key) => {
                let (name, key) = (json_string(name), json_string(key));
                self.output.line(format!("{{\"type\":\"GONE\",\"collection\":{name},\"key\":{key}}}"))
            }
        }
    }

    /// Says what became of the connection.
    pub(super) fn notice(&mut self, text: &str) {
        self.clear_status();
        // Nobody is left to tell when stderr is gone, and the changes still go where they should.
        drop(writeln!(io::stderr(), "{}", self.paint.dim(&visible(text))));
    }

    /// Hands on everything shown, and says how things stand.
    pub(super) fn flush(&mut self, status: impl FnOnce() -> String) -> Result<(), Failure> {
        self.output.finish()?;
        if self.has_status {
            let text = status();
            let text = cut(&text, Output::width().saturating_sub(1));
            drop(write!(io::stderr(), "\r\x1b[2K{}", self.paint.dim(&text)));
            self.status_shown = true;
        }
        Ok(())
    }

    /// Takes the last line away.
    pub(super) fn clear_status(&mut self) {
        if std::mem::take(&mut self.status_shown) {
            drop(write!(io::stderr(), "\r\x1b[2K"));
        }
    }
}
