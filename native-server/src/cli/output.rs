//! Where a command writes its result, and for whom.

use super::failure::Failure;
use super::paint::Paint;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

/// Columns assumed where the terminal does not say.
const WIDTH_DEFAULT: usize = 100;

/// Stdout, and what is known of its reader.
pub(super) struct Output {
    /// Whether to write for people; JSON otherwise.
    pub(super) human: bool,
    /// Whether stdout is a terminal.
    pub(super) is_terminal: bool,
    pub(super) paint: Paint,
    out: BufWriter<Stdout>,
}

impl Output {
    /// For people on a terminal, unless JSON was asked for.
    pub(super) fn new(json: bool) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let paint = Paint::of(is_terminal);
        Self { human: is_terminal && !json, is_terminal, paint, out: BufWriter::new(io::stdout()) }
    }

    /// Columns of the terminal; where it does not say, of `COLUMNS`.
    pub(super) fn width() -> usize {
        let told = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        let set = || std::env::var("COLUMNS").ok()?.parse().ok().filter(|columns| *columns > 0);
        told.or_else(set).unwrap_or(WIDTH_DEFAULT)
    }

    /// Writes one line.
    pub(super) fn line(&mut self, text: impl AsRef<[u8]>) -> Result<(), Failure> {
        self.out.write_all(text.as_ref())?;
        Ok(self.out.write_all(b"\n")?)
    }

    /// Hands everything written on, which is when a reader that has gone is noticed.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }

    /// For tables.
    pub(super) fn writer(&mut self) -> &mut impl Write {
        &mut self.out
    }
}

/// The API's JSON object `body` with more fields behind its own.
pub(super) fn with_fields(body: &str, fields: &[(&str, Option<String>)]) -> String {
    let body = body.trim_end();
    let Some(open) = body.strip_suffix('}') else { return body.into() };
    let mut text = String::from(open);
    for (name, raw) in fields {
        if let Some(raw) = raw {
            text.push_str(if text.ends_with('{') { "" } else { "," });
            text.push_str(&format!("\"{name}\":{raw}"));
        }
    }
    text.push('}');
    text
}

/// A text as JSON.
pub(super) fn json_string(text: &str) -> String {
    let mut out = Vec::new();
    headwater_core::json::write_string(&mut out, text);
    String::from_utf8(out).expect("the JSON writer emits UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_follow_the_answer_s_own() {
        assert_eq!(with_fields("{\"a\":1}", &[("b", Some("2".into())), ("c", None)]), "{\"a\":1,\"b\":2}");
        assert_eq!(with_fields("{}", &[("b", Some("2".into()))]), "{\"b\":2}");
    }
}
