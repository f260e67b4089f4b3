//! The columns of an `agent_logs` batch that move the families, found once per batch, and what a row says in
//! them. It never moves anything.

use std::{borrow::Cow, ops::Range};

use arrow::array::{
    Array, ArrowPrimitiveType, AsArray, ListArray, PrimitiveArray, RecordBatch, StringViewArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};

use crate::record::col;

use super::families;
use super::routes::RowLabels;
use super::series::Trace;

/// The error type of an error that names none, and has no HTTP status of one.
const UNKNOWN_ERROR: &str = "unknown";

/// HTTP statuses from this on are errors, up to the last that there is.
const STATUS_ERROR_MIN: i64 = 400;
const STATUS_MAX: i64 = 599;

/// Fields of a tool call.
const TOOL_NAME: &str = "name";
const TOOL_LATENCY_MS: &str = "latency_ms";

/// The columns that matter, found once per batch.
pub(super) struct Columns<'a> {
    timestamp: &'a TimestampMicrosecondArray,
    received_at: &'a TimestampMicrosecondArray,
    tenant_id: Text<'a>,
    agent_id: Text<'a>,
    model: Text<'a>,
    operation: Text<'a>,
    pub(super) session_id: Text<'a>,
    prompt_tokens: Number<'a, Int64Type>,
    completion_tokens: Number<'a, Int64Type>,
    cost_usd: Number<'a, Float64Type>,
    cost_computed_usd: Number<'a, Float64Type>,
    pub(super) latency_ms: Number<'a, Float64Type>,
    pub(super) ttft_ms: Number<'a, Float64Type>,
    pub(super) guardrail_status: Text<'a>,
    pub(super) guardrail_reason: Text<'a>,
    pub(super) hallucination_probability: Number<'a, Float64Type>,
    error: Text<'a>,
    error_type: Text<'a>,
    http_status: Number<'a, Int64Type>,
    finish_reason: Text<'a>,
    circuit_breaker_state: Text<'a>,
    trace_id: Text<'a>,
    pub(super) tool_calls: ToolCalls<'a>,
}

impl<'a> Columns<'a> {
    /// `None` where a time column is missing; any other missing column reads as null.
    pub(super) fn of(batch: &'a RecordBatch) -> Option<Self> {
        let time = |name| {
            let column = batch.column_by_name(name)?;
            column.as_primitive_opt::<TimestampMicrosecondType>()
        };
        let text = |name| Text::of(batch, name);
        Some(Self {
            timestamp: time(col::TIMESTAMP)?,
            received_at: time(col::RECEIVED_AT)?,
            tenant_id: text(col::TENANT_ID),
            agent_id: text(col::AGENT_ID),
            model: text(col::MODEL),
            operation: text(col::OPERATION),
            session_id: text(col::SESSION_ID),
            prompt_tokens: Number::of(batch, col::PROMPT_TOKENS),
            completion_tokens: Number::of(batch, col::COMPLETION_TOKENS),
            cost_usd: Number::of(batch, col::COST_USD),
            cost_computed_usd: Number::of(batch, col::COST_COMPUTED_USD),
            latency_ms: Number::of(batch, col::LATENCY_MS),
            ttft_ms: Number::of(batch, col::TTFT_MS),
            guardrail_status: text(col::GUARDRAIL_STATUS),
            guardrail_reason: text(col::GUARDRAIL_REASON),
            hallucination_probability: Number::of(batch, col::HALLUCINATION_PROBABILITY),
            error: text(col::ERROR),
            error_type: text(col::ERROR_TYPE),
            http_status: Number::of(batch, col::HTTP_STATUS),
            finish_reason: text(col::FINISH_REASON),
            circuit_breaker_state: text(col::CIRCUIT_BREAKER_STATE),
            trace_id: text(col::TRACE_ID),
            tool_calls: ToolCalls::of(batch),
        })
    }

    pub(super) fn rows(&self) -> Range<usize> {
        0..self.timestamp.len()
    }

    /// How long after its event time the row arrived.
    pub(super) fn age_us(&self, row: usize) -> i64 {
        self.received_at.value(row).saturating_sub(self.timestamp.value(row))
    }

    /// The event time, but never after arrival: a client whose clock runs ahead would otherwise
    /// hold its session active for as long.
    pub(super) fn last_seen_us(&self, row: usize) -> i64 {
        self.timestamp.value(row).min(self.received_at.value(row))
    }

