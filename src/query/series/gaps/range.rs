//! From when to when there are to be buckets, where the statement does not say: as its conditions on the time do.

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::{
    common::{Result, ScalarValue, plan_err},
    functions::core::expr_fn::{greatest, least},
    logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, cast, lit, utils::split_conjunction},
};

use super::marker::GAPFILL;
use crate::query::series::time_bucket::TIME;

/// The range's first time, and the first after it, that the filters of a plan set for a time.
///
/// # Errors
///
/// Where a side is open.
pub fn of(plan: &LogicalPlan, time: &Expr) -> Result<(Expr, Expr)> {
    let (mut from, mut to) = (Vec::new(), Vec::new());
    let mut plan = plan;
    while let LogicalPlan::Filter(filter) = plan {
        for condition in split_conjunction(&filter.predicate) {
            match condition {
                Expr::BinaryExpr(BinaryExpr { left, op, right }) if **left == *time && is_constant(right) => {
                    add(*op, right, &mut from, &mut to);
                }
                Expr::BinaryExpr(BinaryExpr { left, op, right }) if **right == *time && is_constant(left) => {
                    if let Some(op) = op.swap() {
                        add(op, left, &mut from, &mut to);
                    }
                }
                Expr::Between(between)
                    if !between.negated
                        && *between.expr == *time
                        && is_constant(&between.low)
                        && is_constant(&between.high) =>
                {
                    add(Operator::GtEq, &between.low, &mut from, &mut to);
                    add(Operator::LtEq, &between.high, &mut from, &mut to);
                }
                _ => {}
            }
        }
        plan = filter.input.as_ref();
    }
    if from.is_empty() || to.is_empty() {
        return plan_err!(
            "{GAPFILL} needs a range: `where` with both ends of the time, or start and finish as arguments"
        );
    }
    Ok((narrowest(from, greatest), narrowest(to, least)))
}

fn add(op: Operator, bound: &Expr, from: &mut Vec<Expr>, to: &mut Vec<Expr>) {
    let bound = cast(bound.clone(), TIME);
    let step = lit(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(0, 0, 1_000))));
    match op {
        Operator::GtEq => from.push(bound),
        Operator::Gt => from.push(bound + step),
        Operator::Lt => to.push(bound),
        Operator::LtEq => to.push(bound + step),
        _ => {}
    }
}

fn narrowest(mut bounds: Vec<Expr>, of: impl Fn(Vec<Expr>) -> Expr) -> Expr {
    if bounds.len() == 1 { bounds.swap_remove(0) } else { of(bounds) }
}

/// The same for all rows, without asking a table.
fn is_constant(expr: &Expr) -> bool {
    use datafusion::common::tree_node::TreeNode;
    let asks = |node: &Expr| {
        Ok(matches!(
            node,
            Expr::Column(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
        ))
    };
    !expr.exists(asks).unwrap_or(true)
}
