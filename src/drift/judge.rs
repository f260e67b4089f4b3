//! One column of one slice: each judged window against its references, and what they say together.

use super::{
    column::Column,
    distance::{distance, distance_at_most},
    null::Null,
    series::{Kind, Series, total},
    windows::{JUDGED, VALUES_MIN, Windows},
};

/// Of the judged windows, so many have to have changed.
pub const PERSISTENT: usize = 2;
/// The probability with which a change of [`Finding::detectable`] is found: what studies are planned for, Cohen (1988),
/// "Statistical Power Analysis for the Behavioral Sciences".
pub const POWER: f64 = 0.8;

/// A judged window against its references.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct WindowFinding {
    /// Values of its references together.
    pub n_reference: u64,
    /// Values of its own.
    pub n_current: u64,
    /// Distance of the two, 0 to 1; none with too few values.
    pub effect: Option<f64>,
    /// The distance that numbers in these buckets have at most; none of categories, whose distance is exact.
    pub effect_max: Option<f64>,
    /// Probability of such a distance if nothing changed; none with too few values.
    pub p: Option<f64>,
}

/// What the judged windows say.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Finding {
    /// The newest last.
    pub windows: [WindowFinding; JUDGED],
    /// Probability of what was found if fewer than [`PERSISTENT`] of the windows changed; none with too little data.
    pub p: Option<f64>,
    /// The change that those which changed most surely have at least; the same.
    pub effect: Option<f64>,
    /// A change of [`PERSISTENT`] windows is at most this, by the buckets' width; none of categories.
    pub effect_max: Option<f64>,
    /// How far windows are from each other when nothing changed.
    pub null: Option<Null>,
}

/// Judges a column of a slice.
///
/// With p(1) ≤ p(2) ≤ … of k windows, that fewer than two changed has the probability (k − 1)·p(2): the partial
/// conjunction of Benjamini and Heller (2008), "Screening for Partial Conjunction Hypotheses", by Bonferroni's
/// inequality, which holds however the windows depend on each other.
pub fn judge(windows: &Windows, column: &Column, series: &Series) -> Finding {
    let null = Null::of(windows, series);
    let mut finding = Finding { null, ..Finding::default() };
    for (place, window) in windows.judged().enumerate() {
        let (reference, current) = (series.sum(windows.like(window)), series.window(window));
        let (n_reference, n_current) = (total(&reference), total(current));
        let has_enough = n_reference >= VALUES_MIN && n_current >= VALUES_MIN && windows.is_whole(window);
        let effect = distance(series.kind(), &reference, current).filter(|_| has_enough);
        let effect_max = effect
            .filter(|_| series.kind() == Kind::Ordered)
            .and_then(|_| distance_at_most(&reference, current, |bin| column.hides(bin)));
        let p = null.zip(effect).map(|(null, effect)| null.p_value(effect, n_reference, n_current));
        finding.windows[place] = WindowFinding { n_reference, n_current, effect, effect_max, p };
    }
    let mut at_most: Vec<f64> = finding.windows.iter().filter_map(|window| window.effect_max).collect();
    at_most.sort_by(|left, right| right.total_cmp(left));
    finding.effect_max = at_most.get(PERSISTENT - 1).copied();
    let mut tested: Vec<(f64, f64)> = finding.windows.iter().filter_map(|window| window.p.zip(window.effect)).collect();
    tested.sort_by(|left, right| left.0.total_cmp(&right.0));
    if let Some((p, _)) = tested.get(PERSISTENT - 1) {
        finding.p = Some((factor(tested.len()) * p).min(1.0));
        finding.effect = tested[..PERSISTENT].iter().map(|(_, effect)| *effect).reduce(f64::min);
    }
    finding
}

/// What the p-value of the last of the [`PERSISTENT`] surest windows is multiplied with.
fn factor(tested: usize) -> f64 {
    (tested - PERSISTENT + 1) as f64
}

/// A window's own p-value from which on it counts among those that changed, for what is said of a change.
const WINDOW_LEVEL: f64 = 0.05;

impl Finding {
    /// The least change that, if [`PERSISTENT`] windows had it, would have given a p-value of at most `p_max` with a
    /// probability of [`POWER`]; none with too little data, and where not even a change of all values would have.
    pub fn detectable(&self, p_max: f64) -> Option<f64> {
        let null = self.null?;
        let tested: Vec<&WindowFinding> = self.windows.iter().filter(|window| window.p.is_some()).collect();
        if tested.len() < PERSISTENT {
            return None;
        }
        let p_max = p_max / factor(tested.len());
        // Each of them has to show it.
        let power = POWER.powf(1.0 / PERSISTENT as f64);
        let of = |window: &&WindowFinding| null.detectable(p_max, power, window.n_reference, window.n_current);
        let mut least: Vec<f64> = tested.iter().map(of).collect();
        least.sort_by(f64::total_cmp);
        Some(least[PERSISTENT - 1]).filter(|least| *least <= 1.0)
    }

    /// Places, among the judged windows, of those that changed; of all that have values where none did.
    pub fn changed(&self, effect_min: f64) -> impl Iterator<Item = usize> {
        let has = move |window: &WindowFinding| {
            window.effect.is_some_and(|effect| effect >= effect_min) && window.p.is_some_and(|p| p <= WINDOW_LEVEL)
        };
        let some = self.windows.iter().any(has);
        let windows = self.windows;
        (0..JUDGED).filter(move |place| {
            let window = &windows[*place];
            if some { has(window) } else { window.n_current > 0 }
        })
    }
}
