//! The running month: what it has brought, what it will have brought at its end, and what the budget says to that.

use chrono::{Datelike, Months, NaiveDate};
use serde::Serialize;
use utoipa::ToSchema;

use super::judge::{Bounded, Judged};

/// The running month of UTC.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ForecastMonth)]
pub struct Month {
    /// Its first day.
    pub from: String,
    /// The first day of the next.
    pub to: String,
    /// What its days are known to have brought up to now, today's part included.
    pub so_far: f64,
    /// Calls that this is made of.
    pub samples: u64,
    /// Calls that do not say what they brought, and are not in it.
    pub calls_unknown: u64,
    /// What it may bring, USD; none where the settings have none.
    pub budget: Option<f64>,
    /// What is said to the budget.
    pub state: BudgetState,
    /// What it will have brought at its end, where that can be forecast.
    pub end: Option<MonthEnd>,
}

/// The month's total at its end.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ForecastMonthEnd)]
pub struct MonthEnd {
    /// What the whole days brought, gaps filled as in the history, and the forecast of today and the days after.
    pub value: f64,
    /// Lower bound; no less than what is there.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
    /// Days that are forecast, today included.
    pub days_forecast: usize,
    /// Forecasts of the past that the bounds come from.
    pub windows: usize,
    /// How many of their length, without overlapping, their time has room for.
    pub disjoint_windows: f64,
    /// The day on which the forecast reaches the budget; none within the month or without a budget.
    pub budget_reached_on: Option<String>,
}

/// What a month's total says to its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ForecastBudgetState)]
#[serde(rename_all = "snake_case")]
pub enum BudgetState {
    /// There is none.
    NoBudget,
    /// More than the budget is spent already.
    Exceeded,
    /// All of the interval is above the budget.
    Over,
    /// The budget is within the interval.
    AtRisk,
    /// All of the interval is within the budget.
    Within,
    /// Too short a history to say, or too much that is not known.
    Insufficient,
}

/// Share of a month's calls that may say nothing; of more, nobody knows whether they are within a budget.
const UNKNOWN_MAX: f64 = 0.1;

/// What a month brought before it is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct SoFar {
    pub today: NaiveDate,
    /// Its days before today; of those that most calls say nothing of, what the series has in their place.
    pub whole_days: f64,
    /// What is known of those and of today's part.
    pub all: f64,
    pub samples: u64,
    /// Calls that say nothing.
    pub unknown: u64,
}

impl SoFar {
    /// The first day of the month.
    pub fn first(today: NaiveDate) -> NaiveDate {
        today - chrono::Days::new(u64::from(today.day0()))
    }

    /// Days of the month that are not over, today included.
    pub fn days_left(&self) -> usize {
        usize::try_from((self.next_month() - self.today).num_days()).unwrap_or_default()
    }

    /// Whether so much is not known that more may have been brought than is seen.
    fn hides_much(&self) -> bool {
        self.unknown as f64 > UNKNOWN_MAX * (self.samples + self.unknown) as f64
    }

    fn next_month(&self) -> NaiveDate {
        Self::first(self.today) + Months::new(1)
    }
}

impl Month {
    /// The month, with its end where the series can be judged.
    pub(super) fn new(so_far: SoFar, budget: Option<f64>, judged: Option<&Judged<'_>>) -> Self {
        let end = judged.and_then(|judged| MonthEnd::new(so_far, budget, judged));
        let state = match (budget, &end) {
            (None, _) => BudgetState::NoBudget,
            (Some(budget), _) if so_far.all > budget => BudgetState::Exceeded,
            (Some(_), None) => BudgetState::Insufficient,
            (Some(budget), Some(end)) if end.low > budget => BudgetState::Over,
            (Some(budget), Some(end)) if end.high > budget => BudgetState::AtRisk,
            // What is not known could only be more.
            (Some(_), Some(_)) if so_far.hides_much() => BudgetState::Insufficient,
            (Some(_), Some(_)) => BudgetState::Within,
        };
        Self {
            from: SoFar::first(so_far.today).to_string(),
            to: so_far.next_month().to_string(),
            so_far: so_far.all,
            samples: so_far.samples,
            calls_unknown: so_far.unknown,
            budget,
            state,
            end,
        }
    }
}

impl MonthEnd {
    fn new(so_far: SoFar, budget: Option<f64>, judged: &Judged<'_>) -> Option<Self> {
        let days_left = so_far.days_left();
        let Bounded { value, low, high, windows, disjoint } = judged.total(days_left)?;
        // What today has brought already stands, however little was forecast for it.
        let at_least = |rest: f64| (so_far.whole_days + rest).max(so_far.all);
        let through = judged.points()[..days_left].iter().scan(so_far.whole_days, |total, day| {
            *total += day;
            Some(*total)
        });
        let reached =
            budget.and_then(|budget| through.map(|total| total.max(so_far.all)).position(|total| total > budget));
        Some(Self {
            value: at_least(value),
            low: at_least(low),
            high: at_least(high),
            days_forecast: days_left,
            windows,
            disjoint_windows: disjoint,
            budget_reached_on: reached.map(|day| (so_far.today + chrono::Days::new(day as u64)).to_string()),
        })
    }
}
