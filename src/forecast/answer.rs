//! A forecast's answer: days in, judged figures out, each with its unit, what it is made of and its range of time. Its
//! serialization is the JSON format.

use chrono::{DateTime, NaiveDate, SecondsFormat};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    backtest::OriginFigure,
    judge::{HISTORY_DAYS_MAX, Judged},
    method::Method,
    month::{Month, SoFar},
    series::Series,
};

/// What is forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ForecastMetric)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// What calls cost.
    Cost,
    /// Tokens sent.
    InputTokens,
    /// Tokens answered.
    OutputTokens,
}

impl Metric {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Cost, Self::InputTokens, Self::OutputTokens];

    /// The name, as parameters have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
        }
    }

    /// Unit of all its figures but counts.
    pub fn unit(self) -> &'static str {
        if self == Self::Cost { "USD" } else { "tokens" }
    }
}

/// What was asked.
#[derive(Debug, Clone)]
pub struct Design {
    /// What is forecast.
    pub metric: Metric,
    /// How many days: one of [`super::HORIZONS`].
    pub days: usize,
    /// Only this tenant.
    pub tenant_id: Option<String>,
    /// Only this agent.
    pub agent_id: Option<String>,
    /// Only this model.
    pub model: Option<String>,
    /// What a month may bring, in the metric's unit.
    pub budget: Option<f64>,
    /// Whether the forecasts of the past are told one by one.
    pub with_backtest: bool,
}

/// A day that has calls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalledDay {
    /// The day, UTC.
    pub date: NaiveDate,
    /// Its calls.
    pub calls: u64,
    /// Those of them that say what they brought.
    pub samples: u64,
    /// What they brought, in the metric's unit.
    pub value: f64,
}

/// What is said of the days to come.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ForecastAnswer)]
pub struct Answer {
    /// What is forecast.
    pub metric: Metric,
    /// Unit of all figures but counts and shares.
    pub unit: &'static str,
    /// Only this tenant.
    pub tenant_id: Option<String>,
    /// Only this agent.
    pub agent_id: Option<String>,
    /// Only this model.
    pub model: Option<String>,
    /// When this was said, UTC.
    pub made_at: String,
    /// What it stands on.
    pub history: History,
    /// Whether there is a forecast.
    pub state: ForecastState,
    /// Why there is none.
    pub reason: Option<String>,
    /// The forecast.
    pub forecast: Option<Forecast>,
    /// The running month.
    pub month: Month,
}

/// Whether there is a forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ForecastState)]
#[serde(rename_all = "snake_case")]
pub enum ForecastState {
    /// There is.
    Forecast,
    /// The history does not suffice.
    Insufficient,
}

/// The days that a forecast stands on: whole ones of UTC.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ForecastHistory)]
pub struct History {
    /// The first: the one after the first call, which may not be whole. None without calls.
    pub from: Option<String>,
    /// Today, which is not among them.
    pub to: String,
    /// How many.
    pub days: usize,
    /// Of them, those without calls: they brought nothing.
    pub days_without_calls: usize,
    /// Of them, those of which most calls do not say what they brought: gaps.
    pub days_unknown: usize,
    /// Calls that say what they brought.
    pub samples: u64,
    /// Calls that do not, and count for nothing.
    pub calls_unknown: u64,
}

/// The days to come.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Forecast {
    /// The method.
    pub method: Method,
    /// Why this one.
    pub method_reason: String,
    /// With what probability figures are meant to be within their bounds, each for itself.
    pub coverage: f64,
    /// Totals of the first 30, 60 and 90 days, as far as was asked for.
    pub totals: Vec<Total>,
    /// Day by day.
    pub days: Vec<Day>,
    /// What each method got wrong.
    pub candidates: Vec<Candidate>,
    /// Its forecasts of the past, where asked for.
    pub backtest: Option<Past>,
}

/// A total of several days.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ForecastTotal)]
pub struct Total {
    /// How many.
    pub days: usize,
    /// The first, today.
    pub from: String,
    /// The day after the last.
    pub to: String,
    /// The total.
    pub value: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
    /// Forecasts of the past that the bounds come from.
    pub windows: usize,
    /// How many of their length, without overlapping, their time has room for.
    pub disjoint_windows: f64,
}

/// A day to come.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ForecastDay)]
pub struct Day {
    /// The day, UTC.
    pub date: String,
    /// What it will bring.
    pub value: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
    /// Forecasts of the past that the bounds come from.
    pub windows: usize,
}

