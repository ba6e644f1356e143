//! Mending a log that refuses to open. Nothing is guessed: a plan says which files are kept, which are written anew from
//! what is whole in the old ones, and what is removed; it is carried out only when told.
//!
//! Whatever is removed is copied to a directory of its own first. New segments are complete and durable before the one
//! step that makes them count, the replacement of the manifest: cut short anywhere before it, the log is as damaged as it
//! was, and after it, mended. Files that no longer count go last.
//!
//! What a log can be made of is in `plan`; how a manifest that is lost is found again in `rebuild`.

mod plan;
mod rebuild;

use super::super::error::{OpenError, ReplayRefused};
use super::super::keeper::BaselinePiece;
use super::super::manifest::{ActivePlace, Backend, BaselinePlace, Files, MANIFEST_FILE, Manifest, SealedPlace, Sum};
use super::super::opening::OpenOptions;
use super::super::storage::{Directory, Lock, Storage};
use super::baseline;
use super::header::{FILE_HEADER_BYTES, FileHeader, FileKind, Origin};
use super::inspect::{Inspect, inspected};
use super::making::{MadeEnd, Making};
use super::recover::lock;
use super::walk::{Step, Walk, Window};
use headwater_core::id::Id;
use headwater_core::position::EpochTable;
use std::path::Path;
use std::sync::Arc;

const CHUNK_BYTES: usize = 1024 * 1024;

/// A damaged log that nobody else can open meanwhile.
pub struct Repair {
    storage: Arc<dyn Storage>,
    _lock: Lock,
}

/// What can be done.
#[derive(Debug)]
pub enum Outlook {
    /// Nothing is wrong with the files.
    Whole,
    /// Nothing can be.
    Hopeless {
        /// What is wrong, a file and a place each.
        damages: Vec<String>,
        /// What was tried, and why it does not help.
        tried: Vec<String>,
    },
    /// This.
    Mendable(Box<Plan>),
}

/// How a log is mended.
#[derive(Debug)]
pub struct Plan {
    /// What is wrong, a file and a place each.
    pub damages: Vec<String>,
    /// What is done about it.
    pub steps: Vec<String>,
    /// What is lost by it; empty where nothing of the state is.
    pub losses: Vec<String>,
    /// What cannot be known of it.
    pub cautions: Vec<String>,
    /// Files that are copied, and then removed or replaced.
    pub removed: Vec<String>,
    /// The manifest as it is, if it can be read.
    manifest: Option<Manifest>,
    backend: Backend,
    baseline: Option<BaselinePlace>,
    /// Segments that stay as they are, in front.
    kept: Vec<SealedPlace>,
    /// The segment in use, where it stays as it is too.
    active: Option<ActivePlace>,
    /// Otherwise what is written anew, at least one segment.
    carried: Vec<Carried>,
    /// Seq of the last record then.
    last: u64,
    /// The highest that were seen anywhere, also in what is removed.
    epoch_seen: u64,
    opening_seen: u32,
    number_seen: u32,
}

/// A segment that is written anew from frames of an old one.
#[derive(Clone, Debug)]
struct Carried {
    /// The old one; `None` for an empty segment.
    source: Option<FileHeader>,
    /// The frames that are taken over.
    from: u64,
    to: u64,
    /// Seq of the newest record before them.
    before: u64,
    /// Checksum that the segment follows, where the one before it is not written anew too.
    previous: u64,
    /// The highest seq that they tell, or what lies before them.
    through: u64,
}

/// What only the content of a log says, as the plan's replay shows it.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The deployment.
    pub cluster: Option<Id>,
    /// The openings.
    pub epochs: EpochTable,
    /// The highest epoch known.
    pub epoch_highest: u64,
    /// The highest takeover known.
    pub takeover: u64,
    /// Entries and digest of the stored baseline.
    pub baseline: (u64, String),
}

/// What takes the content of a log as a plan would have it.
pub trait TakesContent {
    /// A piece of the stored baseline.
    ///
    /// # Errors
    /// Its own; the plan is of no use then.
    fn piece(&mut self, piece: BaselinePiece<'_>) -> Result<(), ReplayRefused>;

    /// All pieces were shown.
    ///
    /// # Errors
    /// Its own.
    fn baseline_ends(&mut self) -> Result<(), ReplayRefused>;

    /// What makes the sink for frames behind the baseline.
    fn frames(&mut self) -> Box<Inspect<'_>>;
}

impl Plan {
    /// Whether a replica keeps the log.
    pub fn is_of_replica(&self) -> bool {
        self.backend == Backend::Replica
    }
}

/// Whether there is anything of a log in `directory`.
///
/// # Errors
/// [`OpenError::Io`].
pub fn is_log(directory: &Path) -> Result<bool, OpenError> {
    let names = Directory::read_only(directory).names().map_err(OpenError::io("listing", directory))?;
    let kinds = [FileKind::Segment, FileKind::Baseline];
    Ok(names.iter().any(|name| name == MANIFEST_FILE || kinds.iter().any(|kind| kind.number(name).is_some())))
}

impl Repair {
    /// Takes the directory of a log for this process.
    ///
    /// # Errors
    /// [`OpenError::InUse`] or [`OpenError::Io`].
    pub fn of(directory: &Path) -> Result<Self, OpenError> {
        Self::on(Arc::new(Directory::new(directory)))
    }

