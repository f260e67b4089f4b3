//! Experiments: what differs between the variants of an experiment, and how sure that is at whatever moment somebody
//! looks. Moments of units in, judged differences out.
//!
//! Every bound holds at all looks together, so looking early and often costs nothing: [`Boundary`] says why. Never
//! runs a query, reads a clock or draws a random number. What a metric's figures are made of is the caller's SQL.

mod answer;
mod boundary;
mod compare;
mod metric;
mod moments;
mod pair;
mod proportion;
mod quantile;
mod ratio;
mod split;
mod text;
mod verdict;

#[cfg(test)]
mod tests;

pub use answer::{
    Answer, Arm, Before, Design, DifferenceFigure, FALSE_POSITIVE_RATE, LeftOut, MetricAnswer, PLANNED_UNITS,
    SideFigure, Unit, VariantAnswer, VariantSize,
};
pub use boundary::{Boundary, Interval};
pub use compare::{Adjustment, Method, UNITS_MIN};
pub use metric::{Better, LATENCY_LEVEL, METRICS, Metric};
pub use moments::{FIGURES, Moments, PARTS};
pub use proportion::Counts;
pub use quantile::Values;
pub use split::{SPLIT_LEVEL, SplitCheck, SplitState, check_split};
pub use verdict::{MetricState, VariantState, Verdict, e_benjamini_hochberg};
