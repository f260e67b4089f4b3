//! Aggregates over what a statement finds within each day: of all sessions of a day, say, what they cost on average.
//! What is grouped by `date` lies in the files of that date alone, so a day's part of the answer lasts as long as its
//! files do, and is kept like the answers of files. Days that the range cuts, and those of rows that wait for their
//! commit, are asked anew each time.
//!
//! ```text
//! Aggregate: groups, figures                Projection: groups, finished figures
//!   Filter, Projection                        Aggregate: groups, merged parts
//!     Filter: range of min(timestamp)           Union
//!       Aggregate: date, …, …                     answers_of_days
//!         Filter: conditions                      Aggregate: groups, parts ← … ← Aggregate: date, … ← the rest
//!           agent_logs
//! ```

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
};

use arrow::{
    array::{AsArray, RecordBatch},
    compute::concat_batches,
    datatypes::{Date32Type, Field, Schema, SchemaRef},
};
use datafusion::{
    catalog::{Session, TableProvider},
    common::{
        Column, Result,
        tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion},
    },
    datasource::{TableType, provider_as_source},
    functions_aggregate::expr_fn::min,
    logical_expr::{
        Aggregate, Expr, Filter, LogicalPlan, LogicalPlanBuilder, TableScan,
        utils::{conjunction, split_conjunction},
    },
    physical_plan::{ExecutionPlan, collect},
};
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    Rollups,
    answers::{Answers, Place, compact, narrowed, shown},
    cover::Range,
    figures::{Figures, Inputs, named},
    rewrite::{self, bounds, time},
    source::{Question, Source},
};
use crate::{
    access::{Scope, Tenants},
    lake::DataFile,
    query::provider::{StoredTable, TableRows},
    record::PARTITION,
};

/// What the scan of kept answers is called in plans.
const NAME: &str = "answers_of_days";
/// Days that are asked at the same time.
const ASKED_AT_ONCE: usize = 2;

/// The aggregate's answer from those of days, if it is one of this kind and there are days that are not cut.
pub fn answer(rollups: &Arc<Rollups>, aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
    let is_table = |table: &StoredTable| rollups.are_of(table);
    let Some((found, condition)) = found(&aggregate.input) else { return Ok(None) };
    let Some(asked) = Asked::of(aggregate, found, condition, &is_table) else { return Ok(None) };
    // What rollups find needs no calls to be read.
    if rewrite::answer(rollups, found)?.is_some() {
        return Ok(None);
    }
    let Some(view) = rollups.view(&asked.scope) else { return Ok(None) };
    let waiting = view.waiting_if(|first_us, last_us| asked.range.meets(first_us, last_us));
    let Days { whole, cut } = asked.days(&view, &waiting);
    if whole.is_empty() {
        return Ok(None);
    }
    let input = of_all_time(&aggregate.input, &is_table)?;
    let of_days = OfDays {
        answers: Arc::clone(&rollups.answers),
        question: fingerprint(&asked, &input)?,
        schema: schema_of(&asked.parts(&input)?),
        input,
        rows: view.with(Vec::new(), Vec::new()),
        asked: asked.clone(),
        days: whole,
    };
    let answered = LogicalPlanBuilder::scan(NAME, provider_as_source(Arc::new(of_days)), None)?.build()?;
    let mut inputs = Inputs { apart: Vec::new(), mixed: vec![answered] };
    if !cut.is_empty() || !waiting.is_empty() {
        inputs.mixed.push(asked.parts(&over(&aggregate.input, view.with(cut, waiting))?)?);
    }
    asked.figures.finish(asked.groups.len(), inputs, &aggregate.schema).map(Some)
}

/// What a statement asks of what it found within days.
#[derive(Clone)]
struct Asked {
    /// Whose rows it sees.
    scope: Scope,
    groups: Vec<Expr>,
    figures: Arc<Figures>,
    /// The times of the calls that it reads.
    range: Range,
    /// The times of the first call of what it found.
    starts: Range,
}

