//! Settings of the job that judges hours of KPIs.

use serde::{Deserialize, Serialize};

/// Which hours are judged beside requests, and what is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnomalyConfig {
    /// `DRIFTLINE_ANOMALY_INTERVAL_S`: how often it is looked whether an hour is over and to be judged, seconds; 0 is
    /// never.
    pub interval_s: u64,
    /// `DRIFTLINE_ANOMALY_SETTLE_MINUTES`: an hour is judged so long after its end, minutes.
    pub settle_minutes: u32,
    /// `DRIFTLINE_ANOMALY_OVERLAP_HOURS`: so many hours are judged again with each new one, for calls that came late.
    pub overlap_hours: u32,
    /// `DRIFTLINE_ANOMALY_HISTORY_DAYS`: days before the week of an hour by which it is judged, 7 to 182; from 30 on the
    /// week's rhythm counts.
    pub history_days: u32,
    /// `DRIFTLINE_ANOMALY_RESULTS_MAX`: anomalies that are kept, the newest, and as many runs.
    pub results_max: u32,
    /// `DRIFTLINE_ANOMALY_KPIS`: KPIs that are watched besides those that always are, with commas.
    pub kpis: String,
}

impl AnomalyConfig {
    /// Each of [`Self::kpis`].
    pub fn kpis(&self) -> impl Iterator<Item = &str> {
        self.kpis.split(',').map(str::trim).filter(|name| !name.is_empty())
    }
}

impl Default for AnomalyConfig {
    fn default() -> Self {
        Self {
            interval_s: 300,
            settle_minutes: 5,
            overlap_hours: 3,
            history_days: 42,
            results_max: 20_000,
            kpis: String::new(),
        }
    }
}
