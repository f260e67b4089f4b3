//! The two-sample Cramér-von Mises test: are two samples from one distribution, by the squared distance
//! of their distribution functions?
//!
//! The p-value follows the rule of `scipy.stats.cramervonmises_2samp(method="auto")`: exact up to 20
//! values on the larger side, else the limiting distribution at the standardized statistic.

use std::f64::consts::{FRAC_PI_2, PI};

use super::{
    Outcome, TwoSampleTest,
    order::{sort, ties},
};

/// Tests whether two samples come from one distribution. Sorts both in place.
///
/// The statistic is T of Anderson (1962), with the mean rank for equal values. The effect size is the squared
/// distance of the two distribution functions, averaged over all values, 0 to 1; without equal values it is
/// T·(n + m)/(n·m). Infinities are the largest values; NaNs are the caller's to drop. Fewer than two values on a
/// side give [`Outcome::Insufficient`].
///
/// Sources: Anderson (1962), "On the Distribution of the Two-Sample Cramér-von Mises Criterion",
/// Annals of Mathematical Statistics 33(3); Xiao, Gordon, Yakovlev (2007), "A C++ Program for the
/// Cramér-von Mises Two-Sample Test", Journal of Statistical Software 17(8). Same values as scipy, whose
/// asymptotic p-values are cut off, at an error of up to some 1e-8; these are not.
pub fn cramer_von_mises_test(reference: &mut [f64], current: &mut [f64]) -> Outcome {
    let (n_reference, n_current) = (reference.len() as u64, current.len() as u64);
    if n_reference < 2 || n_current < 2 {
        return Outcome::Insufficient { n_reference, n_current };
    }
    sort(reference);
    sort(current);
    let ranks = Ranks::of(reference, current);
    let statistic = ranks.statistic();
    let exact = n_reference.max(n_current) <= EXACT_SAMPLE_MAX;
    Outcome::Tested(TwoSampleTest {
        statistic,
        p_value: if exact { ranks.exact() } else { ranks.asymptotic(statistic) },
        effect_size: ranks.distance,
        n_reference,
        n_current,
    })
}

/// Most values on the larger side for which the p-value is exact.
const EXACT_SAMPLE_MAX: u64 = 20;

/// Two samples' ranks, in whole numbers.
struct Ranks {
    n: i128,
    m: i128,
    /// 24·n·m·(n + m) times T. It can be below 0 where values are equal.
    scaled: i128,
    /// The mean squared distance of the distribution functions.
    distance: f64,
}

impl Ranks {
    fn of(reference: &[f64], current: &[f64]) -> Self {
        let (n, m) = (reference.len() as i128, current.len() as i128);
        let (mut below_reference, mut below_current) = (0_i128, 0_i128);
        // 4·Σ (rank − place in the own sample)², for each sample.
        let (mut squares_reference, mut squares_current) = (0_i128, 0_i128);
        let mut distances = 0.0;
        for tie in ties(reference, current) {
            let (here, other) = (tie.reference as i128, tie.current as i128);
            let doubled_rank = 2 * (below_reference + below_current) + here + other + 1;
            squares_reference += squares(doubled_rank - 2 * below_reference, here);
            squares_current += squares(doubled_rank - 2 * below_current, other);
            below_reference += here;
            below_current += other;
            let distance = below_reference as f64 / n as f64 - below_current as f64 / m as f64;
            distances += tie.both() as f64 * distance * distance;
        }
        let distance = distances / (n + m) as f64;
        let u = n * squares_reference + m * squares_current;
        Self { n, m, scaled: 6 * u - 4 * n * m * (4 * n * m - 1), distance }
    }

    fn statistic(&self) -> f64 {
        let scale = 24.0 * self.n as f64 * self.m as f64 * (self.n + self.m) as f64;
        (self.scaled as f64 / scale).max(0.0)
    }

