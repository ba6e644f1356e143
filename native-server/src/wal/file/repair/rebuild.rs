//! Finding a manifest again that is missing, damaged or older than the files: each segment says what it follows, by its
//! number, the seq before it and the checksum of the last frame there, so the newest leads back to all others.

use super::super::super::error::OpenError;
use super::super::super::manifest::{Backend, BaselinePlace, MANIFEST_FILE, Manifest, SealedPlace, Sum};
use super::super::super::storage::Storage;
use super::super::frame::Kind;
use super::super::header::{FILE_HEADER_BYTES, FileHeader, FileKind, Origin};
use super::super::inspect::shape;
use super::super::scan::header_of;
use super::super::survey::{Extent, Survey, survey};
use super::super::walk::{Step, Walk, Window};
use super::plan::leftover;
use super::{Carried, Outlook, Plan};

const CHUNK_BYTES: usize = 1024 * 1024;

/// A baseline that is whole.
struct Stored {
    number: u32,
    seq: u64,
    end: u64,
    sum: u64,
}

/// Segments that lead on to each other, oldest first, the last one not among them.
struct Chain<'s> {
    sealed: Vec<(SealedPlace, &'s Survey)>,
    newest: &'s Survey,
}

/// Finds out what can be made of the files alone. `older` is a manifest that they have left behind, `damage` says what is
/// wrong with it.
pub(super) fn outlook(storage: &dyn Storage, older: Option<Manifest>, damage: String) -> Result<Outlook, OpenError> {
    let mut damages = vec![damage];
    let mut numbers = Vec::new();
    let mut stored = Vec::new();
    for name in storage.names().map_err(OpenError::io("listing", &storage.path("")))? {
        numbers.extend(FileKind::Segment.number(&name));
        if let Some(number) = FileKind::Baseline.number(&name) {
            stored.extend(whole_baseline(storage, number, &mut damages)?);
        }
    }
    numbers.sort_unstable();
    let backend = match &older {
        Some(manifest) => manifest.backend,
        None => backend_of(storage, &numbers)?,
    };
    let extent = Extent { shape: shape(backend), end: None };
    let mut surveys = Vec::new();
    let mut unreadable = Vec::new();
    for &number in &numbers {
        match survey(storage, number, extent, &mut |_, _| Ok(())) {
            Ok(found) => surveys.push(found),
            Err(OpenError::Damaged { offset, detail, .. }) => {
                damages.push(format!("{} at byte {offset}: {detail}", FileKind::Segment.name(number)));
                unreadable.push(number);
            }
            Err(error) => return Err(error),
        }
    }
    // The one that goes furthest; of two that go as far, the newer one.
    let reach = |found: &Survey| (found.first_run().last.max(found.before()), found.header.number);
    let mut newest: Vec<_> = surveys.iter().collect();
    newest.sort_by_key(|found| std::cmp::Reverse(reach(found)));
    stored.sort_by_key(|stored| std::cmp::Reverse(stored.seq));
    let mut tried = Vec::new();
    for newest in newest {
        let name = FileKind::Segment.name(newest.header.number);
        let chain = chain(storage, &surveys, newest)?;
        let first = chain.sealed.first().map_or(newest, |(_, found)| found);
        let baseline = stored.iter().find(|stored| first.before() <= stored.seq);
        if baseline.is_none() && first.before() > 0 {
            let before = first.before();
            tried.push(format!(
                "ending with {name}: what leads on to it begins behind record {before}, and no baseline"
            ));
            continue;
        }
        let found = Rebuilt { backend, chain, baseline, surveys: &surveys, unreadable: &unreadable };
        return found.plan(storage, older, damages).map(|plan| Outlook::Mendable(Box::new(plan)));
    }
    tried.push("finding a segment that goes back to the first record or to a whole baseline: there is none".into());
    Ok(Outlook::Hopeless { damages, tried })
}

/// Who made the files: a writer wherever one of them says so.
fn backend_of(storage: &dyn Storage, numbers: &[u32]) -> Result<Backend, OpenError> {
    let mut is_of_replica = false;
    for &number in numbers {
        let name = FileKind::Segment.name(number);
        let path = storage.path(&name);
        let Some(file) = storage.open(&name).map_err(OpenError::io("opening", &path))? else { continue };
        let mut head = [0; FILE_HEADER_BYTES];
        let read = file.read_at(&mut head, 0).map_err(OpenError::io("reading", &path))?;
        match FileHeader::decode(&head[..read]) {
            Ok((header, _)) if header.origin == Origin::Writer => return Ok(Backend::File),
            Ok(_) => is_of_replica = true,
            Err(_) => {}
        }
    }
    Ok(if is_of_replica { Backend::Replica } else { Backend::File })
}

