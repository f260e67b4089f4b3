//! The hours of a series that its own past does not explain. Each is judged by what came before it alone.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    replay::{Asked, Replay},
    series::{Series, Steadied},
};
use crate::{
    detect::{Detector, Measure},
    stats::binomial_test,
};

/// A share that so many calls bring by chance as often as this, at the rate of the last days, is no finding, however
/// rare it has been: one of seven says little.
const CHANCE_MAX: f64 = 0.0001;

/// An hour that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[schema(as = AnomalyFinding)]
pub struct Finding {
    /// Start of the hour, µs since the epoch, UTC.
    #[serde(skip)]
    pub start_us: i64,
    /// The figure, in the KPI's unit.
    pub value: f64,
    /// What the same hour of other weeks (of other days, while fewer than three weeks of it are known) says, in the same
    /// unit; none while too few are known.
    pub expected: Option<f64>,
    /// What the figure is made of, counted.
    pub samples: u64,
    /// From 0 to below 1; 0.5 and above is an anomaly.
    pub score: f64,
    /// About the probability of an hour as odd as this where nothing is wrong, by the series' own past.
    pub p_value: f64,
    /// What is most odd about it.
    pub measure: MeasureName,
}

/// What is measured of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AnomalyMeasure)]
#[serde(rename_all = "snake_case")]
pub enum MeasureName {
    /// The last values are like no earlier ones.
    Window,
    /// The value stands out of the spectrum of the last.
    Spectrum,
    /// What is left after the expected is like nothing earlier.
    ResidualWindow,
    /// The value is far from the expected.
    Residual,
    /// The last day is far from the expected.
    ResidualLevel,
}

impl MeasureName {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Spectrum => "spectrum",
            Self::ResidualWindow => "residual_window",
            Self::Residual => "residual",
            Self::ResidualLevel => "residual_level",
        }
    }
}

impl From<Measure> for MeasureName {
    fn from(measure: Measure) -> Self {
        match measure {
            Measure::Window(_) => Self::Window,
            Measure::Spectrum => Self::Spectrum,
            Measure::ResidualWindow(_) => Self::ResidualWindow,
            Measure::Residual => Self::Residual,
            Measure::ResidualLevel => Self::ResidualLevel,
        }
    }
}

/// What is said of a series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judged {
    /// Hours in question that could be judged at all: with a figure, and enough of the past.
    pub hours: u64,
    /// Those of them that do not fit, in the order of time.
    pub findings: Vec<Finding>,
}

/// Judges hours, each by what came before it in its week's past alone. Those that score less than `score_min` are no
/// findings.
pub fn judge(series: &Series, asked: Asked, score_min: f64) -> Judged {
    let mut judged = Judged::default();
    for replay in asked.replays() {
        judged.go_through(series, replay, score_min);
    }
    judged
}

impl Judged {
    fn go_through(&mut self, series: &Series, replay: Replay, score_min: f64) {
        let mut detector = Detector::default();
        for steadied in series.steadied(replay.start_us, replay.end_us) {
            // What is no finding hides none: nothing rests but what is found.
            let is_finding = |score: f64| score >= score_min && !is_chance(&steadied);
            let score = detector.push_if(steadied.hour.start_us, steadied.value, is_finding);
            let (Some(value), Some(surprise), Some(measure)) = (steadied.hour.value, score.surprise, score.measure)
            else {
                continue;
            };
            if steadied.hour.start_us < replay.judged_us {
                continue;
            }
            self.hours += 1;
            if score.anomaly > 0.0 {
                self.findings.push(Finding {
                    start_us: steadied.hour.start_us,
                    value,
                    expected: score.expected.map(|expected| series.unscale(expected)),
                    samples: steadied.hour.samples,
                    score: score.anomaly,
                    p_value: 10_f64.powf(-surprise),
                    measure: measure.into(),
                });
            }
        }
    }
}

/// Whether calls at the rate of the last days bring such a share easily.
fn is_chance(steadied: &Steadied) -> bool {
    let chance = steadied.hour.share.and_then(|(count, of)| binomial_test(count, of, steadied.before));
    chance.is_some_and(|chance| chance > CHANCE_MAX)
}
