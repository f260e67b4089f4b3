//! Reads a point in time as people and clients write it. The clock is an argument; there are no
//! zones but those written out, and no daylight saving: a day is a UTC day.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};

use super::shown;

/// What [`parse_time`] reads, for messages.
pub(super) const ACCEPTED: &str = "now, today, yesterday or tomorrow, with steps such as -7d or +90m \
    (s, m, h, d, w) and rounding down such as /h (s, m, h, d); RFC 3339; a date as 2026-05-14; \
    a time in UTC as 2026-05-14T10:00; seconds or milliseconds since 1970 of at least 9 digits";

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;
const WEEK_US: i64 = 7 * DAY_US;

/// The years 1 to 9999: what every reader of the store can show.
const RANGE_US: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// A point in time in µs since 1970, UTC.
///
/// Relative forms start at `now`, `today`, `yesterday` or `tomorrow` (the starts of UTC days) and
/// apply, from left to right, steps (`-7d`, `+90m`) and rounding down to a unit (`/h`):
/// `now-24h/h` is the start of the hour a day ago. Absolute forms are RFC 3339, a date, a date with
/// a time of day (UTC where no offset is written), and seconds or milliseconds since 1970.
pub fn parse_time(text: &str, now_us: i64) -> Result<i64, String> {
    let text = text.trim();
    relative(text, now_us)
        .or_else(|| epoch(text))
        .or_else(|| calendar(text))
        .filter(|time_us| RANGE_US.contains(time_us))
        .ok_or_else(|| refusal(text))
}

fn refusal(text: &str) -> String {
    // A client that leaves a plus sign in its URL as it is sends a space.
    let hint = if text.contains(' ') { " (in a URL, + is written %2B)" } else { "" };
    format!("{} is no time{hint}; accepted: {ACCEPTED}", shown(text))
}

fn relative(text: &str, now_us: i64) -> Option<i64> {
    let today_us = round_down(now_us, DAY_US)?;
    let starts = [
        ("now", Some(now_us)),
        ("today", Some(today_us)),
        ("yesterday", today_us.checked_sub(DAY_US)),
        ("tomorrow", today_us.checked_add(DAY_US)),
    ];
    let (mut rest, start) = starts.into_iter().find_map(|(word, start)| Some((text.strip_prefix(word)?, start)))?;
    let mut time_us = start?;
    while let Some(sign) = rest.chars().next() {
        let digits = rest[sign.len_utf8()..].bytes().take_while(u8::is_ascii_digit).count();
        let (count, after) = rest[sign.len_utf8()..].split_at(digits);
        let unit = after.chars().next()?;
        time_us = match sign {
            '+' => time_us.checked_add(step_us(count, unit)?)?,
            '-' => time_us.checked_sub(step_us(count, unit)?)?,
            // Weeks start on different days in different places, so there is no rounding to them.
            '/' if count.is_empty() && unit != 'w' => round_down(time_us, unit_us(unit)?)?,
            _ => return None,
        };
        rest = &after[unit.len_utf8()..];
    }
    Some(time_us)
}

fn step_us(count: &str, unit: char) -> Option<i64> {
    count.parse::<i64>().ok()?.checked_mul(unit_us(unit)?)
}

/// Months and years have no fixed length, so they are no units.
fn unit_us(unit: char) -> Option<i64> {
    match unit {
        's' => Some(SECOND_US),
        'm' => Some(MINUTE_US),
        'h' => Some(HOUR_US),
        'd' => Some(DAY_US),
        'w' => Some(WEEK_US),
        _ => None,
    }
}

fn round_down(time_us: i64, unit_us: i64) -> Option<i64> {
    time_us.checked_sub(time_us.rem_euclid(unit_us))
}

/// Seconds below 10^11 (the year 5138), else milliseconds. Fewer than nine digits are refused, zero
/// excepted: `20260514` or `2026` is a date written wrong, not a second of 1970.
fn epoch(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: i64 = text.parse().ok()?;
    match value.unsigned_abs() {
        0 => Some(0),
        1..100_000_000 => None,
        100_000_000..100_000_000_000 => value.checked_mul(SECOND_US),
        _ => value.checked_mul(1_000),
    }
}

