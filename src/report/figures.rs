//! The report's figures, made of the rows.
//!
//! Keeps $0 and "no known cost" apart: a cost is `None` unless at least one call has one. Never
//! rounds and never formats.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    rows::{CallRow, DayTotals, DimensionRow, SessionRow},
    serialize,
};

/// One UTC day of the report's week.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DayFigures {
    /// The UTC day.
    #[serde(serialize_with = "serialize::date")]
    #[schema(value_type = String, format = Date)]
    pub date: NaiveDate,
    /// Calls of the day; 0 is a day without data.
    pub calls: u64,
    /// Those calls whose cost is known: the sample of `cost_usd`.
    pub calls_with_cost: u64,
    /// Those calls whose cost is not known, absent from `cost_usd`.
    pub calls_without_cost: u64,
    /// Different session ids.
    pub sessions: u64,
    /// Tokens sent.
    pub prompt_tokens: i64,
    /// Tokens answered.
    pub completion_tokens: i64,
    /// Tokens sent and answered.
    pub total_tokens: i64,
    /// USD; null where no call has a known cost.
    pub cost_usd: Option<f64>,
    /// `cost_usd` / `calls_with_cost`, USD.
    pub cost_per_call_usd: Option<f64>,
    /// `cost_usd` / `sessions`, USD; null where no call names a session.
    pub cost_per_session_usd: Option<f64>,
    /// Calls that failed.
    pub errors: Part,
    /// Calls that were a retry. A retry that failed is in `errors` too.
    pub retries: Part,
}

/// A part of the day's calls and cost.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = DayPart)]
pub struct Part {
    /// Calls of the part.
    pub calls: u64,
    /// `calls` / all calls, 0 to 1; null on a day without calls.
    pub call_share: Option<f64>,
    /// Known USD spent on the part; null where no call of the day has a known cost.
    pub cost_usd: Option<f64>,
    /// `cost_usd` / the day's cost, 0 to 1; null where the day cost nothing.
    pub cost_share: Option<f64>,
}

/// The day's cost by one dimension, dearest first.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Breakdown {
    /// The dearest names.
    pub rows: Vec<NameFigures>,
    /// What is left of the day beyond `rows`; null where the rows hold all its calls.
    pub rest: Option<Rest>,
}

/// One tenant, agent or model on the day.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NameFigures {
    /// The name; null for the calls that name none.
    pub name: Option<String>,
    /// Calls on the day.
    pub calls: u64,
    /// Those calls whose cost is known: the sample of `cost_usd`.
    pub calls_with_cost: u64,
    /// Those calls whose cost is not known, absent from `cost_usd`.
    pub calls_without_cost: u64,
    /// Different session ids.
    pub sessions: u64,
    /// Tokens sent and answered.
    pub total_tokens: i64,
    /// USD; null where no call has a known cost.
    pub cost_usd: Option<f64>,
    /// Part of the whole day's cost, 0 to 1; null where there is no cost to share.
    pub cost_share: Option<f64>,
    /// USD per call whose cost is known.
    pub cost_per_call_usd: Option<f64>,
    /// `cost_usd` / `sessions`, USD.
    pub cost_per_session_usd: Option<f64>,
    /// Calls of the day before; 0 is no data.
    pub previous_calls: u64,
    /// USD of the day before, as far as known; null without calls.
    pub previous_cost_usd: Option<f64>,
    /// `cost_usd` minus `previous_cost_usd`, USD.
    pub change_usd: Option<f64>,
    /// `change_usd` / `previous_cost_usd`: 0.25 is 25 % more. Null where that is not above $0.
    pub change_ratio: Option<f64>,
}

/// The names beyond those listed, together.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = BreakdownRest)]
pub struct Rest {
    /// Calls of the day that no listed name has.
    pub calls: u64,
    /// Tokens of those calls.
    pub total_tokens: i64,
    /// Those calls whose cost is known.
    pub calls_with_cost: u64,
    /// USD; null where none of those calls has a known cost.
    pub cost_usd: Option<f64>,
    /// Part of the whole day's cost, 0 to 1.
    pub cost_share: Option<f64>,
}

/// One of the day's dearest sessions.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SessionFigures {
    /// The session's id, unique within its tenant.
    pub session_id: Option<String>,
    /// The tenant it belongs to.
    pub tenant_id: Option<String>,
    /// One agent of the session, the first by name.
    pub agent_id: Option<String>,
    /// Calls on the day.
    pub calls: u64,
    /// Those calls whose cost is known: the sample of `cost_usd`.
    pub calls_with_cost: u64,
    /// Those calls whose cost is not known, absent from `cost_usd`.
    pub calls_without_cost: u64,
    /// Calls that failed.
    pub errors: u64,
    /// Tokens sent and answered.
    pub total_tokens: i64,
    /// USD on the day.
    pub cost_usd: Option<f64>,
    /// First call on the day.
    #[serde(serialize_with = "serialize::optional_time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<DateTime<Utc>>,
    /// Last call on the day.
    #[serde(serialize_with = "serialize::optional_time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<DateTime<Utc>>,
}

/// One of the day's dearest calls.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CallFigures {
    /// When the call happened.
    #[serde(serialize_with = "serialize::optional_time")]
    #[schema(value_type = Option<String>, format = DateTime)]
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
    /// USD.
    pub cost_usd: Option<f64>,
    /// Milliseconds to the full answer.
    pub latency_ms: Option<f64>,
    /// Tries before this one.
    pub retry_count: Option<i64>,
    /// Whether the call failed.
    pub is_error: Option<bool>,
    /// Why the model stopped.
    pub finish_reason: Option<String>,
}

