//! One column of one slice: each judged window against its references, and what they say together.

use super::{
    distance::distance,
    null::Null,
    series::{Series, total},
    windows::{JUDGED, VALUES_MIN, Windows},
};

/// Of the judged windows, so many have to have changed.
pub const PERSISTENT: usize = 2;

/// A judged window against its references.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct WindowFinding {
    /// Values of its references together.
    pub n_reference: u64,
    /// Values of its own.
    pub n_current: u64,
    /// Distance of the two, 0 to 1; none with too few values.
    pub effect: Option<f64>,
    /// Probability of such a distance if nothing changed; the same.
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
}

/// Judges a column of a slice.
///
/// With p(1) ≤ p(2) ≤ … of k windows, that fewer than two changed has the probability (k − 1)·p(2): the partial
/// conjunction of Benjamini and Heller (2008), "Screening for Partial Conjunction Hypotheses", by Bonferroni's
/// inequality, which holds however the windows depend on each other.
pub fn judge(windows: &Windows, series: &Series) -> Finding {
    let null = Null::of(windows, series);
    let mut finding = Finding::default();
    for (place, window) in windows.judged().enumerate() {
        let (reference, current) = (series.sum(windows.like(window)), series.window(window));
        let (n_reference, n_current) = (total(&reference), total(current));
        let has_enough = n_reference >= VALUES_MIN && n_current >= VALUES_MIN;
        let effect = distance(series.kind(), &reference, current).filter(|_| has_enough);
        let p = null.zip(effect).map(|(null, effect)| null.p_value(effect, n_reference, n_current));
        finding.windows[place] = WindowFinding { n_reference, n_current, effect, p };
    }
    let mut tested: Vec<(f64, f64)> = finding.windows.iter().filter_map(|window| window.p.zip(window.effect)).collect();
    tested.sort_by(|left, right| left.0.total_cmp(&right.0));
    if let Some((p, _)) = tested.get(PERSISTENT - 1) {
        let factor = (tested.len() - PERSISTENT + 1) as f64;
        finding.p = Some((factor * p).min(1.0));
        finding.effect = tested[..PERSISTENT].iter().map(|(_, effect)| *effect).reduce(f64::min);
    }
    finding
}

/// A window's own p-value from which on it counts among those that changed, for what is said of a change.
const WINDOW_LEVEL: f64 = 0.05;

impl Finding {
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
