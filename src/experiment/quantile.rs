//! A quantile of two arms, from each arm's distribution: bounds of the difference in the unit of the values.
//! Never sees the values themselves; a distribution is asked for its quantiles.

use super::{
    boundary::{Boundary, Interval},
    pair::{self, Arm},
    proportion::{Counts, ln_e},
};

/// An arm's values.
pub struct Values<'a> {
    /// The quantile of a level between 0 and 1; `None` without values.
    pub quantile: &'a dyn Fn(f64) -> Option<f64>,
    /// How far that may be from the value of the rank, as a share of it.
    pub relative_error: f64,
    /// Values.
    pub count: f64,
    /// Variance of the share of values above the quantile, over that of as many independent values: 1 where they
    /// are, more where the values of a unit are alike.
    pub design_effect: f64,
}

/// Bounds of the difference of the quantile at `level`, and the logarithm of the e-value against "no difference";
/// `None` while an arm has too few values to bound it from above.
///
/// At the true quantile each value lies above with probability 1 − level, so the share that does is a proportion
/// that is known, and the quantiles at the ends of its bounds hold the true one at all looks. Source: the
/// sequences for one quantile of Howard, Ramdas (2022), "Sequential estimation of quantiles with applications to A/B testing and best-arm
/// identification", Bernoulli 28(3), with the beta-binomial mixture. Values of one unit depend on each other; they
/// count as so many fewer (Kish 1965, "Survey Sampling"), which is exact for independent values, and otherwise
/// as good as the design effect.
pub(super) fn compare(
    control: &Values<'_>,
    variant: &Values<'_>,
    level: f64,
    boundary: &Boundary,
) -> Option<(Interval, f64)> {
    let arm = |values| Quantile::new(values, level, boundary.prior_observations());
    let (control, variant) = (arm(control)?, arm(variant)?);
    let interval = pair::difference(&control, &variant, boundary.ln_threshold());
    (interval.low.is_finite() && interval.high.is_finite()).then(|| (interval, pair::ln_e(&control, &variant)))
}

struct Quantile<'a, 'v> {
    values: &'a Values<'v>,
    estimate: f64,
    level: f64,
    prior: f64,
}

impl<'a, 'v> Quantile<'a, 'v> {
    fn new(values: &'a Values<'v>, level: f64, prior: f64) -> Option<Self> {
        Some(Self { estimate: (values.quantile)(level)?, values, level, prior })
    }

    /// Logarithm of the e-process where this share of the values lies at or below the true quantile.
    fn ln_e_of(&self, share_below: f64) -> f64 {
        let all = self.values.count / self.values.design_effect.max(1.0);
        ln_e(Counts { yes: all * share_below, all }, self.level, self.prior)
    }

    fn at(&self, share_below: f64) -> f64 {
        (self.values.quantile)(share_below).unwrap_or(self.estimate)
    }

    /// The share of the values that lie at or below one.
    fn share_below(&self, value: f64) -> f64 {
        pair::bound(0.0, 1.0, |share| self.at(share) <= value)
    }
}

impl Arm for Quantile<'_, '_> {
    fn estimate(&self) -> f64 {
        self.estimate
    }

    fn ln_e(&self, value: f64) -> f64 {
        // The value may be off either way: where the level lies between, nothing speaks against it.
        let error = self.values.relative_error * value.abs();
        let (least, most) = (self.share_below(value - error), self.share_below(value + error));
        self.ln_e_of(self.level.clamp(least, most))
    }

    fn bounds(&self, budget: f64) -> Interval {
        let refuted = |share: f64| self.ln_e_of(share) > budget;
        let error = self.values.relative_error;
        // Where not even all values, or none, would refute it, the true quantile is beyond all of them.
        let low = refuted(0.0).then(|| self.at(pair::bound(0.0, self.level, refuted)));
        let high = refuted(1.0).then(|| self.at(pair::bound(1.0, self.level, refuted)));
        Interval {
            low: low.map_or(f64::NEG_INFINITY, |low| low - error * low.abs()),
            high: high.map_or(f64::INFINITY, |high| high + error * high.abs()),
        }
    }
}
