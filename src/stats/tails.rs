//! Tail probabilities and quantiles of the normal, the t, the chi-squared and the beta distribution.
//! What the mathematics library says precisely enough is asked there; the incomplete beta function is
//! not: its terms are bounded in number and its logarithms cancel for large samples.

use std::f64::consts::{PI, SQRT_2};

use statrs::function::{
    erf::{erfc, erfc_inv},
    gamma::checked_gamma_ur,
};

/// Probability that a standard normal variable exceeds `z`.
pub(super) fn normal_sf(z: f64) -> f64 {
    0.5 * erfc(z / SQRT_2)
}

/// The z that a standard normal variable exceeds in either direction with this probability, 0 to 1.
pub fn normal_two_sided_quantile(probability: f64) -> f64 {
    SQRT_2 * erfc_inv(probability)
}

/// Probability that a variable of Student's t distribution is further from 0 than `t`. NaN for a NaN.
pub(super) fn t_two_sided_sf(t: f64, degrees_of_freedom: f64) -> f64 {
    let square = t * t;
    if square.is_infinite() {
        return 0.0;
    }
    let total = degrees_of_freedom + square;
    incomplete_beta(degrees_of_freedom / 2.0, 0.5, degrees_of_freedom / total, square / total)
}

/// Probability that a variable of the F distribution exceeds `f`: the ratio of two independent χ², each over its own
/// degrees of freedom, `above` and `below`, which need not be whole numbers. NaN for a NaN.
pub fn f_sf(f: f64, above: f64, below: f64) -> f64 {
    if f <= 0.0 {
        return 1.0;
    }
    let total = above * f + below;
    if total.is_infinite() {
        return 0.0;
    }
    incomplete_beta(below / 2.0, above / 2.0, below / total, above * f / total)
}

/// The f that a variable of the F distribution of [`f_sf`] exceeds with this probability, above 0 and below 1.
pub fn f_quantile(probability: f64, above: f64, below: f64) -> f64 {
    let mut high = 1.0;
    while f_sf(high, above, below) > probability {
        high *= 2.0;
    }
    halved(0.0, high, |f| f_sf(f, above, below) > probability)
}

/// The t that a variable of Student's t distribution is further from 0 than with this probability, above 0 and
/// below 1.
pub fn t_two_sided_quantile(probability: f64, degrees_of_freedom: f64) -> f64 {
    let mut high = 1.0;
    while t_two_sided_sf(high, degrees_of_freedom) > probability {
        high *= 2.0;
    }
    halved(0.0, high, |t| t_two_sided_sf(t, degrees_of_freedom) > probability)
}

/// Probability that a chi-squared variable exceeds `x`: Q(df/2, x/2), the regularized upper incomplete
/// gamma function. With no degrees of freedom the variable is always zero. The logarithm of Γ(df/2)
/// limits the precision to 1e-9 relative at some hundred thousand degrees of freedom.
pub(super) fn chi2_sf(x: f64, degrees_of_freedom: usize) -> f64 {
    if x <= 0.0 || degrees_of_freedom == 0 {
        return 1.0;
    }
    checked_gamma_ur(degrees_of_freedom as f64 / 2.0, x / 2.0)
        .expect("both arguments are positive and finite")
        .clamp(0.0, 1.0)
}

/// The x that a chi-squared variable exceeds with this probability, above 0 and below 1.
pub(super) fn chi2_quantile(probability: f64, degrees_of_freedom: usize) -> f64 {
    if degrees_of_freedom == 0 {
        return 0.0;
    }
    let mut high = degrees_of_freedom as f64;
    while chi2_sf(high, degrees_of_freedom) > probability {
        high *= 2.0;
    }
    halved(0.0, high, |x| chi2_sf(x, degrees_of_freedom) > probability)
}

/// The p at which the regularized incomplete beta function of `a` and `b` is `probability`.
pub(super) fn beta_quantile(probability: f64, a: f64, b: f64) -> f64 {
    halved(0.0, 1.0, |p| incomplete_beta(a, b, p, 1.0 - p) < probability)
}

