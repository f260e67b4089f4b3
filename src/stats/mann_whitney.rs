//! The Mann-Whitney U test, and Cliff's delta: does one sample tend to be larger than the other?
//!
//! The p-value follows the rule of `scipy.stats.mannwhitneyu(method="auto")`: exact where a sample has
//! at most 8 values and no two values are equal, else the normal approximation, corrected for ties and
//! for continuity.

use super::{
    Outcome, TwoSampleTest,
    order::{sort, ties},
    tails::normal_sf,
};

/// Tests whether either sample tends to have the larger values. Sorts both in place.
///
/// The statistic is U of the reference sample: how many pairs have their larger value there, equal
/// ones counted half. The p-value is two-sided. The effect size is Cliff's delta, −1 to 1, above 0
/// where current values are the larger ones. Infinities are the largest values; NaNs are the caller's
/// to drop. An empty sample gives [`Outcome::Insufficient`].
///
/// Sources: Mann, Whitney (1947), Annals of Mathematical Statistics 18(1); Cliff (1993), Psychological
/// Bulletin 114(3). Same values as `scipy.stats.mannwhitneyu(reference, current)`; scipy takes
/// the exact way for any size of the larger sample, this one up to [`EXACT_LARGER_MAX`].
pub fn mann_whitney_test(reference: &mut [f64], current: &mut [f64]) -> Outcome {
    let (n_reference, n_current) = (reference.len() as u64, current.len() as u64);
    if n_reference == 0 || n_current == 0 {
        return Outcome::Insufficient { n_reference, n_current };
    }
    sort(reference);
    sort(current);
    let pairs = Pairs::count(reference, current);
    Outcome::Tested(TwoSampleTest {
        statistic: pairs.doubled_u as f64 / 2.0,
        p_value: pairs.p_value(n_reference, n_current),
        effect_size: pairs.delta(n_reference, n_current),
        n_reference,
        n_current,
    })
}

/// Cliff's delta: the share of pairs in which the current value is the larger one, less the share in
/// which the reference value is; −1 to 1, and `None` for an empty sample. Sorts both in place.
pub fn cliffs_delta(reference: &mut [f64], current: &mut [f64]) -> Option<f64> {
    if reference.is_empty() || current.is_empty() {
        return None;
    }
    sort(reference);
    sort(current);
    Some(Pairs::count(reference, current).delta(reference.len() as u64, current.len() as u64))
}

/// Most values on the larger side for which the p-value is exact.
const EXACT_LARGER_MAX: u64 = 100_000;
/// Most values on the smaller side.
const EXACT_SMALLER_MAX: u64 = 8;

/// What the order of two samples says, in whole numbers.
struct Pairs {
    /// Twice U of the reference sample.
    doubled_u: u128,
    /// Σ (t³ − t) over the numbers t of equal values.
    tie_term: u128,
}

impl Pairs {
    fn count(reference: &[f64], current: &[f64]) -> Self {
        let mut pairs = Self { doubled_u: 0, tie_term: 0 };
        let mut current_below = 0_u128;
        for tie in ties(reference, current) {
            let (here, other) = (tie.reference as u128, tie.current as u128);
            pairs.doubled_u += here * (2 * current_below + other);
            let equal = tie.both() as u128;
            pairs.tie_term += equal * equal * equal - equal;
            current_below += other;
        }
        pairs
    }

    fn delta(&self, n_reference: u64, n_current: u64) -> f64 {
        let all = u128::from(n_reference) * u128::from(n_current);
        let above = all.abs_diff(self.doubled_u) as f64 / all as f64;
        if self.doubled_u > all { -above } else { above }
    }

    fn p_value(&self, n_reference: u64, n_current: u64) -> f64 {
        let (smaller, larger) = (n_reference.min(n_current), n_reference.max(n_current));
        if self.tie_term == 0 && smaller <= EXACT_SMALLER_MAX && larger <= EXACT_LARGER_MAX {
            // Without equal values U is whole, and both ends are equally likely.
            let all = u128::from(n_reference) * u128::from(n_current);
            let u = (self.doubled_u / 2).min(all - self.doubled_u / 2);
            return (2.0 * share_up_to(u as usize, smaller as usize, larger as usize)).min(1.0);
        }
        self.asymptotic(n_reference as f64, n_current as f64)
    }

