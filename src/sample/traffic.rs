//! The stream of calls: sessions arrive, run side by side, and their calls come out in time order.
//!
//! Sessions arrive as a Poisson process whose rate follows each tenant's weekly rhythm: candidates
//! come at the peak rate, and each is kept with the probability that its hour deserves. Memory
//! holds the open sessions and nothing else.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::call::Call;
use super::incident::Incident;
use super::plan::Plan;
use super::random::{Random, exp, ln};
use super::rhythm::{DAY_US, HOUR_US, Rhythm};
use super::session::{Session, attempts_mean};
use super::world::{AGENTS, Agent, TENANTS};

/// Sessions start up to this long before the plan does, so that its first hour is as busy as it
/// should be.
const WARM_UP_MAX_US: i64 = HOUR_US;

/// Turns per session follow a power law with this exponent, cut off at each agent's longest session.
const TURNS_EXPONENT: f64 = 1.6;

/// The calls of a plan, in time order.
#[derive(Debug)]
pub struct Traffic {
    start_us: i64,
    end_us: i64,
    incidents: Vec<Incident>,
    arrivals: Arrivals,
    /// The next call of each open session: its time, the session's number, and its place.
    due: BinaryHeap<Reverse<(i64, u64, usize)>>,
    open: Vec<Session>,
    free: Vec<usize>,
}

impl Traffic {
    /// The traffic of a plan. A plan without time or calls has none.
    pub fn new(plan: &Plan) -> Self {
        let (start_us, end_us) = plan.range_us();
        Self {
            start_us,
            end_us,
            incidents: plan.incidents.clone(),
            arrivals: Arrivals::new(plan, start_us - WARM_UP_MAX_US.min(end_us - start_us)),
            due: BinaryHeap::new(),
            open: Vec::new(),
            free: Vec::new(),
        }
    }

    fn admit_arrivals(&mut self) {
        while let Some(arrival_us) = self.arrivals.next_us(self.end_us) {
            if self.due.peek().is_some_and(|Reverse((due_us, ..))| *due_us < arrival_us) {
                return;
            }
            let (number, session) = self.arrivals.admit();
            let place = self.free.pop().unwrap_or(self.open.len());
            if place < self.open.len() {
                self.open[place] = session;
            } else {
                self.open.push(session);
            }
            self.due.push(Reverse((arrival_us, number, place)));
        }
    }
}

impl Iterator for Traffic {
    type Item = Call;

    fn next(&mut self) -> Option<Call> {
        loop {
            self.admit_arrivals();
            let mut first = self.due.peek_mut()?;
            let Reverse((now_us, number, place)) = *first;
            if now_us >= self.end_us {
                return None;
            }
            let (call, next_us) = self.open[place].next_call(now_us, &self.incidents);
            match next_us {
                Some(next_us) => *first = Reverse((next_us, number, place)),
                None => {
                    PeekMut::pop(first);
                    self.free.push(place);
                }
            }
            if now_us >= self.start_us {
                return Some(call);
            }
        }
    }
}

/// The sessions to come.
#[derive(Debug)]
struct Arrivals {
    seed: u64,
    random: Random,
    rhythm: Rhythm,
    turns: TurnCounts,
    origin_us: i64,
    /// Mean time between candidates.
    gap_us: f64,
    /// The candidate's time after the origin. A float so that short gaps don't round to nothing.
    elapsed_us: f64,
    waiting: Option<Waiting>,
    admitted: u64,
}

/// A session that will come next.
#[derive(Debug)]
struct Waiting {
    tenant: usize,
    time_us: i64,
}

impl Arrivals {
    fn new(plan: &Plan, origin_us: i64) -> Self {
        let turns = TurnCounts::new();
        let rhythm = Rhythm::new();
        let sessions_per_day = plan.calls_per_day_clamped() / turns.calls_per_session();
        Self {
            seed: plan.seed,
            random: Random::new(plan.seed, 0),
            origin_us,
            gap_us: DAY_US as f64 / (sessions_per_day * rhythm.peak()),
            elapsed_us: 0.0,
            waiting: None,
            admitted: 0,
            rhythm,
            turns,
        }
    }

