//! Functions over time and frequency that people know from other engines: `time_bucket` and its gaps, first and
//! last by time, rates of counters, histograms, the most frequent values, percentiles. Where the engine has a
//! thing under another name, the name is all that is added here. Never reads a table.

mod bucket;
mod counter;
mod gaps;
mod histogram;
mod shorthand;
mod time_bucket;
mod top_k;

use std::sync::Arc;

use datafusion::{
    common::ScalarValue,
    logical_expr::{AggregateUDF, ScalarUDF, function::AccumulatorArgs, planner::ExprPlanner},
    physical_expr::expressions::Literal,
};

pub use bucket::Buckets;
pub use gaps::{FillGaps, fills_gaps};
pub use time_bucket::{NAME as TIME_BUCKET, buckets_of};

/// All aggregates of this room.
pub fn aggregates() -> Vec<AggregateUDF> {
    let own = [histogram::histogram(), top_k::top_k()];
    own.into_iter().chain(counter::aggregates()).chain(shorthand::aggregates()).collect()
}

/// All scalar functions of this room.
pub fn functions() -> Vec<ScalarUDF> {
    std::iter::once(time_bucket::time_bucket()).chain(gaps::functions()).collect()
}

/// Plans the names that stand for expressions.
pub fn planner() -> Arc<dyn ExprPlanner> {
    Arc::new(shorthand::Shorthands)
}

/// An aggregate's argument, where it is a constant.
fn constant<'a>(args: &AccumulatorArgs<'a>, position: usize) -> Option<&'a ScalarValue> {
    args.exprs.get(position)?.downcast_ref::<Literal>().map(Literal::value)
}
