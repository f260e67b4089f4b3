//! Anomalies of one series as it comes: each value is scored by what came before it, and by nothing else.
//!
//! A [`Detector`] is a plain value of bounded size that can be stored and restored. It never reads a clock, a file or a
//! later value, and never knows what the series means.
//!
//! # The way of a value
//!
//! 1. `seasonal` says what to expect at this time of the day, and of the week; what is left of the value is its
//!    residual.
//! 2. Values, and residuals of either rhythm, are [`View`]s of the series. Of each, some [`Measure`]s say how odd the
//!    newest one is: how far the window that ends here is from every earlier one (`discord`), for several lengths; how
//!    far the value is from what was expected; how much it stands out of the spectrum of its trailing window
//!    (`spectral`).
//! 3. `calibration` turns a measure into a conformal p-value against the measure's own past.
//! 4. A view's surprise is the quadratic mean of its measures' −log10 p. The day's residuals count until as much is
//!    known of the week's, and those then; the series' surprise is theirs or that of the values, whichever is larger.
//!    What stands out in one view need not be seen in the other.
//! 5. `rest` shows a surprise once, and then again only if it gets much worse. What the caller turns down is not shown.
//!
//! State holds `f32`, which text formats give back exactly: a restored detector goes on as the first would have. It
//! takes some 150 kB of text per series, and 300 at most.

mod cadence;
mod calibration;
mod discord;
mod rest;
mod seasonal;
mod spectral;
#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod tests;
mod track;
mod view;

use serde::{Deserialize, Serialize};

use cadence::Cadence;
use rest::Rest;
use seasonal::{Expected, Rhythm, Seasonal};
pub use view::Measure;
use view::{Judged, Reading, View};

/// A score of this or more is an anomaly.
pub const ANOMALY: f64 = 0.5;

/// The surprise that scores [`ANOMALY`]. Series with a rhythm and nothing else reach it less than once a month, at
/// steps of five minutes and of an hour; see the tests.
const ANOMALY_SURPRISE: f64 = 2.3;
/// What is larger is no value: squares of distances stay finite.
const VALUE_MAX: f32 = 1e30;
/// Lengths of the windows of values, and of residuals, whose nearest likeness is looked for. The single value has the
/// weight of half a window, as has the spectral residual: both look at the newest value only.
const VALUE_WINDOWS: [(usize, f64); 5] = [(1, 0.5), (3, 1.0), (8, 1.0), (24, 1.0), (96, 1.0)];
const SPECTRAL_WEIGHT: f64 = 0.5;
const RESIDUAL_WINDOWS: [(usize, f64); 3] = [(3, 1.0), (8, 1.0), (24, 1.0)];
/// Residuals whose mean is looked at: a level that moved by less than the noise.
const LEVEL: usize = 24;

/// The past of one series, and what is needed to score its next value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    cadence: Cadence,
    day: Seasonal,
    week: Seasonal,
    values: View,
    /// Empty again once the week's are as well known.
    day_residuals: View,
    week_residuals: View,
    rest: Rest,
}

impl Default for Detector {
    fn default() -> Self {
        Self {
            cadence: Cadence::default(),
            day: Seasonal::new(Rhythm::Day),
            week: Seasonal::new(Rhythm::Week),
            values: View::default(),
            day_residuals: View::default(),
            week_residuals: View::default(),
            rest: Rest::default(),
        }
    }
}

/// What a value is beside its past.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Score {
    /// From 0 to below 1; [`ANOMALY`] or more is an anomaly. 0 while learning or resting, and without a value.
    pub anomaly: f64,
    /// −log10 of a p-value, whether resting or not; none while too little is known, and without a value.
    pub surprise: Option<f64>,
    /// The most surprising measure.
    pub measure: Option<Measure>,
    /// The seasonal median, in the series' unit; none while it is not known.
    pub expected: Option<f64>,
}