fn calendar(text: &str) -> Option<i64> {
    const ZONED: [&str; 2] = ["%Y-%m-%dT%H:%M%:z", "%Y-%m-%d %H:%M%:z"];
    const PLAIN: [&str; 4] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"];

    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    if let Some(time) = ZONED.iter().find_map(|form| DateTime::parse_from_str(text, form).ok()) {
        return Some(time.timestamp_micros());
    }
    let plain = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    if let Some(time) = PLAIN.iter().find_map(|form| NaiveDateTime::parse_from_str(plain, form).ok()) {
        return Some(time.and_utc().timestamp_micros());
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(day.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: &str = "2026-05-14T13:30:15.25Z";

    fn now_us() -> i64 {
        DateTime::parse_from_rfc3339(NOW).unwrap().timestamp_micros()
    }

    /// The text is this time, or, where `expect` is empty, none.
    #[track_caller]
    fn check(text: &str, expect: &str) {
        let got = match parse_time(text, now_us()) {
            Ok(us) => DateTime::from_timestamp_micros(us).unwrap().format("%FT%T%.f").to_string(),
            Err(message) => {
                assert!(message.contains("accepted: now, today"), "{message}");
                String::new()
            }
        };
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn relative_times() {
        check("now", "2026-05-14T13:30:15.250");
        check(" now ", "2026-05-14T13:30:15.250");
        check("now-7d", "2026-05-07T13:30:15.250");
        check("now-90m", "2026-05-14T12:00:15.250");
        check("now+1h", "2026-05-14T14:30:15.250");
        check("now-1d+1h-15s", "2026-05-13T14:30:00.250");
        check("now-2w", "2026-04-30T13:30:15.250");
        check("now/h", "2026-05-14T13:00:00");
        check("now-24h/h", "2026-05-13T13:00:00");
        check("now/d-1d", "2026-05-13T00:00:00");
        check("today", "2026-05-14T00:00:00");
        check("today-1d", "2026-05-13T00:00:00");
        check("yesterday", "2026-05-13T00:00:00");
        check("tomorrow", "2026-05-15T00:00:00");
        check("tomorrow-1s", "2026-05-14T23:59:59");
    }

    #[test]
    fn absolute_times() {
        check("2026-05-14", "2026-05-14T00:00:00");
        check("2026-05-14T10:00", "2026-05-14T10:00:00");
        check("2026-05-14 10:00", "2026-05-14T10:00:00");
        check("2026-05-14T10:00Z", "2026-05-14T10:00:00");
        check("2026-05-14T10:00+02:00", "2026-05-14T08:00:00");
        check("2026-05-14T10:00:05", "2026-05-14T10:00:05");
        check("2026-05-14T10:00:05.123456", "2026-05-14T10:00:05.123456");
        check("2026-05-14T10:00:05.123456789Z", "2026-05-14T10:00:05.123456");
        check("2026-05-14T10:00:05-03:30", "2026-05-14T13:30:05");
        check("0", "1970-01-01T00:00:00");
        check("1778752800", "2026-05-14T10:00:00");
        check("1778752800123", "2026-05-14T10:00:00.123");
        check("-100000000", "1966-10-31T14:13:20");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "soon",
            "Now",
            "now-",
            "now-7",
            "now-d",
            "now-7y",
            "now-1M",
            "now7d",
            "now 1h",
            "now-7d now",
            "now/",
            "now/w",
            "now/2h",
            "now--1d",
            "now-99999999999999d",
            "now-9999999w",
            "nowü",
            "now-1ü",
            "2026",
            "20260514",
            "2026-13-01",
            "2026-02-30",
            "2026-05-14T25:00",
            "14.05.2026",
            "99999-01-01",
            "1778752800123456",
            "99999999999999999999",
            "1.5",
            "-",
            "+1778752800",
            "null",
        ] {
            check(text, "");
        }
    }

    proptest! {
        #[test]
        fn no_text_and_no_clock_make_it_panic(text in any::<String>(), now_us in any::<i64>()) {
            let _ = parse_time(&text, now_us);
        }

        #[test]
        fn nothing_like_a_time_makes_it_panic(
            text in "(now|today|tomorrow|yesterday)([+/-][0-9]{0,20}[smhdwü]?){0,4}|[-0-9T:Z+ .]{0,40}",
            now_us in any::<i64>(),
        ) {
            let _ = parse_time(&text, now_us);
        }

        #[test]
        fn rfc_3339_reads_back(time_us in RANGE_US) {
            let text = DateTime::from_timestamp_micros(time_us).unwrap().to_rfc3339();
            prop_assert_eq!(parse_time(&text, 0), Ok(time_us));
        }
    }
}
