//! The shape of everything that is stored: the only place that names columns and their Arrow types.
//!
//! Three facts live here and nowhere else: the columns of each table and their order (filter
//! columns first, because Delta statistics cover the leading columns), the unit of each column, and
//! the rule that a timestamp is µs since the epoch, UTC, **without** a zone in memory and in SQL.
//! The identity of a batch, [`Receipt`], stands here as well: the log and the catalog both keep it.
//! This module never parses, stores or queries anything.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

/// The tables that ingest fills. Each is one Delta table and one WAL section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// One row per model or agent call.
    AgentLogs,
    /// One row per received line that is no record, with the reason.
    RejectedLogs,
}

impl Table {
    /// Every table, in the order of their WAL tags.
    pub const ALL: [Table; 2] = [Table::AgentLogs, Table::RejectedLogs];

    /// The table's name in SQL and its directory in the store.
    pub fn name(self) -> &'static str {
        match self {
            Table::AgentLogs => "agent_logs",
            Table::RejectedLogs => "rejected_logs",
        }
    }

    /// The tag that stands for the table in WAL frames. Never reused.
    pub fn wal_tag(self) -> u8 {
        match self {
            Table::AgentLogs => 1,
            Table::RejectedLogs => 2,
        }
    }

    /// The table behind a WAL tag.
    pub fn from_wal_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.wal_tag() == tag)
    }

    /// All columns but the partition column, which lives in the path.
    pub fn schema(self) -> &'static SchemaRef {
        match self {
            Table::AgentLogs => &AGENT_LOGS,
            Table::RejectedLogs => &REJECTED_LOGS,
        }
    }

    /// The column that gives a row its day and the files their order.
    pub fn time_column(self) -> &'static str {
        match self {
            Table::AgentLogs => col::TIMESTAMP,
            Table::RejectedLogs => col::RECEIVED_AT,
        }
    }
}

/// What makes a batch the same batch when it is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Of the key that the sender gave the batch, or of the body.
    pub identity: Digest,
    /// Of the body, where a key is the identity. `None` as well where an earlier version wrote the receipt.
    pub body: Option<Digest>,
}

/// The first half of a BLAKE3 hash.
pub type Digest = [u8; 16];

/// The partition column: the UTC day of the table's time column, `date32`.
pub const PARTITION: &str = "date";

/// Column names of `agent_logs` and `rejected_logs`.
#[allow(missing_docs)] // the name is the documentation; units stand beside the fields below
pub mod col {
    pub const TIMESTAMP: &str = "timestamp";
    pub const RECEIVED_AT: &str = "received_at";
    pub const TENANT_ID: &str = "tenant_id";
    pub const AGENT_ID: &str = "agent_id";
    pub const MODEL: &str = "model";
    pub const PROVIDER: &str = "provider";
    pub const OPERATION: &str = "operation";
    pub const ENVIRONMENT: &str = "environment";
    pub const SERVICE: &str = "service";
    pub const VERSION: &str = "version";
    pub const LEVEL: &str = "level";
    pub const REQUEST_ID: &str = "request_id";
    pub const SESSION_ID: &str = "session_id";
    pub const TRACE_ID: &str = "trace_id";
    pub const SPAN_ID: &str = "span_id";
    pub const PARENT_SPAN_ID: &str = "parent_span_id";
    pub const CORRELATION_ID: &str = "correlation_id";
    pub const USER_ID: &str = "user_id";
    pub const MODEL_VERSION: &str = "model_version";
    pub const PROMPT_VERSION: &str = "prompt_version";
    pub const EXPERIMENT_ID: &str = "experiment_id";
    pub const VARIANT: &str = "variant";
    pub const TASK_TYPE: &str = "task_type";
    pub const PROMPT_TOKENS: &str = "prompt_tokens";
    pub const COMPLETION_TOKENS: &str = "completion_tokens";
    pub const TOTAL_TOKENS: &str = "total_tokens";
    pub const CACHE_READ_TOKENS: &str = "cache_read_tokens";
    pub const CACHE_WRITE_TOKENS: &str = "cache_write_tokens";
    pub const REASONING_TOKENS: &str = "reasoning_tokens";
    pub const COST_USD: &str = "cost_usd";
    pub const COST_COMPUTED_USD: &str = "cost_computed_usd";
    pub const PRICE_ID: &str = "price_id";
    pub const LATENCY_MS: &str = "latency_ms";
    pub const TTFT_MS: &str = "ttft_ms";
    pub const QUEUE_WAIT_MS: &str = "queue_wait_ms";
    pub const GUARDRAIL_STATUS: &str = "guardrail_status";
    pub const GUARDRAIL_REASON: &str = "guardrail_reason";
    pub const GUARDRAIL_CHECKS: &str = "guardrail_checks";
    pub const TOOL_CALLS: &str = "tool_calls";
    pub const RAG_CONTEXT: &str = "rag_context";
    pub const HALLUCINATION_PROBABILITY: &str = "hallucination_probability";
    pub const GROUNDEDNESS: &str = "groundedness";
    pub const RELEVANCE: &str = "relevance";
    pub const USER_SATISFACTION: &str = "user_satisfaction";
    pub const TASK_COMPLETED: &str = "task_completed";
    pub const ESCALATED: &str = "escalated";
    pub const FINISH_REASON: &str = "finish_reason";
    pub const ERROR: &str = "error";
    pub const ERROR_TYPE: &str = "error_type";
    pub const HTTP_STATUS: &str = "http_status";
    pub const RETRY_COUNT: &str = "retry_count";
    pub const CIRCUIT_BREAKER_STATE: &str = "circuit_breaker_state";
    pub const ATTRIBUTES: &str = "attributes";
    pub const INGEST_SEQ: &str = "ingest_seq";
    pub const LINE: &str = "line";
    pub const REASON: &str = "reason";
    pub const RAW: &str = "raw";
}

