//! The state of each agent's circuit breaker: what its newest record that names one says.
//!
//! Newest is by event time, the later to arrive among equals. A state is shown for as long as a record
//! of its age would be live: an agent that has gone quiet has no state rather than an old one. Agents
//! past the bound on label sets have none either: several of them would share one.

use super::families::CIRCUIT_BREAKER;
use super::model::{Family, Sample, Value};
use super::series::{OTHER_SLOT, Slots, named_labels};
use super::totals::{CellTotals, FamilyTotals, SeriesTotals};

/// The breakers of all agents.
#[derive(Debug)]
pub(super) struct Breakers {
    pub(super) agents: Slots,
    /// By slot; the overflow's stays empty.
    latest: Vec<Option<Latest>>,
    window_us: i64,
}

#[derive(Debug, Clone, Copy)]
struct Latest {
    state: u8,
    at_us: i64,
}

impl Breakers {
    pub(super) fn new(agents_max: usize, window_us: i64) -> Self {
        Self { agents: Slots::new(1, agents_max), latest: vec![None], window_us }
    }

    /// One row that names a state. `memo` is the agent's slot.
    pub(super) fn seen(&mut self, memo: &mut Option<u32>, agent_id: &str, state: u8, at_us: i64) {
        let slot = self.agents.of_row(memo, || [agent_id]);
        if slot == OTHER_SLOT {
            return;
        }
        self.latest.resize(self.agents.len(), None);
        let kept = &mut self.latest[slot];
        if kept.is_none_or(|kept| kept.at_us <= at_us) {
            *kept = Some(Latest { state, at_us });
        }
    }

    /// The state of every agent that has a recent one.
    pub(super) fn family(&self, now_us: i64) -> Family {
        let since_us = now_us.saturating_sub(self.window_us);
        let spec = &CIRCUIT_BREAKER;
        let mut family = Family::new(spec.name, spec.kind, spec.help);
        for (labels, latest) in self.agents.labels.iter().zip(&self.latest) {
            if let Some(Latest { state, .. }) = latest.filter(|latest| latest.at_us >= since_us) {
                let labels = named_labels(spec, labels, "");
                let value = Value::Number(f64::from(state));
                family.samples.push(Sample { labels, value, exemplars: Vec::new() });
            }
        }
        family
    }

    pub(super) fn totals(&self) -> FamilyTotals {
        let states = self.agents.labels.iter().zip(&self.latest);
        let mut series: Vec<SeriesTotals> = states
            .filter_map(|(labels, latest)| {
                let Latest { state, at_us } = (*latest)?;
                let labels = labels.iter().map(|label| label.to_string()).collect();
                Some(SeriesTotals { labels, value: CellTotals::Latest { state, at_us } })
            })
            .collect();
        series.sort_by(|left, right| left.labels.cmp(&right.labels));
        FamilyTotals {
            name: CIRCUIT_BREAKER.name.to_owned(),
            labels: CIRCUIT_BREAKER.free_labels().map(str::to_owned).collect(),
            bounds: Vec::new(),
            overflow_rows: self.agents.overflow_rows,
            skipped_values: 0,
            series,
        }
    }

    pub(super) fn restore(&mut self, totals: FamilyTotals) -> Result<(), String> {
        totals.check_shape(&CIRCUIT_BREAKER)?;
        self.agents.overflow_rows = totals.overflow_rows;
        for SeriesTotals { labels, value } in totals.series {
            let CellTotals::Latest { state: state @ 0..=2, at_us } = value else {
                return Err(format!("{} {labels:?}: not a state", CIRCUIT_BREAKER.name));
            };
            let slot = self.agents.insert(&labels);
            self.latest.resize(self.agents.len(), None);
            self.latest[slot] = Some(Latest { state, at_us });
        }
        Ok(())
    }
}
