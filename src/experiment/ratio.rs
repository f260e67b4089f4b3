//! Ratios of sums over units, such as cost per call: their difference, its standard error by the delta method, and
//! the adjustment by what the units did before. Never chooses units, and never decides what is sure.

use super::moments::{FIGURES, Moments};

/// Places of a unit's figures in its [`Moments`].
pub(super) const NUMERATOR: usize = 0;
pub(super) const DENOMINATOR: usize = 1;
const NUMERATOR_BEFORE: usize = 2;
const DENOMINATOR_BEFORE: usize = 3;

/// Units with figures from before that each arm needs for an adjustment.
const UNITS_BEFORE_MIN: f64 = 100.0;

/// The difference of two ratios.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Difference {
    /// Variant less control, in the metric's unit.
    pub(super) value: f64,
    /// Its standard error.
    pub(super) standard_error: f64,
}

/// Σ numerator / Σ denominator; `None` where the denominators sum up to nothing.
pub(super) fn ratio(arm: &Moments) -> Option<f64> {
    let denominator = arm.sum(DENOMINATOR);
    (denominator > 0.0).then(|| arm.sum(NUMERATOR) / denominator)
}

/// The difference of two ratios of sums over independent units; `None` where one is not there.
///
/// A unit's influence on its arm's ratio R is (x − R·y) / mean(y); the variance of the ratio is that of the
/// influence over the number of units, however alike a unit's own calls are. Source: Deng, Knoblich, Lu (2018),
/// "Applying the Delta Method in Metric Analytics", KDD.
pub(super) fn difference(control: &Moments, variant: &Moments) -> Option<Difference> {
    let influence = [influence(control)?, influence(variant)?];
    Some(Difference { value: ratio(variant)? - ratio(control)?, standard_error: error(&influence, [control, variant]) })
}

/// The same, less what the units' figures from before the experiment foretell; `None` where they foretell nothing.
///
/// θ is the coefficient that makes the variance least, from both arms together; chance alone tells the arms' figures
/// from before apart, so the adjustment has mean 0. Source: Deng, Xu, Kohavi, Walker (2013), "Improving the
/// Sensitivity of Online Controlled Experiments by Utilizing Pre-Experiment Data" (CUPED), WSDM.
pub(super) fn adjusted(control: &Moments, variant: &Moments) -> Option<Difference> {
    let arms = [control, variant];
    let raw = difference(control, variant)?;
    let mut both = *control;
    both.merge(variant);
    let denominator_before = both.sum(DENOMINATOR_BEFORE);
    if denominator_before <= 0.0 {
        return None;
    }
    let mut before = [0.0; FIGURES];
    before[NUMERATOR_BEFORE] = 1.0;
    before[DENOMINATOR_BEFORE] = -both.sum(NUMERATOR_BEFORE) / denominator_before;
    let influence = [influence(control)?, influence(variant)?];
    let shared: f64 = (0..2).map(|arm| arms[arm].covariance(&influence[arm], &before) / arms[arm].count()).sum();
    let variance: f64 = arms.iter().map(|arm| arm.covariance(&before, &before) / arm.count()).sum();
    // Sums of products of numbers that are all equal leave rounding errors of this size.
    let scale = both.mean(NUMERATOR_BEFORE).abs() + both.mean(DENOMINATOR_BEFORE).abs();
    if variance * control.count().min(variant.count()) <= 1e-18 * scale * scale {
        return None;
    }
    let theta = shared / variance;
    let mean = |arm: &Moments| (0..FIGURES).map(|figure| before[figure] * arm.mean(figure)).sum::<f64>();
    let combined = influence.map(|one| std::array::from_fn(|figure| one[figure] - theta * before[figure]));
    Some(Difference {
        value: raw.value - theta * (mean(variant) - mean(control)),
        standard_error: error(&combined, arms),
    })
}

/// Whether enough units of both arms have figures from before.
pub(super) fn has_enough_before(units_before: [f64; 2]) -> bool {
    units_before.iter().all(|units| *units >= UNITS_BEFORE_MIN)
}

/// Variance of an arm's ratio over that of as many independent yes-or-no observations as the denominators count;
/// `None` where the ratio is 0, 1 or not there.
pub(super) fn design_effect(arm: &Moments) -> Option<f64> {
    let share = ratio(arm)?;
    let influence = influence(arm)?;
    let independent = share * (1.0 - share) / arm.sum(DENOMINATOR);
    (independent > 0.0).then(|| arm.covariance(&influence, &influence) / arm.count() / independent)
}

/// Coefficients of the figures in a unit's influence, which the mean over the units is taken off.
fn influence(arm: &Moments) -> Option<[f64; FIGURES]> {
    let ratio = ratio(arm)?;
    let mut coefficients = [0.0; FIGURES];
    coefficients[NUMERATOR] = 1.0 / arm.mean(DENOMINATOR);
    coefficients[DENOMINATOR] = -ratio / arm.mean(DENOMINATOR);
    Some(coefficients)
}

fn error(coefficients: &[[f64; FIGURES]; 2], arms: [&Moments; 2]) -> f64 {
    let variances = (0..2).map(|arm| arms[arm].covariance(&coefficients[arm], &coefficients[arm]) / arms[arm].count());
    variances.sum::<f64>().max(0.0).sqrt()
}
