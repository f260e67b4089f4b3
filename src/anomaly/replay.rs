//! By which past an hour is judged: from a moment that the hour alone decides, so that it is judged alike whoever asks
//! and when. Never reads a clock.

use super::series::{HOUR_US, Series};

const DAY_US: i64 = 24 * HOUR_US;
const WEEK_US: i64 = 7 * DAY_US;
/// 1970-01-05, the first Monday of the epoch.
const MONDAY_US: i64 = 4 * DAY_US;

/// Which hours are judged, and by how much before them. Those of a week, from Monday on, UTC, are judged by one past
/// that begins `history_days` before the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Start of the first hour, µs since the epoch; a whole hour.
    pub from_us: i64,
    /// End of the last one.
    pub to_us: i64,
    /// Days before a week.
    pub history_days: i64,
}

/// The hours that are gone through to judge the last of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replay {
    /// Start of the first hour, µs since the epoch.
    pub start_us: i64,
    /// Start of the first hour that is judged.
    pub judged_us: i64,
    /// End of the last one.
    pub end_us: i64,
}

impl Asked {
    /// Start of the first hour that is looked at, µs since the epoch.
    pub fn first_us(&self) -> i64 {
        week_us(self.from_us) - self.history_days * DAY_US
    }

    /// Pairs of a series' hours that are compared.
    pub fn pairs(&self, series: &Series) -> usize {
        let hours = |replay: Replay| series.hours_between(replay.start_us, replay.end_us).len();
        self.replays().map(|replay| hours(replay).pow(2)).sum()
    }

    /// One for each week.
    pub(super) fn replays(&self) -> impl Iterator<Item = Replay> + use<> {
        let Self { from_us, to_us, history_days } = *self;
        (week_us(from_us)..to_us).step_by(WEEK_US as usize).map(move |week_us| Replay {
            start_us: week_us - history_days * DAY_US,
            judged_us: week_us.max(from_us),
            end_us: (week_us + WEEK_US).min(to_us),
        })
    }
}

/// The Monday before a time.
fn week_us(time_us: i64) -> i64 {
    time_us - (time_us - MONDAY_US).rem_euclid(WEEK_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-02, a Monday.
    const WEEK: i64 = 1_772_409_600_000_000;

    #[test]
    fn the_hours_of_a_week_have_one_past() {
        let check = |(from, to): (i64, i64), expected: &[(i64, i64, i64)]| {
            let asked = Asked { from_us: WEEK + from * HOUR_US, to_us: WEEK + to * HOUR_US, history_days: 7 };
            let hours = |us: i64| (us - WEEK) / HOUR_US;
            let replays: Vec<_> = asked
                .replays()
                .map(|replay| (hours(replay.start_us), hours(replay.judged_us), hours(replay.end_us)))
                .collect();
            assert_eq!(replays, expected);
            assert_eq!(hours(asked.first_us()), expected[0].0);
        };
        check((0, 1), &[(-168, 0, 1)]);
        check((164, 168), &[(-168, 164, 168)]);
        check((165, 169), &[(-168, 165, 168), (0, 168, 169)]);
        check((-1, 400), &[(-336, -1, 0), (-168, 0, 168), (0, 168, 336), (168, 336, 400)]);
    }
}
