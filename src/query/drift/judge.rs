//! What is said of groups: from what was found of each to verdicts, corrected for how many groups there are. Pure.

use super::DriftVerdict;
use crate::{
    drift::{DETECTABLE_MAX, FALSE_DISCOVERY_RATE, POWER, VALUES_MIN, Verdict},
    stats::{
        BinnedKs, Outcome, TwoSampleTest, benjamini_hochberg, cramers_v_detectable, homogeneity_test, ks_detectable,
        pool_rare,
    },
};

/// Expected counts below this make the chi-squared approximation poor (Cochran 1954).
const EXPECTED_MIN: f64 = 5.0;
/// New and lost categories that a verdict names, of each the most frequent.
const CATEGORIES_NAMED_MAX: usize = 10;

/// A category, and how often it stands in the reference and in the current range.
pub(super) type CategoryCount = (String, (u64, u64));

/// What was found of a group, before it is judged.
#[derive(Debug, Clone)]
pub(super) struct Found {
    group: Option<String>,
    outcome: Outcome,
    /// The largest effect that the values may have; the one that was found where all of them were looked at.
    effect_size_max: Option<f64>,
    /// Categories that are told apart; none of numbers.
    categories: Option<usize>,
    new_categories: Vec<String>,
    lost_categories: Vec<String>,
}

impl Found {
    pub(super) fn of_numbers(group: Option<String>, outcome: Outcome) -> Self {
        let effect_size_max = effect_size(&outcome);
        let (new_categories, lost_categories) = (Vec::new(), Vec::new());
        Self { group, outcome, effect_size_max, categories: None, new_categories, lost_categories }
    }

    pub(super) fn of_categories(group: Option<String>, categories: Vec<CategoryCount>) -> Self {
        let counts: Vec<(u64, u64)> = categories.iter().map(|(_, counts)| *counts).collect();
        let (n_reference, n_current) = counts.iter().fold((0, 0), |(reference, current), count| {
            (u64::saturating_add(reference, count.0), u64::saturating_add(current, count.1))
        });
        let named = |only: &dyn Fn((u64, u64)) -> u64, n_absent: u64| {
            // That a category is missing says something only where it was to be expected.
            let expected = |count: u64| count as f64 * n_absent as f64 / (n_reference as f64 + n_current as f64);
            let mut found: Vec<(u64, &str)> = categories
                .iter()
                .map(|(name, counts)| (only(*counts), name.as_str()))
                .filter(|(count, _)| expected(*count) >= EXPECTED_MIN)
                .collect();
            found.sort_unstable_by(|left, right| right.0.cmp(&left.0).then(left.1.cmp(right.1)));
            found.into_iter().take(CATEGORIES_NAMED_MAX).map(|(_, name)| name.to_owned()).collect()
        };
        let outcome = homogeneity_test(&counts, EXPECTED_MIN);
        Self {
            effect_size_max: effect_size(&outcome),
            outcome,
            categories: Some(pool_rare(&counts, EXPECTED_MIN).len()),
            new_categories: named(&|(reference, current)| if reference == 0 { current } else { 0 }, n_reference),
            lost_categories: named(&|(reference, current)| if current == 0 { reference } else { 0 }, n_current),
            group,
        }
    }

    /// The least effect size that would have given a p-value of at most `p_max` with a probability of [`POWER`].
    fn detectable(&self, n_reference: u64, n_current: u64, p_max: f64) -> Option<f64> {
        let least = match self.categories {
            None => ks_detectable(n_reference, n_current, p_max, POWER),
            Some(categories) => cramers_v_detectable(categories, n_reference, n_current, p_max, POWER),
        };
        Some(least).filter(|least| *least <= 1.0)
    }
}

/// Verdicts, corrected over all groups that had enough values.
pub(super) fn judge(found: Vec<Found>, effect_size_min: f64) -> Vec<DriftVerdict> {
    let enough = |test: &TwoSampleTest| test.n_reference.min(test.n_current) >= VALUES_MIN;
    let p_values: Vec<f64> = found
        .iter()
        .filter_map(|found| match &found.outcome {
            Outcome::Tested(test) if enough(test) => Some(test.p_value),
            _ => None,
        })
        .collect();
    let adjusted = benjamini_hochberg(&p_values);
    let sure = adjusted.iter().filter(|p| **p <= FALSE_DISCOVERY_RATE).count();
    // What a p-value had to be at most, beside the others as they are.
    let p_max =
        |is_sure: bool| FALSE_DISCOVERY_RATE * (sure + usize::from(!is_sure)) as f64 / p_values.len().max(1) as f64;
    let mut adjusted = adjusted.into_iter();
    let mut verdicts: Vec<DriftVerdict> = found
        .into_iter()
        .map(|found| {
            let (test, n_reference, n_current) = match found.outcome {
                Outcome::Tested(test) => (Some(test), test.n_reference, test.n_current),
                Outcome::Insufficient { n_reference, n_current } => (None, n_reference, n_current),
            };
            let p_value_adjusted = test.filter(enough).and_then(|_| adjusted.next());
            let effect_size = test.map(|test| test.effect_size);
            let is_sure = p_value_adjusted.is_some_and(|p| p <= FALSE_DISCOVERY_RATE);
            let detectable = p_value_adjusted.and_then(|_| found.detectable(n_reference, n_current, p_max(is_sure)));
            DriftVerdict {
                verdict: if is_sure && effect_size.is_some_and(|size| size >= effect_size_min) {
                    Verdict::Drifting
                } else if detectable.is_some_and(|least| least <= DETECTABLE_MAX) {
                    Verdict::Stable
                } else {
                    Verdict::Insufficient
                },
                detectable,
                group: found.group,
                statistic: test.map(|test| test.statistic),
                p_value: test.map(|test| test.p_value),
                p_value_adjusted,
                effect_size,
                effect_size_max: found.effect_size_max,
                n_reference,
                n_current,
                new_categories: found.new_categories,
                lost_categories: found.lost_categories,
            }
        })
        .collect();
    largest_first(&mut verdicts);
    verdicts
}

