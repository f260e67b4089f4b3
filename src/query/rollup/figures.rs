//! Figures as parts that can be put together, and what is made of the parts. Pure: expressions and plans in, plans out.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{Column, DFSchema, DFSchemaRef, Result, ScalarValue, TableReference},
    logical_expr::{
        Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Union, cast,
        expr::{AggregateFunction, AggregateFunctionParams},
        lit,
    },
};

use super::definition::{Merge, merge_of, plain};
use crate::sketch::{Buckets, Histogram, Sketch};

/// What an aggregate asks, in parts.
pub struct Figures {
    /// Aggregates whose figures of some rows each make that of all.
    pub parts: Vec<Expr>,
    finishes: Vec<Finish>,
}

/// What an answer is made of.
#[derive(Default)]
pub struct Inputs {
    /// Plans whose groups are in no other.
    pub apart: Vec<LogicalPlan>,
    /// Plans whose groups may be in several.
    pub mixed: Vec<LogicalPlan>,
}

/// How a figure is made of its merged parts.
#[derive(Debug, Clone, Copy)]
enum Finish {
    /// It is the part at this position.
    Part(usize, Merge),
    /// It is the sum at one position over the count at another.
    Mean(usize, usize),
}

impl Figures {
    /// These figures of rows of the schema in parts; none where one of them has none.
    pub fn of(figures: &[Expr], schema: &DFSchema) -> Option<Self> {
        let (mut parts, mut finishes) = (Vec::new(), Vec::new());
        let mut position = |part: Expr| {
            parts.iter().position(|other| *other == part).unwrap_or_else(|| {
                parts.push(part);
                parts.len() - 1
            })
        };
        for figure in figures {
            let finish = match merge_of(figure) {
                Some(merge) => Finish::Part(position(figure.clone()), merge),
                None => {
                    let (total, count) = mean_of(figure, schema)?;
                    Finish::Mean(position(total), position(count))
                }
            };
            finishes.push(finish);
        }
        Some(Self { parts, finishes })
    }

    /// Puts the parts together, under the names that the statement's aggregate has. Each input has so many groups `g…`,
    /// and the parts as `p…`.
    pub fn finish(&self, groups: usize, inputs: Inputs, schema: &DFSchemaRef) -> Result<LogicalPlan> {
        let numbered = |prefix: &str, count: usize| -> Vec<Expr> {
            (0..count).map(|index| Expr::Column(Column::new_unqualified(format!("{prefix}{index}")))).collect()
        };
        let groups = numbered("g", groups);
        let mut whole: Vec<LogicalPlan> = Vec::new();
        if !inputs.mixed.is_empty() {
            let parts = numbered("p", self.parts.len()).into_iter().zip(&self.parts);
            let merged = parts.map(|(part, of)| merge_of(of).unwrap_or(Merge::Sum).of_parts(part));
            let merged = merged.collect::<Result<Vec<_>>>()?;
            let mixed = LogicalPlanBuilder::from(union(inputs.mixed)?);
            whole.push(mixed.aggregate(groups.clone(), named("m", &merged))?.build()?);
        }
        for input in inputs.apart {
            // A sum of sums may have a wider type, and all have one.
            let schema = Arc::clone(whole.first().unwrap_or(&input).schema());
            let types = schema.fields().iter().skip(groups.len());
            let parts = numbered("p", self.parts.len()).into_iter().zip(types).enumerate();
            let parts = parts
                .map(|(index, (part, like))| typed(part, like.data_type(), input.schema(), None, &format!("m{index}")));
            let columns = groups.iter().cloned().map(Ok).chain(parts).collect::<Result<Vec<_>>>()?;
            whole.push(LogicalPlanBuilder::from(input).project(columns)?.build()?);
        }
        let builder = LogicalPlanBuilder::from(union(whole)?);
        let merged = numbered("m", self.parts.len());
        let float = |position: usize| cast(merged[position].clone(), DataType::Float64);
        let figures = self.finishes.iter().map(|finish| match finish {
            Finish::Part(position, Merge::Count) => or_else(merged[*position].clone(), lit(0_i64)),
            Finish::Part(position, Merge::Histogram(buckets)) => or_else(merged[*position].clone(), empty(*buckets)),
            Finish::Part(position, _) => merged[*position].clone(),
            Finish::Mean(total, count) => float(*total) / float(*count),
        });
        let plan_schema = Arc::clone(builder.schema());
        let columns = groups
            .into_iter()
            .chain(figures)
            .zip(schema.iter())
            .map(|(expr, (qualifier, field))| {
                let expr = if field.is_nullable() { expr } else { never_null(expr, &plan_schema)? };
                typed(expr, field.data_type(), &plan_schema, qualifier, field.name())
            })
            .collect::<Result<Vec<_>>>()?;
        builder.project(columns)?.build()
    }
}

