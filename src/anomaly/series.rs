//! The hours of one slice, as they are handed to the detector. Fills and steadies; finds nothing.

pub(super) const HOUR_US: i64 = 3_600_000_000;

/// Calls that the past counts for beside those of one hour, in figures that are means or shares: an hour of one call
/// says little, whatever it says.
const PAST_WEIGHT: f64 = 50.0;
/// How much less an hour counts in the mean of the past than the hour after it: half after a day.
const PAST_DECAY: f64 = 0.971_532;

/// What a figure is, and so what an hour without calls means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A mean, a share or a percentile: of no calls there is none.
    Mean,
    /// A sum that grows with the calls, such as a cost: of no calls it is 0.
    Sum,
}

/// A figure of one hour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hour {
    /// Its start, µs since the epoch, UTC; a whole hour.
    pub start_us: i64,
    /// In the KPI's unit; none where there is nothing to make it of.
    pub value: Option<f64>,
    /// What it is made of, counted.
    pub samples: u64,
    /// Of a share: how many of how many.
    pub share: Option<(u64, u64)>,
}

/// The hours of a slice, in the order of time, each at most once.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What its figures are.
    pub kind: Kind,
    /// Those that have calls.
    pub hours: Vec<Hour>,
}

/// An hour with what the detector is given for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Steadied {
    pub hour: Hour,
    /// In the KPI's unit for means; the root for sums. [`Series::unscale`] goes back.
    pub value: Option<f64>,
    /// Mean of the hours before, half a call of either kind added so that it is never quite 0.
    pub before: f64,
}

impl Series {
    /// The hours from the first at or after `start_us` to before `end_us`, none left out. Sums are taken as their
    /// roots, so that the noise of a busy hour is like that of a quiet one; means are drawn towards their past the more,
    /// the fewer calls they have.
    pub(super) fn steadied(&self, start_us: i64, end_us: i64) -> Vec<Steadied> {
        let filled = self.filled(start_us, end_us);
        match self.kind {
            Kind::Sum => {
                let rooted = |hour: Hour| Steadied { hour, value: hour.value.map(root), before: 0.0 };
                filled.map(rooted).collect()
            }
            Kind::Mean => {
                let mut past = Past::default();
                let steady = |hour: Hour| Steadied { hour, before: past.share(), value: past.steady(&hour) };
                filled.map(steady).collect()
            }
        }
    }

    /// Those that have calls and begin from `start_us` to before `end_us`.
    pub(super) fn hours_between(&self, start_us: i64, end_us: i64) -> &[Hour] {
        let before = |us: i64| self.hours.partition_point(|hour| hour.start_us < us);
        let end = before(end_us);
        &self.hours[before(start_us).min(end)..end]
    }

    /// A value of the detector in the KPI's unit.
    pub(super) fn unscale(&self, value: f64) -> f64 {
        match self.kind {
            Kind::Sum => value * value.abs(),
            Kind::Mean => value,
        }
    }

    fn filled(&self, start_us: i64, end_us: i64) -> impl Iterator<Item = Hour> {
        let mut known = self.hours_between(start_us, end_us).iter().copied().peekable();
        let first_us = known.peek().map_or(end_us, |hour| hour.start_us);
        let empty = match self.kind {
            Kind::Sum => Some(0.0),
            Kind::Mean => None,
        };
        (first_us..end_us).step_by(HOUR_US as usize).map(move |start_us| {
            let found = known.next_if(|hour| hour.start_us == start_us);
            found.unwrap_or(Hour { start_us, value: empty, samples: 0, share: None })
        })
    }
}

/// The root of a sum, with its sign: a refund may be below 0.
fn root(sum: f64) -> f64 {
    sum.signum() * sum.abs().sqrt()
}

/// The mean of the hours before, each with the weight of its calls, the later ones more.
#[derive(Default)]
struct Past {
    sum: f64,
    weight: f64,
}

impl Past {
    /// Its mean, as a share.
    fn share(&self) -> f64 {
        ((self.sum + 0.5) / (self.weight + 1.0)).clamp(0.0, 1.0)
    }

    fn steady(&mut self, hour: &Hour) -> Option<f64> {
        let value = hour.value.filter(|value| value.is_finite() && hour.samples > 0)?;
        let samples = hour.samples as f64;
        let weight = PAST_WEIGHT.min(self.weight);
        let before = if self.weight > 0.0 { self.sum / self.weight } else { 0.0 };
        let steadied = (value * samples + before * weight) / (samples + weight);
        self.sum = self.sum * PAST_DECAY + value * samples;
        self.weight = self.weight * PAST_DECAY + samples;
        Some(steadied)
    }
}