/// A group's numbers, of which only counts in bins are known.
#[derive(Debug)]
pub(super) struct Binned {
    pub(super) group: Option<String>,
    pub(super) n_reference: u64,
    pub(super) n_current: u64,
    /// None where a side has no values.
    pub(super) test: Option<BinnedKs>,
}

/// Verdicts on groups of which only bins are known, with the least effects that their values may have; none if with the
/// largest ones anything else would be said. A larger effect is never less sure, and neither are others beside it, so
/// what is said at both ends is said of all values between.
pub(super) fn judge_binned(groups: &[Binned], effect_size_min: f64) -> Option<Vec<DriftVerdict>> {
    let found = |end: &dyn Fn(&BinnedKs) -> TwoSampleTest| -> Vec<Found> {
        let each = groups.iter().map(|group| {
            let &Binned { n_reference, n_current, .. } = group;
            let insufficient = Outcome::Insufficient { n_reference, n_current };
            let outcome = group.test.as_ref().map_or(insufficient, |test| Outcome::Tested(end(test)));
            let effect_size_max = group.test.map(|test| test.greatest.effect_size);
            Found { effect_size_max, ..Found::of_numbers(group.group.clone(), outcome) }
        });
        each.collect()
    };
    let mut least = judge(found(&|test| test.least), effect_size_min);
    let mut greatest = judge(found(&|test| test.greatest), effect_size_min);
    least.sort_by(|left, right| left.group.cmp(&right.group));
    greatest.sort_by(|left, right| left.group.cmp(&right.group));
    let is_same = least.iter().zip(&greatest).all(|(least, greatest)| least.verdict == greatest.verdict);
    largest_first(&mut least);
    is_same.then_some(least)
}

fn effect_size(outcome: &Outcome) -> Option<f64> {
    match outcome {
        Outcome::Tested(test) => Some(test.effect_size),
        Outcome::Insufficient { .. } => None,
    }
}

fn largest_first(verdicts: &mut [DriftVerdict]) {
    verdicts.sort_by(|a, b| b.effect_size.unwrap_or(-1.0).total_cmp(&a.effect_size.unwrap_or(-1.0)));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        sketch::QuantileSketch,
        stats::{ks_test, ks_test_of_bins},
    };

    const EFFECT_MIN: f64 = 0.1;

    fn binned(number: usize, reference: &[f64], current: &[f64]) -> Binned {
        let sketch = |values: &[f64]| {
            let mut sketch = QuantileSketch::new();
            values.iter().for_each(|value| sketch.add(*value));
            sketch
        };
        Binned {
            group: Some(number.to_string()),
            n_reference: reference.len() as u64,
            n_current: current.len() as u64,
            test: ks_test_of_bins(&sketch(reference).bins_beside(&sketch(current))),
        }
    }

    /// What is said of one group, a reference and a current value repeated or spread; `exactly` where bins do not tell.
    fn check(reference: (f64, f64), current: (f64, f64), values: u32, expect: &str) {
        let spread = |(from, step): (f64, f64)| (0..values).map(|n| from + step * f64::from(n)).collect::<Vec<_>>();
        let told = judge_binned(&[binned(0, &spread(reference), &spread(current))], EFFECT_MIN);
        let told = told.map_or("exactly".to_owned(), |verdicts| format!("{:?}", verdicts[0].verdict));
        assert_eq!(told, expect, "{reference:?} {current:?} {values}");
    }

    #[test]
    fn bins_tell_what_is_the_same_for_all_their_values() {
        check((100.0, 1.0), (500.0, 1.0), 200, "Drifting");
        check((100.0, 1.0), (100.0, 1.0), 5_000, "Stable");
        check((100.0, 1.0), (100.0, 1.0), 20, "Insufficient");
        // All of them are in one bin, so nobody knows whether they are equal.
        check((100.0, 0.0), (100.1, 0.0), 200, "exactly");
        check((0.0, 0.0), (7.0, 0.0), 200, "Drifting");
    }

    proptest! {
        #[test]
        fn what_bins_tell_is_what_values_tell(
            groups in vec((vec(1.0..1_500.0_f64, 0..200), vec(1.0..1_500.0_f64, 0..200), 0.7..1.4_f64), 1..6),
        ) {
            let groups: Vec<(Vec<f64>, Vec<f64>)> = groups
                .into_iter()
                .map(|(reference, current, factor)| (reference, current.iter().map(|value| value * factor).collect()))
                .collect();
            let bins = groups.iter().enumerate().map(|(number, (reference, current))| binned(number, reference, current));
            let bins: Vec<Binned> = bins.collect();
            let found = groups.into_iter().enumerate().map(|(number, (mut reference, mut current))| {
                Found::of_numbers(Some(number.to_string()), ks_test(&mut reference, &mut current))
            });
            let exact = judge(found.collect(), EFFECT_MIN);
            for told in judge_binned(&bins, EFFECT_MIN).into_iter().flatten() {
                let exact = exact.iter().find(|exact| exact.group == told.group).unwrap();
                prop_assert_eq!(told.verdict, exact.verdict);
                prop_assert!(told.effect_size <= exact.effect_size && exact.effect_size <= told.effect_size_max);
            }
        }
    }
}
