//! What the calls of both ranges hold in a column, group by group: tests of their values, counts in the bins of their
//! sketches, counts of categories. The latter two come from rollups where these have them.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::cast as cast_array,
    datatypes::DataType,
};
use datafusion::{
    common::{Column, ScalarValue},
    execution::FunctionRegistry,
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit},
};
use serde::Deserialize;

use super::{
    DriftRequest, GROUPS_MAX, Holds, Range,
    judge::{Binned, CategoryCount, Found},
};
use crate::{
    error::{Context, Error, Kind, Result},
    query::{Engine, error::from_engine, running::Rows},
    record::col,
    sketch::{QuantileSketch, Sketch},
    stats::{Outcome, TwoSampleTest, ks_test_of_bins, ks_test_of_bins_and_values},
};

#[derive(Deserialize)]
struct NumberRow {
    #[serde(rename = "group_value")]
    group: Option<String>,
    test: TestRow,
}

#[derive(Deserialize)]
struct TestRow {
    statistic: Option<f64>,
    p_value: Option<f64>,
    effect_size: Option<f64>,
    n_reference: u64,
    n_current: u64,
}

#[derive(Deserialize)]
struct CategoryRow {
    #[serde(rename = "group_value")]
    group: Option<String>,
    is_current: bool,
    category: String,
    calls: u64,
}

impl Engine {
    /// Tests of the numbers themselves.
    pub(super) async fn numbers(&self, request: &DriftRequest) -> Result<Vec<Found>> {
        let ks_test = self.aggregate("ks_test")?;
        let test = ks_test.call(vec![column(&request.column), in_range(request.current)]).alias("test");
        let plan = async {
            LogicalPlanBuilder::from(self.calls().await?)
                .filter(in_range(request.reference).or(in_range(request.current)))?
                .aggregate([group_of(request)], [test])?
                .build()
        };
        let rows: Vec<NumberRow> = self.rows_of(request, plan.await.map_err(unplanned)?).await?.collect_as().await?;
        bounded(rows.len())?;
        let found = rows.into_iter().map(|row| {
            let TestRow { statistic, p_value, effect_size, n_reference, n_current } = row.test;
            let outcome = match (statistic, p_value, effect_size) {
                (Some(statistic), Some(p_value), Some(effect_size)) => {
                    Outcome::Tested(TwoSampleTest { statistic, p_value, effect_size, n_reference, n_current })
                }
                _ => Outcome::Insufficient { n_reference, n_current },
            };
            Found::of_numbers(row.group, outcome)
        });
        Ok(found.collect())
    }

    /// Tests of the counts in their sketches' bins.
    pub(super) async fn binned(&self, request: &DriftRequest, holds: Holds) -> Result<Vec<Binned>> {
        let value = match request.column.as_str() {
            // It lies near 1, where a bin is wide; what it lacks is as far apart, and told finely.
            col::GROUNDEDNESS => lit(1.0) - column(col::GROUNDEDNESS),
            name => column(name),
        };
        let sketch = self.aggregate("quantile_sketch")?.call(vec![value]).alias("sketch");
        let plan = self.of_each_range(request, vec![group_of(request)], vec![sketch], vec![]).await?;
        let mut groups: BTreeMap<Option<String>, [QuantileSketch; 2]> = BTreeMap::new();
        for batch in self.rows_of(request, plan).await?.collect().await? {
            for (group, is_current, sketch) in sketches(&batch)? {
                groups.entry(group).or_default()[usize::from(is_current)] = sketch;
            }
        }
        bounded(groups.len())?;
        let binned = groups.into_iter().map(|(group, [reference, current])| Binned {
            group,
            n_reference: reference.count(),
            n_current: current.count(),
            test: match holds {
                Holds::WholeNumbers => ks_test_of_bins_and_values(&reference.bins_of_whole_numbers_beside(&current)),
                _ => ks_test_of_bins(&reference.bins_beside(&current)),
            },
        });
        Ok(binned.collect())
    }

