//! What was counted, and sums of it over windows. All windows end at the last whole minute; those that are longer than
//! the minutes reach back begin at a whole hour.

use crate::config::{SloConfig, SloIndicator};

/// A minute, µs.
pub(super) const MINUTE_US: i64 = 60_000_000;
/// An hour, µs.
pub(super) const HOUR_US: i64 = 60 * MINUTE_US;
/// A day, µs.
pub(super) const DAY_US: i64 = 24 * HOUR_US;
/// Minutes are counted one by one for so long: the longest window that has to move by the minute.
const MINUTES_REACH_US: i64 = 6 * HOUR_US;

/// A range of time, µs since the epoch, UTC; the end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Inclusive.
    pub from_us: i64,
    /// Exclusive.
    pub to_us: i64,
}

/// An hour or a minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slot {
    /// Its start, µs since the epoch, UTC.
    pub start_us: i64,
    /// Calls that say whether they were good, or what they cost.
    pub samples: u64,
    /// Calls that do not say what they cost; 0 for other objectives.
    pub unknown: u64,
    /// Samples that were not good; for an objective of cost what they cost, USD.
    pub bad: f64,
}

/// An objective's counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    /// Hours, rising, then minutes; those that counted nothing are left out.
    slots: Vec<Slot>,
    /// The objective's whole window.
    pub(super) window: Span,
}

/// Sums over a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sum {
    pub span: Span,
    pub samples: u64,
    pub unknown: u64,
    pub bad: f64,
}

/// What is allowed to go wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Allowance {
    /// This share of the calls.
    Share(f64),
    /// So many USD a day.
    PerDay(f64),
}

impl Span {
    /// What an objective's hours are asked for, and its minutes, at this moment.
    pub fn of(window_days: u32, now_us: i64) -> [Span; 2] {
        let to_us = now_us - now_us.rem_euclid(MINUTE_US);
        let whole_hour = |us: i64| us - us.rem_euclid(HOUR_US);
        let (from_us, split_us) =
            (whole_hour(to_us - i64::from(window_days) * DAY_US), whole_hour(to_us - MINUTES_REACH_US));
        [Span { from_us, to_us: split_us }, Span { from_us: split_us, to_us }]
    }

    /// How long it is, days.
    pub(super) fn days(self) -> f64 {
        (self.to_us - self.from_us) as f64 / DAY_US as f64
    }
}

impl Counts {
    /// Hours and minutes of the spans of [`Span::of`], each rising.
    pub fn new([hours, minutes]: [Vec<Slot>; 2], [older, newer]: [Span; 2]) -> Self {
        let slots = hours.into_iter().chain(minutes).collect();
        Self { slots, window: Span { from_us: older.from_us, to_us: newer.to_us } }
    }

    /// All that was counted, rising.
    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The sums of the last minutes. A window that is longer than six hours begins with a whole hour.
    pub(super) fn last(&self, minutes: i64) -> Sum {
        let from_us = self.window.to_us - minutes * MINUTE_US;
        let from_us =
            if minutes * MINUTE_US > MINUTES_REACH_US { from_us - from_us.rem_euclid(HOUR_US) } else { from_us };
        self.since(from_us.max(self.window.from_us))
    }

    /// The sums of the whole window.
    pub(super) fn whole(&self) -> Sum {
        self.since(self.window.from_us)
    }

    fn since(&self, from_us: i64) -> Sum {
        let span = Span { from_us, to_us: self.window.to_us };
        let first = self.slots.partition_point(|slot| slot.start_us < from_us);
        self.slots[first..].iter().fold(Sum { span, samples: 0, unknown: 0, bad: 0.0 }, |sum, slot| Sum {
            samples: sum.samples + slot.samples,
            unknown: sum.unknown + slot.unknown,
            bad: sum.bad + slot.bad,
            ..sum
        })
    }
}

impl Sum {
    /// How fast what is allowed is used: 1 uses it up in just the objective's window. None without samples.
    pub fn burn_rate(&self, allowance: Allowance) -> Option<f64> {
        let allowed = allowance.of(self.samples as f64, self.span.days());
        (self.samples > 0).then(|| self.bad / allowed)
    }
}

impl Allowance {
    /// That of an objective.
    pub fn new(objective: &SloConfig) -> Self {
        match objective.indicator {
            SloIndicator::Cost { usd_per_day } => Self::PerDay(usd_per_day),
            SloIndicator::Latency { target, .. }
            | SloIndicator::Errors { target }
            | SloIndicator::Quality { target, .. } => Self::Share(1.0 - target),
        }
    }

    /// What so many calls in so many days are allowed, in calls or USD.
    pub fn of(self, samples: f64, days: f64) -> f64 {
        match self {
            Self::Share(share) => share * samples,
            Self::PerDay(usd) => usd * days,
        }
    }
}
