//! Settings of the drift job.

use serde::{Deserialize, Serialize};

/// What is judged beside requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriftConfig {
    /// `DRIFTLINE_DRIFT_INTERVAL_S`: how often all columns are judged, seconds; 0 is never.
    pub interval_s: u64,
    /// `DRIFTLINE_DRIFT_WINDOW_HOURS`: length of a window, hours.
    pub window_hours: u32,
    /// `DRIFTLINE_DRIFT_REFERENCES`: earlier windows of the same hours of the week that each is compared with.
    pub references: u32,
    /// `DRIFTLINE_DRIFT_RESULTS_MAX`: verdicts that are kept, the newest.
    pub results_max: u32,
}

impl Default for DriftConfig {
    fn default() -> Self {
        Self { interval_s: 3_600, window_hours: 24, references: 4, results_max: 50_000 }
    }
}
