//! Where a deviation comes from: the parts of a slice, by how much of it each brings. Arithmetic only.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::series::Kind;

/// What brings less than this share of a deviation is not worth a line.
const SHARE_MIN: f64 = 0.1;

/// A part of a slice in the hour in question, and at that hour of the days before.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// `agent`, `tenant` or `model`.
    pub dimension: &'static str,
    /// Which one; none for calls that name none.
    pub key: Option<String>,
    /// Its figure in the hour, and what that is made of, counted.
    pub now: (f64, u64),
    /// Its mean figure at that hour of the days before, and the samples of all those hours; none where it was not there.
    pub before: Option<(f64, u64)>,
}

/// How much of a deviation a part brings.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = AnomalyContribution)]
pub struct Contribution {
    /// `agent`, `tenant` or `model`.
    pub dimension: &'static str,
    /// Which one; null for calls that name none.
    pub key: Option<String>,
    /// Share of the deviation in its direction, 0 to 1, among the parts of its dimension.
    pub share: f64,
    /// Its figure in the hour.
    pub value: f64,
    /// Its mean figure at that hour of the seven days before; null where it was not there.
    pub usual: Option<f64>,
    /// What its figure is made of, counted.
    pub samples: u64,
}

/// The parts that bring most of a deviation from `expected` to `value`, the most telling first, at most `most`: those
/// whose share of it exceeds their usual share of the samples by most. Where a dimension has one part alone it says
/// nothing and is left out.
pub fn contributions(kind: Kind, (value, expected): (f64, f64), parts: &[Part], most: usize) -> Vec<Contribution> {
    let direction = if value >= expected { 1.0 } else { -1.0 };
    // What a part brings: of sums its own change, of means that of each of its calls.
    let brings = |part: &Part| {
        let (usual, weight) = match kind {
            Kind::Sum => (part.before.map_or(0.0, |(usual, _)| usual), 1.0),
            Kind::Mean => (part.before.map_or(expected, |(usual, _)| usual), part.now.1 as f64),
        };
        (direction * weight * (part.now.0 - usual)).max(0.0)
    };
    let mut dimensions: BTreeMap<&str, Total> = BTreeMap::new();
    for part in parts {
        let total = dimensions.entry(part.dimension).or_default();
        total.parts += 1;
        total.brought += brings(part);
        total.samples += part.samples_before();
    }
    let mut found = Vec::new();
    for part in parts {
        let total = &dimensions[part.dimension];
        let brought = brings(part);
        if total.parts < 2 || brought <= 0.0 || brought < SHARE_MIN * total.brought {
            continue;
        }
        let share = brought / total.brought;
        // A part that is large anyway brings much of everything.
        let telling = share - part.samples_before() as f64 / (total.samples as f64).max(1.0);
        let contribution = Contribution {
            dimension: part.dimension,
            key: part.key.clone(),
            share,
            value: part.now.0,
            usual: part.before.map(|(usual, _)| usual),
            samples: part.now.1,
        };
        found.push((telling, contribution));
    }
    found.sort_by(|(a, one), (b, other)| b.total_cmp(a).then_with(|| one.key.cmp(&other.key)));
    found.into_iter().take(most).map(|(_, contribution)| contribution).collect()
}

impl Part {
    fn samples_before(&self) -> u64 {
        self.before.map_or(0, |(_, samples)| samples)
    }
}

/// What the parts of a dimension bring together, and of how many samples they were before.
#[derive(Default)]
struct Total {
    parts: usize,
    brought: f64,
    samples: u64,
}
