//! The rule that answers aggregates over calls from rollups. What the statement says stays the same: whole
//! windows of files that have their rollups come from these, all else from the calls themselves, and both
//! from one snapshot. Where a statement asks what rollups do not keep, its plan is left alone.
//!
//! ```text
//! Aggregate: groups, figures                Projection: groups, finished figures
//!   Filter: conditions                        Aggregate: groups, merged parts
//!     agent_logs                  becomes       Union
//!                                                 Projection: groups, parts ← Filter ← rollup_calls_day
//!                                                 Projection: groups, parts ← Filter ← rollup_calls_hour
//!                                                 Aggregate: groups, parts ← Filter ← agent_logs, the rest
//! ```

use std::sync::{Arc, OnceLock};

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        Column, DFSchemaRef, Result, ScalarValue, TableReference, internal_datafusion_err, tree_node::Transformed,
    },
    datasource::provider_as_source,
    functions_aggregate::expr_fn::{max, min, sum},
    logical_expr::{
        Aggregate, BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Operator, Union, cast, expr::AggregateFunction,
        lit, utils::conjunction,
    },
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
};

use super::{
    Fence, Level, Rollups,
    cover::{Cover, Range, cover},
    definition::{Merge, merge_of, plain},
    source::{Question, Source, rows_of},
};
use crate::{
    access::Scope,
    query::{options::Options, provider::TableRows, sketches},
    record::{PARTITION, col},
};

const DAY_US: i64 = 86_400_000_000;

/// The rule. It does nothing until it is given the rollups.
#[derive(Debug, Default)]
pub struct UseRollups {
    rollups: Arc<OnceLock<Arc<Rollups>>>,
}

impl UseRollups {
    /// A rule over rollups that come later.
    pub fn new(rollups: Arc<OnceLock<Arc<Rollups>>>) -> Self {
        Self { rollups }
    }
}

impl OptimizerRule for UseRollups {
    fn name(&self) -> &str {
        "use_rollups"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let (LogicalPlan::Aggregate(aggregate), Some(rollups)) = (&plan, self.rollups.get()) else {
            return Ok(Transformed::no(plan));
        };
        if !Options::of(&config.options()).rollups {
            return Ok(Transformed::no(plan));
        }
        match answer(rollups, aggregate)? {
            Some(answered) => Ok(Transformed::yes(answered)),
            None => Ok(Transformed::no(plan)),
        }
    }
}

/// How a figure is made of its merged parts.
#[derive(Debug, Clone, Copy)]
enum Finish {
    /// It is the part at this position.
    Part(usize, Merge),
    /// It is the sum at one position over the count at another.
    Mean(usize, usize),
}

/// What a statement asks, in parts that can be put together.
struct Asked {
    /// Whose rows it sees.
    scope: Scope,
    /// The list of calls whose elements it asks about, if not the calls themselves.
    unnested: Option<String>,
    groups: Vec<Expr>,
    parts: Vec<Expr>,
    finishes: Vec<Finish>,
    conditions: Vec<Expr>,
    /// Conditions on the time of calls, as one range.
    range: Range,
    /// All other conditions.
    others: Vec<Expr>,
}

/// How a level answers it: in terms of its columns.
struct Usable<'a> {
    level: &'a Arc<Level>,
    groups: Vec<Expr>,
    parts: Vec<Expr>,
    conditions: Vec<Expr>,
    fence: Option<Fence>,
}

fn answer(rollups: &Arc<Rollups>, aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
    let Some(question) = Question::of(aggregate, &|table| rollups.are_of(table)) else { return Ok(None) };
    let Some(asked) = Asked::of(question) else { return Ok(None) };
    let usable: Vec<Usable> = rollups.levels.iter().filter_map(|level| Usable::of(level, &asked)).collect();
    let grains: Vec<i64> = usable.iter().map(|usable| usable.level.definition.grain.us()).collect();
    let cover = cover(asked.range, &grains);
    if cover.windows.is_empty() {
        return Ok(None);
    }
    let Some(inputs) = branches(rollups, &asked, &usable, &cover)? else { return Ok(None) };
    finish(&asked, inputs, &aggregate.schema).map(Some)
}

