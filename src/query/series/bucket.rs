//! Buckets of time: in which one a time is, and which one comes next. Pure.

use arrow::datatypes::IntervalMonthDayNano;
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime};

/// Half-open periods of one width, one after the other, without beginning or end. Times are µs since the
/// epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buckets {
    width: Width,
    /// The start of some bucket: µs, or months since the year 0.
    origin: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Us(i64),
    /// They differ in length, and start at midnight of the first of a month.
    Months(i64),
}

const DAY_US: i64 = 86_400_000_000;
/// Monday, 2000-01-03: so that weeks start on Mondays.
const MONDAY_US: i64 = 946_857_600_000_000;
/// 2000-01, in months since the year 0.
const JANUARY: i64 = 24_000;

impl Buckets {
    /// Buckets of a width, one of which starts at the origin; that is 2000-01-03, a Monday, where none is
    /// given, and 2000-01-01 for months and years.
    ///
    /// # Errors
    ///
    /// A sentence for a width that is no length, and for months from within a month.
    pub fn new(width: IntervalMonthDayNano, origin_us: Option<i64>) -> Result<Self, String> {
        let IntervalMonthDayNano { months, days, nanoseconds } = width;
        if months != 0 && (days != 0 || nanoseconds != 0) {
            return Err("months have no fixed length: its width is in months, or in days and less".to_owned());
        }
        if months != 0 {
            let origin = match origin_us {
                None => JANUARY,
                Some(us) => month_of(us)
                    .filter(|month| start_of_month(*month) == Some(us))
                    .ok_or("buckets of months start with a month, and so does its origin")?,
            };
            return Self::positive(Width::Months(i64::from(months)), i64::from(months), origin);
        }
        if nanoseconds % 1_000 != 0 {
            return Err("its width is in whole microseconds".to_owned());
        }
        let us = i64::from(days).checked_mul(DAY_US).and_then(|us| us.checked_add(nanoseconds / 1_000));
        let us = us.ok_or("its width is more than 290,000 years")?;
        Self::positive(Width::Us(us), us, origin_us.unwrap_or(MONDAY_US))
    }

    fn positive(width: Width, length: i64, origin: i64) -> Result<Self, String> {
        if length > 0 { Ok(Self { width, origin }) } else { Err("its width is more than nothing".to_owned()) }
    }

    /// The start of the bucket that a time is in; none where no time can be told that early.
    pub fn start_of(self, us: i64) -> Option<i64> {
        match self.width {
            Width::Us(width) => floor(us, width, self.origin),
            Width::Months(width) => start_of_month(floor(month_of(us)?, width, self.origin)?),
        }
    }

    /// The start of the bucket after the one that starts here; none where no time can be told that late.
    pub fn after(self, start_us: i64) -> Option<i64> {
        match self.width {
            Width::Us(width) => start_us.checked_add(width),
            Width::Months(width) => start_of_month(month_of(start_us)?.checked_add(width)?),
        }
    }

    /// Whether every bucket is made of whole windows of this length, µs, of which one starts at the epoch.
    pub fn are_made_of(self, window_us: i64) -> bool {
        match self.width {
            Width::Us(width) => width % window_us == 0 && self.origin % window_us == 0,
            Width::Months(_) => DAY_US % window_us == 0,
        }
    }
}

/// The greatest number up to this that is whole steps away from the origin.
fn floor(value: i64, step: i64, origin: i64) -> Option<i64> {
    // In 128 bits, so that nothing between overflows.
    let (value, step, origin) = (i128::from(value), i128::from(step), i128::from(origin));
    i64::try_from(value - (value - origin).rem_euclid(step)).ok()
}

fn month_of(us: i64) -> Option<i64> {
    let date = DateTime::from_timestamp_micros(us)?.date_naive();
    Some(i64::from(date.year()) * 12 + i64::from(date.month0()))
}

