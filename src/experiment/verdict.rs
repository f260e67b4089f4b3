//! From differences to words: which metric is better or worse, which of these hold for the table as a whole, and
//! what is to be said of a variant. Decides nothing about the figures.

use serde::Serialize;
use utoipa::ToSchema;

use super::metric::Better;

/// What is said of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ExperimentMetricState)]
#[serde(rename_all = "snake_case")]
pub enum MetricState {
    /// The variant is better: the interval leaves out "no difference".
    Better,
    /// The variant is worse.
    Worse,
    /// It differs, and neither side is better.
    Differs,
    /// The interval holds "no difference".
    Undecided,
    /// Too little is known.
    Insufficient,
    /// No call carries it.
    NotMeasured,
}

impl MetricState {
    /// Of a difference whose interval leaves out 0.
    pub(super) fn of_difference(difference: f64, better: Better) -> Self {
        match (better, difference > 0.0) {
            (Better::Neither, _) => Self::Differs,
            (Better::Higher, true) | (Better::Lower, false) => Self::Better,
            (Better::Higher, false) | (Better::Lower, true) => Self::Worse,
        }
    }
}

/// What is said of a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ExperimentVariantState)]
#[serde(rename_all = "snake_case")]
pub enum VariantState {
    /// The units did not come in the shares that were meant: no figure can be trusted.
    SampleRatioMismatch,
    /// Better in some metric and worse in none.
    Better,
    /// Worse in some metric and better in none.
    Worse,
    /// Better in some and worse in others.
    Mixed,
    /// No metric differs for sure.
    Undecided,
    /// No metric has enough data.
    Insufficient,
}

/// A variant in words.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ExperimentVerdict)]
pub struct Verdict {
    /// The kind of it.
    pub state: VariantState,
    /// A sentence.
    pub text: String,
}

/// A metric as its variant's verdict sees it.
pub(super) struct Told {
    pub(super) name: &'static str,
    pub(super) state: MetricState,
    /// Whether the difference holds for the table as a whole.
    pub(super) holds: bool,
}

impl Verdict {
    /// Of a variant whose split is as meant or not.
    pub(super) fn new(is_mismatched: bool, told: &[Told]) -> Self {
        if is_mismatched {
            let text = "do not decide by these figures: the units did not come to the variants in the shares that \
                        were meant; find out why first";
            return Self { state: VariantState::SampleRatioMismatch, text: text.to_owned() };
        }
        let named = |state: MetricState, holds: bool| {
            let names: Vec<&str> =
                told.iter().filter(|told| told.state == state && told.holds == holds).map(|told| told.name).collect();
            names.join(", ")
        };
        let [better, worse, differs] =
            [MetricState::Better, MetricState::Worse, MetricState::Differs].map(|state| named(state, true));
        let has = |state: MetricState| told.iter().any(|told| told.state == state);
        let is_told = [MetricState::Better, MetricState::Worse, MetricState::Differs, MetricState::Undecided];
        let state = match (better.is_empty(), worse.is_empty()) {
            (false, true) => VariantState::Better,
            (true, false) => VariantState::Worse,
            (false, false) => VariantState::Mixed,
            (true, true) if is_told.into_iter().any(has) => VariantState::Undecided,
            (true, true) => VariantState::Insufficient,
        };
        let alone: Vec<String> =
            is_told[..3].iter().map(|state| named(*state, false)).filter(|n| !n.is_empty()).collect();
        let part = |words: &str, names: &str| (!names.is_empty()).then(|| format!("{words} {names}"));
        let parts = [
            part("better in", &better),
            part("worse in", &worse),
            part("different in", &differs),
            part("taken alone, but not as one of so many, different in", &alone.join(", ")),
            part("undecided in", &named(MetricState::Undecided, false)),
        ];
        let said: Vec<String> = parts.into_iter().flatten().collect();
        let text = if said.is_empty() { "too little data to say anything".to_owned() } else { said.join("; ") };
        Self { state, text }
    }
}

/// Which of many e-values (as logarithms) hold at a false discovery rate, whatever they have in common.
///
/// The k largest do, for the largest k whose least is at least m / (k · rate), m being the number of them. Source:
/// Wang, Ramdas (2022), "False Discovery Rate Control with E-values", Journal of the Royal Statistical Society B 84(3).
pub fn e_benjamini_hochberg(ln_e: &[f64], rate: f64) -> Vec<bool> {
    let mut descending: Vec<f64> = ln_e.to_vec();
    descending.sort_unstable_by(|one, two| two.total_cmp(one));
    let needed = |rank: usize| (ln_e.len() as f64 / (rank as f64 * rate)).ln();
    let least = descending.iter().enumerate().rev().find(|(index, ln_e)| **ln_e >= needed(index + 1));
    let least = least.map_or(f64::INFINITY, |(_, ln_e)| *ln_e);
    ln_e.iter().map(|ln_e| *ln_e >= least).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_e_values_need_more_than_one() {
        let check = |e: &[f64], expected: &[bool]| {
            let ln_e: Vec<f64> = e.iter().map(|e| e.ln()).collect();
            assert_eq!(e_benjamini_hochberg(&ln_e, 0.05), expected, "{e:?}");
        };
        check(&[], &[]);
        check(&[20.0], &[true]);
        check(&[19.0], &[false]);
        check(&[20.0, 1.0], &[false, false]);
        check(&[1.0, 40.0], &[false, true]);
        check(&[20.0, 40.0], &[true, true]);
        check(&[30.0, 30.0, 30.0, 0.0], &[true, true, true, false]);
        check(&[30.0, 26.0, 1.0, 0.0], &[false; 4]);
    }

    #[test]
    fn a_variant_is_told_in_words() {
        use MetricState::{Better, Differs, Insufficient, NotMeasured, Undecided, Worse};
        let check = |told: &[(&'static str, MetricState, bool)], state: VariantState, text: &str| {
            let told: Vec<Told> =
                told.iter().map(|(name, state, holds)| Told { name, state: *state, holds: *holds }).collect();
            assert_eq!(Verdict::new(false, &told), Verdict { state, text: text.to_owned() });
            assert_eq!(Verdict::new(true, &told).state, VariantState::SampleRatioMismatch);
        };
        check(&[("a", Better, true), ("b", Undecided, false)], VariantState::Better, "better in a; undecided in b");
        check(&[("a", Better, true), ("b", Worse, true)], VariantState::Mixed, "better in a; worse in b");
        check(&[("a", Worse, true), ("b", Differs, true)], VariantState::Worse, "worse in a; different in b");
        check(
            &[("a", Better, false), ("b", Insufficient, false)],
            VariantState::Undecided,
            "taken alone, but not as one of so many, different in a",
        );
        check(
            &[("a", NotMeasured, false), ("b", Insufficient, false)],
            VariantState::Insufficient,
            "too little data to say anything",
        );
    }
}