/// Plans that together have every call once, each in groups `g…` and parts `p…`; none where no file has
/// its rollups.
fn branches(
    rollups: &Arc<Rollups>,
    asked: &Asked,
    usable: &[Usable<'_>],
    cover: &Cover,
) -> Result<Option<Vec<LogicalPlan>>> {
    let Some(view) = rollups.view(&asked.scope) else { return Ok(None) };
    let wanted = view.files.iter().filter(|file| {
        let (first_us, last_us) = file.times();
        asked.range.meets(first_us, last_us)
    });
    let levels: Vec<&Arc<Level>> = usable.iter().map(|usable| usable.level).collect();
    let (rolled_up, bare): (Vec<_>, Vec<_>) =
        wanted.cloned().partition(|file| levels.iter().all(|level| level.has(file)));
    if rolled_up.is_empty() {
        return Ok(None);
    }
    let mut inputs = Vec::new();
    for (position, windows) in &cover.windows {
        let usable = &usable[*position];
        let files: Vec<_> = rolled_up
            .iter()
            .filter(|file| {
                let (first_us, last_us) = file.times();
                windows.meets(first_us, last_us)
            })
            .collect();
        if !files.is_empty() {
            inputs.push(usable.branch(usable.level.rows(&view.snapshot, &files, usable.fence.clone()), *windows)?);
        }
    }
    for range in &cover.rest {
        let files: Vec<_> = rolled_up
            .iter()
            .filter(|file| {
                let (first_us, last_us) = file.times();
                range.meets(first_us, last_us)
            })
            .cloned()
            .collect();
        if !files.is_empty() {
            let conditions = asked.others.iter().cloned().chain(within(&time(), *range));
            inputs.push(asked.branch(view.with(files, Vec::new()), conditions)?);
        }
    }
    if !bare.is_empty() || !view.waiting.is_empty() {
        let rows = view.with(bare, view.waiting.clone());
        inputs.push(asked.branch(rows, asked.conditions.iter().cloned())?);
    }
    Ok(Some(inputs))
}

impl Asked {
    fn of(question: Question) -> Option<Self> {
        let (mut parts, mut finishes) = (Vec::new(), Vec::new());
        let mut position = |part: Expr| {
            parts.iter().position(|other| *other == part).unwrap_or_else(|| {
                parts.push(part);
                parts.len() - 1
            })
        };
        for figure in &question.figures {
            let finish = match merge_of(figure) {
                Some(merge) => Finish::Part(position(figure.clone()), merge),
                None => {
                    let (total, count) = mean_of(figure)?;
                    Finish::Mean(position(total), position(count))
                }
            };
            finishes.push(finish);
        }
        let Source { unnested, filters: conditions, scope, .. } = question.source;
        let mut range = Range::ALL;
        let mut others = Vec::new();
        for condition in &conditions {
            match bounds(condition) {
                Some(bounds) => range = range.and(bounds),
                None => others.push(condition.clone()),
            }
        }
        Some(Self { scope, unnested, groups: question.groups, parts, finishes, conditions, range, others })
    }

    /// Parts made of calls.
    fn branch(&self, rows: TableRows, conditions: impl IntoIterator<Item = Expr>) -> Result<LogicalPlan> {
        let rows = rows_of(rows, self.unnested.as_deref(), conditions)?;
        rows.aggregate(named("g", &self.groups), named("p", &self.parts))?.build()
    }
}

impl<'a> Usable<'a> {
    fn of(level: &'a Arc<Level>, asked: &Asked) -> Option<Self> {
        let definition = &level.definition;
        let beyond = definition.beyond(asked.unnested.as_deref(), &asked.others)?;
        let conditions = beyond.into_iter().map(|condition| definition.of_row(condition)).collect::<Option<_>>()?;
        let groups = asked.groups.iter().map(|group| definition.of_row(group)).collect::<Option<_>>()?;
        let parts = asked.parts.iter().map(|part| definition.of_rows(part)).collect::<Option<_>>()?;
        let fence = level.fence(&asked.scope).ok()?;
        Some(Self { level, groups, parts, conditions, fence })
    }

    /// Parts that the rollup holds.
    fn branch(&self, rows: super::RollupRows, windows: Range) -> Result<LogicalPlan> {
        let name = format!("rollup_{}", self.level.definition.name);
        let mut builder = LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(rows)), None)?;
        let conditions = self.conditions.iter().cloned().chain(within(&self.level.definition.window(), windows));
        if let Some(filter) = conjunction(conditions) {
            builder = builder.filter(filter)?;
        }
        builder.project(named("g", &self.groups).chain(named("p", &self.parts)))?.build()
    }
}

/// Puts the parts together, under the names that the statement's aggregate has.
fn finish(asked: &Asked, inputs: Vec<LogicalPlan>, schema: &DFSchemaRef) -> Result<LogicalPlan> {
    let mut inputs: Vec<Arc<LogicalPlan>> = inputs.into_iter().map(Arc::new).collect();
    let joined = match inputs.len() {
        1 => Arc::unwrap_or_clone(inputs.swap_remove(0)),
        _ => LogicalPlan::Union(Union::try_new(inputs)?),
    };
    let numbered = |prefix: &str, count: usize| -> Vec<Expr> {
        (0..count).map(|index| Expr::Column(Column::new_unqualified(format!("{prefix}{index}")))).collect()
    };
    let groups = numbered("g", asked.groups.len());
    let merged: Vec<Expr> = numbered("p", asked.parts.len())
        .into_iter()
        .zip(&asked.parts)
        .map(|(part, of)| match merge_of(of) {
            Some(Merge::Min) => Ok(min(part)),
            Some(Merge::Max) => Ok(max(part)),
            Some(Merge::Count | Merge::Sum) | None => Ok(sum(part)),
            Some(Merge::Sketch(merge)) => sketch_merge(merge, part),
        })
        .collect::<Result<_>>()?;
    let builder = LogicalPlanBuilder::from(joined).aggregate(groups.clone(), named("m", &merged))?;
    let merged = numbered("m", asked.parts.len());
    let figures = asked.finishes.iter().map(|finish| match finish {
        Finish::Part(position, Merge::Count) => or_zero(merged[*position].clone()),
        Finish::Part(position, _) => merged[*position].clone(),
        Finish::Mean(total, count) => merged[*total].clone() / cast(merged[*count].clone(), DataType::Float64),
    });
    let plan_schema = Arc::clone(builder.schema());
    let columns = groups
        .into_iter()
        .chain(figures)
        .zip(schema.iter())
        .map(|(expr, (qualifier, field))| typed(expr, field.data_type(), &plan_schema, qualifier, field.name()))
        .collect::<Result<Vec<_>>>()?;
    builder.project(columns)?.build()
}

