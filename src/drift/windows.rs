//! Which windows are judged, and by which earlier ones. Pure arithmetic of times.

use std::{collections::BTreeMap, ops::Range};

use super::null::COMPARISONS_MIN;
use crate::error::{Error, Result};

/// The newest windows, which are judged.
pub const JUDGED: usize = 3;
/// Fewer values than this in a window say nothing about a distribution's shape.
pub const VALUES_MIN: u64 = 30;

/// A window is not judged where the hours that lack their calls hold more than this share of the calls of its
/// references: the rhythm of the day would be taken for a change. An hour lacks them if nobody called in it, but
/// somebody did in the same hour of every reference; where calls are few and far between, an hour without any is usual.
const GAPS_MAX: f64 = 0.2;

const HOUR_US: i64 = 3_600_000_000;
const WEEK_HOURS: u32 = 168;
/// Longest window: thirteen weeks.
const WINDOW_HOURS_MAX: u32 = 13 * WEEK_HOURS;
/// Most windows that are looked at, the judged ones included.
const WINDOWS_MAX: usize = 1_200;

/// Windows of one length, the oldest first: some seasons of references, then the [`JUDGED`] ones. A season is a week,
/// or one window where that is longer; windows at the same place of a season have the same hours of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    to_us: i64,
    hours: u32,
    /// Windows of a season.
    season: usize,
    /// Seasons of references.
    references: usize,
    /// Which of the judged windows are whole.
    whole: [bool; JUDGED],
}

impl Windows {
    /// Windows of so many hours that end at the last whole hour up to `to_us` (µs since the epoch, UTC), each judged
    /// one with so many references.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Invalid`] that names the parameter.
    pub fn new(to_us: i64, hours: u32, references: u32) -> Result<Self> {
        let is_length = (1..=WINDOW_HOURS_MAX).contains(&hours)
            && (WEEK_HOURS.is_multiple_of(hours) || hours.is_multiple_of(WEEK_HOURS));
        if !is_length {
            return Err(Error::invalid(format!(
                "window_hours={hours} is neither a part of a week (1, 2, 3, 4, 6, 8, 12, 24, 84, 168 and so on) nor up \
                 to 13 whole weeks: windows are compared with the same hours of other weeks"
            )));
        }
        if !(2..=26).contains(&references) {
            return Err(Error::invalid(format!("references={references} is not from 2 to 26")));
        }
        let season = (WEEK_HOURS / hours).max(1) as usize;
        if season * (references as usize - 1) < COMPARISONS_MIN {
            return Err(Error::invalid(format!(
                "references={references} of window_hours={hours} are compared with each other only once, which does not \
                 say by how much windows differ anyway: 3 or more are needed for windows of a week or longer"
            )));
        }
        let to_us = to_us.div_euclid(HOUR_US) * HOUR_US;
        let windows = Self { to_us, hours, season, references: references as usize, whole: [true; JUDGED] };
        if windows.count() > WINDOWS_MAX {
            return Err(Error::invalid(format!(
                "references={references} of window_hours={hours} make {} windows; at most {WINDOWS_MAX} are looked at",
                windows.count()
            )));
        }
        Ok(windows)
    }

    /// The same, with those judged windows not whole of which calls are missing, by how many calls of anybody each hour
    /// (its start, µs since the epoch, UTC) has.
    pub fn without_gaps(mut self, calls: &BTreeMap<i64, u64>) -> Self {
        let calls_in = |window: usize| {
            let hour_us = move |hour: i64| self.start_us(window) + hour * HOUR_US;
            (0..i64::from(self.hours)).map(move |hour| calls.get(&hour_us(hour)).copied().unwrap_or(0))
        };
        let is_whole = |window: usize| {
            let references: Vec<Vec<u64>> = self
                .like(window)
                .map(|like| calls_in(like).collect())
                .filter(|hours: &Vec<u64>| hours.iter().any(|&calls| calls > 0))
                .collect();
            let (mut all, mut missing) = (0, 0);
            for (hour, calls) in calls_in(window).enumerate() {
                let usual: u64 = references.iter().map(|reference| reference[hour]).sum();
                all += usual;
                let lacks = calls == 0 && references.iter().all(|reference| reference[hour] > 0);
                missing += if lacks { usual } else { 0 };
            }
            missing as f64 <= GAPS_MAX * all as f64
        };
        let whole: Vec<bool> = self.judged().map(is_whole).collect();
        self.whole.copy_from_slice(&whole);
        self
    }

    /// Whether a judged window has calls in about all hours in which its references have.
    pub fn is_whole(&self, window: usize) -> bool {
        window.checked_sub(self.history()).and_then(|place| self.whole.get(place)).copied().unwrap_or(true)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.history() + JUDGED
    }

    /// How many are older than those that are judged.
    pub fn history(&self) -> usize {
        self.season * self.references
    }

    /// Places of the judged ones, the newest last.
    pub fn judged(&self) -> Range<usize> {
        self.history()..self.count()
    }

    /// Windows of a season.
    pub fn season(&self) -> usize {
        self.season
    }

    /// References of a judged window.
    pub fn references(&self) -> usize {
        self.references
    }

    /// Length of a window, hours.
    pub fn hours(&self) -> u32 {
        self.hours
    }

    /// The history's windows at the same place of their seasons.
    pub fn like(&self, window: usize) -> impl Iterator<Item = usize> {
        (window % self.season..self.history()).step_by(self.season)
    }

    /// Start of a window, µs since the epoch, UTC.
    pub fn start_us(&self, window: usize) -> i64 {
        self.to_us - (self.count() as i64 - window as i64) * self.length_us()
    }

    /// Start of the oldest.
    pub fn from_us(&self) -> i64 {
        self.start_us(0)
    }

