//! `headwater log verify`: reads everything as a start would, and checks what the records mean too.

use super::super::failure::{Failure, Kind};
use super::super::output::Output;
use super::bar::Bar;
use super::content::{Content, empty_store, facts};
use super::{Looking, Place, helped};
use crate::remedy;
use crate::wal::error::damage_words;
use crate::wal::file::inspect::{Inspected, Inspection, SegmentPlace};
use crate::wal::manifest::{Backend, MANIFEST_FILE};
use crate::wal::{BaselinePiece, OpenError};
use clap::Args;
use headwater_core::store::Store;
use serde_json::json;
use std::cell::RefCell;

/// How often a log is read that a node changes meanwhile.
const ATTEMPTS: usize = 3;
/// Records of one segment that are named; more are counted.
const NAMED_MAX: usize = 20;

/// `headwater log verify`.
#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    pub(super) place: Place,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) file: String,
    pub(super) offset: u64,
    pub(super) detail: String,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) damages: Vec<Damage>,
    /// Where a write was cut off: name, end of what counts, bytes behind it.
    torn: Option<(String, u64, u64)>,
    segments: usize,
    records: u64,
    bytes: u64,
    /// Position, entries and digest of the state, where nothing is damaged.
    state: Option<(String, u64, String)>,
}

impl Verify {
    pub(super) fn run(&self, output: &mut Output) -> Result<(), Failure> {
        let mut looking = Looking::at(&self.place)?;
        let mut findings = findings(&looking.inspection)?;
        for _ in 1..ATTEMPTS {
            if findings.damages.is_empty() || !looking.may_be_moving() {
                break;
            }
            looking.again()?;
            let again = self::findings(&looking.inspection)?;
            let lasting = again.damages.iter().filter(|damage| findings.damages.contains(damage)).cloned().collect();
            findings = Findings { damages: lasting, ..again };
        }
        if looking.holder.is_some() {
            // What lies behind the end there is a write under way.
            findings.torn = None;
        }
        if output.human {
            looking.say_holder();
            words(&findings, output)?;
        } else {
            output.line(as_json(&findings, looking.holder.as_deref()))?;
        }
        if findings.damages.is_empty() {
            return Ok(());
        }
        output.finish()?;
        let count = findings.damages.len();
        let failure = Failure::new(Kind::Refused, format!("the log is damaged in {count} place{}", plural(count)));
        Err(helped(failure, remedy::lines(&looking.directory)))
    }
}

/// A number of things that take an `s`.
pub(in crate::cli) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Reads everything.
pub(super) fn findings(inspection: &Inspection) -> Result<Findings, Failure> {
    let manifest = inspection.manifest();
    let mut found = Findings::default();
    let bar = RefCell::new(Bar::new(inspection.bytes().map_err(|error| Failure::unable(error.to_string()))?));
    let store = empty_store();
    let content = RefCell::new(Content::new(&store, manifest.backend == Backend::Replica));
    let (covered, from_segment) = inspection.baseline().map_or((0, 0), |place| (place.seq, place.from_segment));

    let read = inspection.read_baseline(&mut |piece| {
        let (BaselinePiece::Lines(text) | BaselinePiece::Beside(text) | BaselinePiece::Progress(text)) = piece;
        bar.borrow_mut().add(text.len());
        content.borrow_mut().piece(piece)
    });
    match (read, inspection.baseline()) {
        (Err(error), Some(place)) => {
            content.borrow_mut().is_broken();
            found.damages.push(damage(error, &format!("{:010}.base", place.number))?);
        }
        (Ok(()), Some(place)) => {
            found.bytes += place.end;
            if let Err(detail) = content.borrow().baseline_is(place) {
                found.damages.push(Damage { file: format!("{:010}.base", place.number), offset: 0, detail });
            }
        }
        (_, None) => {}
    }

    let mut reading = inspection.read();
    loop {
        let wrong: RefCell<Vec<(u64, String)>> = RefCell::default();
        let place = inspection.segments().get(found.segments).copied();
        let Some(place) = place else { break };
        let read = reading.next(&mut |frame| {
            let is_within = place.number < from_segment;
            let mut content = content.borrow_mut();
            match frame {
                Inspected::Record(record) => {
                    found.records += 1;
                    bar.borrow_mut().add(record.line.len() + record.meta.len() + 49);
                    if let Err(error) = content.record(&record, !is_within && record.seq > covered) {
                        content.is_broken();
                        wrong.borrow_mut().push((record.seq, error.to_string()));
                    }
                }
                Inspected::Progress { seq, text } => {
                    // A writer reads its lines only: those of the replica that it was tell as much.
                    if !is_within
                        && manifest.backend == Backend::Replica
                        && let Err(error) = content.progress(text)
                    {
                        content.is_broken();
                        wrong.borrow_mut().push((seq, format!("how far the replica was: {error}")));
                    }
                }
            }
            Ok(())
        });
        let Some(read) = read else { break };
        found.segments += 1;
        let wrong = wrong.into_inner();
        for (seq, error) in wrong.iter().take(NAMED_MAX) {
            let offset = inspection.offset_of(place, *seq);
            found.damages.push(Damage { file: read.name.clone(), offset, detail: format!("record {seq}: {error}") });
        }
        if wrong.len() > NAMED_MAX {
            let detail = format!("and {} records more", wrong.len() - NAMED_MAX);
            found.damages.push(Damage { file: read.name.clone(), offset: 0, detail });
        }
        match read.outcome {
            Ok(torn) => {
                found.bytes += torn.end;
                if torn.bytes > 0 {
                    found.torn = Some((read.name, torn.end, torn.bytes));
                }
            }
            Err(error) => {
                content.borrow_mut().is_broken();
                let first = damage(error, &read.name)?;
                let offset = first.offset;
                found.damages.push(first);
                behind(inspection, place, &read.name, offset, &mut found.damages);
            }
        }
    }
    let unknown = inspection.unknown_segments().map_err(|error| Failure::unable(error.to_string()))?;
    for file in unknown {
        let detail = "the manifest does not know this segment, which holds later records".into();
        found.damages.push(Damage { file, offset: 0, detail });
    }
    let content = content.into_inner();
    if manifest.backend == Backend::File && content.is_whole() {
        check_epochs(inspection, &content, &mut found.damages);
    }
    if found.damages.is_empty() {
        let (keys, digest) = facts(&store).map_err(|error| Failure::unable(error.to_string()))?;
        found.state = Some((store.position().to_string(), keys, digest));
    }
    Ok(found)
}

