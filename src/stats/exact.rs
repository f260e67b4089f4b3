//! Exact tests of counts: Fisher's of a table of two by two, and the binomial test. Both add up the
//! probabilities of all outcomes that are no likelier than the one observed.

use std::ops::RangeInclusive;

use super::tails::incomplete_beta;

/// Outcomes whose probabilities differ by less than this share are equally likely; what rounding makes of
/// equal ones is smaller. R and scipy's binomial test take the same.
const EQUAL_SHARE: f64 = 1e-7;
/// Largest total of counts: more outcomes than such a one has take too long to add up.
pub const EXACT_COUNT_MAX: u64 = 1_000_000_000;

/// Fisher's exact test of a table of two by two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FisherTest {
    /// a·d / (b·c): infinite where only b·c is 0, NaN where a row or a column is empty.
    pub odds_ratio: f64,
    /// Two-sided; 1 where a row or a column is empty.
    pub p_value: f64,
}

/// Tests whether rows and columns of the table `[[a, b], [c, d]]` are independent, with all its margins
/// given. `None` for a total above [`EXACT_COUNT_MAX`].
///
/// Source: Fisher (1922), Journal of the Royal Statistical Society 85(1). Same values as
/// `scipy.stats.fisher_exact`.
pub fn fisher_exact_test([[a, b], [c, d]]: [[u64; 2]; 2]) -> Option<FisherTest> {
    let total = [a, b, c, d].into_iter().try_fold(0_u64, u64::checked_add)?;
    if total > EXACT_COUNT_MAX {
        return None;
    }
    let (row, column) = (a + b, a + c);
    if row == 0 || column == 0 || row == total || column == total {
        return Some(FisherTest { odds_ratio: f64::NAN, p_value: 1.0 });
    }
    let odds_ratio = if b > 0 && c > 0 { a as f64 * d as f64 / (b as f64 * c as f64) } else { f64::INFINITY };
    // With the margins given, the first cell decides the others, and is hypergeometric.
    let outcomes = Outcomes {
        range: (row + column).saturating_sub(total)..=row.min(column),
        mode: ((u128::from(row) + 1) * (u128::from(column) + 1) / (u128::from(total) + 2)) as u64,
        rise: |x: u64| {
            let up = (row - x) as f64 * (column - x) as f64;
            up / ((x + 1) as f64 * (total + x + 1 - row - column) as f64)
        },
    };
    Some(FisherTest { odds_ratio, p_value: outcomes.no_likelier_than(a) })
}

/// The probability of `successes` in `trials`, or of any number no likelier, where each is a success with
/// `probability`. `None` where there are more successes than trials or more trials than [`EXACT_COUNT_MAX`],
/// and for a probability outside 0 to 1.
///
/// Source: Clopper, Pearson (1934), Biometrika 26(4). Same values as `scipy.stats.binomtest`.
pub fn binomial_test(successes: u64, trials: u64, probability: f64) -> Option<f64> {
    if successes > trials || trials > EXACT_COUNT_MAX || !(0.0..=1.0).contains(&probability) {
        return None;
    }
    if probability == 0.0 || probability == 1.0 {
        let only = if probability == 0.0 { 0 } else { trials };
        return Some(if successes == only { 1.0 } else { 0.0 });
    }
    let odds = probability / (1.0 - probability);
    let outcomes = Outcomes {
        range: 0..=trials,
        mode: (((trials + 1) as f64 * probability) as u64).min(trials),
        rise: |x: u64| (trials - x) as f64 / (x + 1) as f64 * odds,
    };
    Some(outcomes.no_likelier_than(successes))
}