    /// When the next session comes, if before the end.
    fn next_us(&mut self, end_us: i64) -> Option<i64> {
        while self.waiting.is_none() {
            self.elapsed_us += self.random.exponential() * self.gap_us;
            // An infinite or undefined gap, from a volume of nothing, ends the stream at once.
            let length_us = (end_us - self.origin_us) as f64;
            if self.elapsed_us.is_nan() || self.elapsed_us >= length_us {
                self.elapsed_us = f64::INFINITY;
                return None;
            }
            let time_us = self.origin_us + self.elapsed_us as i64;
            let tenant = pick_tenant(&mut self.random);
            let local_us = time_us + TENANTS[tenant].0.utc_offset_hours * HOUR_US;
            if self.random.uniform() * self.rhythm.peak() < self.rhythm.at(local_us) {
                self.waiting = Some(Waiting { tenant, time_us });
            }
        }
        self.waiting.as_ref().map(|waiting| waiting.time_us)
    }

    /// Opens the session that [`Self::next_us`] announced.
    fn admit(&mut self) -> (u64, Session) {
        let tenant = self.waiting.take().map_or(0, |waiting| waiting.tenant);
        self.admitted += 1;
        let mut random = Random::new(self.seed, self.admitted);
        let agent: &'static Agent = random.pick(&AGENTS);
        let turns = self.turns.draw(&mut random, agent.turns_max);
        (self.admitted, Session::new(random, &TENANTS[tenant].0, agent, turns))
    }
}

fn pick_tenant(random: &mut Random) -> usize {
    let total = TENANTS.iter().map(|(_, share)| share).sum();
    let mut rest = random.below(total);
    let found = TENANTS.iter().position(|(_, share)| {
        let is_here = rest < *share;
        rest = rest.saturating_sub(*share);
        is_here
    });
    found.unwrap_or(0)
}

/// How many turns sessions have.
#[derive(Debug)]
struct TurnCounts {
    /// Weight of all sessions of up to (index + 1) turns.
    cumulative: Vec<f64>,
}

impl TurnCounts {
    fn new() -> Self {
        let longest = AGENTS.iter().map(|(agent, _)| agent.turns_max).max().unwrap_or(1);
        let mut sum = 0.0;
        let weights = (1..=longest).map(|turns| exp(-TURNS_EXPONENT * ln(f64::from(turns))));
        let cumulative = weights.map(|weight| {
            sum += weight;
            sum
        });
        Self { cumulative: cumulative.collect() }
    }

    fn draw(&self, random: &mut Random, turns_max: u16) -> u16 {
        let counts = &self.cumulative[..usize::from(turns_max)];
        let target = random.uniform() * counts[counts.len() - 1];
        counts.partition_point(|sum| *sum < target) as u16 + 1
    }

    fn mean(&self, turns_max: u16) -> f64 {
        let counts = &self.cumulative[..usize::from(turns_max)];
        // A session has more than n turns with probability 1 - counts[n - 1] / total.
        let total = counts[counts.len() - 1];
        1.0 + counts.iter().map(|sum| 1.0 - sum / total).sum::<f64>()
    }

    /// The mean number of calls that a session makes in a quiet world.
    fn calls_per_session(&self) -> f64 {
        let weighted = AGENTS
            .iter()
            .map(|(agent, share)| f64::from(*share) * self.mean(agent.turns_max) * (1.0 + delegates_mean(agent)));
        let shares: u32 = AGENTS.iter().map(|(_, share)| share).sum();
        weighted.sum::<f64>() / f64::from(shares) * attempts_mean()
    }
}

fn delegates_mean(agent: &Agent) -> f64 {
    let counts = agent.delegate_counts.iter();
    let (sum, weights) =
        counts.fold((0, 0), |(sum, weights), &(count, weight)| (sum + u32::from(count) * weight, weights + weight));
    f64::from(sum) / f64::from(weights)
}
