//! Location of a sample: mean, median, quantiles.
//!
//! Never sorts and never drops a value: order and NaNs are the caller's, and an empty sample has no
//! answer rather than a zero.

/// The arithmetic mean, in the unit of the values; `None` for an empty sample.
///
/// Summed with a running compensation, so a long sample of small costs does not lose cents to
/// rounding. Source: Neumaier (1974), "Rundungsfehleranalyse einiger Verfahren zur Summation
/// endlicher Summen", ZAMM 54.
pub fn mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let mut sum = 0.0_f64;
    let mut lost = 0.0_f64;
    for &value in values {
        let next = sum + value;
        lost += if sum.abs() >= value.abs() { (sum - next) + value } else { (value - next) + sum };
        sum = next;
    }
    // An infinite sum has no rounding to correct, and ∞ − ∞ above would make it NaN.
    let total = if sum.is_finite() { sum + lost } else { sum };
    Some(total / values.len() as f64)
}

/// The median of values in ascending order, in their unit; `None` for an empty sample. Of an even
/// number of values it is the midpoint of the two in the middle.
pub fn median_of_sorted(values: &[f64]) -> Option<f64> {
    let upper = values.len() / 2;
    let last = *values.get(upper)?;
    if values.len() % 2 == 1 {
        return Some(last);
    }
    Some(values[upper - 1].midpoint(last))
}

/// The quantile `q` (0 to 1) of values in ascending order, in their unit; `None` for an empty sample
/// or a `q` outside 0 to 1.
///
/// Interpolates linearly between the neighbours of position q·(n − 1): definition 7 of Hyndman, Fan
/// (1996), "Sample Quantiles in Statistical Packages", The American Statistician 50(4), which is the
/// default (`method="linear"`) of `numpy.quantile`.
pub fn quantile_of_sorted(values: &[f64], q: f64) -> Option<f64> {
    if !(0.0..=1.0).contains(&q) {
        return None;
    }
    let position = q * values.len().checked_sub(1)? as f64;
    let below = position.floor();
    let share = position - below;
    let low = values[below as usize];
    let high = values[position.ceil() as usize];
    // Equal neighbours need no arithmetic, and two infinite ones would not survive it.
    if low == high {
        return Some(low);
    }
    // From the nearer neighbour, so that the result is monotone in `q` under rounding.
    let step = high - low;
    Some(if share < 0.5 { low + step * share } else { high - step * (1.0 - share) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::gold;
    use super::{mean, median_of_sorted, quantile_of_sorted};

    #[test]
    fn matches_numpy() {
        let cases = gold::parse(include_str!("../../testdata/stats/summary.json"));
        for case in gold::rows(&cases) {
            let values = gold::numbers(&case["values"]);
            let label = format!("{values:?}");
            gold::assert_close(&label, mean(&values).unwrap(), case["mean"].as_f64().unwrap());
            let median = case["median"].as_f64().unwrap();
            gold::assert_close(&label, median_of_sorted(&values).unwrap(), median);
            for row in gold::rows(&case["quantiles"]).iter().map(gold::numbers) {
                gold::assert_close(&label, quantile_of_sorted(&values, row[0]).unwrap(), row[1]);
            }
        }
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        assert_eq!(mean(&[]), None);
        assert_eq!(median_of_sorted(&[]), None);
        assert_eq!(quantile_of_sorted(&[], 0.5), None);
        for outside in [-0.1, 1.1, f64::NAN] {
            assert_eq!(quantile_of_sorted(&[1.0], outside), None);
        }
    }

    #[test]
    fn the_mean_keeps_what_plain_summation_loses() {
        assert_eq!(mean(&[1e16, 1.0, 1.0, -1e16]), Some(0.5));
        assert_eq!(mean(&[f64::INFINITY, 1.0]), Some(f64::INFINITY));
    }

    proptest! {
        #[test]
        fn quantiles_are_monotone_and_inside_the_sample(
            mut values in prop::collection::vec(-1e6..1e6_f64, 1..30),
            one in 0.0..=1.0_f64,
            other in 0.0..=1.0_f64,
        ) {
            values.sort_unstable_by(f64::total_cmp);
            let low = quantile_of_sorted(&values, one.min(other)).unwrap();
            let high = quantile_of_sorted(&values, one.max(other)).unwrap();
            prop_assert!(values[0] <= low && low <= high && high <= values[values.len() - 1]);
        }
    }
}
