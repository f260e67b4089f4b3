//! What a series shows at this time of the day or of the week, and how far values are from it. It knows UTC days and
//! weeks only. Medians carry it: one odd day changes no rhythm.

use serde::{Deserialize, Serialize};

const DAY_US: i64 = 86_400_000_000;
const MINUTE_US: i64 = 60_000_000;
/// Periods of which a slot remembers the mean, and how many it needs before it says what to expect.
const PERIODS_MAX: usize = 8;
const PERIODS_MIN: usize = 3;
/// Values after which the mean residual has half forgotten.
const RESIDUAL_HALF_LIFE: f32 = 500.0;
/// How many times the mean residual one counts for at most, once so many are known; the fewer are, the more.
const RESIDUAL_CLIP: f32 = 3.0;
const RESIDUAL_CLIP_FROM: f32 = 30.0;
/// Makes a median absolute deviation the standard deviation of a normal distribution.
const NORMAL: f32 = 1.4826;

/// What comes again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rhythm {
    Day,
    Week,
}

impl Rhythm {
    fn period_us(self) -> i64 {
        match self {
            Self::Day => DAY_US,
            Self::Week => 7 * DAY_US,
        }
    }

    /// Length of the slots that a period is cut into.
    fn slot_us(self) -> i64 {
        match self {
            Self::Day => 30 * MINUTE_US,
            Self::Week => 60 * MINUTE_US,
        }
    }
}

/// One rhythm of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seasonal {
    rhythm: Rhythm,
    slots: Vec<Slot>,
    usual: Usual,
}

/// What to expect of a value, before it is seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Median of the slot's past periods, in the series' unit.
    pub median: f32,
    /// Usual size of residuals, in the series' unit; may be 0.
    scale: f32,
}

impl Expected {
    /// How far the value is from the median, in units of the usual residual; where there was none yet, of the median.
    pub fn deviation(&self, value: f32) -> f64 {
        let unit = if self.scale > 0.0 { self.scale } else { self.median.abs().max(f32::MIN_POSITIVE) };
        f64::from((value - self.median).abs()) / f64::from(unit)
    }
}

impl Seasonal {
    pub fn new(rhythm: Rhythm) -> Self {
        let slots = (rhythm.period_us() / rhythm.slot_us()) as usize;
        Self { rhythm, slots: vec![Slot::default(); slots], usual: Usual::default() }
    }

    /// What this time leads to expect; none while it was not seen in three periods.
    pub fn expected(&self, time_us: i64) -> Option<Expected> {
        let of_slot = self.slots.get(self.slot(time_us))?.expected(time_us.div_euclid(self.rhythm.period_us()))?;
        // The slot's own scale comes from few periods and may be small by chance; it is not below that of all residuals.
        Some(Expected { scale: of_slot.scale.max(self.usual.residual), ..of_slot })
    }

    /// Adds a value to its slot.
    pub fn learn(&mut self, time_us: i64, value: f32) {
        if let Some(expected) = self.expected(time_us) {
            self.usual.learn((value - expected.median).abs());
        }
        let slot = self.slot(time_us);
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.learn(time_us.div_euclid(self.rhythm.period_us()), value);
        }
    }

    fn slot(&self, time_us: i64) -> usize {
        (time_us.rem_euclid(self.rhythm.period_us()) / self.rhythm.slot_us()) as usize
    }
}

/// The usual size of residuals: their mean at first, and then one that forgets, so that it hangs on no single one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Usual {
    /// Mean of absolute residuals; 0 while all were.
    residual: f32,
    /// How many it is the mean of.
    known: u32,
}

impl Usual {
    fn learn(&mut self, residual: f32) {
        // Nothing but zeros says nothing of a size: the first residual that has one is the first.
        self.known = if self.residual > 0.0 { self.known.saturating_add(1) } else { 1 };
        let known = self.known as f32;
        let weight = (1.0 - 0.5_f32.powf(1.0 / RESIDUAL_HALF_LIFE)).max(1.0 / known);
        let most = RESIDUAL_CLIP * (RESIDUAL_CLIP_FROM / known).max(1.0) * self.residual;
        let counted = if self.known == 1 { residual } else { residual.min(most) };
        self.residual += weight * (counted - self.residual);
    }
}

/// Means of one slot in past periods, oldest first, and of the newest period as far as it went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Slot {
    past: Vec<f32>,
    period: i64,
    mean: f32,
    count: u32,
}

impl Slot {
    /// By the periods before this one.
    fn expected(&self, period: i64) -> Option<Expected> {
        let mut known = self.past.clone();
        if self.count > 0 && self.period != period {
            known.push(self.mean);
        }
        if known.len() < PERIODS_MIN {
            return None;
        }
        let center = median(&mut known);
        known.iter_mut().for_each(|mean| *mean = (*mean - center).abs());
        Some(Expected { median: center, scale: NORMAL * median(&mut known) })
    }

    fn learn(&mut self, period: i64, value: f32) {
        if self.count > 0 && self.period != period {
            if self.past.len() >= PERIODS_MAX {
                self.past.remove(0);
            }
            self.past.push(self.mean);
            (self.mean, self.count) = (0.0, 0);
        }
        self.period = period;
        self.count = self.count.saturating_add(1);
        self.mean += (value - self.mean) / self.count as f32;
    }
}

/// The median of some values, which it sorts.
fn median(values: &mut [f32]) -> f32 {
    values.sort_by(f32::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { 0.5 * (values[middle - 1] + values[middle]) }
}