    fn asymptotic(&self, n_reference: f64, n_current: f64) -> f64 {
        let total = n_reference + n_current;
        let u = self.doubled_u as f64 / 2.0;
        let larger_u = u.max(n_reference * n_current - u);
        let correction = self.tie_term as f64 / (total * (total - 1.0));
        let deviation = (n_reference * n_current / 12.0 * (total + 1.0 - correction)).sqrt();
        // Where all values are equal the deviation is 0, and so is what is divided, but for the half.
        let z = (larger_u - n_reference * n_current / 2.0 - 0.5) / deviation;
        (2.0 * normal_sf(z)).min(1.0)
    }
}

/// Share of all orders of two samples of different values for which U is at most `u`.
///
/// The numbers of orders are the coefficients of Π (1 − q^(larger + i)) / (1 − q^i) over i up to
/// `smaller`, the Gaussian binomial. They are added up modulo 2¹²⁸, so a difference that passes
/// through larger numbers comes out exact; within the limits above the results are below.
fn share_up_to(u: usize, smaller: usize, larger: usize) -> f64 {
    let mut orders = vec![0_u128; u + 1];
    orders[0] = 1;
    for i in 1..=smaller {
        for index in (larger + i..=u).rev() {
            orders[index] = orders[index].wrapping_sub(orders[index - larger - i]);
        }
        for index in i..=u {
            orders[index] = orders[index].wrapping_add(orders[index - i]);
        }
    }
    let favourable: f64 = orders.into_iter().map(|count| count as f64).sum();
    let all: f64 = (1..=smaller).map(|i| (larger + i) as f64 / i as f64).product();
    favourable / all
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Outcome, gold};
    use super::{cliffs_delta, mann_whitney_test, share_up_to};

    #[test]
    fn matches_scipy() {
        gold::check_two_samples("mann_whitney", 1e-9, mann_whitney_test);
    }

    #[test]
    fn matches_the_larger_gold_set() {
        gold::check_shared_two_samples("mwu_two-sided_auto", 1e-9, mann_whitney_test);
    }

    #[test]
    fn an_empty_sample_is_insufficient() {
        let outcome = |n_reference, n_current| Outcome::Insufficient { n_reference, n_current };
        assert_eq!(mann_whitney_test(&mut [], &mut [1.0]), outcome(0, 1));
        assert_eq!(mann_whitney_test(&mut [1.0], &mut []), outcome(1, 0));
        assert_eq!(cliffs_delta(&mut [], &mut [1.0]), None);
    }

    #[test]
    fn delta_is_the_balance_of_pairs() {
        assert_eq!(cliffs_delta(&mut [1.0, 2.0], &mut [3.0, 4.0]), Some(1.0));
        assert_eq!(cliffs_delta(&mut [3.0, 4.0], &mut [1.0, 2.0]), Some(-1.0));
        assert_eq!(cliffs_delta(&mut [1.0, 2.0], &mut [2.0]), Some(0.5));
        assert_eq!(cliffs_delta(&mut [7.0], &mut [7.0, 7.0]), Some(0.0));
    }

    #[test]
    fn the_largest_exact_case_is_exact() {
        // Half of the orders are at or below the middle, and one is at 0.
        let half = share_up_to(8 * 99_999 / 2, 8, 99_999);
        assert!((half - 0.5).abs() < 1e-4, "{half}");
        gold::assert_close("all", share_up_to(8 * 20, 8, 20), 1.0);
    }

    fn samples() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec((0..30_u8).prop_map(f64::from), 1..40)
    }

    proptest! {
        #[test]
        fn sides_mirror_and_delta_is_what_pairs_say(mut reference in samples(), mut current in samples()) {
            let pairs = (reference.len() * current.len()) as f64;
            let signs: f64 = reference
                .iter()
                .flat_map(|left| current.iter().map(move |right| (right - left).clamp(-1.0, 1.0)))
                .sum();
            let test = gold::tested("proptest", mann_whitney_test(&mut reference, &mut current));
            let mirror = gold::tested("proptest", mann_whitney_test(&mut current, &mut reference));
            prop_assert!((test.effect_size - signs / pairs).abs() < 1e-12);
            prop_assert_eq!(test.effect_size, -mirror.effect_size);
            prop_assert_eq!(test.statistic + mirror.statistic, pairs);
            prop_assert!((0.0..=1.0).contains(&test.p_value));
            prop_assert_eq!(test.p_value, mirror.p_value);
        }

        #[test]
        fn only_the_order_counts(reference in samples(), current in samples()) {
            let stretched = |values: &[f64]| -> Vec<f64> { values.iter().map(|value| value.exp() - 3.0).collect() };
            let test = mann_whitney_test(&mut reference.clone(), &mut current.clone());
            prop_assert_eq!(test, mann_whitney_test(&mut stretched(&reference), &mut stretched(&current)));
        }
    }
}