/// What else is wrong behind the first damage of a segment.
fn behind(inspection: &Inspection, place: SegmentPlace, name: &str, first: u64, damages: &mut Vec<Damage>) {
    // Where not even that can be read, the first damage says it.
    let Ok(survey) = inspection.survey(place, &mut |_| Ok(())) else { return };
    for &(offset, detail) in survey.bad().iter().filter(|&&(offset, _)| offset > first) {
        damages.push(Damage { file: name.into(), offset, detail: detail.into() });
    }
}

/// Whether the openings that the records tell are those of the manifest.
fn check_epochs(inspection: &Inspection, content: &Content<'_>, damages: &mut Vec<Damage>) {
    let manifest = inspection.manifest();
    let known = manifest.epochs.starts();
    for start in content.epochs() {
        let (oldest, newest) = (known.first().map_or(u64::MAX, |s| s.epoch), known.last().map_or(0, |s| s.epoch));
        let is_known = known.contains(start);
        let detail = if start.epoch > manifest.epoch {
            format!(
                "record {} opens epoch {}, and the highest given out is {}",
                start.first, start.epoch, manifest.epoch
            )
        } else if !is_known && (oldest..=newest).contains(&start.epoch) {
            format!("record {} opens epoch {}, which the table of epochs leaves out", start.first, start.epoch)
        } else {
            continue;
        };
        damages.push(Damage { file: MANIFEST_FILE.into(), offset: 0, detail });
    }
}

/// An error of reading as a damage; a failure where the medium is at fault.
pub(super) fn damage(error: OpenError, name: &str) -> Result<Damage, Failure> {
    match error {
        OpenError::Damaged { offset, detail, .. } => Ok(Damage { file: name.into(), offset, detail }),
        OpenError::Io { .. } => Err(Failure::unable(error.to_string())),
        other => Ok(Damage { file: name.into(), offset: 0, detail: other.to_string() }),
    }
}

fn words(findings: &Findings, output: &mut Output) -> Result<(), Failure> {
    for Damage { file, offset, detail } in &findings.damages {
        let text = damage_words(file, *offset, detail);
        output.line(format!("{} {text}", output.paint.bad("damaged")))?;
    }
    if let Some((file, end, bytes)) = &findings.torn {
        let text =
            format!("{file}: {bytes} bytes behind byte {end} are of a write that was cut off; a start removes them");
        output.line(format!("{} {text}", output.paint.yellow("torn end")))?;
    }
    if let Some((position, keys, digest)) = &findings.state {
        let Findings { segments, records, bytes, .. } = findings;
        let good = output.paint.good("whole").to_string();
        let (records, segments) = (counted(*records, "record"), counted(*segments as u64, "segment"));
        output.line(format!("{good}  {records} in {segments}, {bytes} bytes with the baseline"))?;
        let keys = if *keys == 1 { "1 entry".into() } else { format!("{keys} entries") };
        output.line(format!("       the state: {keys} at {position}, digest {digest}"))?;
    }
    Ok(())
}

fn as_json(findings: &Findings, holder: Option<&str>) -> String {
    let damages: Vec<_> = findings
        .damages
        .iter()
        .map(|damage| json!({"file": damage.file, "offset": damage.offset, "detail": damage.detail}))
        .collect();
    let torn = findings.torn.as_ref().map(|(file, end, bytes)| json!({"file": file, "offset": end, "bytes": bytes}));
    let state = findings.state.as_ref();
    json!({
        "ok": findings.damages.is_empty(),
        "inUseBy": holder,
        "segments": findings.segments,
        "records": findings.records,
        "bytes": findings.bytes,
        "position": state.map(|state| &state.0),
        "keys": state.map(|state| state.1),
        "digest": state.map(|state| &state.2),
        "torn": torn,
        "damages": damages,
    })
    .to_string()
}