    /// Counts of categories. They come one row a category, so that rare ones can be pooled before the test.
    pub(super) async fn categories(&self, request: &DriftRequest) -> Result<Vec<Found>> {
        let calls = self.aggregate("count")?.call(vec![lit(1_i64)]).alias("calls");
        let category = cast(column(&request.column), DataType::Utf8).alias("category");
        let mut conditions = vec![column(&request.column).is_not_null()];
        if request.column == col::ERROR_TYPE {
            // What has a type is an error. Said, so that the rollup of errors answers.
            conditions.push(column("is_error"));
        }
        let plan = self.of_each_range(request, vec![group_of(request), category], vec![calls], conditions).await?;
        let rows: Vec<CategoryRow> = self.rows_of(request, plan).await?.collect_as().await?;
        let mut groups: BTreeMap<Option<String>, BTreeMap<String, (u64, u64)>> = BTreeMap::new();
        for row in rows {
            let counts = groups.entry(row.group).or_default().entry(row.category).or_default();
            let side = if row.is_current { &mut counts.1 } else { &mut counts.0 };
            *side += row.calls;
        }
        bounded(groups.len())?;
        let found = groups.into_iter().map(|(group, categories)| {
            let categories: Vec<CategoryCount> = categories.into_iter().collect();
            Found::of_categories(group, categories)
        });
        Ok(found.collect())
    }

    /// Aggregates of the calls of each range, told apart by `is_current`. One aggregate a range, with nothing else of
    /// times in it, so that whole hours come from rollups.
    async fn of_each_range(
        &self,
        request: &DriftRequest,
        keys: Vec<Expr>,
        aggregates: Vec<Expr>,
        conditions: Vec<Expr>,
    ) -> Result<LogicalPlan> {
        let names = keys.iter().chain(&aggregates).map(|expr| column(expr.schema_name().to_string().as_str()));
        let names: Vec<Expr> = names.collect();
        let of = async |range: Range, is_current: bool| {
            let calls = LogicalPlanBuilder::from(self.calls().await?);
            let conditions = conditions.iter().cloned().fold(in_range(range), Expr::and);
            let told = std::iter::once(lit(is_current).alias("is_current")).chain(names.iter().cloned());
            calls.filter(conditions)?.aggregate(keys.clone(), aggregates.clone())?.project(told)?.build()
        };
        let plan = async {
            let current = of(request.current, true).await?;
            LogicalPlanBuilder::from(of(request.reference, false).await?).union(current)?.build()
        };
        plan.await.map_err(unplanned)
    }

    async fn calls(&self) -> datafusion::common::Result<LogicalPlan> {
        Ok(self.context().table("agent_logs").await?.into_unoptimized_plan())
    }

    async fn rows_of(&self, request: &DriftRequest, plan: LogicalPlan) -> Result<Rows> {
        let (plan, _) = self.narrowed(plan, &request.conditions).await?;
        self.run_plan(plan).await
    }

    fn aggregate(&self, name: &str) -> Result<std::sync::Arc<datafusion::logical_expr::AggregateUDF>> {
        FunctionRegistry::udaf(self.context(), name).map_err(|error| from_engine("an aggregate is missing", error))
    }
}

/// Group, range and sketch of each row; of no values where there is none.
fn sketches(batch: &RecordBatch) -> Result<Vec<(Option<String>, bool, QuantileSketch)>> {
    let of = |name: &str, data_type: &DataType| {
        let missing = || Error::new(Kind::Internal, format!("the comparison has no column {name}"));
        let column = batch.column_by_name(name).ok_or_else(missing)?;
        cast_array(column, data_type).context("a column of the comparison has another form")
    };
    let groups = of("group_value", &DataType::Utf8)?;
    let sides = of("is_current", &DataType::Boolean)?;
    let blobs = of("sketch", &DataType::Binary)?;
    let (groups, blobs) = (groups.as_string::<i32>(), blobs.as_binary::<i32>());
    let rows = (0..batch.num_rows()).map(|row| {
        let group = groups.is_valid(row).then(|| groups.value(row).to_owned());
        let sketch = match blobs.is_valid(row) {
            true => QuantileSketch::decode(blobs.value(row))?,
            false => QuantileSketch::new(),
        };
        Ok((group, sides.as_boolean().value(row), sketch))
    });
    rows.collect()
}

/// Refuses more groups than an answer may have.
fn bounded(groups: usize) -> Result<()> {
    match groups > GROUPS_MAX {
        true => Err(Error::invalid(format!("by makes more than {GROUPS_MAX} groups"))),
        false => Ok(()),
    }
}

fn unplanned(error: datafusion::error::DataFusionError) -> Error {
    from_engine("cannot plan the comparison", error)
}

fn group_of(request: &DriftRequest) -> Expr {
    let group = match &request.by {
        Some(by) => cast(column(by), DataType::Utf8),
        None => lit(ScalarValue::Utf8(None)),
    };
    group.alias("group_value")
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

fn in_range(range: Range) -> Expr {
    let at = |us| lit(ScalarValue::TimestampMicrosecond(Some(us), None));
    column(col::TIMESTAMP).gt_eq(at(range.from_us)).and(column(col::TIMESTAMP).lt(at(range.to_us)))
}
