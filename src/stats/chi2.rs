//! Tests of counts per category in two samples: Pearson's chi-squared and the G-test, the pooling of
//! categories too rare for them, and Cramér's V of any table.
//!
//! The plain tests never pool and apply no continuity correction: they report the table they were given.
//! What a verdict stands on is [`homogeneity_test`].

use std::collections::BTreeMap;

use super::{Outcome, TwoSampleTest, exact::fisher_exact_test, tails::chi2_sf};

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
    let pearson = pearson(counts, n_reference, n_current);
    Outcome::Tested(tested(pearson, pearson, counts, (n_reference, n_current)))
}

/// Tests whether the categories are distributed alike in both samples by the likelihood ratio. The entries, the
/// degrees of freedom, the effect size and what is insufficient are those of [`chi2_test`]; the statistic is
/// G = 2·Σ O·ln(O/E).
///
/// Source: Sokal, Rohlf (1981), "Biometry", chapter 17. Same values as
/// `scipy.stats.chi2_contingency(correction=False, lambda_="log-likelihood")`.
pub fn g_test(counts: &[(u64, u64)]) -> Outcome {
    let (n_reference, n_current) = totals(counts);
    if n_reference == 0 || n_current == 0 {
        return Outcome::Insufficient { n_reference, n_current };
    }
    let everything = n_reference as f64 + n_current as f64;
    let part = |observed: u64, both: f64, of: u64| {
        if observed == 0 { 0.0 } else { observed as f64 * (observed as f64 * everything / (both * of as f64)).ln() }
    };
    let half: f64 = counts
        .iter()
        .map(|&(reference, current)| {
            let both = reference as f64 + current as f64;
            part(reference, both, n_reference) + part(current, both, n_current)
        })
        .sum();
    let statistic = (2.0 * half).max(0.0);
    Outcome::Tested(tested(statistic, pearson(counts, n_reference, n_current), counts, (n_reference, n_current)))
}

fn tested(statistic: f64, pearson: f64, counts: &[(u64, u64)], (n_reference, n_current): (u64, u64)) -> TwoSampleTest {
    let categories = counts.iter().filter(|count| **count != (0, 0)).count();
    let everything = n_reference as f64 + n_current as f64;
    TwoSampleTest {
        statistic,
        p_value: chi2_sf(statistic, categories - 1),
        effect_size: (pearson / everything).sqrt().min(1.0),
        n_reference,
        n_current,
    }
}

/// Tests whether the categories are distributed alike, for a verdict: [`chi2_test`] on categories that are
/// frequent enough for it.
///
/// Rare categories are pooled by [`pool_rare`], among them new and lost ones. If the pool is still rare it
/// joins the smallest category beside it; with one category only beside it, both are compared by
/// Fisher's exact test, whose statistic is here X² as well. Where all categories together are rare, nothing can be
/// said, and the outcome is [`Outcome::Insufficient`].
pub fn homogeneity_test(counts: &[(u64, u64)], expected_min: f64) -> Outcome {
    let (n_reference, n_current) = totals(counts);
    let insufficient = Outcome::Insufficient { n_reference, n_current };
    let frequent = |count: &(u64, u64)| expected(*count, n_reference, n_current) >= expected_min;
    let mut pooled = pool_rare(counts, expected_min);
    if pooled.last().is_none_or(frequent) {
        let several = counts.iter().filter(|count| **count != (0, 0)).count() > 1;
        // All rare ones in one pool look alike, whatever they are.
        return if several && pooled.len() == 1 { insufficient } else { chi2_test(&pooled) };
    }
    match pooled[..] {
        [kept, other] => exact_test(kept, other).map_or(insufficient, Outcome::Tested),
        [_] => insufficient,
        _ => {
            let other = pooled.pop().unwrap_or_default();
            if let Some(smallest) = pooled.iter_mut().min_by_key(|count| count.0.saturating_add(count.1)) {
                *smallest = (smallest.0.saturating_add(other.0), smallest.1.saturating_add(other.1));
            }
            chi2_test(&pooled)
        }
    }
}

/// Two categories by Fisher's exact test; none where there are too many observations for it, or on one side none.
fn exact_test(one: (u64, u64), other: (u64, u64)) -> Option<TwoSampleTest> {
    let Outcome::Tested(test) = chi2_test(&[one, other]) else { return None };
    let exact = fisher_exact_test([[one.0, one.1], [other.0, other.1]]);
    // Among a billion observations a rare category makes no difference that either test could see.
    Some(exact.map_or(test, |exact| TwoSampleTest { p_value: exact.p_value, ..test }))
}

