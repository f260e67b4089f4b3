//! The columns that are watched, and what they say of a model's behaviour. Their SQL is in `sql/reports/drift_*.sql`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::series::Kind;
use crate::sketch::Buckets;

/// What makes slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[schema(as = DriftBy)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// All calls are one slice.
    All,
    /// Each agent's.
    AgentId,
    /// Each model's.
    Model,
    /// Each tenant's.
    TenantId,
}

impl By {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::All, Self::AgentId, Self::Model, Self::TenantId];

    /// The name of the column, or `all`.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::AgentId => "agent_id",
            Self::Model => "model",
            Self::TenantId => "tenant_id",
        }
    }

    /// That of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.name() == name)
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Holds {
    /// Numbers, counted in buckets.
    Numbers {
        /// The buckets.
        buckets: Buckets,
        /// What a boundary is multiplied with to be in the column's unit.
        scale: f64,
    },
    /// Categories.
    Categories,
}

/// What a change of a column means for whoever looks for its cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What was asked, and of whom: the mix of the traffic.
    Mix,
    /// How much was asked at once. Longer questions have longer and slower answers, of any model.
    Asked,
    /// What somebody declared to have changed.
    Declared,
    /// How the model answers, by kind of behaviour: columns of one kind move together.
    Behaviour(&'static str),
    /// Calls that failed or were stopped: their length, pace and ending are not the model's.
    CutShort,
    /// What follows from several of these.
    Result,
}

/// A column that is watched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Column {
    /// Its name in the answer and in `agent_logs`; `tool` is that of the tools called.
    pub name: &'static str,
    /// The unit of numbers, empty for categories.
    pub unit: &'static str,
    /// What it holds.
    pub holds: Holds,
    /// What a change of it means.
    pub role: Role,
    /// Distances below this are no change that matters, however sure.
    pub effect_min: f64,
}

impl Column {
    /// What its bins are to each other.
    pub fn kind(&self) -> Kind {
        match self.holds {
            Holds::Numbers { .. } => Kind::Ordered,
            Holds::Categories => Kind::Unordered,
        }
    }

    /// The column of a name.
    pub fn named(name: &str) -> Option<&'static Self> {
        COLUMNS.iter().find(|column| column.name == name)
    }

    /// Whether values of one bin may differ from each other by anything that matters. A bucket of tokens that holds a
    /// single whole number hides nothing, nor does the lowest, below which there is nothing to tell apart.
    pub fn hides(&self, bin: usize) -> bool {
        let Holds::Numbers { buckets, .. } = self.holds else { return false };
        let bounds = buckets.bounds();
        match (bin.checked_sub(1).map(|below| bounds[below]), bounds.get(bin)) {
            (None, _) => false,
            (Some(lower), Some(upper)) if self.unit == "tokens" => upper.floor() - lower.floor() > 1.0,
            _ => true,
        }
    }

    /// Whether a change within a bucket may matter: the logarithmic ones are a quarter wide, those of scores a fiftieth.
    pub fn is_coarse(&self) -> bool {
        matches!(self.holds, Holds::Numbers { buckets: Buckets::Logarithmic, .. })
    }

    /// Whether it says anything of slices that are made by it.
    pub fn tells_of(&self, by: By) -> bool {
        self.name != by.name()
    }
}

/// A tenth of the values lies elsewhere than before.
const NUMBERS_MIN: f64 = 0.1;
/// Cohen's "small" effect.
const CATEGORIES_MIN: f64 = 0.1;

const fn numbers(name: &'static str, unit: &'static str, buckets: Buckets, role: Role) -> Column {
    Column { name, unit, holds: Holds::Numbers { buckets, scale: 1.0 }, role, effect_min: NUMBERS_MIN }
}

const fn categories(name: &'static str, role: Role) -> Column {
    Column { name, unit: "", holds: Holds::Categories, role, effect_min: CATEGORIES_MIN }
}

/// All that are watched.
pub const COLUMNS: [Column; 21] = [
    numbers("prompt_tokens", "tokens", Buckets::Logarithmic, Role::Asked),
    numbers("completion_tokens", "tokens", Buckets::Logarithmic, Role::Behaviour("length")),
    Column {
        // Of micro-USD, so that a call's cost is within the buckets.
        holds: Holds::Numbers { buckets: Buckets::Logarithmic, scale: 1e-6 },
        ..numbers("cost", "USD", Buckets::Logarithmic, Role::Result)
    },
    numbers("latency_ms", "ms", Buckets::Logarithmic, Role::Behaviour("pace")),
    numbers("ttft_ms", "ms", Buckets::Logarithmic, Role::Behaviour("pace")),
    numbers("hallucination_probability", "ratio", Buckets::Score, Role::Behaviour("quality")),
    numbers("groundedness", "ratio", Buckets::Score, Role::Behaviour("quality")),
    numbers("relevance", "ratio", Buckets::Score, Role::Behaviour("quality")),
    numbers("user_satisfaction", "ratio", Buckets::Score, Role::Result),
    categories("task_completed", Role::Result),
    categories("escalated", Role::Result),
    categories("finish_reason", Role::Behaviour("ending")),
    categories("tool", Role::Behaviour("tools")),
    categories("guardrail_status", Role::CutShort),
    categories("error_type", Role::CutShort),
    categories("model_version", Role::Declared),
    categories("prompt_version", Role::Declared),
    categories("model", Role::Mix),
    categories("agent_id", Role::Mix),
    categories("tenant_id", Role::Mix),
    categories("task_type", Role::Mix),
];
