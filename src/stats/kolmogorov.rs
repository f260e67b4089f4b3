//! Tail probabilities of the one-sample two-sided Kolmogorov-Smirnov statistic, for a finite sample
//! and in the limit.
//!
//! Each range of (n, d) has the method that is exact or precise there, after Simard, L'Ecuyer
//! (2011), "Computing the Two-Sided Kolmogorov-Smirnov Distribution", Journal of Statistical
//! Software 39(11). Their Pomeranz recursion is left out: the Durbin matrix is as exact, and where
//! they prefer the recursion (n ≤ 140) the matrix is small. Never sees a sample, only its size.

use std::f64::consts::{FRAC_PI_2, PI};

/// Probability that D of a sample of `n` from the hypothesised continuous distribution is at least
/// `d`. `d` is a distance of distribution functions, 0 to 1; NaN gives NaN, and so does `n` = 0.
///
/// Same values as `scipy.stats.kstwo.sf(d, n)`. Time is bounded for every `n`: a sum of at most a
/// million terms, or a power of a matrix of at most 117 columns.
pub fn kolmogorov_sf(n: u64, d: f64) -> f64 {
    if n == 0 || d.is_nan() {
        return f64::NAN;
    }
    if d >= 1.0 {
        return 0.0;
    }
    let size = n as f64;
    let scaled = size * d;
    // D is never below 1/(2n).
    if scaled <= 0.5 {
        return 1.0;
    }
    if scaled <= 1.0 {
        return (1.0 - smallest_distances_cdf(n, scaled)).clamp(0.0, 1.0);
    }
    // Both one-sided statistics exceed d at once only if d < 1/2, so above it the sum is exact.
    if d >= 0.5 {
        return (2.0 * one_sided_sf(n, d)).min(1.0);
    }

    let squared = scaled * d;
    if n <= MATRIX_ONLY_MAX {
        return if squared > 4.0 { 2.0 * one_sided_sf(n, d) } else { (1.0 - durbin_matrix_cdf(n, d)).clamp(0.0, 1.0) };
    }
    if squared >= 370.0 {
        // Below the smallest positive number.
        0.0
    } else if squared >= 2.2 {
        (2.0 * one_sided_sf(n, d)).min(1.0)
    } else if n <= 100_000 && size * d.powf(1.5) <= 1.4 {
        (1.0 - durbin_matrix_cdf(n, d)).clamp(0.0, 1.0)
    } else {
        (1.0 - pelz_good_cdf(size, d)).clamp(0.0, 1.0)
    }
}

/// Probability that √n·D exceeds `x` in the limit of a large sample: the Kolmogorov distribution.
/// Same values as `scipy.stats.kstwobign.sf(x)`; NaN gives NaN.
///
/// Two series of one theta function, each where it converges fastest (Kolmogorov 1933; Smirnov
/// 1948, "Table for Estimating the Goodness of Fit of Empirical Distributions", Annals of
/// Mathematical Statistics 19(2)).
pub fn kolmogorov_limit_sf(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x <= 0.0 {
        return 1.0;
    }
    if x < 0.82 {
        let cdf = (2.0 * PI).sqrt() / x * half_integer_sum(x, |_| 1.0);
        return (1.0 - cdf).clamp(0.0, 1.0);
    }
    // At 0.82, where the terms fall slowest, the seventh is below e^(−65).
    let alternating: f64 = (1..=6)
        .rev()
        .map(f64::from)
        .map(|k| (if k % 2.0 == 1.0 { 1.0 } else { -1.0 }) * (-2.0 * k * k * x * x).exp())
        .sum();
    (2.0 * alternating).clamp(0.0, 1.0)
}

/// Largest sample for which the matrix serves every d where the sum of the one-sided tails does not.
const MATRIX_ONLY_MAX: u64 = 140;

