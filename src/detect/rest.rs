//! The rest after something was shown: what goes on is not told again and again, what gets much worse is. It never
//! changes what is learned, and nothing rests that was not shown.

use serde::{Deserialize, Serialize};

use super::ANOMALY_SURPRISE;

/// Surprises below this are not shown.
const SHOWN_MIN: f64 = 1.0;
/// Length of a rest, twelve and a half hours, within bounds in sampling intervals.
const REST_US: i64 = 45_000_000_000;
const REST_INTERVALS_MIN: i64 = 24;
const REST_INTERVALS_MAX: i64 = 150;
/// How many times as surprising something has to be to be shown during a rest.
const WORSE: f64 = 1.3;

/// What was shown last, and from when to when it rests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rest {
    from_us: i64,
    until_us: i64,
    shown: f32,
}

impl Rest {
    /// Whether a surprise may be shown. What was no anomaly hides none, however near it came.
    pub fn allows(&self, time_us: i64, surprise: f64) -> bool {
        let much_worse = WORSE * f64::from(self.shown);
        // What lies before it, in a file whose times go back, is not what goes on.
        let resting = (self.from_us..self.until_us).contains(&time_us);
        let least = match resting {
            false => SHOWN_MIN,
            true if self.shown < ANOMALY_SURPRISE as f32 => ANOMALY_SURPRISE.min(much_worse),
            true => much_worse,
        };
        surprise >= least
    }

    /// Begins with a surprise that is shown.
    pub fn begin(&mut self, time_us: i64, interval_us: i64, surprise: f64) {
        let intervals = |count: i64| interval_us.saturating_mul(count);
        let length_us = REST_US.clamp(intervals(REST_INTERVALS_MIN), intervals(REST_INTERVALS_MAX));
        (self.from_us, self.until_us) = (time_us, time_us.saturating_add(length_us));
        self.shown = surprise as f32;
    }
}