/// Cramér's V of a table given by its cells, `(row, column, count)` each at most once, cells of 0 told or not: how
/// closely rows and columns go together, 0 to 1. `None` for fewer than two rows or columns that have counts.
///
/// Source: Cramér (1946), p. 282. Same values as
/// `scipy.stats.contingency.association(correction=False, method="cramer")`.
pub fn cramers_v(cells: &[(usize, usize, u64)]) -> Option<f64> {
    let (mut rows, mut columns) = (BTreeMap::<usize, f64>::new(), BTreeMap::<usize, f64>::new());
    let used = || cells.iter().filter(|cell| cell.2 > 0);
    for &(row, column, count) in used() {
        *rows.entry(row).or_default() += count as f64;
        *columns.entry(column).or_default() += count as f64;
    }
    let smaller = rows.len().min(columns.len());
    if smaller < 2 {
        return None;
    }
    let everything: f64 = rows.values().sum();
    let (mut statistic, mut expected_of_used, mut used_cells) = (0.0, 0.0, 0);
    for &(row, column, count) in used() {
        let expected = rows[&row] * columns[&column] / everything;
        statistic += (count as f64 - expected).powi(2) / expected;
        expected_of_used += expected;
        used_cells += 1;
    }
    // An empty cell adds what it was expected to count. Where there is none the difference is rounding alone.
    if used_cells < rows.len() * columns.len() {
        statistic += (everything - expected_of_used).max(0.0);
    }
    Some((statistic / everything / (smaller - 1) as f64).sqrt().min(1.0))
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

    let mut kept = Vec::with_capacity(counts.len());
    let mut other = (0_u64, 0_u64);
    for &(reference, current) in counts {
        let expected = expected((reference, current), n_reference, n_current);
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

/// What a category is expected to count in the smaller sample.
fn expected(count: (u64, u64), n_reference: u64, n_current: u64) -> f64 {
    let everything = n_reference as f64 + n_current as f64;
    let smaller_share = n_reference.min(n_current) as f64 / everything;
    (count.0 as f64 + count.1 as f64) * smaller_share
}

/// Observations of both samples.
pub(super) fn totals(counts: &[(u64, u64)]) -> (u64, u64) {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::tails::chi2_sf;
    use super::super::{Outcome, gold};
    use super::{chi2_test, cramers_v, g_test, homogeneity_test, pool_rare};

    /// Checks tables of two rows, reference and current, against X², p and V.
    fn check_tables(tables: &Value) {
        for case in gold::rows(tables) {
            let counts = gold::counts(&case["table"]);
            let label = case["table"].to_string();
            let test = gold::tested(&label, chi2_test(&counts));
            let expected = gold::numbers(&case["chi2_corr_False_pearson"]);
            gold::assert_close(&label, test.statistic, expected[0]);
            gold::assert_close(&label, test.p_value, expected[1]);
            gold::assert_close(&label, test.effect_size, case["cramers_v"].as_f64().unwrap());
            let cells = counts.iter().enumerate();
            let cells: Vec<_> = cells.flat_map(|(row, count)| [(row, 0, count.0), (row, 1, count.1)]).collect();
            if let Some(v) = cramers_v(&cells) {
                gold::assert_within(&label, v, test.effect_size, 1e-9);
            }
            let test = gold::tested(&label, g_test(&counts));
            let expected = gold::numbers(&case["chi2_corr_False_log-likelihood"]);
            gold::assert_within(&label, test.statistic, expected[0], 1e-9);
            gold::assert_within(&label, test.p_value, expected[1], 1e-9);
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

    #[test]
    fn verdicts_stand_on_frequent_categories() {
        let test = |counts: &[(u64, u64)]| homogeneity_test(counts, 5.0);
        let insufficient = |n_reference, n_current| Outcome::Insufficient { n_reference, n_current };
        // All rare: whatever they are, nothing is said.
        let rare: Vec<(u64, u64)> = (0..40).map(|i| if i % 2 == 0 { (1, 0) } else { (0, 1) }).collect();
        assert_eq!(test(&rare), insufficient(20, 20));
        assert_eq!(test(&[(2, 3), (1, 1)]), insufficient(3, 4));
        assert_eq!(test(&[]), insufficient(0, 0));
        assert_eq!(test(&[(9, 0), (4, 0)]), insufficient(13, 0));
        // Nothing but one category on both sides does not differ.
        assert_eq!(gold::tested("one", test(&[(50, 60)])).p_value, 1.0);
        // A rare one beside one that is not: exact.
        let test_of = |counts: &[(u64, u64)]| gold::tested("verdict", test(counts));
        let exact = super::fisher_exact_test([[97, 92], [0, 3]]).unwrap().p_value;
        assert_eq!(test_of(&[(97, 92), (0, 1), (0, 2)]).p_value, exact);
        // A rare pool joins the smallest of several.
        let joined = chi2_test(&[(100, 90), (41, 52)]);
        assert_eq!(test(&[(100, 90), (40, 50), (1, 0), (0, 2)]), joined);
        // New and lost categories that are frequent count as they are.
        assert!(test_of(&[(100, 60), (0, 40)]).p_value < 1e-9);
        assert!(test_of(&[(60, 100), (40, 0)]).p_value < 1e-9);
        // Many new ones, each of them rare, count as a pool.
        let new: Vec<(u64, u64)> = std::iter::once((100, 60)).chain((0..40).map(|_| (0, 1))).collect();
        assert!(test_of(&new).p_value < 1e-9);
    }

    #[test]
    fn association_of_larger_tables() {
        let gold = gold::parse(include_str!("../../testdata/stats/chi2.json"));
        for case in gold::rows(&gold["association"]) {
            let cells = gold::rows(&case["table"]).iter().enumerate().flat_map(|(row, counts)| {
                let counts = gold::rows(counts).iter().enumerate();
                counts.map(move |(column, count)| (row, column, count.as_u64().unwrap()))
            });
            let v = cramers_v(&cells.collect::<Vec<_>>()).unwrap();
            gold::assert_close(&case["table"].to_string(), v, case["cramers_v"].as_f64().unwrap());
        }
        assert_eq!(cramers_v(&[]), None);
        assert_eq!(cramers_v(&[(0, 0, 4), (0, 1, 9), (1, 0, 0)]), None);
        assert_eq!(cramers_v(&[(0, 0, 5), (1, 1, 5)]), Some(1.0));
        assert_eq!(cramers_v(&[(0, 0, 5), (0, 1, 5), (1, 0, 5), (1, 1, 5)]), Some(0.0));
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
