//! When what was written is made durable: with each group, or at intervals by a thread beside.

use super::super::error::OpenError;
use super::segment::Segment;
use crate::observed;
use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When the file log syncs, and so what its *durable* means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// Every group of writes is on the medium before it is acknowledged.
    #[default]
    Group,
    /// A write is acknowledged once the operating system has it, and on the medium at most about this much later: a kill
    /// of the process loses nothing, a power cut as much as was acknowledged in that time.
    Interval(Duration),
}

/// Bounds of [`SyncMode::Interval`], ms.
const INTERVAL_MS: std::ops::RangeInclusive<u64> = 1..=60_000;

impl fmt::Display for SyncMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group => f.write_str("group"),
            Self::Interval(every) => write!(f, "interval:{}", every.as_millis()),
        }
    }
}

impl FromStr for SyncMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (least, most) = (INTERVAL_MS.start(), INTERVAL_MS.end());
        match text.split_once(':') {
            None if text == "group" => Ok(Self::Group),
            Some(("interval", ms)) => match ms.parse() {
                Ok(ms) if INTERVAL_MS.contains(&ms) => Ok(Self::Interval(Duration::from_millis(ms))),
                _ => Err(format!("interval:MS takes {least} to {most} milliseconds, not {ms:?}")),
            },
            _ => Err(format!("{text:?} is neither group nor interval:MS")),
        }
    }
}

/// The syncs of one tail.
pub(super) struct Syncing {
    shared: Synced,
    /// Dropped to end the thread, if there is one.
    interval: Option<Sender<()>>,
}

/// What is known to be synced, also to those who do not append.
#[derive(Clone)]
pub(super) struct Synced(Arc<Shared>);

struct Shared {
    /// Held for the length of a sync, so that there is one at a time: the system tells of a failure once, to one of those
    /// who ask, and after that everything looks well.
    one: Mutex<()>,
    state: Mutex<State>,
}

struct State {
    segment: Arc<Segment>,
    /// Everything before this byte of the segment is synced.
    synced: u64,
    /// Up to where it was written.
    written: u64,
    /// The newest seq before each of the two.
    synced_seq: u64,
    written_seq: u64,
    /// The first failure. From then on nothing counts as synced that did not before.
    failed: Option<io::Error>,
}

impl State {
    fn check(&self) -> io::Result<()> {
        self.failed.as_ref().map_or(Ok(()), |error| Err(copy(error)))
    }
}

impl Synced {
    /// The segment in use, and the byte before which everything in it is synced.
    pub(super) fn place(&self) -> (u32, u64) {
        let state = self.lock();
        (state.segment.number, state.synced)
    }

    /// Makes everything up to the record with this seq durable, which was written by this opening or before it.
    pub(super) fn sync_through(&self, seq: u64) -> Result<(), OpenError> {
        let is_synced = || self.lock().synced_seq >= seq;
        if is_synced() {
            return Ok(());
        }
        let path = self.lock().segment.path.clone();
        self.sync().map_err(OpenError::io("syncing", &path))?;
        let never = || io::Error::other(format!("record {seq} was not written by this opening"));
        if is_synced() { Ok(()) } else { Err(OpenError::Io { doing: "syncing", path, source: never() }) }
    }

    /// Makes everything written durable, without keeping anybody from writing meanwhile.
    pub(super) fn sync(&self) -> io::Result<()> {
        let _one = self.one();
        let (segment, written, seq) = {
            let state = self.lock();
            state.check()?;
            if state.synced == state.written {
                return Ok(());
            }
            (state.segment.clone(), state.written, state.written_seq)
        };
        let begun = Instant::now();
        let outcome = segment.file.sync_data();
        observed::SYNC_DURATIONS.observe(begun.elapsed());
        let mut state = self.lock();
        match outcome {
            Ok(()) => (state.synced, state.synced_seq) = (written, seq),
            Err(error) => state.failed = Some(error),
        }
        state.check()
    }

    fn one(&self) -> MutexGuard<'_, ()> {
        self.0.one.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // It is only ever assigned to.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Syncing {
    /// Begins at a place up to which everything is durable.
    pub(super) fn start(mode: SyncMode, segment: Arc<Segment>, synced: u64) -> Self {
        let seq = segment.durable().through;
        let state = State { segment, synced, written: synced, synced_seq: seq, written_seq: seq, failed: None };
        let shared = Synced(Arc::new(Shared { one: Mutex::new(()), state: Mutex::new(state) }));
        let interval = match mode {
            SyncMode::Group => None,
            SyncMode::Interval(every) => {
                let (interval, ended) = channel::<()>();
                let synced = shared.clone();
                let thread = std::thread::Builder::new().name("log-sync".into()).spawn(move || {
                    while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) && synced.sync().is_ok() {}
                });
                if let Err(error) = thread {
                    shared.lock().failed = Some(error);
                }
                Some(interval)
            }
        };
        Self { shared, interval }
    }

    /// Everything before this byte of the segment in use is synced.
    pub(super) fn synced(&self) -> u64 {
        self.shared.lock().synced
    }

    /// What is known to be synced, for others.
    pub(super) fn shared(&self) -> Synced {
        self.shared.clone()
    }

    /// Notes that everything up to `end` is written, the newest seq in it, and makes it durable where that is done with
    /// each group.
    pub(super) fn written(&self, end: u64, seq: u64) -> io::Result<()> {
        {
            let mut state = self.shared.lock();
            state.written = end;
            state.written_seq = state.written_seq.max(seq);
            state.check()?;
        }
        if self.interval.is_none() { self.sync() } else { Ok(()) }
    }

    /// Makes everything written durable. After the first failure, whoever met with it, it always fails.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.shared.sync()
    }

    /// Cuts the file at `end`, behind which nothing counts, durably.
    pub(super) fn cut(&self, end: u64) -> io::Result<()> {
        let _one = self.shared.one();
        let segment = self.shared.lock().segment.clone();
        let outcome = segment.file.truncate(end).and_then(|()| segment.file.sync_all());
        let mut state = self.shared.lock();
        if let (Err(error), None) = (outcome, &state.failed) {
            state.failed = Some(error);
        }
        state.check()
    }

    /// Goes on in another segment, after a [`Syncing::sync`].
    pub(super) fn go_on_in(&self, segment: Arc<Segment>, synced: u64) {
        let _one = self.shared.one();
        let mut state = self.shared.lock();
        (state.segment, state.synced, state.written) = (segment, synced, synced);
    }
}

