//! What a log can be made of whose manifest is there: the stored baseline, and the longest stretch of whole records that
//! goes on from it without a hole. In front of it stays what is whole and leads on to it.

use super::super::super::error::{OpenError, damage_words};
use super::super::super::manifest::{Backend, MANIFEST_FILE, Manifest};
use super::super::super::storage::Storage;
use super::super::header::{FILE_HEADER_BYTES, FileKind};
use super::super::inspect::{Inspection, SegmentPlace, shape};
use super::super::scan::Shape;
use super::super::survey::{Extent, Run, Survey, survey};
use super::{Carried, Outlook, Plan, rebuild};
use std::sync::Arc;

/// A segment that the manifest names.
struct Segment {
    place: SegmentPlace,
    /// What is in it; `None` where nothing can be told.
    survey: Option<Survey>,
    /// Whether an opening takes it, as far as it goes by itself.
    is_intact: bool,
}

/// A place in the log: the number of a segment in the list, and of a run in it.
type At = (usize, usize);

impl Segment {
    fn runs(&self) -> &[Run] {
        self.survey.as_ref().map_or(&[], |survey| &survey.runs)
    }

    /// Whether a run of it reaches to the end that the manifest tells, or where an opening finds it.
    fn is_complete(&self, run: usize) -> bool {
        let Some(found) = self.runs().get(run) else { return false };
        match self.place.sealed {
            Some(sealed) => (found.to, found.sum) == (sealed.end, sealed.sum.0),
            None => self.is_intact && run == 0,
        }
    }

    /// Seq of the last record of a run or before it, where that is known.
    fn last(&self, run: usize) -> Option<u64> {
        let found = self.runs().get(run)?;
        match (found.records, run) {
            (0, 0) => self.survey.as_ref().map(Survey::before),
            (0, _) => None,
            _ => Some(found.last),
        }
    }
}

/// Finds out what can be done for the log that `manifest` describes.
pub(super) fn outlook(storage: &Arc<dyn Storage>, manifest: Manifest) -> Result<Outlook, OpenError> {
    if manifest.files.is_none() {
        return Ok(Outlook::Whole);
    }
    let inspection = Inspection::on(storage.clone())?.filter(|inspection| *inspection.manifest() == manifest);
    let inspection = inspection.expect("the lock keeps others from changing it");
    let mut damages = Vec::new();
    let baseline_is_bad = match inspection.read_baseline(&mut |_| Ok(())) {
        Ok(()) => false,
        Err(error) => {
            damages.push(told(error)?);
            true
        }
    };
    let segments = segments(storage, &inspection, &mut damages)?;
    let is_newer = segments.iter().filter_map(|segment| segment.survey.as_ref());
    let is_newer = is_newer.map(Survey::opening_newest).max().is_some_and(|newest| newest > manifest.opening);
    if let Some(name) = inspection.unknown_segments()?.first() {
        let detail = format!("{MANIFEST_FILE}: it does not know {name}, which holds later records");
        return rebuild::outlook(&**storage, Some(manifest), detail);
    }
    if is_newer {
        let detail = format!("{MANIFEST_FILE}: it is older than what was written to the segments");
        return rebuild::outlook(&**storage, Some(manifest), detail);
    }
    if damages.is_empty() {
        return Ok(Outlook::Whole);
    }
    let found = Finding { manifest, segments, baseline_is_bad, damages };
    found.outlook(&**storage)
}

