//! Which spelling of a field means which column, and which spelling wins when a record has several.
//! The only list of accepted names: ours, OpenTelemetry GenAI's, OpenInference's, Traceloop's,
//! Langfuse's and LangSmith's (their released semantic conventions).

use std::{collections::HashMap, sync::LazyLock};

use crate::record::{Table, col};

/// The unit a spelling carries where it is not the column's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// As the column has it.
    Same,
    /// Seconds, for a column of milliseconds.
    Seconds,
}

/// A column that a field fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Index into the columns of `agent_logs`.
    pub column: u8,
    /// Which spelling wins: the lower one.
    pub rank: u8,
    /// The spelling's unit.
    pub unit: Unit,
}

/// What a field name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The column it fills, unless its value is an object and `container` is set.
    pub slot: Option<Slot>,
    /// Whether known fields stand inside it when its value is an object.
    pub container: bool,
}

/// A field nobody has named.
pub const UNKNOWN: Target = Target { slot: None, container: false };

/// Objects whose fields count as if they stood in the record itself.
pub const TRANSPARENT: &[&str] = &["attributes"];

/// What the field at this dotted path means.
pub fn target(path: &str) -> Target {
    TARGETS.get(path).copied().unwrap_or(UNKNOWN)
}

static TARGETS: LazyLock<HashMap<&'static str, Target>> = LazyLock::new(|| {
    let schema = Table::AgentLogs.schema();
    let mut targets: HashMap<&'static str, Target> = HashMap::new();
    for (column, spellings) in SPELLINGS {
        let index = schema.index_of(column).expect("SPELLINGS names columns of agent_logs");
        for (rank, spelling) in spellings.iter().enumerate() {
            let (path, unit) = match spelling.strip_suffix(" [s]") {
                Some(path) => (path, Unit::Seconds),
                None => (*spelling, Unit::Same),
            };
            let slot = Slot { column: index as u8, rank: rank as u8, unit };
            targets.entry(path).or_insert(UNKNOWN).slot = Some(slot);
            for (dot, _) in path.match_indices('.') {
                targets.entry(&path[..dot]).or_insert(UNKNOWN).container = true;
            }
        }
    }
    for name in TRANSPARENT {
        targets.entry(name).or_insert(UNKNOWN).container = true;
    }
    targets
});

