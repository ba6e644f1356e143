//! `headwater audit verify`: follows the chain, and tells what was changed from what was cut off.

use super::super::failure::{Failure, Kind};
use super::super::log::counted;
use super::super::output::Output;
use super::{Place, unreadable};
use crate::audit::{Findings, Following, Hash, Head};
use clap::Args;
use serde_json::json;

/// `headwater audit verify`.
#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    pub(super) place: Place,
    /// A line that must be there, as N:HASH: what verify or the node's status named as head at an earlier time
    #[arg(long, value_name = "N:HASH", value_parser = head)]
    head: Option<Head>,
}

pub(super) const HELP: &str = "\
Examples:
  headwater audit verify ./headwater-data
  headwater audit verify ./headwater-data --head 8121:9f86d0818...   must hold a line that was there before

Who can write to the files can write a whole chain anew, or leave its end out. Keep the head that this prints, or audit.head of \
the status, somewhere else from time to time, and give it to --head.";

fn head(text: &str) -> Result<Head, String> {
    let parts = text.split_once(':').and_then(|(n, hash)| Some(Head { n: n.parse().ok()?, hash: Hash::parse(hash)? }));
    parts.ok_or_else(|| "expected the number of a line and its hash, as in 8121:9f86d081... with 64 digits".into())
}

impl Verify {
    pub(super) fn run(&self, output: &mut Output) -> Result<(), Failure> {
        let directory = self.place.find()?;
        let mut anchored = None;
        let found = Following::new(&directory).all(|_, head| {
            if self.head.is_some_and(|wanted| wanted.n == head.n) {
                anchored = Some(head.hash);
            }
        });
        let found = found.map_err(|error| unreadable(&directory, &error))?;
        let wrong = found.broken.as_ref().map(|(place, why)| match place.line {
            0 => format!("{}: {why}", place.file),
            line => format!("{} line {line}: {why}", place.file),
        });
        let wrong = wrong.or_else(|| self.head.and_then(|wanted| missing(wanted, anchored, &found)));
        if output.human {
            words(&found, wrong.as_deref(), output)?;
        } else {
            output.line(as_json(&found, wrong.as_deref()))?;
        }
        let Some(wrong) = wrong else { return Ok(()) };
        output.finish()?;
        Err(Failure::new(Kind::Refused, format!("the audit log is not as it was written: {wrong}")))
    }
}

/// What is wrong with a line that must be there.
fn missing(wanted: Head, anchored: Option<Hash>, found: &Findings) -> Option<String> {
    let last = found.head.map_or(0, |head| head.n);
    match anchored {
        Some(hash) if hash == wanted.hash => None,
        Some(_) => Some(format!("line {} is another than it was: the chain was written anew", wanted.n)),
        None if wanted.n > last => {
            Some(format!("it ends at line {last}, and line {} was there: its end was cut off", wanted.n))
        }
        // It went with its file.
        None => None,
    }
}

fn words(found: &Findings, wrong: Option<&str>, output: &mut Output) -> Result<(), Failure> {
    if let Some(wrong) = wrong {
        output.line(format!("{} {wrong}", output.paint.bad("broken")))?;
    }
    for place in &found.mended {
        output.line(format!(
            "note   {} line {}: cut off by a crash, as the start after it noted",
            place.file, place.line
        ))?;
    }
    if let Some((place, bytes)) = &found.torn {
        let words =
            format!("{} line {}: {bytes} bytes of a line that was not written to its end", place.file, place.line);
        output.line(format!(
            "{} {words}; the node is writing it, or the next start notes it",
            output.paint.yellow("torn end")
        ))?;
    } else if wrong.is_none() && !found.is_stopped {
        output.line(
            "note   the last line is no orderly end: the node runs, or was killed, or lines behind it are missing",
        )?;
    }
    if found.gone_through > 0 {
        output.line(format!("note   {} went before, for their age or size", counted(found.gone_through, "file")))?;
    }
    if wrong.is_none() {
        let good = output.paint.good("whole").to_string();
        output.line(format!("{good}  {} in {}", counted(found.lines, "line"), counted(found.files, "file")))?;
    }
    if let Some(head) = found.head {
        output.line(format!("head   {head}"))?;
    }
    Ok(())
}

fn as_json(found: &Findings, wrong: Option<&str>) -> String {
    let place = |place: &crate::audit::Place| json!({"file": place.file, "line": place.line});
    let broken = found.broken.as_ref().map(|(at, _)| place(at));
    let torn = found.torn.as_ref().map(|(at, bytes)| json!({"file": at.file, "line": at.line, "bytes": bytes}));
    json!({
        "ok": wrong.is_none(),
        "broken": broken,
        "why": wrong,
        "torn": torn,
        "mended": found.mended.iter().map(place).collect::<Vec<_>>(),
        "goneThrough": found.gone_through,
        "first": found.first,
        "lines": found.lines,
        "files": found.files,
        "stopped": found.is_stopped,
        "head": found.head.map(|head| head.to_string()),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_a_number_and_a_hash() {
        let hash = Hash::of(b"a");
        assert_eq!(head(&format!("7:{hash}")), Ok(Head { n: 7, hash }));
        for text in ["", "7", "7:", ":", "x:1", &format!("-1:{hash}")] {
            assert!(head(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_line_that_must_be_there_is_there_or_it_is_told_how_it_went() {
        let (hash, other) = (Hash::of(b"a"), Hash::of(b"b"));
        let found = Findings { head: Some(Head { n: 9, hash: other }), ..Findings::default() };
        let asked = |n, anchored| missing(Head { n, hash }, anchored, &found);
        assert_eq!((asked(5, Some(hash)), asked(5, None)), (None, None));
        assert!(asked(5, Some(other)).unwrap().contains("written anew"));
        assert!(asked(10, None).unwrap().contains("cut off"));
    }
}
