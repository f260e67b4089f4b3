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
/// Bins kept; with the ratio they span 13 decades, and what is smaller falls into the lowest.
const BINS_MAX: usize = 1_024;
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
    /// Index of the first bin; bin `i` holds measures about `BIN_RATIO` to the power `i`.
    first: i32,
    weights: Vec<f32>,
}

impl Calibration {
    /// −log10 of the probability of a measure at least this large, by the past alone; none while too little is known.
    pub fn surprise(&self, measure: f64) -> Option<f64> {
        if self.seen < LEARNED {
            return None;
        }
        let Some(bin) = bin(measure) else { return Some(0.0) };
        let total = f64::from(self.zeros) + sum(&self.weights);
        // One more on both sides: the measure itself belongs to the set, and no p-value is 0.
        let rarity = |above: f64| ((total + 1.0) / (above + 1.0)).log10();
        let above = sum(&self.weights[self.offset(bin).min(self.weights.len())..]);
        let ranked = rarity(above);
        // With a whole measure as large the ranks know better than a fit.
        if above >= 0.5 {
            return Some(ranked);
        }
        let (threshold, tail) = self.tail(total);
        let steps = f64::from(bin - threshold);
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
        self.weights.iter_mut().for_each(|weight| *weight *= keep);
        self.seen = self.seen.saturating_add(1);
        let Some(bin) = bin(measure) else {
            self.zeros += 1.0;
            return;
        };
        self.make_room(bin);
        let offset = self.offset(bin);
        self.weights[offset] += 1.0;
    }

    /// The bin above which the tail lies, and the tail's weight and index (Hill's estimate with a prior).
    fn tail(&self, total: f64) -> (i32, Tail) {
        let mut weight = 0.0;
        let mut threshold = self.weights.len();
        while threshold > 0 && weight + f64::from(self.weights[threshold - 1]) <= TAIL_SHARE * total {
            threshold -= 1;
            weight += f64::from(self.weights[threshold]);
        }
        let steps = self.weights[threshold..].iter().zip(1_u32..);
        let excess: f64 = steps.map(|(weight, step)| f64::from(*weight) * f64::from(step)).sum();
        let index = (excess * BIN_RATIO.ln() + TAIL_PRIOR_WEIGHT * TAIL_INDEX_PRIOR) / (weight + TAIL_PRIOR_WEIGHT);
        (self.first + threshold as i32 - 1, Tail { weight, index })
    }

    /// Where a bin's weight is; bins below the first count with it, bins beyond the last are past the end.
    fn offset(&self, bin: i32) -> usize {
        (bin - self.first).max(0) as usize
    }

    /// Lets the bins reach to this one, within their bound.
    fn make_room(&mut self, bin: i32) {
        if self.weights.is_empty() {
            self.first = bin;
            self.weights.push(0.0);
        }
        let last = self.first + self.weights.len() as i32 - 1;
        if bin > last {
            self.weights.resize((bin - self.first) as usize + 1, 0.0);
            let excess = self.weights.len().saturating_sub(BINS_MAX);
            let folded: f32 = self.weights.drain(..excess).sum();
            self.weights[0] += folded;
            self.first += excess as i32;
        } else if bin < self.first {
            let room = (BINS_MAX - self.weights.len()).min((self.first - bin) as usize);
            self.weights.splice(0..0, std::iter::repeat_n(0.0, room));
            self.first -= room as i32;
        }
    }
}

/// What lies above the tail's threshold.
struct Tail {
    weight: f64,
    index: f64,
}

/// The bin of a measure; none for 0 and for what is as good as 0.
fn bin(measure: f64) -> Option<i32> {
    (measure > 1e-30).then(|| (measure.min(1e300).ln() / BIN_RATIO.ln()).round() as i32)
}

fn sum(weights: &[f32]) -> f64 {
    weights.iter().map(|weight| f64::from(*weight)).sum()
}
