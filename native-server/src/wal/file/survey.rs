//! What is in a segment, damaged or not: every stretch of frames that follow each other, found by their checksums, which
//! hold for their place in their file whatever became of the frames before.

use super::super::error::{OpenError, ReplayRefused};
use super::super::storage::Storage;
use super::frame::{FrameContent, Header, Kind};
use super::header::{FILE_HEADER_BYTES, FileHeader, FileKind, Origin};
use super::scan::{Shape, Visit, header_of, written_end};
use super::walk::{Step, Walk, Window};
use std::collections::BTreeSet;
use std::io;

const CHUNK_BYTES: usize = 1024 * 1024;

/// How much of a segment counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) shape: Shape,
    /// Nothing behind this byte does; `None`: all of the file.
    pub(super) end: Option<u64>,
}

/// What was found in a segment.
#[derive(Clone, Debug)]
pub struct Survey {
    pub(super) header: FileHeader,
    pub(super) runs: Vec<Run>,
    /// Places where something else than a frame lies before one that counts, and what. What lies behind the last run is
    /// not among them.
    bad: Vec<(u64, &'static str)>,
    /// Bytes behind the last run that are no room.
    pub(super) rest: u64,
    /// Length of the file.
    pub bytes: u64,
}

/// Frames that follow each other. Of a replica's only whole groups count.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) records: u64,
    /// Seq of its first and last record; 0 for none.
    pub(super) first: u64,
    pub(super) last: u64,
    /// The highest seq that a record or progress tells; 0 for none.
    pub(super) through: u64,
    /// The lowest seq that progress tells.
    pub(super) progress_least: Option<u64>,
    pub(super) openings: BTreeSet<u32>,
    /// The highest epoch that an EPOCH command of a writer opened.
    pub(super) epoch: u64,
    /// Checksum of its last frame, or of the header before it.
    pub(super) sum: u64,
}

impl Survey {
    /// Whether a replica wrote the lines.
    pub fn is_of_replica(&self) -> bool {
        self.header.origin == Origin::Replica
    }

    /// Seq of the newest record before the segment.
    pub fn before(&self) -> u64 {
        self.header.seq
    }

    /// Seqs of the first and the last record found; `None` when there is none.
    pub fn seqs(&self) -> Option<(u64, u64)> {
        let with_records = || self.runs.iter().filter(|run| run.records > 0);
        Some((with_records().map(|run| run.first).min()?, with_records().map(|run| run.last).max()?))
    }

    /// Records found.
    pub fn records(&self) -> u64 {
        self.runs.iter().map(|run| run.records).sum()
    }

    /// Openings that wrote them.
    pub fn openings(&self) -> usize {
        self.runs.iter().flat_map(|run| &run.openings).collect::<BTreeSet<_>>().len()
    }

    /// Where the frames end that were found.
    pub fn end(&self) -> u64 {
        self.runs.last().map_or(FILE_HEADER_BYTES as u64, |run| run.to)
    }

