//! The population stability index, and what of it chance explains.
//!
//! The customary limits 0.1 and 0.25 take no account of the size of the samples: with 200 values on each
//! side chance alone passes 0.1 in one case of three. So the index comes with a p-value and with the value
//! that samples of this size reach by chance, where there are values enough to tell.

use super::{
    order::sort,
    quantile_of_sorted,
    tails::{chi2_quantile, chi2_sf},
    totals,
};

/// A share below this counts as this, so that an empty bin does not make the index infinite.
const SHARE_MIN: f64 = 1e-4;
/// A bin that is expected to hold fewer values than this in a sample may be empty by chance, and an empty one adds
/// (share − 0.0001)·ln(share / 0.0001) whatever the sample's size: with 30 values a side the index of one distribution
/// would pass its 5 % point in 44 % of cases, with 100 in 7 %.
const EXPECTED_MIN: f64 = 10.0;
/// How often samples of one distribution reach [`Psi::null_threshold`].
const CHANCE: f64 = 0.05;
/// Bins that values are cut into, at the reference sample's quantiles.
const BINS: usize = 10;

/// The index and what stands behind it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Psi {
    /// Σ (current − reference)·ln(current / reference) over the shares of the bins, at least 0.
    pub index: f64,
    /// Probability of an index at least as large if nothing differs; none where a bin is expected to hold fewer than
    /// 10 values of a sample.
    pub p_value: Option<f64>,
    /// The index that samples of these sizes reach in 5 % of cases where nothing differs; none for the same.
    pub null_threshold: Option<f64>,
    /// Bins that have counts.
    pub bins: u64,
    /// Observations in the reference sample.
    pub n_reference: u64,
    /// Observations in the current sample.
    pub n_current: u64,
}

/// The index of counts per bin or category, `(reference, current)` each; `None` for a sample without any
/// count.
///
/// Where nothing differs, the index over (1/n + 1/m) is distributed as χ² with (bins − 1) degrees of freedom:
/// Yurdakul, Naranjo (2020), "Statistical Properties of the Population Stability Index", Journal of Risk
/// Model Validation 14(4). It holds for bins that are expected to hold some values on both sides. Shares below 0.0001
/// count as 0.0001.
pub fn psi(counts: &[(u64, u64)]) -> Option<Psi> {
    let (n_reference, n_current) = totals(counts);
    if n_reference == 0 || n_current == 0 {
        return None;
    }
    let share = |count: u64, of: u64| (count as f64 / of as f64).max(SHARE_MIN);
    let used = counts.iter().filter(|count| **count != (0, 0));
    let bins = used.clone().count();
    let index = used
        .clone()
        .map(|&(reference, current)| {
            let (reference, current) = (share(reference, n_reference), share(current, n_current));
            (current - reference) * (current / reference).ln()
        })
        .sum();
    let scale = 1.0 / n_reference as f64 + 1.0 / n_current as f64;
    let smaller = n_reference.min(n_current) as f64 / (n_reference as f64 + n_current as f64);
    let fewest = used.map(|(reference, current)| reference.saturating_add(*current)).min().unwrap_or(0);
    let is_sufficient = fewest as f64 * smaller >= EXPECTED_MIN;
    Some(Psi {
        index,
        p_value: is_sufficient.then(|| chi2_sf(index / scale, bins - 1)),
        null_threshold: is_sufficient.then(|| scale * chi2_quantile(CHANCE, bins - 1)),
        bins: bins as u64,
        n_reference,
        n_current,
    })
}