/// Reads each segment as an opening would, and surveys it.
fn segments(
    storage: &Arc<dyn Storage>,
    inspection: &Inspection,
    damages: &mut Vec<String>,
) -> Result<Vec<Segment>, OpenError> {
    let mut reading = inspection.read();
    let mut segments = Vec::new();
    let shape = shape(inspection.manifest().backend);
    while let Some(read) = reading.next(&mut |_| Ok(())) {
        let is_intact = read.outcome.is_ok();
        if let Err(error) = read.outcome {
            damages.push(told(error)?);
        }
        let extent = Extent { shape, end: read.place.sealed.map(|sealed| sealed.end) };
        let survey = match survey(&**storage, read.place.number, extent, &mut |_, _| Ok(())) {
            Ok(survey) => Some(survey),
            Err(OpenError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        segments.push(Segment { place: read.place, survey, is_intact });
    }
    Ok(segments)
}

/// A damage in words; what is none is handed on.
fn told(error: OpenError) -> Result<String, OpenError> {
    match error {
        OpenError::Damaged { file, offset, detail } => {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok(damage_words(&name, offset, &detail))
        }
        error => Err(error),
    }
}

struct Finding {
    manifest: Manifest,
    segments: Vec<Segment>,
    baseline_is_bad: bool,
    damages: Vec<String>,
}

impl Finding {
    fn outlook(self, storage: &dyn Storage) -> Result<Outlook, OpenError> {
        let files = self.manifest.files.as_ref().expect("asked before");
        let baseline = files.baseline.clone().filter(|_| !self.baseline_is_bad);
        let (covered, from_segment) = baseline.as_ref().map_or((0, 0), |place| (place.seq, place.from_segment));
        let start = self.start(covered, from_segment);
        if start.is_none() && baseline.is_none() {
            return Ok(self.hopeless());
        }
        let (mut steps, mut losses) = (Vec::new(), Vec::new());
        if self.baseline_is_bad {
            steps.push("the stored baseline is given up: the segments reach back to the first record".into());
        }
        let mut plan = Plan {
            damages: Vec::new(),
            steps: Vec::new(),
            losses: Vec::new(),
            cautions: Vec::new(),
            removed: Vec::new(),
            manifest: None,
            backend: self.manifest.backend,
            baseline,
            kept: Vec::new(),
            active: None,
            carried: Vec::new(),
            last: covered,
            epoch_seen: self.surveys().map(Survey::epoch_newest).max().unwrap_or(0),
            opening_seen: self.surveys().map(Survey::opening_newest).max().unwrap_or(0),
            number_seen: 0,
        };
        match start {
            None => {
                let nothing = Carried { source: None, from: 0, to: 0, before: covered, previous: 0, through: covered };
                plan.carried.push(nothing);
                steps.push(format!("the stored baseline of seq {covered} is all that is kept"));
            }
            Some(start) => self.fill(&mut plan, start, &mut steps),
        }
        let newest = self.surveys().filter_map(Survey::seqs).map(|(_, last)| last).max().unwrap_or(0);
        let known = files.sealed.last().map_or(0, |place| place.through).max(newest);
        let of_replica = self.manifest.backend == Backend::Replica;
        if known > plan.last && of_replica {
            plan.cautions.push(format!(
                "the records {} to {known}, and what came behind, the parent sends again",
                plan.last + 1
            ));
        } else if known > plan.last {
            losses.push(format!(
                "the records {} to {known} are lost, and what was acknowledged behind {known} if there was more",
                plan.last + 1
            ));
        } else if plan.active.is_none() && self.has_more_behind() && of_replica {
            plan.cautions.push(format!("what came behind record {}, the parent sends again", plan.last));
        } else if plan.active.is_none() && self.has_more_behind() {
            losses.push(format!("what was acknowledged behind record {} is lost, if there was more", plan.last));
        }
        let is_kept = |number| {
            plan.kept.iter().any(|place| place.number == number) || plan.active.is_some_and(|a| a.number == number)
        };
        (plan.removed, plan.number_seen) =
            leftover(storage, is_kept, plan.baseline.as_ref().map(|place| place.number))?;
        (plan.damages, plan.steps, plan.losses, plan.manifest) = (self.damages, steps, losses, Some(self.manifest));
        Ok(Outlook::Mendable(Box::new(plan)))
    }

    /// Whether there was something behind all that can be read.
    fn has_more_behind(&self) -> bool {
        let synced = self.manifest.files.as_ref().map_or(0, |files| files.active.synced);
        let newest = self.segments.last().and_then(|segment| segment.survey.as_ref());
        newest.is_none_or(|survey| survey.rest > 0 || survey.end() < synced)
    }

    fn surveys(&self) -> impl Iterator<Item = &Survey> {
        self.segments.iter().filter_map(|segment| segment.survey.as_ref())
    }

    /// Where the log goes on from its baseline, or begins.
    fn start(&self, covered: u64, from_segment: u32) -> Option<At> {
        if shape(self.manifest.backend) == Shape::Replica {
            let index = self.segments.iter().position(|segment| segment.place.number >= from_segment)?;
            let survey = self.segments[index].survey.as_ref()?;
            let leads_on = from_segment > 0 && survey.before() <= covered || survey.before() == 0;
            return leads_on.then_some((index, 0));
        }
        let wanted = covered + 1;
        let all = || {
            let indexed = self.segments.iter().enumerate();
            indexed
                .flat_map(|(at, segment)| segment.runs().iter().enumerate().map(move |(run, found)| ((at, run), found)))
        };
        let holds = |found: &Run| found.records > 0 && (found.first..=found.last).contains(&wanted);
        let ends_before = |&(at, run): &At| self.segments[at].last(run) == Some(covered);
        let holding = all().find(|(_, found)| holds(found)).map(|(at, _)| at);
        holding.or_else(|| all().map(|(at, _)| at).rfind(ends_before))
    }

    /// Whether the segment behind `at` goes on from it.
    fn goes_on(&self, (at, run): At) -> bool {
        let segment = &self.segments[at];
        let next = self.segments.get(at + 1).and_then(|next| next.survey.as_ref());
        let (Some(next), true) = (next, segment.is_complete(run)) else { return false };
        (Some(next.before()), next.header.previous) == (segment.last(run), segment.runs()[run].sum)
    }

    /// Takes everything in that goes on from `start` and leads on to it.
    fn fill(&self, plan: &mut Plan, start: At, steps: &mut Vec<String>) {
        let mut end = start;
        while self.goes_on(end) {
            end = (end.0 + 1, 0);
        }
        let mut begin = start;
        while begin.1 == 0 && begin.0 > 0 && self.goes_on((begin.0 - 1, 0)) {
            begin.0 -= 1;
        }
        plan.last = self.segments[end.0].last(end.1).unwrap_or(plan.last).max(plan.last);
        let is_whole_end = end.0 + 1 == self.segments.len() && self.segments[end.0].is_complete(end.1);
        let files = self.manifest.files.as_ref().expect("asked before");
        if begin.0 > 0 || begin.1 > 0 {
            let from = self.carried(begin).before;
            steps.push(format!(
                "what lies before record {} is dropped: the stored baseline has it; children further behind get a baseline",
                from + 1
            ));
        }
        if begin.1 > 0 {
            // What follows is linked to the damaged segment, and is written anew with it.
            plan.carried.push(self.carried(begin));
            plan.carried.extend((begin.0 + 1..=end.0).map(|at| self.carried((at, 0))));
            let count = plan.carried.len();
            let segments = if count == 1 { "segment is" } else { "segments are" };
            steps.push(format!("{count} {segments} written anew from what is whole"));
        } else {
            plan.kept = (begin.0..end.0).filter_map(|at| self.segments[at].place.sealed).collect();
            if is_whole_end {
                plan.active = Some(files.active);
            } else {
                plan.carried.push(self.carried(end));
                let name = FileKind::Segment.name(self.segments[end.0].place.number);
                let to = self.segments[end.0].runs()[end.1].to;
                steps.push(format!("the log is cut at byte {to} of {name}, behind record {}", plan.last));
            }
        }
    }

    fn carried(&self, (at, run): At) -> Carried {
        let segment = &self.segments[at];
        let survey = segment.survey.as_ref().expect("it has a run");
        let found = &survey.runs[run];
        let is_begin = run == 0;
        let before = if is_begin { survey.before() } else { found.first.saturating_sub(1) };
        Carried {
            source: Some(survey.header),
            from: if is_begin { FILE_HEADER_BYTES as u64 } else { found.from },
            to: found.to,
            before,
            previous: if is_begin { survey.header.previous } else { 0 },
            through: found.through.max(before),
        }
    }

    fn hopeless(self) -> Outlook {
        let mut tried = Vec::new();
        let oldest = self.surveys().next().map(Survey::before);
        if self.manifest.files.as_ref().is_some_and(|files| files.baseline.is_some()) {
            tried.push("beginning with the stored baseline: it is damaged".into());
        } else {
            tried.push("beginning with a stored baseline: there is none".into());
        }
        tried.push(match oldest {
            Some(0) | None => "beginning with the first record: it cannot be read".into(),
            Some(before) => format!("beginning with the first record: what is kept begins behind record {before}"),
        });
        Outlook::Hopeless { damages: self.damages, tried }
    }
}

/// Files of the log's kind that are not kept, the manifest with them, and the highest number of any.
pub(super) fn leftover(
    storage: &dyn Storage,
    is_kept: impl Fn(u32) -> bool,
    baseline: Option<u32>,
) -> Result<(Vec<String>, u32), OpenError> {
    let (mut removed, mut highest) = (Vec::new(), 0);
    for name in storage.names().map_err(OpenError::io("listing", &storage.path("")))? {
        let (segment, stored) = (FileKind::Segment.number(&name), FileKind::Baseline.number(&name));
        highest = highest.max(segment.or(stored).unwrap_or(0));
        let is_gone = match (segment, stored) {
            (Some(number), _) => !is_kept(number),
            (_, Some(number)) => Some(number) != baseline,
            (None, None) => name == MANIFEST_FILE,
        };
        if is_gone {
            removed.push(name);
        }
    }
    removed.sort();
    Ok((removed, highest))
}
