//! The Anderson-Darling test of several samples: do they all come from one distribution? It weighs the
//! tails more than the other tests on ranks do.

use super::order::sort;

/// What the test says about k samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SamplesOutcome {
    /// The test ran.
    Tested(SamplesTest),
    /// There were fewer than two samples with values, fewer than four values, or they were all equal.
    Insufficient {
        /// Samples that have values.
        samples: u64,
        /// Values of all samples.
        n: u64,
    },
}

/// The result of a test of "all samples come from one distribution".
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplesTest {
    /// The Anderson-Darling statistic, less its mean and over its standard deviation.
    pub statistic: f64,
    /// From about 0.001 to about 0.25; the ends stand for all beyond them.
    pub p_value: f64,
    /// Samples that have values.
    pub samples: u64,
    /// Values of all samples.
    pub n: u64,
}

/// Tests whether all samples come from one distribution. Sorts each in place; empty ones are left out.
///
/// The statistic is A² with the mean rank for equal values (their equation 7), standardized. The p-value is
/// read off a parabola through the logarithms of seven tabulated levels, so it ends at 0.001 and at 0.25.
/// Infinities are the largest values; NaNs are the caller's to drop. Time grows with values times samples.
///
/// Source: Scholz, Stephens (1987), "K-Sample Anderson-Darling Tests", Journal of the American Statistical
/// Association 82(399). Same values as `scipy.stats.anderson_ksamp`.
pub fn anderson_darling_test(samples: &mut [Vec<f64>]) -> SamplesOutcome {
    samples.iter_mut().for_each(|sample| sort(sample));
    let used: Vec<&[f64]> = samples.iter().map(Vec::as_slice).filter(|sample| !sample.is_empty()).collect();
    let n: usize = used.iter().map(|sample| sample.len()).sum();
    let insufficient = SamplesOutcome::Insufficient { samples: used.len() as u64, n: n as u64 };
    if used.len() < 2 || n < 4 {
        return insufficient;
    }
    let Some(squared_distance) = squared_distance(&used, n as f64) else { return insufficient };
    let degrees = (used.len() - 1) as f64;
    let statistic = (squared_distance - degrees) / variance(&used, n).sqrt();
    SamplesOutcome::Tested(SamplesTest {
        statistic,
        p_value: p_value(statistic, degrees),
        samples: used.len() as u64,
        n: n as u64,
    })
}

/// A² of sorted samples; none if all values are equal.
fn squared_distance(samples: &[&[f64]], n: f64) -> Option<f64> {
    let mut rest: Vec<&[f64]> = samples.to_vec();
    let mut inner = vec![0.0; samples.len()];
    let mut here = vec![0_usize; samples.len()];
    let mut below = 0.0;
    let mut distinct = 0_u64;
    while let Some(value) = rest.iter().filter_map(|sample| sample.first()).copied().min_by(f64::total_cmp) {
        here.iter_mut().zip(&rest).for_each(|(here, sample)| *here = leading(sample, value));
        let equal = here.iter().sum::<usize>() as f64;
        let middle = below + equal / 2.0;
        let weight = equal / n / (middle * (n - middle) - n * equal / 4.0);
        for (((sum, rest), here), sample) in inner.iter_mut().zip(&mut rest).zip(&here).zip(samples) {
            let own = (sample.len() - rest.len()) as f64 + *here as f64 / 2.0;
            let distance = n * own - middle * sample.len() as f64;
            *sum += weight * distance * distance;
            *rest = &rest[*here..];
        }
        below += equal;
        distinct += 1;
    }
    let sum: f64 = inner.iter().zip(samples).map(|(inner, sample)| inner / sample.len() as f64).sum();
    (distinct > 1).then_some(sum * (n - 1.0) / n)
}

fn leading(sorted: &[f64], value: f64) -> usize {
    sorted.iter().take_while(|other| **other == value || other.total_cmp(&value).is_eq()).count()
}

/// The variance of A² where nothing differs (their equation 4).
fn variance(samples: &[&[f64]], n: usize) -> f64 {
    let k = samples.len() as f64;
    let inverses: f64 = samples.iter().map(|sample| 1.0 / sample.len() as f64).sum();
    // h = Σ 1/i over i below n, g = ΣΣ 1/((n − i)·j) over i < j below n.
    let (mut harmonic, mut g) = (0.0, 0.0);
    for i in 2..n {
        harmonic += 1.0 / (n + 1 - i) as f64;
        g += harmonic / i as f64;
    }
    let h = harmonic + 1.0;
    let a = (4.0 * g - 6.0) * (k - 1.0) + (10.0 - 6.0 * g) * inverses;
    let b = (2.0 * g - 4.0) * k * k + 8.0 * h * k + (2.0 * g - 14.0 * h - 4.0) * inverses - 8.0 * h + 4.0 * g - 6.0;
    let c = (6.0 * h + 2.0 * g - 2.0) * k * k + (4.0 * h - 4.0 * g + 6.0) * k + (2.0 * h - 6.0) * inverses + 4.0 * h;
    let d = (2.0 * h + 6.0) * k * k - 4.0 * h * k;
    let n = n as f64;
    (((a * n + b) * n + c) * n + d) / ((n - 1.0) * (n - 2.0) * (n - 3.0))
}