/// Where a condition that holds at `low` ceases to hold, to the last digit but two.
pub(super) fn halved(mut low: f64, mut high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    while high - low > 4.0 * f64::EPSILON * high {
        let middle = low.midpoint(high);
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
        if high < f64::MIN_POSITIVE {
            break;
        }
    }
    low.midpoint(high)
}

/// The regularized incomplete beta function I_x(a, b) at `x` and `y` = 1 − x; both are asked for, because where
/// one is near 1 the other has lost its digits. `a` and `b` are positive. That above x is I_y(b, a).
///
/// Source: the continued fraction of DLMF 8.17.22, evaluated by Lentz's method on the side of the mean
/// where it converges fast; the factor before it is in the saddle-point form of Loader (2000), "Fast and
/// Accurate Computation of Binomial Probabilities", where the large logarithms have cancelled on paper.
pub(super) fn incomplete_beta(a: f64, b: f64, x: f64, y: f64) -> f64 {
    if x.is_nan() || y.is_nan() {
        return f64::NAN;
    }
    if x <= 0.0 {
        return 0.0;
    }
    if y <= 0.0 {
        return 1.0;
    }
    let factor = beta_factor(a, b, x, y);
    if x < (a + 1.0) / (a + b + 2.0) {
        (factor / a * beta_fraction(a, b, x)).clamp(0.0, 1.0)
    } else {
        1.0 - (factor / b * beta_fraction(b, a, y)).clamp(0.0, 1.0)
    }
}

/// x^a·y^b·Γ(a+b) / (Γ(a)·Γ(b)).
fn beta_factor(a: f64, b: f64, x: f64, y: f64) -> f64 {
    let total = a + b;
    // x·(a+b) − a and y·(a+b) − b.
    let excess = x * b - y * a;
    let spread = (a * b / (2.0 * PI * total)).sqrt();
    let stirling = stirling_error(total) - stirling_error(a) - stirling_error(b);
    spread * (stirling + a * log_quotient(x * total, a, excess) + b * log_quotient(y * total, b, -excess)).exp()
}

/// ln(value / mean), where `excess` is their difference: taken from the difference where that is small, from the
/// quotient where the difference has lost the digits of the value.
fn log_quotient(value: f64, mean: f64, excess: f64) -> f64 {
    if excess < -0.5 * mean { (value / mean).ln() } else { (excess / mean).ln_1p() }
}

/// ln Γ(x) − ((x − ½)·ln x − x + ½·ln 2π), the error of Stirling's formula, for x > 0.
fn stirling_error(x: f64) -> f64 {
    let mut lifted = x;
    let mut difference = 0.0;
    // From Γ(x + 1) = x·Γ(x); at 16 the first term that the series leaves out is below 1e-16.
    while lifted < 16.0 {
        difference += (lifted + 0.5) * (1.0 / lifted).ln_1p() - 1.0;
        lifted += 1.0;
    }
    let inverse = 1.0 / lifted;
    let square = inverse * inverse;
    let tail = 1.0 / 1260.0 - square * (1.0 / 1680.0 - square * (1.0 / 1188.0 - square * 691.0 / 360_360.0));
    difference + inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * tail))
}