/// A point in time as it is stored: µs since the epoch, UTC by definition, no zone.
pub const TIMESTAMP_TYPE: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// Fields of one element of `tool_calls`.
pub static TOOL_CALL_FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        Field::new("name", DataType::Utf8View, true),
        Field::new("latency_ms", DataType::Float64, true),
        Field::new("status", DataType::Utf8View, true),
    ])
});

/// Fields of `rag_context`.
pub static RAG_CONTEXT_FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        Field::new("chunks_retrieved", DataType::Int64, true),
        Field::new("top_similarity_score", DataType::Float64, true),
        Field::new("retrieval_latency_ms", DataType::Float64, true),
    ])
});

/// The element field of `tool_calls`.
pub fn tool_call_item() -> Field {
    Field::new("element", DataType::Struct(TOOL_CALL_FIELDS.clone()), true)
}

/// The entries field of `guardrail_checks`: check name → outcome.
pub fn guardrail_check_entries() -> Field {
    Field::new(
        "key_value",
        DataType::Struct(Fields::from(vec![
            // Not a view: the engine compares map keys with plain text only.
            Field::new("key", DataType::Utf8, false),
            Field::new("value", DataType::Utf8View, true),
        ])),
        false,
    )
}

/// `agent_logs`, one row per model or agent call.
static AGENT_LOGS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let time = |name| Field::new(name, TIMESTAMP_TYPE, false);
    let text = |name| Field::new(name, DataType::Utf8View, true);
    let int = |name| Field::new(name, DataType::Int64, true);
    let float = |name| Field::new(name, DataType::Float64, true);
    let flag = |name| Field::new(name, DataType::Boolean, true);
    Arc::new(Schema::new(vec![
        time(col::TIMESTAMP),   // event time
        time(col::RECEIVED_AT), // when it reached us
        text(col::TENANT_ID),
        text(col::AGENT_ID),
        text(col::MODEL),
        text(col::PROVIDER),
        text(col::OPERATION),
        text(col::ENVIRONMENT),
        text(col::SERVICE),
        text(col::VERSION),
        text(col::LEVEL),
        text(col::REQUEST_ID),
        text(col::SESSION_ID),
        text(col::TRACE_ID),
        text(col::SPAN_ID),
        text(col::PARENT_SPAN_ID),
        text(col::CORRELATION_ID),
        text(col::USER_ID),
        text(col::MODEL_VERSION),
        text(col::PROMPT_VERSION),
        text(col::EXPERIMENT_ID),
        text(col::VARIANT),
        text(col::TASK_TYPE),
        int(col::PROMPT_TOKENS),       // tokens, cached ones included
        int(col::COMPLETION_TOKENS),   // tokens, reasoning included
        int(col::TOTAL_TOKENS),        // tokens
        int(col::CACHE_READ_TOKENS),   // tokens, a subset of prompt_tokens
        int(col::CACHE_WRITE_TOKENS),  // tokens, a subset of prompt_tokens
        int(col::REASONING_TOKENS),    // tokens, a subset of completion_tokens
        float(col::COST_USD),          // US dollars, as the client reported
        float(col::COST_COMPUTED_USD), // US dollars, by the price list
        text(col::PRICE_ID),
        float(col::LATENCY_MS),      // milliseconds
        float(col::TTFT_MS),         // milliseconds
        float(col::QUEUE_WAIT_MS),   // milliseconds
        text(col::GUARDRAIL_STATUS), // passed, blocked, escalated
        text(col::GUARDRAIL_REASON),
        Field::new(col::GUARDRAIL_CHECKS, DataType::Map(Arc::new(guardrail_check_entries()), false), true),
        Field::new_list(col::TOOL_CALLS, tool_call_item(), true),
        Field::new(col::RAG_CONTEXT, DataType::Struct(RAG_CONTEXT_FIELDS.clone()), true),
        float(col::HALLUCINATION_PROBABILITY), // 0 to 1
        float(col::GROUNDEDNESS),              // 0 to 1
        float(col::RELEVANCE),                 // 0 to 1
        float(col::USER_SATISFACTION),         // the client's own scale, 0 to 1 advised
        flag(col::TASK_COMPLETED),
        flag(col::ESCALATED),
        text(col::FINISH_REASON),
        text(col::ERROR),
        text(col::ERROR_TYPE),
        int(col::HTTP_STATUS),
        int(col::RETRY_COUNT),
        text(col::CIRCUIT_BREAKER_STATE),
        text(col::ATTRIBUTES), // JSON text of every field not named above
        Field::new(col::INGEST_SEQ, DataType::Int64, false), // the batch that brought the row
    ]))
});

/// `rejected_logs`, one row per line that is no record.
static REJECTED_LOGS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new(col::RECEIVED_AT, TIMESTAMP_TYPE, false),
        Field::new(col::LINE, DataType::Int64, false), // 1-based, in the request body
        Field::new(col::REASON, DataType::Utf8View, false),
        Field::new(col::RAW, DataType::Utf8View, false), // the line, invalid UTF-8 replaced
        Field::new(col::INGEST_SEQ, DataType::Int64, false),
    ]))
});
