//! What a run says, as data.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::column::By;

/// What is said of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(as = DriftState)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It changed, surely enough and by enough to matter.
    Drifting,
    /// No change that is both sure and large, where a large one would have been sure.
    Stable,
    /// Too little is known to tell, or to call it stable.
    Insufficient,
}

impl Verdict {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drifting => "drifting",
            Self::Stable => "stable",
            Self::Insufficient => "insufficient",
        }
    }
}

/// All verdicts of a moment, and everything needed to judge them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = DriftMonitor)]
pub struct Answer {
    /// Start of the history, RFC 3339 as all times here.
    pub from: String,
    /// Start of the windows that are judged.
    pub judged_from: String,
    /// Their end.
    pub to: String,
    /// Length of a window, hours.
    pub window_hours: u32,
    /// Earlier windows of the same hours of the week that each judged one is compared with.
    pub references: usize,
    /// So many of the judged windows have to have changed.
    pub persistent: [usize; 2],
    /// The largest share of false verdicts among those that say `drifting`.
    pub false_discovery_rate: f64,
    /// Windows with fewer values say nothing.
    pub values_min: u64,
    /// Columns whose `detectable` is larger are not called stable.
    pub detectable_max: f64,
    /// Nor are those of logarithmic buckets whose `effect_max` is larger.
    pub hidden_max: f64,
    /// The probability with which a change of `detectable` is found.
    pub power: f64,
    /// How many verdicts say what.
    pub totals: Totals,
    /// Models that answer differently under the same name.
    pub silent_changes: Vec<SilentChange>,
    /// The drifting ones first, by their effect.
    pub verdicts: Vec<VerdictLine>,
    /// What was not looked at, and why.
    pub left_out: Vec<LeftOut>,
}

impl Answer {
    /// Whether anything drifts.
    pub fn is_drifting(&self) -> bool {
        self.totals.drifting > 0 || self.silent_changes.iter().any(|silent| silent.verdict == Verdict::Drifting)
    }
}

/// How many verdicts say what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = DriftTotals)]
pub struct Totals {
    /// Those that were tested, and so corrected for; what a test could not have shown is `insufficient` all the same.
    pub tests: usize,
    /// `drifting`.
    pub drifting: usize,
    /// `stable`.
    pub stable: usize,
    /// `insufficient`.
    pub insufficient: usize,
}

/// The verdict on one column of one slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = DriftLine)]
pub struct VerdictLine {
    /// The column.
    pub column: String,
    /// The unit of its numbers; empty for categories.
    pub unit: String,
    /// What makes the slice.
    pub by: By,
    /// The agent, model or tenant; null for all calls.
    pub slice: Option<String>,
    /// What is said.
    pub verdict: Verdict,
    /// Why it is `insufficient`.
    pub reason: Option<String>,
    /// The change that the windows which changed most surely have at least: a Kolmogorov-Smirnov distance or a
    /// Cramér's V, 0 to 1.
    pub effect: Option<f64>,
    /// A change of two windows is at most this: what buckets do not tell apart included. Null of categories.
    pub effect_max: Option<f64>,
    /// The least change that this run would have found in four cases of five, if two windows had it; null where not
    /// even a change of all values would have been sure.
    pub detectable: Option<f64>,
    /// Effects below this are no drift.
    pub effect_min: f64,
    /// Probability of what was found if fewer than two of the windows changed.
    pub p: Option<f64>,
    /// Corrected for all tests of the run.
    pub q: Option<f64>,
    /// Values of the references of the newest window that changed, of one that is stable of the newest with values.
    pub n_reference: u64,
    /// Values of that window.
    pub n_current: u64,
    /// Each judged window, the newest last.
    pub windows: Vec<WindowLine>,
    /// Of drifting numbers, how they lay in the references.
    pub before: Option<Spread>,
    /// How they lie in the windows that changed.
    pub after: Option<Spread>,
    /// Of what drifts, the part of the distribution that moved most.
    pub moved: Option<Moved>,
    /// Of a slice's column, the agent, model or tenant in it that moved most; of all calls', the slice that moved most by its
    /// own verdict.
    pub segment: Option<Segment>,
    /// Start of the hour in which it began.
    pub began_at: Option<String>,
    /// What else of the slice began to change at about that time: model, its version, the prompt's, the traffic's mix,
    /// the length of prompts.
    pub changed_then: Vec<Change>,
}

/// A judged window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = DriftWindow)]
pub struct WindowLine {
    /// Start.
    pub from: String,
    /// Values of its references together.
    pub n_reference: u64,
    /// Values of its own.
    pub n_current: u64,
    /// Distance of the two.
    pub effect: Option<f64>,
    /// What it is at most, by the buckets' width; null of categories.
    pub effect_max: Option<f64>,
    /// Probability of such a distance if nothing changed.
    pub p: Option<f64>,
}

/// How numbers lie, within the width of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = DriftSpread)]
pub struct Spread {
    /// 5 % are below.
    pub p05: f64,
    /// The median.
    pub p50: f64,
    /// 5 % are above.
    pub p95: f64,
}

/// The part of a distribution that moved most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = DriftMoved)]
pub struct Moved {
    /// A category, or the numbers on one side of a boundary, as `> 250`.
    pub part: String,
    /// Its share in the references, 0 to 1.
    pub before: f64,
    /// Its share in the windows that changed.
    pub after: f64,
}

/// A slice that moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = DriftSegment)]
pub struct Segment {
    /// What makes the slice.
    pub by: By,
    /// The slice.
    pub slice: String,
    /// How much it moved.
    pub effect: f64,
}

/// What else changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = DriftChange)]
pub struct Change {
    /// `model_version`, `prompt_version`, `prompt_tokens`, or a column of the mix.
    pub column: String,
    /// The category that lost most, or the side of a boundary, as `<= 250`.
    pub lost: String,
    /// The one that gained most.
    pub gained: String,
    /// When that began.
    pub began_at: String,
}

/// A model, or an agent's model, that answers differently although nobody declared a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = DriftSilentChange)]
pub struct SilentChange {
    /// `model` or `agent_id`.
    pub by: By,
    /// The model or the agent.
    pub slice: String,
    /// `drifting`; `stable` where something else of the slice explains it.
    pub verdict: Verdict,
    /// Probability of it if fewer than two kinds of behaviour changed.
    pub p: f64,
    /// Corrected for all slices.
    pub q: f64,
    /// The columns of the behaviour that changed, the surest first.
    pub columns: Vec<String>,
    /// When the first of them began to.
    pub began_at: Option<String>,
    /// Columns that drift as well and explain it.
    pub explained_by: Vec<String>,
}

/// What was not looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = DriftLeftOut)]
pub struct LeftOut {
    /// What makes the slices.
    pub by: By,
    /// Why.
    pub reason: String,
}
