//! What a method would have said on earlier days, and what came: rolling origins. From these errors come the choice
//! of the method and the bounds of its forecast.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    bound::{COVERAGE, Radius},
    method::Method,
    series::{LEVEL_DAYS, Series, WEEK},
};

/// Most days from which a method is tried: each fits a model.
const ORIGINS_MAX: usize = 32;
/// A forecast from so many days at least: what a level is made of.
pub(super) const TRAINING_DAYS: usize = LEVEL_DAYS;

/// A method tried from earlier days.
#[derive(Debug, Clone)]
pub(super) struct Backtest<'a> {
    pub method: Method,
    series: &'a Series,
    /// The earliest first.
    origins: Vec<Origin>,
}

#[derive(Debug, Clone)]
struct Origin {
    /// Days that were known.
    day: usize,
    /// Their level.
    level: f64,
    /// Those that followed, as the method would have said; at most as many as there are.
    forecast: Vec<f64>,
}

/// One forecast of the past and what came.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ForecastOfThePast)]
pub struct OriginFigure {
    /// First day that was forecast.
    pub from: String,
    /// The day after the last.
    pub to: String,
    /// The method that was nearest in forecasts that had ended by then; the baseline before any had.
    pub method: Method,
    /// The total that would have been forecast.
    pub forecast: f64,
    /// Lower bound, by the method's errors in forecasts that had ended by then; null where they are too few.
    pub low: Option<f64>,
    /// Upper bound, by the same.
    pub high: Option<f64>,
    /// The total that came.
    pub actual: f64,
    /// Whether it was within the bounds.
    pub is_within: Option<bool>,
}

impl<'a> Backtest<'a> {
    /// Tries a method; none where its model cannot be fitted.
    pub fn run(method: Method, series: &'a Series, days: usize) -> Option<Self> {
        let origins = origins(series.len()).filter_map(|day| {
            let level = series.level(day);
            // Before anything was spent there is nothing to measure errors by.
            (level > 0.0).then(|| {
                let forecast = method.forecast(&series.filled()[..day], days.min(series.len() - day))?;
                Some(Origin { day, level, forecast })
            })
        });
        Some(Self { method, series, origins: origins.collect::<Option<_>>()? })
    }

    /// Mean error of the totals of 1, 2, … days, as a share of the level's total.
    pub fn error(&self) -> f64 {
        self.error_by(self.series.len())
    }

    /// The same of those totals that were known on a day; infinite where none was.
    fn error_by(&self, day: usize) -> f64 {
        let errors = self.origins.iter().flat_map(|origin| {
            let ended = origin.total_errors(self.series).take(day.saturating_sub(origin.day));
            ended.enumerate().map(|(step, error)| error.abs() / (step + 1) as f64)
        });
        let (sum, count) = errors.fold((0.0, 0_usize), |(sum, count), error| (sum + error, count + 1));
        if count == 0 { f64::INFINITY } else { sum / count as f64 }
    }

    /// How far the day so many after the last may be off, as a share of the level.
    pub fn day_radius(&self, step: usize) -> Option<Radius> {
        let errors = self.origins.iter().filter_map(|origin| {
            let actual = self.series.known(origin.day + step)?;
            Some((origin.day, (actual - origin.forecast.get(step)?) / origin.level))
        });
        Radius::of(errors, step + 1)
    }

    /// How far the total of so many days may be off, as a share of the level.
    pub fn total_radius(&self, days: usize) -> Option<Radius> {
        Radius::of(self.total_errors(days), days)
    }

    /// The total of so many days from a day of the past, where the method was tried from it and so many have passed.
    fn figure(&self, day: usize, days: usize) -> Option<OriginFigure> {
        let origin = self.origins.iter().find(|origin| origin.day == day)?;
        let error = origin.total_error(self.series, days)?;
        let forecast: f64 = origin.forecast[..days].iter().sum();
        let ended = self.total_errors(days).filter(|(day, _)| day + days <= origin.day);
        let radius = Radius::of(ended, days).map(|radius| radius.share * origin.level);
        Some(OriginFigure {
            from: self.series.date(day).to_string(),
            to: self.series.date(day + days).to_string(),
            method: self.method,
            forecast,
            low: radius.map(|radius| (forecast - radius).max(0.0)),
            high: radius.map(|radius| forecast + radius),
            actual: forecast + error * origin.level,
            is_within: radius.map(|radius| (error * origin.level).abs() <= radius),
        })
    }

    /// The day of each origin and its error of the total of so many days.
    fn total_errors(&self, days: usize) -> impl Iterator<Item = (usize, f64)> {
        self.origins.iter().filter_map(move |origin| Some((origin.day, origin.total_error(self.series, days)?)))
    }
}

/// The one that is nearest to what came, by totals that are known on a day; of those alike the first.
pub(super) fn nearest<'a, 'b>(tried: &'b [Backtest<'a>], day: usize) -> Option<&'b Backtest<'a>> {
    tried.iter().min_by(|one, other| one.error_by(day).total_cmp(&other.error_by(day)))
}

/// The totals of so many days from each day of the past that has them, each as it would have been told then: the method
/// is chosen, and its bounds are made, by what had ended.
pub(super) fn figures(tried: &[Backtest<'_>], days: usize) -> Vec<OriginFigure> {
    let Some(first) = tried.first() else { return Vec::new() };
    let told = first.origins.iter().filter_map(|origin| nearest(tried, origin.day)?.figure(origin.day, days));
    told.collect()
}

impl Origin {
    /// What came less what was said, of the totals of 1, 2, … days, as shares of the level.
    fn total_errors(&self, series: &Series) -> impl Iterator<Item = f64> {
        let came = &series.filled()[self.day..];
        came.iter().zip(&self.forecast).scan(0.0, |total, (came, said)| {
            *total += (came - said) / self.level;
            Some(*total)
        })
    }

    fn total_error(&self, series: &Series, days: usize) -> Option<f64> {
        self.total_errors(series).nth(days.checked_sub(1)?)
    }
}

/// Days to try a method from, evenly apart, and on every weekday alike.
fn origins(days: usize) -> impl Iterator<Item = usize> {
    let last = days.saturating_sub(1);
    let apart = last.saturating_sub(TRAINING_DAYS).div_ceil(ORIGINS_MAX).max(1);
    let apart = if apart.is_multiple_of(WEEK) { apart + 1 } else { apart };
    let mut found: Vec<usize> = (TRAINING_DAYS..=last).rev().step_by(apart).collect();
    found.reverse();
    found.into_iter()
}

/// Forecasts of the past whose bounds held, and how many had bounds.
pub(super) fn held(figures: &[OriginFigure]) -> (usize, usize) {
    let told = figures.iter().filter_map(|figure| figure.is_within);
    told.fold((0, 0), |(held, all), is_within| (held + usize::from(is_within), all + 1))
}

/// Forecasts of the past that bounds need: of fewer, no rank reaches [`COVERAGE`].
pub(super) fn origins_min() -> usize {
    (COVERAGE / (1.0 - COVERAGE)).round() as usize
}
