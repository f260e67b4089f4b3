//! `time_bucket_gapfill`, `locf` and `interpolate`: a row for each bucket of a range, whether anything happened
//! in it or not. These are no functions of a row, so a rule turns the plan that names them into one that does it:
//!
//! ```text
//! Projection: bucket, keys, locf(figure)        Projection: bucket, keys, carried figure
//!   Aggregate: bucket and keys, figures           Window: the figure before each row
//!     Filter: time in a range                       Projection: bucket, keys, figures
//!                                       becomes       Unnest: rows, those of the gaps among them
//!                                                       Aggregate: keys, all their rows as one list
//!                                                         Aggregate: time_bucket and keys, figures
//!                                                           Filter: time in a range
//! ```
//!
//! The inner aggregate is an ordinary one, and is answered from rollups where any is.

mod carry;
mod fill;
mod marker;
mod range;

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    common::{
        Column, Result,
        config::ConfigOptions,
        plan_err,
        tree_node::{Transformed, TransformedResult, TreeNodeRecursion},
    },
    functions::core::expr_fn::{get_field, named_struct},
    functions_aggregate::array_agg::array_agg,
    logical_expr::{Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, ScalarUDF, lit},
    optimizer::analyzer::AnalyzerRule,
};

use super::time_bucket::time_bucket;
use marker::{GAPFILL, arguments, is_within};

/// The names in SQL.
pub fn functions() -> Vec<ScalarUDF> {
    marker::functions()
}

/// The rule; it comes before all others, for what it makes is an ordinary plan.
#[derive(Debug)]
pub struct FillGaps;

impl AnalyzerRule for FillGaps {
    fn name(&self) -> &str {
        "fill_gaps"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let filled = plan.transform_down_with_subqueries(|node| match node {
            LogicalPlan::Projection(projection) if projection.expr.iter().any(carry::is_carried) => {
                carry::carried(projection).map(Transformed::yes)
            }
            LogicalPlan::Aggregate(aggregate) => match Gapped::of(&aggregate)? {
                Some(gapped) => gapped.filled(&aggregate).map(Transformed::yes),
                None => Ok(Transformed::no(LogicalPlan::Aggregate(aggregate))),
            },
            node => Ok(Transformed::no(node)),
        })?;
        if !filled.transformed {
            return Ok(filled.data);
        }
        // What is never null of rows may be null of gaps.
        filled.data.transform_up_with_subqueries(|node| node.recompute_schema().map(Transformed::yes)).data()
    }
}

/// Whether the plan names any of them. Until the rule has run, such a plan has to stay as it was written: the range is
/// read from the filters right below.
pub fn fills_gaps(plan: &LogicalPlan) -> Result<bool> {
    let mut is_found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            is_found |= is_within(expr, GAPFILL) || carry::is_carried(expr);
            Ok(if is_found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(is_found)
}

/// An aggregate that is to have a row for each bucket.
struct Gapped {
    /// Which of the groups the bucket is.
    position: usize,
    width: Expr,
    time: Expr,
    /// The first and the end of the range, where the statement gives them.
    given: Option<(Expr, Expr)>,
}

/// Columns of the plan between, which no statement names.
const ROW: &str = "__gapfill_row";
const ROWS: &str = "__gapfill_rows";
/// Fields of a row.
const BUCKET: &str = "bucket";

impl Gapped {
    fn of(aggregate: &Aggregate) -> Result<Option<Self>> {
        let groups = &aggregate.group_expr;
        let marked: Vec<usize> = (0..groups.len()).filter(|index| is_within(&groups[*index], GAPFILL)).collect();
        let [position] = marked.as_slice() else {
            return match marked.len() {
                0 => Ok(None),
                _ => plan_err!("{GAPFILL} is one column of `group by`, once"),
            };
        };
        let Some(arguments) = arguments(&groups[*position], GAPFILL) else {
            return plan_err!("{GAPFILL} is a column of `group by` on its own, outside of other expressions");
        };
        let (width, time, given) = match arguments {
            [width, time] => (width, time, None),
            [width, time, from, to] => (width, time, Some((from.clone(), to.clone()))),
            _ => return plan_err!("{GAPFILL} takes (width, timestamp [, start, finish])"),
        };
        Ok(Some(Self { position: *position, width: width.clone(), time: time.clone(), given }))
    }

    /// The column of the bucket.
    fn bucket(&self, aggregate: &Aggregate) -> Column {
        Column::from(aggregate.schema.qualified_field(self.position))
    }

    /// The columns that tell one series from another.
    fn keys(&self, aggregate: &Aggregate) -> Vec<Expr> {
        let columns = aggregate.schema.columns().into_iter().take(aggregate.group_expr.len()).enumerate();
        columns.filter(|(index, _)| *index != self.position).map(|(_, column)| Expr::Column(column)).collect()
    }

    fn filled(&self, aggregate: &Aggregate) -> Result<LogicalPlan> {
        let (from, to) = match &self.given {
            Some(given) => given.clone(),
            None => range::of(&aggregate.input, &self.time)?,
        };
        let bucket = self.bucket(aggregate);
        let mut groups = aggregate.group_expr.clone();
        groups[self.position] = time_bucket().call(vec![self.width.clone(), self.time.clone()]).alias(&bucket.name);
        let keys = self.keys(aggregate);
        let columns = aggregate.schema.columns();
        let figures = &columns[groups.len()..];
        let field = |index: usize| format!("figure{index}");
        let mut row = vec![lit(BUCKET), Expr::Column(bucket.clone())];
        for (index, figure) in figures.iter().enumerate() {
            row.extend([lit(field(index)), Expr::Column(figure.clone())]);
        }
        let with_keys = |expr: Expr| keys.iter().cloned().chain([expr]).collect::<Vec<_>>();
        let rows = || Expr::Column(Column::new_unqualified(ROWS));
        let filled = fill::fill_gaps().call(vec![rows(), self.width.clone(), from, to]);
        let fields: HashMap<&Column, String> = figures.iter().zip((0..).map(field)).collect();
        let told = columns.iter().map(|column| {
            let expr = match fields.get(column) {
                Some(field) => get_field(rows(), field.as_str()),
                None if *column == bucket => get_field(rows(), BUCKET),
                None => return Expr::Column(column.clone()),
            };
            expr.alias_qualified(column.relation.clone(), &column.name)
        });
        LogicalPlanBuilder::from(Arc::clone(&aggregate.input))
            .aggregate(groups, aggregate.aggr_expr.clone())?
            .project(with_keys(named_struct(row).alias(ROW)))?
            .aggregate(keys.clone(), [array_agg(Expr::Column(Column::new_unqualified(ROW))).alias(ROWS)])?
            .project(with_keys(filled.alias(ROWS)))?
            .unnest_column(Column::new_unqualified(ROWS))?
            .project(told)?
            .build()
    }
}