    /// [`Repair::of`] on a medium of the caller's.
    ///
    /// # Errors
    /// The same.
    pub fn on(storage: Arc<dyn Storage>) -> Result<Self, OpenError> {
        let lock = lock(&*storage, &OpenOptions { node: "headwater log repair".into(), ..OpenOptions::default() })?;
        Ok(Self { storage, _lock: lock })
    }

    /// Finds out what is wrong and what can be done. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError::Mismatch`] for another format, [`OpenError::Io`].
    pub fn outlook(&self) -> Result<Outlook, OpenError> {
        match Manifest::read_any(&*self.storage) {
            Ok(Some(manifest)) => plan::outlook(&self.storage, manifest),
            Ok(None) => rebuild::outlook(&*self.storage, None, format!("{MANIFEST_FILE} is missing")),
            Err(OpenError::Damaged { offset, detail, .. }) => {
                rebuild::outlook(&*self.storage, None, format!("{MANIFEST_FILE} at byte {offset}: {detail}"))
            }
            Err(error) => Err(error),
        }
    }

    /// Shows what the log would hold.
    ///
    /// # Errors
    /// Those of an opening, were the plan carried out.
    pub fn replay(&self, plan: &Plan, content: &mut impl TakesContent) -> Result<(), OpenError> {
        let storage = &*self.storage;
        let (covered, from_segment) = plan.baseline.as_ref().map_or((0, 0), |place| (place.seq, place.from_segment));
        if let Some(place) = &plan.baseline {
            baseline::read(storage, place, &mut |piece| content.piece(piece))?;
        }
        content.baseline_ends().map_err(|source| OpenError::Refused { seq: covered, source })?;
        let mut sink = content.frames();
        let mut inspect = inspected(&mut *sink);
        let mut show = |number: u32, from: u64, to: u64| {
            let name = FileKind::Segment.name(number);
            frames(storage, &name, from, to, &mut |content, origin| {
                let is_within = number < from_segment || content.kind.is_record() && content.seq <= covered;
                if is_within { Ok(()) } else { inspect(content, origin) }
            })
        };
        let header = FILE_HEADER_BYTES as u64;
        for place in &plan.kept {
            show(place.number, header, place.end)?;
        }
        if let Some(active) = plan.active {
            show(active.number, header, u64::MAX)?;
        }
        for carried in &plan.carried {
            if let Some(source) = carried.source {
                show(source.number, carried.from, carried.to)?;
            }
        }
        Ok(())
    }

    /// Carries a plan out. What is removed is copied to the directory `removed` within the log's first.
    ///
    /// # Errors
    /// [`OpenError::Io`], and those of numbers that are used up. The log is as damaged as it was, or mended.
    pub fn carry_out(&self, plan: &Plan, known: &Known, now_ms: u64, removed: &str) -> Result<(), OpenError> {
        let storage = &*self.storage;
        self.copy_removed(plan, removed)?;
        let manifest = plan.manifest.as_ref();
        let exhausted = || OpenError::damaged(&storage.path(MANIFEST_FILE), 0, "there are no numbers left");
        let named = manifest.and_then(|manifest| manifest.files.as_ref()).map_or(1, |files| files.next_number);
        let above_seen = plan.number_seen.checked_add(1).ok_or_else(exhausted)?;
        let mut next_number = named.max(above_seen);
        let mut opening = manifest.map_or(0, |manifest| manifest.opening).max(plan.opening_seen);
        let origin = if plan.backend == Backend::Replica { Origin::Replica } else { Origin::Writer };
        let mut sealed = plan.kept.clone();
        let active = match plan.active {
            Some(active) => active,
            None => {
                opening = opening.checked_add(1).ok_or_else(exhausted)?;
                let mut made = None;
                for carried in &plan.carried {
                    if let Some((place, _)) = made.take() {
                        sealed.push(place);
                    }
                    let previous = sealed.last().map_or(carried.previous, |place| place.sum.0);
                    let MadeEnd { end, sum } = self.make(carried, origin, next_number, previous, opening)?;
                    let number = next_number;
                    next_number = number.checked_add(1).ok_or_else(exhausted)?;
                    let through = carried.through;
                    let sealed = SealedPlace { number, through, end, sum: Sum(sum), sealed_ms: now_ms };
                    made = Some((sealed, ActivePlace { number, start: FILE_HEADER_BYTES as u64, synced: end }));
                }
                made.expect("a plan without a segment in use makes one").1
            }
        };
        let mut baseline = plan.baseline.clone();
        if let (Some(place), None) = (&mut baseline, manifest) {
            (place.keys, place.digest) = known.baseline.clone();
        }
        let files = Files { baseline, sealed, active, next_number };
        let mut mended = Manifest { opening, files: Some(files), ..Manifest::new(plan.backend) };
        if plan.backend == Backend::File {
            let known_epoch = known.epoch_highest.max(known.epochs.newest().map_or(0, |start| start.epoch));
            // Where it is not written down what was given out, it was the time of an opening at most.
            let given_out = manifest.map_or(now_ms, |manifest| manifest.epoch);
            mended.epoch = given_out.max(plan.epoch_seen).max(known_epoch);
            mended.takeover = manifest.map_or(0, |manifest| manifest.takeover).max(known.takeover);
            mended.cluster = manifest.and_then(|manifest| manifest.cluster).or(known.cluster);
            let table = manifest.map_or(&known.epochs, |manifest| &manifest.epochs);
            let starts = table.starts().iter().filter(|start| start.first <= plan.last).copied().collect();
            mended.epochs = EpochTable::new(starts).expect("a part of a table is one");
        }
        mended.write(storage)?;
        for name in plan.removed.iter().filter(|name| *name != MANIFEST_FILE) {
            // What cannot be removed now is removed by the next opening: nothing names it.
            drop(storage.remove(name));
        }
        Ok(())
    }

