//! One metric of two arms: the difference, how sure it is, and when too little is known to say. Never weighs metrics
//! against each other.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    boundary::{Boundary, Interval},
    metric::{Form, Metric},
    moments::Moments,
    proportion::{self, Counts},
    quantile,
    ratio::{self, DENOMINATOR, Difference, NUMERATOR},
};

/// Fewer units than this in an arm are too few for sums to be near normal.
pub const UNITS_MIN: f64 = 100.0;
/// The same for the observations below the line, of each arm.
const DENOMINATOR_MIN: f64 = 50.0;
/// The same for the rarer answer of a yes-or-no metric, of both arms together.
const RARER_MIN: f64 = 40.0;
/// Of the calls whose costs are summed up, so many may have none that is known.
const UNKNOWN_MAX: f64 = 0.1;
/// Of the level of a yes-or-no metric, what goes to the exact bounds, which hold from the first observation on.
const EXACT_SHARE: f64 = 0.2;
/// Standard errors between a difference and the bound that a look leaves it above with 80 % probability.
const POWER_STANDARD_ERRORS: f64 = 0.841_621;

/// How a difference was bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ExperimentMethod)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Asymptotic confidence sequence of a difference of ratios over units.
    Asymptotic,
    /// Beta-binomial mixtures, exact at every number of independent observations.
    BetaBinomial,
    /// Both of these, at a share of the level each; what lies in both.
    AsymptoticAndBetaBinomial,
    /// Beta-binomial mixtures at the quantile, corrected by the design effect.
    Quantile,
}

/// What the adjustment by the time before did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[schema(as = ExperimentAdjustment)]
pub struct Adjustment {
    /// The difference without it.
    pub raw_difference: f64,
    /// Share of the variance that it took off.
    pub variance_reduction: f64,
}

/// A difference that is known, to some width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Compared {
    /// Variant less control.
    pub(super) difference: f64,
    pub(super) interval: Interval,
    /// Logarithm of the e-value against "no difference".
    pub(super) ln_e: f64,
    /// The difference that this look alone would find with 80 % probability.
    pub(super) detectable: Option<f64>,
    pub(super) method: Method,
    pub(super) adjustment: Option<Adjustment>,
}

/// What is said of one metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Finding {
    Compared(Compared),
    /// Too little is known, and of what.
    Insufficient(String),
    /// No call of either arm carries it.
    NotMeasured,
}

/// One arm's part in a metric.
pub(super) struct Side<'a> {
    pub(super) name: &'a str,
    /// Units that were there before the experiment.
    pub(super) units_before: f64,
    pub(super) moments: &'a Moments,
    /// The values behind a quantile; unused for other forms.
    pub(super) quantile: &'a dyn Fn(f64) -> Option<f64>,
    pub(super) quantile_error: f64,
    /// Calls, and those of them whose cost is known.
    pub(super) calls: f64,
    pub(super) calls_with_cost: f64,
}

impl Side<'_> {
    /// The metric's value in this arm; none where too much of it is not known.
    pub(super) fn value(&self, metric: &Metric) -> Option<f64> {
        match metric.form {
            _ if self.unknown(metric).is_some() => None,
            Form::Quantile(level) => (self.quantile)(level),
            Form::Ratio | Form::Share => ratio::ratio(self.moments),
        }
    }

    /// Why sums of costs are none, where too many costs are missing: the arm whose calls have no price would be the
    /// cheaper one.
    fn unknown(&self, metric: &Metric) -> Option<String> {
        let unknown = (self.calls - self.calls_with_cost).max(0.0);
        (metric.is_of_all_costs && unknown > UNKNOWN_MAX * self.calls).then(|| {
            format!(
                "{unknown} of {} calls in {} do not say what they cost, {:.0} % may",
                self.calls,
                self.name,
                100.0 * UNKNOWN_MAX
            )
        })
    }

    fn counts(&self) -> Counts {
        Counts { yes: self.moments.sum(NUMERATOR), all: self.moments.sum(DENOMINATOR) }
    }

    /// Whether every unit has one observation, a yes or a no.
    fn is_one_each(&self) -> bool {
        let is_flag = |figure: usize| {
            let sum = self.moments.sum(figure);
            (self.moments.sum_of_squares(figure) - sum).abs() <= 1e-6 * sum.max(1.0)
        };
        let all = self.moments.sum(DENOMINATOR);
        is_flag(NUMERATOR) && is_flag(DENOMINATOR) && (all - self.moments.count()).abs() < 0.5
    }
}

