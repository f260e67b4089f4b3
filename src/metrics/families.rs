//! The one list of the families that ingested rows move: names, types, HELP texts, labels, bounds.
//!
//! It never says how a row becomes a value, which is `live`'s, beyond the words that a fixed label
//! knows. Names pass `promtool check metrics`:
//! counters end in `_total`, nothing else does, units are base units spelled out.

use super::model::Kind;

/// What is fixed about one family.
#[derive(Debug)]
pub struct FamilySpec {
    /// The name as it is queried; counters with their `_total`.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// The HELP text.
    pub help: &'static str,
    /// Every label, in the order in which it is written.
    pub labels: &'static [&'static str],
    /// The label among `labels` whose values are known beforehand, if there is one.
    pub fixed: Option<Fixed>,
    /// Upper bounds of a histogram's buckets, without `+Inf`; at most eight.
    pub bounds: &'static [f64],
}

/// A label with known values. It costs no cardinality, so overflow leaves it alone.
#[derive(Debug)]
pub struct Fixed {
    /// The label's name.
    pub label: &'static str,
    /// Its values; at most four.
    pub values: &'static [&'static str],
}

impl FamilySpec {
    /// The labels whose values come from rows, in order.
    pub(super) fn free_labels(&self) -> impl Iterator<Item = &'static str> {
        let fixed = self.fixed.as_ref().map(|fixed| fixed.label);
        self.labels.iter().copied().filter(move |label| Some(*label) != fixed)
    }

    /// The values of the fixed label; one empty value where there is no such label.
    pub(super) fn variants(&self) -> &'static [&'static str] {
        self.fixed.as_ref().map_or(&[""], |fixed| fixed.values)
    }
}

/// Most bounds a histogram may have.
pub(super) const BOUNDS_MAX: usize = 8;
/// Most values a fixed label may have.
pub(super) const VARIANTS_MAX: usize = 4;

/// Values of `token_type`, by the position in which amounts are passed.
const TOKEN_TYPES: &[&str] = &["input", "output"];

/// Values of `decision`; [`decision`] gives the position.
const DECISIONS: &[&str] = &["allow", "block", "escalate", "other"];

/// The position in [`DECISIONS`] of a row's guardrail status. The words are those that `sql/views/agent_logs.sql` folds.
pub(super) fn decision(status: &str) -> usize {
    let is = |word: &str| status.eq_ignore_ascii_case(word);
    if is("passed") || is("pass") || is("allow") || is("allowed") {
        0
    } else if is("blocked") || is("block") {
        1
    } else if is("escalated") || is("escalate") {
        2
    } else {
        3
    }
}

/// Error types that say a prompt was longer than the model's context, in lower case.
const CONTEXT_OVERFLOW_ERRORS: &[&str] = &[
    "context_length_exceeded",
    "context_window_exceeded",
    "context_overflow",
    "model_context_window_exceeded",
    "contextwindowexceedederror",
    "prompt_too_long",
];

/// The finish reason of an answer that ran into the end of the context. `length` is none: it is the
/// caller's own bound on the answer.
const CONTEXT_OVERFLOW_FINISH: &str = "model_context_window_exceeded";

/// Whether a call did not fit into the model's context.
pub(super) fn is_context_overflow(error_type: Option<&str>, finish_reason: Option<&str>) -> bool {
    let failed = |error: &str| CONTEXT_OVERFLOW_ERRORS.iter().any(|known| known.eq_ignore_ascii_case(error));
    error_type.is_some_and(failed)
        || finish_reason.is_some_and(|reason| reason.eq_ignore_ascii_case(CONTEXT_OVERFLOW_FINISH))
}

/// The value of a circuit breaker's state; `None` for a word that is none.
pub(super) fn breaker_state(word: &str) -> Option<u8> {
    let is = |known: &str| word.eq_ignore_ascii_case(known);
    if is("closed") {
        Some(0)
    } else if is("half_open") || is("half-open") || is("halfopen") || is("half open") {
        Some(1)
    } else if is("open") {
        Some(2)
    } else {
        None
    }
}

pub(super) static REQUEST_DURATION: FamilySpec = FamilySpec {
    name: "llm_request_duration_seconds",
    kind: Kind::Histogram,
    help: "Time from request to complete response.",
    labels: &["agent_id", "model", "operation"],
    fixed: None,
    bounds: &[0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0],
};

pub(super) static TTFT: FamilySpec = FamilySpec {
    name: "llm_ttft_seconds",
    kind: Kind::Histogram,
    help: "Time from request to the first token.",
    labels: &["agent_id", "model"],
    fixed: None,
    bounds: &[0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0],
};

