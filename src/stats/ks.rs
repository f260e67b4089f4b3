//! The two-sided two-sample Kolmogorov-Smirnov test.
//!
//! The p-value is exact up to [`EXACT_SAMPLE_MAX`] observations on the larger side and asymptotic
//! above, the rule of `scipy.stats.ks_2samp(method="auto")`. Never drops a NaN and never decides
//! how much data is enough: only an empty sample is refused.

use super::kolmogorov::kolmogorov_sf;
use super::order::{sort, ties};
use super::unsorted::{Distance, measure};
use super::{Outcome, TwoSampleTest, totals};

/// Tests whether two samples come from one continuous distribution. Sorts both in place.
///
/// Statistic and effect size are both D, the largest distance between the two empirical
/// distribution functions, 0 to 1. Equal values, within and across samples, step both functions at
/// once. NaNs are the caller's to drop: they are ordered as `f64::total_cmp` orders them and count
/// as observations. An empty sample gives [`Outcome::Insufficient`].
///
/// Sources: Smirnov (1939); Hodges (1958), "The Significance Probability of the Smirnov Two-Sample
/// Test", Arkiv för Matematik 3(43).
pub fn ks_test(reference: &mut [f64], current: &mut [f64]) -> Outcome {
    let (n_reference, n_current) = (reference.len() as u64, current.len() as u64);
    if n_reference == 0 || n_current == 0 {
        return Outcome::Insufficient { n_reference, n_current };
    }
    sort(reference);
    sort(current);
    let grid = Grid::new(n_reference, n_current);
    let mut distance = grid.distance();
    ties(reference, current).for_each(|tie| distance.pass(tie.reference, tie.current));
    Outcome::Tested(grid.tested(distance.largest()))
}

/// The same of samples that are given in parts, without NaNs and in no order. Of many values only a few are sorted.
pub fn ks_test_of_parts(reference: &[&[f64]], current: &[&[f64]]) -> Outcome {
    let count = |parts: &[&[f64]]| parts.iter().map(|part| part.len() as u64).sum();
    let (n_reference, n_current): (u64, u64) = (count(reference), count(current));
    if n_reference == 0 || n_current == 0 {
        return Outcome::Insufficient { n_reference, n_current };
    }
    if n_reference + n_current < UNSORTED_MIN || n_reference.max(n_current) > UNSORTED_MAX {
        return ks_test(&mut reference.concat(), &mut current.concat());
    }
    let grid = Grid::new(n_reference, n_current);
    let mut distance = grid.distance();
    measure(reference, current, &mut distance);
    Outcome::Tested(grid.tested(distance.largest()))
}

/// Fewer values are sorted: counting them in bins pays for many only.
const UNSORTED_MIN: u64 = 1 << 15;
/// A larger sample is sorted: bins count so many.
const UNSORTED_MAX: u64 = u32::MAX as u64;

/// What counts of two samples in the same bins say of their Kolmogorov-Smirnov test: the two results
/// that the exact one is between.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BinnedKs {
    /// The test at the least D that values with these counts can have: the largest distance of the two
    /// distribution functions at the end of a bin. Its p-value is the largest possible.
    pub least: TwoSampleTest,
    /// The test at the greatest D. It exceeds the least by no more than the smaller of both samples' shares in
    /// a bin, in the bin where that is largest.
    pub greatest: TwoSampleTest,
}

/// The Kolmogorov-Smirnov test of two samples of which only counts per bin are known, `(reference, current)` each
/// by rising value. `None` for a sample without any count.
///
/// At the end of a bin both distribution functions are known. Within one each rises from its value at the
/// lower end to that at the upper, so there they are never further apart than one's upper from the
/// other's lower value. Both bounds are reached by some values.
pub fn ks_test_of_bins(counts: &[(u64, u64)]) -> Option<BinnedKs> {
    ks_test_of_bins_and_values(&counts.iter().map(|counts| (*counts, false)).collect::<Vec<_>>())
}