/// The probability of `successes` or more in `trials`, where each is a success with `probability`: the one-sided test
/// against "no more than this probability". `None` where there are more successes than trials, and for a probability
/// outside 0 to 1.
///
/// Source: the binomial's tail as an incomplete beta function, DLMF 8.17.5. Same values as
/// `scipy.stats.binomtest(…, alternative="greater")`.
pub fn binomial_upper_tail(successes: u64, trials: u64, probability: f64) -> Option<f64> {
    if successes > trials || !(0.0..=1.0).contains(&probability) {
        return None;
    }
    if successes == 0 {
        return Some(1.0);
    }
    let (k, rest) = (successes as f64, (trials - successes) as f64);
    Some(incomplete_beta(k, rest + 1.0, probability, 1.0 - probability))
}

/// A distribution over whole numbers whose probabilities rise to one mode and fall from there.
struct Outcomes<F> {
    range: RangeInclusive<u64>,
    mode: u64,
    /// The probability of x + 1 over that of x.
    rise: F,
}

impl<F: Fn(u64) -> f64> Outcomes<F> {
    /// Probability of all outcomes that are no likelier than `observed`.
    ///
    /// Probabilities are taken relative to the mode's and walk away from it on both sides, so only quotients of
    /// neighbours are computed: nothing cancels, and the error grows with the steps only. The walk ends where
    /// what is left cannot count any more, after some multiple of the standard deviation.
    fn no_likelier_than(&self, observed: u64) -> f64 {
        let observed_weight = if observed >= self.mode {
            self.above().find(|(x, _)| *x == observed).map_or(0.0, |(_, weight)| weight)
        } else {
            self.below().find(|(x, _)| *x == observed).map_or(0.0, |(_, weight)| weight)
        };
        let limit = observed_weight * (1.0 + EQUAL_SHARE);
        let nothing = observed_weight * 1e-20;
        let (mut all, mut counted) = (0.0, 0.0);
        let mut add = |weight: f64| {
            all += weight;
            if weight <= limit {
                counted += weight;
            }
        };
        self.above().take_while(|(_, weight)| *weight > nothing).for_each(|(_, weight)| add(weight));
        // The mode stands in both walks.
        self.below().skip(1).take_while(|(_, weight)| *weight > nothing).for_each(|(_, weight)| add(weight));
        (counted / all).min(1.0)
    }

    /// From the mode up, until a weight is 0.
    fn above(&self) -> impl Iterator<Item = (u64, f64)> {
        let end = *self.range.end();
        std::iter::successors(Some((self.mode, 1.0)), move |&(x, weight)| {
            (x < end && weight > 0.0).then(|| (x + 1, weight * (self.rise)(x)))
        })
    }