    /// End of the newest.
    pub fn to_us(&self) -> i64 {
        self.to_us
    }

    /// The window that a time is in.
    pub fn at(&self, time_us: i64) -> Option<usize> {
        let since_us = time_us.checked_sub(self.from_us())?;
        usize::try_from(since_us.div_euclid(self.length_us())).ok().filter(|window| *window < self.count())
    }

    /// The same time in hours, as a division of its own; for what is looked at closely.
    pub fn in_hours(&self) -> Hours {
        Hours { from_us: self.from_us(), count: self.count() * self.hours as usize }
    }

    fn length_us(&self) -> i64 {
        i64::from(self.hours) * HOUR_US
    }
}

/// The hours of all windows, the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    from_us: i64,
    /// How many there are.
    pub count: usize,
}

impl Hours {
    /// The hour that a time is in.
    pub fn at(&self, time_us: i64) -> Option<usize> {
        let since_us = time_us.checked_sub(self.from_us)?;
        usize::try_from(since_us.div_euclid(HOUR_US)).ok().filter(|hour| *hour < self.count)
    }

    /// Start of an hour, µs since the epoch, UTC.
    pub fn start_us(&self, hour: usize) -> i64 {
        self.from_us + hour as i64 * HOUR_US
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TO_US: i64 = 1_778_760_000_000_000;

    #[test]
    fn what_is_no_part_of_a_week_is_refused() {
        let check = |hours: u32, references: u32, words: &str| {
            let refused = Windows::new(TO_US, hours, references).unwrap_err().to_string();
            assert!(refused.contains(words), "{refused}");
        };
        check(0, 4, "window_hours=0");
        check(5, 4, "window_hours=5");
        check(336 + 24, 4, "window_hours=360");
        check(14 * 168, 4, "window_hours=2352");
        check(24, 1, "references=1");
        check(24, 27, "references=27");
        check(1, 26, "at most 1200");
        check(168, 2, "references=2");
        check(336, 2, "references=2");
        assert!(Windows::new(TO_US, 84, 2).is_ok() && Windows::new(TO_US, 168, 3).is_ok());
    }

    #[test]
    fn weeks_and_longer_are_seasons_of_their_own() {
        let windows = Windows::new(TO_US, 336, 4).unwrap();
        assert_eq!((windows.season(), windows.count()), (1, 7));
        assert_eq!(windows.like(6).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[test]
    fn a_window_without_its_night_is_not_whole() {
        let check = |missing: Range<i64>, expected: [bool; JUDGED]| {
            let windows = Windows::new(TO_US, 24, 4).unwrap();
            // By night a quarter of what comes by day.
            let hours = (0..24 * windows.count() as i64).map(|hour| (hour, if hour % 24 < 8 { 5 } else { 20 }));
            let calls = hours
                .filter(|(hour, _)| !missing.contains(hour))
                .map(|(hour, calls)| (windows.from_us() + hour * HOUR_US, calls));
            let windows = windows.without_gaps(&calls.collect());
            let whole: Vec<bool> = windows.judged().map(|window| windows.is_whole(window)).collect();
            assert_eq!(whole, expected, "{missing:?}");
            assert!(windows.is_whole(0));
        };
        let newest = 24 * 30;
        check(0..0, [true; JUDGED]);
        check(newest..newest + 8, [true; JUDGED]);
        check(newest + 8..newest + 14, [true, true, false]);
        check(newest - 6..newest + 14, [true, false, false]);
        // References may have gaps: there are several. One that has no calls at all does not count.
        check(24 * 20..24 * 21, [true; JUDGED]);
        check(0..24 * 28, [true; JUDGED]);
    }

    #[test]
    fn hours_without_calls_are_usual_where_calls_are_few() {
        let windows = Windows::new(TO_US, 24, 4).unwrap();
        // Somebody works for six hours a day, but not for the same ones.
        let hours =
            (0..windows.count() as i64).flat_map(|day| (0..6).map(move |hour| 24 * day + (7 * day + hour) % 18));
        let calls = hours.map(|hour| (windows.from_us() + hour * HOUR_US, 20)).collect();
        let windows = windows.without_gaps(&calls);
        assert!(windows.judged().all(|window| windows.is_whole(window)));
    }

    proptest! {
        #[test]
        fn references_have_the_same_hours_of_the_week_and_are_never_judged(
            hours in prop::sample::select(vec![1_u32, 2, 3, 6, 8, 12, 24, 84, 168]), references in 3_u32..7, minutes in 0_i64..100_000,
        ) {
            let to_us = TO_US + minutes * 60_000_000;
            let windows = Windows::new(to_us, hours, references).unwrap();
            prop_assert!(windows.to_us() <= to_us && to_us < windows.to_us() + HOUR_US);
            for judged in windows.judged() {
                let like: Vec<usize> = windows.like(judged).collect();
                prop_assert_eq!(like.len(), references as usize);
                for reference in like {
                    prop_assert!(!windows.judged().contains(&reference));
                    let apart_us = windows.start_us(judged) - windows.start_us(reference);
                    prop_assert_eq!(apart_us % (7 * 24 * HOUR_US), 0);
                }
            }
            for window in 0..windows.count() {
                prop_assert_eq!(windows.at(windows.start_us(window)), Some(window));
                prop_assert_eq!(windows.at(windows.start_us(window + 1) - 1), Some(window));
            }
            prop_assert_eq!((windows.at(windows.from_us() - 1), windows.at(windows.to_us())), (None, None));
            let hours = windows.in_hours();
            prop_assert_eq!(hours.start_us(hours.count), windows.to_us());
            prop_assert_eq!(hours.at(windows.to_us() - 1), Some(hours.count - 1));
        }
    }
}
