//! Pearson's chi-squared test on counts per category in two samples, and the pooling of categories
//! too rare for it.
//!
//! The test never pools and applies no continuity correction: it reports the table it was given.
//! Whether a verdict wants [`pool_rare`] first is the caller's choice.

use statrs::function::gamma::checked_gamma_ur;

use super::{Outcome, TwoSampleTest};

/// Tests whether the categories are distributed alike in both samples. Each entry holds one
/// category's counts, `(reference, current)`; categories counted in neither sample are skipped.
///
/// The statistic is Pearson's X² with (categories − 1) degrees of freedom, the effect size Cramér's
/// V, √(X²/N) for two samples. A single category is tested with X² = 0, p = 1 and V = 0, since
/// nothing can differ; a sample without any count is [`Outcome::Insufficient`].
///
/// Sources: Pearson (1900), Philosophical Magazine 50; Cramér (1946), "Mathematical Methods of
/// Statistics", p. 282. Same values as `scipy.stats.chi2_contingency(correction=False)`.
pub fn chi2_test(counts: &[(u64, u64)]) -> Outcome {
    let (n_reference, n_current) = totals(counts);
    if n_reference == 0 || n_current == 0 {
        return Outcome::Insufficient { n_reference, n_current };
    }
    let categories = counts.iter().filter(|count| **count != (0, 0)).count();
    let statistic = pearson(counts, n_reference, n_current);
    let everything = n_reference as f64 + n_current as f64;
    Outcome::Tested(TwoSampleTest {
        statistic,
        p_value: chi2_sf(statistic, categories - 1),
        effect_size: (statistic / everything).sqrt().min(1.0),
        n_reference,
        n_current,
    })
}

/// Merges every category whose expected count in either sample is below `expected_min` into one
/// last "other" category; the rest keep their order. Categories counted in neither sample vanish.
///
/// The expected count of a category holding `c` of all `N` observations in a sample of `n` is
/// c·n/N. The usual `expected_min` is 5. The merged category may itself stay below it.
///
/// Source: Cochran (1954), "Some Methods for Strengthening the Common χ² Tests", Biometrics 10(4).
pub fn pool_rare(counts: &[(u64, u64)], expected_min: f64) -> Vec<(u64, u64)> {
    let (n_reference, n_current) = totals(counts);
    let everything = n_reference as f64 + n_current as f64;
    let smaller_share = n_reference.min(n_current) as f64 / everything;

    let mut kept = Vec::with_capacity(counts.len());
    let mut other = (0_u64, 0_u64);
    for &(reference, current) in counts {
        let expected = (reference as f64 + current as f64) * smaller_share;
        // A NaN (no observations at all) counts as rare.
        if expected >= expected_min && (reference, current) != (0, 0) {
            kept.push((reference, current));
        } else {
            other = (other.0.saturating_add(reference), other.1.saturating_add(current));
        }
    }
    if other != (0, 0) {
        kept.push(other);
    }
    kept
}

fn totals(counts: &[(u64, u64)]) -> (u64, u64) {
    counts.iter().fold((0, 0), |(reference, current), count| {
        (reference.saturating_add(count.0), current.saturating_add(count.1))
    })
}

/// Pearson's X² for two samples.
///
/// With totals R and C, a category counted (r, c) has the expected counts (r+c)R/N and (r+c)C/N, and
/// its two cells together contribute (rC − cR)² / ((r+c)RC). The difference is taken in integers,
/// so samples with equal shares give exactly zero.
fn pearson(counts: &[(u64, u64)], n_reference: u64, n_current: u64) -> f64 {
    let product = n_reference as f64 * n_current as f64;
    counts
        .iter()
        .filter(|count| **count != (0, 0))
        .map(|&(reference, current)| {
            let left = u128::from(reference) * u128::from(n_current);
            let right = u128::from(current) * u128::from(n_reference);
            let difference = left.abs_diff(right) as f64;
            let both = reference as f64 + current as f64;
            (difference / both) * (difference / product)
        })
        .sum()
}

