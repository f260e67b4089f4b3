//! How far two windows are from each other, 0 to 1, whatever their sizes; and what that is by chance alone.

use super::series::{Kind, total};

/// Mean of the square of Kolmogorov's distribution, π² / 12: what n·D² comes to for independent values of a continuous
/// distribution, n being the size of [`effective`].
const KOLMOGOROV_SQUARE: f64 = 0.822_467_033_424_113_2;

/// The distance of two sides' counts in the same bins; none where a side has no values.
///
/// Of numbers it is the Kolmogorov-Smirnov distance at the bins' boundaries. Of categories it is √(¼·Σ(p − q)² / p̄), the
/// root of the triangular discrimination (Topsøe 2000): Cramér's V as if both sides had as many values, so that it
/// does not depend on how long the reference is.
pub fn distance(kind: Kind, reference: &[u64], current: &[u64]) -> Option<f64> {
    let (n_reference, n_current) = (total(reference) as f64, total(current) as f64);
    if n_reference == 0.0 || n_current == 0.0 {
        return None;
    }
    let shares = reference.iter().zip(current).map(|(r, c)| (*r as f64 / n_reference, *c as f64 / n_current));
    Some(match kind {
        Kind::Ordered => {
            let differences = shares.scan(0.0_f64, |ahead, (reference, current)| {
                *ahead += current - reference;
                Some(ahead.abs())
            });
            differences.fold(0.0, f64::max).min(1.0)
        }
        Kind::Unordered => {
            let parts = shares.filter(|(reference, current)| reference + current > 0.0);
            let sum: f64 =
                parts.map(|(reference, current)| (reference - current).powi(2) / (reference + current)).sum();
            (sum / 2.0).clamp(0.0, 1.0).sqrt()
        }
    })
}

/// The Kolmogorov-Smirnov distance that the values behind two sides' counts have at most; none where a side has no
/// values. `hides` says of a bin whether its values may differ from each other.
///
/// Within a bin each distribution function rises from its value at the lower boundary to that at the upper, so there
/// they are never further apart than one's upper from the other's lower value, as in
/// [`crate::sketch::Histogram::distance`].
pub fn distance_at_most(reference: &[u64], current: &[u64], hides: impl Fn(usize) -> bool) -> Option<f64> {
    let (n_reference, n_current) = (total(reference) as f64, total(current) as f64);
    if n_reference == 0.0 || n_current == 0.0 {
        return None;
    }
    let (mut lower, mut most) = ((0.0, 0.0), 0.0_f64);
    for (bin, (reference, current)) in reference.iter().zip(current).enumerate() {
        let upper = (lower.0 + *reference as f64 / n_reference, lower.1 + *current as f64 / n_current);
        most = most.max(f64::abs(upper.0 - upper.1));
        if hides(bin) {
            most = most.max(upper.0 - lower.1).max(upper.1 - lower.0);
        }
        lower = upper;
    }
    Some(most.min(1.0))
}

/// The size by which the square of a distance is multiplied so that by chance it is about the same for all sizes.
pub fn effective(n_reference: u64, n_current: u64) -> f64 {
    let (reference, current) = (n_reference as f64, n_current as f64);
    if reference + current == 0.0 { 0.0 } else { reference * current / (reference + current) }
}

/// The mean of the distance's square times [`effective`], if all values were independent draws of this distribution.
///
/// For categories it is (k − 1) / 4, as X² has mean k − 1. For numbers it is at most [`KOLMOGOROV_SQUARE`], and at
/// most the sum of the variances at the boundaries, which is less where there are few bins.
pub fn by_chance(kind: Kind, counts: &[u64]) -> f64 {
    let n = total(counts) as f64;
    match kind {
        Kind::Ordered => {
            let mut below = 0.0;
            let variances = counts.iter().map(|count| {
                below += *count as f64 / n;
                below * (1.0 - below)
            });
            variances.filter(|variance| *variance > 0.0).sum::<f64>().min(KOLMOGOROV_SQUARE)
        }
        Kind::Unordered => (used(counts) as f64 - 1.0).max(0.0) / 4.0,
    }
}

