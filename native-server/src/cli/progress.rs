//! How far a long command is, on a terminal's last line; nothing anywhere else.

use super::table::cut;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the line is written anew.
const EVERY: Duration = Duration::from_millis(200);

/// See the module. The line is taken away when this is dropped.
pub(super) struct Progress {
    is_terminal: bool,
    next: Instant,
    shown: bool,
}

impl Progress {
    /// On stderr, where that is a terminal.
    pub(super) fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), next: Instant::now() + EVERY, shown: false }
    }

    /// Brings the line up to date, if it is time to.
    pub(super) fn show(&mut self, text: impl FnOnce() -> String) {
        if self.is_terminal && Instant::now() >= self.next {
            self.next = Instant::now() + EVERY;
            self.shown = true;
            let text = text();
            write(&format!("\r{}\x1b[K", cut(&text, super::output::Output::width().saturating_sub(1))));
        }
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            write("\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn write(text: &str) {
    // Nothing depends on whether anybody sees it.
    drop(io::stderr().write_all(text.as_bytes()));
}