/// Levels of significance, and the coefficients of their critical values (their table 2).
const LEVELS: [f64; 7] = [0.25, 0.1, 0.05, 0.025, 0.01, 0.005, 0.001];
const CRITICAL: [[f64; 3]; 7] = [
    [0.675, -0.245, -0.105],
    [1.281, 0.25, -0.305],
    [1.645, 0.678, -0.362],
    [1.96, 1.149, -0.391],
    [2.326, 1.822, -0.396],
    [2.573, 2.364, -0.345],
    [3.085, 3.615, -0.154],
];

fn p_value(statistic: f64, degrees: f64) -> f64 {
    let critical = CRITICAL.map(|[b0, b1, b2]| b0 + b1 / degrees.sqrt() + b2 / degrees);
    if statistic < critical[0] {
        return LEVELS[0];
    }
    if statistic > critical[6] {
        return LEVELS[6];
    }
    fitted(&critical, &LEVELS.map(f64::ln), statistic).exp()
}

/// The parabola with the least squared distance from seven points, at `x`: a sum over polynomials that are
/// orthogonal at the points (Forsythe 1957).
fn fitted(points: &[f64; 7], values: &[f64; 7], x: f64) -> f64 {
    let mean = points.iter().sum::<f64>() / 7.0;
    let line = |x: f64| x - mean;
    let norm: f64 = points.iter().map(|point| line(*point).powi(2)).sum();
    let middle = points.iter().map(|point| point * line(*point).powi(2)).sum::<f64>() / norm;
    let parabola = |x: f64| (x - middle) * line(x) - norm / 7.0;
    let part = |basis: &dyn Fn(f64) -> f64| {
        let along: f64 = points.iter().zip(values).map(|(point, value)| basis(*point) * value).sum();
        let norm: f64 = points.iter().map(|point| basis(*point).powi(2)).sum();
        along / norm * basis(x)
    };
    part(&|_| 1.0) + part(&line) + part(&parabola)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::gold;
    use super::{SamplesOutcome, SamplesTest, anderson_darling_test};

    fn tested(label: &str, mut samples: Vec<Vec<f64>>) -> SamplesTest {
        match anderson_darling_test(&mut samples) {
            SamplesOutcome::Tested(test) => test,
            insufficient => panic!("{label}: {insufficient:?}"),
        }
    }

    #[test]
    fn matches_scipy() {
        for case in gold::rows(&gold::parse(include_str!("../../testdata/stats/anderson_darling.json"))) {
            let label = case["name"].as_str().unwrap();
            let samples: Vec<Vec<f64>> = gold::rows(&case["samples"]).iter().map(gold::sample).collect();
            let test = tested(label, samples);
            let expected = gold::numbers(&case["result"]);
            gold::assert_close(label, test.statistic, expected[0]);
            gold::assert_within(label, test.p_value, expected[1], 1e-6);
        }
    }

    #[test]
    fn matches_the_larger_gold_set() {
        for (label, reference, current, case) in gold::shared_two_samples() {
            let expected = &case["adk_midrank_True"];
            if expected.is_array() {
                let test = tested(&label, vec![reference, current]);
                let expected = gold::numbers(expected);
                gold::assert_close(&label, test.statistic, expected[0]);
                gold::assert_within(&label, test.p_value, expected[1], 1e-6);
            }
        }
    }

    #[test]
    fn too_little_is_insufficient() {
        let check = |mut samples: Vec<Vec<f64>>, expected: (u64, u64)| {
            let outcome = SamplesOutcome::Insufficient { samples: expected.0, n: expected.1 };
            assert_eq!(anderson_darling_test(&mut samples), outcome);
        };
        check(vec![], (0, 0));
        check(vec![vec![1.0, 2.0, 3.0, 4.0], vec![]], (1, 4));
        check(vec![vec![1.0], vec![2.0, 3.0]], (2, 3));
        check(vec![vec![1.0, 1.0], vec![1.0, 1.0]], (2, 4));
    }

    fn samples() -> impl Strategy<Value = Vec<Vec<f64>>> {
        prop::collection::vec(prop::collection::vec((0..40_u8).prop_map(f64::from), 2..30), 2..5)
    }

    proptest! {
        #[test]
        fn the_order_of_samples_does_not_matter(samples in samples()) {
            let mut turned = samples.clone();
            turned.reverse();
            let (mut one, mut other) = (samples, turned);
            match (anderson_darling_test(&mut one), anderson_darling_test(&mut other)) {
                (SamplesOutcome::Tested(test), SamplesOutcome::Tested(mirror)) => {
                    prop_assert!((test.statistic - mirror.statistic).abs() <= 1e-9 * test.statistic.abs().max(1.0));
                    // The parabola misses the outer levels by a little, as the original does.
                    prop_assert!((0.0009..=0.26).contains(&test.p_value));
                }
                (one, other) => prop_assert_eq!(one, other),
            }
        }
    }
}
