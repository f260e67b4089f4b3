//! The hours of a series that its own past does not explain. Each is judged by what came before it alone.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::series::{Series, Steadied};
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
    /// What the same hour of other days (once three weeks are known: of other weeks) says, in the same unit; none while
    /// too few are known.
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
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Hours in question that could be judged at all: with a figure, and enough of the past.
    pub hours: u64,
    /// Those of them that do not fit, in the order of time.
    pub findings: Vec<Finding>,
}

/// Judges the hours from `from_us` to before `to_us` (µs since the epoch, whole hours) by all that came before each of
/// them. Those that score less than `score_min` are no findings.
pub fn judge(series: &Series, from_us: i64, to_us: i64, score_min: f64) -> Judged {
    let mut detector = Detector::default();
    let mut judged = Judged { hours: 0, findings: Vec::new() };
    for steadied in series.steadied(to_us) {
        let score = detector.push(steadied.hour.start_us, steadied.value);
        let (Some(value), Some(surprise), Some(measure)) = (steadied.hour.value, score.surprise, score.measure) else {
            continue;
        };
        if steadied.hour.start_us < from_us {
            continue;
        }
        judged.hours += 1;
        if score.anomaly >= score_min && !is_chance(&steadied) {
            judged.findings.push(Finding {
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
    judged
}

/// Whether calls at the rate of the last days bring such a share easily.
fn is_chance(steadied: &Steadied) -> bool {
    let chance = steadied.hour.share.and_then(|(count, of)| binomial_test(count, of, steadied.before));
    chance.is_some_and(|chance| chance > CHANCE_MAX)
}
