//! Alerts outside of KPIs, and which fields they are made of.

use super::field::{OBJECTIVE, TOKEN_DAILY_QUOTA};

/// Fields: all of them, each one of several.
pub type Needs = &'static [&'static [&'static str]];

/// An alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surface {
    /// Its name.
    pub name: &'static str,
    /// Fields, as in a KPI's `needs`.
    pub needs: Needs,
}

/// The alerts on agents and tenants in `dashboards/prometheus/rules.yml`; a test holds that there are no others.
pub const SURFACES: &[Surface] = &[
    Surface { name: "LlmCostSpike", needs: &[&["cost"]] },
    Surface { name: "LlmLatencyHigh", needs: &[&["latency_ms"]] },
    Surface { name: "LlmErrorRateHigh", needs: &[&["error", "error_type", "http_status"]] },
    Surface { name: "LlmHallucinationHigh", needs: &[&["hallucination_probability"]] },
    Surface { name: "LlmGuardrailBlocksHigh", needs: &[&["guardrail_status"]] },
    Surface { name: "LlmTokenQuotaNear", needs: QUOTA },
    Surface { name: "LlmTokenQuotaExceeded", needs: QUOTA },
    Surface { name: "LlmCircuitBreakerOpen", needs: &[&["circuit_breaker_state"]] },
    Surface { name: "LlmContextOverflowHigh", needs: &[&["error_type", "finish_reason"]] },
    Surface { name: "LlmDrift", needs: &[&["agent_id", "tenant_id", "model"], MONITORED] },
    Surface {
        name: "LlmModelChangedSilently",
        needs: &[&["model", "agent_id"], &["completion_tokens"], &["latency_ms", "ttft_ms"]],
    },
    // The number of calls is watched as well, which wants no field.
    Surface { name: "LlmAnomaly", needs: &[&["agent_id", "tenant_id", "model"]] },
    Surface { name: "LlmAnomalousSessions", needs: &[&["agent_id"], &["session_id", "latency_ms", "cost"]] },
    Surface { name: "LlmErrorBudgetBurnFast", needs: &[&[OBJECTIVE], OBJECTIVES] },
    Surface { name: "LlmErrorBudgetBurnSlow", needs: &[&[OBJECTIVE], OBJECTIVES] },
    Surface { name: "LlmErrorBudgetBurnLasting", needs: &[&[OBJECTIVE], OBJECTIVES] },
];

/// What quotas of tokens stand on.
const QUOTA: Needs = &[&["tenant_id"], &["prompt_tokens", "completion_tokens"], &[TOKEN_DAILY_QUOTA]];

/// Fields of which an objective stands on one or another, as the settings say.
pub(super) const OBJECTIVES: &[&str] = &[
    "latency_ms",
    "error",
    "error_type",
    "http_status",
    "groundedness",
    "user_satisfaction",
    "hallucination_probability",
    "cost",
];

/// Columns whose drift is looked for, of those that tell how an agent works.
pub(super) const MONITORED: &[&str] = &[
    "prompt_tokens",
    "completion_tokens",
    "cost",
    "latency_ms",
    "ttft_ms",
    "hallucination_probability",
    "groundedness",
    "finish_reason",
    "error_type",
    "guardrail_status",
];
