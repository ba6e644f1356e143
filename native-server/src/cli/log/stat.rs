//! `headwater log stat`: the files, and what is in them.

use super::super::ago::ago;
use super::super::failure::Failure;
use super::super::output::Output;
use super::super::table::Table;
use super::{Looking, Place, refused};
use crate::clock::wall_ms;
use crate::wal::OpenError;
use crate::wal::file::inspect::{Inspected, SegmentPlace};
use crate::wal::manifest::Backend;
use clap::Args;
use headwater_core::api::rfc3339;
use headwater_core::position::EpochTable;
use headwater_core::store::Progress;
use serde_json::{Value, json};
use std::sync::Arc;

/// Openings that are shown on a terminal; the others are counted.
const EPOCHS_SHOWN: usize = 10;

/// `headwater log stat`.
#[derive(Debug, Args)]
pub(super) struct Stat {
    #[command(flatten)]
    pub(super) place: Place,
}

/// A row of the table.
#[derive(Default)]
struct File {
    name: String,
    kind: &'static str,
    seqs: Option<(u64, u64)>,
    /// Bytes that count, and of the file.
    bytes: u64,
    length: u64,
    records: u64,
    openings: usize,
    sealed_ms: Option<u64>,
    /// Where something is wrong, and what.
    damage: Option<(u64, String)>,
}

/// What the log is about, beside its files.
#[derive(Default)]
struct About {
    cluster: Option<String>,
    epoch: u64,
    takeover: u64,
    epochs: EpochTable,
}

impl Stat {
    pub(super) fn run(&self, output: &mut Output) -> Result<(), Failure> {
        let mut looking = Looking::at(&self.place)?;
        let mut attempts = 0;
        let (files, about) = loop {
            attempts += 1;
            let (files, about) = look(&looking)?;
            let is_odd = files.iter().any(|file| file.damage.is_some());
            if !is_odd || attempts == 3 || !looking.may_be_moving() {
                break (files, about);
            }
            looking.again()?;
        };
        if output.human {
            show(&looking, &files, &about, output)
        } else {
            output.line(as_json(&looking, &files, &about))
        }
    }
}

fn look(looking: &Looking) -> Result<(Vec<File>, About), Failure> {
    let inspection = &looking.inspection;
    let manifest = inspection.manifest();
    let of_replica = manifest.backend == Backend::Replica;
    let mut files = Vec::new();
    let mut newest: Option<Progress> = None;
    let mut note = |text: &[u8]| {
        let known = newest.as_ref().map(|progress| Arc::clone(&progress.epochs));
        let progress =
            std::str::from_utf8(text).ok().and_then(|text| Progress::from_json_with(text, known.as_ref()).ok());
        newest = progress.or(newest.take());
    };
    if let Some(place) = inspection.baseline() {
        let mut file = File { name: format!("{:010}.base", place.number), kind: "baseline", ..File::default() };
        (file.seqs, file.bytes, file.length, file.records) =
            (Some((place.seq, place.seq)), place.end, place.end, place.keys);
        let read = inspection.read_baseline(&mut |piece| {
            if let crate::wal::BaselinePiece::Progress(text) = piece {
                note(text);
            }
            Ok(())
        });
        file.damage = read.err().map(damage).transpose()?;
        files.push(file);
    }
    for place in inspection.segments() {
        let mut file = File { name: format!("{:010}.wal", place.number), kind: "segment", ..File::default() };
        file.sealed_ms = place.sealed.map(|sealed| sealed.sealed_ms);
        let survey = inspection.survey(place, &mut |frame| {
            if let Inspected::Progress { text, .. } = frame {
                note(text);
            }
            Ok(())
        });
        match survey {
            Err(error) => file.damage = Some(damage(error)?),
            Ok(survey) => {
                file.kind = if survey.is_of_replica() && !of_replica { "segment of a replica" } else { file.kind };
                (file.seqs, file.records, file.openings) = (survey.seqs(), survey.records(), survey.openings());
                (file.bytes, file.length) = (survey.end(), survey.bytes);
                file.damage = damage_in(place, &survey);
            }
        }
        files.push(file);
    }
    let about = match newest.filter(|_| of_replica) {
        None => About {
            cluster: manifest.cluster.map(|cluster| cluster.to_string()),
            epoch: manifest.epoch,
            takeover: manifest.takeover,
            epochs: manifest.epochs.clone(),
        },
        Some(progress) => About {
            cluster: progress.cluster.map(|cluster| cluster.to_string()),
            epoch: progress.epoch_highest,
            takeover: progress.takeover_highest,
            epochs: (*progress.epochs).clone(),
        },
    };
    Ok((files, about))
}

fn damage_in(place: SegmentPlace, survey: &crate::wal::file::inspect::Survey) -> Option<(u64, String)> {
    let first = survey.bad().first().map(|&(offset, reason)| (offset, reason.to_owned()));
    let is_short = place.sealed.filter(|sealed| sealed.end != survey.end());
    first.or_else(|| {
        is_short.map(|sealed| (survey.end(), format!("frames end here, and {} bytes were durable", sealed.end)))
    })
}

