//! How dates and times are written as JSON: `2026-03-10` and RFC 3339 in UTC with microseconds.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use serde::Serializer;

/// Writes a UTC day as `YYYY-MM-DD`.
pub(super) fn date<S: Serializer>(date: &NaiveDate, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(date)
}

/// Writes an instant as RFC 3339.
pub(super) fn time<S: Serializer>(at: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&rfc3339(at))
}

/// Writes an instant as RFC 3339, or null.
pub(super) fn optional_time<S: Serializer>(at: &Option<DateTime<Utc>>, to: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => time(at, to),
        None => to.serialize_none(),
    }
}

/// RFC 3339 in UTC with microseconds, the precision of the records.
pub(super) fn rfc3339(at: &DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
