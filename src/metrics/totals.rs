//! The saved form of the totals: versioned, exact, the same text for the same state.
//!
//! As JSON:
//!
//! ```text
//! {"version":1,"families":[
//!   {"name":"llm_tokens_total","labels":["agent_id","model","tenant_id"],"bounds":[],
//!    "overflow_rows":0,"skipped_values":0,
//!    "series":[{"labels":["a","m","t"],"value":{"counter":{"input":"1200","output":"80"}}}]},
//!   {"name":"llm_ttft_seconds","labels":["agent_id","model"],"bounds":["0.05",…],
//!    "overflow_rows":0,"skipped_values":0,
//!    "series":[{"labels":["a","m"],"value":{"histogram":{"buckets":[0,1,…],"sum":"0.07"}}}]}]}
//! ```
//!
//! `labels` are the free ones, series are sorted by them, buckets are not cumulative. Floats are
//! text, because JSON readers may be off by the last bit. Sessions are not in it: they are seeded;
//! of theirs only the agents that have a series are, with `"value":"gauge"`. A circuit breaker's state is
//! saved with the time of its record, `"value":{"latest":{"state":2,"at_us":1800000000000000}}`.
//!
//! A family that is not in a saved form starts at zero, so totals of an earlier release fit.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::families::FamilySpec;

/// The version written; others are refused.
pub(super) const VERSION: u32 = 1;

/// All cumulative totals at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    pub(super) version: u32,
    pub(super) families: Vec<FamilyTotals>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct FamilyTotals {
    pub(super) name: String,
    pub(super) labels: Vec<String>,
    pub(super) bounds: Vec<Exact>,
    pub(super) overflow_rows: u64,
    pub(super) skipped_values: u64,
    pub(super) series: Vec<SeriesTotals>,
}

impl FamilyTotals {
    /// Refuses totals whose series would mean something else today.
    pub(super) fn check_shape(&self, spec: &FamilySpec) -> Result<(), String> {
        if !self.labels.iter().map(String::as_str).eq(spec.free_labels()) {
            return Err(format!("{}: labels were {:?}", spec.name, self.labels));
        }
        if !self.bounds.iter().map(|bound| bound.0).eq(spec.bounds.iter().copied()) {
            return Err(format!("{}: bounds were {:?}", spec.name, self.bounds));
        }
        let misfit = self.series.iter().find(|series| series.labels.len() != self.labels.len());
        match misfit {
            Some(series) => Err(format!("{}: label count of {:?}", spec.name, series.labels)),
            None => Ok(()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SeriesTotals {
    pub(super) labels: Vec<String>,
    pub(super) value: CellTotals,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CellTotals {
    /// By value of the fixed label; under `""` where there is none.
    Counter(BTreeMap<String, Exact>),
    /// The label set alone: a gauge's value is not cumulative, but its limit is.
    Gauge,
    Histogram {
        buckets: Vec<u64>,
        sum: Exact,
    },
    /// The newest record's state, and its time.
    Latest {
        state: u8,
        at_us: i64,
    },
}

/// A float that survives being saved bit for bit, as its shortest decimal text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Exact(pub(super) f64);

impl Exact {
    /// The number, if a cell could have held it.
    pub(super) fn storable(self) -> Result<f64, String> {
        if self.0.is_finite() && self.0 >= 0.0 { Ok(self.0) } else { Err(format!("{} cannot be a total", self.0)) }
    }
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Exact).map_err(de::Error::custom)
    }
}
