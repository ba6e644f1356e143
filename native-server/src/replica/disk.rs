//! A replica's disk, behind the replica: what happened to the state is noted here and stored by a thread of its own.
//!
//! The node never waits for it. When it cannot keep up, or fails, lines are left out and the next content is a copy of the
//! whole state; until that is through, a restart finds the older content, which is a prefix as well.

use super::copying::Copying;
use super::keeper::{Keeper, Note};
use crate::log_view::LogView;
use crate::settings::Storage;
use crate::trouble::{Trouble, Troubles};
use crate::wal::file::ReplicaLog;
use crate::wal::{LogReader, Usage};
use bytes::Bytes;
use headwater_core::position::Position;
use headwater_core::replica::Event;
use headwater_core::store::memory::{MemorySnapshot, MemoryStore};
use headwater_core::store::{Progress, SnapshotError, Store};
use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;
use tokio::sync::oneshot;

/// Bytes that may wait for the disk before lines are left out.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// What a note takes beside its lines, roughly.
const NOTE_BYTES: usize = 512;

/// What the disk shares with the rest of the node.
pub(crate) struct DiskState {
    log: Arc<LogView>,
    shown: Mutex<Shown>,
    /// Whoever notes next is to copy the whole state.
    wants_copy: AtomicBool,
    /// Whoever notes next is to add a copy of the state beside the lines, which have become many.
    wants_baseline: AtomicBool,
    copying: Mutex<Copying>,
    waiting_bytes: AtomicUsize,
    failures: AtomicU64,
    trouble: Troubles,
    usage: Mutex<Usage>,
    stored: Mutex<Option<Position>>,
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
            wants_baseline: AtomicBool::new(false),
            copying: Mutex::default(),
            waiting_bytes: AtomicUsize::new(0),
            failures: AtomicU64::new(0),
            trouble: Troubles::default(),
            usage: Mutex::default(),
            stored: Mutex::new(stored),
        }
    }

    /// What a restart would find.
    pub(super) fn stored(&self) -> Option<Position> {
        *self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_stored(&self, position: Position) {
        *self.stored.lock().unwrap_or_else(PoisonError::into_inner) = Some(position);
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// What it does not do at this time.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.trouble.now()
    }

    /// What the content takes up.
    pub(super) fn usage(&self) -> Usage {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn takes_up(&self, usage: Usage) {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner) = usage;
    }

    pub(super) fn want_copy(&self) {
        self.wants_copy.store(true, Ordering::Release);
    }

    pub(super) fn want_baseline(&self) {
        self.wants_baseline.store(true, Ordering::Release);
    }

    /// The baseline that was queued is stored, or not needed any more.
    pub(super) fn baseline_stored(&self) {
        self.trouble.is_over();
        self.copying().stored(Instant::now());
    }

    pub(super) fn baseline_failed(&self, error: &dyn Error) {
        self.want_baseline();
        self.count_failure("storing a baseline", error, |copying| copying.failed(Instant::now()));
    }

    /// The baseline that was queued was not even begun, and the log may have been left between two segments.
    pub(super) fn baseline_not_begun(&self, error: &dyn Error) {
        self.failed("beginning a baseline", error, |copying| copying.failed(Instant::now()));
    }

    /// A note with these lines waits.
    fn waits(&self, lines: &[Bytes]) {
        self.waiting_bytes.fetch_add(bytes(lines), Ordering::Relaxed);
    }

    /// Notes that took up so much wait no longer.
    pub(super) fn is_done(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The content is a copy of the state as of `position`, in the node's `version`.
    pub(super) fn copied(&self, position: Position, reader: Arc<dyn LogReader>, version: u64) {
        self.is_stored(position);
        self.trouble.is_over();
        self.show(|shown| (shown.reader, shown.reader_version) = (Some(reader), version));
        self.wants_copy.store(false, Ordering::Release);
        self.wants_baseline.store(false, Ordering::Release);
        self.copying().stored(Instant::now());
    }

    pub(super) fn copy_failed(&self, error: &dyn Error) {
        self.failed("copying the state", error, |copying| copying.failed(Instant::now()));
    }

    pub(super) fn lines_failed(&self, error: &dyn Error) {
        self.failed("storing", error, |copying| copying.lines_failed(Instant::now()));
    }

    fn failed(&self, what: &str, error: &dyn Error, note: impl FnOnce(&mut Copying)) {
        self.want_copy();
        self.count_failure(what, error, note);
    }

    fn count_failure(&self, what: &str, error: &dyn Error, note: impl FnOnce(&mut Copying)) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let pause = {
            let mut copying = self.copying();
            note(&mut copying);
            copying.pause()
        };
        let error = super::client::with_sources(error);
        self.trouble.failed(format!("the replica's disk fell behind, {what}: {error}"));
        tracing::error!(what, %error, ?pause, "the replica's disk fell behind; serving goes on");
    }

    fn copying(&self) -> MutexGuard<'_, Copying> {
        // It is only ever assigned to.
        self.copying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, change: impl FnOnce(&mut Shown)) -> u64 {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut shown);
        let is_good = shown.trusted && shown.reader_version == shown.version;
        self.log.show(shown.reader.clone().filter(|_| is_good));
        shown.version
    }
}

/// The near end of the disk.
pub(super) struct Disk {
    notes: Sender<Note>,
    state: Arc<DiskState>,
    /// The progress that was noted last.
    noted: Progress,
    /// Lines were left out: only a copy helps.
    behind: bool,
}