/// The same where some bins, marked so, hold one value alone: within these nothing is unknown.
pub fn ks_test_of_bins_and_values(bins: &[((u64, u64), bool)]) -> Option<BinnedKs> {
    let (n_reference, n_current) = totals(&bins.iter().map(|(counts, _)| *counts).collect::<Vec<_>>());
    if n_reference == 0 || n_current == 0 {
        return None;
    }
    let grid = Grid::new(n_reference, n_current);
    let (reference_step, current_step) = grid.steps();
    let (mut below, mut least, mut greatest) = ((0_i128, 0_i128), 0, 0);
    for &((reference, current), is_value) in bins {
        let upper = (below.0 + i128::from(reference) * reference_step, below.1 + i128::from(current) * current_step);
        least = least.max((upper.0 - upper.1).abs());
        greatest = greatest.max(match is_value {
            true => (upper.0 - upper.1).abs(),
            false => (upper.0 - below.1).max(upper.1 - below.0),
        });
        below = upper;
    }
    Some(BinnedKs { least: grid.tested(least), greatest: grid.tested(greatest) })
}

/// Most observations on the larger side for which the p-value is exact. The exact count takes time
/// proportional to the product of both sizes, so this bounds it at 10⁸ cells.
const EXACT_SAMPLE_MAX: u64 = 10_000;

/// The lattice on which a pair of sample sizes lives.
///
/// Reading both samples in order is a path from (0, 0) to (larger, smaller); under the hypothesis
/// every path is equally likely. At (i, j) the distribution functions differ by
/// |i·smaller − j·larger| / (larger·smaller), an integer over the least common multiple once both
/// sizes are divided by their greatest common divisor. So D is exact in integers.
struct Grid {
    n_reference: u64,
    n_current: u64,
    larger: u64,
    smaller: u64,
    divisor: u64,
}

impl Grid {
    fn new(n_reference: u64, n_current: u64) -> Self {
        Self {
            n_reference,
            n_current,
            larger: n_reference.max(n_current),
            smaller: n_reference.min(n_current),
            divisor: greatest_common_divisor(n_reference, n_current),
        }
    }

    fn common_multiple(&self) -> u128 {
        u128::from(self.larger / self.divisor) * u128::from(self.smaller)
    }

    /// By how much one value moves each distribution function, in units of one over the least common multiple.
    fn steps(&self) -> (i128, i128) {
        (i128::from(self.n_current / self.divisor), i128::from(self.n_reference / self.divisor))
    }

    /// D in the same units, before any value.
    fn distance(&self) -> Distance {
        Distance::new(self.steps())
    }

    fn tested(&self, distance: i128) -> TwoSampleTest {
        let distance = distance.unsigned_abs();
        let statistic = distance as f64 / self.common_multiple() as f64;
        TwoSampleTest {
            statistic,
            p_value: self.p_value(distance, statistic),
            effect_size: statistic,
            n_reference: self.n_reference,
            n_current: self.n_current,
        }
    }

    fn p_value(&self, distance: u128, statistic: f64) -> f64 {
        if distance == 0 {
            return 1.0;
        }
        if self.larger > EXACT_SAMPLE_MAX {
            return self.asymptotic(statistic);
        }
        // Sizes up to the exact limit keep the distance below 10⁸.
        let distance = distance as u64;
        let exact = if self.larger == self.smaller {
            outside_square(self.larger, distance)
        } else {
            self.outside_band(distance)
        };
        // Rounding of a sum can leave the unit interval; the exact value is then of no more use
        // than the asymptotic one.
        if (0.0..=1.0).contains(&exact) { exact } else { self.asymptotic(statistic) }
    }

    /// The one-sample distribution at the effective size n·m/(n+m), rounded half to even.
    fn asymptotic(&self, statistic: f64) -> f64 {
        let (larger, smaller) = (self.larger as f64, self.smaller as f64);
        let effective = (larger * smaller / (larger + smaller)).round_ties_even();
        kolmogorov_sf(effective.max(1.0) as u64, statistic)
    }

