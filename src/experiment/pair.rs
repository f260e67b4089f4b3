//! From what is known of two arms to what is known of their difference, where each arm has an e-process of its own.
//! Knows neither proportions nor quantiles: an arm is asked for its bounds at a budget.
//!
//! The product of the e-processes of two independent arms is one as well. The pairs of values that it does not
//! refute, ln e₀ + ln e₁ below the threshold, hold the true pair at all looks with probability 1 − α; the difference
//! lies between the least and the greatest of theirs. Adding two intervals of α/2 each would be a third wider.

use super::boundary::Interval;

/// Pairs of budgets that are tried. Between two of them the wider of both is taken, so that none is missed.
const BUDGETS: usize = 32;
/// Halvings on the way to a bound.
const HALVINGS: usize = 30;
/// Values that both arms may have in common which are tried for an e-value.
const COMMON_VALUES: usize = 128;
/// Below the logarithm of an arm's e-process at its own estimate, by which nothing is lost: the least of it may lie
/// a little beside the estimate.
const SLACK: f64 = 0.5;

/// An arm: what its e-process does not refute.
pub(super) trait Arm {
    /// The arm's own value.
    fn estimate(&self) -> f64;
    /// Logarithm of the e-process at a value; least, or nearly so, at the estimate.
    fn ln_e(&self, value: f64) -> f64;
    /// The values at which the logarithm is at most `budget`; the estimate alone where there are none.
    fn bounds(&self, budget: f64) -> Interval;
}

/// Bounds of the second arm's value less the first's, at ln 1/α.
pub(super) fn difference(control: &impl Arm, variant: &impl Arm, ln_threshold: f64) -> Interval {
    let first = control.ln_e(control.estimate()) - SLACK;
    let last = ln_threshold - variant.ln_e(variant.estimate()) + SLACK;
    let budget = |step: usize| first + (last - first) * step as f64 / BUDGETS as f64;
    let mut found = Interval { low: f64::INFINITY, high: f64::NEG_INFINITY };
    for step in 0..BUDGETS {
        // The larger of the two budgets on either side of the step.
        let control = control.bounds(budget(step + 1));
        let variant = variant.bounds(ln_threshold - budget(step));
        found.low = found.low.min(variant.low - control.high);
        found.high = found.high.max(variant.high - control.low);
    }
    found
}

/// Logarithm of the e-value against "no difference": that of the common value which is refuted least, and which lies
/// between the estimates.
pub(super) fn ln_e(control: &impl Arm, variant: &impl Arm) -> f64 {
    let (from, to) = (control.estimate(), variant.estimate());
    let values = (0..=COMMON_VALUES).map(|step| from + (to - from) * step as f64 / COMMON_VALUES as f64);
    values.map(|value| control.ln_e(value) + variant.ln_e(value)).fold(f64::INFINITY, f64::min)
}

/// The last value from `refuted` on towards `estimate` before one that is not refuted: the bound, or just beyond it.
pub(super) fn bound(refuted: f64, estimate: f64, is_refuted: impl Fn(f64) -> bool) -> f64 {
    let (mut outside, mut inside) = (refuted, estimate);
    for _ in 0..HALVINGS {
        let middle = outside.midpoint(inside);
        if is_refuted(middle) { outside = middle } else { inside = middle }
    }
    outside
}
