//! The alerts of `dashboards/prometheus/rules.yml` that can be replayed from stored calls, and by what. The file itself
//! is never read: its expressions are PromQL over series that are not stored.

/// An alert, and what replays it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alert {
    /// Its name in the file.
    pub name: &'static str,
    /// What says the same.
    pub replays: Replays,
    /// Where that differs from the rule beyond what docs/backtest.md says of all of them.
    pub differs: Option<&'static str>,
}

/// What replays an alert.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Replays {
    /// A KPI of each agent above a threshold.
    Kpi {
        /// The KPI.
        kpi: &'static str,
        /// Over this time, as [`super::duration_us`] reads it.
        window: &'static str,
        /// In the KPI's unit.
        above: f64,
        /// Windows with fewer samples say nothing.
        samples_min: u64,
        /// How long the value is above it before the alert fires.
        hold: &'static str,
    },
    /// A tenant's tokens of 24 hours above a part of its quota, judged at every whole hour.
    Quota {
        /// The part.
        above: f64,
    },
    /// Any column of an agent that drifts.
    Drift,
    /// A model, or an agent's model, that was exchanged silently.
    SilentChange,
    /// An hour of any watched KPI of an agent whose score is so high.
    Anomalies {
        /// Scores from this on.
        score_min: f64,
    },
    /// An hour with sessions or calls of an agent that are odd by themselves.
    Events {
        /// The queries that find them, with commas.
        kinds: &'static str,
        /// Calls that are stuck count from so many of an agent in an hour on.
        stuck_calls_min: u64,
    },
    /// A pair of windows of any objective in which the allowance is used too fast.
    Objectives {
        /// The long one's name.
        long: &'static str,
    },
}

const fn kpi(name: &'static str, replays: Replays) -> Alert {
    Alert { name, replays, differs: None }
}

const fn burn(name: &'static str, long: &'static str) -> Alert {
    Alert { name, replays: Replays::Objectives { long }, differs: None }
}

const fn quota(name: &'static str, above: f64) -> Alert {
    Alert { name, replays: Replays::Quota { above }, differs: Some("judged at every whole hour") }
}

/// All that can be.
pub const ALERTS: [Alert; 16] = [
    Alert {
        name: "LlmCostSpike",
        replays: Replays::Kpi { kpi: "cost_baseline_ratio", window: "1d", above: 1.5, samples_min: 3, hold: "0s" },
        differs: Some("whole days of UTC instead of the last 24 hours, and no least of 100 calls"),
    },
    kpi(
        "LlmLatencyHigh",
        Replays::Kpi { kpi: "latency_p95", window: "5m", above: 5_000.0, samples_min: 20, hold: "5m" },
    ),
    kpi(
        "LlmErrorRateHigh",
        Replays::Kpi { kpi: "error_rate", window: "10m", above: 0.05, samples_min: 20, hold: "10m" },
    ),
    kpi(
        "LlmHallucinationHigh",
        Replays::Kpi { kpi: "hallucination_p90", window: "30m", above: 0.1, samples_min: 20, hold: "5m" },
    ),
    kpi(
        "LlmGuardrailBlocksHigh",
        Replays::Kpi { kpi: "guardrail_block_rate", window: "15m", above: 0.2, samples_min: 20, hold: "1m" },
    ),
    kpi(
        "LlmContextOverflowHigh",
        Replays::Kpi { kpi: "context_overflow_rate", window: "15m", above: 0.05, samples_min: 20, hold: "5m" },
    ),
    quota("LlmTokenQuotaNear", 0.8),
    quota("LlmTokenQuotaExceeded", 1.0),
    Alert {
        name: "LlmCircuitBreakerOpen",
        replays: Replays::Kpi { kpi: "circuit_breaker_rate", window: "2m", above: 0.999, samples_min: 1, hold: "0s" },
        differs: Some("all calls of two minutes met an open breaker, and minutes without calls say nothing"),
    },
    Alert {
        name: "LlmDrift",
        replays: Replays::Drift,
        differs: Some("each column is an episode of its own, of agents alone"),
    },
    Alert { name: "LlmModelChangedSilently", replays: Replays::SilentChange, differs: None },
    Alert {
        name: "LlmAnomaly",
        replays: Replays::Anomalies { score_min: 0.7 },
        differs: Some("an episode is the odd hours of agents alone, and does not go on for six hours after them"),
    },
    Alert {
        name: "LlmAnomalousSessions",
        replays: Replays::Events {
            kinds: "runaway_sessions,tool_loops,retry_loops,mispriced_calls,stuck_calls",
            stuck_calls_min: 3,
        },
        differs: Some(
            "an episode is the hours with such sessions or calls, and does not go on for six hours after them",
        ),
    },
    burn("LlmErrorBudgetBurnFast", "1h"),
    burn("LlmErrorBudgetBurnSlow", "6h"),
    burn("LlmErrorBudgetBurnLasting", "3d"),
];

impl Alert {
    /// That of a name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALERTS.iter().find(|alert| alert.name == name)
    }
}
