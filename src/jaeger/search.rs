//! A search for traces, as Jaeger's clients write it into a query string.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{AGENT_UNKNOWN, OPERATION_UNKNOWN};
use crate::{
    error::{Error, Result},
    query::{Comparison, Condition, Range, Subject},
};

/// Traces of a search that says no limit.
const LIMIT_DEFAULT: usize = 20;
const HOUR_US: i64 = 3_600_000_000;

/// A search.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// When the calls happened.
    pub range: Range,
    /// What one call of the trace fulfils.
    pub conditions: Vec<Condition>,
    /// Arguments of the named query `trace_search` that are no conditions.
    pub arguments: Vec<(&'static str, String)>,
    /// Traces that are known by their ids; then nothing else is searched by.
    pub ids: Vec<String>,
    /// Most traces.
    pub limit: usize,
}

impl Search {
    /// Reads the fields of a query string: `service`, `operation`, `tags` as a JSON object, `tag` as `key:value`,
    /// `minDuration`, `maxDuration`, `start` and `end` in µs, `limit`, and `traceID`. Others are passed over. Without
    /// times it is the last hour.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Invalid`] that names the field.
    pub fn of(fields: &[(String, String)], traces_max: usize, now_us: i64) -> Result<Self> {
        let all = |name: &str| -> Vec<&str> {
            let fields = fields.iter().filter(|(field, value)| field == name && !value.trim().is_empty());
            fields.map(|(_, value)| value.trim()).collect()
        };
        let first = |name: &str| all(name).first().copied();
        let us = |name: &str| first(name).map(|text| whole(name, text)).transpose();
        let to_us = us("end")?.unwrap_or(now_us);
        let from_us = us("start")?.unwrap_or_else(|| to_us.saturating_sub(HOUR_US));
        if from_us >= to_us {
            return Err(Error::invalid("start is not before end"));
        }
        let mut conditions = Vec::new();
        if let Some(service) = first("service") {
            conditions.push(named("agent_id", service, AGENT_UNKNOWN)?);
        }
        if let Some(operation) = first("operation").filter(|operation| *operation != "all") {
            conditions.push(named("operation", operation, OPERATION_UNKNOWN)?);
        }
        let mut arguments = Vec::new();
        for (key, value) in tags(first("tags"), &all("tag"))? {
            match key.as_str() {
                // What clients of Jaeger call a failed span.
                "error" => {
                    let is_error = value.parse::<bool>();
                    let is_error =
                        is_error.map_err(|_| Error::invalid(format!("tag error={value} is not true or false")))?;
                    arguments.push(("is_error", is_error.to_string()));
                }
                key => {
                    let subject = Subject::of(key).unwrap_or_else(|_| Subject::Attribute(key.to_owned()));
                    conditions.push(Condition { subject, comparison: Comparison::Equal(value) });
                }
            }
        }
        for (field, argument) in [("minDuration", "min_ms"), ("maxDuration", "max_ms")] {
            if let Some(text) = first(field) {
                let ms = duration_ms(text)
                    .ok_or_else(|| Error::invalid(format!("{field}={text} is no duration like 1.2s or 100ms")))?;
                arguments.push((argument, ms.to_string()));
            }
        }
        let limit = us("limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
        Ok(Self {
            range: Range { from_us, to_us },
            conditions,
            arguments,
            ids: all("traceID").into_iter().map(str::to_owned).take(traces_max).collect(),
            limit: limit.unwrap_or(LIMIT_DEFAULT).min(traces_max),
        })
    }
}

/// A name that is stored, or the one that stands for none.
fn named(column: &str, value: &str, none: &str) -> Result<Condition> {
    let subject = Subject::of(column)?;
    let comparison = if value == none {
        Comparison::OneOf(vec![value.to_owned(), String::new()])
    } else {
        Comparison::Equal(value.to_owned())
    };
    Ok(Condition { subject, comparison })
}

fn whole(name: &str, text: &str) -> Result<i64> {
    text.parse().map_err(|_| Error::invalid(format!("{name}={text} is no whole number")))
}

fn tags(json: Option<&str>, written: &[&str]) -> Result<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    if let Some(text) = json {
        let wrong = || Error::invalid(format!("tags={text} is no JSON object of texts"));
        let fields: BTreeMap<String, Value> = serde_json::from_str(text).map_err(|_| wrong())?;
        for (key, value) in fields {
            let value = match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                _ => return Err(wrong()),
            };
            tags.insert(key, value);
        }
    }
    for text in written {
        let (key, value) =
            text.split_once(':').ok_or_else(|| Error::invalid(format!("tag={text} is not key:value")))?;
        tags.insert(key.to_owned(), value.to_owned());
    }
    Ok(tags)
}

