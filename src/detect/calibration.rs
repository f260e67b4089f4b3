//! How unusual a measure is beside its own past: a conformal p-value whose calibration set forgets, with a tail fitted
//! beyond the largest values seen. It never knows what is measured.
//!
//! Conformal p-values after Laxhammar and Falkman, "Conformal prediction for distribution-independent anomaly detection
//! in streaming vessel data", StreamKDD 2010; the tail's index is Hill's, "A simple general approach to inference about
//! the tail of a distribution", Annals of Statistics 3 (1975).

use serde::{Deserialize, Serialize};

/// Surprises are given once so many measures are known: a p-value cannot be below one in so many anyway.
pub const LEARNED: u32 = 150;

/// Measures after which an old one counts half.
const HALF_LIFE: f32 = 4_000.0;
/// Width of a bin, as a ratio of its bounds.
const BIN_RATIO: f64 = 1.03;
/// Bins kept, of those that are not empty: next to each other they span six decades. Beyond that the two lowest become
/// one, which no surprise is about.
const BINS_MAX: usize = 512;
/// A bin of less weight is forgotten.
const WEIGHT_MIN: f32 = 1e-6;
/// Share of the past that makes the tail.
const TAIL_SHARE: f64 = 0.02;
/// The tail index before any is seen, and for how many measures it counts.
const TAIL_INDEX_PRIOR: f64 = 0.15;
const TAIL_PRIOR_WEIGHT: f64 = 3.0;

/// The past of one measure (a finite number of at least 0) as a decaying histogram over its logarithm.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    seen: u32,
    /// Weight of measures that are 0.
    zeros: f32,
    /// The bins that are not empty, the lowest first: their index and weight. Bin `i` holds measures about `BIN_RATIO`
    /// to the power `i`. One measure that is far beyond the others takes one bin, and no room from them.
    bins: Vec<(i32, f32)>,
}

impl Calibration {
    /// Whether so many measures are known that surprises are given.
    pub fn is_learned(&self) -> bool {
        self.seen >= LEARNED
    }

    /// −log10 of the probability of a measure at least this large, by the past alone; none while too little is known.
    pub fn surprise(&self, measure: f64) -> Option<f64> {
        if !self.is_learned() {
            return None;
        }
        let Some(bin) = bin(measure) else { return Some(0.0) };
        let total = f64::from(self.zeros) + weight_of(&self.bins);
        // One more on both sides: the measure itself belongs to the set, and no p-value is 0.
        let rarity = |above: f64| ((total + 1.0) / (above + 1.0)).log10();
        let above = weight_of(&self.bins[self.bins.partition_point(|(index, _)| *index < bin)..]);
        let ranked = rarity(above);
        // With a whole measure as large the ranks know better than a fit.
        if above >= 0.5 {
            return Some(ranked);
        }
        let Some(tail) = self.tail(total) else { return Some(ranked) };
        let steps = f64::from(bin - tail.threshold);
        if steps <= 0.0 {
            return Some(ranked);
        }
        let beyond = rarity(tail.weight) + steps * BIN_RATIO.log10() / tail.index;
        Some(ranked.max(beyond))
    }

    /// Adds a measure to the past.
    pub fn learn(&mut self, measure: f64) {
        let keep = 0.5_f32.powf(1.0 / HALF_LIFE);
        self.zeros *= keep;
        self.bins.retain_mut(|(_, weight)| {
            *weight *= keep;
            *weight >= WEIGHT_MIN
        });
        self.seen = self.seen.saturating_add(1);
        let Some(bin) = bin(measure) else {
            self.zeros += 1.0;
            return;
        };
        match self.bins.binary_search_by_key(&bin, |(index, _)| *index) {
            Ok(at) => self.bins[at].1 += 1.0,
            Err(at) => self.bins.insert(at, (bin, 1.0)),
        }
        if self.bins.len() > BINS_MAX {
            let (_, lowest) = self.bins.remove(0);
            self.bins[0].1 += lowest;
        }
    }

    /// What is known of the largest measures (Hill's estimate with a prior). None where all were 0: where a tail begins
    /// is then a matter of the unit, and of nothing that was seen.
    fn tail(&self, total: f64) -> Option<Tail> {
        let lowest = self.bins.first()?.0;
        let mut weight = 0.0;
        let mut start = self.bins.len();
        while start > 0 && weight + f64::from(self.bins[start - 1].1) <= TAIL_SHARE * total {
            start -= 1;
            weight += f64::from(self.bins[start].1);
        }
        let threshold = start.checked_sub(1).map_or(lowest - 1, |below| self.bins[below].0);
        let excess_of = |(index, weight): &(i32, f32)| f64::from(*weight) * f64::from(index - threshold);
        let excess: f64 = self.bins[start..].iter().map(excess_of).sum();
        let index = (excess * BIN_RATIO.ln() + TAIL_PRIOR_WEIGHT * TAIL_INDEX_PRIOR) / (weight + TAIL_PRIOR_WEIGHT);
        Some(Tail { threshold, weight, index })
    }
}

/// The bin above which the tail lies, and the tail's weight and index.
struct Tail {
    threshold: i32,
    weight: f64,
    index: f64,
}

/// The bin of a measure; none for 0 and for what is as good as 0.
fn bin(measure: f64) -> Option<i32> {
    (measure > 1e-30).then(|| (measure.min(1e300).ln() / BIN_RATIO.ln()).round() as i32)
}

fn weight_of(bins: &[(i32, f32)]) -> f64 {
    bins.iter().map(|(_, weight)| f64::from(*weight)).sum()
}
