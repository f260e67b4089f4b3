//! What was counted: for each window (or hour) how many values lie in each bin.

/// What bins are to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They rise: numbers.
    Ordered,
    /// They only differ: categories.
    Unordered,
}

/// Counts of one column of one slice, the oldest window first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    kind: Kind,
    bins: usize,
    /// Window by window.
    counts: Vec<u64>,
}

impl Series {
    /// Without any value.
    pub fn new(kind: Kind, bins: usize, windows: usize) -> Self {
        Self { kind, bins, counts: vec![0; bins * windows] }
    }

    /// What its bins are to each other.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Adds values to a bin of a window.
    ///
    /// # Panics
    ///
    /// If there is no such bin or window.
    pub fn add(&mut self, window: usize, bin: usize, count: u64) {
        assert!(bin < self.bins, "bin {bin} of {}", self.bins);
        let place = &mut self.counts[window * self.bins + bin];
        *place = place.saturating_add(count);
    }

    /// A window's counts by bin.
    pub fn window(&self, window: usize) -> &[u64] {
        &self.counts[window * self.bins..(window + 1) * self.bins]
    }

    /// Counts by bin of several windows together.
    pub fn sum(&self, windows: impl IntoIterator<Item = usize>) -> Vec<u64> {
        let mut sum = vec![0_u64; self.bins];
        for window in windows {
            for (total, count) in sum.iter_mut().zip(self.window(window)) {
                *total = total.saturating_add(*count);
            }
        }
        sum
    }

    /// Whether there is no value at all.
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }
}

/// How many values there are in all bins.
pub(super) fn total(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |total, count| total.saturating_add(*count))
}

/// The counts of one that are not those of the other, which are part of it.
pub(super) fn without(counts: &[u64], part: &[u64]) -> Vec<u64> {
    counts.iter().zip(part).map(|(count, part)| count.saturating_sub(*part)).collect()
}