impl Disk {
    /// Starts the thread over `log`, which holds a state that is as far as `restored`.
    pub(super) fn start(
        log: ReplicaLog,
        state: Arc<DiskState>,
        restored: Progress,
        storage: Storage,
    ) -> io::Result<Self> {
        let (notes, waiting) = channel();
        let reader = log.reader();
        // What is on disk is what was restored from it.
        state.show(|shown| (shown.reader, shown.trusted) = (Some(reader), true));
        let keeper = Keeper::new(log, Arc::clone(&state), storage);
        thread::Builder::new().name("replica-disk".into()).spawn(move || keeper.run(&waiting))?;
        Ok(Self { notes, state, noted: restored, behind: false })
    }

    /// From here on it is open whether the content leads on to the node's state.
    pub(super) fn doubt(&self) {
        self.state.show(|shown| shown.trusted = false);
    }

    /// It does.
    pub(super) fn trust(&self) {
        self.state.show(|shown| shown.trusted = true);
    }

    /// Takes note of what happened to `store`: `events` tell the lines, the store itself how far it is. Returns whether
    /// anything is new.
    ///
    /// To be called after whatever may change the store, events or not: what an offence changed is told by none.
    pub(super) fn follow(&mut self, events: &[Event], store: &MemoryStore) -> bool {
        let mut lines = Vec::new();
        let mut rebased = false;
        for event in events {
            match event {
                Event::Connected { baseline: None, .. } => self.trust(),
                Event::Applied(block) => lines.push(block.clone()),
                Event::Rebased { .. } => {
                    rebased = true;
                    lines.clear();
                }
                Event::Connected { .. } | Event::Advanced(_) | Event::Ended(_) => {}
            }
        }
        let progress = store.progress();
        let is_new = rebased || !lines.is_empty() || progress != self.noted;
        if is_new {
            self.note(lines, rebased, progress, || store.snapshot_for_disk());
        }
        is_new
    }

    /// Takes note of `lines` just applied and of the progress after them; `rebased` when the state was replaced as a
    /// whole. `snapshot` copies the state as it is now.
    pub(super) fn note(
        &mut self,
        lines: Vec<Bytes>,
        rebased: bool,
        progress: Progress,
        snapshot: impl Fn() -> Result<MemorySnapshot, SnapshotError>,
    ) {
        let version = self.state.show(|shown| {
            shown.version += u64::from(rebased);
            shown.trusted |= rebased;
        });
        self.noted.clone_from(&progress);
        self.behind |= rebased || self.state.waiting_bytes.load(Ordering::Relaxed) > WAITING_BYTES_MAX;
        if !self.state.log.is_readable() {
            self.state.want_copy();
        }
        let wants_copy = self.behind || self.state.wants_copy.load(Ordering::Acquire);
        let may_copy = wants_copy && self.state.copying().is_free(Instant::now());
        if may_copy && self.copy(version, &snapshot) {
            return;
        }
        if self.behind {
            self.state.copying().left_out();
        } else {
            self.state.waits(&lines);
            self.send(Note::Applied { lines, progress: Box::new(progress) });
            self.add_baseline(snapshot);
        }
    }

    /// Queues a copy of the state that the lines noted so far lead to, if one is wanted and may be taken.
    fn add_baseline(&self, snapshot: impl FnOnce() -> Result<MemorySnapshot, SnapshotError>) {
        let may = self.state.wants_baseline.load(Ordering::Acquire) && self.state.copying().is_free(Instant::now());
        if !may {
            return;
        }
        match snapshot() {
            Ok(snapshot) => {
                self.state.wants_baseline.store(false, Ordering::Release);
                self.state.copying().queued();
                self.send(Note::Baseline { snapshot });
            }
            // With the next note.
            Err(SnapshotError::TooMany | SnapshotError::Gone) => {}
            Err(SnapshotError::Store(error)) => self.state.baseline_failed(&error),
        }
    }

    /// Queues a copy of the state. Returns whether there is one.
    fn copy(&mut self, version: u64, snapshot: impl FnOnce() -> Result<MemorySnapshot, SnapshotError>) -> bool {
        match snapshot() {
            Ok(snapshot) => {
                self.behind = false;
                self.state.wants_copy.store(false, Ordering::Release);
                self.state.copying().queued();
                self.send(Note::Copy { snapshot, version });
                true
            }
            // Lists and streams have all the snapshots there may be: with the next note.
            Err(SnapshotError::TooMany | SnapshotError::Gone) => false,
            Err(SnapshotError::Store(error)) => {
                self.state.copy_failed(&error);
                false
            }
        }
    }

    fn send(&self, note: Note) {
        if self.notes.send(note).is_err() {
            self.state.lines_failed(&io::Error::other("the disk's thread has ended"));
        }
    }

    /// Stores everything, what was left out or failed included, and ends.
    pub(super) async fn finish(mut self, store: &MemoryStore) {
        let version = self.state.show(|_| {});
        if self.behind && !self.copy(version, || store.snapshot_for_disk()) {
            tracing::warn!("the replica's disk ends behind its state: the next start falls back");
        }
        // Whether its content leads on to what was noted only the thread can tell.
        let whole = store.snapshot_for_disk().ok().map(|snapshot| (snapshot, version));
        self.end_with(whole).await;
    }

    /// Stores everything noted, and ends.
    #[cfg(test)]
    pub(super) async fn end(self) {
        self.end_with(None).await;
    }

    async fn end_with(self, whole: Option<(MemorySnapshot, u64)>) {
        let (done, is_done) = oneshot::channel();
        self.send(Note::End { whole, done });
        if is_done.await.is_err() {
            tracing::warn!("the replica's disk did not say that everything is stored");
        }
    }
}

/// What a note with these lines takes up.
pub(super) fn bytes(lines: &[Bytes]) -> usize {
    NOTE_BYTES + lines.iter().map(Bytes::len).sum::<usize>()
}