/// Files by whether what is found in their day depends on the range.
struct Days {
    whole: Vec<Vec<DataFile>>,
    cut: Vec<DataFile>,
}

impl Asked {
    /// `found` is the aggregate below, and the condition on its rows.
    fn of(
        aggregate: &Aggregate,
        found: &Aggregate,
        condition: Option<&Expr>,
        is_table: &dyn Fn(&StoredTable) -> bool,
    ) -> Option<Self> {
        let question = Question::of(found, is_table)?;
        let exprs = aggregate.group_expr.iter().chain(&aggregate.aggr_expr);
        let columns = aggregate.group_expr.len() + aggregate.aggr_expr.len();
        if !question.groups.contains(&Expr::Column(Column::new_unqualified(PARTITION)))
            || aggregate.schema.fields().len() != columns
            || !exprs.clone().all(is_of_row)
        {
            return None;
        }
        let mut plain = exprs.map(|expr| expr.clone().unalias_nested().data);
        let groups: Vec<Expr> = plain.by_ref().take(aggregate.group_expr.len()).collect();
        let figures = Arc::new(Figures::of(&plain.collect::<Vec<_>>(), aggregate.input.schema())?);
        let range = question.source.filters.iter().filter_map(bounds).fold(Range::ALL, Range::and);
        let conditions = condition.into_iter().flat_map(split_conjunction);
        let starts = conditions.filter_map(|condition| start_bounds(found, &question, condition));
        let starts = starts.fold(Range::ALL, Range::and);
        Some(Self { scope: question.source.scope, groups, figures, range, starts })
    }

    fn days(&self, view: &TableRows, waiting: &[RecordBatch]) -> Days {
        let waiting = dates_of(waiting);
        let mut by_day: BTreeMap<i32, Vec<DataFile>> = BTreeMap::new();
        for file in &view.files {
            let (first_us, last_us) = file.times();
            if self.range.meets(first_us, last_us) {
                by_day.entry(file.day).or_default().push(file.clone());
            }
        }
        let mut days = Days { whole: Vec::new(), cut: Vec::new() };
        for (day, files) in by_day {
            let times = || files.iter().map(DataFile::times);
            let first_us = times().map(|(first_us, _)| first_us).min().unwrap_or(i64::MIN);
            let last_us = times().map(|(_, last_us)| last_us).max().unwrap_or(i64::MAX);
            let (is_waited_for, holds) = (waiting.contains(&day), |range: Range| range.holds(first_us, last_us));
            match (is_waited_for, self.starts.meets(first_us, last_us)) {
                // Nothing that it has begins within the range.
                (false, false) => {}
                (false, true) if holds(self.range) && holds(self.starts) => days.whole.push(files),
                _ => days.cut.extend(files),
            }
        }
        days
    }

    /// Groups `g…` and parts `p…` over rows that were found.
    fn parts(&self, found: &LogicalPlan) -> Result<LogicalPlan> {
        let rows = LogicalPlanBuilder::from(found.clone());
        rows.aggregate(named("g", &self.groups), named("p", &self.figures.parts))?.build()
    }
}

/// The aggregate below filters and projections, with the condition on its own rows.
fn found(plan: &LogicalPlan) -> Option<(&Aggregate, Option<&Expr>)> {
    match plan {
        LogicalPlan::Projection(projection) if projection.expr.iter().all(is_of_row) => found(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => found(&alias.input),
        LogicalPlan::Filter(filter) if is_of_row(&filter.predicate) => match below_columns(&filter.input) {
            LogicalPlan::Aggregate(aggregate) => Some((aggregate, Some(&filter.predicate))),
            _ => found(&filter.input),
        },
        LogicalPlan::Aggregate(aggregate) => Some((aggregate, None)),
        _ => None,
    }
}

/// What is below projections that only leave columns out.
fn below_columns(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Projection(projection) if projection.expr.iter().all(|expr| matches!(expr, Expr::Column(_))) => {
            below_columns(&projection.input)
        }
        plan => plan,
    }
}