    /// Share of all orders of the samples with a statistic at least as large.
    ///
    /// T grows with ζ, the sum of (a·j − b·i)² over the places (i, j) that an order passes, where
    /// a = lcm/n and b = lcm/m. How many orders up to a place have which sum follows from the places
    /// before it.
    fn exact(&self) -> f64 {
        let (n, m) = (self.n as u64, self.m as u64);
        let multiple = n / greatest_common_divisor(n, m) * m;
        let (a, b) = (multiple / n, multiple / m);
        let all = self.n * self.m;
        let square = i128::from(multiple) * i128::from(multiple);
        let threshold = (square * (self.n + self.m) * self.scaled).div_euclid(24 * all * all).max(0) as u64;

        let mut row: Vec<Sums> = vec![Sums::default(); m as usize + 1];
        for i in 0..=n {
            let mut before = Sums::default();
            for (j, sums) in (0..).zip(&mut row) {
                let arrived = if (i, j) == (0, 0) { Sums(vec![(0, 1)]) } else { before.joined(sums) };
                before = arrived.raised((a * i).abs_diff(b * j).pow(2));
                *sums = before.clone();
            }
        }
        let sums = &row[m as usize].0;
        let orders: u64 = sums.iter().map(|(_, orders)| orders).sum();
        let as_large: u64 = sums.iter().filter(|(sum, _)| *sum >= threshold).map(|(_, orders)| orders).sum();
        as_large as f64 / orders as f64
    }

    fn asymptotic(&self, statistic: f64) -> f64 {
        let (n, m) = (self.n as f64, self.m as f64);
        let (total, pairs) = (n + m, n * m);
        let mean = (1.0 + 1.0 / total) / 6.0;
        let variance = (total + 1.0) / (45.0 * total * total)
            * ((4.0 * pairs * total - 3.0 * (n * n + m * m) - 2.0 * pairs) / (4.0 * pairs));
        limit_sf(1.0 / 6.0 + (statistic - mean) / (45.0 * variance).sqrt())
    }
}

/// Σ (first − 2k)² over k from 1 to `count`.
fn squares(first: i128, count: i128) -> i128 {
    let places = count * (count + 1) / 2;
    let squared_places = count * (count + 1) * (2 * count + 1) / 6;
    count * first * first - 4 * first * places + 4 * squared_places
}

/// How many orders have which sum, by rising sum.
#[derive(Debug, Clone, Default)]
struct Sums(Vec<(u64, u64)>);

impl Sums {
    fn joined(&self, other: &Self) -> Self {
        let (left, right) = (&self.0, &other.0);
        let mut joined = Vec::with_capacity(left.len() + right.len());
        let (mut i, mut j) = (0, 0);
        while i < left.len() && j < right.len() {
            let ((left_sum, left_orders), (right_sum, right_orders)) = (left[i], right[j]);
            joined.push(match left_sum.cmp(&right_sum) {
                std::cmp::Ordering::Less => (left_sum, left_orders),
                std::cmp::Ordering::Greater => (right_sum, right_orders),
                std::cmp::Ordering::Equal => (left_sum, left_orders + right_orders),
            });
            i += usize::from(left_sum <= right_sum);
            j += usize::from(right_sum <= left_sum);
        }
        joined.extend_from_slice(&left[i..]);
        joined.extend_from_slice(&right[j..]);
        Self(joined)
    }

    fn raised(mut self, by: u64) -> Self {
        self.0.iter_mut().for_each(|(sum, _)| *sum += by);
        self
    }
}