/// The segments that lead on to `newest`.
fn chain<'s>(storage: &dyn Storage, surveys: &'s [Survey], newest: &'s Survey) -> Result<Chain<'s>, OpenError> {
    let mut sealed = Vec::new();
    let mut at = newest;
    while at.header.previous != 0 {
        let before = surveys.iter().rev().filter(|found| found.header.number < at.header.number);
        let mut link = None;
        for found in before {
            if let Some((end, through)) = end_of(storage, found, at.before(), at.header.previous)? {
                let sum = Sum(at.header.previous);
                let sealed_ms = crate::clock::wall_ms();
                link = Some((SealedPlace { number: found.header.number, through, end, sum, sealed_ms }, found));
                break;
            }
        }
        let Some((place, found)) = link else { break };
        sealed.push((place, found));
        at = found;
    }
    sealed.reverse();
    // A progress may be further than the lines behind it.
    let mut through = 0;
    for (place, _) in &mut sealed {
        place.through = place.through.max(through);
        through = place.through;
    }
    Ok(Chain { sealed, newest })
}

/// Where the frame with checksum `sum` ends in a segment, if the records before it end with `last`, and the highest seq
/// told by then.
fn end_of(storage: &dyn Storage, found: &Survey, last: u64, sum: u64) -> Result<Option<(u64, u64)>, OpenError> {
    let name = FileKind::Segment.name(found.header.number);
    let path = storage.path(&name);
    let Some(file) = storage.open(&name).map_err(OpenError::io("opening", &path))? else { return Ok(None) };
    let mut window = Window::new(&*file, found.first_run().to, CHUNK_BYTES);
    let head = window.bytes(0, FILE_HEADER_BYTES).map_err(OpenError::io("reading", &path))?;
    let (header, header_sum) = header_of(head, &path)?;
    let mut walk = Walk::new(header.salt, FILE_HEADER_BYTES as u64, Some(header_sum));
    let (mut seq, mut through) = (header.seq, header.seq);
    if header_sum == sum && seq == last {
        return Ok(Some((FILE_HEADER_BYTES as u64, through)));
    }
    while let Step::Frame { header, content, .. } = walk.next(&mut window).map_err(OpenError::io("reading", &path))? {
        through = through.max(content.seq);
        if content.kind.is_record() {
            seq = content.seq;
        }
        if header.sum == sum && seq == last {
            return Ok(Some((walk.offset(), through)));
        }
    }
    Ok(None)
}

/// A baseline, if it is whole: its last frame tells how far it is.
fn whole_baseline(storage: &dyn Storage, number: u32, damages: &mut Vec<String>) -> Result<Option<Stored>, OpenError> {
    let name = FileKind::Baseline.name(number);
    let path = storage.path(&name);
    let Some(file) = storage.open(&name).map_err(OpenError::io("opening", &path))? else { return Ok(None) };
    let length = file.length().map_err(OpenError::io("reading", &path))?;
    let mut window = Window::new(&*file, length, CHUNK_BYTES);
    let head = window.bytes(0, FILE_HEADER_BYTES).map_err(OpenError::io("reading", &path))?;
    let mut bad = |offset: u64, detail: &str| {
        damages.push(format!("{name} at byte {offset}: {detail}"));
        Ok(None)
    };
    let (header, mut sum) = match header_of(head, &path) {
        Ok(header) => header,
        Err(OpenError::Damaged { offset, detail, .. }) => return bad(offset, &detail),
        Err(error) => return Err(error),
    };
    let mut walk = Walk::new(header.salt, FILE_HEADER_BYTES as u64, Some(sum));
    let mut is_ended = false;
    loop {
        match walk.next(&mut window).map_err(OpenError::io("reading", &path))? {
            Step::Frame { header, content, .. } => (sum, is_ended) = (header.sum, content.kind == Kind::Progress),
            Step::Bad(reason) => return bad(walk.offset(), reason),
            Step::End if is_ended => return Ok(Some(Stored { number, seq: header.seq, end: walk.offset(), sum })),
            Step::End => return bad(walk.offset(), "it ends before it says how far it is"),
        }
    }
}

struct Rebuilt<'s> {
    backend: Backend,
    chain: Chain<'s>,
    baseline: Option<&'s Stored>,
    surveys: &'s [Survey],
    /// Numbers of segments of which nothing can be told.
    unreadable: &'s [u32],
}