pub(super) static TOKENS: FamilySpec = FamilySpec {
    name: "llm_tokens_total",
    kind: Kind::Counter,
    help: "Tokens read (input) and written (output) by models.",
    labels: &["agent_id", "model", "tenant_id", "token_type"],
    fixed: Some(Fixed { label: "token_type", values: TOKEN_TYPES }),
    bounds: &[],
};

pub(super) static COST: FamilySpec = FamilySpec {
    name: "llm_cost_usd_total",
    kind: Kind::Counter,
    help: "Cost in US dollars, as reported by the client, else by the price list.",
    labels: &["agent_id", "model", "tenant_id"],
    fixed: None,
    bounds: &[],
};

pub(super) static HALLUCINATION: FamilySpec = FamilySpec {
    name: "llm_hallucination_score",
    kind: Kind::Histogram,
    help: "Estimated probability that a response is a hallucination, 0 to 1.",
    labels: &["agent_id"],
    fixed: None,
    bounds: &[0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0],
};

pub(super) static GUARDRAIL_DECISIONS: FamilySpec = FamilySpec {
    name: "llm_guardrail_decisions_total",
    kind: Kind::Counter,
    help: "Guardrail decisions, by outcome and reason.",
    labels: &["agent_id", "decision", "reason"],
    fixed: Some(Fixed { label: "decision", values: DECISIONS }),
    bounds: &[],
};

pub(super) static ERRORS: FamilySpec = FamilySpec {
    name: "llm_errors_total",
    kind: Kind::Counter,
    help: "Calls that ended in an error, by their own type, else by their HTTP status.",
    labels: &["agent_id", "model", "error_type"],
    fixed: None,
    bounds: &[],
};

pub(super) static ACTIVE_SESSIONS: FamilySpec = FamilySpec {
    name: "llm_active_sessions",
    kind: Kind::Gauge,
    help: "Distinct sessions seen within the active window, by event time.",
    labels: &["agent_id"],
    fixed: None,
    bounds: &[],
};

pub(super) static REQUESTS: FamilySpec = FamilySpec {
    name: "llm_requests_total",
    kind: Kind::Counter,
    help: "Calls, whatever became of them.",
    labels: &["agent_id", "model", "tenant_id"],
    fixed: None,
    bounds: &[],
};

pub(super) static CONTEXT_OVERFLOW: FamilySpec = FamilySpec {
    name: "llm_context_overflow_total",
    kind: Kind::Counter,
    help: "Calls that did not fit into the model's context.",
    labels: &["agent_id", "model"],
    fixed: None,
    bounds: &[],
};

pub(super) static TOOL_LATENCY: FamilySpec = FamilySpec {
    name: "llm_tool_latency_seconds",
    kind: Kind::Histogram,
    help: "Time that a tool took, per tool call.",
    labels: &["agent_id", "tool"],
    fixed: None,
    bounds: &[0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0],
};

pub(super) static CIRCUIT_BREAKER: FamilySpec = FamilySpec {
    name: "llm_circuit_breaker_state",
    kind: Kind::Gauge,
    help: "State of the circuit breaker by the agent's newest record: 0 closed, 1 half-open, 2 open.",
    labels: &["agent_id"],
    fixed: None,
    bounds: &[],
};

pub(super) static LABEL_OVERFLOW: FamilySpec = FamilySpec {
    name: "driftline_metrics_label_overflow_total",
    kind: Kind::Counter,
    help: "Rows counted under __other__ because their family is at its limit of label sets.",
    labels: &["family"],
    fixed: None,
    bounds: &[],
};

pub(super) static SKIPPED_VALUES: FamilySpec = FamilySpec {
    name: "driftline_metrics_skipped_values_total",
    kind: Kind::Counter,
    help: "Values left out of their family because they are negative or not finite.",
    labels: &["family"],
    fixed: None,
    bounds: &[],
};

/// The gauge of the tenants' quotas, which are settings: nothing is counted for it.
pub const TOKEN_QUOTA: &str = "llm_token_daily_quota";

/// Every family this module fills, for documentation and checks.
pub static FAMILIES: [&FamilySpec; 14] = [
    &REQUEST_DURATION,
    &TTFT,
    &TOKENS,
    &COST,
    &HALLUCINATION,
    &GUARDRAIL_DECISIONS,
    &ERRORS,
    &ACTIVE_SESSIONS,
    &REQUESTS,
    &CONTEXT_OVERFLOW,
    &TOOL_LATENCY,
    &CIRCUIT_BREAKER,
    &LABEL_OVERFLOW,
    &SKIPPED_VALUES,
];