    /// Each place where something else than a frame lies before one that counts, and what.
    pub fn bad(&self) -> &[(u64, &'static str)] {
        &self.bad
    }

    pub(super) fn opening_newest(&self) -> u32 {
        self.runs.iter().flat_map(|run| run.openings.last()).copied().max().unwrap_or(0)
    }

    pub(super) fn epoch_newest(&self) -> u64 {
        self.runs.iter().map(|run| run.epoch).max().unwrap_or(0)
    }

    /// The run that begins with the segment; every survey has one, without frames if need be.
    pub(super) fn first_run(&self) -> &Run {
        &self.runs[0]
    }
}

/// Reads the segment with this number and shows each frame that is whole to `visit`.
pub(super) fn survey(
    storage: &dyn Storage,
    number: u32,
    extent: Extent,
    visit: &mut Visit<'_>,
) -> Result<Survey, OpenError> {
    let name = FileKind::Segment.name(number);
    let path = storage.path(&name);
    let missing = || OpenError::damaged(&path, 0, "is missing");
    let file = storage.open(&name).map_err(OpenError::io("opening", &path))?.ok_or_else(missing)?;
    let bytes = file.length().map_err(OpenError::io("reading", &path))?;
    let mut window = Window::new(&*file, bytes.min(extent.end.unwrap_or(u64::MAX)), CHUNK_BYTES);
    let head = window.bytes(0, FILE_HEADER_BYTES).map_err(OpenError::io("reading", &path))?;
    let (header, header_sum) = header_of(head, &path)?;
    if (header.kind, header.number) != (FileKind::Segment, number) {
        return Err(OpenError::damaged(&path, 0, format!("the file is {:?} {}", header.kind, header.number)));
    }
    let mut runs = Vec::new();
    let mut bad: Vec<(u64, &'static str)> = Vec::new();
    let mut begin = (FILE_HEADER_BYTES as u64, Some(header_sum));
    loop {
        let walk = Walk::new(header.salt, begin.0, begin.1);
        let before = if runs.is_empty() { Some(header.seq) } else { None };
        let mut running = Running { extent, walk, before, origin: header.origin, run: Run::default() };
        let stopped = running.go(&mut window, visit).map_err(|error| error.of(&path))?;
        let Running { walk, run, .. } = running;
        let is_first = runs.is_empty();
        if is_first || run.to > run.from {
            let (from, sum) = begin;
            let nothing = Run { from, to: from, sum: sum.unwrap_or(0), ..Run::default() };
            runs.push(if run.to > run.from { run } else { nothing });
        }
        let Some(reason) = stopped else { break };
        let next =
            window.find_frame(walk.offset(), header.salt, |_, _| true).map_err(OpenError::io("reading", &path))?;
        let Some(next) = next else { break };
        bad.push((walk.offset(), reason));
        begin = (next, None);
    }
    let end = runs.last().map_or(0, |run: &Run| run.to);
    let rest = written_end(&mut window, end).map_err(OpenError::io("reading", &path))? - end;
    Ok(Survey { header, runs, bad, rest, bytes })
}

/// One run while it is read.
struct Running {
    extent: Extent,
    walk: Walk,
    /// Seq of the record before, where it is known.
    before: Option<u64>,
    origin: Origin,
    run: Run,
}

enum Failed {
    Io(io::Error),
    Refused(u64, ReplayRefused),
}

impl Failed {
    fn of(self, path: &std::path::Path) -> OpenError {
        match self {
            Self::Io(error) => OpenError::io("reading", path)(error),
            Self::Refused(seq, source) => OpenError::Refused { seq, source },
        }
    }
}

impl Running {
    /// Goes on until something else than the next frame comes; says what, or `None` at the end.
    fn go(&mut self, window: &mut Window<'_>, visit: &mut Visit<'_>) -> Result<Option<&'static str>, Failed> {
        let mut group: Option<Run> = None;
        let mut is_begun = false;
        loop {
            let (offset, header, content) = match self.walk.next(window).map_err(Failed::Io)? {
                Step::End => return Ok(None),
                Step::Bad(reason) => return Ok(Some(reason)),
                Step::Frame { offset, header, content } => (offset, header, content),
            };
            let is_record = content.kind.is_record();
            let is_out_of_order = match (self.extent.shape, self.before) {
                (_, None) => false,
                (Shape::Writer, Some(before)) => content.seq != before + 1,
                (Shape::Replica, Some(before)) => content.seq <= before,
            };
            if is_record && is_out_of_order {
                return Ok(Some("a seq out of order"));
            }
            // Where a run begins in the middle of a replica's group, the rest of that group is of no use.
            if self.extent.shape == Shape::Replica && !is_begun && header.back != 0 {
                continue;
            }
            is_begun = true;
            if is_record {
                self.before = Some(content.seq);
            }
            let end = self.walk.offset();
            visit(&content, self.origin).map_err(|source| Failed::Refused(content.seq, source))?;
            match self.extent.shape {
                Shape::Writer => self.run.add(offset, end, &header, &content),
                Shape::Replica => {
                    let grown = group.get_or_insert_with(|| self.run.clone());
                    grown.add(offset, end, &header, &content);
                    if header.last {
                        self.run = group.take().expect("just grown");
                    }
                }
            }
        }
    }
}

impl Run {
    fn add(&mut self, offset: u64, end: u64, header: &Header, content: &FrameContent<'_>) {
        if self.to == 0 {
            self.from = offset;
        }
        (self.to, self.sum) = (end, header.sum);
        self.openings.insert(header.opening);
        self.epoch = self.epoch.max(content.epoch.unwrap_or(0));
        if content.kind.is_record() {
            self.first = if self.records == 0 { content.seq } else { self.first };
            self.records += 1;
            self.last = content.seq;
        }
        if content.kind == Kind::Progress {
            self.progress_least = Some(self.progress_least.map_or(content.seq, |least| least.min(content.seq)));
        }
        self.through = self.through.max(content.seq);
    }
}