/// P(D < d) for 1/2 < n·d ≤ 1: n!·((2nd − 1)/n)^n, Ruben and Gambino (1982), "The Exact Distribution
/// of Kolmogorov's Statistic Dn for n ≤ 10".
fn smallest_distances_cdf(n: u64, scaled: f64) -> f64 {
    // n!/n^n is at most e^(1−n)·√n, nothing beside 1 for larger samples.
    if n > MATRIX_ONLY_MAX {
        return 0.0;
    }
    (1..=n).map(|i| i as f64 / n as f64 * (2.0 * scaled - 1.0)).product()
}

/// P(D⁺ ≥ d), the one-sided tail, with 0 < d < 1.
///
/// Smirnov (1944), Birnbaum and Tingey (1951): d·Σ_v C(n, v)·(d + v/n)^(v−1)·(1 − d − v/n)^(n−v)
/// over 0 ≤ v < n(1 − d). All terms are positive. With p = d + v/n a term is d/p times the binomial
/// probability of v out of n, and that is taken in the saddle-point form of Loader (2000), "Fast and
/// Accurate Computation of Binomial Probabilities": the large logarithms have cancelled on paper, so
/// the relative error stays near n·d roundings of 1.
///
/// Of a large sample not all terms are needed. As a function of v they are smooth, and both ends are below the peak by a
/// factor of exp(300) or more where n·d² is 2.2 or more. So every h-th term, times h, has the sum of all: the error of
/// the trapezoidal rule falls exponentially with 1/h (Trefethen, Weideman (2014), SIAM Review 56(3)), and is far below
/// rounding with [`TERMS_OF_LARGE`] of them.
///
/// Above [`SUMMED_TERMS_MAX`] it is exp(−(6nd + 1)²/(18n)), Smirnov's expansion completed to a
/// square as in Maag, Dicaire (1971), Biometrika 58(3). scipy changes over at the same size.
fn one_sided_sf(n: u64, d: f64) -> f64 {
    let size = n as f64;
    let scaled = size * d;
    if n > SUMMED_TERMS_MAX {
        return (-(6.0 * scaled + 1.0).powi(2) / (18.0 * size)).exp();
    }
    let first_term = (size * (-d).ln_1p()).exp();
    let last = (size - scaled).floor() as u64;
    let step = if n >= LARGE_MIN { (last / TERMS_OF_LARGE).max(1) } else { 1 };
    first_term + step as f64 * summed_terms(n, d, last.min(n - 1), step)
}

/// Every so many of those from one such step on.
fn summed_terms(n: u64, d: f64, last: u64, step: u64) -> f64 {
    let size = n as f64;
    let scaled = size * d;
    let stirling = StirlingError::new();
    let stirling_size = stirling.at(n);
    (step..=last)
        .step_by(step as usize)
        .map(|v| {
            let (below, above) = (v as f64, (n - v) as f64);
            if scaled >= above {
                return 0.0;
            }
            let exponent = stirling_size - stirling.at(v) - stirling.at(n - v)
                + below * (scaled / below).ln_1p()
                + above * (-scaled / above).ln_1p();
            let spread = (size / (2.0 * PI * below * above)).sqrt();
            scaled / (below + scaled) * spread * exponent.exp()
        })
        .sum()
}

/// Largest sample whose one-sided tail is summed term by term, which bounds the time.
const SUMMED_TERMS_MAX: u64 = 1_000_000;
/// From this size on some of the terms stand for all.
const LARGE_MIN: u64 = 1 << 16;
/// That many, or a few more.
const TERMS_OF_LARGE: u64 = 1 << 11;

/// ln(n!) − ((n + ½)·ln n − n + ½·ln 2π), the error of Stirling's formula.
struct StirlingError {
    small: [f64; 16],
}

impl StirlingError {
    fn new() -> Self {
        let mut small = [0.0; 16];
        let mut factorial = 1.0_f64;
        for (n, error) in small.iter_mut().enumerate().skip(1) {
            let n = n as f64;
            factorial *= n;
            *error = factorial.ln() - ((n + 0.5) * n.ln() - n + 0.5 * (2.0 * PI).ln());
        }
        Self { small }
    }

