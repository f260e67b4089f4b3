//! Bodies of requests as the plugin sends them: fields may be missing, of another type, or unknown, and all of that
//! is taken. Only a range that is none, and too many targets, are refused.

use serde_json::Value;

use super::{
    filter,
    payload::{Payload, texts},
    shown,
};
use crate::{
    config::GrafanaConfig,
    error::{Error, Kind, Result},
    named::parse_time,
    query::{Condition, Range},
};

/// Points of a panel that does not say how many it has room for.
const POINTS_DEFAULT: usize = 1_000;
/// More points than any screen has; what is above is taken as this.
const POINTS_MAX: usize = 11_000;
const HOUR_US: i64 = 3_600_000_000;

/// A request to `/query`.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryRequest {
    /// The dashboard's range.
    pub range: Range,
    /// The shortest bucket that is asked for, µs.
    pub interval_us: i64,
    /// Most points of a series.
    pub points_max: usize,
    /// What is asked for.
    pub targets: Vec<Target>,
    /// Ad-hoc filters.
    pub filters: Vec<Condition>,
}

/// One target.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// What its answer is marked with.
    pub ref_id: String,
    /// The metric's name, as a text that may stand for several.
    pub metric: String,
    /// What the metric takes.
    pub payload: Payload,
    /// A table was asked for by the field that older versions have.
    pub is_table: bool,
}

/// A request for values: `/tag-values` and `/variable`.
#[derive(Debug, Clone, PartialEq)]
pub struct ValuesRequest {
    /// The range, if one is given.
    pub range: Range,
    /// The column.
    pub key: Option<String>,
    /// What `/variable` sends.
    pub payload: Payload,
    /// Ad-hoc filters.
    pub filters: Vec<Condition>,
}

impl QueryRequest {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] for a range or a filter that is none, [`Kind::Exhausted`] for too many targets.
    pub fn of(body: &Value, limits: &GrafanaConfig, now_us: i64) -> Result<Self> {
        let targets = body.get("targets").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let targets: Vec<Target> = targets.iter().filter_map(Target::of).collect();
        if targets.len() > limits.targets_max {
            let most = limits.targets_max;
            return Err(Error::new(
                Kind::Exhausted,
                format!("{} targets, at most {most} (grafana.targets_max)", targets.len()),
            ));
        }
        let points = number(body, "maxDataPoints").filter(|points| *points >= 1.0);
        Ok(Self {
            range: range(body, 6 * HOUR_US, now_us)?,
            interval_us: (number(body, "intervalMs").unwrap_or(0.0).clamp(0.0, 1e13) * 1e3) as i64,
            points_max: points.map_or(POINTS_DEFAULT, |points| points.min(POINTS_MAX as f64) as usize),
            targets,
            filters: filters(body)?,
        })
    }
}

impl Target {
    /// A target that names a metric and is not hidden.
    fn of(body: &Value) -> Option<Self> {
        if body.get("hide").and_then(Value::as_bool).unwrap_or(false) {
            return None;
        }
        let metric = text(body, "target").filter(|metric| !metric.trim().is_empty())?;
        let payload = body.get("payload").filter(|payload| !payload.is_null()).or_else(|| body.get("data"));
        Some(Self {
            ref_id: text(body, "refId").unwrap_or_else(|| "A".to_owned()),
            metric,
            payload: Payload::of(payload),
            is_table: text(body, "type").as_deref() == Some("table"),
        })
    }
}

impl ValuesRequest {
    /// Reads a body; where it has no range, it is that of the last days.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] for a range or a filter that is none.
    pub fn of(body: &Value, limits: &GrafanaConfig, now_us: i64) -> Result<Self> {
        let range_us = i64::from(limits.values_days) * 24 * HOUR_US;
        let payload = match body.get("payload") {
            // A variable's text may be its whole payload.
            Some(Value::String(target)) if !target.trim_start().starts_with('{') => {
                Payload::of(Some(&serde_json::json!({ "target": target })))
            }
            payload => Payload::of(payload),
        };
        let key = text(body, "key").filter(|key| !key.is_empty());
        Ok(Self { range: range(body, range_us, now_us)?, key, payload, filters: filters(body)? })
    }
}

