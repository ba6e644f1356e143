//! A replica's disk, behind the replica: what was applied is stored on a thread of its own, several blocks at a time,
//! always together with the progress that belongs to it.
//!
//! The node never waits for it. When it cannot keep up, or fails, lines are dropped and the next content is a copy of the
//! whole state; until that is through, a restart finds the older content, which is a prefix as well.

use crate::log_view::LogView;
use crate::wal::file::ReplicaLog;
use crate::wal::file::replica::ReplicaFrame;
use crate::wal::{AppendCause, AppendError, LogReader, OpenError};
use bytes::Bytes;
use headwater_core::command::{Line, Steer, Trust, decode, lines};
use headwater_core::position::Position;
use headwater_core::store::memory::MemorySnapshot;
use headwater_core::store::scan::Scan;
use headwater_core::store::{Progress, Snapshot, SnapshotError};
use std::borrow::Cow;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Bytes that may wait for the disk before lines are dropped.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// How long blocks are gathered before they are stored as one: a restart falls back by at most about this.
const GATHER: Duration = Duration::from_millis(20);
/// Bytes of lines beyond the baseline, and beyond its size, after which the state is copied anew.
const GROWTH_BYTES: u64 = 64 << 20;
/// First and longest wait after a failure until the state is copied anew; doubled with each further one.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Entries read from the snapshot at once.
const PAGE_RECORDS: usize = 256;

/// What the disk shares with the rest of the node.
pub(crate) struct DiskState {
    log: Arc<LogView>,
    shown: Mutex<Shown>,
    /// The thread asks for a copy of the whole state.
    wants_copy: AtomicBool,
    waiting_bytes: AtomicUsize,
    failures: AtomicU64,
    stored: Mutex<Option<Position>>,
    pause: Mutex<Pause>,
}

/// No copy is tried before `until`.
#[derive(Default)]
struct Pause {
    until: Option<Instant>,
    length: Duration,
}

/// Whether streams may read from the disk: only while its content leads on to the node's state.
#[derive(Default)]
struct Shown {
    reader: Option<Arc<dyn LogReader>>,
    /// Which state the reader's content leads to.
    reader_version: u64,
    /// How often the node's state was replaced as a whole.
    version: u64,
    trusted: bool,
}

impl DiskState {
    pub(super) fn new(log: Arc<LogView>, stored: Option<Position>) -> Self {
        Self {
            log,
            shown: Mutex::default(),
            wants_copy: AtomicBool::new(false),
            waiting_bytes: AtomicUsize::new(0),
            failures: AtomicU64::new(0),
            stored: Mutex::new(stored),
            pause: Mutex::default(),
        }
    }

    /// What a restart would find.
    pub(super) fn stored(&self) -> Option<Position> {
        *self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stored(&self, position: Position) {
        *self.stored.lock().unwrap_or_else(PoisonError::into_inner) = Some(position);
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn show(&self, change: impl FnOnce(&mut Shown)) -> u64 {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut shown);
        let is_good = shown.trusted && shown.reader_version == shown.version;
        self.log.show(shown.reader.clone().filter(|_| is_good));
        shown.version
    }

    fn failed(&self, what: &str, error: &dyn std::error::Error) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.wants_copy.store(true, Ordering::Release);
        let pause = {
            let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
            pause.length = (pause.length * 2).clamp(PAUSE.0, PAUSE.1);
            pause.until = Some(Instant::now() + pause.length);
            pause.length
        };
        let error = super::client::with_sources(error);
        tracing::error!(what, %error, ?pause, "the replica's disk fell behind; serving goes on");
    }

    /// Whether a failure is so recent that another copy would only keep the medium busy.
    fn is_paused(&self) -> bool {
        let pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        pause.until.is_some_and(|until| Instant::now() < until)
    }
}

enum Note {
    Applied { lines: Vec<Bytes>, progress: Box<Progress> },
    Copy { snapshot: MemorySnapshot, version: u64 },
    End(oneshot::Sender<()>),
}

