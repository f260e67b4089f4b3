//! What a series shows at this time of the day or of the week, and how far values are from it. It knows UTC days and
//! weeks only. Medians carry it: one odd day changes no rhythm.

use serde::{Deserialize, Serialize};

const SECOND_US: i64 = 1_000_000;
const DAY: Rhythm = Rhythm { period_us: 86_400 * SECOND_US, slot_us: 1_800 * SECOND_US };
const WEEK: Rhythm = Rhythm { period_us: 7 * 86_400 * SECOND_US, slot_us: 3_600 * SECOND_US };
/// Periods of which a slot remembers the mean, and how many it needs before it says what to expect.
const PERIODS_MAX: usize = 8;
const PERIODS_MIN: usize = 3;
/// Values after which the mean residual has half forgotten, and by how many times itself one value counts at most.
const RESIDUAL_HALF_LIFE: f32 = 500.0;
const RESIDUAL_CLIP: f32 = 3.0;
/// Makes a median absolute deviation the standard deviation of a normal distribution.
const NORMAL: f32 = 1.4826;

/// The rhythm of one series: of the day at first, of the week once three weeks are known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seasonal {
    day: Vec<Slot>,
    week: Vec<Slot>,
    weekly: bool,
    /// Decaying mean of absolute residuals; 0 while none is known.
    residual: f32,
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

impl Default for Seasonal {
    fn default() -> Self {
        Self { day: DAY.slots(), week: WEEK.slots(), weekly: false, residual: 0.0 }
    }
}

impl Seasonal {
    /// Goes over to the week's rhythm once it is known. True that once: what was measured by the day is no measure then.
    pub fn matures(&mut self, time_us: i64) -> bool {
        let matures = !self.weekly && WEEK.expected(&self.week, time_us).is_some();
        if matures {
            (self.weekly, self.residual) = (true, 0.0);
        }
        matures
    }

    /// What this time leads to expect; none while it was not seen in three periods.
    pub fn expected(&self, time_us: i64) -> Option<Expected> {
        let of_slot = if self.weekly { WEEK.expected(&self.week, time_us) } else { DAY.expected(&self.day, time_us) }?;
        // The slot's own scale comes from few periods and may be small by chance; it is not below that of all residuals.
        Some(Expected { scale: of_slot.scale.max(self.residual), ..of_slot })
    }

    /// Adds a value to its slots.
    pub fn learn(&mut self, time_us: i64, value: f32) {
        if let Some(expected) = self.expected(time_us) {
            let residual = (value - expected.median).abs();
            self.residual = if self.residual > 0.0 {
                let weight = 1.0 - 0.5_f32.powf(1.0 / RESIDUAL_HALF_LIFE);
                self.residual + weight * (residual.min(RESIDUAL_CLIP * self.residual) - self.residual)
            } else {
                residual
            };
        }
        DAY.learn(&mut self.day, time_us, value);
        WEEK.learn(&mut self.week, time_us, value);
    }
}

/// A period and the slots that it is cut into.
struct Rhythm {
    period_us: i64,
    slot_us: i64,
}

impl Rhythm {
    fn slots(&self) -> Vec<Slot> {
        vec![Slot::default(); (self.period_us / self.slot_us) as usize]
    }

    fn expected(&self, slots: &[Slot], time_us: i64) -> Option<Expected> {
        slots.get(self.slot(time_us))?.expected(time_us.div_euclid(self.period_us))
    }

    fn learn(&self, slots: &mut [Slot], time_us: i64, value: f32) {
        if let Some(slot) = slots.get_mut(self.slot(time_us)) {
            slot.learn(time_us.div_euclid(self.period_us), value);
        }
    }

    fn slot(&self, time_us: i64) -> usize {
        (time_us.rem_euclid(self.period_us) / self.slot_us) as usize
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
