//! How long a bucket of time is, so that a panel gets as many points as it has room for. Pure.

use crate::kpi::Grain;

/// µs of a second.
const SECOND_US: i64 = 1_000_000;
/// Monday, 2000-01-03, from which `time_bucket` counts.
const MONDAY_US: i64 = 946_857_600 * SECOND_US;
/// Lengths that people read easily, seconds. From an hour on they are whole hours, which rollups answer.
const STEPS_S: [i64; 21] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
    2_419_200,
];

/// A length of buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step(i64);

impl Step {
    /// The shortest of [`STEPS_S`], or a multiple of the longest, that is no shorter than the interval and leaves at
    /// most `points_max` buckets in a range.
    pub fn of(range_us: i64, interval_us: i64, points_max: usize) -> Self {
        // A range that begins within a bucket has a bucket more.
        let gaps = i64::try_from(points_max.saturating_sub(1)).unwrap_or(i64::MAX).max(1);
        let least_us = interval_us.max(range_us.div_euclid(gaps).saturating_add(1)).max(1);
        let known = STEPS_S.into_iter().map(|seconds| seconds * SECOND_US).find(|step_us| *step_us >= least_us);
        Self(known.unwrap_or_else(|| {
            let longest_us = STEPS_S[STEPS_S.len() - 1] * SECOND_US;
            (least_us / longest_us + 1).saturating_mul(longest_us)
        }))
    }

    /// As `time_bucket` takes it.
    pub fn text(self) -> String {
        format!("{} seconds", self.0 / SECOND_US)
    }

    /// In ms.
    pub fn ms(self) -> i64 {
        self.0 / 1_000
    }

    /// The start of the bucket that a time is in.
    pub fn start_of(self, us: i64) -> i64 {
        us - (us - MONDAY_US).rem_euclid(self.0)
    }

    /// The shortest windows of KPIs that are no shorter than a bucket.
    pub fn grain(self) -> Grain {
        match self.0 / SECOND_US {
            ..=3_600 => Grain::Hour,
            3_601..=86_400 => Grain::Day,
            _ => Grain::Month,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_US: i64 = 3_600 * SECOND_US;

    #[test]
    fn buckets_fit_into_the_panel() {
        let check = |hours: i64, interval_s: i64, points_max: usize, expect: &str| {
            let step = Step::of(hours * HOUR_US, interval_s * SECOND_US, points_max);
            assert_eq!(step.text(), expect, "{hours} h, {interval_s} s, {points_max}");
        };
        check(1, 15, 1_000, "15 seconds");
        check(1, 15, 60, "120 seconds");
        check(24, 60, 1_440, "120 seconds");
        check(24 * 7, 600, 1_000, "900 seconds");
        check(24 * 365, 1, 100, "604800 seconds");
        check(24 * 365 * 100, 1, 2, "3154636800 seconds");
        check(1, 0, 0, "7200 seconds");
        for points_max in 2..2_000 {
            for range_us in [1, HOUR_US - 1, 24 * HOUR_US, 31 * 24 * HOUR_US + 17] {
                let step = Step::of(range_us, 0, points_max);
                let from_us = 1_778_760_000_000_001;
                let first = step.start_of(from_us);
                let buckets = (from_us + range_us - 1 - first) / step.0 + 1;
                assert!(buckets <= points_max as i64, "{range_us} {points_max}: {buckets}");
            }
        }
    }

    #[test]
    fn buckets_start_where_time_bucket_has_them() {
        let step = Step::of(HOUR_US, HOUR_US, 100);
        assert_eq!(step.start_of(1_778_760_000_000_000 + 17), 1_778_760_000_000_000);
        assert_eq!(Step(7 * 24 * HOUR_US).start_of(MONDAY_US - 1), MONDAY_US - 7 * 24 * HOUR_US);
        assert_eq!((step.grain(), Step(2 * HOUR_US).grain()), (Grain::Hour, Grain::Day));
    }
}