/// A duration as Go writes it, `1m30s`, `1.2s`, `100ms`, `5us`; in ms.
pub fn duration_ms(text: &str) -> Option<f64> {
    let mut rest = text.trim();
    let mut ms = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(rest.len());
        ms += number
            * match &rest[..unit] {
                "ns" => 1e-6,
                "us" | "µs" | "μs" => 1e-3,
                "ms" => 1.0,
                "s" => 1e3,
                "m" => 6e4,
                "h" => 3.6e6,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    Some(ms)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NOW_US: i64 = 1_778_760_000_000_000;

    fn read(fields: &[(&str, &str)]) -> Result<Search> {
        let fields: Vec<(String, String)> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Search::of(&fields, 100, NOW_US)
    }

    #[test]
    fn durations_are_those_of_go() {
        let check = |text: &str, expect: Option<f64>| assert_eq!(duration_ms(text), expect, "{text}");
        check("100ms", Some(100.0));
        check("1.5s", Some(1_500.0));
        check("1m30s", Some(90_000.0));
        check("250us", Some(0.25));
        check("1h", Some(3_600_000.0));
        for wrong in ["", "1", "s", "1x", "1..2s", "-1s", "1s2"] {
            check(wrong, None);
        }
    }

    #[test]
    fn fields_are_typed() {
        let all = read(&[
            ("service", "rag"),
            ("operation", "chat"),
            ("tags", r#"{"model":"m1","http.status_code":"500","error":"true"}"#),
            ("tag", "variant:b"),
            ("minDuration", "1s"),
            ("maxDuration", "2s"),
            ("start", "1778756400000000"),
            ("limit", "5"),
            ("lookback", "custom"),
        ])
        .unwrap();
        assert_eq!(all.range, Range { from_us: NOW_US - HOUR_US, to_us: NOW_US });
        let shown: Vec<String> =
            all.conditions.iter().map(|one| format!("{:?} {:?}", one.subject, one.comparison)).collect();
        assert_eq!(
            shown,
            [
                r#"Column("agent_id") Equal("rag")"#,
                r#"Column("operation") Equal("chat")"#,
                r#"Attribute("http.status_code") Equal("500")"#,
                r#"Column("model") Equal("m1")"#,
                r#"Column("variant") Equal("b")"#,
            ]
        );
        let arguments = [("is_error", "true"), ("min_ms", "1000"), ("max_ms", "2000")];
        assert_eq!(all.arguments, arguments.map(|(name, value)| (name, value.to_owned())));
        assert_eq!((all.limit, read(&[]).unwrap().limit, read(&[("limit", "5000")]).unwrap().limit), (5, 20, 100));
        assert_eq!(read(&[("traceID", "a"), ("traceID", "b")]).unwrap().ids, ["a", "b"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let check = |field: &str, value: &str, expect: &str| {
            let got = read(&[(field, value)]).unwrap_err().to_string();
            assert!(got.starts_with(expect), "{got}");
        };
        check("tags", "[]", "tags=[] is no JSON object");
        check("tags", r#"{"a":{}}"#, "tags=");
        check("tag", "a", "tag=a is not key:value");
        check("minDuration", "soon", "minDuration=soon is no duration");
        check("start", "x", "start=x is no whole number");
        check("start", "1778760000000001", "start is not before end");
        check("limit", "x", "limit=x is no whole number");
        check("tags", r#"{"error":"maybe"}"#, "tag error=maybe");
    }
}
