//! Series for tests: a daily and a weekly rhythm with noise, and one thing that goes wrong. A series depends on its
//! seed alone.

use std::{f64::consts::TAU, ops::Range};

/// The first moment, a Wednesday: 2025-01-01.
const START_US: i64 = 1_735_689_600_000_000;
const DAY_S: i64 = 86_400;

/// What goes wrong in a series, sized in units of its noise where it has no size of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trouble {
    Nothing,
    /// One value is ten times the noise too high.
    Spike,
    /// The level rises by six times the noise, for good.
    Step,
    /// The level rises by eight times the noise within two days, for good.
    Drift,
    /// The noise is four times what it was, for a day.
    Variance,
    /// A tenth of the level is left, for six hours.
    Drop,
}

/// A series and where it goes wrong.
pub struct Series {
    /// µs since the epoch, and the value.
    pub points: Vec<(i64, f64)>,
    /// The points at one of which the trouble should have been noticed.
    pub noticeable: Range<usize>,
}

/// A series of some days, a point every `step_s` seconds. What goes wrong begins after 60 to 90 % of it.
pub fn series(seed: u64, step_s: i64, days: i64, trouble: Trouble) -> Series {
    let mut random = Random { state: seed.wrapping_mul(7_919).wrapping_add(step_s.unsigned_abs()) };
    let count = (days * DAY_S / step_s) as usize;
    let per_day = (DAY_S / step_s) as usize;
    let base = 10_f64.powf(random.between(0.0, 3.0));
    let (daily, weekly, phase) = (random.between(0.2, 0.7), random.between(0.1, 0.5), random.between(0.0, 1.0));
    let (noise, memory) = (random.between(0.02, 0.10), random.between(0.0, 0.6));
    // Half of the series are noisier the higher they are.
    let proportional = random.between(0.0, 1.0) < 0.5;
    let start = (count as f64 * random.between(0.6, 0.9)) as usize;
    let mut drawn = 0.0;
    let mut points = Vec::with_capacity(count);
    for at in 0..count {
        let seconds = at as i64 * step_s;
        let of_day = seconds.rem_euclid(DAY_S) as f64 / DAY_S as f64;
        // The third and the fourth day are a weekend.
        let weekend = matches!((seconds / DAY_S).rem_euclid(7), 3 | 4);
        let level = (1.0 + daily * (TAU * (of_day - phase)).sin()) * if weekend { 1.0 - weekly } else { 1.0 };
        drawn = memory * drawn + (1.0 - memory * memory).sqrt() * random.normal();
        let since = at.checked_sub(start);
        let (mut left, mut rise, mut louder) = (1.0, 0.0, 1.0);
        match (trouble, since) {
            (Trouble::Spike, Some(0)) => rise = 10.0,
            (Trouble::Step, Some(_)) => rise = 6.0,
            (Trouble::Drift, Some(since)) => rise = 8.0 * (since as f64 / (2 * per_day) as f64).min(1.0),
            (Trouble::Variance, Some(since)) if since < per_day => louder = 4.0,
            (Trouble::Drop, Some(since)) if since < per_day / 4 => left = 0.1,
            _ => {}
        }
        let level = level * left;
        let swing = louder * drawn * if proportional { level } else { 1.0 };
        points.push((START_US + seconds * 1_000_000, base * (level + noise * (rise + swing))));
    }
    let patience = match trouble {
        Trouble::Nothing => 0,
        Trouble::Spike => 3,
        Trouble::Drop => per_day / 4,
        Trouble::Step | Trouble::Variance => per_day,
        Trouble::Drift => 3 * per_day,
    };
    Series { points, noticeable: start..(start + patience).min(count) }
}

/// splitmix64.
struct Random {
    state: u64,
}

impl Random {
    /// Strictly between 0 and 1.
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        ((bits >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (TAU * self.uniform()).cos()
    }
}
