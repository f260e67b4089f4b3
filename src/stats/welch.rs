//! Welch's t test of two means, on running moments that merge.

use super::{Outcome, TwoSampleTest, tails::t_two_sided_sf};

/// Count, mean and squared deviations of values, which merge without the values.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moments {
    /// Values.
    pub count: u64,
    /// Their mean, in their unit.
    pub mean: f64,
    /// The sum of their squared distances from it.
    pub squares: f64,
}

impl Moments {
    /// Adds a finite value.
    ///
    /// Source: Welford (1962), "Note on a Method for Calculating Corrected Sums of Squares and Products",
    /// Technometrics 4(3).
    #[inline]
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let distance = value - self.mean;
        self.mean += distance / self.count as f64;
        self.squares += distance * (value - self.mean);
    }

    /// Adds what another was given.
    ///
    /// Source: Chan, Golub, LeVeque (1979), "Updating Formulae and a Pairwise Algorithm for Computing Sample
    /// Variances".
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (own, others) = (self.count as f64, other.count as f64);
        let distance = other.mean - self.mean;
        self.mean += distance * (others / (own + others));
        self.squares += other.squares + distance * distance * (own * others / (own + others));
        self.count += other.count;
    }

    /// The variance of the values as a sample, over n − 1.
    fn variance(&self) -> f64 {
        self.squares / (self.count as f64 - 1.0)
    }
}

/// What Welch's test adds to a test's result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WelchTest {
    /// The test. Its statistic is t, above 0 where the reference mean is the larger one.
    pub test: TwoSampleTest,
    /// By Welch and Satterthwaite.
    pub degrees_of_freedom: f64,
}

/// Tests whether two means are equal, with variances that need not be. The p-value is two-sided. The
/// effect size is the current mean less the reference mean, in standard deviations: the root of the mean
/// of both variances (Cohen's d with equal weights).
///
/// [`Outcome::Insufficient`] for fewer than two values on a side, and where neither side's values differ:
/// without spread nothing can be said of chance.
///
/// Source: Welch (1947), "The Generalization of 'Student's' Problem when Several Different Population
/// Variances are Involved", Biometrika 34. Same values as
/// `scipy.stats.ttest_ind(reference, current, equal_var=False)`.
pub fn welch_t_test(reference: &Moments, current: &Moments) -> Result<WelchTest, Outcome> {
    let (n_reference, n_current) = (reference.count, current.count);
    let insufficient = Outcome::Insufficient { n_reference, n_current };
    if n_reference < 2 || n_current < 2 {
        return Err(insufficient);
    }
    let error_reference = reference.variance() / n_reference as f64;
    let error_current = current.variance() / n_current as f64;
    let error = error_reference + error_current;
    if error.is_nan() || error <= 0.0 {
        return Err(insufficient);
    }
    let statistic = (reference.mean - current.mean) / error.sqrt();
    let part = |error: f64, count: u64| error * error / (count as f64 - 1.0);
    let degrees_of_freedom = error * error / (part(error_reference, n_reference) + part(error_current, n_current));
    let deviation = reference.variance().midpoint(current.variance()).sqrt();
    Ok(WelchTest {
        test: TwoSampleTest {
            statistic,
            p_value: t_two_sided_sf(statistic, degrees_of_freedom),
            effect_size: (current.mean - reference.mean) / deviation,
            n_reference,
            n_current,
        },
        degrees_of_freedom,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Outcome, gold};
    use super::{Moments, welch_t_test};

    fn moments(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        values.iter().for_each(|value| moments.add(*value));
        moments
    }

    fn test(reference: &mut [f64], current: &mut [f64]) -> Outcome {
        match welch_t_test(&moments(reference), &moments(current)) {
            Ok(welch) => Outcome::Tested(welch.test),
            Err(insufficient) => insufficient,
        }
    }

    #[test]
    fn matches_scipy() {
        gold::check_two_samples("welch", 1e-9, test);
    }

    #[test]
    fn matches_the_larger_gold_set() {
        gold::check_shared_two_samples("ttest_equalvar_False", 1e-9, test);
        for (label, reference, current, case) in gold::shared_two_samples() {
            if let Ok(welch) = welch_t_test(&moments(&reference), &moments(&current)) {
                let expected = case["ttest_equalvar_False"][2].as_f64().unwrap();
                gold::assert_close(&label, welch.degrees_of_freedom, expected);
            }
        }
    }

    #[test]
    fn too_little_and_no_spread_are_insufficient() {
        let outcome = |n_reference, n_current| Outcome::Insufficient { n_reference, n_current };
        assert_eq!(test(&mut [], &mut []), outcome(0, 0));
        assert_eq!(test(&mut [1.0], &mut [1.0, 2.0]), outcome(1, 2));
        assert_eq!(test(&mut [1.0, 1.0], &mut [2.0, 2.0]), outcome(2, 2));
    }

    #[test]
    fn a_side_without_spread_is_tested_against_the_other() {
        let found = gold::tested("one spread", test(&mut [1.0, 1.0], &mut [2.0, 4.0]));
        assert_eq!((found.statistic, found.effect_size), (-2.0, 2.0));
    }

    proptest! {
        #[test]
        fn parts_merge_to_the_whole(values in prop::collection::vec(-1e6..1e6_f64, 0..80), cut in 0..80_usize) {
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut merged = moments(left);
            merged.merge(&moments(right));
            let whole = moments(&values);
            prop_assert_eq!(merged.count, whole.count);
            prop_assert!((merged.mean - whole.mean).abs() <= 1e-9 * whole.mean.abs().max(1.0));
            prop_assert!((merged.squares - whole.squares).abs() <= 1e-9 * whole.squares.max(1.0));
        }

        #[test]
        fn sides_mirror(mut left in prop::collection::vec(-9.0..9.0_f64, 2..30), mut right in prop::collection::vec(-9.0..9.0_f64, 2..30)) {
            let found = gold::tested("proptest", test(&mut left, &mut right));
            let mirror = gold::tested("proptest", test(&mut right, &mut left));
            prop_assert!((0.0..=1.0).contains(&found.p_value));
            prop_assert_eq!((found.statistic, found.effect_size), (-mirror.statistic, -mirror.effect_size));
        }
    }
}