/// Counts of both samples between the deciles of the reference sample, `(reference, current)` each; sorts
/// both. A bin has its lower edge and not its upper; edges that fall together are one, so there may be fewer
/// than ten bins. The outer ones have no end.
pub fn decile_counts(reference: &mut [f64], current: &mut [f64]) -> Vec<(u64, u64)> {
    sort(reference);
    sort(current);
    let mut edges: Vec<f64> =
        (1..BINS).filter_map(|edge| quantile_of_sorted(reference, edge as f64 / BINS as f64)).collect();
    edges.dedup();
    let mut counts = Vec::with_capacity(BINS);
    let mut before = (0, 0);
    let below = |sorted: &[f64], edge: f64| sorted.partition_point(|value| *value < edge) as u64;
    let ends = edges.into_iter().map(|edge| (below(reference, edge), below(current, edge)));
    for through in ends.chain([(reference.len() as u64, current.len() as u64)]) {
        counts.push((through.0 - before.0, through.1 - before.1));
        before = through;
    }
    counts
}

/// Joins neighbouring bins of a fine histogram, `(reference, current)` each by rising value, until each holds
/// a tenth of the reference sample; what is left at the end joins the last.
pub fn joined_to_deciles(counts: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let (n_reference, _) = totals(counts);
    let mut joined: Vec<(u64, u64)> = Vec::with_capacity(BINS);
    let mut open = (0_u64, 0_u64);
    for count in counts {
        open = (open.0.saturating_add(count.0), open.1.saturating_add(count.1));
        if open.0 > 0 && u128::from(open.0) * BINS as u128 >= u128::from(n_reference) {
            joined.push(open);
            open = (0, 0);
        }
    }
    match joined.last_mut() {
        Some(last) => *last = (last.0.saturating_add(open.0), last.1.saturating_add(open.1)),
        None => joined.push(open),
    }
    joined
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::{gold, uniform::Uniform};
    use super::{decile_counts, joined_to_deciles, psi};

    #[test]
    fn matches_numpy() {
        for (label, mut reference, mut current, case) in gold::two_samples() {
            let counts = decile_counts(&mut reference, &mut current);
            assert_eq!(counts, gold::counts(&case["decile_counts"]), "{label}");
            let found = psi(&counts).unwrap();
            gold::assert_within(&label, found.index, case["psi"].as_f64().unwrap(), 1e-9);
        }
    }

    #[test]
    fn matches_the_larger_gold_set() {
        for (label, mut reference, mut current, case) in gold::shared_two_samples() {
            let counts = decile_counts(&mut reference, &mut current);
            assert_eq!(counts, gold::counts(&case["counts"]), "{label}");
            let found = psi(&counts).unwrap();
            gold::assert_within(&label, found.index, case["psi_clip1e-4"].as_f64().unwrap(), 1e-9);
        }
    }

    /// Half of a fixed sequence against the other half, in many cuts: the threshold is passed as often as it says.
    #[test]
    fn the_threshold_is_passed_by_chance_as_often_as_it_says() {
        let mut uniform = Uniform(42);
        let rounds = 2_000;
        let passed = (0..rounds)
            .filter(|_| {
                let mut reference: Vec<f64> = (0..600).map(|_| uniform.next()).collect();
                let mut current: Vec<f64> = (0..400).map(|_| uniform.next()).collect();
                let found = psi(&decile_counts(&mut reference, &mut current)).unwrap();
                let (p_value, threshold) = (found.p_value.unwrap(), found.null_threshold.unwrap());
                assert_eq!(found.index > threshold, p_value < 0.05);
                found.index > threshold
            })
            .count();
        let share = passed as f64 / f64::from(rounds);
        assert!((0.035..0.065).contains(&share), "{share}");
    }

    /// The share of samples of one distribution whose index is called significant at 5 %, of those that have a p-value,
    /// and the share of these.
    fn passed(n: usize, m: usize, mut counts: impl FnMut(usize, usize) -> Vec<(u64, u64)>) -> (f64, f64) {
        let rounds = 2_000;
        let p_values: Vec<f64> = (0..rounds).filter_map(|_| psi(&counts(n, m)).unwrap().p_value).collect();
        let passed = p_values.iter().filter(|p_value| **p_value < 0.05).count();
        (passed as f64 / p_values.len().max(1) as f64, p_values.len() as f64 / f64::from(rounds))
    }

    /// Small samples have no p-value, or one that chance passes about as often as it says.
    #[test]
    fn few_values_are_not_significant_by_being_few() {
        let mut uniform = Uniform(43);
        for (n, m, told) in [(10, 10, false), (30, 30, false), (30, 1_000, false), (60, 60, false), (150, 150, true)] {
            let (share, with_p) = passed(n, m, |n, m| {
                let mut reference: Vec<f64> = (0..n).map(|_| uniform.next()).collect();
                let mut current: Vec<f64> = (0..m).map(|_| uniform.next()).collect();
                decile_counts(&mut reference, &mut current)
            });
            assert!(if told { with_p > 0.5 } else { with_p == 0.0 }, "{n} {m}: {with_p}");
            assert!(!told || (0.03..0.08).contains(&share), "{n} {m}: {share}");
        }
        for (n, m) in [(20, 20), (100, 100), (300, 80), (1_000, 150)] {
            let (share, with_p) = passed(n, m, |n, m| {
                let mut counts = vec![(0, 0); 4];
                let mut draw = || {
                    let value = uniform.next();
                    [0.6, 0.85, 0.97].iter().filter(|edge| value > **edge).count()
                };
                for _ in 0..n {
                    counts[draw()].0 += 1;
                }
                for _ in 0..m {
                    counts[draw()].1 += 1;
                }
                counts
            });
            assert!(with_p < 0.05 || (0.02..0.08).contains(&share), "{n} {m}: {share} of {with_p}");
        }
    }

    #[test]
    fn little_is_said_of_nothing() {
        assert_eq!(psi(&[]), None);
        assert_eq!(psi(&[(4, 0)]), None);
        let one = psi(&[(40, 90), (0, 0)]).unwrap();
        assert_eq!((one.index, one.p_value, one.null_threshold, one.bins), (0.0, Some(1.0), Some(0.0), 1));
        let few = psi(&[(4, 9), (0, 3)]).unwrap();
        assert!(few.index > 0.0 && few.p_value.is_none() && few.null_threshold.is_none(), "{few:?}");
        assert_eq!(decile_counts(&mut [], &mut [1.0]), [(0, 1)]);
    }

    #[test]
    fn fine_bins_join_to_tenths() {
        let fine: Vec<(u64, u64)> = (0..40).map(|bin| (5, bin)).collect();
        let joined = joined_to_deciles(&fine);
        assert_eq!(joined.len(), 10);
        assert!(joined.iter().all(|(reference, _)| *reference == 20));
        assert_eq!(joined_to_deciles(&[(0, 3), (1, 0), (0, 2)]), [(1, 5)]);
        assert_eq!(joined_to_deciles(&[(0, 3)]), [(0, 3)]);
    }

    proptest! {
        #[test]
        fn the_index_is_alike_from_both_sides(counts in prop::collection::vec((0..500_u64, 0..500_u64), 1..14)) {
            let swapped: Vec<(u64, u64)> = counts.iter().map(|&(left, right)| (right, left)).collect();
            if let Some(found) = psi(&counts) {
                let mirror = psi(&swapped).unwrap();
                let is_probability = found.p_value.is_none_or(|p_value| (0.0..=1.0).contains(&p_value));
                prop_assert!(is_probability && found.index >= 0.0);
                prop_assert!((found.index - mirror.index).abs() < 1e-12 * found.index.max(1.0));
            }
        }

        #[test]
        fn bins_lose_nothing(mut left in prop::collection::vec(-9.0..9.0_f64, 1..60), mut right in prop::collection::vec(-9.0..9.0_f64, 0..60)) {
            let counts = decile_counts(&mut left, &mut right);
            let joined = joined_to_deciles(&counts);
            for counts in [counts, joined] {
                prop_assert!(counts.len() <= 10);
                prop_assert_eq!(counts.iter().map(|count| count.0).sum::<u64>(), left.len() as u64);
                prop_assert_eq!(counts.iter().map(|count| count.1).sum::<u64>(), right.len() as u64);
            }
        }
    }
}