/// The same error for one more who has to know.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::storage::StoredFile;
    use super::*;
    use std::path::PathBuf;
    use std::sync::mpsc::Receiver;
    use std::thread;

    /// A file whose first sync fails when it is told to; the system then has told of the failure, and later ones succeed.
    #[derive(Debug)]
    struct FailsOnce {
        begun: Sender<()>,
        told: Mutex<Option<Receiver<()>>>,
    }

    impl StoredFile for FailsOnce {
        fn length(&self) -> io::Result<u64> {
            Ok(0)
        }

        fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> io::Result<usize> {
            Ok(0)
        }

        fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
            Ok(())
        }

        fn allocate(&self, _length: u64) -> io::Result<()> {
            Ok(())
        }

        fn truncate(&self, _length: u64) -> io::Result<()> {
            Ok(())
        }

        fn sync_data(&self) -> io::Result<()> {
            let told = self.told.lock().unwrap().take();
            self.begun.send(()).unwrap();
            told.map_or(Ok(()), |told| Err(io::Error::other(told.recv().map_or("nobody told it", |()| "failed"))))
        }

        fn sync_all(&self) -> io::Result<()> {
            self.sync_data()
        }
    }

    #[test]
    fn a_failure_that_one_met_with_is_everybody_s_for_ever() {
        let ((begun, begins), (tell, told)) = (channel(), channel());
        let file = Arc::new(FailsOnce { begun, told: Mutex::new(Some(told)) });
        let segment = Arc::new(Segment::empty(file, PathBuf::from("x"), 1, 0, 56, (4, 4)));
        let syncing = Syncing::start(SyncMode::Interval(Duration::MAX), segment.clone(), 56);
        syncing.written(100, 5).unwrap();
        let synced = syncing.shared();
        thread::scope(|scope| {
            // Dropped with a panic here, so that nobody waits for it for ever.
            let tell = tell;
            let beside = scope.spawn(|| synced.sync());
            begins.recv().unwrap();
            let (starts, started) = channel();
            let second = scope.spawn({
                let syncing = &syncing;
                move || {
                    starts.send(()).unwrap();
                    syncing.sync()
                }
            });
            started.recv().unwrap();
            // The second waits for the first. Were it not to, it would be here long before.
            assert_eq!(begins.recv_timeout(Duration::from_millis(100)), Err(RecvTimeoutError::Timeout));
            tell.send(()).unwrap();
            assert!(beside.join().unwrap().is_err());
            assert!(second.join().unwrap().is_err());
        });
        for _ in 0..2 {
            assert!(syncing.written(200, 6).is_err());
            assert!(syncing.sync().is_err());
            assert!(syncing.cut(100).is_err(), "what may have been lost before is not made good by it");
            assert!(synced.sync_through(5).is_err());
        }
        assert!(synced.sync_through(4).is_ok(), "durable since before");
        assert_eq!(synced.place(), (1, 56));
    }

    #[test]
    fn what_a_baseline_covers_is_synced_also_in_a_segment_that_came_later() {
        let ((begun, begins), path) = (channel(), PathBuf::from("x"));
        let file = Arc::new(FailsOnce { begun, told: Mutex::new(None) });
        let segment = |number| Arc::new(Segment::empty(file.clone(), path.clone(), number, 0, 56, (4, 4)));
        let syncing = Syncing::start(SyncMode::Interval(Duration::MAX), segment(1), 56);
        let synced = syncing.shared();
        syncing.written(100, 5).unwrap();
        syncing.sync().unwrap();
        syncing.go_on_in(segment(2), 56);
        syncing.written(100, 7).unwrap();
        synced.sync_through(5).unwrap();
        assert_eq!(begins.try_iter().count(), 1, "it was durable already");
        synced.sync_through(6).unwrap();
        assert_eq!((begins.try_iter().count(), synced.place()), (1, (2, 100)));
        assert!(synced.sync_through(8).is_err(), "nobody wrote it");
    }

    #[test]
    fn names_a_mode_and_prints_it_back() {
        for text in ["group", "interval:1", "interval:60000"] {
            assert_eq!(text.parse::<SyncMode>().unwrap().to_string(), text);
        }
        for text in ["", "always", "interval", "interval:0", "interval:60001", "interval:x", "group:5"] {
            let error = text.parse::<SyncMode>().unwrap_err();
            assert!(error.contains("interval:MS"), "{error}");
        }
    }
}