/// The near end of the disk.
pub(super) struct Disk {
    notes: Sender<Note>,
    state: Arc<DiskState>,
    /// Lines were dropped: only a copy helps.
    behind: bool,
}

impl Disk {
    pub(super) fn start(log: ReplicaLog, state: Arc<DiskState>) -> io::Result<Self> {
        let (notes, waiting) = channel();
        let reader = log.reader();
        // What is on disk is what was restored from it.
        state.show(|shown| (shown.reader, shown.trusted) = (Some(reader), true));
        let thread_state = Arc::clone(&state);
        thread::Builder::new().name("replica-disk".into()).spawn(move || {
            let copied_bytes = log.bytes();
            Keeper { log, state: thread_state, stale: false, copied_bytes }.run(&waiting);
        })?;
        Ok(Self { notes, state, behind: false })
    }

    /// From here on it is open whether the content leads on to the node's state.
    pub(super) fn doubt(&self) {
        self.state.show(|shown| shown.trusted = false);
    }

    /// It does.
    pub(super) fn trust(&self) {
        self.state.show(|shown| shown.trusted = true);
    }

    /// Takes note of `lines` just applied and of the progress after them; `rebased` when the state was replaced as a
    /// whole. `snapshot` copies the state as it is now.
    pub(super) fn note(
        &mut self,
        lines: Vec<Bytes>,
        rebased: bool,
        progress: Progress,
        snapshot: impl FnOnce() -> Result<MemorySnapshot, SnapshotError>,
    ) {
        let version = self.state.show(|shown| {
            shown.version += u64::from(rebased);
            shown.trusted |= rebased;
        });
        self.behind |= rebased || self.state.waiting_bytes.load(Ordering::Relaxed) > WAITING_BYTES_MAX;
        if !self.state.log.is_readable() {
            self.state.wants_copy.store(true, Ordering::Release);
        }
        if (self.behind || self.state.wants_copy.load(Ordering::Acquire)) && !self.state.is_paused() {
            match snapshot() {
                Ok(snapshot) => {
                    self.behind = false;
                    self.state.wants_copy.store(false, Ordering::Release);
                    return self.send(Note::Copy { snapshot, version });
                }
                // Lists and streams have all the snapshots there may be: with the next note.
                Err(SnapshotError::TooMany | SnapshotError::Gone) => {}
                Err(SnapshotError::Store(error)) => self.state.failed("copying the state", &error),
            }
        }
        if !self.behind {
            self.state.waiting_bytes.fetch_add(lines.iter().map(Bytes::len).sum(), Ordering::Relaxed);
            self.send(Note::Applied { lines, progress: Box::new(progress) });
        }
    }

    fn send(&self, note: Note) {
        if self.notes.send(note).is_err() {
            self.state.failed("storing", &io::Error::other("the disk's thread has ended"));
        }
    }

    /// Stores everything noted.
    pub(super) async fn end(self) {
        let (done, is_done) = oneshot::channel();
        self.send(Note::End(done));
        if is_done.await.is_err() {
            tracing::warn!("the replica's disk did not say that everything is stored");
        }
    }
}

/// The thread.
struct Keeper {
    log: ReplicaLog,
    state: Arc<DiskState>,
    /// The content does not lead on to what is noted: nothing is stored until a copy is through.
    stale: bool,
    /// Bytes of the content when it was last copied.
    copied_bytes: u64,
}

impl Keeper {
    fn run(mut self, waiting: &Receiver<Note>) {
        while let Ok(first) = waiting.recv() {
            if !matches!(first, Note::End(_)) {
                thread::sleep(GATHER);
            }
            let mut notes = vec![first];
            notes.extend(waiting.try_iter());
            if let Some(done) = self.store(notes) {
                // Whoever asked may have stopped waiting.
                done.send(()).ok();
                return;
            }
        }
    }

