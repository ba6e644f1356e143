//! How long something took, counted in a few buckets: two additions of atomics a measurement, and no lock.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

/// Bounds of the buckets: how they are written, in seconds, and the same in ns. From a sync of a fast medium to a disk
/// that hangs.
const BOUNDS: [(&str, u64); 14] = [
    ("0.0001", 100_000),
    ("0.00025", 250_000),
    ("0.0005", 500_000),
    ("0.001", 1_000_000),
    ("0.0025", 2_500_000),
    ("0.005", 5_000_000),
    ("0.01", 10_000_000),
    ("0.025", 25_000_000),
    ("0.05", 50_000_000),
    ("0.1", 100_000_000),
    ("0.25", 250_000_000),
    ("1", 1_000_000_000),
    ("2.5", 2_500_000_000),
    ("10", 10_000_000_000),
];

/// A distribution of durations since the start.
#[derive(Debug)]
pub struct Histogram {
    /// How many fell into each bucket alone; the last one is for what is beyond all bounds.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_ns: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BOUNDS.len() + 1], sum_ns: AtomicU64::new(0) }
    }

    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|(_, bound)| ns <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// The upper bound of each bucket in seconds and how many fell into it alone, and the sum of all in ns.
    pub(super) fn read(&self) -> (impl Iterator<Item = (&'static str, u64)>, u64) {
        let bounds = BOUNDS.iter().map(|(text, _)| *text).chain(["+Inf"]);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        (bounds.zip(counts), self.sum_ns.load(Ordering::Relaxed))
    }
}
