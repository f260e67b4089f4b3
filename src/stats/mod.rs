//! Statistics: pure functions from slices of numbers to test results and adjusted p-values.
//!
//! A test returns its statistic, its p-value, an effect size and both sample sizes, or says that
//! there was too little data. This module never reads a clock, a file or a table, never draws a
//! random number, and never decides whether a result is an alarm: thresholds are the caller's.

mod anderson_darling;
mod chi2;
mod cramer_von_mises;
mod distance;
mod exact;
mod fdr;
mod kolmogorov;
mod ks;
mod mann_whitney;
mod order;
mod power;
mod proportion;
mod psi;
mod summary;
mod tails;
mod unsorted;
mod welch;

#[cfg(test)]
mod gold;
#[cfg(test)]
mod uniform;

pub use statrs::function::gamma::ln_gamma;

pub use anderson_darling::{SamplesOutcome, SamplesTest, anderson_darling_test};
pub use chi2::{chi2_test, cramers_v, g_test, homogeneity_test, pool_rare};
pub use cramer_von_mises::cramer_von_mises_test;
pub use distance::{jensen_shannon_distance, wasserstein_distance};
pub use exact::{EXACT_COUNT_MAX, FisherTest, binomial_test, binomial_upper_tail, fisher_exact_test};
pub use fdr::{benjamini_hochberg, benjamini_yekutieli};
pub use kolmogorov::{kolmogorov_limit_sf, kolmogorov_sf};
pub use ks::{BinnedKs, ks_test, ks_test_of_bins, ks_test_of_bins_and_values, ks_test_of_parts};
pub use mann_whitney::{cliffs_delta, mann_whitney_test};
pub use order::{sort, sort_part};
pub use power::{cramers_v_detectable, ks_detectable};
pub use proportion::{Interval, binomial_interval, wilson_interval};
pub use psi::{Psi, decile_counts, joined_to_deciles, psi};
pub use summary::{mean, median_of_sorted, quantile_of_sorted};
pub use tails::{f_quantile, f_sf, normal_two_sided_quantile, t_two_sided_quantile};
pub use welch::{Moments, WelchTest, welch_t_test};

use chi2::totals;

/// What a test says about two samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// The test ran.
    Tested(TwoSampleTest),
    /// A sample had too few values for the test, so nothing can be said. It is not "no difference".
    Insufficient {
        /// Observations in the reference sample.
        n_reference: u64,
        /// Observations in the current sample.
        n_current: u64,
    },
}

/// The result of a test of "both samples come from one distribution".
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TwoSampleTest {
    /// The test's own statistic, such as D for Kolmogorov-Smirnov and X² for chi-squared.
    pub statistic: f64,
    /// Probability of a statistic at least this large if nothing differs, 0 to 1.
    pub p_value: f64,
    /// Size of the difference, free of the sample size: D for Kolmogorov-Smirnov and Cramér's V for
    /// chi-squared, 0 to 1; for a test with a direction above 0 where current values are the larger ones.
    pub effect_size: f64,
    /// Observations in the reference sample.
    pub n_reference: u64,
    /// Observations in the current sample.
    pub n_current: u64,
}
