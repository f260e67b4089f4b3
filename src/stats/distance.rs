//! Distances of two distributions that are measures of size, not tests: Wasserstein's and Jensen and
//! Shannon's. Neither says how likely it is by chance.

use super::order::{sort, ties};

/// The first Wasserstein distance: how far values have to move on average to turn one sample into the
/// other, in their unit; `None` for an empty sample. Sorts both in place. Values are finite.
///
/// It is the area between the two distribution functions: Vallender (1974), "Calculation of the Wasserstein
/// Distance Between Probability Distributions on the Line". Same values as
/// `scipy.stats.wasserstein_distance`.
pub fn wasserstein_distance(reference: &mut [f64], current: &mut [f64]) -> Option<f64> {
    if reference.is_empty() || current.is_empty() {
        return None;
    }
    sort(reference);
    sort(current);
    let (n_reference, n_current) = (reference.len() as f64, current.len() as f64);
    let (mut below_reference, mut below_current) = (0_usize, 0_usize);
    let mut before = None;
    let mut area = 0.0;
    for tie in ties(reference, current) {
        if let Some(before) = before {
            let height = (below_reference as f64 / n_reference - below_current as f64 / n_current).abs();
            area += height * (tie.value - before);
        }
        below_reference += tie.reference;
        below_current += tie.current;
        before = Some(tie.value);
    }
    Some(area)
}

/// The Jensen-Shannon distance of two samples' counts per category, `(reference, current)` each: 0 where the
/// shares are equal, 1 where no category is in both samples; `None` for a sample without any count.
///
/// It is the root of the divergence in bits. Source: Lin (1991), "Divergence Measures Based on the Shannon
/// Entropy"; Endres, Schindelin (2003), "A New Metric for Probability Distributions", IEEE Transactions on
/// Information Theory. Same values as `scipy.spatial.distance.jensenshannon(base=2)`.
pub fn jensen_shannon_distance(counts: &[(u64, u64)]) -> Option<f64> {
    let (n_reference, n_current) = super::totals(counts);
    if n_reference == 0 || n_current == 0 {
        return None;
    }
    let part = |share: f64, mean: f64| if share > 0.0 { share * (share / mean).log2() } else { 0.0 };
    let divergence: f64 = counts
        .iter()
        .map(|&(reference, current)| {
            let (reference, current) = (reference as f64 / n_reference as f64, current as f64 / n_current as f64);
            let mean = reference.midpoint(current);
            part(reference, mean) + part(current, mean)
        })
        .sum();
    Some((divergence / 2.0).clamp(0.0, 1.0).sqrt())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::gold;
    use super::{jensen_shannon_distance, wasserstein_distance};

    #[test]
    fn match_scipy() {
        for (label, mut reference, mut current, case) in gold::two_samples() {
            let distance = wasserstein_distance(&mut reference, &mut current).unwrap();
            gold::assert_within(&label, distance, case["wasserstein"].as_f64().unwrap(), 1e-9);
        }
        let gold = gold::parse(include_str!("../../testdata/stats/chi2.json"));
        for case in gold::rows(&gold["tables"]) {
            let label = case["table"].to_string();
            let distance = jensen_shannon_distance(&gold::counts(&case["table"])).unwrap();
            gold::assert_within(&label, distance, case["jensen_shannon"].as_f64().unwrap(), 1e-9);
        }
    }

    #[test]
    fn match_the_larger_gold_set() {
        for (label, mut reference, mut current, case) in gold::shared_two_samples() {
            let distance = wasserstein_distance(&mut reference, &mut current).unwrap();
            gold::assert_within(&label, distance, case["wasserstein_1"].as_f64().unwrap(), 1e-9);
            let distance = jensen_shannon_distance(&gold::counts(&case["counts"])).unwrap();
            gold::assert_within(&label, distance, case["js_distance_base2"].as_f64().unwrap(), 1e-9);
        }
    }

    #[test]
    fn nothing_has_no_distance() {
        assert_eq!(wasserstein_distance(&mut [], &mut [1.0]), None);
        assert_eq!(jensen_shannon_distance(&[(3, 0)]), None);
        assert_eq!(jensen_shannon_distance(&[]), None);
    }

    fn samples() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec((-20..20_i8).prop_map(f64::from), 1..40)
    }

    proptest! {
        #[test]
        fn distances_are_alike_from_both_sides(mut left in samples(), mut right in samples(), shift in 0.0..9.0_f64) {
            let there = wasserstein_distance(&mut left, &mut right).unwrap();
            let back = wasserstein_distance(&mut right, &mut left).unwrap();
            prop_assert!(there >= 0.0 && there == back);
            let mut moved: Vec<f64> = left.iter().map(|value| value + shift).collect();
            let distance = wasserstein_distance(&mut left, &mut moved).unwrap();
            prop_assert!((distance - shift).abs() < 1e-9);
        }

        #[test]
        fn shares_make_the_distance(counts in prop::collection::vec((0..50_u64, 0..50_u64), 1..12)) {
            let swapped: Vec<(u64, u64)> = counts.iter().map(|&(left, right)| (right, left)).collect();
            let scaled: Vec<(u64, u64)> = counts.iter().map(|&(left, right)| (7 * left, right)).collect();
            if let Some(distance) = jensen_shannon_distance(&counts) {
                prop_assert!((0.0..=1.0).contains(&distance));
                prop_assert!((distance - jensen_shannon_distance(&swapped).unwrap()).abs() < 1e-12);
                // The root is steep near 0, where rounding is all there is.
                prop_assert!((distance - jensen_shannon_distance(&scaled).unwrap()).abs() < 1e-7);
            }
        }
    }
}
