//! What distances are when nothing changed, by the references themselves.
//!
//! Values of one window resemble each other: calls of a session, of a customer, of a release. So two windows of
//! thousands of calls differ by more than thousands of independent draws would, and by how much differs from column to
//! column. Each reference window is therefore compared with the others of the same hours of the week, and a judged
//! window's distance is measured by theirs.
//!
//! With d a distance and n its effective size, d²·n of the comparisons has the mean `scale`, and is taken as `scale`
//! times a χ² of ν degrees over ν, as its spread says (Satterthwaite 1946). The scale is an estimate too, so a judged
//! d²·n over the scale follows F(ν, ν·m), m being how many of the comparisons are free. ν lies between 1, one
//! quantity that moves the whole distribution to and fro, and what independent values would give. The scale is never
//! below what independent values would give.

use super::{
    distance::{by_chance, distance, effective, used},
    series::{Kind, Series, total, without},
    windows::{VALUES_MIN, Windows},
};
use crate::stats::{f_quantile, f_sf, normal_two_sided_quantile};

/// Degrees of freedom of a χ² that is as the square of Kolmogorov's distribution, or heavier, at its end.
const ORDERED_DEGREES: f64 = 3.0;
/// [`by_chance`] of two bins with a half each. Where all values have always been the same there is no chance yet; a
/// change would bring a second bin.
const TWO_BINS: f64 = 0.25;
/// Fewer free comparisons than this say nothing about how windows differ.
pub(super) const COMPARISONS_MIN: usize = 2;

/// How far windows are from each other when nothing changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Null {
    /// Mean of d²·n.
    scale: f64,
    /// ν.
    degrees: f64,
    /// m.
    comparisons: f64,
    /// The mean effective size of the comparisons.
    size: f64,
}

impl Null {
    /// From a column's history; none where fewer than three of its windows have enough values.
    pub fn of(windows: &Windows, series: &Series) -> Option<Self> {
        let kind = series.kind();
        let (mut squares, mut sizes, mut comparisons) = (Vec::new(), 0.0, 0.0);
        for place in 0..windows.season() {
            let all = series.sum(windows.like(place));
            let before = squares.len();
            for window in windows.like(place) {
                let own = series.window(window);
                let others = without(&all, own);
                let (n_others, n_own) = (total(&others), total(own));
                if n_own < VALUES_MIN || n_others < VALUES_MIN {
                    continue;
                }
                if let Some(apart) = distance(kind, &others, own) {
                    let size = effective(n_others, n_own);
                    squares.push(apart * apart * size);
                    sizes += size;
                }
            }
            // Each is compared with the rest, so the last one follows from the others.
            comparisons += (squares.len() - before).saturating_sub(1) as f64;
        }
        if comparisons < COMPARISONS_MIN as f64 {
            return None;
        }
        // If nothing changed, the judged windows are of the same distribution: what was never seen before is one of
        // its values as well.
        let all = series.sum(0..windows.count());
        let count = squares.len() as f64;
        let mean = squares.iter().sum::<f64>() / count;
        let variance = squares.iter().map(|square| (square - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let independent = match kind {
            Kind::Ordered => ORDERED_DEGREES,
            Kind::Unordered => (used(&all) as f64 - 1.0).max(1.0),
        };
        let degrees = if variance > 0.0 { 2.0 * mean * mean / variance } else { independent };
        Some(Self {
            scale: mean.max(by_chance(kind, &all)),
            degrees: degrees.clamp(1.0, independent),
            comparisons,
            size: sizes / count,
        })
    }

    /// The probability of a distance at least as large, 0 to 1, between sides of such sizes.
    pub fn p_value(&self, distance: f64, n_reference: u64, n_current: u64) -> f64 {
        let square = distance * distance * self.size_of(n_reference, n_current);
        if square == 0.0 {
            return 1.0;
        }
        f_sf(square / self.scale, self.degrees, self.degrees * self.comparisons)
    }

    /// The distance that two distributions must have so that the p-value of samples of such sizes is at most `p_max`
    /// with a probability of `power`. It may be above 1: then none is found.
    ///
    /// The samples' distance has to reach the quantile of `p_max`. At the place where the distributions are furthest
    /// apart, chance takes something off theirs, or adds to it: it is one of the ν dimensions of the null, whose
    /// variances add up to the scale over n.
    pub fn detectable(&self, p_max: f64, power: f64, n_reference: u64, n_current: u64) -> f64 {
        let per_value = self.scale.max(TWO_BINS) / self.size_of(n_reference, n_current);
        let reached = per_value * f_quantile(p_max, self.degrees, self.degrees * self.comparisons);
        let taken_off = normal_two_sided_quantile(2.0 * (1.0 - power)) * (per_value / self.degrees).sqrt();
        reached.sqrt() + taken_off
    }

    /// What windows differ by beyond chance does not shrink with their size: a window that is larger than the
    /// references were is held to what these were found to differ by.
    fn size_of(&self, n_reference: u64, n_current: u64) -> f64 {
        effective(n_reference, n_current).min(self.size)
    }
}