/// Column → its spellings, the first one wins. `[s]` marks a spelling whose unit is seconds.
pub const SPELLINGS: &[(&str, &[&str])] = &[
    (
        col::TIMESTAMP,
        &["timestamp", "@timestamp", "time", "ts", "event_time", "start_time", "time_unix_nano", "timeUnixNano"],
    ),
    (
        col::TENANT_ID,
        &[
            "tenant_id",
            "tenantId",
            "tenant.id",
            "tenant",
            "organization_id",
            "traceloop.association.properties.tenant_id",
        ],
    ),
    (
        col::AGENT_ID,
        &[
            "agent_id",
            "agentId",
            "gen_ai.agent.id",
            "gen_ai.agent.name",
            "agent_name",
            "agent.id",
            "agent.name",
            "agent",
        ],
    ),
    (
        col::MODEL,
        &[
            "model",
            "gen_ai.request.model",
            "llm.request.model_name",
            "llm.model_name",
            "model_name",
            "langfuse.observation.model.name",
        ],
    ),
    (col::PROVIDER, &["provider", "gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"]),
    (
        col::OPERATION,
        &[
            "operation",
            "gen_ai.operation.name",
            "llm.request.type",
            "openinference.span.kind",
            "traceloop.span.kind",
            "langfuse.observation.type",
            "langsmith.span.kind",
        ],
    ),
    (
        col::ENVIRONMENT,
        &["environment", "env", "deployment.environment.name", "deployment.environment", "langfuse.environment"],
    ),
    (col::SERVICE, &["service", "service.name", "service_name"]),
    (col::VERSION, &["version", "service.version", "service_version", "langfuse.release"]),
    (col::LEVEL, &["level", "severity", "severity_text", "severityText", "log.level"]),
    (col::REQUEST_ID, &["request_id", "requestId", "gen_ai.response.id", "http.request.id"]),
    // The order is Langfuse's, with ours before it.
    (
        col::SESSION_ID,
        &[
            "session_id",
            "sessionId",
            "langfuse.session.id",
            "session.id",
            "gen_ai.conversation.id",
            "conversation_id",
            "traceloop.association.properties.session_id",
            "langsmith.metadata.thread_id",
            "thread_id",
        ],
    ),
    (col::TRACE_ID, &["trace_id", "traceId", "trace.id"]),
    (col::SPAN_ID, &["span_id", "spanId", "span.id"]),
    (col::PARENT_SPAN_ID, &["parent_span_id", "parentSpanId", "parent.id", "parent_id"]),
    (col::CORRELATION_ID, &["correlation_id", "correlationId"]),
    (
        col::USER_ID,
        &[
            "user_id",
            "userId",
            "user.id",
            "langfuse.user.id",
            "enduser.id",
            "traceloop.association.properties.user_id",
            "user",
        ],
    ),
    (col::MODEL_VERSION, &["model_version", "gen_ai.response.model", "llm.response.model_name"]),
    (col::PROMPT_VERSION, &["prompt_version", "gen_ai.prompt.version", "langfuse.observation.prompt.version"]),
    (col::EXPERIMENT_ID, &["experiment_id", "experiment"]),
    (col::VARIANT, &["variant"]),
    (col::TASK_TYPE, &["task_type"]),
    (
        col::PROMPT_TOKENS,
        &[
            "prompt_tokens",
            "input_tokens",
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.prompt_tokens",
            "llm.token_count.prompt",
            "llm.usage.prompt_tokens",
            "usage.prompt_tokens",
            "usage.input_tokens",
        ],
    ),
    (
        col::COMPLETION_TOKENS,
        &[
            "completion_tokens",
            "output_tokens",
            "gen_ai.usage.output_tokens",
            "gen_ai.usage.completion_tokens",
            "llm.token_count.completion",
            "llm.usage.completion_tokens",
            "usage.completion_tokens",
            "usage.output_tokens",
        ],
    ),
    (
        col::TOTAL_TOKENS,
        &[
            "total_tokens",
            "gen_ai.usage.total_tokens",
            "llm.usage.total_tokens",
            "llm.token_count.total",
            "usage.total_tokens",
        ],
    ),
    (
        col::CACHE_READ_TOKENS,
        &[
            "cache_read_tokens",
            "cached_tokens",
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "llm.token_count.prompt_details.cache_read",
            "usage.prompt_tokens_details.cached_tokens",
            "usage.input_tokens_details.cached_tokens",
        ],
    ),
    (
        col::CACHE_WRITE_TOKENS,
        &[
            "cache_write_tokens",
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
            "llm.token_count.prompt_details.cache_write",
        ],
    ),
    (
        col::REASONING_TOKENS,
        &[
            "reasoning_tokens",
            "gen_ai.usage.reasoning.output_tokens",
            "gen_ai.usage.reasoning_tokens",
            "llm.token_count.completion_details.reasoning",
            "usage.completion_tokens_details.reasoning_tokens",
            "usage.output_tokens_details.reasoning_tokens",
        ],
    ),
    (
        col::COST_USD,
        &["cost_usd", "total_cost_usd", "cost", "total_cost", "gen_ai.usage.cost", "llm.cost.total", "usage.cost"],
    ),
    (col::COST_COMPUTED_USD, &[]),
    (col::LATENCY_MS, &["latency_ms", "duration_ms", "response_time_ms", "latency_s [s]", "duration_s [s]"]),
    (
        col::TTFT_MS,
        &[
            "ttft_ms",
            "time_to_first_token_ms",
            "ttft_s [s]",
            "gen_ai.response.time_to_first_chunk [s]",
            "gen_ai.server.time_to_first_token [s]",
        ],
    ),
    (col::QUEUE_WAIT_MS, &["queue_wait_ms", "queue_time_ms", "queue_ms"]),
    (col::GUARDRAIL_STATUS, &["guardrail_status", "guardrail.status"]),
    (col::GUARDRAIL_REASON, &["guardrail_reason", "guardrail.reason"]),
    (col::GUARDRAIL_CHECKS, &["guardrail_checks", "guardrail.checks"]),
    (col::TOOL_CALLS, &["tool_calls"]),
    (col::RAG_CONTEXT, &["rag_context"]),
    (
        col::HALLUCINATION_PROBABILITY,
        &[
            "hallucination_probability",
            "hallucination_score",
            "quality_scores.hallucination_probability",
            "quality_scores.hallucination_score",
            "quality_scores.hallucination",
        ],
    ),
    (col::GROUNDEDNESS, &["groundedness", "groundedness_score", "quality_scores.groundedness"]),
    (col::RELEVANCE, &["relevance", "relevance_score", "quality_scores.relevance"]),
    (col::USER_SATISFACTION, &["user_satisfaction", "quality_scores.user_satisfaction"]),
    (col::TASK_COMPLETED, &["task_completed", "quality_scores.task_completed"]),
    (col::ESCALATED, &["escalated"]),
    (col::FINISH_REASON, &["finish_reason", "gen_ai.response.finish_reasons", "llm.finish_reason", "stop_reason"]),
    (col::ERROR, &["error", "error.message", "error_message", "exception.message"]),
    (col::ERROR_TYPE, &["error_type", "error.type", "exception.type"]),
    (col::HTTP_STATUS, &["http_status", "http.response.status_code", "http.status_code", "http_status_code"]),
    (col::RETRY_COUNT, &["retry_count", "retries"]),
    (col::CIRCUIT_BREAKER_STATE, &["circuit_breaker_state", "circuit_breaker.state", "circuit_breaker"]),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_spelling_stands_twice() {
        let mut seen = HashSet::new();
        for spelling in SPELLINGS.iter().flat_map(|(_, spellings)| *spellings) {
            assert!(seen.insert(spelling), "{spelling} means two columns");
        }
    }

    #[test]
    fn canonical_names_are_the_columns_own() {
        for (column, spellings) in SPELLINGS {
            assert!(spellings.first().is_none_or(|first| first == column), "{column}");
        }
    }
}