fn typed(
    expr: Expr,
    data_type: &DataType,
    schema: &DFSchemaRef,
    qualifier: Option<&TableReference>,
    name: &str,
) -> Result<Expr> {
    use datafusion::logical_expr::ExprSchemable;
    let expr = if expr.get_type(schema.as_ref())? == *data_type { expr } else { cast(expr, data_type.clone()) };
    Ok(expr.alias_qualified(qualifier.cloned(), name))
}

fn sketch_merge(name: &str, part: Expr) -> Result<Expr> {
    let found = sketches::aggregates().into_iter().find(|aggregate| aggregate.name() == name);
    found
        .map(|aggregate| aggregate.call(vec![part]))
        .ok_or_else(|| internal_datafusion_err!("there is no aggregate {name}"))
}

fn or_zero(count: Expr) -> Expr {
    datafusion::functions::core::expr_fn::coalesce(vec![count, lit(0_i64)])
}

fn named<'a>(prefix: &'a str, exprs: &'a [Expr]) -> impl Iterator<Item = Expr> + 'a {
    exprs.iter().enumerate().map(move |(index, expr)| expr.clone().alias(format!("{prefix}{index}")))
}

/// Sum and count of a mean's rows.
fn mean_of(figure: &Expr) -> Option<(Expr, Expr)> {
    let function = plain(figure).filter(|function| function.func.name() == "avg")?;
    let with = |func| Expr::AggregateFunction(AggregateFunction { func, params: function.params.clone() });
    let total = with(datafusion::functions_aggregate::sum::sum_udaf());
    Some((total, with(datafusion::functions_aggregate::count::count_udaf())))
}

fn time() -> Expr {
    Expr::Column(Column::new_unqualified(col::TIMESTAMP))
}

/// The range that a condition sets for the time of calls, if that is all it does. A call's date is the day of its
/// time, so what is said of the one is said of the other.
fn bounds(condition: &Expr) -> Option<Range> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (period(left), period(right)) {
            (None, Some(period)) => period.of(left)?.compared(*op),
            (Some(period), None) => period.of(right)?.compared(op.swap()?),
            _ => None,
        },
        Expr::Between(between) if !between.negated => {
            let from = period(&between.low)?.of(&between.expr)?.compared(Operator::GtEq)?;
            Some(from.and(period(&between.high)?.of(&between.expr)?.compared(Operator::LtEq)?))
        }
        _ => None,
    }
}

/// The times that a value of one column stands for, µs: one, or a day's.
struct Period {
    column: &'static str,
    from_us: i64,
    to_us: i64,
}

fn period(expr: &Expr) -> Option<Period> {
    let Expr::Literal(value, _) = expr else { return None };
    match value {
        ScalarValue::TimestampMicrosecond(Some(us), None) => {
            Some(Period { column: col::TIMESTAMP, from_us: *us, to_us: us.checked_add(1)? })
        }
        ScalarValue::Date32(Some(day)) => {
            let from_us = i64::from(*day).checked_mul(DAY_US)?;
            Some(Period { column: PARTITION, from_us, to_us: from_us.checked_add(DAY_US)? })
        }
        _ => None,
    }
}

impl Period {
    /// If it is this column's.
    fn of(self, expr: &Expr) -> Option<Self> {
        (*expr == Expr::Column(Column::new_unqualified(self.column))).then_some(self)
    }

    /// The times of calls whose value compares so with it.
    fn compared(self, op: Operator) -> Option<Range> {
        let (from_us, to_us) = match op {
            Operator::Eq => (Some(self.from_us), Some(self.to_us)),
            Operator::GtEq => (Some(self.from_us), None),
            Operator::Gt => (Some(self.to_us), None),
            Operator::Lt => (None, Some(self.from_us)),
            Operator::LtEq => (None, Some(self.to_us)),
            _ => return None,
        };
        Some(Range { from_us, to_us })
    }
}

/// The conditions that keep a time within a range.
fn within(time: &Expr, range: Range) -> Vec<Expr> {
    let literal = |us: i64| lit(ScalarValue::TimestampMicrosecond(Some(us), None));
    let from = range.from_us.map(|us| time.clone().gt_eq(literal(us)));
    let to = range.to_us.map(|us| time.clone().lt(literal(us)));
    from.into_iter().chain(to).collect()
}