/// A method and what it got wrong.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ForecastCandidate)]
pub struct Candidate {
    /// The method.
    pub method: Method,
    /// Mean error of totals of 1, 2, … days, a share of what the 28 days before the forecast brought in as many; none
    /// where the model cannot be fitted.
    pub error: Option<f64>,
    /// Whether it is nearer than the baseline.
    pub beats_baseline: Option<bool>,
    /// Whether it is the one.
    pub is_chosen: bool,
}

/// Forecasts of the past.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ForecastPast)]
pub struct Past {
    /// Days of each total.
    pub days: usize,
    /// Of those that had bounds, how many were within them.
    pub within: usize,
    /// Those that had bounds: before enough forecasts have ended there are none.
    pub bounded: usize,
    /// Each.
    pub forecasts: Vec<OriginFigure>,
}

impl Answer {
    /// Forecasts from days that have calls, rising, up to now.
    ///
    /// # Errors
    ///
    /// The time is outside the calendar.
    pub fn new(design: Design, days: &[CalledDay], now_us: i64) -> Result<Self, String> {
        let now = DateTime::from_timestamp_micros(now_us).ok_or("the time is outside the calendar")?;
        let today = now.date_naive();
        let series = series(days, today);
        let so_far = so_far(days, series.as_ref(), today);
        let judged = match &series {
            Some(series) => Judged::new(series, design.days, design.days.max(so_far.days_left())),
            None => Err(format!("no call on any whole day of the last {HISTORY_DAYS_MAX}")),
        };
        let month = Month::new(so_far, design.budget, judged.as_ref().ok());
        let (state, reason, forecast) = match judged {
            Ok(judged) => (ForecastState::Forecast, None, Some(judged.answer(design.days, design.with_backtest))),
            Err(reason) => (ForecastState::Insufficient, Some(reason), None),
        };
        Ok(Self {
            metric: design.metric,
            unit: design.metric.unit(),
            tenant_id: design.tenant_id,
            agent_id: design.agent_id,
            model: design.model,
            made_at: now.to_rfc3339_opts(SecondsFormat::Micros, true),
            history: History::new(series.as_ref(), days, today),
            state,
            reason,
            forecast,
            month,
        })
    }
}

impl History {
    fn new(series: Option<&Series>, days: &[CalledDay], today: NaiveDate) -> Self {
        let within =
            days.iter().filter(|day| series.is_some_and(|series| day.date >= series.first()) && day.date < today);
        let (mut with_calls, mut calls, mut samples) = (0, 0, 0);
        for day in within {
            with_calls += 1;
            calls += day.calls;
            samples += day.samples;
        }
        let days = series.map_or(0, Series::len);
        Self {
            from: series.map(|series| series.first().to_string()),
            to: today.to_string(),
            days,
            days_without_calls: days.saturating_sub(with_calls),
            days_unknown: series.map_or(0, Series::gaps),
            samples,
            calls_unknown: calls - samples,
        }
    }
}

impl CalledDay {
    /// What the day brought; none where most of its calls do not say.
    fn known(&self) -> Option<f64> {
        (2 * self.samples >= self.calls).then_some(self.value)
    }
}

/// The whole days between the first that has calls and today. A day without calls brought nothing.
fn series(days: &[CalledDay], today: NaiveDate) -> Option<Series> {
    let first = days.first()?.date.succ_opt()?;
    let mut rows = days.iter().skip_while(|day| day.date < first).peekable();
    let values: Vec<Option<f64>> = first
        .iter_days()
        .take_while(|date| *date < today)
        .map(|date| rows.next_if(|row| row.date == date).map_or(Some(0.0), CalledDay::known))
        .collect();
    (!values.is_empty()).then(|| Series::new(first, values))
}

fn so_far(days: &[CalledDay], series: Option<&Series>, today: NaiveDate) -> SoFar {
    let first = SoFar::first(today);
    let mut so_far = SoFar { today, whole_days: 0.0, all: 0.0, samples: 0, unknown: 0 };
    for day in days.iter().filter(|day| day.date >= first && day.date <= today) {
        so_far.all += day.value;
        so_far.samples += day.samples;
        so_far.unknown += day.calls.saturating_sub(day.samples);
        if day.date < today {
            // Of a gap only a part is known.
            let filled = series.filter(|_| day.known().is_none()).and_then(|series| series.filled_on(day.date));
            so_far.whole_days += filled.map_or(day.value, |filled| filled.max(day.value));
        }
    }
    so_far
}