/// Whether this says the same of a row whatever other rows there are, and whenever it is asked.
fn is_of_row(expr: &Expr) -> bool {
    let is_more = |node: &Expr| {
        Ok(matches!(
            node,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::Placeholder(_)
                | Expr::GroupingSet(_)
                | Expr::WindowFunction(_)
        ))
    };
    !expr.is_volatile() && !expr.exists(is_more).unwrap_or(true)
}

/// The range that a condition sets for the first time of what was found, if that is all it does.
fn start_bounds(found: &Aggregate, question: &Question, condition: &Expr) -> Option<Range> {
    let first = min(time());
    let is_start = |column: &Column| {
        let index = found.schema.index_of_column(column).ok()?;
        let figure = question.figures.get(index.checked_sub(question.groups.len())?)?;
        Some(*figure == first)
    };
    let mut is_of_start = true;
    let told = condition.clone().transform_up(|node| {
        let Expr::Column(column) = &node else { return Ok(Transformed::no(node)) };
        is_of_start &= is_start(column).unwrap_or(false);
        Ok(Transformed::yes(time()))
    });
    bounds(&told.data().ok()?).filter(|_| is_of_start)
}

/// The plan without its conditions on time, which hold for all rows of a whole day.
fn of_all_time(plan: &LogicalPlan, is_table: &dyn Fn(&StoredTable) -> bool) -> Result<LogicalPlan> {
    let without = |filter: Filter| {
        let is_bound: Box<dyn Fn(&Expr) -> bool> = match below_columns(&filter.input) {
            LogicalPlan::Aggregate(found) => {
                let Some(question) = Question::of(found, is_table) else { return Ok(LogicalPlan::Filter(filter)) };
                let found = found.clone();
                Box::new(move |condition: &Expr| start_bounds(&found, &question, condition).is_some())
            }
            input => {
                let Some(source) = Source::of(input, is_table) else { return Ok(LogicalPlan::Filter(filter)) };
                Box::new(move |condition: &Expr| source.told(condition).is_some_and(|told| bounds(&told).is_some()))
            }
        };
        let kept = split_conjunction(&filter.predicate).into_iter().filter(|condition| !is_bound(condition));
        match conjunction(kept.cloned()) {
            Some(predicate) => Filter::try_new(predicate, filter.input).map(LogicalPlan::Filter),
            None => Ok(Arc::unwrap_or_clone(filter.input)),
        }
    };
    let plan = plan.clone().transform_up(|node| match node {
        LogicalPlan::Filter(filter) => without(filter).map(Transformed::yes),
        node => Ok(Transformed::no(node)),
    });
    plan.data()
}

/// The plan over these rows instead of the table's.
fn over(plan: &LogicalPlan, rows: TableRows) -> Result<LogicalPlan> {
    let source = provider_as_source(Arc::new(rows));
    let plan = plan.clone().transform_up(|node| match node {
        LogicalPlan::TableScan(scan) => {
            Ok(Transformed::yes(LogicalPlan::TableScan(TableScan { source: Arc::clone(&source), ..scan })))
        }
        node => Ok(Transformed::no(node)),
    });
    plan.data()
}

fn dates_of(waiting: &[RecordBatch]) -> HashSet<i32> {
    let columns = waiting.iter().filter_map(|batch| batch.column_by_name(PARTITION));
    // Most rows are of the date of the row before.
    columns
        .flat_map(|dates| dates.as_primitive::<Date32Type>().values().chunk_by(|one, other| one == other))
        .map(|same| same[0])
        .collect()
}