    /// Share of the paths from (0, 0) to (larger, smaller) that reach a cell (i, j) with
    /// |i·smaller − j·larger| / divisor ≥ distance.
    ///
    /// The share a(i, j) for paths ending in (i, j) is 1 on and outside that band. Inside, the last
    /// step came from the left with probability i/(i+j) or from below with j/(i+j), so
    /// a(i, j) = (i·a(i−1, j) + j·a(i, j−1)) / (i+j). Every term is positive and at most 1: nothing
    /// overflows, nothing cancels, and a small share keeps its relative precision.
    ///
    /// The cells are filled along the diagonals i + j = constant, whose cells do not depend on each
    /// other, in one row indexed by j.
    ///
    /// Source: Hodges (1958), the recursion turned to the paths that leave the band; Viehmann (2021), "Numerically more stable computation of the p-values for the two-sample
    /// Kolmogorov-Smirnov test", arXiv:2102.08037.
    fn outside_band(&self, distance: u64) -> f64 {
        let right = self.smaller / self.divisor;
        let up = self.larger / self.divisor;
        let columns: Vec<f64> = (0..=self.smaller).map(|j| j as f64).collect();
        let mut shares = vec![1.0_f64; columns.len()];
        shares[0] = 0.0;

        let mut first_before = 0;
        for diagonal in 1..=self.larger + self.smaller {
            // Inside means |right·i − up·j| < distance with i = diagonal − j.
            let center = right * diagonal;
            let first_inside = match center.checked_sub(distance) {
                Some(edge) => edge / (right + up) + 1,
                None => 0,
            };
            let end_inside = (center + distance).div_ceil(right + up);
            let first = first_inside.max(diagonal.saturating_sub(self.larger)) as usize;
            let end = end_inside.min(diagonal + 1).min(self.smaller + 1) as usize;
            if first < end {
                step_diagonal(&mut shares[..end], &columns[..end], first, diagonal as f64);
            }
            // Cells that the band has moved past are outside it from here on.
            shares[first_before..first].fill(1.0);
            first_before = first;
        }
        shares[self.smaller as usize]
    }
}

/// Moves the cells from `first` on to the next diagonal, highest first, because each reads its lower
/// neighbour on the diagonal before.
fn step_diagonal(shares: &mut [f64], columns: &[f64], first: usize, diagonal: f64) {
    let lowest = first.max(1);
    for j in (lowest..shares.len().min(columns.len())).rev() {
        let i = diagonal - columns[j];
        shares[j] = (shares[j] * i + shares[j - 1] * columns[j]) / diagonal;
    }
}

/// Share of the paths from (0, 0) to (n, n) that touch a line |i − j| = distance.
///
/// By reflection it is 2·Σ_{k≥1} (−1)^{k−1} C(2n, n − k·distance) / C(2n, n) (Gnedenko and Korolyuk
/// 1951). Each quotient is a product over the one before, so the sum is folded from its last term
/// as 2·A₁(1 − A₂(1 − A₃(…))), which spares the cancellation between large binomials.
fn outside_square(n: u64, distance: u64) -> f64 {
    let mut folded = 0.0;
    for reflection in (0..=n / distance).rev() {
        let offset = reflection * distance;
        let quotient: f64 = (0..distance)
            .map(|j| (n as f64 - offset as f64 - j as f64).max(0.0) / (n + offset + j + 1) as f64)
            .product();
        folded = quotient * (1.0 - folded);
    }
    2.0 * folded
}

