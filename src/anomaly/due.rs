//! Which hours are to be judged: those that are over, from where the last run stopped. Never reads a clock.

use super::series::HOUR_US;

const MINUTE_US: i64 = 60_000_000;
/// Hours that are made up for after a stop. What is older is asked for by whoever wants to know.
const HOURS_MAX: i64 = 24;

/// When an hour is judged, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// An hour is over so long after its end, minutes: its last calls are on their way until then.
    pub settle_minutes: u32,
    /// Hours before the new ones that are judged again, with the calls that came late.
    pub overlap_hours: u32,
}

/// Start and end of the hours that are due, µs since the epoch; none while the last run, which judged up to
/// `judged_to_us`, has seen all that are over. A time that is still to come was never judged: the clock was wrong.
pub fn due(judged_to_us: Option<i64>, now_us: i64, pace: Pace) -> Option<(i64, i64)> {
    let settled_us = now_us - i64::from(pace.settle_minutes) * MINUTE_US;
    let to_us = settled_us - settled_us.rem_euclid(HOUR_US);
    let earliest_us = to_us - HOURS_MAX * HOUR_US;
    match judged_to_us.filter(|judged_to_us| *judged_to_us <= now_us) {
        Some(judged_to_us) if judged_to_us >= to_us => None,
        Some(judged_to_us) => Some(((judged_to_us - i64::from(pace.overlap_hours) * HOUR_US).max(earliest_us), to_us)),
        None => Some((earliest_us, to_us)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_judged_when_they_are_over_and_again_while_records_come_late() {
        let pace = Pace { settle_minutes: 5, overlap_hours: 3 };
        let at = |hour: i64, minute: i64| hour * HOUR_US + minute * MINUTE_US;
        let check = |judged_to: Option<i64>, now_us: i64, expected: Option<(i64, i64)>| {
            let expected = expected.map(|(from, to)| (at(from, 0), at(to, 0)));
            assert_eq!(due(judged_to.map(|hour| at(hour, 0)), now_us, pace), expected, "{judged_to:?} at {now_us}");
        };
        check(None, at(100, 30), Some((76, 100)));
        check(Some(100), at(100, 59), None);
        check(Some(100), at(101, 4), None);
        check(Some(100), at(101, 5), Some((97, 101)));
        // After a stop, as much as is made up for.
        check(Some(95), at(101, 5), Some((92, 101)));
        check(Some(20), at(101, 5), Some((77, 101)));
        // A clock that was ahead.
        check(Some(9_000), at(101, 5), Some((77, 101)));
    }
}
