//! The panels of the dashboards in `dashboards/grafana/`, and which fields they are made of. A test holds that there are
//! no others, and that those that show a KPI need what it needs.

use super::{
    field::{OBJECTIVE, TOKEN_DAILY_QUOTA},
    surface::{MONITORED, Needs, OBJECTIVES},
};

/// Panels that are made of the same fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panels {
    /// Fields, as in a KPI's `needs`.
    pub needs: Needs,
    /// Dashboard and title of each; those that read Prometheus and those that read Driftline alike.
    pub names: &'static [&'static str],
}

/// By which a call is known to have failed.
const ERRORS: &[&str] = &["error", "error_type", "http_status"];
/// By which it is known how.
const KINDS_OF_ERRORS: &[&str] = &["error_type", "http_status"];
const TOKENS: &[&str] = &["prompt_tokens", "completion_tokens"];

/// All panels.
pub const PANELS: &[Panels] = &[
    Panels {
        needs: &[],
        names: &[
            "Overview: Calls",
            "Token Economy: Calls without a known cost",
            "Agent Health: Records that arrive at Driftline",
            "Agent Health: Records that wait for their commit",
            "Agent Health: Driftline's own trouble",
            "Business KPI: Score card of the month in which the range ends",
            "Drift: Drift and anomalies that the hourly jobs found",
            "Drift: Anomalies: score of what is odd",
        ],
    },
    Panels {
        needs: &[&["agent_id"], &["session_id", "latency_ms", "cost"]],
        names: &["Drift: Anomalies: sessions and calls that are odd by themselves"],
    },
    Panels {
        needs: &[&["cost"]],
        names: &[
            "Overview: Cost",
            "Token Economy: Cost",
            "Token Economy: Cost of a call",
            "Business KPI: Cost per call",
            "Business KPI: Cost of 24 hours",
            "Business KPI: Cost of a call",
            "Business KPI: 24 hours against the 24 before",
        ],
    },
    Panels { needs: &[&["total_tokens", "prompt_tokens", "completion_tokens"]], names: &["Overview: Tokens"] },
    Panels {
        needs: &[ERRORS],
        names: &[
            "Overview: Error rate, last hour",
            "Overview: Errors by type",
            "Agent Health: Error rate",
            "Agent Health: Errors by type",
            "Business KPI: Error rate",
        ],
    },
    Panels {
        needs: &[&["latency_ms"]],
        names: &["Overview: Latency p95, last hour", "Agent Health: Latency", "Agent Health: Slow calls"],
    },
    Panels {
        needs: &[&["hallucination_probability"]],
        names: &[
            "Overview: Hallucination rate, last hour",
            "Quality: Hallucination rate",
            "Quality: Answers that are most likely made up",
            "Quality: Hallucination score",
            "Business KPI: Hallucination rate",
        ],
    },
    Panels { needs: &[&["agent_id"]], names: &["Overview: Calls by agent", "Overview: Calls a second by agent"] },
    Panels {
        needs: &[&["agent_id"], &["cost"]],
        names: &[
            "Overview: Cost by agent",
            "Overview: Cost an hour by agent",
            "Token Economy: Cost of a call by agent",
            "Token Economy: Day against the mean of the 7 before",
            "Business KPI: Cost of a day by agent",
            "Drift: Cost (cost)",
        ],
    },
    Panels {
        needs: &[&["agent_id"], ERRORS],
        names: &["Overview: Error rate by agent", "Drift: Errors against a week before"],
    },
    Panels {
        needs: &[&["agent_id"], &["latency_ms"]],
        names: &[
            "Overview: Latency p95 by agent",
            "Agent Health: Latency p95 by agent",
            "Drift: Latency p50 by agent",
            "Drift: Latency (latency_ms)",
            "Drift: Latency p50 against a week before",
            "Drift: Latency p95 against a week before",
        ],
    },
    Panels { needs: &[&["session_id", "user_id"]], names: &["Overview: Conversations and people"] },
    Panels {
        needs: &[&["tenant_id"], &["cost"]],
        names: &[
            "Overview: Cost by tenant",
            "Overview: Cost an hour by tenant",
            "Token Economy: Cost by tenant",
            "Token Economy: Cost an hour by tenant",
            "Business KPI: Cost by tenant",
            "Business KPI: Cost of a day by tenant",
        ],
    },
    Panels {
        needs: &[&["session_id"], &["cost"]],
        names: &[
            "Overview: Conversations that cost the most",
            "Token Economy: Conversations that cost the most",
            "Business KPI: Cost per session",
        ],
    },
    Panels {
        needs: &[&["session_id"]],
        names: &[
            "Overview: Active sessions",
            "Business KPI: Turns per session",
            "Business KPI: Conversations",
            "Business KPI: Active sessions",
        ],
    },
    Panels { needs: &[&["agent_id"], &["session_id"]], names: &["Overview: Active sessions by agent"] },
    Panels { needs: &[&["model"], &["tenant_id"], &["cost"]], names: &["Overview: Cost by tenant and model"] },
    Panels { needs: &[&["prompt_tokens"]], names: &["Token Economy: Tokens read"] },
    Panels { needs: &[&["completion_tokens"]], names: &["Token Economy: Tokens written"] },
    Panels {
        needs: &[&["prompt_tokens", "completion_tokens", "cache_read_tokens", "reasoning_tokens"]],
        names: &["Token Economy: Tokens by kind"],
    },
    Panels { needs: &[&["model"], &["total_tokens"]], names: &["Token Economy: Tokens by model"] },
    Panels {
        needs: &[&["agent_id"], &["prompt_tokens"]],
        names: &["Token Economy: Tokens read by a call", "Drift: Tokens read (prompt_tokens)"],
    },
    Panels {
        needs: &[&["agent_id"], &["completion_tokens"]],
        names: &[
            "Token Economy: Tokens written by a call",
            "Drift: Tokens written by a call",
            "Drift: Tokens written (completion_tokens)",
            "Drift: Tokens written by a call against a week before",
        ],
    },
    Panels {
        needs: &[&["model"], &["cost"]],
        names: &["Token Economy: Cost by model", "Token Economy: Cost an hour by model"],
    },
    Panels {
        needs: &[&["model"], &["cost"], &["cost_computed_usd"]],
        names: &["Token Economy: Reported cost against the price list"],
    },
    Panels {
        needs: &[&["agent_id"], &["prompt_tokens"], &["completion_tokens"]],
        names: &["Token Economy: Written against read"],
    },
    Panels { needs: &[&["agent_id"], &["session_id"], &["cost"]], names: &["Token Economy: Cost of a conversation"] },
    Panels {
        needs: &[&["model"], TOKENS],
        names: &["Token Economy: Token use by model and day", "Token Economy: Tokens a second by model"],
    },
    Panels { needs: &[TOKENS], names: &["Token Economy: Tokens a second by kind"] },
    Panels {
        needs: &[&["tenant_id"], TOKENS, &[TOKEN_DAILY_QUOTA]],
        names: &["Token Economy: Tokens of 24 hours against the tenant's quota"],
    },
    Panels { needs: &[&["groundedness"]], names: &["Quality: Groundedness"] },
    Panels {
        needs: &[&["task_completed"]],
        names: &["Quality: Tasks done", "Business KPI: Task completion", "Business KPI: Tasks done"],
    },
    Panels {
        needs: &[&["escalated"]],
        names: &["Quality: Handed to a person", "Business KPI: Escalation rate", "Business KPI: Escalations"],
    },
    Panels { needs: &[&["user_satisfaction"]], names: &["Quality: Satisfaction", "Business KPI: User satisfaction"] },
    Panels {
        needs: &[&["guardrail_status"]],
        names: &["Quality: Guardrail blocks", "Quality: Decisions of the guardrails"],
    },
    Panels {
        needs: &[&["agent_id"], &["hallucination_probability"]],
        names: &[
            "Quality: Hallucination rate by agent",
            "Quality: Hallucination score by agent",
            "Quality: Hallucination score p90 by agent",
            "Drift: Hallucination probability (hallucination_probability)",
            "Drift: Hallucination score against a week before",
        ],
    },
    Panels {
        needs: &[&["agent_id"], &["groundedness"]],
        names: &["Quality: Groundedness by agent", "Drift: Groundedness (groundedness)"],
    },
    Panels {
        needs: &[&["agent_id"], &["task_completed"]],
        names: &["Quality: Tasks done by agent", "Business KPI: Tasks done by agent"],
    },
    Panels { needs: &[&["agent_id"], &["user_satisfaction"]], names: &["Quality: Satisfaction by agent"] },
    Panels { needs: &[&["agent_id"], &["relevance"]], names: &["Quality: Relevance by agent"] },
    Panels {
        needs: &[&["agent_id"], &["guardrail_status"]],
        names: &[
            "Quality: Guardrail blocks by agent",
            "Quality: Reasons of blocks",
            "Drift: Guardrail decisions (guardrail_status)",
            "Drift: Guardrail blocks against a week before",
        ],
    },
    Panels { needs: &[&["model"], &["hallucination_probability"]], names: &["Quality: Hallucination rate by model"] },
    Panels {
        needs: &[&["agent_id"], &["escalated"]],
        names: &["Quality: Handed to a person by agent", "Business KPI: Escalations by agent"],
    },
    Panels {
        needs: &[&[
            "hallucination_probability",
            "groundedness",
            "relevance",
            "user_satisfaction",
            "task_completed",
            "escalated",
        ]],
        names: &["Quality: Quality by agent and day"],
    },
    Panels {
        needs: &[KINDS_OF_ERRORS],
        names: &[
            "Agent Health: Availability",
            "Agent Health: Timeouts",
            "Agent Health: Outages",
            "Business KPI: Availability",
        ],
    },
    Panels { needs: &[&["retry_count"]], names: &["Agent Health: Retries"] },
    Panels { needs: &[&["ttft_ms"]], names: &["Agent Health: First token p95", "Agent Health: First token"] },
    Panels {
        needs: &[&["tool_status"]],
        names: &["Agent Health: Tool failures", "Agent Health: Tool failures by tool", "Agent Health: Tools that fail"],
    },
    Panels { needs: &[&["model"], &["latency_ms"]], names: &["Agent Health: Latency p95 by model"] },
    Panels { needs: &[&["error", "error_type", "http_status", "retry_count"]], names: &["Agent Health: Errors"] },
    Panels { needs: &[&["agent_id"], &["queue_wait_ms"]], names: &["Agent Health: Waiting in the queue p95"] },
    Panels { needs: &[&["tool_latency_ms"]], names: &["Agent Health: Tool latency p95 by tool"] },
    Panels {
        needs: &[&["agent_id"], &["circuit_breaker_state"]],
        names: &[
            "Agent Health: Calls that meet an open breaker",
            "Agent Health: Breakers: 0 closed, 1 half open, 2 open",
        ],
    },
    Panels {
        needs: &[&["agent_id"], &["error_type", "finish_reason"]],
        names: &["Agent Health: Contexts that overflow"],
    },
    Panels { needs: &[&["circuit_breaker_state"]], names: &["Agent Health: Open breakers"] },
    Panels { needs: &[&["agent_id"], KINDS_OF_ERRORS], names: &["Agent Health: Timeouts by agent"] },
    Panels { needs: &[&["agent_id"], &["tool_status"]], names: &["Agent Health: Tool failures by agent"] },
    Panels { needs: &[&["cost"], &["task_completed"]], names: &["Business KPI: Cost per resolved task"] },
    Panels { needs: &[&["cost"], &["task_completed"], &["task_value_usd"]], names: &["Business KPI: Return on cost"] },
    Panels { needs: &[KINDS_OF_ERRORS, &["agent_id"]], names: &["Business KPI: Time to recover"] },
    Panels { needs: &[&["user_id"]], names: &["Business KPI: Active people"] },
    Panels {
        needs: &[&["agent_id"], &["cost"], &["task_completed"]],
        names: &["Business KPI: Cost of a task that was done"],
    },
    Panels {
        needs: &[&["agent_id"], &["cost"], &["task_completed"], &["task_value_usd"]],
        names: &["Business KPI: Return on cost by agent"],
    },
    Panels { needs: &[&["tenant_id"]], names: &["Business KPI: Calls of a day by tenant"] },
    Panels {
        needs: &[&[OBJECTIVE], OBJECTIVES],
        names: &["Business KPI: Error budgets: what is left", "Business KPI: Burn rate of the past hour"],
    },
    Panels { needs: &[&["agent_id"], &["ttft_ms"]], names: &["Drift: First token (ttft_ms)"] },
    Panels { needs: &[&["agent_id"], &["finish_reason"]], names: &["Drift: Why models stop (finish_reason)"] },
    Panels { needs: &[&["agent_id"], &["error_type"]], names: &["Drift: Kinds of errors (error_type)"] },
    Panels { needs: &[MONITORED], names: &["Drift: Verdicts of drift: effect of what drifts"] },
];
