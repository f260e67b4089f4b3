//! Confidence intervals of a share, from counted successes.

use super::tails::{beta_quantile, normal_two_sided_quantile};

/// A confidence interval of a share, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Wilson's interval of the share behind `successes` in `trials`, at a `confidence` between 0 and 1. `None`
/// for no trials, for more successes than trials, and for another confidence.
///
/// It covers the share with about this probability on average, and is close for few trials and for
/// shares near 0 and 1. Source: Wilson (1927), "Probable Inference, the Law of Succession, and Statistical
/// Inference", Journal of the American Statistical Association 22. Same values as
/// `scipy.stats.binomtest(…).proportion_ci(method="wilson")`.
pub fn wilson_interval(successes: u64, trials: u64, confidence: f64) -> Option<Interval> {
    if !is_valid(successes, trials, confidence) {
        return None;
    }
    let z = normal_two_sided_quantile(1.0 - confidence);
    let (n, share) = (trials as f64, successes as f64 / trials as f64);
    let square = z * z;
    let center = 2.0 * n * share + square;
    let spread = z * (square + 4.0 * n * share * (1.0 - share)).sqrt();
    let divisor = 2.0 * (n + square);
    Some(Interval {
        low: if successes == 0 { 0.0 } else { ((center - spread) / divisor).max(0.0) },
        high: if successes == trials { 1.0 } else { ((center + spread) / divisor).min(1.0) },
    })
}

/// The exact interval of the share behind `successes` in `trials`, at a `confidence` between 0 and 1: it covers
/// the share with at least this probability, whatever it is. `None` as for [`wilson_interval`].
///
/// Source: Clopper, Pearson (1934), "The Use of Confidence or Fiducial Limits Illustrated in the Case of the
/// Binomial", Biometrika 26(4). Same values as `scipy.stats.binomtest(…).proportion_ci(method="exact")`.
pub fn binomial_interval(successes: u64, trials: u64, confidence: f64) -> Option<Interval> {
    if !is_valid(successes, trials, confidence) {
        return None;
    }
    let outside = (1.0 - confidence) / 2.0;
    let (k, rest) = (successes as f64, (trials - successes) as f64);
    Some(Interval {
        low: if successes == 0 { 0.0 } else { beta_quantile(outside, k, rest + 1.0) },
        high: if successes == trials { 1.0 } else { beta_quantile(1.0 - outside, k + 1.0, rest) },
    })
}

fn is_valid(successes: u64, trials: u64, confidence: f64) -> bool {
    trials > 0 && successes <= trials && confidence > 0.0 && confidence < 1.0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::gold;
    use super::{Interval, binomial_interval, wilson_interval};

    fn check(cases: &Value) {
        for case in gold::rows(cases) {
            let (k, n) = (case["k"].as_u64().unwrap(), case["n"].as_u64().unwrap());
            let confidence = case["confidence"].as_f64().unwrap_or(0.95);
            let same = |found: Option<Interval>, name: &str| {
                let (found, expected) = (found.unwrap(), gold::numbers(&case[name]));
                gold::assert_within(&format!("{name} {case}"), found.low, expected[0], 1e-9);
                gold::assert_within(&format!("{name} {case}"), found.high, expected[1], 1e-9);
            };
            same(wilson_interval(k, n, confidence), "ci_wilson");
            same(binomial_interval(k, n, confidence), "ci_exact");
        }
    }

    #[test]
    fn match_scipy() {
        check(&gold::parse(include_str!("../../testdata/stats/proportions.json"))["binomial"]);
    }

    #[test]
    fn match_the_larger_gold_set() {
        if let Some(gold) = gold::shared() {
            check(&gold["binom"]);
        }
    }

    #[test]
    fn what_makes_no_sense_has_no_answer() {
        for interval in [wilson_interval, binomial_interval] {
            assert_eq!(interval(0, 0, 0.95), None);
            assert_eq!(interval(3, 2, 0.95), None);
            assert_eq!(interval(1, 2, 1.0), None);
            assert_eq!(interval(1, 2, 0.0), None);
            assert_eq!(interval(1, 2, f64::NAN), None);
        }
    }

    proptest! {
        #[test]
        fn intervals_hold_their_share_and_mirror(n in 1..400_u64, part in 0.0..=1.0_f64, confidence in 0.5..0.999_f64) {
            let k = (part * n as f64) as u64;
            for interval in [wilson_interval, binomial_interval] {
                let (found, mirror) = (interval(k, n, confidence).unwrap(), interval(n - k, n, confidence).unwrap());
                let share = k as f64 / n as f64;
                prop_assert!(0.0 <= found.low && found.low <= share && share <= found.high && found.high <= 1.0);
                prop_assert!((found.low + mirror.high - 1.0).abs() < 1e-10);
            }
        }
    }
}
