//! Whether a history is long enough, which method forecasts it, and how far that may be off.

use super::{
    answer::{Candidate, Day, Forecast, Past, Total},
    backtest::{Backtest, TRAINING_DAYS, figures, held, nearest, origins_min},
    bound::COVERAGE,
    method::Method,
    series::{LEVEL_DAYS, Series},
};

/// Days that can be asked for.
pub const HORIZONS: [usize; 3] = [30, 60, 90];
/// Most days of history that are looked at: a year and what its last month is compared with.
pub const HISTORY_DAYS_MAX: usize = 400;
/// Share of the days that may be gaps.
const GAPS_MAX: f64 = 0.1;

/// Days of history that a forecast of so many days needs: those that the earliest forecast is made from, those it
/// is for, and as many again, so that the forecasts it is tried by are not all of the same days.
pub const fn days_needed(days: usize) -> usize {
    TRAINING_DAYS + 2 * days
}

/// A series with its method.
pub(super) struct Judged<'a> {
    series: &'a Series,
    /// Those that can be, the baseline first.
    tried: Vec<Backtest<'a>>,
    chosen: Backtest<'a>,
    candidates: Vec<Candidate>,
    /// The days to come, one by one.
    forecast: Vec<f64>,
    /// What errors are shares of.
    level: f64,
}

/// A figure and its bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounded {
    pub value: f64,
    pub low: f64,
    pub high: f64,
    pub windows: usize,
    pub disjoint: f64,
}

impl<'a> Judged<'a> {
    /// Judges a series for so many days that were asked for; `steps`, which are no fewer, are forecast.
    ///
    /// # Errors
    ///
    /// Why the history does not suffice, in words.
    pub fn new(series: &'a Series, days: usize, steps: usize) -> Result<Self, String> {
        check_length(series, days)?;
        let level = series.level(series.len());
        if level <= 0.0 {
            return Err(format!("nothing in the last {LEVEL_DAYS} days"));
        }
        let tried: Vec<Backtest<'_>> =
            Method::ALL.into_iter().filter_map(|method| Backtest::run(method, series, steps)).collect();
        let chosen = nearest(&tried, series.len()).ok_or("no method can be tried on it")?.clone();
        if chosen.total_radius(days).is_none() {
            return Err(format!(
                "too much of the history has nothing: {} forecasts of the past are needed to bound one of {days} days",
                origins_min()
            ));
        }
        let forecast = chosen.method.forecast(series.filled(), steps).ok_or("the chosen model cannot be fitted")?;
        let error = |method: Method| tried.iter().find(|tried| tried.method == method).map(Backtest::error);
        let baseline = error(Method::BASELINE);
        let candidates = Method::ALL.into_iter().map(|method| Candidate {
            method,
            error: error(method),
            beats_baseline: error(method).zip(baseline).map(|(error, baseline)| error < baseline),
            is_chosen: method == chosen.method,
        });
        let candidates = candidates.collect();
        Ok(Self { series, tried, candidates, chosen, forecast, level })
    }

    /// The total of the next so many days, with bounds.
    pub fn total(&self, days: usize) -> Option<Bounded> {
        let radius = self.chosen.total_radius(days)?;
        let value: f64 = self.forecast[..days].iter().sum();
        Some(bounded(value, radius.share * self.level, radius.windows, radius.disjoint))
    }

    /// The days to come, one by one.
    pub fn points(&self) -> &[f64] {
        &self.forecast
    }

    /// The forecast of so many days.
    pub fn answer(self, days: usize, with_backtest: bool) -> Forecast {
        let date = |day: usize| self.series.date(self.series.len() + day).to_string();
        let totals = HORIZONS.into_iter().filter(|horizon| *horizon <= days).filter_map(|horizon| {
            let Bounded { value, low, high, windows, disjoint } = self.total(horizon)?;
            let (from, to) = (date(0), date(horizon));
            Some(Total { days: horizon, from, to, value, low, high, windows, disjoint_windows: disjoint })
        });
        let each = (0..days).filter_map(|step| {
            let radius = self.chosen.day_radius(step)?;
            let Bounded { value, low, high, windows, .. } =
                bounded(self.forecast[step], radius.share * self.level, radius.windows, radius.disjoint);
            Some(Day { date: date(step), value, low, high, windows })
        });
        let past = with_backtest.then(|| {
            let figures = figures(&self.tried, days);
            let (within, bounded) = held(&figures);
            Past { days, within, bounded, forecasts: figures }
        });
        Forecast {
            method: self.chosen.method,
            method_reason: self.reason(),
            coverage: COVERAGE,
            totals: totals.collect(),
            days: each.collect(),
            candidates: self.candidates.clone(),
            backtest: past,
        }
    }

    fn reason(&self) -> String {
        let error = |method: Method| {
            self.candidates.iter().find(|candidate| candidate.method == method).and_then(|candidate| candidate.error)
        };
        let (Some(baseline), Some(own)) = (error(Method::BASELINE), error(self.chosen.method)) else {
            return "no other model can be fitted".to_owned();
        };
        if self.chosen.method == Method::BASELINE {
            return "no other method is nearer to what came than the last week again and again".to_owned();
        }
        format!(
            "off by {:.1} % on average where the last week again and again is off by {:.1} %",
            100.0 * own,
            100.0 * baseline
        )
    }
}

fn bounded(value: f64, radius: f64, windows: usize, disjoint: f64) -> Bounded {
    Bounded { value, low: (value - radius).max(0.0), high: value + radius, windows, disjoint }
}

fn check_length(series: &Series, days: usize) -> Result<(), String> {
    let (there, needed) = (series.len(), days_needed(days));
    if there < needed {
        let shorter = HORIZONS.into_iter().rev().find(|horizon| there >= days_needed(*horizon));
        let shorter = shorter.map_or_else(String::new, |horizon| format!("; {horizon} days can be forecast"));
        return Err(format!("{there} whole days are there, {needed} are needed for {days} days{shorter}"));
    }
    let gaps = series.gaps();
    if gaps as f64 > GAPS_MAX * there as f64 {
        return Err(format!("{gaps} of {there} days do not say what they brought, a tenth may"));
    }
    Ok(())
}