/// What is asked, in full: other statements that ask the same have the same.
fn fingerprint(asked: &Asked, input: &LogicalPlan) -> Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let tenants = asked.scope.tenants().map(Tenants::identity);
    hasher.update(format!("{tenants:?} {:?} {:?}", asked.groups, asked.figures.parts).as_bytes());
    input.apply(|node| {
        let shape = match node {
            LogicalPlan::Aggregate(aggregate) => format!("by {}", aggregate.group_expr.len()),
            LogicalPlan::TableScan(scan) => format!("{:?}", scan.projection),
            LogicalPlan::Unnest(unnest) => format!("{:?} {:?}", unnest.list_type_columns, unnest.options),
            LogicalPlan::SubqueryAlias(alias) => format!("{:?}", alias.alias),
            _ => String::new(),
        };
        hasher.update(format!("{:?} {shape} {:?};", std::mem::discriminant(node), node.expressions()).as_bytes());
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(hasher.finalize())
}

fn schema_of(plan: &LogicalPlan) -> SchemaRef {
    let fields = plan.schema().fields().iter();
    Arc::new(Schema::new(
        fields.map(|field| Field::new(field.name(), field.data_type().clone(), true)).collect::<Vec<_>>(),
    ))
}

/// The answers of some days of one snapshot: groups `g…` and parts `p…`.
struct OfDays {
    answers: Arc<Answers>,
    asked: Asked,
    question: blake3::Hash,
    /// What finds the rows of a day, without conditions on time.
    input: LogicalPlan,
    /// The snapshot, without files.
    rows: TableRows,
    days: Vec<Vec<DataFile>>,
    schema: SchemaRef,
}

impl OfDays {
    /// Each day's answer; none where they are too much to be in memory at once.
    async fn answers(&self, state: &dyn Session) -> Result<Option<Vec<RecordBatch>>> {
        let places: Vec<Place> = self.days.iter().map(|files| self.place(files)).collect();
        let mut found: Vec<Option<RecordBatch>> = places.iter().map(|place| self.answers.get(place)).collect();
        let lacking: Vec<usize> = (0..found.len()).filter(|index| found[*index].is_none()).collect();
        let mut asked = Vec::with_capacity(lacking.len());
        for index in lacking {
            asked.push(async move { self.ask(state, &self.days[index]).await.map(|answer| (index, answer)) });
        }
        let mut bytes: usize = found.iter().flatten().map(RecordBatch::get_array_memory_size).sum();
        let mut asked = stream::iter(asked).buffer_unordered(ASKED_AT_ONCE);
        while let Some((index, answer)) = asked.try_next().await? {
            bytes += answer.get_array_memory_size();
            if bytes > self.answers.bytes_max() {
                return Ok(None);
            }
            self.answers.keep(&places[index], &answer);
            found[index] = Some(answer);
        }
        Ok(Some(found.into_iter().flatten().collect()))
    }

    fn place(&self, files: &[DataFile]) -> Place {
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        Place { question: self.question, path: names.join("\n"), windows: Range::ALL }
    }

    async fn ask(&self, state: &dyn Session, files: &[DataFile]) -> Result<RecordBatch> {
        let rows = self.rows.with(files.to_vec(), Vec::new());
        let plan = state.create_physical_plan(&self.asked.parts(&over(&self.input, rows)?)?).await?;
        let schema = plan.schema();
        let answer = concat_batches(&schema, &collect(plan, state.task_ctx()).await?)?;
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), answer.columns().iter().map(compact).collect())?)
    }
}

impl fmt::Debug for OfDays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OfDays({} days)", self.days.len())
    }
}

#[async_trait::async_trait]
impl TableProvider for OfDays {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(answers) = self.answers(state).await? {
            return shown(&answers, &self.schema, projection, state, self.asked.scope.tenants().is_some());
        }
        let rows = self.rows.with(self.days.concat(), Vec::new());
        let plan = self.asked.parts(&over(&self.input, rows)?)?;
        state.create_physical_plan(&narrowed(plan, &self.schema, projection)?).await
    }
}