impl Detector {
    /// Scores a value of a time (µs since the epoch) and learns it. One that is missing, is no finite number or is
    /// beyond 1e30 leaves everything as it was. Values come in the order of time; one that does not is taken as the next.
    pub fn push(&mut self, time_us: i64, value: Option<f64>) -> Score {
        self.push_if(time_us, value, |_| true)
    }

    /// As [`push`](Self::push), but shows a score only if the caller, who may know more of the value, lets it count.
    /// What does not count scores 0 and is not rested from: it hides nothing that comes after it.
    pub fn push_if(&mut self, time_us: i64, value: Option<f64>, counts: impl FnOnce(f64) -> bool) -> Score {
        let Some(value) = value.map(|value| value as f32).filter(|value| value.abs() <= VALUE_MAX) else {
            return Score::default();
        };
        if self.cadence.advance(time_us) {
            self.values.interrupt();
            self.day_residuals.interrupt();
            self.week_residuals.interrupt();
        }
        let (by_day, by_week) = (self.day.expected(time_us), self.week.expected(time_us));
        self.day.learn(time_us, value);
        self.week.learn(time_us, value);
        let judged = [self.judge_value(value), self.judge_residuals(value, by_day, by_week)]
            .into_iter()
            .flatten()
            .max_by(|a, b| a.surprise.total_cmp(&b.surprise));
        Score {
            anomaly: judged.map_or(0.0, |judged| self.shown(time_us, judged.surprise, counts)),
            surprise: judged.map(|judged| judged.surprise),
            measure: judged.map(|judged| judged.measure),
            expected: by_week.or(by_day).map(|expected| f64::from(expected.median)),
        }
    }

    fn judge_value(&mut self, value: f32) -> Option<Judged> {
        self.values.push(value);
        let mut sizes: Vec<Reading> = self.values.discords(&VALUE_WINDOWS, Measure::Window).collect();
        let size = self.values.newest(spectral::WINDOW).and_then(spectral::residual);
        sizes.push(Reading { measure: Measure::Spectrum, weight: SPECTRAL_WEIGHT, size });
        self.values.judge(&sizes)
    }

    /// By the week, once that is known as well as the day: a gap between the two would be weeks without an eye on
    /// either.
    fn judge_residuals(&mut self, value: f32, by_day: Option<Expected>, by_week: Option<Expected>) -> Option<Judged> {
        let of_week = judge_residual(&mut self.week_residuals, value, by_week);
        if self.week_residuals.knows_as_much_as(&self.day_residuals) {
            self.day_residuals = View::default();
            return of_week;
        }
        judge_residual(&mut self.day_residuals, value, by_day)
    }

    /// The score of a surprise that is shown; 0 of one that is not.
    fn shown(&mut self, time_us: i64, surprise: f64, counts: impl FnOnce(f64) -> bool) -> f64 {
        let score = surprise / (surprise + ANOMALY_SURPRISE);
        if !self.rest.allows(time_us, surprise) || !counts(score) {
            return 0.0;
        }
        self.rest.begin(time_us, self.cadence.interval_us(), surprise);
        score
    }
}

fn judge_residual(residuals: &mut View, value: f32, expected: Option<Expected>) -> Option<Judged> {
    let Some(expected) = expected else {
        residuals.interrupt();
        return None;
    };
    residuals.push(value - expected.median);
    let mut sizes: Vec<Reading> = residuals.discords(&RESIDUAL_WINDOWS, Measure::ResidualWindow).collect();
    let level = residuals.newest(LEVEL).map(|last| last.iter().map(|&residual| f64::from(residual)).sum::<f64>());
    sizes.push(Reading { measure: Measure::Residual, weight: 1.0, size: Some(expected.deviation(value)) });
    sizes.push(Reading { measure: Measure::ResidualLevel, weight: 1.0, size: level.map(f64::abs) });
    residuals.judge(&sizes)
}
