//! The two-sided two-sample Kolmogorov-Smirnov test.
//!
//! The p-value is exact up to [`EXACT_SAMPLE_MAX`] observations on the larger side and asymptotic
//! above, the rule of `scipy.stats.ks_2samp(method="auto")`. Never drops a NaN and never decides
//! how much data is enough: only an empty sample is refused.

use super::kolmogorov::kolmogorov_sf;
use super::{Outcome, TwoSampleTest};

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
    reference.sort_unstable_by(f64::total_cmp);
    current.sort_unstable_by(f64::total_cmp);

    let grid = Grid::new(n_reference, n_current);
    let distance = grid.largest_distance(reference, current);
    let statistic = distance as f64 / grid.common_multiple() as f64;
    Outcome::Tested(TwoSampleTest {
        statistic,
        p_value: grid.p_value(distance, statistic),
        effect_size: statistic,
        n_reference,
        n_current,
    })
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
    larger: u64,
    smaller: u64,
    divisor: u64,
}

impl Grid {
    fn new(n_reference: u64, n_current: u64) -> Self {
        Self {
            larger: n_reference.max(n_current),
            smaller: n_reference.min(n_current),
            divisor: greatest_common_divisor(n_reference, n_current),
        }
    }

    fn common_multiple(&self) -> u128 {
        u128::from(self.larger / self.divisor) * u128::from(self.smaller)
    }

    /// D in units of one over the least common multiple, from sorted samples.
    fn largest_distance(&self, reference: &[f64], current: &[f64]) -> u128 {
        let reference_step = u128::from(current.len() as u64 / self.divisor);
        let current_step = u128::from(reference.len() as u64 / self.divisor);
        let (mut i, mut j) = (0, 0);
        let mut largest = 0;
        // Past the end of either sample the distance only falls.
        while i < reference.len() && j < current.len() {
            let value = match reference[i].total_cmp(&current[j]) {
                std::cmp::Ordering::Greater => current[j],
                _ => reference[i],
            };
            i += leading_ties(&reference[i..], value);
            j += leading_ties(&current[j..], value);
            let distance = (i as u128 * reference_step).abs_diff(j as u128 * current_step);
            largest = largest.max(distance);
        }
        largest
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

/// How many of the leading values equal `value`, which is not above the first of them. Both orders
/// are asked: `==` makes the two zeros one value, `total_cmp` makes a NaN equal to itself.
fn leading_ties(sorted: &[f64], value: f64) -> usize {
    sorted.iter().take_while(|&&other| other == value || other.total_cmp(&value).is_eq()).count()
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
    use std::fs::File;
    use std::io::{BufRead, BufReader};

    use flate2::read::GzDecoder;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::{Outcome, TwoSampleTest, gold};
    use super::{Grid, ks_test};

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

    /// A sample written as `[n, multiplier, modulus, shift]`: the values i·multiplier mod modulus +
    /// shift for i below n. A modulus below n makes ties.
    fn sample(recipe: &Value) -> Vec<f64> {
        let recipe: Vec<i64> = gold::rows(recipe).iter().map(|number| number.as_i64().unwrap()).collect();
        (0..recipe[0]).map(|i| (i * recipe[1] % recipe[2] + recipe[3]) as f64).collect()
    }

    #[test]
    fn matches_scipy() {
        let cases = gold::parse(include_str!("../../testdata/stats/ks.json"));
        for case in gold::rows(&cases) {
            let label = case["name"].as_str().unwrap();
            check(label, sample(&case["reference"]), sample(&case["current"]), &case["ks"]);
        }
    }

    #[test]
    fn matches_the_larger_gold_set() {
        let Some(gold) = gold::shared() else { return };
        for case in gold::rows(&gold["two_sample_inline"]) {
            let label = case["name"].as_str().unwrap();
            let (reference, current) = (gold::numbers(&case["a"]), gold::numbers(&case["b"]));
            let grid = Grid::new(reference.len() as u64, current.len() as u64);
            let asymptotic = rows_of(&case["ks_two-sided_asymp"]);
            gold::assert_close(label, grid.asymptotic(asymptotic[0]), asymptotic[1]);
            check(label, reference, current, &case["ks_two-sided_auto"]);
        }
    }

    #[test]
    fn matches_on_production_requests() {
        let Some(gold) = gold::shared() else { return };
        let (Some(conv), Some(code)) = (requests("azure-conv.ndjson.gz"), requests("azure-code.ndjson.gz")) else {
            return;
        };
        for case in gold::rows(&gold["two_sample_azure"]) {
            let label = case["name"].as_str().unwrap();
            let (column, slices) = label.split_once(':').unwrap();
            let column = ["ContextTokens", "GeneratedTokens"].iter().position(|name| *name == column).unwrap();
            let (conv, code) = (&conv[column], &code[column]);
            let (reference, current) = match slices {
                "conv_vs_code" => (&conv[..], &code[..]),
                "conv_first1000_vs_next1000" => (&conv[..1000], &conv[1000..2000]),
                "conv_first200_code_first200" => (&conv[..200], &code[..200]),
                "conv_half_vs_half" => conv.split_at(9683),
                "code_first3000_vs_last3000" => (&code[..3000], &code[code.len() - 3000..]),
                unknown => panic!("no such slices: {unknown}"),
            };
            check(label, reference.to_vec(), current.to_vec(), &case["ks_two-sided_auto"]);
        }
    }

    #[derive(serde::Deserialize)]
    struct Request {
        prompt_tokens: f64,
        completion_tokens: f64,
    }

    /// Prompt and completion tokens of a file of requests, in file order.
    fn requests(name: &str) -> Option<[Vec<f64>; 2]> {
        let file = File::open(gold::shared_path(name)?).unwrap();
        let mut columns = [Vec::new(), Vec::new()];
        for line in BufReader::new(GzDecoder::new(file)).lines() {
            let request: Request = serde_json::from_str(&line.unwrap()).unwrap();
            columns[0].push(request.prompt_tokens);
            columns[1].push(request.completion_tokens);
        }
        Some(columns)
    }

    #[test]
    fn an_empty_sample_is_insufficient() {
        let outcome = |n_reference, n_current| Outcome::Insufficient { n_reference, n_current };
        assert_eq!(ks_test(&mut [], &mut []), outcome(0, 0));
        assert_eq!(ks_test(&mut [1.0], &mut []), outcome(1, 0));
        assert_eq!(ks_test(&mut [], &mut [1.0, 2.0]), outcome(0, 2));
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
        fn a_sample_does_not_differ_from_itself(mut reference in samples()) {
            let mut current = reference.clone();
            let test = gold::tested("proptest", ks_test(&mut reference, &mut current));
            prop_assert_eq!((test.statistic, test.p_value), (0.0, 1.0));
        }
    }
}
