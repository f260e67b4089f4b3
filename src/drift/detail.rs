//! A change looked at closely, hour by hour: how values lay before and after, what moved most, and when it began.

use super::{
    answer::{Moved, Segment, Spread},
    column::{Column, Holds},
    judge::Finding,
    onset::{Hour, onset},
    series::{Series, total},
    windows::Windows,
};

/// How far back a change is looked for before the windows that are judged, hours: the persistent ones may lie
/// behind it, and a week is the longest rhythm.
const LOOKED_BACK_HOURS: usize = 168;

/// What is known of one change.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Detail {
    /// How numbers lay in the references.
    pub before: Option<Spread>,
    /// How they lie in the windows that changed.
    pub after: Option<Spread>,
    /// The part of the distribution that moved most.
    pub moved: Option<Moved>,
    /// The category that lost the largest share, and the one that gained it; of numbers, the sides of a boundary.
    pub exchanged: Option<[String; 2]>,
    /// Start of the hour in which it began, µs since the epoch, UTC.
    pub began_us: Option<i64>,
    /// The part of the slice that moved most.
    pub segment: Option<Segment>,
}

/// The two sides of a change.
struct Sides {
    before: Vec<u64>,
    after: Vec<u64>,
}

impl Detail {
    /// Of a column's values by the hour. `names` are those of the categories, one for each bin; empty for numbers.
    pub fn of(windows: &Windows, column: &Column, names: &[String], hours: &Series, finding: &Finding) -> Self {
        let after = finding.changed(column.effect_min).map(|place| windows.judged().start + place);
        let after: Vec<usize> = after.collect();
        let length = windows.hours() as usize;
        let hours_of = |window: usize| window * length..(window + 1) * length;
        let sides = Sides {
            before: hours.sum(after.iter().flat_map(|window| windows.like(*window)).flat_map(hours_of)),
            after: hours.sum(after.iter().flat_map(|window| hours_of(*window))),
        };
        if total(&sides.before) == 0 || total(&sides.after) == 0 {
            return Self::default();
        }
        let mut detail = Self::default();
        let gained: Vec<bool> = match column.holds {
            Holds::Numbers { buckets, scale } => {
                let bounds: Vec<f64> = buckets.bounds().iter().map(|bound| bound * scale).collect();
                detail.before = Some(spread(&sides.before, &bounds));
                detail.after = Some(spread(&sides.after, &bounds));
                let (bin, rose) = sides.widest();
                detail.moved = bounds.get(bin).map(|bound| sides.beyond(bin, *bound, rose));
                detail.exchanged = bounds.get(bin).map(|bound| [side(!rose, *bound), side(rose, *bound)]);
                (0..sides.after.len()).map(|at| (at > bin) == rose).collect()
            }
            Holds::Categories => {
                let [lost, won] = sides.exchanged();
                let most = if sides.change(won) >= -sides.change(lost) { won } else { lost };
                let name = |bin: usize| names.get(bin).cloned().unwrap_or_default();
                let [before, after] = sides.shares(most);
                detail.moved = Some(Moved { part: name(most), before, after });
                detail.exchanged = Some([name(lost), name(won)]);
                (0..sides.after.len()).map(|at| (at == most) == (most == won)).collect()
            }
        };
        let by_hour = windows.in_hours();
        let course: Vec<Hour> = (0..by_hour.count)
            .map(|hour| {
                let counts = hours.window(hour);
                let side = counts.iter().zip(&gained).filter(|(_, gained)| **gained);
                Hour { values: total(counts), gained: side.map(|(count, _)| *count).sum() }
            })
            .collect();
        let from = (windows.history() * length).saturating_sub(LOOKED_BACK_HOURS);
        detail.began_us = onset(&course, from).map(|hour| by_hour.start_us(hour));
        detail
    }
}

impl Sides {
    /// A bin's share before and after.
    fn shares(&self, bin: usize) -> [f64; 2] {
        let share = |counts: &[u64]| counts[bin] as f64 / total(counts) as f64;
        [share(&self.before), share(&self.after)]
    }

    fn change(&self, bin: usize) -> f64 {
        let [before, after] = self.shares(bin);
        after - before
    }

    /// The bins that lost and gained most.
    fn exchanged(&self) -> [usize; 2] {
        let bins = || 0..self.before.len();
        let lost = bins().min_by(|a, b| self.change(*a).total_cmp(&self.change(*b)));
        let won = bins().max_by(|a, b| self.change(*a).total_cmp(&self.change(*b)));
        [lost.unwrap_or(0), won.unwrap_or(0)]
    }

    /// The bin up to whose boundary the distribution functions are furthest apart, and whether values rose.
    fn widest(&self) -> (usize, bool) {
        let mut ahead = 0.0;
        let mut widest = (0, 0.0_f64);
        for bin in 0..self.before.len() {
            ahead += self.change(bin);
            if ahead.abs() > widest.1.abs() {
                widest = (bin, ahead);
            }
        }
        (widest.0, widest.1 < 0.0)
    }

    /// The shares on the side of a boundary that gained.
    fn beyond(&self, bin: usize, bound: f64, rose: bool) -> Moved {
        let share = |counts: &[u64]| {
            let below = total(&counts[..=bin]) as f64 / total(counts) as f64;
            if rose { 1.0 - below } else { below }
        };
        Moved { part: side(rose, bound), before: share(&self.before), after: share(&self.after) }
    }
}

/// The numbers on one side of a boundary.
fn side(is_above: bool, bound: f64) -> String {
    format!("{} {}", if is_above { ">" } else { "<=" }, shown(bound))
}

/// Without the noise of a product's last digits.
fn shown(bound: f64) -> f64 {
    (bound * 1e9).round() / 1e9
}

fn spread(counts: &[u64], bounds: &[f64]) -> Spread {
    let quantile = |level: f64| shown(quantile(counts, bounds, level));
    Spread { p05: quantile(0.05), p50: quantile(0.5), p95: quantile(0.95) }
}

/// A quantile of values of which only the bins are known: on the straight line through the bin that it lies in. Above
/// the last boundary it is that boundary.
fn quantile(counts: &[u64], bounds: &[f64], level: f64) -> f64 {
    let rank = level * total(counts) as f64;
    let mut below = 0.0;
    for (bin, count) in counts.iter().enumerate() {
        let count = *count as f64;
        if count > 0.0 && below + count >= rank {
            let Some(upper) = bounds.get(bin) else { break };
            let lower = if bin > 0 { bounds[bin - 1] } else { upper.min(0.0) };
            return lower + (upper - lower) * (rank - below) / count;
        }
        below += count;
    }
    bounds.last().copied().unwrap_or_default()
}