impl DayFigures {
    /// A day without calls.
    pub(super) fn empty(date: NaiveDate) -> Self {
        Self {
            date,
            calls: 0,
            calls_with_cost: 0,
            calls_without_cost: 0,
            sessions: 0,
            prompt_tokens: 0,
            completion_tokens: 0,
            total_tokens: 0,
            cost_usd: None,
            cost_per_call_usd: None,
            cost_per_session_usd: None,
            errors: Part::new(0, None, 0, None),
            retries: Part::new(0, None, 0, None),
        }
    }
}

impl From<DayTotals> for DayFigures {
    fn from(row: DayTotals) -> Self {
        let calls_with_cost = row.calls.saturating_sub(row.calls_without_cost);
        let cost_usd = known(row.cost, calls_with_cost);
        Self {
            date: row.date,
            calls: row.calls,
            calls_with_cost,
            calls_without_cost: row.calls_without_cost,
            sessions: row.sessions,
            prompt_tokens: row.prompt_tokens,
            completion_tokens: row.completion_tokens,
            total_tokens: row.total_tokens,
            cost_usd,
            cost_per_call_usd: per(cost_usd, calls_with_cost),
            cost_per_session_usd: per(cost_usd, row.sessions),
            errors: Part::new(row.errors, row.error_cost, row.calls, cost_usd),
            retries: Part::new(row.retries, row.retry_cost, row.calls, cost_usd),
        }
    }
}

impl Part {
    fn new(calls: u64, cost: Option<f64>, day_calls: u64, day_cost: Option<f64>) -> Self {
        let cost_usd = cost.filter(|_| day_cost.is_some());
        Self {
            calls,
            call_share: (day_calls > 0).then(|| calls as f64 / day_calls as f64),
            cost_usd,
            cost_share: share(cost_usd, day_cost),
        }
    }
}

impl Breakdown {
    /// The rows as the statement ordered them, and what `day` has beyond them.
    pub(super) fn new(rows: Vec<DimensionRow>, day: &DayFigures) -> Self {
        let rows: Vec<_> = rows.into_iter().map(NameFigures::from).collect();
        let rest = Rest::new(&rows, day);
        Self { rows, rest }
    }
}

impl From<DimensionRow> for NameFigures {
    fn from(row: DimensionRow) -> Self {
        let calls_with_cost = row.calls.saturating_sub(row.calls_without_cost);
        let cost_usd = known(row.cost, calls_with_cost);
        let previous_cost_usd = known(row.previous_cost, row.previous_calls);
        let change_usd = cost_usd.zip(previous_cost_usd).map(|(day, before)| day - before);
        Self {
            name: row.name,
            calls: row.calls,
            calls_with_cost,
            calls_without_cost: row.calls_without_cost,
            sessions: row.sessions,
            total_tokens: row.total_tokens,
            cost_usd,
            cost_share: row.share.filter(|_| cost_usd.is_some()),
            cost_per_call_usd: row.cost_per_call,
            cost_per_session_usd: per(cost_usd, row.sessions),
            previous_calls: row.previous_calls,
            previous_cost_usd,
            change_usd,
            change_ratio: share(change_usd, previous_cost_usd),
        }
    }
}

impl Rest {
    fn new(rows: &[NameFigures], day: &DayFigures) -> Option<Self> {
        let sum = |of: fn(&NameFigures) -> u64| rows.iter().map(of).sum::<u64>();
        let calls = day.calls.saturating_sub(sum(|row| row.calls));
        let calls_with_cost = day.calls_with_cost.saturating_sub(sum(|row| row.calls_with_cost));
        let listed: f64 = rows.iter().filter_map(|row| row.cost_usd).sum();
        let cost_usd = known(day.cost_usd.map(|cost| cost - listed), calls_with_cost);
        (calls > 0).then(|| Self {
            calls,
            total_tokens: rows.iter().fold(day.total_tokens, |left, row| left.saturating_sub(row.total_tokens)),
            calls_with_cost,
            cost_usd,
            cost_share: share(cost_usd, day.cost_usd),
        })
    }
}

impl From<SessionRow> for SessionFigures {
    fn from(row: SessionRow) -> Self {
        let calls_with_cost = row.calls.saturating_sub(row.calls_without_cost);
        Self {
            session_id: row.session_id,
            tenant_id: row.tenant_id,
            agent_id: row.agent_id,
            calls: row.calls,
            calls_with_cost,
            calls_without_cost: row.calls_without_cost,
            errors: row.errors,
            total_tokens: row.total_tokens,
            cost_usd: known(row.cost, calls_with_cost),
            started_at: row.started_at,
            ended_at: row.ended_at,
        }
    }
}

impl From<CallRow> for CallFigures {
    fn from(row: CallRow) -> Self {
        Self {
            timestamp: row.timestamp,
            tenant_id: row.tenant_id,
            agent_id: row.agent_id,
            model: row.model,
            request_id: row.request_id,
            session_id: row.session_id,
            trace_id: row.trace_id,
            prompt_tokens: row.prompt_tokens,
            completion_tokens: row.completion_tokens,
            total_tokens: row.total_tokens,
            cost_usd: row.cost,
            latency_ms: row.latency_ms,
            retry_count: row.retry_count,
            is_error: row.is_error,
            finish_reason: row.finish_reason,
        }
    }
}

/// The statements give 0 for the sum of nothing; a cost is known only where a call has one.
fn known(cost: Option<f64>, calls_with_cost: u64) -> Option<f64> {
    cost.filter(|_| calls_with_cost > 0)
}

fn per(cost: Option<f64>, sample: u64) -> Option<f64> {
    cost.filter(|_| sample > 0).map(|cost| cost / sample as f64)
}

fn share(part: Option<f64>, whole: Option<f64>) -> Option<f64> {
    part.zip(whole.filter(|&whole| whole > 0.0)).map(|(part, whole)| part / whole)
}
