//! When what is allowed to go wrong is used up, if the present goes on.
//!
//! The window moves: what goes wrong from now on comes in, and what went wrong at its start falls out. So the hours to
//! come are gone through one by one, each with the calls and the bad calls of the present.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    answer::time,
    counts::{Allowance, Counts, HOUR_US, Sum},
};
use crate::stats::{binomial_interval, t_two_sided_quantile};

/// The present is what these last minutes brought.
pub const PRESENT_MINUTES: i64 = 6 * 60;
/// The rate is between its bounds with about this probability.
const CONFIDENCE: f64 = 0.95;

/// When an objective is missed, if the last six hours go on.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = SloBreach)]
pub struct Breach {
    /// What is said.
    pub state: BreachState,
    /// When what is allowed is used up at the present rate; none where it is not before the window ends.
    pub at: Option<String>,
    /// The same at the upper bound of the rate.
    pub earliest: Option<String>,
    /// The same at its lower bound.
    pub latest: Option<String>,
    /// When the window that begins now ends: no further is looked.
    pub window_end: String,
    /// The present rate.
    pub present: Present,
}

/// What is said of when an objective is missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SloBreachState)]
#[serde(rename_all = "snake_case")]
pub enum BreachState {
    /// It is used up.
    UsedUp,
    /// It will be, `at`.
    Expected,
    /// Not before the window ends.
    NotBeforeTheWindowEnds,
    /// The last hours brought no call that says anything.
    Insufficient,
}

/// What the last hours brought, by the hour.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = SloPresent)]
pub struct Present {
    /// Their start, UTC.
    pub from: String,
    /// Their end, exclusive.
    pub to: String,
    /// Their calls that say something.
    pub samples: u64,
    /// Bad calls, or USD, in an hour.
    pub bad_per_hour: f64,
    /// Lower bound: of calls exact by the binomial distribution, of USD by how much the hours differ.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// What an hour to come brings.
#[derive(Debug, Clone, Copy)]
struct Rate {
    samples: f64,
    bad: f64,
}

impl Breach {
    pub(super) fn new(counts: &Counts, allowance: Allowance, window_days: u32) -> Self {
        let present = counts.last(PRESENT_MINUTES);
        let hours = PRESENT_MINUTES as f64 / 60.0;
        let [bad, low, high] = rates(counts, present, allowance, hours);
        let window_hours = 24 * i64::from(window_days);
        let reached = |bad: f64| {
            let rate = Rate { samples: present.samples as f64 / hours, bad };
            used_up_after(counts, allowance, rate, window_hours)
        };
        let whole = counts.whole();
        let is_used_up = whole.bad > allowance.of(whole.samples as f64, f64::from(window_days));
        let [at, earliest, latest] =
            if is_used_up || present.samples == 0 { [None; 3] } else { [bad, high, low].map(reached) };
        let state = match at {
            _ if is_used_up => BreachState::UsedUp,
            _ if present.samples == 0 => BreachState::Insufficient,
            Some(_) => BreachState::Expected,
            None => BreachState::NotBeforeTheWindowEnds,
        };
        let end_us = counts.window.to_us;
        let when = |hours: Option<i64>| hours.map(|hours| time(end_us + hours * HOUR_US));
        Self {
            state,
            at: when(at),
            earliest: when(earliest),
            latest: when(latest),
            window_end: time(end_us + window_hours * HOUR_US),
            present: Present {
                from: time(present.span.from_us),
                to: time(present.span.to_us),
                samples: present.samples,
                bad_per_hour: bad,
                low,
                high,
            },
        }
    }
}

/// What goes wrong in an hour at present, with a lower and an upper bound.
fn rates(counts: &Counts, present: Sum, allowance: Allowance, hours: f64) -> [f64; 3] {
    let mean = present.bad / hours;
    match allowance {
        Allowance::Share(_) => {
            let per_hour = present.samples as f64 / hours;
            match binomial_interval(present.bad as u64, present.samples, CONFIDENCE) {
                Some(share) => [mean, share.low * per_hour, share.high * per_hour],
                None => [mean; 3],
            }
        }
        Allowance::PerDay(_) => {
            let first_us = present.span.from_us;
            let mut each = vec![0.0; hours as usize];
            for slot in counts.slots().iter().filter(|slot| slot.start_us >= first_us) {
                each[((slot.start_us - first_us) / HOUR_US) as usize] += slot.bad;
            }
            let spread = each.iter().map(|bad| (bad - mean).powi(2)).sum::<f64>() / (hours - 1.0);
            let off = t_two_sided_quantile(1.0 - CONFIDENCE, hours - 1.0) * (spread / hours).sqrt();
            [mean, (mean - off).max(0.0), mean + off]
        }
    }
}

/// After how many hours more went wrong than is allowed; none where that is not within the window.
fn used_up_after(counts: &Counts, allowance: Allowance, rate: Rate, window_hours: i64) -> Option<i64> {
    let whole = counts.whole();
    let (mut samples, mut bad) = (whole.samples as f64, whole.bad);
    let mut oldest = counts.slots().iter().peekable();
    let days = window_hours as f64 / 24.0;
    (1..=window_hours).find(|hour| {
        let from_us = counts.window.from_us + hour * HOUR_US;
        while let Some(slot) = oldest.next_if(|slot| slot.start_us < from_us) {
            samples -= slot.samples as f64;
            bad -= slot.bad;
        }
        let passed = *hour as f64;
        // A rate that is just what is allowed is not more, whatever rounding makes of it.
        let allowed = allowance.of(samples + rate.samples * passed, days) * (1.0 + 1e-9);
        bad + rate.bad * passed > allowed
    })
}