fn damage(error: OpenError) -> Result<(u64, String), Failure> {
    match error {
        OpenError::Damaged { offset, detail, .. } => Ok((offset, detail)),
        other => Err(refused(&other, std::path::Path::new("DIR"))),
    }
}

fn seqs(file: &File) -> String {
    match file.seqs {
        None => "-".into(),
        Some((first, last)) if first == last => first.to_string(),
        Some((first, last)) => format!("{first}-{last}"),
    }
}

fn show(looking: &Looking, files: &[File], about: &About, output: &mut Output) -> Result<(), Failure> {
    let manifest = looking.inspection.manifest();
    let mut lines =
        vec![("directory", looking.directory.display().to_string()), ("holds", manifest.backend.to_string())];
    lines.extend(
        looking.holder.clone().map(|holder| ("in use by", format!("{holder}; what is shown may lag behind it"))),
    );
    lines.extend(about.cluster.clone().map(|cluster| ("cluster", cluster)));
    lines.push(("epoch", format!("{}, the highest given out", about.epoch)));
    if about.takeover > 0 {
        lines.push(("takeover", format!("{}, {}", about.takeover, rfc3339(about.takeover))));
    }
    lines.push(("openings", manifest.opening.to_string()));
    for (name, text) in lines {
        let name = format!("{name:<11}");
        output.line(format!("{}{text}", output.paint.dim(&name)))?;
    }
    let now = wall_ms();
    let (paint, width) = (output.paint, Output::width());
    if !files.is_empty() {
        output.line("")?;
        let mut table =
            Table::new(&["FILE", "WHAT", "SEQ", "BYTES", "RECORDS", "OPENINGS", "SEALED"], &[3, 4, 5], paint, width);
        for file in files {
            let end = match (&file.damage, file.sealed_ms) {
                (Some((offset, _)), _) => format!("DAMAGED at byte {offset}"),
                (None, Some(ms)) => ago(now, ms),
                (None, None) if file.kind == "baseline" => String::new(),
                (None, None) => "in use".into(),
            };
            let openings = if file.kind == "baseline" { String::new() } else { file.openings.to_string() };
            let (bytes, records) = (file.bytes.to_string(), file.records.to_string());
            table.row([&file.name, file.kind, &seqs(file), &bytes, &records, &openings, &end], output.writer())?;
        }
        table.finish(output.writer())?;
        let totals = totals(files);
        output.line("")?;
        let text =
            format!("{} records in {} segments, {} bytes in {} files", totals.0, totals.1, totals.2, files.len());
        output.line(text)?;
    }
    let starts = about.epochs.starts();
    if !starts.is_empty() {
        output.line("")?;
        let mut table = Table::new(&["EPOCH", "FIRST SEQ", "OPENED"], &[0, 1], paint, width);
        for start in &starts[starts.len().saturating_sub(EPOCHS_SHOWN)..] {
            table.row([&start.epoch.to_string(), &start.first.to_string(), &rfc3339(start.epoch)], output.writer())?;
        }
        table.finish(output.writer())?;
        if starts.len() > EPOCHS_SHOWN {
            output.line(format!("and {} before", starts.len() - EPOCHS_SHOWN))?;
        }
    }
    Ok(())
}

/// Records in segments, segments, and bytes of everything.
fn totals(files: &[File]) -> (u64, usize, u64) {
    let segments = || files.iter().filter(|file| file.kind != "baseline");
    (segments().map(|file| file.records).sum(), segments().count(), files.iter().map(|file| file.length).sum())
}

fn as_json(looking: &Looking, files: &[File], about: &About) -> String {
    let manifest = looking.inspection.manifest();
    let (records, segments, bytes) = totals(files);
    let files: Vec<Value> = files
        .iter()
        .map(|file| {
            let count = if file.kind == "baseline" { "keys" } else { "records" };
            let damage = file.damage.as_ref().map(|(offset, detail)| json!({"offset": offset, "detail": detail}));
            let seqs = file.seqs.map(|(first, last)| json!([first, last]));
            json!({"name": file.name, "what": file.kind, "seqs": seqs, "bytes": file.bytes, "fileBytes": file.length,
                count: file.records, "openings": file.openings, "sealedMs": file.sealed_ms, "damage": damage})
        })
        .collect();
    let epochs: Vec<_> = about.epochs.starts().iter().map(|s| json!({"epoch": s.epoch, "first": s.first})).collect();
    json!({
        "directory": looking.directory.display().to_string(),
        "backend": manifest.backend,
        "inUseBy": looking.holder,
        "cluster": about.cluster,
        "epoch": about.epoch,
        "takeover": about.takeover,
        "openings": manifest.opening,
        "files": files,
        "epochs": epochs,
        "totals": {"records": records, "segments": segments, "bytes": bytes},
    })
    .to_string()
}