    fn store(&mut self, notes: Vec<Note>) -> Option<oneshot::Sender<()>> {
        let mut end = None;
        let mut blocks = Vec::new();
        let mut newest = None;
        let mut copy = None;
        for note in notes {
            match note {
                Note::Applied { lines, progress } => {
                    self.state.waiting_bytes.fetch_sub(lines.iter().map(Bytes::len).sum(), Ordering::Relaxed);
                    blocks.extend(lines);
                    newest = Some(progress);
                }
                // It holds everything noted before it.
                Note::Copy { snapshot, version } => {
                    (copy, newest) = (Some((snapshot, version)), None);
                    blocks.clear();
                }
                Note::End(done) => end = Some(done),
            }
        }
        if let Some((snapshot, version)) = copy {
            match self.copy(&snapshot) {
                Ok(()) => {
                    self.stale = false;
                    self.copied_bytes = self.log.bytes();
                    let reader = self.log.reader();
                    self.state.is_stored(snapshot.progress().position);
                    *self.state.pause.lock().unwrap_or_else(PoisonError::into_inner) = Pause::default();
                    self.state.show(|shown| (shown.reader, shown.reader_version) = (Some(reader), version));
                }
                Err(error) => {
                    self.stale = true;
                    self.state.failed("copying the state", &*error);
                }
            }
        }
        if let Some(progress) = newest.filter(|_| !self.stale) {
            if let Err(error) = self.append(&blocks, &progress) {
                self.stale = true;
                self.state.failed("storing", &error);
            } else {
                self.state.is_stored(progress.position);
                if self.log.bytes() > self.copied_bytes * 2 + GROWTH_BYTES {
                    self.state.wants_copy.store(true, Ordering::Release);
                }
            }
        }
        end
    }

    fn append(&mut self, blocks: &[Bytes], progress: &Progress) -> Result<(), AppendError> {
        let mut frames = Vec::new();
        for block in blocks {
            for (start, line) in lines(block) {
                let Ok(Line::Log(command)) = decode(line, Trust::Own) else {
                    let words = "an applied line that is no command of the log".into();
                    return Err(AppendError::NotDone(AppendCause::OutOfPlace(words)));
                };
                frames.push(ReplicaFrame::Line { seq: command.seq, line: &block[start..start + line.len() + 1] });
            }
        }
        let text = progress.to_json();
        frames.push(ReplicaFrame::Progress { seq: progress.position.seq, text: text.as_bytes() });
        self.log.append(&frames)
    }

    /// Puts a copy of the whole state in place of the content.
    fn copy(&mut self, snapshot: &MemorySnapshot) -> Result<(), Box<dyn std::error::Error>> {
        let progress = snapshot.progress();
        let mut rebase = self.log.rebase().map_err(|error: OpenError| error)?;
        let mut line = Vec::new();
        for facts in snapshot.collections() {
            let begin = Steer::BaselineBegin { collection: Cow::Borrowed(&facts.name), created: facts.created };
            push(&mut line, |line| begin.write_line(line), |frame| rebase.push(frame))?;
            let mut scan = Scan::under("", None);
            while let Some(records) = scan.next_page(snapshot, &facts.name, PAGE_RECORDS)? {
                for record in records {
                    push(&mut line, |line| record.write_line(&facts.name, line), |frame| rebase.push(frame))?;
                }
            }
            let (keys, digest) = (facts.keys, facts.digest);
            let end = Steer::BaselineEnd { collection: Cow::Borrowed(&facts.name), keys, digest };
            push(&mut line, |line| end.write_line(line), |frame| rebase.push(frame))?;
        }
        let text = progress.to_json();
        rebase.push(ReplicaFrame::Progress { seq: progress.position.seq, text: text.as_bytes() })?;
        Ok(rebase.finish()?)
    }
}

/// Writes one line of the baseline into `line` and hands it on.
fn push(
    line: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>),
    hand_on: impl FnOnce(ReplicaFrame<'_>) -> Result<(), AppendError>,
) -> Result<(), AppendError> {
    line.clear();
    write(line);
    line.push(b'\n');
    hand_on(ReplicaFrame::Baseline(line))
}
