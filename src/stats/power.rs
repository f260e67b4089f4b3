//! What a test could have shown: the least difference that samples of given sizes would have made significant.
//!
//! Of "nothing was found" it says how much that is worth. It knows sizes and levels, never a sample.

use super::{
    kolmogorov::kolmogorov_limit_sf,
    tails::{chi2_quantile, halved, normal_two_sided_quantile},
};

/// The Kolmogorov-Smirnov distance that two distributions must have so that the p-value of samples of these sizes is at
/// most `p_max` with a probability of at least `power`, both between 0 and 1. It may be above 1: then none suffices.
///
/// By the limiting distribution of D. At the place where the distributions are furthest apart, the difference of the
/// samples' shares is about normal, with a standard deviation of at most ½·√(1/n + 1/m), and D is no less than it.
pub fn ks_detectable(n_reference: u64, n_current: u64, p_max: f64, power: f64) -> f64 {
    let spread = (1.0 / n_reference as f64 + 1.0 / n_current as f64).sqrt();
    // The tail is at most twice its first term.
    let reached = halved(0.0, (-(p_max / 2.0).ln() / 2.0).sqrt() + 1.0, |x| kolmogorov_limit_sf(x) > p_max);
    spread * (reached + 0.5 * beyond(power))
}

/// The same of Cramér's V of so many categories in two samples, told apart by Pearson's X². The root of X² has the root
/// of its noncentrality as its mean, or more, and a standard deviation of at most 1.
pub fn cramers_v_detectable(categories: usize, n_reference: u64, n_current: u64, p_max: f64, power: f64) -> f64 {
    // Of one category a change brings a second.
    let degrees = categories.max(2) - 1;
    let all = n_reference as f64 + n_current as f64;
    (chi2_quantile(p_max, degrees).sqrt() + beyond(power)) / all.sqrt()
}

/// The z that a standard normal variable is below with this probability, a half or more.
fn beyond(power: f64) -> f64 {
    normal_two_sided_quantile(2.0 * (1.0 - power))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Outcome, chi2_test, ks_test, uniform::Uniform};
    use super::{cramers_v_detectable, ks_detectable};

    fn share_found(rounds: u32, mut p_value: impl FnMut() -> f64, p_max: f64) -> f64 {
        let found = (0..rounds).filter(|_| p_value() <= p_max).count();
        found as f64 / f64::from(rounds)
    }

    fn p_of(outcome: Outcome) -> f64 {
        let Outcome::Tested(test) = outcome else { panic!("{outcome:?}") };
        test.p_value
    }

    #[test]
    fn what_is_detectable_is_found_as_often_as_is_said() {
        let mut uniform = Uniform(7);
        for (n, m, p_max) in [(60, 60, 0.01), (400, 90, 1e-4)] {
            // A part of the lower half moves up by a half: D is that part's share.
            let mut p_value = |distance: f64| {
                let mut reference: Vec<f64> = (0..n).map(|_| uniform.next()).collect();
                let mut current: Vec<f64> = (0..m)
                    .map(|_| {
                        let value = uniform.next();
                        if value < 0.5 && uniform.next() < 2.0 * distance { value + 0.5 } else { value }
                    })
                    .collect();
                p_of(ks_test(&mut reference, &mut current))
            };
            let least = ks_detectable(n, m, p_max, 0.8);
            let (full, half) =
                (share_found(300, || p_value(least), p_max), share_found(300, || p_value(0.5 * least), p_max));
            assert!(full >= 0.75 && half < 0.5, "{n} {m} {p_max}: {full} {half}");
        }
    }

    #[test]
    fn the_same_of_categories() {
        let mut uniform = Uniform(8);
        for (each, p_max) in [(100_u64, 0.01), (400, 1e-4)] {
            let least = cramers_v_detectable(2, each, each, p_max, 0.8);
            // Of two sides of as many values, shares of ½ − v / 2 and ½ + v / 2 make a V of v.
            let mut p_value = |v: f64| {
                let mut count = |share: f64| (0..each).filter(|_| uniform.next() < share).count() as u64;
                let (reference, current) = (count(0.5 - v / 2.0), count(0.5 + v / 2.0));
                p_of(chi2_test(&[(reference, current), (each - reference, each - current)]))
            };
            let (full, half) =
                (share_found(400, || p_value(least), p_max), share_found(400, || p_value(0.5 * least), p_max));
            assert!(full >= 0.75 && half < 0.5, "{each} {p_max}: {full} {half}");
        }
    }

    #[test]
    fn levels_and_sizes_count() {
        // 1.3581 is the 5 % point of Kolmogorov's distribution, 3.8415 that of X² with one degree of freedom.
        let half = ks_detectable(200, 200, 0.05, 0.5);
        assert!((half - 0.135_81).abs() < 1e-5, "{half}");
        let half = cramers_v_detectable(2, 50, 50, 0.05, 0.5);
        assert!((half - 0.196).abs() < 1e-4, "{half}");
        assert!(ks_detectable(3, 3, 1e-4, 0.8) > 1.0);
        assert_eq!(cramers_v_detectable(1, 50, 50, 0.01, 0.8), cramers_v_detectable(2, 50, 50, 0.01, 0.8));
    }
}