    fn at(&self, n: u64) -> f64 {
        if let Some(error) = self.small.get(n as usize) {
            return *error;
        }
        // Stirling's series; at n = 16 the first term left out is below 2e-16.
        let inverse = 1.0 / n as f64;
        let square = inverse * inverse;
        let tail = 1.0 / 1260.0 - square * (1.0 / 1680.0 - square * (1.0 / 1188.0));
        inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * tail))
    }
}

/// P(D < d) by Durbin's matrix, for n·d > 1/2.
///
/// With d = (k − h)/n, 0 ≤ h < 1, the probability is n!/nⁿ times the entry (k, k) of Hⁿ, H of
/// 2k − 1 columns. No entry is negative, so nothing cancels. Only row k is needed, so a row vector
/// is multiplied by the squares of H that make up n.
///
/// Source: Durbin (1968), Annals of Mathematical Statistics 39; Marsaglia, Tsang, Wang (2003),
/// "Evaluating Kolmogorov's Distribution", Journal of Statistical Software 8(18).
fn durbin_matrix_cdf(n: u64, d: f64) -> f64 {
    let scaled = n as f64 * d;
    let k = scaled.ceil();
    let center = k as usize - 1;
    let mut square = Matrix::durbin(2 * center + 1, k - scaled);

    let mut row = Scaled { values: vec![0.0; square.columns], exponent: 0 };
    row.values[center] = 1.0;
    let mut remaining = n;
    loop {
        if remaining % 2 == 1 {
            row = square.left_multiplied(&row);
        }
        remaining /= 2;
        if remaining == 0 {
            break;
        }
        square = square.squared();
    }

    let mut probability = row.values[center];
    let mut exponent = row.exponent;
    for i in 1..=n {
        probability *= i as f64 / n as f64;
        if probability < 1.0 / SCALE {
            probability *= SCALE;
            exponent -= 1;
        }
    }
    probability * SCALE.powi(exponent)
}

/// 2^128: a factor taken out of numbers that would leave the range of f64, free of rounding.
const SCALE: f64 = (1_u128 << 127) as f64 * 2.0;

/// Numbers that stand for themselves times `SCALE` to the power of `exponent`.
struct Scaled {
    values: Vec<f64>,
    exponent: i32,
}

impl Scaled {
    /// Brings every value to at most `SCALE`. One division is not always enough: what stays above
    /// would double its excess with every squaring, up to infinity.
    fn normalized(mut self) -> Self {
        while self.values.iter().any(|value| *value > SCALE) {
            self.values.iter_mut().for_each(|value| *value /= SCALE);
            self.exponent += 1;
        }
        self
    }
}

/// A square matrix, row by row.
struct Matrix {
    columns: usize,
    entries: Scaled,
}

impl Matrix {
    /// Durbin's H: 1/(i − j + 1)! on and below the first superdiagonal, 0 above it; the first column
    /// and, mirrored, the last row lessened by the powers of h that the boundary cuts off.
    fn durbin(columns: usize, h: f64) -> Self {
        let inverse_factorials: Vec<f64> = (0..=columns)
            .scan(1.0, |product, i| {
                if i > 0 {
                    *product /= i as f64;
                }
                Some(*product)
            })
            .collect();
        let mut values = vec![0.0; columns * columns];
        for row in 0..columns {
            for column in 0..columns.min(row + 2) {
                values[row * columns + column] = inverse_factorials[row + 1 - column];
            }
        }
        let last = columns - 1;
        for i in 0..last {
            let edge = (1.0 - h.powi(i as i32 + 1)) * inverse_factorials[i + 1];
            values[i * columns] = edge;
            values[last * columns + last - i] = edge;
        }
        let power = columns as i32;
        let corner = 1.0 - 2.0 * h.powi(power) + (2.0 * h - 1.0).max(0.0).powi(power);
        values[last * columns] = corner * inverse_factorials[columns];
        Self { columns, entries: Scaled { values, exponent: 0 } }
    }