/// Compares a metric of two arms at the boundary's level.
pub(super) fn compare(metric: &Metric, sides: [&Side<'_>; 2], boundary: &Boundary) -> Finding {
    if sides.iter().all(|side| side.moments.sum(DENOMINATOR) == 0.0) {
        return Finding::NotMeasured;
    }
    if let Some(reason) = sides.iter().find_map(|side| side.unknown(metric)) {
        return Finding::Insufficient(reason);
    }
    match metric.form {
        Form::Ratio => too_few(sides).map_or_else(|| of_ratios(sides, boundary), Finding::Insufficient),
        Form::Share => of_shares(sides, boundary),
        Form::Quantile(level) => {
            too_few(sides).map_or_else(|| of_quantiles(sides, level, boundary), Finding::Insufficient)
        }
    }
}

/// What there is too little of for sums over units to be near normal.
fn too_few(sides: [&Side<'_>; 2]) -> Option<String> {
    sides.iter().find_map(|side| {
        let (units, samples) = (side.moments.count(), side.moments.sum(DENOMINATOR));
        if units < UNITS_MIN {
            Some(format!("{units:.0} units in {}, {UNITS_MIN:.0} needed", side.name))
        } else if samples < DENOMINATOR_MIN {
            Some(format!("{samples:.0} samples in {}, {DENOMINATOR_MIN:.0} needed", side.name))
        } else {
            None
        }
    })
}

fn of_ratios(sides: [&Side<'_>; 2], boundary: &Boundary) -> Finding {
    let [control, variant] = sides.map(|side| side.moments);
    let Some(raw) = ratio::difference(control, variant) else {
        return Finding::Insufficient("nothing below the line".to_owned());
    };
    let has_before = ratio::has_enough_before(sides.map(|side| side.units_before));
    let adjusted = has_before.then(|| ratio::adjusted(control, variant)).flatten();
    let Difference { value, standard_error } = adjusted.unwrap_or(raw);
    if standard_error <= 0.0 {
        return Finding::Insufficient("all units are alike, so nothing says how far chance reaches".to_owned());
    }
    let units = control.count() + variant.count();
    let reach = boundary.standard_errors(units) * standard_error;
    Finding::Compared(Compared {
        difference: value,
        interval: Interval { low: value - reach, high: value + reach },
        ln_e: boundary.ln_e(value / standard_error, units),
        detectable: Some(reach + POWER_STANDARD_ERRORS * standard_error),
        method: Method::Asymptotic,
        adjustment: adjusted.map(|adjusted| Adjustment {
            raw_difference: raw.value,
            variance_reduction: 1.0 - (adjusted.standard_error / raw.standard_error).powi(2),
        }),
    })
}

fn of_shares(sides: [&Side<'_>; 2], boundary: &Boundary) -> Finding {
    let [control, variant] = sides.map(Side::counts);
    if control.all == 0.0 || variant.all == 0.0 {
        let lacking = if control.all == 0.0 { sides[0] } else { sides[1] };
        return Finding::Insufficient(format!("no samples in {}", lacking.name));
    }
    let (yes, no) = (control.yes + variant.yes, control.all + variant.all - control.yes - variant.yes);
    let rare = (yes.min(no) < RARER_MIN)
        .then(|| format!("{:.0} samples of the rarer answer, {RARER_MIN:.0} needed", yes.min(no)));
    let asymptotic = match too_few(sides).or(rare) {
        Some(reason) => Finding::Insufficient(reason),
        None => of_ratios(sides, &boundary.at_share(1.0 - EXACT_SHARE)),
    };
    if !sides.iter().all(|side| side.is_one_each()) {
        return asymptotic;
    }
    let (interval, exact_ln_e) = proportion::compare(control, variant, &boundary.at_share(EXACT_SHARE));
    // A weighted mean of two e-values is one.
    let exact_part = EXACT_SHARE.ln() + exact_ln_e;
    Finding::Compared(match asymptotic {
        Finding::Compared(asymptotic) => Compared {
            interval: asymptotic.interval.and(&interval),
            ln_e: ln_of_sum((1.0 - EXACT_SHARE).ln() + asymptotic.ln_e, exact_part),
            method: Method::AsymptoticAndBetaBinomial,
            ..asymptotic
        },
        _ => Compared {
            difference: variant.yes / variant.all - control.yes / control.all,
            interval,
            ln_e: exact_part,
            detectable: None,
            method: Method::BetaBinomial,
            adjustment: None,
        },
    })
}

fn of_quantiles(sides: [&Side<'_>; 2], level: f64, boundary: &Boundary) -> Finding {
    let [control, variant] = sides.map(|side| quantile::Values {
        quantile: side.quantile,
        relative_error: side.quantile_error,
        count: side.moments.sum(DENOMINATOR),
        design_effect: ratio::design_effect(side.moments).unwrap_or(1.0),
    });
    let values = [(control.quantile)(level), (variant.quantile)(level)];
    let compared = quantile::compare(&control, &variant, level, boundary);
    match (values, compared) {
        ([Some(control), Some(variant)], Some((interval, ln_e))) => Finding::Compared(Compared {
            difference: variant - control,
            interval,
            ln_e,
            detectable: None,
            method: Method::Quantile,
            adjustment: None,
        }),
        _ => Finding::Insufficient("too few values above the quantile to bound it".to_owned()),
    }
}

fn ln_of_sum(one: f64, two: f64) -> f64 {
    let (high, low) = (one.max(two), one.min(two));
    high + (low - high).exp().ln_1p()
}
