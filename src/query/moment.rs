//! Moments as the parameters of statements have them.

use chrono::{DateTime, SecondsFormat};

use crate::error::{Error, Result};

/// RFC 3339 in microseconds, UTC.
///
/// # Errors
///
/// [`crate::error::Kind::Invalid`] for one outside the calendar.
pub fn text_of(us: i64) -> Result<String> {
    let time = DateTime::from_timestamp_micros(us).ok_or_else(outside_calendar)?;
    Ok(time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// What is said of a range that reaches beyond the years that are known.
pub fn outside_calendar() -> Error {
    Error::invalid("the range is outside the calendar")
}