    /// From the mode down, until a weight is 0.
    fn below(&self) -> impl Iterator<Item = (u64, f64)> {
        let start = *self.range.start();
        std::iter::successors(Some((self.mode, 1.0)), move |&(x, weight)| {
            (x > start && weight > 0.0).then(|| (x - 1, weight / (self.rise)(x - 1)))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::gold;
    use super::{EXACT_COUNT_MAX, binomial_test, binomial_upper_tail, fisher_exact_test};

    fn table(value: &Value) -> [[u64; 2]; 2] {
        let cell = |row: usize, column: usize| value[row][column].as_u64().unwrap();
        [[cell(0, 0), cell(0, 1)], [cell(1, 0), cell(1, 1)]]
    }

    fn check_fisher(cases: &Value) {
        for case in gold::rows(cases).iter().filter(|case| case["fisher"].is_array()) {
            let label = case["table"].to_string();
            let test = fisher_exact_test(table(&case["table"])).unwrap();
            match case["fisher"][0].as_f64() {
                Some(expected) => gold::assert_close(&label, test.odds_ratio, expected),
                None => assert!(!test.odds_ratio.is_finite(), "{label}"),
            }
            gold::assert_close(&label, test.p_value, case["fisher"][1].as_f64().unwrap());
        }
    }

    fn check_binomial(cases: &Value) {
        for case in gold::rows(cases) {
            let (k, n) = (case["k"].as_u64().unwrap(), case["n"].as_u64().unwrap());
            let p_value = binomial_test(k, n, case["p"].as_f64().unwrap()).unwrap();
            gold::assert_close(&case.to_string(), p_value, case["p_two"].as_f64().unwrap());
        }
    }

    #[test]
    fn match_scipy() {
        let gold = gold::parse(include_str!("../../testdata/stats/proportions.json"));
        check_fisher(&gold["fisher"]);
        check_binomial(&gold["binomial"]);
    }

    #[test]
    fn match_the_larger_gold_set() {
        if let Some(gold) = gold::shared() {
            check_fisher(&gold["contingency"]);
            check_binomial(&gold["binom"]);
        }
    }

    #[test]
    fn what_makes_no_sense_has_no_answer() {
        assert_eq!(binomial_test(4, 3, 0.5), None);
        assert_eq!(binomial_test(1, 3, 1.5), None);
        assert_eq!(binomial_test(1, 3, f64::NAN), None);
        assert_eq!(binomial_test(1, EXACT_COUNT_MAX + 1, 0.5), None);
        assert_eq!((binomial_upper_tail(4, 3, 0.5), binomial_upper_tail(1, 3, f64::NAN)), (None, None));
        assert_eq!(fisher_exact_test([[EXACT_COUNT_MAX, 1], [0, 0]]), None);
        assert_eq!(fisher_exact_test([[u64::MAX, u64::MAX], [1, 1]]), None);
    }

    #[test]
    fn ends() {
        assert_eq!(binomial_test(0, 0, 0.3), Some(1.0));
        assert_eq!((binomial_test(0, 5, 0.0), binomial_test(1, 5, 0.0)), (Some(1.0), Some(0.0)));
        assert_eq!((binomial_test(5, 5, 1.0), binomial_test(4, 5, 1.0)), (Some(1.0), Some(0.0)));
        let empty = fisher_exact_test([[0, 0], [3, 4]]).unwrap();
        assert!(empty.odds_ratio.is_nan() && empty.p_value == 1.0);
    }

    #[test]
    fn the_largest_counts_end() {
        let half = EXACT_COUNT_MAX / 2;
        assert_eq!(binomial_test(half, EXACT_COUNT_MAX, 0.5), Some(1.0));
        assert_eq!(binomial_test(0, EXACT_COUNT_MAX, 0.5), Some(0.0));
        // Two standard deviations off.
        let p_value = binomial_test(half + 31_623, EXACT_COUNT_MAX, 0.5).unwrap();
        assert!((p_value - 0.0455).abs() < 1e-4, "{p_value}");
    }

    proptest! {
        #[test]
        fn an_upper_tail_is_its_outcomes_added_up(n in 0..40_u64, part in 0.0..=1.0_f64, p in 0.001..0.999_f64) {
            let k = (part * n as f64) as u64;
            let choose = |x: u64| (0..x).fold(1.0, |all, i| all * (n - i) as f64 / (i + 1) as f64);
            let of = |x: u64| choose(x) * p.powi(x as i32) * (1.0 - p).powi((n - x) as i32);
            let expected: f64 = (k..=n).map(of).sum();
            let found = binomial_upper_tail(k, n, p).unwrap();
            prop_assert!((found - expected).abs() <= 1e-11 * expected.max(1e-300), "{found} {expected}");
        }

        #[test]
        fn a_table_is_the_same_from_all_sides(a in 0..60_u64, b in 0..60_u64, c in 0..60_u64, d in 0..60_u64) {
            let p_value = |table| fisher_exact_test(table).unwrap().p_value;
            let found = p_value([[a, b], [c, d]]);
            prop_assert!((0.0..=1.0).contains(&found));
            for turned in [[[c, d], [a, b]], [[b, a], [d, c]], [[a, c], [b, d]]] {
                prop_assert!((found - p_value(turned)).abs() <= 1e-12 * found);
            }
        }
    }
}
