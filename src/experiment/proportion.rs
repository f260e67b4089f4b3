//! Proportions of independent yes-or-no observations: exact at every number of them, rare events included. Never
//! assumes that a sum is normal.

use super::{
    boundary::{Boundary, Interval},
    pair::{self, Arm},
};
use crate::stats::ln_gamma;

/// Proportions are looked at between these, so that logarithms exist.
const PROPORTION_MIN: f64 = 1e-12;

/// Independent observations and how many of them were a yes. Both may be fractions, where observations that depend
/// on each other are worth fewer independent ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counts {
    /// Observations that were a yes.
    pub yes: f64,
    /// All observations.
    pub all: f64,
}

/// Bounds of the difference of two proportions, and the logarithm of the e-value against "no difference".
pub(super) fn compare(control: Counts, variant: Counts, boundary: &Boundary) -> (Interval, f64) {
    let prior = boundary.prior_observations();
    let (control, variant) = (Proportion { counts: control, prior }, Proportion { counts: variant, prior });
    (pair::difference(&control, &variant, boundary.ln_threshold()), pair::ln_e(&control, &variant))
}

struct Proportion {
    counts: Counts,
    prior: f64,
}

impl Arm for Proportion {
    fn estimate(&self) -> f64 {
        inside(self.counts.yes / self.counts.all)
    }

    fn ln_e(&self, proportion: f64) -> f64 {
        ln_e(self.counts, inside(proportion), self.prior)
    }

    fn bounds(&self, budget: f64) -> Interval {
        let refuted = |proportion: f64| self.ln_e(proportion) > budget;
        let bound = |end: f64| if refuted(end) { pair::bound(end, self.estimate(), refuted) } else { end };
        Interval { low: bound(0.0), high: bound(1.0) }
    }
}

fn inside(proportion: f64) -> f64 {
    proportion.clamp(PROPORTION_MIN, 1.0 - PROPORTION_MIN)
}

/// Logarithm of the e-process against one proportion p: the likelihood under a beta mixture around p, over that
/// under p. A martingale where each observation is a yes with probability p, whatever the number of them.
///
/// Source: the two-sided beta-binomial mixture of Howard, Ramdas, McAuliffe, Sekhon (2021), "Time-uniform,
/// nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49(2).
pub(super) fn ln_e(counts: Counts, proportion: f64, prior_observations: f64) -> f64 {
    let (yes, no) = (counts.yes, counts.all - counts.yes);
    let (a, b) = (prior_observations * proportion, prior_observations * (1.0 - proportion));
    ln_beta(a + yes, b + no) - ln_beta(a, b) - yes * proportion.ln() - no * (-proportion).ln_1p()
}

fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}
