//! What stands in the gaps: `locf(value)` the value before, `interpolate(value)` what lies on the line between
//! the values before and after. Both are windows over the rows of one series by time.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        Column, Result, ScalarValue, plan_err,
        tree_node::{Transformed, TreeNode},
    },
    functions_window::nth_value::{first_value_udwf, last_value_udwf},
    logical_expr::{
        Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, Projection, WindowFrame, WindowFrameBound,
        WindowFrameUnits, WindowFunctionDefinition, WindowUDF, cast,
        expr::{NullTreatment, WindowFunction},
        when,
    },
};

use super::{
    Gapped,
    marker::{GAPFILL, INTERPOLATE, LOCF, arguments, is_within},
};

/// Whether something is to stand in gaps.
pub fn is_carried(expr: &Expr) -> bool {
    is_within(expr, LOCF) || is_within(expr, INTERPOLATE)
}

/// The projection with what it names made by windows below.
pub fn carried(projection: Projection) -> Result<LogicalPlan> {
    let mut series = Series::of(&projection.input)?;
    let mut exprs = Vec::new();
    for expr in projection.expr {
        let name = expr.qualified_name();
        let made = expr.transform_up(|node| {
            Ok(if let Some([value]) = arguments_of(&node, LOCF) {
                Transformed::yes(series.before(value.clone())?)
            } else if let Some([value]) = arguments_of(&node, INTERPOLATE) {
                Transformed::yes(series.between(value)?)
            } else {
                Transformed::no(node)
            })
        })?;
        let is_changed = made.transformed;
        let made = made.data;
        exprs.push(match made {
            Expr::Alias(_) => made,
            made if is_changed => made.alias_qualified(name.0, name.1),
            made => made,
        });
    }
    // By names of their own: what the engine calls a window does not tell casts apart.
    let windows = series.windows.into_iter().enumerate().map(|(position, window)| window.alias(window_name(position)));
    LogicalPlanBuilder::from(projection.input).window(windows)?.project(exprs)?.build()
}

fn window_name(position: usize) -> String {
    format!("__gapfill_window{position}")
}

/// The arguments of a call, without its aliases.
fn arguments_of<'a>(node: &'a Expr, name: &str) -> Option<&'a [Expr]> {
    if matches!(node, Expr::ScalarFunction(_)) { arguments(node, name) } else { None }
}

/// The rows of one series, and the windows over them that are asked for.
struct Series {
    bucket: Expr,
    keys: Vec<Expr>,
    windows: Vec<Expr>,
}

impl Series {
    /// The series of the aggregate below a projection.
    fn of(plan: &Arc<LogicalPlan>) -> Result<Self> {
        match plan.as_ref() {
            LogicalPlan::Aggregate(aggregate) => match Gapped::of(aggregate)? {
                Some(gapped) => Ok(Self {
                    bucket: Expr::Column(gapped.bucket(aggregate)),
                    keys: gapped.keys(aggregate),
                    windows: Vec::new(),
                }),
                None => plan_err!("{LOCF} and {INTERPOLATE} are columns of a `select` that groups by {GAPFILL}"),
            },
            LogicalPlan::Filter(filter) => Self::of(&filter.input),
            LogicalPlan::Window(window) => Self::of(&window.input),
            _ => plan_err!("{LOCF} and {INTERPOLATE} are columns of a `select` that groups by {GAPFILL}"),
        }
    }

    /// The value of this row, else the last before it.
    fn before(&mut self, value: Expr) -> Result<Expr> {
        let unbounded = WindowFrameBound::Preceding(ScalarValue::UInt64(None));
        self.window(last_value_udwf(), value, unbounded, WindowFrameBound::CurrentRow)
    }

    /// The value of this row, else the first after it.
    fn after(&mut self, value: Expr) -> Result<Expr> {
        let unbounded = WindowFrameBound::Following(ScalarValue::UInt64(None));
        self.window(first_value_udwf(), value, WindowFrameBound::CurrentRow, unbounded)
    }

    fn between(&mut self, value: &Expr) -> Result<Expr> {
        let float = |value: Expr| cast(value, DataType::Float64);
        let us = cast(self.bucket.clone(), DataType::Int64);
        // When there is a value: of gaps no time.
        let told = when(value.clone().is_not_null(), us.clone()).end()?;
        let (v0, v1) = (float(self.before(value.clone())?), float(self.after(value.clone())?));
        let (t0, t1) = (self.before(told.clone())?, self.after(told)?);
        let share = float(us - t0.clone()) / float(t1 - t0);
        when(value.clone().is_not_null(), float(value.clone())).otherwise(v0.clone() + (v1 - v0) * share)
    }

    /// The column of a window over the rows of a series by time.
    fn window(
        &mut self,
        function: Arc<WindowUDF>,
        value: Expr,
        start: WindowFrameBound,
        end: WindowFrameBound,
    ) -> Result<Expr> {
        let function = WindowFunction::new(WindowFunctionDefinition::WindowUDF(function), vec![value]);
        let window = Expr::from(function)
            .partition_by(self.keys.clone())
            .order_by(vec![self.bucket.clone().sort(true, true)])
            .window_frame(WindowFrame::new_bounds(WindowFrameUnits::Rows, start, end))
            .null_treatment(NullTreatment::IgnoreNulls)
            .build()?;
        let position = self.windows.iter().position(|other| *other == window).unwrap_or_else(|| {
            self.windows.push(window);
            self.windows.len() - 1
        });
        Ok(Expr::Column(Column::new_unqualified(window_name(position))))
    }
}