fn greatest_common_divisor(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::{Outcome, TwoSampleTest, gold};
    use super::{Grid, ks_test, ks_test_of_bins};

    fn check(label: &str, mut reference: Vec<f64>, mut current: Vec<f64>, statistic_and_p: &Value) {
        let expected = rows_of(statistic_and_p);
        let test = gold::tested(label, ks_test(&mut reference, &mut current));
        gold::assert_close(label, test.statistic, expected[0]);
        gold::assert_close(label, test.p_value, expected[1]);
        assert_eq!(test.effect_size, test.statistic, "{label}");
        assert_eq!((test.n_reference, test.n_current), (reference.len() as u64, current.len() as u64));
    }

    fn rows_of(value: &Value) -> Vec<f64> {
        gold::rows(value).iter().take(2).map(|number| number.as_f64().unwrap()).collect()
    }

    #[test]
    fn matches_scipy() {
        let cases = gold::parse(include_str!("../../testdata/stats/ks.json"));
        for case in gold::rows(&cases) {
            let label = case["name"].as_str().unwrap();
            check(label, gold::sample(&case["reference"]), gold::sample(&case["current"]), &case["ks"]);
        }
    }

    #[test]
    fn matches_the_larger_gold_set() {
        for (label, reference, current, case) in gold::shared_two_samples() {
            let grid = Grid::new(reference.len() as u64, current.len() as u64);
            let asymptotic = rows_of(&case["ks_two-sided_asymp"]);
            gold::assert_close(&label, grid.asymptotic(asymptotic[0]), asymptotic[1]);
            check(&label, reference, current, &case["ks_two-sided_auto"]);
        }
    }

    #[test]
    fn an_empty_sample_is_insufficient() {
        let outcome = |n_reference, n_current| Outcome::Insufficient { n_reference, n_current };
        assert_eq!(ks_test(&mut [], &mut []), outcome(0, 0));
        assert_eq!(ks_test(&mut [1.0], &mut []), outcome(1, 0));
        assert_eq!(ks_test(&mut [], &mut [1.0, 2.0]), outcome(0, 2));
        assert_eq!(ks_test_of_bins(&[]), None);
        assert_eq!(ks_test_of_bins(&[(3, 0), (1, 0)]), None);
    }

    #[test]
    fn odd_values_end_and_compare() {
        let distance = |mut left: Vec<f64>, mut right: Vec<f64>| {
            gold::tested("odd values", ks_test(&mut left, &mut right)).statistic
        };
        assert_eq!(distance(vec![0.0, -0.0], vec![-0.0, 0.0, 0.0]), 0.0);
        assert_eq!(distance(vec![f64::INFINITY, 1.0], vec![1.0, f64::INFINITY]), 0.0);
        assert_eq!(distance(vec![f64::NAN, 1.0], vec![f64::NAN, 1.0]), 0.0);
        assert_eq!(distance(vec![f64::NAN, -f64::NAN], vec![1.0]), 0.5);
    }

    /// Few distinct values, so that ties are common.
    fn samples() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec((0..40_u8).prop_map(f64::from), 1..60)
    }

    proptest! {
        #[test]
        fn probabilities_are_probabilities_and_sides_are_alike(
            mut reference in samples(),
            mut current in samples(),
        ) {
            let test = gold::tested("proptest", ks_test(&mut reference, &mut current));
            let mirror = gold::tested("proptest", ks_test(&mut current, &mut reference));
            prop_assert!((0.0..=1.0).contains(&test.p_value));
            prop_assert!((0.0..=1.0).contains(&test.statistic));
            let swapped = TwoSampleTest {
                n_reference: test.n_current,
                n_current: test.n_reference,
                ..test
            };
            prop_assert_eq!(swapped, mirror);
        }

        #[test]
        fn bins_keep_their_bound(mut reference in samples(), mut current in samples(), width in 1..15_usize) {
            let in_bin = |sample: &[f64], bin: usize| {
                sample.iter().filter(|value| **value as usize / width == bin).count() as u64
            };
            let counts: Vec<(u64, u64)> =
                (0..40 / width + 1).map(|bin| (in_bin(&reference, bin), in_bin(&current, bin))).collect();
            let bins = ks_test_of_bins(&counts).unwrap();
            let test = gold::tested("proptest", ks_test(&mut reference, &mut current));
            let (least, greatest) = (bins.least, bins.greatest);
            prop_assert!(least.statistic <= test.statistic && test.statistic <= greatest.statistic);
            prop_assert!(greatest.p_value <= test.p_value && test.p_value <= least.p_value);
            let share = |count: &(u64, u64)| {
                (count.0 as f64 / reference.len() as f64).min(count.1 as f64 / current.len() as f64)
            };
            let bound = counts.iter().map(share).fold(0.0, f64::max);
            prop_assert!(greatest.statistic - least.statistic <= bound + 1e-12);
            if width == 1 {
                prop_assert_eq!(least, test);
            }
        }

        #[test]
        fn only_the_order_counts(reference in samples(), current in samples()) {
            let stretched = |values: &[f64]| -> Vec<f64> { values.iter().map(|value| value.exp() - 3.0).collect() };
            let test = ks_test(&mut reference.clone(), &mut current.clone());
            prop_assert_eq!(test, ks_test(&mut stretched(&reference), &mut stretched(&current)));
        }

        #[test]
        fn a_sample_does_not_differ_from_itself(mut reference in samples()) {
            let mut current = reference.clone();
            let test = gold::tested("proptest", ks_test(&mut reference, &mut current));
            prop_assert_eq!((test.statistic, test.p_value), (0.0, 1.0));
        }
    }
}