    pub(super) fn labels(&self, row: usize) -> RowLabels<'a> {
        let label = |column: &Text<'a>| column.at(row).unwrap_or_default();
        RowLabels::new([label(&self.agent_id), label(&self.model), label(&self.operation), label(&self.tenant_id)])
    }

    /// Input and output, in the order of the fixed label's values.
    pub(super) fn tokens(&self, row: usize) -> [Option<f64>; 2] {
        [&self.prompt_tokens, &self.completion_tokens].map(|column| column.at(row).map(|tokens| tokens as f64))
    }

    pub(super) fn cost_usd(&self, row: usize) -> Option<f64> {
        self.cost_usd.at(row).or_else(|| self.cost_computed_usd.at(row))
    }

    /// The error type of a row that is an error: its own, else by its HTTP status.
    pub(super) fn error_type(&self, row: usize) -> Option<Cow<'a, str>> {
        let named = self.error_type.at(row);
        let status = self.http_status.at(row).filter(|status| *status >= STATUS_ERROR_MIN);
        match (named, status) {
            (Some(named), _) if !named.is_empty() => Some(Cow::Borrowed(named)),
            (_, Some(status)) if status <= STATUS_MAX => Some(Cow::Owned(format!("http_{status}"))),
            (None, None) if self.error.at(row).is_none() => None,
            _ => Some(Cow::Borrowed(UNKNOWN_ERROR)),
        }
    }

    pub(super) fn is_context_overflow(&self, row: usize) -> bool {
        families::is_context_overflow(self.error_type.at(row), self.finish_reason.at(row))
    }

    /// The state that the row's circuit breaker says it is in.
    pub(super) fn breaker_state(&self, row: usize) -> Option<u8> {
        self.circuit_breaker_state.at(row).and_then(families::breaker_state)
    }

    /// The trace that the row leads to.
    pub(super) fn trace(&self, row: usize) -> Option<Trace<'a>> {
        self.trace_id.at(row).and_then(|trace_id| Trace::new(trace_id, self.last_seen_us(row)))
    }
}

/// The tool calls of all rows, one after the other; or none.
pub(super) struct ToolCalls<'a> {
    lists: Option<&'a ListArray>,
    names: Text<'a>,
    latency_ms: Number<'a, Float64Type>,
}

impl<'a> ToolCalls<'a> {
    fn of(batch: &'a RecordBatch) -> Self {
        let lists: Option<&'a ListArray> =
            batch.column_by_name(col::TOOL_CALLS).and_then(|column| column.as_list_opt::<i32>());
        let calls: Option<&'a StructArray> = lists.and_then(|lists| lists.values().as_struct_opt());
        let field = |name| calls.and_then(|calls| calls.column_by_name(name));
        Self {
            lists,
            names: Text(field(TOOL_NAME).and_then(|column| column.as_string_view_opt())),
            latency_ms: Number(field(TOOL_LATENCY_MS).and_then(|column| column.as_primitive_opt())),
        }
    }

    /// The positions of a row's calls, for [`Self::call`].
    pub(super) fn of_row(&self, row: usize) -> Range<usize> {
        match self.lists {
            Some(lists) if lists.is_valid(row) => {
                let offsets = lists.value_offsets();
                offsets[row] as usize..offsets[row + 1] as usize
            }
            _ => 0..0,
        }
    }

    /// The tool's name and the time that it took, milliseconds.
    pub(super) fn call(&self, position: usize) -> (&'a str, Option<f64>) {
        (self.names.at(position).unwrap_or_default(), self.latency_ms.at(position))
    }
}

/// A text column, or none, which reads as null.
pub(super) struct Text<'a>(Option<&'a StringViewArray>);

impl<'a> Text<'a> {
    fn of(batch: &'a RecordBatch, name: &str) -> Self {
        let column = batch.column_by_name(name);
        Self(column.and_then(|column| column.as_string_view_opt()))
    }

    pub(super) fn at(&self, row: usize) -> Option<&'a str> {
        let column = self.0?;
        column.is_valid(row).then(|| column.value(row))
    }
}

/// A numeric column, or none, which reads as null.
pub(super) struct Number<'a, T: ArrowPrimitiveType>(Option<&'a PrimitiveArray<T>>);

impl<'a, T: ArrowPrimitiveType> Number<'a, T> {
    fn of(batch: &'a RecordBatch, name: &str) -> Self {
        let column = batch.column_by_name(name);
        Self(column.and_then(|column| column.as_primitive_opt()))
    }

    pub(super) fn at(&self, row: usize) -> Option<T::Native> {
        let column = self.0?;
        column.is_valid(row).then(|| column.value(row))
    }
}
