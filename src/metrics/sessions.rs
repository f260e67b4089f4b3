//! Which sessions were seen when: exact up to a bound, then the oldest are forgotten.
//!
//! Only a hash of (agent, session) is kept, so memory does not depend on what clients send. Two of
//! a million live sessions share a 64-bit hash with a chance of one in 37 million. Sessions
//! are not saved: after a start the caller seeds them from the store.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::binary_heap::{BinaryHeap, PeekMut};

use super::families::ACTIVE_SESSIONS;
use super::hash::FastHash;
use super::model::{Family, Sample, Value};
use super::series::{OTHER_SLOT, Slots, clip_label, named_labels};
use super::totals::{CellTotals, FamilyTotals, SeriesTotals};

/// The sessions of all agents.
#[derive(Debug)]
pub(super) struct Sessions {
    pub(super) agents: Slots,
    by_key: HashMap<u64, Session, FastHash>,
    /// One entry per session with a time at or before its `last_seen_us`. A row does not touch it;
    /// an entry is brought up to date when it comes to the top.
    by_age: BinaryHeap<Reverse<(i64, u64)>>,
    hash: FastHash,
    window_us: i64,
    sessions_max: usize,
}

#[derive(Debug)]
struct Session {
    last_seen_us: i64,
    agent: u32,
}

impl Sessions {
    pub(super) fn new(agents_max: usize, sessions_max: usize, window_us: i64) -> Self {
        Self {
            agents: Slots::new(1, agents_max),
            by_key: HashMap::default(),
            by_age: BinaryHeap::new(),
            hash: FastHash::default(),
            window_us,
            sessions_max,
        }
    }

    /// One row of a session. `memo` is the agent's slot.
    pub(super) fn seen(&mut self, memo: &mut Option<u32>, agent_id: &str, session_id: &str, last_seen_us: i64) {
        let agent = self.agents.of_row(memo, || [agent_id]);
        let key = self.hash.strings([agent_id, session_id]);
        self.touch(agent, key, last_seen_us);
    }

    /// A session known from before, which is no row.
    pub(super) fn seed(&mut self, agent_id: &str, session_id: &str, last_seen_us: i64) {
        // Rows come with their agent clipped, by their route.
        let agent_id = clip_label(agent_id);
        let agent = self.agents.resolve(&[agent_id]);
        let key = self.hash.strings([agent_id, session_id]);
        self.touch(agent, key, last_seen_us);
    }

    /// Active sessions per agent. An agent without any has no sample.
    pub(super) fn family(&self, now_us: i64) -> Family {
        let since_us = now_us.saturating_sub(self.window_us);
        let mut counts = vec![0_u32; self.agents.len()];
        for session in self.by_key.values() {
            counts[session.agent as usize] += u32::from(session.last_seen_us >= since_us);
        }
        let spec = &ACTIVE_SESSIONS;
        let mut family = Family::new(spec.name, spec.kind, spec.help);
        for (labels, count) in self.agents.labels.iter().zip(counts) {
            if count > 0 {
                let labels = named_labels(spec, labels, "");
                let value = Value::Number(f64::from(count));
                family.samples.push(Sample { labels, value, exemplars: Vec::new() });
            }
        }
        family
    }

    /// The agents that have a series, and the overflow; no sessions.
    pub(super) fn totals(&self) -> FamilyTotals {
        let labels = self.agents.labels.iter().skip(OTHER_SLOT + 1);
        let mut series: Vec<SeriesTotals> = labels
            .map(|labels| SeriesTotals {
                labels: labels.iter().map(|label| label.to_string()).collect(),
                value: CellTotals::Gauge,
            })
            .collect();
        series.sort_by(|left, right| left.labels.cmp(&right.labels));
        FamilyTotals {
            name: ACTIVE_SESSIONS.name.to_owned(),
            labels: ACTIVE_SESSIONS.free_labels().map(str::to_owned).collect(),
            bounds: Vec::new(),
            overflow_rows: self.agents.overflow_rows,
            skipped_values: 0,
            series,
        }
    }

    pub(super) fn restore(&mut self, totals: FamilyTotals) -> Result<(), String> {
        if totals.name != ACTIVE_SESSIONS.name {
            return Err(format!("unknown family {:?}", totals.name));
        }
        totals.check_shape(&ACTIVE_SESSIONS)?;
        self.agents.overflow_rows = totals.overflow_rows;
        for series in totals.series {
            self.agents.insert(&series.labels);
        }
        Ok(())
    }

    fn touch(&mut self, agent: usize, key: u64, last_seen_us: i64) {
        if let Some(session) = self.by_key.get_mut(&key) {
            session.last_seen_us = session.last_seen_us.max(last_seen_us);
            return;
        }
        let agent = agent as u32;
        self.by_key.insert(key, Session { last_seen_us, agent });
        self.by_age.push(Reverse((last_seen_us, key)));
        while self.by_key.len() > self.sessions_max {
            self.forget_oldest();
        }
    }

    /// Drops the session unseen for longest, so expired ones go before any other.
    fn forget_oldest(&mut self) {
        while let Some(mut top) = self.by_age.peek_mut() {
            let Reverse((recorded_us, key)) = *top;
            let session = self.by_key.get(&key);
            let last_seen_us = session.map_or(recorded_us, |session| session.last_seen_us);
            if last_seen_us > recorded_us {
                *top = Reverse((last_seen_us, key));
            } else {
                PeekMut::pop(top);
                self.by_key.remove(&key);
                return;
            }
        }
    }
}
