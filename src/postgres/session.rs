//! What a client has set in its session. It changes what the client is shown when it asks, and how long its statements
//! may run; nothing else.

use std::{collections::BTreeMap, time::Duration};

use super::error::{Failure, Result};
use crate::query::default_setting;

/// Most settings of a session, and most bytes of a value.
const SETTINGS_MAX: usize = 100;
const VALUE_BYTES_MAX: usize = 1_000;
const TIMEOUT: &str = "statement_timeout";

/// The settings of a session.
#[derive(Debug, Default)]
pub struct Settings {
    own: BTreeMap<String, String>,
    timeout: Option<Duration>,
}

impl Settings {
    /// Sets one, or puts it back. What no server has is kept as well: drivers set settings of versions to come.
    pub fn set(&mut self, name: &str, value: Option<String>) -> Result<()> {
        if name == TIMEOUT {
            self.timeout = value.as_deref().map(duration).transpose()?.flatten();
        }
        let Some(value) = value else {
            self.own.remove(name);
            return Ok(());
        };
        let is_new = !self.own.contains_key(name);
        if value.len() > VALUE_BYTES_MAX || name.len() > VALUE_BYTES_MAX || is_new && self.own.len() >= SETTINGS_MAX {
            let message = format!("a session has at most {SETTINGS_MAX} settings of at most {VALUE_BYTES_MAX} bytes");
            return Err(Failure::new("53400", message));
        }
        self.own.insert(name.to_owned(), value);
        Ok(())
    }

    /// Puts all back.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// One's value.
    pub fn get(&self, name: &str) -> Result<&str> {
        let found = self.own.get(name).map(String::as_str).or_else(|| default_setting(name));
        found.ok_or_else(|| Failure::new("42704", format!("unrecognized configuration parameter \"{name}\"")))
    }

    /// How long the client lets a statement run.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }
}

/// A duration as settings have it: a number of milliseconds, or one with its unit. None is as long as may be.
fn duration(text: &str) -> Result<Option<Duration>> {
    let text = text.trim();
    let digits = text.find(|byte: char| !byte.is_ascii_digit()).unwrap_or(text.len());
    let unit_ms = match text[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    match text[..digits].parse::<u64>() {
        Ok(0) => Ok(None),
        Ok(number) if unit_ms > 0 => Ok(Some(Duration::from_millis(number.saturating_mul(unit_ms)))),
        _ => Err(Failure::new("22023", format!("invalid value for parameter \"{TIMEOUT}\": \"{text}\""))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_units() {
        let check = |text: &str, expected_ms: Option<u64>| {
            assert_eq!(duration(text).unwrap(), expected_ms.map(Duration::from_millis), "{text}");
        };
        check("0", None);
        check("250", Some(250));
        check("250ms", Some(250));
        check("5s", Some(5_000));
        check("2 min", Some(120_000));
        for wrong in ["", "s", "5 days", "-1", "1.5s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_are_shown_as_they_were_set() {
        let mut settings = Settings::default();
        assert_eq!(settings.get("datestyle").unwrap(), "ISO, MDY");
        assert!(settings.get("nothing").is_err());
        settings.set("application_name", Some("psql".into())).unwrap();
        settings.set(TIMEOUT, Some("5s".into())).unwrap();
        assert_eq!(
            (settings.get("application_name").unwrap(), settings.timeout()),
            ("psql", Some(Duration::from_secs(5)))
        );
        settings.set(TIMEOUT, None).unwrap();
        assert_eq!((settings.get(TIMEOUT).unwrap(), settings.timeout()), ("0", None));
        for number in 0..SETTINGS_MAX - 1 {
            settings.set(&number.to_string(), Some(String::new())).unwrap();
        }
        assert!(settings.set("one more", Some(String::new())).is_err());
        settings.reset();
        assert_eq!(settings.get("application_name").unwrap(), "");
    }
}
