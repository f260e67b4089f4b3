//! From what is known of two arms to what is known of their difference, where each arm has an e-process of its own.
//! Knows neither proportions nor quantiles: an arm is asked for its bounds at a budget.
//!
//! The product of the e-processes of two independent arms is one as well. The pairs of values that it does not
//! refute, ln e₀ + ln e₁ below the threshold, hold the true pair at all looks with probability 1 − α; the difference
//! lies between the least and the greatest of theirs. Adding two intervals of α/2 each would be a third wider.

use super::boundary::Interval;

/// Pairs of budgets that are tried. Between two of them the wider of both is taken, so that none is missed.
const BUDGETS: usize = 32;
/// Halvings on the way to a bound: 2⁻⁴⁰ of the way to it.
const BOUND_HALVINGS: usize = 40;
/// Halvings on the way to the logarithm of an e-value: to a thousandth.
const E_HALVINGS: usize = 20;
/// Below the logarithm of an arm's e-process at its own estimate, by which nothing is lost: the least of it may lie
/// a little beside the estimate.
const SLACK: f64 = 0.5;
/// Logarithms of e-values are told up to this.
const LN_E_MAX: f64 = 700.0;

/// An arm: what its e-process does not refute.
pub(super) trait Arm {
    /// Logarithm of the e-process at the arm's own estimate, where it is least or nearly so.
    fn least_ln_e(&self) -> f64;
    /// The values at which the logarithm is at most `budget`; the estimate alone where there are none.
    fn bounds(&self, budget: f64) -> Interval;
}

/// Bounds of the second arm's value less the first's, at ln 1/α.
pub(super) fn difference(control: &impl Arm, variant: &impl Arm, ln_threshold: f64) -> Interval {
    let first = control.least_ln_e() - SLACK;
    let last = ln_threshold - variant.least_ln_e() + SLACK;
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

/// Logarithm of the e-value against "no difference": the largest threshold at which the interval leaves out 0.
pub(super) fn ln_e(interval_at: impl Fn(f64) -> Interval) -> f64 {
    if interval_at(0.0).contains(0.0) {
        return 0.0;
    }
    crossing(0.0, LN_E_MAX, E_HALVINGS, |threshold| interval_at(threshold).contains(0.0))
}

/// The last value from `refuted` on towards `estimate` before one that is not refuted: the bound, or just beyond it.
pub(super) fn bound(refuted: f64, estimate: f64, is_refuted: impl Fn(f64) -> bool) -> f64 {
    crossing(refuted, estimate, BOUND_HALVINGS, |value| !is_refuted(value))
}

/// The last value between two ends before the condition holds, where it does from some place on.
fn crossing(before: f64, after: f64, halvings: usize, holds: impl Fn(f64) -> bool) -> f64 {
    let (mut before, mut after) = (before, after);
    for _ in 0..halvings {
        let middle = before.midpoint(after);
        if holds(middle) { after = middle } else { before = middle }
    }
    before
}
