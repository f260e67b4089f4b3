//! What an experiment is judged by: each metric's name, unit, and which side of it is better. Named like the KPIs
//! that ask the same of all calls. Never computes one.

use serde::Serialize;
use utoipa::ToSchema;

/// Which side of a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ExperimentBetter)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Less is better.
    Lower,
    /// More is better.
    Higher,
    /// Neither: it should stay where it is.
    Neither,
}

/// How a metric is made of its units' figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// Sum over sum.
    Ratio,
    /// The share of observations that are a yes.
    Share,
    /// The quantile of this level, of all values.
    Quantile(f64),
}

/// A metric of an experiment.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The name, that of the KPI where there is one; also its column of moments.
    pub name: &'static str,
    /// Unit of values, differences and bounds: `ms`, `USD` or `ratio`.
    pub unit: &'static str,
    /// Which side is better.
    pub better: Better,
    /// What its samples are.
    pub samples: &'static str,
    pub(super) form: Form,
    /// Whether the cost of every call counts, so that those of which none is known are missed.
    pub(super) is_of_all_costs: bool,
}

/// Whose samples are the calls whose cost is known.
pub(super) const COST_PER_CALL: &str = "cost_per_call";

/// The level of `latency_p95`.
pub const LATENCY_LEVEL: f64 = 0.95;

/// Every metric, in the order in which they are told.
pub static METRICS: [Metric; 11] = {
    use Better::{Higher, Lower, Neither};
    use Form::{Quantile, Ratio, Share};
    let metric = Metric { name: "", unit: "ratio", better: Higher, samples: "", form: Ratio, is_of_all_costs: false };
    [
        Metric {
            name: "latency_p95",
            unit: "ms",
            better: Lower,
            samples: "calls that report latency_ms",
            form: Quantile(LATENCY_LEVEL),
            ..metric
        },
        Metric { name: "groundedness", samples: "calls that report groundedness", ..metric },
        Metric { name: "relevance", samples: "calls that report relevance", ..metric },
        Metric {
            name: "hallucination_rate",
            better: Lower,
            samples: "calls that report hallucination_probability",
            ..metric
        },
        Metric { name: "user_satisfaction", samples: "calls that report user_satisfaction", ..metric },
        Metric { name: "task_completion", samples: "calls that say whether the task was done", form: Share, ..metric },
        Metric {
            name: "escalation_rate",
            better: Lower,
            samples: "calls that say whether the task went to a person",
            form: Share,
            ..metric
        },
        Metric {
            name: "guardrail_block_rate",
            better: Neither,
            samples: "calls with a guardrail decision",
            form: Share,
            ..metric
        },
        Metric { name: "error_rate", better: Lower, samples: "all calls", form: Share, ..metric },
        Metric { name: COST_PER_CALL, unit: "USD", better: Lower, samples: "calls whose cost is known", ..metric },
        Metric {
            name: "cost_per_resolved_task",
            unit: "USD",
            better: Lower,
            samples: "tasks that were done",
            is_of_all_costs: true,
            ..metric
        },
    ]
};