/// All rows of plans that have the same columns; of at least one plan.
fn union(mut plans: Vec<LogicalPlan>) -> Result<LogicalPlan> {
    match plans.len() {
        1 => Ok(plans.swap_remove(0)),
        _ => Ok(LogicalPlan::Union(Union::try_new(plans.into_iter().map(Arc::new).collect())?)),
    }
}

/// The expression in this type, under this name.
pub fn typed(
    expr: Expr,
    data_type: &DataType,
    schema: &DFSchemaRef,
    qualifier: Option<&TableReference>,
    name: &str,
) -> Result<Expr> {
    let expr = if expr.get_type(schema.as_ref())? == *data_type { expr } else { cast(expr, data_type.clone()) };
    Ok(expr.alias_qualified(qualifier.cloned(), name))
}

/// What the figure of no rows is, where their parts do not say.
fn or_else(figure: Expr, of_nothing: Expr) -> Expr {
    datafusion::functions::core::expr_fn::coalesce(vec![figure, of_nothing])
}

/// What is never null, and seems so because kept answers may have nulls anywhere. Plans above this one count on what was
/// said of it, and some are refused where it is not so: groups of a union of groups, for one.
fn never_null(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    if !expr.nullable(schema)? {
        return Ok(expr);
    }
    let stand_in = ScalarValue::new_default(&expr.get_type(schema)?)?;
    Ok(or_else(expr, lit(stand_in)))
}

fn empty(buckets: Buckets) -> Expr {
    lit(ScalarValue::Binary(Some(Histogram::new(buckets).encode())))
}

/// These under the names of a prefix and their number.
pub fn named<'a>(prefix: &'a str, exprs: &'a [Expr]) -> impl Iterator<Item = Expr> + 'a {
    exprs.iter().enumerate().map(move |(index, expr)| expr.clone().alias(format!("{prefix}{index}")))
}

/// Sum and count of a mean's rows, if the mean is a float. Whole numbers, of which the engine makes floats for a mean,
/// are added up as they are, which is how rollups keep them; like any sum of whole numbers that is exact within 64 bits.
fn mean_of(figure: &Expr, schema: &DFSchema) -> Option<(Expr, Expr)> {
    let function = plain(figure).filter(|function| function.func.name() == "avg")?;
    let is_float =
        function.params.args.iter().all(|arg| !matches!(arg.get_type(schema), Ok(other) if other != DataType::Float64));
    if !is_float {
        return None;
    }
    let args = function.params.args.iter().map(|arg| whole_numbers(arg, schema).unwrap_or(arg).clone()).collect();
    let params = AggregateFunctionParams { args, ..function.params.clone() };
    let with = |func| Expr::AggregateFunction(AggregateFunction { func, params: params.clone() });
    let total = with(datafusion::functions_aggregate::sum::sum_udaf());
    Some((total, with(datafusion::functions_aggregate::count::count_udaf())))
}

/// The whole numbers that this makes floats of, if it is that. Narrower ones have no sum of their type.
fn whole_numbers<'a>(expr: &'a Expr, schema: &DFSchema) -> Option<&'a Expr> {
    let Expr::Cast(Cast { expr, field }) = expr else { return None };
    let own = expr.get_type(schema).ok()?;
    let is_whole = field.data_type() == &DataType::Float64 && matches!(own, DataType::Int64 | DataType::UInt64);
    is_whole.then_some(expr)
}