    fn left_multiplied(&self, row: &Scaled) -> Scaled {
        let values = self.row_times(&row.values);
        Scaled { values, exponent: row.exponent + self.entries.exponent }.normalized()
    }

    fn squared(&self) -> Self {
        let rows = self.entries.values.chunks_exact(self.columns);
        let values = rows.flat_map(|row| self.row_times(row)).collect();
        let entries = Scaled { values, exponent: 2 * self.entries.exponent }.normalized();
        Self { columns: self.columns, entries }
    }

    fn row_times(&self, row: &[f64]) -> Vec<f64> {
        let mut product = vec![0.0; self.columns];
        for (factor, entries) in row.iter().zip(self.entries.values.chunks_exact(self.columns)) {
            for (sum, entry) in product.iter_mut().zip(entries) {
                *sum += factor * entry;
            }
        }
        product
    }
}

/// P(D < d) by the expansion K₀(z) + K₁(z)/√n + K₂(z)/n + K₃(z)/n^(3/2) with z = √n·d, for samples
/// above [`MATRIX_ONLY_MAX`].
///
/// Source: Pelz, Good (1976), "Approximating the Lower Tail-areas of the Kolmogorov-Smirnov
/// One-sample Statistic", Journal of the Royal Statistical Society B 38(2), as written out by
/// Simard, L'Ecuyer (2011). With w = π²(k + ½)² or π²k² the sums run over
/// e^(−w/(2z²)); both are symmetric in k, so half of each is taken, twice.
fn pelz_good_cdf(size: f64, d: f64) -> f64 {
    let z = size.sqrt() * d;
    let z2 = z * z;
    let (z3, z4, z6, z8) = (z2 * z, z2 * z2, z2 * z2 * z2, z2 * z2 * z2 * z2);

    let k0 = half_integer_sum(z, |_| 1.0) / z;
    let k1 = half_integer_sum(z, |w| w - z2) / (6.0 * z4);
    let k2 = half_integer_sum(z, |w| (6.0 * z6 + 2.0 * z4) + w * (2.0 * z4 - 5.0 * z2) + w * w * (1.0 - 2.0 * z2))
        / (72.0 * z4 * z3)
        - integer_sum(z, |w| w) / (36.0 * z3);
    let k3 = half_integer_sum(z, |w| {
        let cubic = 5.0 - 30.0 * z2;
        let quadratic = 212.0 * z4 - 60.0 * z2;
        let linear = 135.0 * z4 - 96.0 * z6;
        ((cubic * w + quadratic) * w + linear) * w - (30.0 * z6 + 90.0 * z8)
    }) / (6480.0 * z8 * z2)
        + integer_sum(z, |w| (3.0 * z2 - w) * w) / (216.0 * z6);

    (2.0 * PI).sqrt() * (k0 + (k1 + (k2 + k3 / size.sqrt()) / size.sqrt()) / size.sqrt())
}

/// Σ over k ≥ 0 of weight(w)·e^(−w/(2z²)), w = π²(k + ½)².
fn half_integer_sum(z: f64, weight: impl Fn(f64) -> f64) -> f64 {
    theta_sum(z, FRAC_PI_2, weight)
}

/// Σ over k ≥ 1 of weight(w)·e^(−w/(2z²)), w = π²k².
fn integer_sum(z: f64, weight: impl Fn(f64) -> f64) -> f64 {
    theta_sum(z, PI, weight)
}