impl Rebuilt<'_> {
    fn plan(self, storage: &dyn Storage, older: Option<Manifest>, damages: Vec<String>) -> Result<Plan, OpenError> {
        let newest = self.chain.newest;
        let run = newest.first_run();
        let last = if run.records > 0 { run.last } else { newest.before() };
        let covered = self.baseline.map_or(0, |stored| stored.seq);
        let name = FileKind::Segment.name(newest.header.number);
        let kept = self.chain.sealed.len();
        // All that the segments tell may be older than the baseline: those behind it are gone, or a replica's were empty.
        let from_segment = self.first_behind(covered);
        let is_behind = self.backend != Backend::Replica && last < covered;
        let is_within = self.baseline.is_some() && (from_segment.is_none() || is_behind);
        let mut steps =
            vec![format!("{MANIFEST_FILE} is written anew from what {} segments say of each other", kept + 1)];
        if !is_within {
            steps.push(format!("{name} is the newest, and is written anew up to record {last}"));
        }
        match self.baseline {
            Some(stored) if is_within => {
                steps.push(format!("the stored baseline of seq {} is all that is kept: it is newer", stored.seq));
            }
            Some(stored) => steps.push(format!("the stored baseline of seq {} is used", stored.seq)),
            None => steps.push("there is no baseline to use: the segments reach back to the first record".into()),
        }
        let seen = self.surveys.iter().filter_map(Survey::seqs).map(|(_, last)| last).max().unwrap_or(0);
        let mut losses = Vec::new();
        if seen > last.max(covered) {
            losses.push(format!("the records {} to {seen} are lost: nothing leads on to them", last.max(covered) + 1));
        }
        for &number in self.unreadable.iter().filter(|&&number| number > newest.header.number) {
            losses.push(format!("what {} held is lost", FileKind::Segment.name(number)));
        }
        if newest.rest > 0 || !newest.bad().is_empty() {
            losses
                .push(format!("what was acknowledged behind record {} is lost, if there was more", last.max(covered)));
        }
        // A manifest that was left behind knows no segment that is gone; one that is gone knows none at all.
        let words = "only the manifest could tell whether newer segments are missing, and whatever they held";
        let cautions = vec![words.to_owned()];
        let baseline = self.baseline.map(|stored| BaselinePlace {
            number: stored.number,
            seq: stored.seq,
            from_segment: from_segment.unwrap_or(0),
            end: stored.end,
            sum: Sum(stored.sum),
            keys: 0,
            digest: String::new(),
        });
        let before = newest.before();
        let through = self.chain.sealed.last().map_or(before, |(place, _)| place.through).max(run.through);
        let whole = Carried {
            source: Some(newest.header),
            from: FILE_HEADER_BYTES as u64,
            to: run.to,
            before,
            previous: newest.header.previous,
            through,
        };
        let nothing = Carried { source: None, from: 0, to: 0, before: covered, previous: 0, through: covered };
        let carried = if is_within { nothing } else { whole };
        let kept: Vec<_> = self.chain.sealed.iter().map(|(place, _)| *place).filter(|_| !is_within).collect();
        let is_kept = |number| kept.iter().any(|place| place.number == number);
        let (removed, number_seen) = leftover(storage, is_kept, baseline.as_ref().map(|place| place.number))?;
        let opening_seen = self.surveys.iter().map(Survey::opening_newest).max().unwrap_or(0);
        let epoch_older = older.as_ref().map_or(0, |manifest| manifest.epoch);
        let files_older = older.as_ref().and_then(|manifest| manifest.files.as_ref());
        let number_older = files_older.map_or(0, |files| files.next_number - 1);
        let opening_older = older.as_ref().map_or(0, |manifest| manifest.opening);
        Ok(Plan {
            damages,
            steps,
            losses,
            cautions,
            removed,
            manifest: None,
            backend: self.backend,
            baseline,
            kept,
            active: None,
            carried: vec![carried],
            last: last.max(covered),
            epoch_seen: self.surveys.iter().map(Survey::epoch_newest).max().unwrap_or(0).max(epoch_older),
            opening_seen: opening_seen.max(opening_older),
            number_seen: number_seen.max(number_older),
        })
    }

    /// The first segment all of which is behind the baseline. Only what a replica says of how far it was needs it.
    fn first_behind(&self, seq: u64) -> Option<u32> {
        if self.backend != Backend::Replica {
            return Some(0);
        }
        let segments = self.chain.sealed.iter().map(|(_, found)| *found).chain([self.chain.newest]);
        let is_behind = |found: &&Survey| {
            let run = found.first_run();
            (run.records == 0 || run.first > seq) && run.progress_least.is_none_or(|least| least >= seq)
        };
        let mut numbers: Vec<_> = segments.collect();
        numbers.reverse();
        numbers.into_iter().take_while(is_behind).last().map(|found| found.header.number)
    }
}
