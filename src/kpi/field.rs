//! The fields that KPIs stand on: their names in a header's `needs`, which are the columns of
//! `sql/reports/coverage.sql`, and what to send where one is missing.

/// A field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name in `needs` and in the coverage.
    pub name: &'static str,
    /// What makes it arrive.
    pub send: &'static str,
    /// What it is counted among.
    pub of: CountedAmong,
}

/// What a field is counted among.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountedAmong {
    /// Records.
    Calls,
    /// Entries of the records' `tool_calls`.
    ToolCalls,
}

/// What the settings have to say of the calls: a quota of some tenant, and an objective.
pub const TOKEN_DAILY_QUOTA: &str = "token_daily_quota";
/// Likewise.
pub const OBJECTIVE: &str = "objective";

/// Every field, in the order of the record.
pub const FIELDS: &[Field] = &[
    of_calls("tenant_id", "tenant_id"),
    of_calls("agent_id", "agent_id"),
    of_calls("model", "model"),
    of_calls("provider", "provider"),
    of_calls("operation", "operation"),
    of_calls("environment", "environment"),
    of_calls("user_id", "user_id"),
    of_calls("session_id", "session_id"),
    of_calls("trace_id", "trace_id"),
    of_calls("model_version", "model_version"),
    of_calls("prompt_version", "prompt_version"),
    of_calls("experiment_id", "experiment_id"),
    of_calls("variant", "variant"),
    of_calls("task_type", "task_type"),
    of_calls("prompt_tokens", "prompt_tokens"),
    of_calls("completion_tokens", "completion_tokens"),
    of_calls("total_tokens", "total_tokens, or prompt_tokens and completion_tokens"),
    of_calls("cache_read_tokens", "cache_read_tokens"),
    of_calls("cache_write_tokens", "cache_write_tokens"),
    of_calls("reasoning_tokens", "reasoning_tokens"),
    of_calls("cost", "cost_usd"),
    of_calls("cost_computed_usd", "nothing yet: there is no price list to compute it by"),
    of_calls("latency_ms", "latency_ms"),
    of_calls("ttft_ms", "ttft_ms"),
    of_calls("queue_wait_ms", "queue_wait_ms"),
    of_calls("guardrail_status", "guardrail_status"),
    of_calls("hallucination_probability", "hallucination_probability"),
    of_calls("groundedness", "groundedness"),
    of_calls("relevance", "relevance"),
    of_calls("user_satisfaction", "user_satisfaction"),
    of_calls("task_completed", "task_completed"),
    of_calls("escalated", "escalated"),
    of_calls("finish_reason", "finish_reason"),
    of_calls("error", "error"),
    of_calls("error_type", "error_type"),
    of_calls("http_status", "http_status"),
    of_calls("retry_count", "retry_count"),
    of_calls("circuit_breaker_state", "circuit_breaker_state"),
    of_calls("tool_calls", "tool_calls"),
    of_tools("tool_latency_ms", "latency_ms in each of tool_calls"),
    of_tools("tool_status", "status in each of tool_calls"),
    of_calls("task_value_usd", "the setting kpi.agents.AGENT.task_value_usd"),
    of_calls(TOKEN_DAILY_QUOTA, "the setting metrics.tenants.TENANT.token_daily_quota"),
    of_calls(OBJECTIVE, "an objective below slo in the settings"),
];

const fn of_calls(name: &'static str, send: &'static str) -> Field {
    Field { name, send, of: CountedAmong::Calls }
}

const fn of_tools(name: &'static str, send: &'static str) -> Field {
    Field { name, send, of: CountedAmong::ToolCalls }
}

impl Field {
    /// The field of this name.
    pub fn of(name: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.name == name)
    }
}