    fn copy_removed(&self, plan: &Plan, removed: &str) -> Result<(), OpenError> {
        let storage = &*self.storage;
        if plan.removed.is_empty() {
            return Ok(());
        }
        let place = storage.path(removed);
        let to = storage.within(removed).map_err(OpenError::io("making", &place))?;
        for name in &plan.removed {
            let from = storage.open(name).map_err(OpenError::io("opening", &storage.path(name)))?;
            let Some(from) = from else { continue };
            let path = to.path(name);
            let copy = to.create(name).map_err(OpenError::io("creating", &path))?;
            let (mut offset, mut buffer) = (0, vec![0; CHUNK_BYTES]);
            loop {
                let read = from.read_at(&mut buffer, offset).map_err(OpenError::io("reading", &storage.path(name)))?;
                if read == 0 {
                    break;
                }
                copy.write_at(&buffer[..read], offset).map_err(OpenError::io("writing", &path))?;
                offset += read as u64;
            }
            copy.sync_all().map_err(OpenError::io("syncing", &path))?;
        }
        to.sync_directory().map_err(OpenError::io("syncing", &place))?;
        storage.sync_directory().map_err(OpenError::io("syncing the directory of", &place))
    }

    /// Writes a segment anew.
    fn make(
        &self,
        carried: &Carried,
        origin: Origin,
        number: u32,
        previous: u64,
        opening: u32,
    ) -> Result<MadeEnd, OpenError> {
        let storage = &*self.storage;
        let origin = carried.source.map_or(origin, |source| source.origin);
        let mut making = Making::begin(storage, FileKind::Segment, origin, number, carried.before, previous, opening)?;
        if let Some(source) = carried.source {
            let name = FileKind::Segment.name(source.number);
            frames(storage, &name, carried.from, carried.to, &mut |content, _| Ok(making.push(content)?))?;
        }
        making.finish(storage)
    }
}

/// Shows the frames of a segment from byte `from` on, up to byte `to` or the first that does not count.
fn frames(
    storage: &dyn Storage,
    name: &str,
    from: u64,
    to: u64,
    visit: &mut super::scan::Visit<'_>,
) -> Result<(), OpenError> {
    let path = storage.path(name);
    let missing = || OpenError::damaged(&path, 0, "is missing");
    let file = storage.open(name).map_err(OpenError::io("opening", &path))?.ok_or_else(missing)?;
    let length = file.length().map_err(OpenError::io("reading", &path))?;
    let mut window = Window::new(&*file, length.min(to), CHUNK_BYTES);
    let head = window.bytes(0, FILE_HEADER_BYTES).map_err(OpenError::io("reading", &path))?;
    let (header, sum) = super::scan::header_of(head, &path)?;
    let mut walk = Walk::new(header.salt, from, (from == FILE_HEADER_BYTES as u64).then_some(sum));
    loop {
        match walk.next(&mut window).map_err(OpenError::io("reading", &path))? {
            Step::Frame { content, .. } => {
                let seq = content.seq;
                visit(&content, header.origin).map_err(|source| OpenError::Refused { seq, source })?;
            }
            Step::Bad(reason) if to != u64::MAX => return Err(OpenError::damaged(&path, walk.offset(), reason)),
            Step::End | Step::Bad(_) => return Ok(()),
        }
    }
}
