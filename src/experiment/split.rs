//! Whether the units came to the variants in the shares that were meant. A split that did not is the commonest sign
//! that an experiment is broken, and then no figure of it can be trusted.

use serde::Serialize;
use utoipa::ToSchema;

use super::boundary::Boundary;
use crate::stats::ln_gamma;

/// The split is called broken by chance with this probability at most, over all looks.
pub const SPLIT_LEVEL: f64 = 0.01;

/// The verdict on a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ExperimentSplitState)]
#[serde(rename_all = "snake_case")]
pub enum SplitState {
    /// Nothing speaks against it.
    AsMeant,
    /// The units cannot have come in these shares by chance.
    Mismatch,
}

/// What the numbers of units say about the split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[schema(as = ExperimentSplitCheck)]
pub struct SplitCheck {
    /// The verdict.
    pub state: SplitState,
    /// Always valid: at most this is the probability of such numbers, at whatever look, where the split is as meant.
    pub p_value: f64,
    /// Below this p-value it is a mismatch.
    pub level: f64,
}

/// Tests numbers of units against the shares that were meant, which sum up to 1.
///
/// A Dirichlet mixture of multinomial likelihoods over the one that was meant. Source: Lindon, Malek (2022), "Anytime-
/// Valid Inference for Multinomial Count Data", NeurIPS. The mixture stands around the shares, as narrow as the plan
/// of the comparisons makes it, since splits break by a few percent rather than by halves.
pub fn check_split(units: &[u64], shares: &[f64], planned_units: f64) -> SplitCheck {
    let prior = Boundary::new(SPLIT_LEVEL, planned_units).prior_observations();
    let p_value = (-ln_e(units, shares, prior)).exp().min(1.0);
    let state = if p_value < SPLIT_LEVEL { SplitState::Mismatch } else { SplitState::AsMeant };
    SplitCheck { state, p_value, level: SPLIT_LEVEL }
}

/// Logarithm of the e-process, with a prior that is worth so many observations.
fn ln_e(units: &[u64], shares: &[f64], prior: f64) -> f64 {
    let total: u64 = units.iter().sum();
    let of_one = |(count, share): (&u64, &f64)| {
        let count = *count as f64;
        ln_gamma(prior * share + count) - ln_gamma(prior * share) - count * share.ln()
    };
    ln_gamma(prior) - ln_gamma(prior + total as f64) + units.iter().zip(shares).map(of_one).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_from_their_shares() {
        let check = |units: &[u64], shares: &[f64], expected: SplitState| {
            let check = check_split(units, shares, 2_000.0);
            assert_eq!(check.state, expected, "{units:?} {check:?}");
        };
        check(&[0, 0], &[0.5, 0.5], SplitState::AsMeant);
        check(&[7, 0], &[0.5, 0.5], SplitState::AsMeant);
        check(&[40, 0], &[0.5, 0.5], SplitState::Mismatch);
        check(&[5_020, 4_980], &[0.5, 0.5], SplitState::AsMeant);
        check(&[5_300, 4_700], &[0.5, 0.5], SplitState::Mismatch);
        check(&[9_000, 1_000], &[0.9, 0.1], SplitState::AsMeant);
        check(&[9_000, 1_000], &[0.5, 0.5], SplitState::Mismatch);
        check(&[3_333, 3_400, 3_267], &[1.0 / 3.0; 3], SplitState::AsMeant);
        check(&[3_333, 3_733, 2_934], &[1.0 / 3.0; 3], SplitState::Mismatch);
    }

    /// The Bayes factor of a fair coin against a uniform prior has a closed form: 1 / ((n + 1) · C(n, k) · 2^-n).
    #[test]
    fn the_mixture_is_the_known_one() {
        assert!((ln_e(&[7, 3], &[0.5, 0.5], 2.0).exp() - 1024.0 / (11.0 * 120.0)).abs() < 1e-9);
    }
}