/// Bins that count anything.
pub fn used(counts: &[u64]) -> usize {
    counts.iter().filter(|count| **count > 0).count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::cramers_v;

    #[track_caller]
    fn check(kind: Kind, reference: &[u64], current: &[u64], expected: Option<f64>) {
        let found = distance(kind, reference, current);
        match (found, expected) {
            (Some(found), Some(expected)) => assert!((found - expected).abs() < 1e-12, "{found} is not {expected}"),
            _ => assert_eq!(found, expected),
        }
    }

    #[test]
    fn known_distances() {
        check(Kind::Ordered, &[10, 0, 0], &[0, 0, 5], Some(1.0));
        check(Kind::Ordered, &[5, 5], &[50, 50], Some(0.0));
        check(Kind::Ordered, &[8, 2], &[4, 6], Some(0.4));
        check(Kind::Unordered, &[10, 0], &[0, 3], Some(1.0));
        check(Kind::Unordered, &[0, 10], &[0, 3], Some(0.0));
        check(Kind::Unordered, &[0, 0], &[1, 3], None);
        check(Kind::Ordered, &[1, 3], &[0, 0], None);
        // (0.4² / 1.2 + 0.4² / 0.8) / 2
        check(Kind::Unordered, &[8, 2], &[4, 6], Some((1.0_f64 / 6.0).sqrt()));
    }

    #[test]
    fn what_a_bin_hides_may_be_all_of_it() {
        let check = |reference: &[u64], current: &[u64], hidden: &[usize], expected: f64| {
            let found = distance_at_most(reference, current, |bin| hidden.contains(&bin)).unwrap();
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        };
        check(&[0, 40, 0], &[0, 30, 0], &[1], 1.0);
        check(&[0, 40, 0], &[0, 30, 0], &[0, 2], 0.0);
        check(&[10, 0, 0], &[0, 0, 5], &[], 1.0);
        // 0.8 through the first bin of one side, 0 before that of the other.
        check(&[8, 2], &[4, 6], &[0], 0.8);
        check(&[8, 2], &[4, 6], &[1], 0.6);
        check(&[8, 2], &[4, 6], &[], 0.4);
        assert_eq!(distance_at_most(&[0, 0], &[1, 3], |_| true), None);
    }

    #[test]
    fn chance_is_less_where_there_is_less_to_choose() {
        assert_eq!(by_chance(Kind::Ordered, &[7, 0, 0]), 0.0);
        assert_eq!(by_chance(Kind::Ordered, &[5, 5]), 0.25);
        assert_eq!(by_chance(Kind::Ordered, &[1; 40]), KOLMOGOROV_SQUARE);
        assert_eq!(by_chance(Kind::Unordered, &[7, 0]), 0.0);
        assert_eq!(by_chance(Kind::Unordered, &[7, 1, 0, 2]), 0.5);
    }

    proptest! {
        #[test]
        fn of_equal_sizes_it_is_cramers_v(
            (reference, current) in (2..8_usize).prop_flat_map(|bins| {
                (prop::collection::vec(0..50_u64, bins), prop::collection::vec(0..50_u64, bins))
            })
        ) {
            let (n_reference, n_current) = (total(&reference), total(&current));
            // Scaled to equal sizes.
            let cells = reference.iter().zip(&current).enumerate().flat_map(|(bin, (r, c))| {
                [(bin, 0, r * n_current), (bin, 1, c * n_reference)]
            });
            let cells: Vec<(usize, usize, u64)> = cells.filter(|(.., count)| *count > 0).collect();
            if let (Some(found), Some(expected)) = (distance(Kind::Unordered, &reference, &current), cramers_v(&cells)) {
                prop_assert!((found - expected).abs() < 1e-9, "{} {}", found, expected);
            }
        }

        #[test]
        fn they_lie_between_0_and_1_and_are_alike_from_both_sides(
            (reference, current) in (1..12_usize).prop_flat_map(|bins| {
                (prop::collection::vec(0..50_u64, bins), prop::collection::vec(0..50_u64, bins))
            })
        ) {
            for kind in [Kind::Ordered, Kind::Unordered] {
                if let Some(there) = distance(kind, &reference, &current) {
                    let back = distance(kind, &current, &reference).unwrap();
                    prop_assert!((0.0..=1.0).contains(&there) && (there - back).abs() < 1e-12);
                }
            }
            if let Some(least) = distance(Kind::Ordered, &reference, &current) {
                let [none, all] = [false, true].map(|hides| distance_at_most(&reference, &current, |_| hides).unwrap());
                prop_assert!((none - least).abs() < 1e-9 && all >= none - 1e-12 && all <= 1.0);
            }
        }
    }
}