fn theta_sum(z: f64, first_root: f64, weight: impl Fn(f64) -> f64) -> f64 {
    // Callers have z below 1.5, where the twelfth exponential is below e^(−289).
    (0..12)
        .rev()
        .map(|k| first_root + PI * f64::from(k))
        .map(|root| root * root)
        .map(|w| weight(w) * (-w / (2.0 * z * z)).exp())
        .sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::gold;
    use super::{
        LARGE_MIN, durbin_matrix_cdf, kolmogorov_limit_sf, kolmogorov_sf, one_sided_sf, pelz_good_cdf, summed_terms,
    };

    /// Checks rows of `[d, n, sf]` and of `[x, sf]`.
    fn check(finite: &Value, limit: &Value) {
        for row in gold::rows(finite).iter().map(gold::numbers) {
            gold::assert_close(&format!("{row:?}"), kolmogorov_sf(row[1] as u64, row[0]), row[2]);
        }
        for row in gold::rows(limit).iter().map(gold::numbers) {
            gold::assert_close(&format!("{row:?}"), kolmogorov_limit_sf(row[0]), row[1]);
        }
    }

    #[test]
    fn matches_scipy() {
        let gold = gold::parse(include_str!("../../testdata/stats/kolmogorov.json"));
        check(&gold["kstwo"], &gold["kstwobign"]);
    }

    #[test]
    fn matches_the_larger_gold_set() {
        if let Some(gold) = gold::shared() {
            check(&gold["sf"]["kstwo"], &gold["sf"]["kstwobign"]);
        }
    }

    #[test]
    fn arguments_at_and_past_the_ends() {
        assert_eq!(kolmogorov_sf(10, 0.0), 1.0);
        assert_eq!(kolmogorov_sf(10, -3.0), 1.0);
        assert_eq!(kolmogorov_sf(10, 1.0), 0.0);
        assert_eq!(kolmogorov_sf(10, f64::INFINITY), 0.0);
        assert!(kolmogorov_sf(10, f64::NAN).is_nan());
        assert!(kolmogorov_sf(0, 0.5).is_nan());
        assert_eq!(kolmogorov_limit_sf(-1.0), 1.0);
        assert_eq!(kolmogorov_limit_sf(f64::INFINITY), 0.0);
        assert!(kolmogorov_limit_sf(f64::NAN).is_nan());
    }

    #[test]
    fn a_high_matrix_power_stays_in_range() {
        // scipy 1.17.1 answers 0 here, its matrix having overflowed; the limit answers 1 − 10⁻⁷³.
        assert_eq!(kolmogorov_sf(65_403, 0.000_333_669_512_136_640_04), 1.0);
    }

    #[test]
    fn the_methods_agree_where_they_meet() {
        let two_sided = |n, d| 2.0 * one_sided_sf(n, d);
        gold::assert_close("matrix and sum at one half", 1.0 - durbin_matrix_cdf(9, 0.5), two_sided(9, 0.5));
        let d = (2.2_f64 / 400.0).sqrt();
        let difference = 1.0 - pelz_good_cdf(400.0, d) - (1.0 - durbin_matrix_cdf(400, d));
        assert!(difference.abs() < 1e-7, "{difference:e}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn some_terms_have_the_sum_of_all(n in LARGE_MIN..300_000, squared in 2.2..330.0_f64) {
            let d = (squared / n as f64).sqrt();
            let last = (n as f64 * (1.0 - d)).floor() as u64;
            let (some, all) = (one_sided_sf(n, d), summed_terms(n, d, last.min(n - 1), 1));
            prop_assert!((some / all - 1.0).abs() < 1e-11, "{some:e} {all:e}");
        }
    }

    proptest! {
        #[test]
        fn tails_are_probabilities_and_fall(n in 1..3_000_u64, d in 0.0..1.0_f64, step in 0.001..0.2_f64) {
            let (here, further) = (kolmogorov_sf(n, d), kolmogorov_sf(n, d + step));
            prop_assert!((0.0..=1.0).contains(&here));
            // The methods differ by less than this where one takes over from the other.
            prop_assert!(further <= here + 1e-9);
        }
    }
}
