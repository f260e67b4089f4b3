//! Points in time as agents write them: RFC 3339 with or without zone, and epoch numbers.
//! Everything comes out as µs since the epoch, UTC.

use chrono::{DateTime, NaiveDate, NaiveDateTime};

/// The first moment of the year 1, before which few readers of a table have a calendar. There is no last one: what
/// lies in the future is rejected.
pub const YEAR_1_US: i64 = -62_135_596_800_000_000;

/// µs since the epoch of a timestamp text, or `None` when it is none. A time without a zone is UTC;
/// digits below the µs are cut. Eight digits that make a day are one, `YYYYMMDD`.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Some(us) = parse_common(text.as_bytes()) {
        return Some(us);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    for format in ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"] {
        if let Ok(time) = DateTime::parse_from_str(text, format) {
            return Some(time.timestamp_micros());
        }
    }
    let formats =
        ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M:%S,%f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    for format in formats {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Some(time.and_utc().timestamp_micros());
        }
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().or_else(|| compact_date(text));
    match date {
        Some(date) => date.and_hms_opt(0, 0, 0).map(|time| time.and_utc().timestamp_micros()),
        None => parse_epoch(text),
    }
}

/// µs of an epoch number, whose unit its size tells: seconds up to year 5138, then ms, µs, ns.
pub fn parse_epoch(number: &str) -> Option<i64> {
    const SECONDS_MAX: u64 = 100_000_000_000;
    if let Ok(whole) = number.parse::<i64>() {
        let size = whole.unsigned_abs();
        return if size < SECONDS_MAX {
            whole.checked_mul(1_000_000)
        } else if size < SECONDS_MAX * 1_000 {
            whole.checked_mul(1_000)
        } else if size < SECONDS_MAX * 1_000_000 {
            Some(whole)
        } else {
            Some(whole / 1_000)
        };
    }
    let fraction = number.parse::<f64>().ok().filter(|value| value.is_finite())?;
    let (size, seconds_max) = (fraction.abs(), SECONDS_MAX as f64);
    let us = if size < seconds_max {
        fraction * 1e6
    } else if size < seconds_max * 1e3 {
        fraction * 1e3
    } else if size < seconds_max * 1e6 {
        fraction
    } else {
        fraction / 1e3
    };
    (us.abs() < 9.2e18).then_some(us.round() as i64)
}

/// A day written without dashes: as an epoch it would be one in the year 1970.
fn compact_date(text: &str) -> Option<NaiveDate> {
    let is_plain = text.len() == 8 && (text.starts_with("19") || text.starts_with("20"));
    is_plain.then(|| NaiveDate::parse_from_str(text, "%Y%m%d").ok()).flatten()
}

/// The UTC day of a time, for people.
pub fn day(us: i64) -> String {
    DateTime::from_timestamp_micros(us).map(|time| time.format("%Y-%m-%d").to_string()).unwrap_or_default()
}

/// `YYYY-MM-DDTHH:MM:SS[.fraction](Z|nothing)`, the form nearly every record has, without chrono's
/// general parser: a tenth of the time.
fn parse_common(text: &[u8]) -> Option<i64> {
    if text.len() < 19
        || text[4] != b'-'
        || text[7] != b'-'
        || !matches!(text[10], b'T' | b't' | b' ')
        || text[13] != b':'
        || text[16] != b':'
    {
        return None;
    }
    let year = digits(&text[0..4])?;
    let month = digits(&text[5..7])?;
    let day = digits(&text[8..10])?;
    let hour = digits(&text[11..13])?;
    let minute = digits(&text[14..16])?;
    let second = digits(&text[17..19])?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?.to_epoch_days();
    let mut us = i64::from(days) * 86_400_000_000
        + (i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second)) * 1_000_000;
    let mut rest = &text[19..];
    if let [b'.' | b',', fraction @ ..] = rest {
        let length = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 {
            return None;
        }
        let kept = length.min(6);
        us += i64::from(digits(&fraction[..kept])?) * 10_i64.pow(6 - kept as u32);
        rest = &fraction[length..];
    }
    matches!(rest, b"" | b"Z" | b"z" | b"+00:00").then_some(us)
}

fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0_u32, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0')))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let expected = expected.map(|text| DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros());
        assert_eq!(parse_timestamp(text), expected, "{text}");
    }

    #[test]
    fn timestamps_in_every_form() {
        let second = Some("2026-05-14T10:23:45Z");
        let micros = Some("2026-05-14T10:23:45.123456Z");
        check("2026-05-14T10:23:45.123456Z", micros);
        check("2026-05-14T10:23:45.123456789Z", micros);
        check("2026-05-14T12:23:45.123456+02:00", micros);
        check("2026-05-14 10:23:45.123456", micros);
        check("2026-05-14 10:23:45,123456", micros);
        check("2026-05-14T12:23:45+0200", second);
        check("2026-05-14T10:23:45", second);
        check("1778754225", second);
        check("1778754225000", second);
        check("1778754225123456", micros);
        check("1778754225123456789", micros);
        check("1778754225.123456", micros);
        check("1778754225123.456", micros);
        check("1778754225123456.0", micros);
        check("1.778754225e18", second);
        check("2026-05-14", Some("2026-05-14T00:00:00Z"));
        check("20260514", Some("2026-05-14T00:00:00Z"));
        check("20261314", Some("1970-08-23T12:08:34Z"));
        check("2026-05-14 10:23", Some("2026-05-14T10:23:00Z"));
        check("2026-05-14T10:23", Some("2026-05-14T10:23:00Z"));
        check("1969-12-31T23:59:59.5Z", Some("1969-12-31T23:59:59.5Z"));
        check("2024-02-29T00:00:00Z", Some("2024-02-29T00:00:00Z"));
        check("2023-02-29T00:00:00Z", None);
        check("2026-05-14T25:00:00Z", None);
        check("2026-05-14T10:23:45.Z", None);
        check("yesterday", None);
        check("", None);
    }
}
