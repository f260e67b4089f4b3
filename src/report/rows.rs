//! The rows of `sql/reports/*.sql`, read from JSON objects.
//!
//! Each field is a column of the statement that its type names; what a column means is said there.
//! Never repairs a row: a missing count or a date that is none is an error, since a silent zero
//! would be a wrong figure.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Deserializer, de::Error};

/// The rows that one cost report is made of.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct CostRows {
    /// Rows of `cost_totals.sql`: the reported day and the seven days before it.
    pub totals: Vec<DayTotals>,
    /// Rows of `cost_by_dimension_tenant.sql`.
    pub tenants: Vec<DimensionRow>,
    /// Rows of `cost_by_dimension_agent.sql`.
    pub agents: Vec<DimensionRow>,
    /// Rows of `cost_by_dimension_model.sql`.
    pub models: Vec<DimensionRow>,
    /// Rows of `cost_top_sessions.sql`.
    pub sessions: Vec<SessionRow>,
    /// Rows of `cost_top_calls.sql`.
    pub calls: Vec<CallRow>,
}

/// One UTC day, as `cost_totals.sql` gives it.
#[derive(Debug, Clone, Deserialize)]
pub struct DayTotals {
    /// The UTC day.
    #[serde(deserialize_with = "date")]
    pub date: NaiveDate,
    /// Calls of the day.
    #[serde(deserialize_with = "count")]
    pub calls: u64,
    /// Different session ids.
    #[serde(deserialize_with = "count")]
    pub sessions: u64,
    /// Tokens sent.
    #[serde(deserialize_with = "tokens")]
    pub prompt_tokens: i64,
    /// Tokens answered.
    #[serde(deserialize_with = "tokens")]
    pub completion_tokens: i64,
    /// Tokens sent and answered.
    #[serde(deserialize_with = "tokens")]
    pub total_tokens: i64,
    /// Cost in USD of the calls whose cost is known.
    pub cost: Option<f64>,
    /// Calls of which no cost is known.
    #[serde(deserialize_with = "count")]
    pub calls_without_cost: u64,
    /// Calls that failed.
    #[serde(deserialize_with = "count")]
    pub errors: u64,
    /// Part of the cost in USD spent on calls that failed.
    pub error_cost: Option<f64>,
    /// Calls that were a retry.
    #[serde(deserialize_with = "count")]
    pub retries: u64,
    /// Part of the cost in USD spent on retries.
    pub retry_cost: Option<f64>,
}

/// One tenant, agent or model, as `cost_by_dimension_*.sql` gives it.
#[derive(Debug, Clone, Deserialize)]
pub struct DimensionRow {
    /// The name; `None` where the calls name none.
    pub name: Option<String>,
    /// Calls of the day.
    #[serde(deserialize_with = "count")]
    pub calls: u64,
    /// Different session ids.
    #[serde(deserialize_with = "count")]
    pub sessions: u64,
    /// Tokens sent and answered.
    #[serde(deserialize_with = "tokens")]
    pub total_tokens: i64,
    /// Cost in USD of the calls whose cost is known.
    pub cost: Option<f64>,
    /// Calls of which no cost is known.
    #[serde(deserialize_with = "count")]
    pub calls_without_cost: u64,
    /// USD per call of which a cost is known.
    pub cost_per_call: Option<f64>,
    /// Part of the whole day's cost, 0 to 1.
    pub share: Option<f64>,
    /// Calls of the day before.
    #[serde(deserialize_with = "count")]
    pub previous_calls: u64,
    /// Cost in USD of the day before.
    pub previous_cost: Option<f64>,
}

/// One session, as `cost_top_sessions.sql` gives it.
#[derive(Debug, Clone, Deserialize)]
pub struct SessionRow {
    /// The session's id, unique within its tenant.
    pub session_id: Option<String>,
    /// The tenant it belongs to.
    pub tenant_id: Option<String>,
    /// One agent of the session, the first by name.
    pub agent_id: Option<String>,
    /// Calls on the day.
    #[serde(deserialize_with = "count")]
    pub calls: u64,
    /// Calls that failed.
    #[serde(deserialize_with = "count")]
    pub errors: u64,
    /// Tokens sent and answered.
    #[serde(deserialize_with = "tokens")]
    pub total_tokens: i64,
    /// Cost in USD of the calls whose cost is known.
    pub cost: Option<f64>,
    /// Calls of which no cost is known.
    #[serde(deserialize_with = "count")]
    pub calls_without_cost: u64,
    /// First call on the day.
    #[serde(default, deserialize_with = "time")]
    pub started_at: Option<DateTime<Utc>>,
    /// Last call on the day.
    #[serde(default, deserialize_with = "time")]
    pub ended_at: Option<DateTime<Utc>>,
}

/// One call, as `cost_top_calls.sql` gives it.
#[derive(Debug, Clone, Deserialize)]
pub struct CallRow {
    /// When the call happened.
    #[serde(default, deserialize_with = "time")]
    pub timestamp: Option<DateTime<Utc>>,
    /// The tenant the call was made for.
    pub tenant_id: Option<String>,
    /// The agent that made the call.
    pub agent_id: Option<String>,
    /// The model that answered.
    pub model: Option<String>,
    /// The call's own id.
    pub request_id: Option<String>,
    /// The session the call belongs to.
    pub session_id: Option<String>,
    /// The trace the call belongs to.
    pub trace_id: Option<String>,
    /// Tokens sent.
    pub prompt_tokens: Option<i64>,
    /// Tokens answered.
    pub completion_tokens: Option<i64>,
    /// Tokens sent and answered.
    pub total_tokens: Option<i64>,
    /// Cost in USD.
    pub cost: Option<f64>,
    /// Milliseconds to the full answer.
    pub latency_ms: Option<f64>,
    /// Tries before this one.
    pub retry_count: Option<i64>,
    /// The call failed.
    pub is_error: Option<bool>,
    /// Why the model stopped.
    pub finish_reason: Option<String>,
}

/// A count that must be there; null, the sum of nothing, is 0.
fn count<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    Ok(Option::<u64>::deserialize(from)?.unwrap_or(0))
}

/// Tokens are what clients logged, so a sum of them can be negative: that is shown, and does not
/// stop the report.
fn tokens<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    Ok(Option::<i64>::deserialize(from)?.unwrap_or(0))
}

fn date<'de, D: Deserializer<'de>>(from: D) -> Result<NaiveDate, D::Error> {
    let text = String::deserialize(from)?;
    NaiveDate::parse_from_str(&text, "%Y-%m-%d").map_err(D::Error::custom)
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    Option::<String>::deserialize(from)?
        .map(|text| DateTime::parse_from_rfc3339(&text).map(|at| at.to_utc()))
        .transpose()
        .map_err(D::Error::custom)
}