/// The continued fraction. It converges in some multiple of √max(a, b) steps.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const STEPS_MAX: u32 = 1_000_000;
    const TINY: f64 = 1e-300;
    let not_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / not_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for m in (1..STEPS_MAX).map(f64::from) {
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / not_zero(1.0 + even * d);
        c = not_zero(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / not_zero(1.0 + odd * d);
        c = not_zero(1.0 + odd / c);
        let change = d * c;
        fraction *= change;
        if (change - 1.0).abs() <= f64::EPSILON {
            break;
        }
    }
    fraction
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::gold;
    use super::*;

    #[test]
    fn tails_match_scipy() {
        let gold = gold::parse(include_str!("../../testdata/stats/tails.json"));
        for row in gold::rows(&gold["normal"]).iter().map(gold::numbers) {
            gold::assert_close(&format!("normal {row:?}"), normal_sf(row[0]), row[1]);
        }
        for row in gold::rows(&gold["t"]).iter().map(gold::numbers) {
            gold::assert_close(&format!("t {row:?}"), t_two_sided_sf(row[0], row[1]) / 2.0, row[2]);
            // And back, where the probability is one of two sides.
            if row[0] > 0.0 {
                let back = t_two_sided_quantile(2.0 * row[2], row[1]);
                gold::assert_within(&format!("t quantile {row:?}"), back, row[0], 1e-9 * row[0]);
            }
        }
        for row in gold::rows(&gold["chi2_quantile"]).iter().map(gold::numbers) {
            gold::assert_close(&format!("chi2 {row:?}"), chi2_quantile(row[0], row[1] as usize), row[2]);
        }
        for row in gold::rows(&gold["beta"]).iter().map(gold::numbers) {
            let (a, b, x) = (row[0], row[1], row[2]);
            gold::assert_close(&format!("beta {row:?}"), incomplete_beta(a, b, x, 1.0 - x), row[3]);
            gold::assert_close(&format!("beta above {row:?}"), incomplete_beta(b, a, 1.0 - x, x), row[4]);
        }
    }

    #[test]
    fn tails_match_the_larger_gold_set() {
        let Some(gold) = gold::shared() else { return };
        for row in gold::rows(&gold["sf"]["chi2"]).iter().map(gold::numbers) {
            gold::assert_close(&format!("chi2 {row:?}"), chi2_sf(row[0], row[1] as usize), row[2]);
        }
        for row in gold::rows(&gold["sf"]["norm"]).iter().map(gold::numbers) {
            gold::assert_close(&format!("normal {row:?}"), normal_sf(row[0]), row[1]);
        }
        for row in gold::rows(&gold["sf"]["t"]).iter().map(gold::numbers) {
            gold::assert_close(&format!("t {row:?}"), t_two_sided_sf(row[0], row[1]) / 2.0, row[2]);
        }
    }

    #[test]
    fn the_f_distribution_is_that_of_squares_of_t_and_of_chi2() {
        for (t, degrees) in [(0.3, 1.0), (1.7, 3.5), (4.0, 21.0), (12.0, 80.0)] {
            gold::assert_close("of one", f_sf(t * t, 1.0, degrees), t_two_sided_sf(t, degrees));
            gold::assert_close("turned over", f_sf(t, degrees, 2.0), 1.0 - f_sf(1.0 / t, 2.0, degrees));
        }
        // With so many degrees below, what is below is a constant.
        gold::assert_within("of chi2", f_sf(2.5, 4.0, 1e9), chi2_sf(10.0, 4), 1e-7);
        // Two below: 1 − (1 + 2 / (f·above))^(−above / 2), in closed form.
        gold::assert_close("closed", f_sf(3.0, 4.0, 2.0), 1.0 - (1.0_f64 + 2.0 / 12.0).powi(-2));
        for (probability, above, below) in [(0.5, 1.0, 3.0), (0.01, 2.7, 40.5), (1e-7, 29.0, 600.0)] {
            gold::assert_close("and back", f_sf(f_quantile(probability, above, below), above, below), probability);
        }
    }

    #[test]
    fn ends() {
        assert_eq!((f_sf(0.0, 3.0, 5.0), f_sf(-1.0, 3.0, 5.0), f_sf(f64::INFINITY, 3.0, 5.0)), (1.0, 1.0, 0.0));
        assert!(f_sf(f64::NAN, 3.0, 5.0).is_nan());
        assert_eq!(t_two_sided_sf(f64::INFINITY, 3.0), 0.0);
        assert_eq!(t_two_sided_sf(0.0, 3.0), 1.0);
        assert!(t_two_sided_sf(f64::NAN, 3.0).is_nan());
        assert_eq!(chi2_sf(5.0, 0), 1.0);
        assert_eq!(chi2_quantile(0.05, 0), 0.0);
    }
}