fn filters(body: &Value) -> Result<Vec<Condition>> {
    let field = body.get("filters").filter(|filters| filters.as_array().is_some_and(|filters| !filters.is_empty()));
    filter::conditions(field.or_else(|| body.get("adhocFilters")))
}

/// The first of a field's texts.
fn text(body: &Value, name: &str) -> Option<String> {
    texts(body.get(name)?).into_iter().next()
}

fn number(body: &Value, name: &str) -> Option<f64> {
    text(body, name)?.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// The range of a body; where an end is missing, that of the last `range_us`.
fn range(body: &Value, range_us: i64, now_us: i64) -> Result<Range> {
    let given = body.get("range").or_else(|| body.get("timeRange"));
    let end = |name: &str| -> Result<Option<i64>> {
        let Some(text) = given.and_then(|range| text(range, name)).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let time = parse_time(&text, now_us);
        time.map(Some).map_err(|reason| Error::invalid(format!("range.{name} {}: {reason}", shown(&text))))
    };
    let to_us = end("to")?.unwrap_or(now_us);
    let from_us = end("from")?.unwrap_or_else(|| to_us.saturating_sub(range_us));
    if from_us >= to_us {
        return Err(Error::invalid("range.from is not before range.to"));
    }
    Ok(Range { from_us, to_us })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW_US: i64 = 1_778_760_000_000_000;

    fn read(body: Value) -> Result<QueryRequest> {
        QueryRequest::of(&body, &GrafanaConfig::default(), NOW_US)
    }

    #[test]
    fn a_request_may_have_everything() {
        let read = read(json!({
            "requestId": "Q1", "app": "dashboard", "panelId": "2", "dashboardUID": "d",
            "range": {"from": "2026-05-14T00:00:00.000Z", "to": "2026-05-14T12:00:00.000Z", "raw": {"from": "now-1d"}},
            "interval": "1m", "intervalMs": "60000", "maxDataPoints": 720,
            "targets": [
                {"refId": "A", "target": "cost_usd", "payload": {"group_by": "model"}, "datasource": {}, "unknown": 1},
                {"refId": "B", "hide": true, "target": "x"}, {"refId": "C"}, {"target": 7, "type": "table"},
            ],
            "scopedVars": {"team": {"text": ["a"], "value": ["a", "b"]}},
            "filters": [{"key": "model", "operator": "=|", "value": "x", "values": ["x", "y"]}], "startTime": 1,
        }))
        .unwrap();
        assert_eq!((read.range.to_us - read.range.from_us, read.range.to_us), (12 * HOUR_US, NOW_US));
        assert_eq!((read.interval_us, read.points_max), (60_000_000, 720));
        let targets: Vec<_> = read
            .targets
            .iter()
            .map(|target| (target.ref_id.as_str(), target.metric.as_str(), target.is_table))
            .collect();
        assert_eq!(targets, [("A", "cost_usd", false), ("A", "7", true)]);
        assert_eq!(read.filters.len(), 1);
    }

    #[test]
    fn a_request_may_have_nothing() {
        for body in [json!({}), json!(null), json!({"range": null, "targets": null, "filters": null}), json!([])] {
            let read = read(body).unwrap();
            assert_eq!(read.range, Range { from_us: NOW_US - 6 * HOUR_US, to_us: NOW_US });
            assert_eq!((read.interval_us, read.points_max, read.targets.len()), (0, POINTS_DEFAULT, 0));
        }
        let read =
            read(json!({"maxDataPoints": 0, "intervalMs": -5, "range": {"from": 1_778_756_400_000_i64}})).unwrap();
        assert_eq!((read.points_max, read.interval_us), (POINTS_DEFAULT, 0));
        assert_eq!(read.range, Range { from_us: NOW_US - HOUR_US, to_us: NOW_US });
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let check = |body: Value, expect: &str| {
            let got = read(body).unwrap_err().to_string();
            assert!(got.starts_with(expect), "{got}");
        };
        check(json!({"range": {"from": "soon"}}), "range.from soon: `soon` is no time");
        check(json!({"range": {"from": "now", "to": "now-1h"}}), "range.from is not before");
        let targets: Vec<Value> = (0..101).map(|n| json!({"target": format!("m{n}")})).collect();
        check(json!({ "targets": targets }), "101 targets, at most 100");
        check(json!({"filters": [{"key": "nothing"}]}), "nothing is no column");
    }
}