fn start_of_month(month: i64) -> Option<i64> {
    let (year, month0) = (i32::try_from(month.div_euclid(12)).ok()?, month.rem_euclid(12) as u32);
    let date = NaiveDate::from_ymd_opt(year, month0 + 1, 1)?;
    Some(date.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn us(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
    }

    fn width(months: i32, days: i32, us: i64) -> IntervalMonthDayNano {
        IntervalMonthDayNano::new(months, days, us * 1_000)
    }

    #[track_caller]
    fn check(width: IntervalMonthDayNano, origin: Option<&str>, time: &str, expect: &str) {
        let buckets = Buckets::new(width, origin.map(us)).unwrap();
        let start = buckets.start_of(us(time)).unwrap();
        assert_eq!(DateTime::from_timestamp_micros(start).unwrap().to_rfc3339(), us_text(expect), "{time}");
        assert!(buckets.after(start).unwrap() > us(time), "{time}");
    }

    fn us_text(text: &str) -> String {
        DateTime::from_timestamp_micros(us(text)).unwrap().to_rfc3339()
    }

    #[test]
    fn buckets_start_where_those_of_timescale_do() {
        let time = "2026-05-14T12:34:56.789Z";
        check(width(0, 0, 3_600_000_000), None, time, "2026-05-14T12:00:00Z");
        check(width(0, 0, 300_000_000), None, time, "2026-05-14T12:30:00Z");
        check(width(0, 1, 0), None, time, "2026-05-14T00:00:00Z");
        check(width(0, 7, 0), None, time, "2026-05-11T00:00:00Z");
        check(width(0, 5, 0), None, "2000-01-02T23:00:00Z", "1999-12-29T00:00:00Z");
        check(width(0, 1, 0), Some("2026-01-01T06:00:00Z"), time, "2026-05-14T06:00:00Z");
        check(width(0, 1, 0), Some("2030-01-01T18:00:00Z"), time, "2026-05-13T18:00:00Z");
        check(width(1, 0, 0), None, time, "2026-05-01T00:00:00Z");
        check(width(3, 0, 0), None, time, "2026-04-01T00:00:00Z");
        check(width(3, 0, 0), Some("2020-02-01T00:00:00Z"), time, "2026-05-01T00:00:00Z");
        check(width(12, 0, 0), None, time, "2026-01-01T00:00:00Z");
        check(width(5, 0, 0), None, "1999-12-31T23:59:59Z", "1999-08-01T00:00:00Z");
        check(width(1, 0, 0), None, "1969-12-31T23:59:59Z", "1969-12-01T00:00:00Z");
    }

    #[test]
    fn what_is_no_width_is_refused() {
        for (width, origin, words) in [
            (width(0, 0, 0), None, "more than nothing"),
            (width(0, 0, -1), None, "more than nothing"),
            (width(-1, 0, 0), None, "more than nothing"),
            (width(1, 1, 0), None, "months have no fixed length"),
            (IntervalMonthDayNano::new(0, 0, 1_500), None, "whole microseconds"),
            (width(1, 0, 0), Some(us("2026-01-02T00:00:00Z")), "start with a month"),
        ] {
            let refused = Buckets::new(width, origin).unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
    }

    #[test]
    fn the_ends_of_time_are_no_panic() {
        for buckets in [Buckets::new(width(0, 7, 0), None).unwrap(), Buckets::new(width(7, 0, 0), None).unwrap()] {
            for us in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
                if let Some(start) = buckets.start_of(us) {
                    assert!(start <= us);
                    assert!(buckets.after(start).is_none_or(|after| after > us));
                }
            }
            assert_eq!(buckets.start_of(i64::MIN), None);
        }
    }

    proptest! {
        #[test]
        fn every_time_is_in_one_bucket(
            months in 0_i32..40, days in 0_i32..40, length_us in 1_i64..10_000_000_000, at_us in -4_000_000_000_000_000_i64..4_000_000_000_000_000,
        ) {
            let width = if months > 0 { width(months, 0, 0) } else { width(0, days, length_us) };
            let buckets = Buckets::new(width, None).unwrap();
            let start = buckets.start_of(at_us).unwrap();
            let after = buckets.after(start).unwrap();
            prop_assert!(start <= at_us && at_us < after);
            prop_assert_eq!(buckets.start_of(start), Some(start));
            prop_assert_eq!(buckets.start_of(after - 1), Some(start));
            prop_assert_eq!(buckets.start_of(after), Some(after));
        }

        #[test]
        fn buckets_of_whole_windows_are_told_by_their_windows(
            hours in 1_i64..200, origin_hours in -50_i64..50, at_us in -4_000_000_000_000_000_i64..4_000_000_000_000_000,
        ) {
            const HOUR_US: i64 = 3_600_000_000;
            let buckets = Buckets::new(width(0, 0, hours * HOUR_US), Some(origin_hours * HOUR_US)).unwrap();
            prop_assert!(buckets.are_made_of(HOUR_US));
            let window = at_us.div_euclid(HOUR_US) * HOUR_US;
            prop_assert_eq!(buckets.start_of(window), buckets.start_of(at_us));
            prop_assert_eq!(buckets.are_made_of(DAY_US), hours % 24 == 0 && origin_hours % 24 == 0);
        }
    }
}
