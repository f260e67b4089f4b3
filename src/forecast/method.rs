//! How the next days are told from the past ones. The models are augurs'; this is the only file that names it.

use augurs_core::{Fit, Predict};
use augurs_ets::AutoETS;
use augurs_mstl::MSTLModel;
use serde::Serialize;
use utoipa::ToSchema;

use super::series::WEEK;

/// Additive errors and an additive trend, without a season: the trend is damped beside it.
const ETS: &str = "AAN";

/// How days are forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ForecastMethod)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The last week again and again: what the others have to beat.
    SeasonalNaive,
    /// Exponential smoothing with a damped trend, which knows no weekdays.
    DampedEts,
    /// The week taken off by MSTL, the rest by exponential smoothing with a damped trend, and the week put on again.
    MstlDampedEts,
}

impl Method {
    /// All, the baseline first.
    pub const ALL: [Self; 3] = [Self::SeasonalNaive, Self::DampedEts, Self::MstlDampedEts];
    /// The one that is used unless another does better.
    pub const BASELINE: Self = Self::SeasonalNaive;

    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::SeasonalNaive => "seasonal_naive",
            Self::DampedEts => "damped_ets",
            Self::MstlDampedEts => "mstl_damped_ets",
        }
    }

    /// The next days, 0 or more; none where the model cannot be fitted. `history` has a week at least.
    pub fn forecast(self, history: &[f64], days: usize) -> Option<Vec<f64>> {
        let last_week = &history[history.len().checked_sub(WEEK)?..];
        if self == Self::SeasonalNaive {
            return Some(last_week.iter().copied().cycle().take(days).collect());
        }
        // The models search and decompose in numbers near 1, MSTL in single precision.
        let mean = history.iter().sum::<f64>() / history.len() as f64;
        let scaled: Vec<f64> = history.iter().map(|value| value / mean).collect();
        let ets = AutoETS::new(1, ETS).and_then(|search| search.damped(true)).ok()?;
        let points = match self {
            Self::MstlDampedEts => {
                let model = MSTLModel::new(vec![WEEK], ets.into_trend_model()).fit(&scaled).ok()?;
                model.predict(days, None).ok()?.point
            }
            _ => ets.fit(&scaled).ok()?.predict(days, None).ok()?.point,
        };
        let all_known = points.len() == days && points.iter().all(|point| point.is_finite());
        all_known.then(|| points.into_iter().map(|point| (point * mean).max(0.0)).collect())
    }
}
