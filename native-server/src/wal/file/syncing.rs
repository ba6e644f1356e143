//! When what was written is made durable: with each group, or at intervals by a thread beside.

use super::segment::Segment;
use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
pub(super) struct Synced(Arc<Mutex<State>>);

impl Synced {
    /// The segment in use, and the byte before which everything in it is synced.
    pub(super) fn place(&self) -> (u32, u64) {
        let state = self.lock();
        (state.segment.number, state.synced)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // It is only ever assigned to.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct State {
    segment: Arc<Segment>,
    /// Everything before this byte of the segment is synced.
    synced: u64,
    /// Up to where it was written.
    written: u64,
    failed: Option<io::Error>,
}

impl Syncing {
    /// Begins at a place up to which everything is durable.
    pub(super) fn start(mode: SyncMode, segment: Arc<Segment>, synced: u64) -> Self {
        let shared = Synced(Arc::new(Mutex::new(State { segment, synced, written: synced, failed: None })));
        let interval = match mode {
            SyncMode::Group => None,
            SyncMode::Interval(every) => {
                let (interval, ended) = channel::<()>();
                let state = shared.clone();
                let thread = std::thread::Builder::new().name("log-sync".into()).spawn(move || {
                    while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                        sync_beside(&state);
                    }
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

    /// Notes that everything up to `end` is written, and makes it durable where that is done with each group.
    pub(super) fn written(&self, end: u64) -> io::Result<()> {
        {
            let mut state = self.shared.lock();
            state.written = end;
            if let Some(error) = state.failed.take() {
                return Err(error);
            }
        }
        if self.interval.is_none() { self.sync() } else { Ok(()) }
    }

    /// Makes everything written durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        let mut state = self.shared.lock();
        if let Some(error) = state.failed.take() {
            return Err(error);
        }
        if state.synced < state.written {
            state.segment.file.sync_data()?;
            state.synced = state.written;
        }
        Ok(())
    }

    /// Goes on in another segment, after a [`Syncing::sync`].
    pub(super) fn go_on_in(&self, segment: Arc<Segment>, synced: u64) {
        let mut state = self.shared.lock();
        (state.segment, state.synced, state.written) = (segment, synced, synced);
    }
}

/// Syncs without keeping others from writing meanwhile.
fn sync_beside(shared: &Synced) {
    let (segment, written) = {
        let state = shared.lock();
        if state.failed.is_some() || state.synced == state.written {
            return;
        }
        (state.segment.clone(), state.written)
    };
    let outcome = segment.file.sync_data();
    let mut state = shared.lock();
    match outcome {
        Err(error) => state.failed = Some(error),
        Ok(()) if state.segment.number == segment.number => state.synced = state.synced.max(written),
        Ok(()) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
