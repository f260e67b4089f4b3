//! Sessions and calls that are odd by themselves: which named query finds them, and what of its rows is kept.

use chrono::DateTime;
use serde_json::{Map, Value};

use super::{
    row::{AnomalyRow, Subject},
    series::HOUR_US,
};

/// A kind of odd sessions or calls. What is odd about them, the named query decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The named query.
    pub query: &'static str,
    subject: Subject,
    /// The unit of the figure and of what is usual.
    unit: &'static str,
    /// The columns that have the figure, what is usual, and what was counted for either.
    value: &'static str,
    expected: Option<&'static str>,
    samples: &'static str,
}

/// All that are looked for.
pub const EVENTS: [Event; 6] = [
    Event {
        query: "runaway_sessions",
        subject: Subject::Session,
        unit: "tokens",
        value: "total_tokens",
        expected: Some("threshold_tokens"),
        samples: "usual_sessions",
    },
    Event {
        query: "tool_loops",
        subject: Subject::Session,
        unit: "tool calls",
        value: "tool_calls",
        expected: None,
        samples: "calls",
    },
    Event {
        query: "retry_loops",
        subject: Subject::Session,
        unit: "calls",
        value: "calls",
        expected: None,
        samples: "calls",
    },
    Event {
        query: "stuck_calls",
        subject: Subject::Call,
        unit: "ms",
        value: "latency_ms",
        expected: Some("usual_ms"),
        samples: "usual_calls",
    },
    Event {
        query: "mispriced_calls",
        subject: Subject::Call,
        unit: "USD",
        value: "reported_cost_usd",
        expected: Some("expected_cost_usd"),
        samples: "usual_calls",
    },
    Event {
        query: "outlier_calls",
        subject: Subject::Call,
        unit: "tokens",
        value: "size",
        expected: Some("threshold"),
        samples: "usual_calls",
    },
];

impl Event {
    /// What is kept of a row of the query; none of one that has no time or no figure.
    pub fn row(&self, found: &Map<String, Value>) -> Option<AnomalyRow> {
        let text = |column: &str| found.get(column).and_then(Value::as_str).map(str::to_owned);
        let number = |column: &str| found.get(column).and_then(number_of);
        // A session is of the hour of its last call, as it was not what it is before.
        let time = DateTime::parse_from_rfc3339(&text("ended").or_else(|| text("timestamp"))?).ok()?;
        let time_us = time.timestamp_micros();
        let calls = found.get("request_ids").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let part =
            [("tenant_id", text("tenant_id")), ("model", text("model"))].into_iter().find(|(_, part)| part.is_some());
        Some(AnomalyRow {
            window_start_us: time_us - time_us.rem_euclid(HOUR_US),
            subject: self.subject,
            kpi: self.query.to_owned(),
            // One query looks at costs as well as at tokens.
            unit: if text("measure").as_deref() == Some("cost_usd") { "USD" } else { self.unit }.to_owned(),
            slice_by: "agent_id".to_owned(),
            slice: text("agent_id"),
            value: number(self.value)?,
            expected: self.expected.and_then(number),
            samples: number(self.samples).map_or(0, |samples| samples as u64),
            score: None,
            p_value: number("p_value"),
            measure: None,
            part_by: part.as_ref().map(|(by, _)| (*by).to_owned()),
            part_share: part.as_ref().map(|_| 1.0),
            part: part.and_then(|(_, part)| part),
            session_id: text("session_id"),
            request_ids: match text("request_id") {
                Some(call) => vec![call],
                None => calls.iter().filter_map(|call| call.as_str().map(str::to_owned)).collect(),
            },
        })
    }
}

/// Exact decimals are written as text.
fn number_of(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_of_queries_become_rows_of_anomalies() {
        let check = |query: &str, found: Value, expected: Option<Value>| {
            let event = EVENTS.iter().find(|event| event.query == query).unwrap();
            let row = event.row(found.as_object().unwrap()).map(|row| serde_json::to_value(row).unwrap());
            assert_eq!(row, expected, "{query} {found}");
        };
        let noon_us = 1_772_409_600_000_000_i64 + 12 * HOUR_US;
        check(
            "runaway_sessions",
            json!({
                "began": "2026-03-01T23:00:00.000000Z", "ended": "2026-03-02T12:59:59.000000Z", "tenant_id": "acme",
                "agent_id": "rag", "session_id": "s", "calls": 9, "total_tokens": 900_000, "threshold_tokens": 40_000.0,
                "p_value": 1e-7, "usual_sessions": 400, "cost_usd": 3.5, "request_ids": ["a", "b"],
            }),
            Some(json!({
                "window_start_us": noon_us, "subject": "session", "kpi": "runaway_sessions", "unit": "tokens",
                "slice_by": "agent_id", "slice": "rag", "value": 900_000.0, "expected": 40_000.0, "samples": 400,
                "score": null, "p_value": 1e-7, "measure": null, "part_by": "tenant_id", "part": "acme",
                "part_share": 1.0, "session_id": "s", "request_ids": ["a", "b"],
            })),
        );
        check(
            "outlier_calls",
            json!({
                "timestamp": "2026-03-02T12:00:00.000000Z", "measure": "cost_usd", "size": "9990.01", "threshold": 0.05,
                "p_value": 1e-9, "usual_calls": 100, "tenant_id": null, "agent_id": null, "model": "m",
                "request_id": "a", "session_id": null,
            }),
            Some(json!({
                "window_start_us": noon_us, "subject": "call", "kpi": "outlier_calls", "unit": "USD",
                "slice_by": "agent_id", "slice": null, "value": 9_990.01, "expected": 0.05, "samples": 100,
                "score": null, "p_value": 1e-9, "measure": null, "part_by": "model", "part": "m",
                "part_share": 1.0, "session_id": null, "request_ids": ["a"],
            })),
        );
        // No figure, no time.
        check("stuck_calls", json!({"timestamp": "2026-03-02T12:00:00.000000Z", "latency_ms": null}), None);
        check("stuck_calls", json!({"timestamp": null, "latency_ms": 5}), None);
    }
}
