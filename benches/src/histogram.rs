//! Latencies, counted in buckets of equal relative width: bounded memory, exact to 1.6 %.

use std::time::Duration;

/// Buckets per doubling.
const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.ilog2();

/// Durations by bucket. Merging loses nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    count: u64,
    longest_ns: u64,
}

impl Histogram {
    /// Counts one duration.
    pub(crate) fn add(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = bucket(ns);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.count += 1;
        self.longest_ns = self.longest_ns.max(ns);
    }

    /// Counts everything that `other` counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.longest_ns = self.longest_ns.max(other.longest_ns);
    }

    /// How many durations were counted.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The longest, in us.
    pub(crate) fn longest_us(&self) -> f64 {
        self.longest_ns as f64 / 1e3
    }

    /// The duration, in us, that the share `quantile` (0 to 1) of all does not exceed: the upper end of its bucket, never
    /// above the longest. 0 when nothing was counted.
    pub(crate) fn quantile_us(&self, quantile: f64) -> f64 {
        let wanted = ((self.count as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return last_of(bucket).min(self.longest_ns) as f64 / 1e3;
            }
        }
        self.longest_us()
    }
}

impl Extend<Duration> for Histogram {
    fn extend<I: IntoIterator<Item = Duration>>(&mut self, durations: I) {
        durations.into_iter().for_each(|duration| self.add(duration));
    }
}

/// Small numbers have a bucket each; of larger ones the leading bits decide.
fn bucket(ns: u64) -> usize {
    let shift = ns.max(1).ilog2().saturating_sub(STEP_BITS);
    let index = u64::from(shift) * STEPS + (ns >> shift);
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// The largest number of a bucket.
fn last_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / STEPS).saturating_sub(1);
    let leading = bucket - shift * STEPS;
    ((leading + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_within_its_bucket_and_the_bucket_is_narrow() {
        for ns in
            (0..4096).chain((12..50).flat_map(|bits| [1 << bits, (1 << bits) - 1, (1 << bits) + (1 << (bits - 2))]))
        {
            let last = last_of(bucket(ns));
            assert!(last >= ns && last - ns <= ns / STEPS, "{ns} -> {last}");
            assert_eq!(bucket(last), bucket(ns));
            assert_eq!(bucket(last + 1), bucket(ns) + 1);
        }
    }

    #[test]
    fn quantiles_of_merged_halves_are_those_of_the_whole() {
        let (mut even, mut odd) = (Histogram::default(), Histogram::default());
        for us in 1..=1000 {
            if us % 2 == 0 { &mut even } else { &mut odd }.add(Duration::from_micros(us));
        }
        even.merge(&odd);
        assert_eq!((even.count(), even.longest_us()), (1000, 1000.0));
        for (quantile, expected) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = even.quantile_us(quantile);
            assert!((expected..=expected * 1.016).contains(&found), "{quantile}: {found}");
        }
    }
}
