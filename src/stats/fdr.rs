//! Control of the false discovery rate over a family of tests: p-values in, adjusted p-values out.
//!
//! Never chooses the family or the level: the caller compares an adjusted value with its own level.

/// Adjusts p-values by the step-up procedure of Benjamini and Hochberg, in the order given.
///
/// Rejecting where the adjusted value is at most `q` bounds the expected share of false rejections
/// by `q` for independent (or positively dependent) tests. With p(1) ≤ … ≤ p(m), the adjusted value
/// of p(i) is min over j ≥ i of p(j)·m/j, at most 1. Inputs are probabilities; NaNs are the caller's
/// to drop.
///
/// Source: Benjamini, Hochberg (1995), "Controlling the False Discovery Rate", Journal of the Royal
/// Statistical Society B 57(1); the adjusted form is Yekutieli, Benjamini (1999).
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    step_up(p_values, 1.0)
}

/// Adjusts p-values by the procedure of Benjamini and Yekutieli, in the order given: as
/// [`benjamini_hochberg`], times Σ 1/i over the number of tests, so that the bound holds however the
/// tests depend on each other.
///
/// Source: Benjamini, Yekutieli (2001), "The Control of the False Discovery Rate in Multiple Testing
/// Under Dependency", Annals of Statistics 29(4).
pub fn benjamini_yekutieli(p_values: &[f64]) -> Vec<f64> {
    step_up(p_values, (1..=p_values.len()).map(|rank| 1.0 / rank as f64).sum())
}

fn step_up(p_values: &[f64], penalty: f64) -> Vec<f64> {
    let mut descending: Vec<usize> = (0..p_values.len()).collect();
    descending.sort_unstable_by(|&left, &right| p_values[right].total_cmp(&p_values[left]));

    let count = p_values.len() as f64;
    let mut adjusted = vec![1.0; p_values.len()];
    let mut smallest = 1.0_f64;
    for (position, &index) in descending.iter().enumerate() {
        let rank = count - position as f64;
        smallest = smallest.min(p_values[index] * (count / rank) * penalty);
        adjusted[index] = smallest;
    }
    adjusted
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::gold;
    use super::{benjamini_hochberg, benjamini_yekutieli};

    fn check(families: &Value) {
        for (number, family) in gold::rows(families).iter().enumerate() {
            let p_values = gold::numbers(&family["p"]);
            for (adjusted, name) in [(benjamini_hochberg(&p_values), "bh"), (benjamini_yekutieli(&p_values), "by")] {
                let expected = gold::numbers(&family[name]);
                assert_eq!(adjusted.len(), expected.len());
                for (actual, expected) in adjusted.into_iter().zip(expected) {
                    gold::assert_close(&format!("family {number} {name}"), actual, expected);
                }
            }
        }
    }

    #[test]
    fn matches_scipy() {
        check(&gold::parse(include_str!("../../testdata/stats/fdr.json")));
    }

    #[test]
    fn matches_the_larger_gold_set() {
        if let Some(gold) = gold::shared() {
            check(&gold["fdr"]);
        }
    }

    #[test]
    fn an_empty_family_stays_empty() {
        assert!(benjamini_hochberg(&[]).is_empty());
        assert!(benjamini_yekutieli(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn adjusted_values_keep_the_order_and_never_shrink(
            p_values in prop::collection::vec(0.0..=1.0_f64, 0..40)
        ) {
            let adjusted = benjamini_hochberg(&p_values);
            let dependent = benjamini_yekutieli(&p_values);
            for (adjusted, dependent) in adjusted.iter().zip(dependent) {
                prop_assert!(*adjusted <= dependent && dependent <= 1.0);
            }
            for left in 0..p_values.len() {
                prop_assert!(adjusted[left] >= p_values[left] && adjusted[left] <= 1.0);
                for right in 0..p_values.len() {
                    if p_values[left] <= p_values[right] {
                        prop_assert!(adjusted[left] <= adjusted[right]);
                    }
                }
            }
        }
    }
}
