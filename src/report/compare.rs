//! The day's cost against earlier days, and whether it is a spike.
//!
//! Never invents a baseline: a day without calls, or whose calls have no known cost, is no $0 day.
//! It is left out of the mean, and a comparison with it says so instead of giving a ratio.

use chrono::{Days, NaiveDate};
use serde::Serialize;
use utoipa::ToSchema;

use super::{figures::DayFigures, serialize};

/// Days before the reported one that the mean is made of.
const MEAN_DAYS: u64 = 7;
/// Days with a known cost that a spike needs as its baseline.
const SPIKE_DAYS_MIN: u64 = 3;
/// A day above this multiple of the mean is a spike.
const SPIKE_FACTOR: f64 = 1.5;
/// Sums of floats differ in their last digits; a day at exactly the limit is no spike.
const ROUNDING: f64 = 1e-9;

/// What a report says about its day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CostVerdict)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The day is not a spike, or there are too few days before it to tell; `spike.judged` says
    /// which.
    Normal,
    /// The day cost more than 150 % of the mean of the 7 days before, at least 3 of which have a
    /// known cost.
    CostSpike,
    /// The day has no calls, or none of its calls has a known cost.
    NoData,
}

/// The day against the earlier days, each with its own sample.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = CostComparisons)]
pub struct Comparisons {
    /// Against the day before.
    pub day_before: Comparison,
    /// Against the same weekday, 7 days before.
    pub same_weekday: Comparison,
    /// Against the mean of those of the 7 days before that have a known cost.
    pub mean_7_days: Comparison,
}

/// Whether a comparison was possible, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CostComparability)]
#[serde(rename_all = "snake_case")]
pub enum Comparability {
    /// Both costs are known and the baseline is above $0: there is a ratio.
    Compared,
    /// Both costs are known, the baseline is $0: there is a difference, but no ratio.
    ZeroBaseline,
    /// The baseline has no calls.
    NoBaselineData,
    /// The baseline has calls, but none with a known cost.
    BaselineCostUnknown,
    /// The reported day has no known cost.
    DayCostUnknown,
}

/// The day's cost against one baseline.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = CostComparison)]
pub struct Comparison {
    /// Whether there is something to compare.
    pub status: Comparability,
    /// First UTC day of the baseline.
    #[serde(serialize_with = "serialize::date")]
    #[schema(value_type = String, format = Date)]
    pub from: NaiveDate,
    /// Last UTC day of the baseline, included.
    #[serde(serialize_with = "serialize::date")]
    #[schema(value_type = String, format = Date)]
    pub to: NaiveDate,
    /// Days from `from` to `to`.
    pub days: u64,
    /// Those days that have a known cost: the sample of `cost_usd`.
    pub days_with_cost: u64,
    /// Calls of the baseline's days.
    pub calls: u64,
    /// Those calls whose cost is known.
    pub calls_with_cost: u64,
    /// USD per day with a known cost; null where there is none.
    pub cost_usd: Option<f64>,
    /// The day's cost minus `cost_usd`, USD.
    pub change_usd: Option<f64>,
    /// `change_usd` / `cost_usd`: 0.25 is 25 % more. Null where the baseline is not above $0.
    pub change_ratio: Option<f64>,
}

/// The figures behind the verdict.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = CostSpike)]
pub struct Spike {
    /// Whether day and baseline have enough data to judge.
    pub judged: bool,
    /// Mean USD per day of the 7 days before, as in `comparisons.mean_7_days`.
    pub mean_usd: Option<f64>,
    /// USD above which the day is a spike: 1.5 times the mean.
    pub limit_usd: Option<f64>,
    /// Days with a known cost that the mean is made of.
    pub days_with_cost: u64,
    /// Fewest such days for a judgement.
    pub days_with_cost_min: u64,
}

impl Comparisons {
    /// Compares `day` with the days of `history`, which are found by date.
    pub(super) fn new(day: &DayFigures, history: &[DayFigures]) -> Self {
        let compare = |first, last| Comparison::new(day, history, first, last);
        Self {
            day_before: compare(1, 1),
            same_weekday: compare(MEAN_DAYS, MEAN_DAYS),
            mean_7_days: compare(MEAN_DAYS, 1),
        }
    }
}

impl Comparison {
    /// Compares with the days from `first` to `last` days ago.
    fn new(day: &DayFigures, history: &[DayFigures], first: u64, last: u64) -> Self {
        let (from, to) = (days_before(day.date, first), days_before(day.date, last));
        let baseline: Vec<_> = history.iter().filter(|row| (from..=to).contains(&row.date)).collect();
        let costs: Vec<f64> = baseline.iter().filter_map(|row| row.cost_usd).collect();
        let calls = baseline.iter().map(|row| row.calls).sum();
        let cost_usd = (!costs.is_empty()).then(|| costs.iter().sum::<f64>() / costs.len() as f64);
        let status = status(day.cost_usd, cost_usd, calls);
        let change_usd = day.cost_usd.zip(cost_usd).map(|(day, baseline)| day - baseline);
        let change_ratio = change_usd
            .zip(cost_usd)
            .filter(|_| status == Comparability::Compared)
            .map(|(change, baseline)| change / baseline);
        Self {
            status,
            from,
            to,
            days: first - last + 1,
            days_with_cost: costs.len() as u64,
            calls,
            calls_with_cost: baseline.iter().map(|row| row.calls_with_cost).sum(),
            cost_usd,
            change_usd,
            change_ratio,
        }
    }

    /// Whether the baseline's cost leaves out calls, since theirs is not known.
    pub(super) fn is_partial(&self) -> bool {
        self.cost_usd.is_some() && self.calls_with_cost < self.calls
    }
}

impl Spike {
    /// Judges a day with a known cost against the mean of the days before.
    pub(super) fn new(day: &DayFigures, mean: &Comparison) -> Self {
        // Credits can turn a sum negative; a multiple of it would be no limit.
        let base = mean.cost_usd.filter(|&usd| usd >= 0.0);
        let enough = mean.days_with_cost >= SPIKE_DAYS_MIN;
        Self {
            judged: enough && base.is_some() && day.cost_usd.is_some(),
            mean_usd: mean.cost_usd,
            limit_usd: base.map(|usd| usd * SPIKE_FACTOR),
            days_with_cost: mean.days_with_cost,
            days_with_cost_min: SPIKE_DAYS_MIN,
        }
    }

    /// The verdict on a day of this cost.
    pub(super) fn verdict(&self, day_cost_usd: Option<f64>) -> Verdict {
        let Some(cost) = day_cost_usd else {
            return Verdict::NoData;
        };
        match self.limit_usd {
            Some(limit) if self.judged && cost > limit * (1.0 + ROUNDING) => Verdict::CostSpike,
            _ => Verdict::Normal,
        }
    }
}

fn status(day: Option<f64>, baseline: Option<f64>, calls: u64) -> Comparability {
    match (day, baseline) {
        (_, None) if calls == 0 => Comparability::NoBaselineData,
        (_, None) => Comparability::BaselineCostUnknown,
        (None, Some(_)) => Comparability::DayCostUnknown,
        (Some(_), Some(usd)) if usd > 0.0 => Comparability::Compared,
        (Some(_), Some(_)) => Comparability::ZeroBaseline,
    }
}

fn days_before(day: NaiveDate, days: u64) -> NaiveDate {
    day.checked_sub_days(Days::new(days)).unwrap_or(NaiveDate::MIN)
}
