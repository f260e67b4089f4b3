//! The statistics of [`crate::stats`] in SQL: aggregates that compare what rows say of two samples or of
//! several, functions of counts and of lists of p-values, and tests of sketches. What is computed is decided
//! there, never here.
//!
//! Too few rows for a test are never an answer: the statistic and the p-value are null, and `insufficient` is true.

mod aggregates;
mod counts;
mod functions;
mod groups;
mod results;
mod samples;
mod sketched;

use datafusion::logical_expr::ScalarUDF;

pub use aggregates::aggregates;

/// All scalar functions of this room.
pub fn functions() -> Vec<ScalarUDF> {
    functions::functions().into_iter().chain(sketched::functions()).collect()
}