fn greatest_common_divisor(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

/// Probability that the statistic of a large sample exceeds `x`.
///
/// Below 1 the series of Anderson, Darling (1952), "Asymptotic Theory of Certain Goodness of Fit Criteria",
/// Annals of Mathematical Statistics 23(2), is taken from 1. From there on Smirnov's (1936) formula gives the
/// tail itself, so that small probabilities keep their digits:
/// (2/π)·∫ √(t / −sin t)·e^(−x·t²/2) / t dt over t from π to 2π; what it leaves out is below e^(−39x) of it.
fn limit_sf(x: f64) -> f64 {
    // The cumulative probability is then below 1e-16.
    if x < 0.0035 {
        return 1.0;
    }
    if x < 1.0 {
        return (1.0 - limit_cdf(x)).clamp(0.0, 1.0);
    }
    // t = (3 + sin φ)·π/2 takes the poles out of the ends, and the midpoint rule converges exponentially.
    const STEPS: u32 = 256;
    let width = PI / f64::from(STEPS);
    let sum: f64 = (0..STEPS)
        .map(|step| {
            let angle = -FRAC_PI_2 + (f64::from(step) + 0.5) * width;
            let offset = FRAC_PI_2 * angle.sin();
            let t = 1.5 * PI + offset;
            FRAC_PI_2 * angle.cos() / (t * offset.cos()).sqrt() * (-x * t * t / 2.0).exp()
        })
        .sum();
    (2.0 / PI * width * sum).clamp(0.0, 1.0)
}

/// Σ over k of Γ(k + ½)/(k!·π^(3/2)·√x)·√(4k + 1)·e^(−q)·K(q) with q = (4k + 1)²/(16x), K the modified Bessel
/// function of order 1/4.
fn limit_cdf(x: f64) -> f64 {
    // Γ(k + ½)/k!, of which the first is √π.
    let mut quotient = PI.sqrt();
    let mut sum = 0.0;
    // With x below 1 the ninth term is below e^(−130).
    for k in (0..9).map(f64::from) {
        let odd = 4.0 * k + 1.0;
        sum += quotient * odd.sqrt() * scaled_bessel(odd * odd / (16.0 * x));
        quotient *= (k + 0.5) / (k + 1.0);
    }
    sum / (PI.powf(1.5) * x.sqrt())
}

/// e^(−q)·K(q) of order 1/4, by the trapezoidal rule on ∫ e^(−q·cosh t)·cosh(t/4) dt from 0 on (DLMF 10.32.9),
/// which converges faster than any power of the step.
fn scaled_bessel(q: f64) -> f64 {
    const STEP: f64 = 0.0625;
    let at = |t: f64| (-q * (1.0 + t.cosh())).exp() * (t / 4.0).cosh();
    // With q above 1/16 the integrand is below 1e-300 from t = 10 on.
    let sum: f64 = (1..160).map(|step| at(f64::from(step) * STEP)).sum();
    STEP * (at(0.0) / 2.0 + sum)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Outcome, gold};
    use super::{cramer_von_mises_test, limit_cdf, limit_sf};

    #[test]
    fn matches_scipy() {
        gold::check_two_samples("cramer_von_mises", 1e-8, cramer_von_mises_test);
    }

    #[test]
    fn matches_the_larger_gold_set() {
        gold::check_shared_two_samples("cvm_exact", 1e-9, |reference, current| {
            match reference.len().max(current.len()) {
                0..=20 => cramer_von_mises_test(reference, current),
                _ => Outcome::Insufficient { n_reference: 0, n_current: 0 },
            }
        });
        gold::check_shared_two_samples("cvm_asymptotic", 1e-8, |reference, current| {
            match reference.len().max(current.len()) {
                0..=20 => Outcome::Insufficient { n_reference: 0, n_current: 0 },
                _ => cramer_von_mises_test(reference, current),
            }
        });
    }

    #[test]
    fn both_ways_to_the_limit_agree() {
        for x in [1.0, 1.2, 1.5, 2.0] {
            let (tail, rest) = (limit_sf(x), 1.0 - limit_cdf(x));
            assert!((tail - rest).abs() < 1e-14, "{x}: {tail:e} and {rest:e}");
        }
        // The 99.9 % point of Anderson and Darling's table.
        assert!((limit_sf(1.167_86) - 0.001).abs() < 1e-7);
        assert_eq!(limit_sf(0.0), 1.0);
        assert!(limit_sf(30.0) > 0.0 && limit_sf(30.0) < 1e-60);
        assert_eq!(limit_sf(1e6), 0.0);
    }

    #[test]
    fn one_value_is_insufficient() {
        let outcome = |n_reference, n_current| Outcome::Insufficient { n_reference, n_current };
        assert_eq!(cramer_von_mises_test(&mut [1.0], &mut [1.0, 2.0]), outcome(1, 2));
        assert_eq!(cramer_von_mises_test(&mut [1.0, 2.0], &mut []), outcome(2, 0));
    }

    fn samples() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec((0..30_u8).prop_map(f64::from), 2..28)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn sides_are_alike_and_only_the_order_counts(mut reference in samples(), mut current in samples()) {
            let stretched = |values: &[f64]| -> Vec<f64> { values.iter().map(|value| value.exp() - 3.0).collect() };
            let test = gold::tested("proptest", cramer_von_mises_test(&mut reference, &mut current));
            let mirror = gold::tested("proptest", cramer_von_mises_test(&mut current, &mut reference));
            let (mut left, mut right) = (stretched(&reference), stretched(&current));
            let same = gold::tested("proptest", cramer_von_mises_test(&mut left, &mut right));
            prop_assert!((0.0..=1.0).contains(&test.p_value) && test.statistic >= 0.0);
            prop_assert!((0.0..=1.0).contains(&test.effect_size));
            let different: std::collections::HashSet<u64> =
                reference.iter().chain(&current).map(|value| value.to_bits()).collect();
            if different.len() == reference.len() + current.len() {
                let (n, m) = (reference.len() as f64, current.len() as f64);
                prop_assert!((test.effect_size - test.statistic * (n + m) / (n * m)).abs() < 1e-12);
            }
            prop_assert_eq!((test.statistic, test.p_value), (mirror.statistic, mirror.p_value));
            prop_assert_eq!(test, same);
        }
    }
}
