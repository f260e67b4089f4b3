//! A call as the named query `trace_spans` tells it.

use serde::Deserialize;

/// A row.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // the columns of `sql/queries/trace_spans.sql`, which says what each is
pub struct Call {
    pub timestamp: String,
    pub tenant_id: Option<String>,
    pub agent_id: Option<String>,
    pub model: Option<String>,
    pub provider: Option<String>,
    pub operation: Option<String>,
    pub environment: Option<String>,
    pub request_id: Option<String>,
    pub session_id: Option<String>,
    pub trace_id: Option<String>,
    pub span_id: Option<String>,
    pub parent_span_id: Option<String>,
    pub user_id: Option<String>,
    pub prompt_version: Option<String>,
    pub variant: Option<String>,
    pub latency_ms: Option<f64>,
    pub ttft_ms: Option<f64>,
    pub queue_wait_ms: Option<f64>,
    pub prompt_tokens: Option<i64>,
    pub completion_tokens: Option<i64>,
    pub cost_usd: Option<f64>,
    pub retry_count: Option<i64>,
    pub guardrail_status: Option<String>,
    pub finish_reason: Option<String>,
    pub hallucination_probability: Option<f64>,
    pub is_error: Option<bool>,
    pub error_type: Option<String>,
    pub error: Option<String>,
    pub http_status: Option<i64>,
    pub tool_calls: Option<Vec<Option<Tool>>>,
}

/// A tool that a call called.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // as the table has them
pub struct Tool {
    pub name: Option<String>,
    pub latency_ms: Option<f64>,
    pub status: Option<String>,
}
