//! Bounds by split conformal prediction: what earlier forecasts got wrong, ranked.
//!
//! Ranks alone hold for errors that are exchangeable. Those of overlapping windows are not: twenty forecasts of 30 days
//! from twenty days in a row are little more than one. So the ranked error is widened as a standard deviation of few
//! observations is, by Student's t with as many degrees of freedom as windows that do not overlap fit into their time.

use super::backtest::origins_min;
use crate::stats::{normal_two_sided_quantile, t_two_sided_quantile};

/// What comes is within a bound with about this probability.
pub const COVERAGE: f64 = 0.9;

/// How far off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Radius {
    /// As a share of a day's level.
    pub share: f64,
    /// Forecasts of the past that it comes from.
    pub windows: usize,
    /// How many of their length their time has room for.
    pub disjoint: f64,
}

impl Radius {
    /// Of the errors of forecasts, each with the day it was made on, rising, for so many days. None for too few.
    pub fn of(errors: impl Iterator<Item = (usize, f64)>, days: usize) -> Option<Self> {
        let (made, mut sizes): (Vec<usize>, Vec<f64>) = errors.map(|(day, error)| (day, error.abs())).unzip();
        let windows = sizes.len();
        if windows < origins_min() {
            return None;
        }
        sizes.sort_unstable_by(f64::total_cmp);
        // The rank of split conformal prediction: the new error takes each place among the old ones alike.
        let rank = (COVERAGE * (windows + 1) as f64).ceil() as usize;
        let disjoint = (1.0 + (made[windows - 1] - made[0]) as f64 / days as f64).min(windows as f64);
        let outside = 1.0 - COVERAGE;
        let widened = t_two_sided_quantile(outside, disjoint) / normal_two_sided_quantile(outside);
        Some(Self { share: sizes[rank.min(windows) - 1] * widened, windows, disjoint })
    }
}
