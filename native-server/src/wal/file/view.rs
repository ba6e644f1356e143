//! All segments of an opening, as streams read them, and the fence between the one that appends and a newer opening.

use super::super::error::ReadError;
use super::super::{BoxFuture, Chunk, LogReader};
use super::segment::Segment;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

/// What one opening shares between the one that appends, those that read, and the one that trims.
#[derive(Debug)]
pub(super) struct View {
    /// Oldest first; the last one is in use. Never empty.
    segments: RwLock<Vec<Arc<Segment>>>,
    /// Locked for the length of an append, so that a newer opening waits for the one under way.
    fenced: Mutex<bool>,
}

impl View {
    pub(super) fn new(segments: Vec<Arc<Segment>>) -> Self {
        assert!(!segments.is_empty(), "a log has a segment in use");
        Self { segments: RwLock::new(segments), fenced: Mutex::new(false) }
    }

    fn segments(&self) -> RwLockReadGuard<'_, Vec<Arc<Segment>>> {
        // Whoever holds the lock for writing only pushes or drains.
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The segment in use.
    pub(super) fn active(&self) -> Arc<Segment> {
        self.segments().last().expect("a log has a segment in use").clone()
    }

    /// Adds a segment behind all others.
    pub(super) fn add(&self, segment: Arc<Segment>) {
        self.segments.write().unwrap_or_else(PoisonError::into_inner).push(segment);
    }

    /// Shows nothing any more of the segments before number `first`, and hands them out. Reading of them may go on.
    pub(super) fn forget_before(&self, first: u32) -> Vec<Arc<Segment>> {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let gone = segments.partition_point(|segment| segment.number < first).min(segments.len() - 1);
        segments.drain(..gone).collect()
    }

    /// Whether a newer opening has begun; hold it as long as that must not happen.
    pub(super) fn fenced(&self) -> MutexGuard<'_, bool> {
        self.fenced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the appends of this opening.
    pub(super) fn fence(&self) {
        *self.fenced() = true;
    }

    /// Seq of the newest record before the first segment.
    pub(super) fn before(&self) -> u64 {
        self.segments().first().expect("a log has a segment in use").before
    }

    fn floor(&self) -> u64 {
        self.before() + 1
    }

    /// [`LogReader::read`], on this thread.
    pub(super) fn read_now(&self, from: u64, bytes_max: usize) -> Result<Option<Chunk>, ReadError> {
        let (floor, ahead) = {
            let segments = self.segments();
            let after = segments.partition_point(|segment| segment.before < from);
            (segments[0].before + 1, segments[after.saturating_sub(1)..].to_vec())
        };
        if from < floor {
            return Err(ReadError::Trimmed { floor });
        }
        let mut found = None;
        // Where a segment holds nothing from there on, the next one may: what it held was trimmed of lines by a scope.
        for segment in &ahead {
            if from > segment.durable().through {
                continue;
            }
            let chunk = segment.read(from, bytes_max)?;
            let is_empty = chunk.lines.is_empty();
            found = Some(chunk);
            if !is_empty {
                break;
            }
        }
        Ok(found)
    }
}

/// Reads from the blocking pool of the runtime it is called on.
pub(super) struct ViewReader(pub(super) Arc<View>);

impl LogReader for ViewReader {
    fn floor(&self) -> u64 {
        self.0.floor()
    }

    fn through(&self) -> u64 {
        self.0.active().durable().through
    }

    fn read(&self, from: u64, bytes_max: usize) -> BoxFuture<'_, Result<Option<Chunk>, ReadError>> {
        let view = self.0.clone();
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || view.read_now(from, bytes_max));
            read.await.unwrap_or_else(|error| Err(ReadError::Io(io::Error::other(error))))
        })
    }
}
