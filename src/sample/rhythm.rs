//! When people work: the weekly course of activity, with mean 1 over a week.
//!
//! Deterministic and without holidays or time zones of its own: an audience elsewhere is expressed
//! by shifting the time before asking.

/// µs in an hour.
pub(super) const HOUR_US: i64 = 3_600_000_000;
/// µs in a day.
pub(super) const DAY_US: i64 = 24 * HOUR_US;

const WEEK_HOURS: usize = 168;

/// Activity by hour of the day, any unit.
const BY_HOUR: [f64; 24] = [
    0.22, 0.16, 0.13, 0.12, 0.14, 0.22, 0.40, 0.75, 1.25, 1.70, 1.90, 1.85, 1.50, 1.60, 1.85, 1.90, 1.75, 1.45, 1.05,
    0.80, 0.70, 0.60, 0.45, 0.32,
];

/// Activity by day of the week, Monday first.
const BY_DAY: [f64; 7] = [1.12, 1.18, 1.16, 1.12, 0.98, 0.42, 0.38];

/// Activity by hour of the week.
#[derive(Debug, Clone)]
pub(super) struct Rhythm {
    by_hour: [f64; WEEK_HOURS],
    peak: f64,
}

impl Rhythm {
    /// The one rhythm there is.
    pub(super) fn new() -> Self {
        let raw: [f64; WEEK_HOURS] = std::array::from_fn(|h| BY_HOUR[h % 24] * BY_DAY[h / 24]);
        let mean = raw.iter().sum::<f64>() / WEEK_HOURS as f64;
        let by_hour = raw.map(|activity| activity / mean);
        let peak = by_hour.iter().copied().fold(0.0, f64::max);
        Self { by_hour, peak }
    }

    /// Activity at a local time; linear between full hours, so the mean over any week is exactly 1.
    pub(super) fn at(&self, local_us: i64) -> f64 {
        // The epoch was a Thursday; the table starts on Monday.
        let into_week = (local_us + 3 * DAY_US).rem_euclid(7 * DAY_US);
        let hour = (into_week / HOUR_US) as usize;
        let fraction = (into_week % HOUR_US) as f64 / HOUR_US as f64;
        let (now, next) = (self.by_hour[hour], self.by_hour[(hour + 1) % WEEK_HOURS]);
        now + (next - now) * fraction
    }

    /// The highest activity of the week.
    pub(super) fn peak(&self) -> f64 {
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_have_mean_one_days_beat_nights_and_weekends_rest() {
        let rhythm = Rhythm::new();
        let minutes = 7 * 24 * 60;
        let mean = (0..minutes).map(|m| rhythm.at(m * 60_000_000)).sum::<f64>() / minutes as f64;
        assert!((mean - 1.0).abs() < 1e-9, "{mean}");
        // 2026-05-14 was a Thursday.
        let thursday = 1_778_716_800_000_000;
        let at = |day: i64, hour: i64| rhythm.at(thursday + day * DAY_US + hour * HOUR_US);
        assert!(at(0, 10) > 5.0 * at(0, 3));
        assert!(at(0, 10) > 2.0 * at(2, 10));
        assert!(at(4, 10) > 2.0 * at(3, 10));
        assert!((0..168).all(|h| at(0, h) <= rhythm.peak()));
    }
}
