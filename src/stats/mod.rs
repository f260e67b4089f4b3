//! Statistics: pure functions from slices of numbers to test results and adjusted p-values.
//!
//! A test returns its statistic, its p-value, an effect size and both sample sizes, or says that
//! there was too little data. This module never reads a clock, a file or a table, never draws a
//! random number, and never decides whether a result is an alarm: thresholds are the caller's.

mod chi2;
mod fdr;
mod kolmogorov;
mod ks;
mod summary;

#[cfg(test)]
mod gold;

pub use statrs::function::gamma::ln_gamma;

pub use chi2::{chi2_test, pool_rare};
pub use fdr::benjamini_hochberg;
pub use kolmogorov::{kolmogorov_limit_sf, kolmogorov_sf};
pub use ks::ks_test;
pub use summary::{mean, median_of_sorted, quantile_of_sorted};

/// What a test says about two samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// The test ran.
    Tested(TwoSampleTest),
    /// A sample was empty, so nothing can be said. It is not "no difference".
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
    /// The test's own statistic: D for Kolmogorov-Smirnov, X² for chi-squared.
    pub statistic: f64,
    /// Probability of a statistic at least this large if nothing differs, 0 to 1.
    pub p_value: f64,
    /// Size of the difference, free of the sample size, 0 to 1: D for Kolmogorov-Smirnov,
    /// Cramér's V for chi-squared.
    pub effect_size: f64,
    /// Observations in the reference sample.
    pub n_reference: u64,
    /// Observations in the current sample.
    pub n_current: u64,
}
