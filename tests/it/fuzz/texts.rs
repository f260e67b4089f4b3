//! What files of named SQL and time literals must keep to, whatever stands in them. Never runs a statement.

use std::{collections::HashSet, ops::RangeInclusive};

use chrono::DateTime;
use driftline::{
    decode::parse_timestamp,
    named::{NamedSql, ParamValue, parse_time},
};

use crate::{app::NOW_US, random::Random};

/// The years that every reader of the store can show.
const YEARS_1_TO_9999_US: RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

const NOWS_US: [i64; 5] = [NOW_US, 0, -1, i64::MIN, i64::MAX];

/// Arguments that callers send.
const ARGUMENTS: &[&str] = &[
    "",
    " ",
    "null",
    "now-7d",
    "2026-05-14",
    "1",
    "-9223372036854775808",
    "1e400",
    "nan",
    "true",
    "'; drop table x",
    "ü",
];

/// A file's text is refused with a line that it has, or is what its header says.
pub fn check_named(bytes: &[u8], random: &mut Random) {
    let text = String::from_utf8_lossy(bytes);
    let file = match NamedSql::parse("file", &text) {
        Ok(file) => file,
        Err(error) => {
            assert!((1..=text.lines().count().max(1)).contains(&error.line), "{error}");
            assert!(!error.message.is_empty());
            return;
        }
    };
    assert_eq!(file.sql, text.strip_prefix('\u{feff}').unwrap_or(&text));
    assert!(!file.question.is_empty());
    let names: HashSet<&str> = file.params.iter().map(|param| param.name.as_str()).collect();
    assert_eq!(names.len(), file.params.len());
    for param in &file.params {
        assert!(file.sql.contains(&format!("${}", param.name)), "{param:?} is not used");
        assert_eq!(param.required, param.default.is_none());
    }
    for now_us in NOWS_US {
        let given = file.params.iter().filter(|_| random.once_in(2)).map(|param| param.name.as_str());
        let given: Vec<(&str, &str)> =
            given.collect::<Vec<_>>().into_iter().map(|name| (name, *random.pick(ARGUMENTS))).collect();
        let Ok(bound) = file.bind(given, now_us) else { continue };
        assert!(bound.iter().map(|(name, _)| name).eq(file.params.iter().map(|param| &param.name)));
        for (name, value) in bound {
            match value {
                ParamValue::Timestamp(us) => assert!(YEARS_1_TO_9999_US.contains(&us), "{name}: {us}"),
                ParamValue::Float(value) => assert!(value.is_finite(), "{name}: {value}"),
                _ => {}
            }
        }
    }
}

/// A text is a time that can be shown, or none; and where RFC 3339 says which, that one.
pub fn check_time(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let padded = format!(" \t{text}\n");
    let standard = DateTime::parse_from_rfc3339(text.trim()).ok().map(|time| time.timestamp_micros());
    for now_us in NOWS_US {
        let found = parse_time(&text, now_us);
        assert_eq!(parse_time(&padded, now_us), found);
        match (found, standard) {
            (Ok(us), Some(standard)) => assert_eq!(us, standard, "{text}"),
            (Err(error), Some(us)) => assert!(!YEARS_1_TO_9999_US.contains(&us), "{text}: {error}"),
            (Ok(us), None) => {
                assert!(YEARS_1_TO_9999_US.contains(&us), "{text}: {us}");
                let shown = DateTime::from_timestamp_micros(us).unwrap().to_rfc3339();
                assert_eq!(parse_time(&shown, now_us), Ok(us), "{text}: {shown}");
            }
            (Err(error), None) => assert!(error.contains("accepted: "), "{error}"),
        }
    }
    let found = parse_timestamp(&text);
    assert_eq!(parse_timestamp(&padded), found);
    if let Some(standard) = standard {
        assert_eq!(found, Some(standard), "{text}");
    }
}