/// Probability that a chi-squared variable exceeds `statistic`: Q(df/2, x/2), the regularized upper
/// incomplete gamma function. With no degrees of freedom the variable is always zero. The logarithm of Γ(df/2) limits
/// the precision to 1e-9 relative at some hundred thousand degrees of freedom.
fn chi2_sf(statistic: f64, degrees_of_freedom: usize) -> f64 {
    if statistic <= 0.0 || degrees_of_freedom == 0 {
        return 1.0;
    }
    checked_gamma_ur(degrees_of_freedom as f64 / 2.0, statistic / 2.0)
        .expect("both arguments are positive and finite")
        .clamp(0.0, 1.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::{Outcome, gold};
    use super::{chi2_sf, chi2_test, pool_rare};

    /// Checks tables of two rows, reference and current, against X², p and V.
    fn check_tables(tables: &Value) {
        for case in gold::rows(tables) {
            let table = gold::rows(&case["table"]);
            let row = |index: usize| gold::rows(&table[index]).iter().map(|count| count.as_u64().unwrap());
            let counts: Vec<(u64, u64)> = row(0).zip(row(1)).collect();
            let label = case["table"].to_string();
            let test = gold::tested(&label, chi2_test(&counts));
            let expected = gold::numbers(&case["chi2_corr_False_pearson"]);
            gold::assert_close(&label, test.statistic, expected[0]);
            gold::assert_close(&label, test.p_value, expected[1]);
            gold::assert_close(&label, test.effect_size, case["cramers_v"].as_f64().unwrap());
        }
    }

    /// Checks rows of `[x, degrees of freedom, sf]`.
    fn check_tails(tails: &Value) {
        for row in gold::rows(tails).iter().map(gold::numbers) {
            gold::assert_close(&format!("{row:?}"), chi2_sf(row[0], row[1] as usize), row[2]);
        }
    }

    #[test]
    fn matches_scipy() {
        let gold = gold::parse(include_str!("../../testdata/stats/chi2.json"));
        check_tables(&gold["tables"]);
        check_tails(&gold["sf"]);
    }

    #[test]
    fn matches_the_larger_gold_set() {
        if let Some(gold) = gold::shared() {
            check_tables(&gold["contingency"]);
            check_tails(&gold["sf"]["chi2"]);
        }
    }

    #[test]
    fn an_empty_side_is_insufficient() {
        let outcome = |n_reference, n_current| Outcome::Insufficient { n_reference, n_current };
        assert_eq!(chi2_test(&[]), outcome(0, 0));
        assert_eq!(chi2_test(&[(0, 0)]), outcome(0, 0));
        assert_eq!(chi2_test(&[(3, 0), (4, 0)]), outcome(7, 0));
        assert_eq!(chi2_test(&[(0, 5)]), outcome(0, 5));
    }

    #[test]
    fn one_category_cannot_differ() {
        let test = gold::tested("one category", chi2_test(&[(3, 9), (0, 0)]));
        assert_eq!((test.statistic, test.p_value, test.effect_size), (0.0, 1.0, 0.0));
    }

    #[test]
    fn rare_categories_are_pooled_at_the_end() {
        // 200 observations, half on each side: an expected count of 5 needs 10 in the row.
        let counts = [(3, 2), (60, 40), (0, 0), (5, 5), (1, 3), (31, 50)];
        assert_eq!(pool_rare(&counts, 5.0), vec![(60, 40), (5, 5), (31, 50), (4, 5)]);
        assert_eq!(pool_rare(&counts, 0.0), vec![(3, 2), (60, 40), (5, 5), (1, 3), (31, 50)]);
        assert_eq!(pool_rare(&[], 5.0), vec![]);
        assert_eq!(pool_rare(&[(0, 0)], 5.0), vec![]);
    }

    fn tables() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((0..2_000_u64, 0..2_000_u64), 1..20)
    }

    proptest! {
        #[test]
        fn probabilities_are_probabilities_and_sides_are_alike(counts in tables()) {
            let swapped: Vec<(u64, u64)> = counts.iter().map(|&(left, right)| (right, left)).collect();
            if let (Outcome::Tested(test), Outcome::Tested(mirror)) = (chi2_test(&counts), chi2_test(&swapped)) {
                prop_assert!((0.0..=1.0).contains(&test.p_value));
                prop_assert!((0.0..=1.0).contains(&test.effect_size));
                prop_assert_eq!(test.p_value, mirror.p_value);
                prop_assert_eq!(test.statistic, mirror.statistic);
            }
        }

        #[test]
        fn pooling_loses_no_observation(counts in tables(), expected_min in 0.0..100.0_f64) {
            let sum = |counts: &[(u64, u64)]| counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
            prop_assert_eq!(sum(&counts), sum(&pool_rare(&counts, expected_min)));
        }
    }
}
