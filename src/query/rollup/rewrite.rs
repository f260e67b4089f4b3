//! The rule that answers aggregates over calls from rollups. What the statement says stays the same: whole
//! windows of files that have their rollups come from these, all else from the calls themselves, and both
//! from one snapshot. Where a statement asks what rollups do not keep, its plan is left alone.
//!
//! ```text
//! Aggregate: groups, figures                Projection: groups, finished figures
//!   Filter: conditions                        Union
//!     agent_logs                  becomes       rollup_calls_day: groups, parts of files apart
//!                                               Aggregate: groups, merged parts
//!                                                 Union
//!                                                   rollup_calls_day: groups, parts of the files of a day
//!                                                   rollup_calls_hour: groups, parts of the files of a day
//!                                                   Aggregate: groups, parts ← Filter ← agent_logs, the rest
//! ```
//!
//! Files are apart, alone or some of them together, where a group is a period of time, and no other file or call is of
//! theirs.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use datafusion::{
    catalog::TableProvider,
    common::{Column, DFSchema, Result, ScalarValue, tree_node::Transformed},
    datasource::provider_as_source,
    logical_expr::{Aggregate, BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Operator, lit},
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
};

use super::{
    Fence, Level, Rollups,
    answers::{self, Answered, Answers},
    apart::clusters,
    cover::{Cover, Range, cover},
    days,
    definition::{Merge, merge_of, periods_of},
    figures::{Figures, Inputs, named},
    source::{Question, Source, rows_of},
};
use crate::{
    access::Scope,
    lake::{DataFile, Snapshot},
    query::{
        options::Options,
        provider::{TableRows, times_of},
    },
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
        if let Some(answered) = answer(rollups, aggregate)? {
            return Ok(Transformed::yes(answered));
        }
        match days::answer(rollups, aggregate)? {
            Some(answered) => Ok(Transformed::yes(answered)),
            None => Ok(Transformed::no(plan)),
        }
    }
}

/// What a statement asks, in parts that can be put together.
struct Asked {
    /// Whose rows it sees.
    scope: Scope,
    /// The list of calls whose elements it asks about, if not the calls themselves.
    unnested: Option<String>,
    groups: Vec<Expr>,
    figures: Figures,
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
    parts: Vec<(Expr, Merge)>,
    conditions: Vec<Expr>,
    fence: Option<Fence>,
}

/// The aggregate's answer from rollups, as far as these have it; none where nothing of it comes from there.
pub(super) fn answer(rollups: &Arc<Rollups>, aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
    let Some(question) = Question::of(aggregate, &|table| rollups.are_of(table)) else { return Ok(None) };
    let schema = DFSchema::try_from(rollups.table.schema())?;
    let Some(asked) = Asked::of(question, &schema) else { return Ok(None) };
    let usable: Vec<Usable> = rollups.levels.iter().filter_map(|level| Usable::of(level, &asked)).collect();
    let grains: Vec<i64> = usable.iter().map(|usable| usable.level.definition.grain.us()).collect();
    let cover = cover(asked.range, &grains);
    if cover.windows.is_empty() {
        return Ok(None);
    }
    let Some(inputs) = branches(rollups, &asked, &usable, &cover)? else { return Ok(None) };
    asked.figures.finish(asked.groups.len(), inputs, &aggregate.schema).map(Some)
}

