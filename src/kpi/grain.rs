//! Windows of UTC: where the one of a moment begins, and its neighbours.

use chrono::{DateTime, Datelike, Months, NaiveDate, TimeDelta};
use serde::Serialize;
use utoipa::ToSchema;

/// How long a window lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Grain {
    /// An hour of UTC.
    Hour,
    /// A day of UTC.
    Day,
    /// A month of UTC.
    Month,
}

impl Grain {
    /// Every grain, in the order they are listed to people.
    pub const ALL: [Grain; 3] = [Grain::Hour, Grain::Day, Grain::Month];

    /// Its name in headers and parameters.
    pub fn name(self) -> &'static str {
        match self {
            Grain::Hour => "hour",
            Grain::Day => "day",
            Grain::Month => "month",
        }
    }

    /// The grain of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grain| grain.name() == name)
    }

    /// The start of the window that holds this moment; both µs since 1970. `None` outside the calendar.
    pub fn start_of(self, us: i64) -> Option<i64> {
        const HOUR_US: i64 = 3_600_000_000;
        match self {
            Grain::Hour => Some(us - us.rem_euclid(HOUR_US)),
            Grain::Day => Some(us - us.rem_euclid(24 * HOUR_US)),
            Grain::Month => {
                let date = DateTime::from_timestamp_micros(us)?.date_naive();
                start_us(date.with_day(1)?)
            }
        }
    }

    /// The start of the window so many after the one that starts here; before it for negative numbers.
    pub fn step(self, start_us: i64, windows: i32) -> Option<i64> {
        let start = DateTime::from_timestamp_micros(start_us)?;
        let moved = match self {
            Grain::Hour => start.checked_add_signed(TimeDelta::hours(windows.into())),
            Grain::Day => start.checked_add_signed(TimeDelta::days(windows.into())),
            Grain::Month if windows < 0 => start.checked_sub_months(Months::new(windows.unsigned_abs())),
            Grain::Month => start.checked_add_months(Months::new(windows.unsigned_abs())),
        };
        moved.map(|moved| moved.timestamp_micros())
    }
}

fn start_us(date: NaiveDate) -> Option<i64> {
    Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn us(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
    }

    #[test]
    fn windows_start_and_follow_each_other() {
        let check = |grain: Grain, at: &str, [before, start, after]: [&str; 3]| {
            let found = grain.start_of(us(at)).unwrap();
            assert_eq!(found, us(start), "{at}");
            assert_eq!(grain.step(found, -1).unwrap(), us(before), "{at}");
            assert_eq!(grain.step(found, 1).unwrap(), us(after), "{at}");
        };
        check(
            Grain::Hour,
            "2026-03-01T00:59:59.999999Z",
            ["2026-02-28T23:00:00Z", "2026-03-01T00:00:00Z", "2026-03-01T01:00:00Z"],
        );
        check(
            Grain::Day,
            "1969-12-31T23:00:00Z",
            ["1969-12-30T00:00:00Z", "1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z"],
        );
        check(
            Grain::Month,
            "2024-03-31T12:00:00Z",
            ["2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z", "2024-04-01T00:00:00Z"],
        );
        check(
            Grain::Month,
            "2026-12-01T00:00:00Z",
            ["2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"],
        );
        assert_eq!(Grain::Month.start_of(i64::MAX), None);
    }

    #[test]
    fn grains_have_names() {
        for grain in Grain::ALL {
            assert_eq!(Grain::of(grain.name()), Some(grain));
        }
        assert_eq!(Grain::of("week"), None);
    }
}