/// Plans that together have every call once, each in groups `g…` and parts `p…`; none where no file has
/// its rollups.
fn branches(rollups: &Arc<Rollups>, asked: &Asked, usable: &[Usable<'_>], cover: &Cover) -> Result<Option<Inputs>> {
    let Some(view) = rollups.view(&asked.scope) else { return Ok(None) };
    let levels: Vec<&Arc<Level>> = usable.iter().map(|usable| usable.level).collect();
    let (rolled_up, bare): (Vec<&DataFile>, Vec<&DataFile>) =
        meeting(&view.files, asked.range).partition(|file| levels.iter().all(|level| level.has(file)));
    if rolled_up.is_empty() {
        return Ok(None);
    }
    let mut inputs = Inputs::default();
    // What is read of calls, with the times that it may have, and then what files answer.
    let mut spans = Vec::new();
    for range in &cover.rest {
        let files: Vec<&DataFile> = meeting(rolled_up.iter().copied(), *range).collect();
        if !files.is_empty() {
            spans.extend(files.iter().map(|file| range.of(file.times())));
            let conditions = asked.others.iter().cloned().chain(within(&time(), *range));
            let rows = view.with(files.into_iter().cloned().collect(), Vec::new());
            inputs.mixed.push(asked.branch(rows, conditions)?);
        }
    }
    let waiting = view.waiting_if(|first_us, last_us| asked.range.meets(first_us, last_us));
    if !bare.is_empty() || !waiting.is_empty() {
        spans.extend(
            bare.iter()
                .map(|file| file.times())
                .chain(waiting.iter().filter_map(|batch| times_of(batch, col::TIMESTAMP))),
        );
        let rows = view.with(bare.into_iter().cloned().collect(), waiting);
        inputs.mixed.push(asked.branch(rows, asked.conditions.iter().cloned())?);
    }
    let answering: Vec<(usize, Range, &DataFile)> = cover
        .windows
        .iter()
        .flat_map(|(position, windows)| {
            meeting(rolled_up.iter().copied(), *windows).map(move |file| (*position, *windows, file))
        })
        .collect();
    let read = spans.len();
    spans.extend(answering.iter().map(|(_, windows, file)| windows.of(file.times())));
    let asked_of = |at: usize| (answering[at].0, answering[at].1);
    let together = asked.groups.iter().find_map(periods_of).and_then(|periods| clusters(&spans, periods));
    // Files that share no group with others, and are asked for the same windows.
    let apart: Vec<Vec<usize>> = together
        .into_iter()
        .flatten()
        .filter_map(|cluster| cluster.into_iter().map(|index| index.checked_sub(read)).collect::<Option<Vec<_>>>())
        .filter(|unit| unit.iter().all(|at| asked_of(*at) == asked_of(unit[0])))
        .collect();
    let mut is_apart = vec![false; answering.len()];
    apart.iter().flatten().for_each(|at| is_apart[*at] = true);
    for (position, windows) in &cover.windows {
        let is_asked = |at: usize| asked_of(at) == (*position, *windows);
        // Of a day that is over, files stay as they are.
        let mut days: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for at in (0..answering.len()).filter(|at| !is_apart[*at] && is_asked(*at)) {
            days.entry(answering[at].2.day).or_default().push(at);
        }
        let apart = apart.iter().filter(|unit| is_asked(unit[0]));
        for (inputs, units) in [(&mut inputs.apart, apart.collect()), (&mut inputs.mixed, days.values().collect())] {
            let units: Vec<&Vec<usize>> = units;
            let files = |unit: &&Vec<usize>| unit.iter().map(|at| answering[*at].2).collect();
            let units: Vec<Vec<&DataFile>> = units.iter().map(files).collect();
            if !units.is_empty() {
                inputs.push(usable[*position].branch(&rollups.answers, &view.snapshot, &units, *windows)?);
            }
        }
    }
    Ok(Some(inputs))
}

/// The files with times that may be in the range.
fn meeting<'a>(files: impl IntoIterator<Item = &'a DataFile>, range: Range) -> impl Iterator<Item = &'a DataFile> {
    files.into_iter().filter(move |file| {
        let (first_us, last_us) = file.times();
        range.meets(first_us, last_us)
    })
}

impl Asked {
    /// Of a table of this schema.
    fn of(question: Question, schema: &DFSchema) -> Option<Self> {
        let figures = Figures::of(&question.figures, schema)?;
        let Source { unnested, filters: conditions, scope, .. } = question.source;
        let mut range = Range::ALL;
        let mut others = Vec::new();
        for condition in &conditions {
            match bounds(condition) {
                Some(bounds) => range = range.and(bounds),
                None => others.push(condition.clone()),
            }
        }
        Some(Self { scope, unnested, groups: question.groups, figures, conditions, range, others })
    }

    /// Parts made of calls.
    fn branch(&self, rows: TableRows, conditions: impl IntoIterator<Item = Expr>) -> Result<LogicalPlan> {
        let rows = rows_of(rows, self.unnested.as_deref(), conditions)?;
        rows.aggregate(named("g", &self.groups), named("p", &self.figures.parts))?.build()
    }
}

impl<'a> Usable<'a> {
    fn of(level: &'a Arc<Level>, asked: &Asked) -> Option<Self> {
        let definition = &level.definition;
        let beyond = definition.beyond(asked.unnested.as_deref(), &asked.others)?;
        let conditions = beyond.into_iter().map(|condition| definition.of_row(condition)).collect::<Option<_>>()?;
        let groups = asked.groups.iter().map(|group| definition.of_row(group)).collect::<Option<_>>()?;
        let parts = asked.figures.parts.iter().map(|part| Some((definition.of_rows(part)?, merge_of(part)?)));
        let parts = parts.collect::<Option<_>>()?;
        let fence = level.fence(&asked.scope).ok()?;
        Some(Self { level, groups, parts, conditions, fence })
    }

    /// Parts that the rollup holds, put together for each of some units of files.
    fn branch(
        &self,
        answers: &Arc<Answers>,
        snapshot: &Arc<Snapshot>,
        units: &[Vec<&DataFile>],
        windows: Range,
    ) -> Result<LogicalPlan> {
        let (groups, parts, conditions) = (self.groups.clone(), self.parts.clone(), self.conditions.clone());
        let question = answers::Question { groups, parts, conditions, windows };
        let answered = Answered::new(answers, self.level, snapshot, units, self.fence.clone(), question)?;
        let name = format!("rollup_{}", self.level.definition.name);
        LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(answered)), None)?.build()
    }
}

/// The time of a call.
pub(super) fn time() -> Expr {
    Expr::Column(Column::new_unqualified(col::TIMESTAMP))
}

/// The range that a condition sets for the time of calls, if that is all it does. A call's date is the day of its
/// time, so what is said of the one is said of the other.
pub(super) fn bounds(condition: &Expr) -> Option<Range> {
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
pub(super) fn within(time: &Expr, range: Range) -> Vec<Expr> {
    let literal = |us: i64| lit(ScalarValue::TimestampMicrosecond(Some(us), None));
    let from = range.from_us.map(|us| time.clone().gt_eq(literal(us)));
    let to = range.to_us.map(|us| time.clone().lt(literal(us)));
    from.into_iter().chain(to).collect()
}
