//! Has a column changed between two time ranges? One test a group, corrected for the number of
//! groups, with its effect size; too few values are said, not passed.

use arrow::datatypes::DataType;
use datafusion::{
    common::{Column, ScalarValue},
    logical_expr::{Expr, LogicalPlanBuilder, lit},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Condition, Engine, error::from_engine};
use crate::{
    drift::{DETECTABLE_MAX, FALSE_DISCOVERY_RATE, POWER, VALUES_MIN, Verdict},
    error::{Error, Result},
    stats::{
        Outcome, TwoSampleTest, benjamini_hochberg, cramers_v_detectable, homogeneity_test, ks_detectable, pool_rare,
    },
};

/// A Kolmogorov-Smirnov distance below this is no change that matters, however certain it is.
const KS_EFFECT_MIN: f64 = 0.1;
/// The same for Cramér's V; Cohen's "small" effect.
const CRAMERS_V_MIN: f64 = 0.1;
/// Expected counts below this make the chi-squared approximation poor (Cochran 1954).
const EXPECTED_MIN: f64 = 5.0;
/// New and lost categories that a verdict names, of each the most frequent.
const CATEGORIES_NAMED_MAX: usize = 10;
/// Groups that one request may have.
const GROUPS_MAX: usize = 1_000;

/// A half-open range of time, µs since the epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Inclusive.
    pub from_us: i64,
    /// Exclusive.
    pub to_us: i64,
}

/// What to compare.
#[derive(Debug, Clone)]
pub struct DriftRequest {
    /// A column of `agent_logs`: numbers are compared by Kolmogorov-Smirnov, categories by chi-squared.
    pub column: String,
    /// The range that counts as normal.
    pub reference: Range,
    /// The range in question.
    pub current: Range,
    /// A category column; each of its values is compared on its own.
    pub by: Option<String>,
    /// What the calls of both ranges have to fulfil.
    pub conditions: Vec<Condition>,
}

/// One group's verdict.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DriftVerdict {
    /// The value of the `by` column; null without one, or for rows that have none.
    pub group: Option<String>,
    /// What is said.
    pub verdict: Verdict,
    /// D or X².
    pub statistic: Option<f64>,
    /// As the test gives it.
    pub p_value: Option<f64>,
    /// Corrected for the number of groups (Benjamini and Hochberg 1995).
    pub p_value_adjusted: Option<f64>,
    /// D or Cramér's V, 0 to 1.
    pub effect_size: Option<f64>,
    /// The least effect size that this comparison would have found in four cases of five; null where none would have
    /// been found, and for what was not tested.
    pub detectable: Option<f64>,
    /// Values in the reference range.
    pub n_reference: u64,
    /// Values in the current range.
    pub n_current: u64,
    /// Categories of the current range only, the most frequent first, at most 10: those that as many rows of the
    /// reference range would have brought at least 5 times if nothing differed. Always empty for numbers.
    pub new_categories: Vec<String>,
    /// The same of the reference range only.
    pub lost_categories: Vec<String>,
}

/// The answer to a drift request: the verdicts and everything needed to judge them.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DriftAnswer {
    /// The column.
    pub column: String,
    /// `kolmogorov_smirnov` or `chi_squared`.
    pub test: &'static str,
    /// The baseline's range, RFC 3339.
    pub reference: [String; 2],
    /// The range in question, RFC 3339.
    pub current: [String; 2],
    /// The column that makes the groups.
    pub by: Option<String>,
    /// Groups that were tested, and so corrected for.
    pub tests: usize,
    /// The largest share of false alarms among alarms.
    pub false_discovery_rate: f64,
    /// Effects below this are no drift.
    pub effect_size_min: f64,
    /// Fewer values than this on a side are insufficient.
    pub values_min: u64,
    /// Groups whose `detectable` is larger are insufficient, unless they drift: not finding anything says little there.
    pub detectable_max: f64,
    /// One a group; the largest effect first.
    pub verdicts: Vec<DriftVerdict>,
}

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
    category: Option<String>,
    reference: u64,
    current: u64,
}

/// A category, and how often it stands in the reference and in the current range.
type CategoryCount = (String, (u64, u64));

/// What was found of a group, before it is judged.
struct Found {
    group: Option<String>,
    outcome: Outcome,
    /// Categories that are told apart; none of numbers.
    categories: Option<usize>,
    new_categories: Vec<String>,
    lost_categories: Vec<String>,
}

impl Found {
    fn of_numbers(group: Option<String>, outcome: Outcome) -> Self {
        Self { group, outcome, categories: None, new_categories: Vec::new(), lost_categories: Vec::new() }
    }

    fn of_categories(group: Option<String>, categories: Vec<CategoryCount>) -> Self {
        let counts: Vec<(u64, u64)> = categories.iter().map(|(_, counts)| *counts).collect();
        let (n_reference, n_current) = counts.iter().fold((0, 0), |(reference, current), count| {
            (u64::saturating_add(reference, count.0), u64::saturating_add(current, count.1))
        });
        let named = |only: &dyn Fn((u64, u64)) -> u64, n_absent: u64| {
            // That a category is missing says something only where it was to be expected.
            let expected = |count: u64| count as f64 * n_absent as f64 / (n_reference as f64 + n_current as f64);
            let mut found: Vec<(u64, &str)> = categories
                .iter()
                .map(|(name, counts)| (only(*counts), name.as_str()))
                .filter(|(count, _)| expected(*count) >= EXPECTED_MIN)
                .collect();
            found.sort_unstable_by(|left, right| right.0.cmp(&left.0).then(left.1.cmp(right.1)));
            found.into_iter().take(CATEGORIES_NAMED_MAX).map(|(_, name)| name.to_owned()).collect()
        };
        Self {
            outcome: homogeneity_test(&counts, EXPECTED_MIN),
            categories: Some(pool_rare(&counts, EXPECTED_MIN).len()),
            new_categories: named(&|(reference, current)| if reference == 0 { current } else { 0 }, n_reference),
            lost_categories: named(&|(reference, current)| if current == 0 { reference } else { 0 }, n_current),
            group,
        }
    }

    /// The least effect size that would have given a p-value of at most `p_max` with a probability of [`POWER`].
    fn detectable(&self, n_reference: u64, n_current: u64, p_max: f64) -> Option<f64> {
        let least = match self.categories {
            None => ks_detectable(n_reference, n_current, p_max, POWER),
            Some(categories) => cramers_v_detectable(categories, n_reference, n_current, p_max, POWER),
        };
        Some(least).filter(|least| *least <= 1.0)
    }
}

impl Engine {
    /// Compares a column between two ranges.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Invalid`] for a column that is not there or cannot be compared, for ranges
    /// that are empty or overlap, and for too many groups.
    pub async fn drift(&self, request: DriftRequest) -> Result<DriftAnswer> {
        let (reference, current) = (request.reference, request.current);
        if reference.from_us >= reference.to_us || current.from_us >= current.to_us {
            return Err(Error::invalid("a range must end after it starts"));
        }
        if reference.from_us < current.to_us && current.from_us < reference.to_us {
            return Err(Error::invalid(
                "reference and current overlap: a baseline that contains what it judges hides the change",
            ));
        }
        let numeric = self.is_numeric(&request.column).await?;
        if let Some(by) = &request.by
            && self.is_numeric(by).await?
        {
            return Err(Error::invalid(format!("by={by}: groups are made of categories, and {by} holds numbers")));
        }
        let found = if numeric { self.numbers(&request).await? } else { self.categories(&request).await? };
        if found.len() > GROUPS_MAX {
            return Err(Error::invalid(format!("by makes more than {GROUPS_MAX} groups")));
        }
        let effect_size_min = if numeric { KS_EFFECT_MIN } else { CRAMERS_V_MIN };
        let verdicts = judge(found, effect_size_min);
        Ok(DriftAnswer {
            column: request.column,
            test: if numeric { "kolmogorov_smirnov" } else { "chi_squared" },
            reference: shown(reference),
            current: shown(current),
            by: request.by,
            tests: verdicts.iter().filter(|verdict| verdict.p_value_adjusted.is_some()).count(),
            false_discovery_rate: FALSE_DISCOVERY_RATE,
            effect_size_min,
            values_min: VALUES_MIN,
            detectable_max: DETECTABLE_MAX,
            verdicts,
        })
    }

    async fn is_numeric(&self, column: &str) -> Result<bool> {
        let table = self
            .context()
            .table_provider("agent_logs")
            .await
            .map_err(|error| from_engine("cannot find agent_logs", error))?;
        let schema = table.schema();
        let field =
            schema.field_with_name(column).map_err(|_| Error::invalid(format!("agent_logs has no column {column}")))?;
        match field.data_type() {
            data_type if data_type.is_numeric() => Ok(true),
            DataType::Utf8 | DataType::Utf8View | DataType::Boolean => Ok(false),
            other => Err(Error::invalid(format!("column {column} of type {other} cannot be compared"))),
        }
    }

    async fn numbers(&self, request: &DriftRequest) -> Result<Vec<Found>> {
        let ks_test = self.aggregate("ks_test")?;
        let test = ks_test.call(vec![column(&request.column), in_range(request.current)]).alias("test");
        let rows: Vec<NumberRow> = self.grouped(request, vec![], vec![test]).await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let TestRow { statistic, p_value, effect_size, n_reference, n_current } = row.test;
                let outcome = match (statistic, p_value, effect_size) {
                    (Some(statistic), Some(p_value), Some(effect_size)) => {
                        Outcome::Tested(TwoSampleTest { statistic, p_value, effect_size, n_reference, n_current })
                    }
                    _ => Outcome::Insufficient { n_reference, n_current },
                };
                Found::of_numbers(row.group, outcome)
            })
            .collect())
    }

    /// Counts come one row a category, so that rare ones can be pooled before the test.
    async fn categories(&self, request: &DriftRequest) -> Result<Vec<Found>> {
        let count = self.aggregate("count")?;
        let on_side = |range| {
            let present = in_range(range).and(column(&request.column).is_not_null());
            datafusion::logical_expr::when(present, lit(1_i64)).end()
        };
        let side = |range, name: &str| -> Result<Expr> {
            let counted = on_side(range).map_err(|error| from_engine("cannot count categories", error))?;
            Ok(count.call(vec![counted]).alias(name))
        };
        let aggregates = vec![side(request.reference, "reference")?, side(request.current, "current")?];
        let category = datafusion::logical_expr::cast(column(&request.column), DataType::Utf8).alias("category");
        let rows: Vec<CategoryRow> = self.grouped(request, vec![category], aggregates).await?;
        let mut groups: Vec<(Option<String>, Vec<CategoryCount>)> = Vec::new();
        for row in rows {
            let counted = row.category.map(|category| (category, (row.reference, row.current)));
            match groups.last_mut() {
                Some((group, categories)) if *group == row.group => categories.extend(counted),
                _ => groups.push((row.group, counted.into_iter().collect())),
            }
        }
        Ok(groups.into_iter().map(|(group, categories)| Found::of_categories(group, categories)).collect())
    }

    /// Rows of both ranges, grouped by the `by` column and `more`, sorted by the group.
    async fn grouped<T: serde::de::DeserializeOwned>(
        &self,
        request: &DriftRequest,
        more: Vec<Expr>,
        aggregates: Vec<Expr>,
    ) -> Result<Vec<T>> {
        let group = match &request.by {
            Some(by) => datafusion::logical_expr::cast(column(by), DataType::Utf8),
            None => lit(ScalarValue::Utf8(None)),
        }
        .alias("group_value");
        let plan = async {
            let plan = self.context().table("agent_logs").await?.into_unoptimized_plan();
            let mut keys = vec![group];
            keys.extend(more);
            LogicalPlanBuilder::from(plan)
                .filter(in_range(request.reference).or(in_range(request.current)))?
                .aggregate(keys, aggregates)?
                .sort([column("group_value").sort(true, true)])?
                .build()
        };
        let plan = plan.await.map_err(|error| from_engine("cannot plan the comparison", error))?;
        let (plan, _) = self.narrowed(plan, &request.conditions).await?;
        self.run_plan(plan).await?.collect_as().await
    }

    fn aggregate(&self, name: &str) -> Result<std::sync::Arc<datafusion::logical_expr::AggregateUDF>> {
        datafusion::execution::FunctionRegistry::udaf(self.context(), name)
            .map_err(|error| from_engine("an aggregate is missing", error))
    }
}

/// Verdicts, corrected over all groups that had enough values.
fn judge(found: Vec<Found>, effect_size_min: f64) -> Vec<DriftVerdict> {
    let enough = |test: &TwoSampleTest| test.n_reference.min(test.n_current) >= VALUES_MIN;
    let p_values: Vec<f64> = found
        .iter()
        .filter_map(|found| match &found.outcome {
            Outcome::Tested(test) if enough(test) => Some(test.p_value),
            _ => None,
        })
        .collect();
    let adjusted = benjamini_hochberg(&p_values);
    let sure = adjusted.iter().filter(|p| **p <= FALSE_DISCOVERY_RATE).count();
    // What a p-value had to be at most, beside the others as they are.
    let p_max =
        |is_sure: bool| FALSE_DISCOVERY_RATE * (sure + usize::from(!is_sure)) as f64 / p_values.len().max(1) as f64;
    let mut adjusted = adjusted.into_iter();
    let mut verdicts: Vec<DriftVerdict> = found
        .into_iter()
        .map(|found| {
            let (test, n_reference, n_current) = match found.outcome {
                Outcome::Tested(test) => (Some(test), test.n_reference, test.n_current),
                Outcome::Insufficient { n_reference, n_current } => (None, n_reference, n_current),
            };
            let p_value_adjusted = test.filter(enough).and_then(|_| adjusted.next());
            let effect_size = test.map(|test| test.effect_size);
            let is_sure = p_value_adjusted.is_some_and(|p| p <= FALSE_DISCOVERY_RATE);
            let detectable = p_value_adjusted.and_then(|_| found.detectable(n_reference, n_current, p_max(is_sure)));
            DriftVerdict {
                verdict: if is_sure && effect_size.is_some_and(|size| size >= effect_size_min) {
                    Verdict::Drifting
                } else if detectable.is_some_and(|least| least <= DETECTABLE_MAX) {
                    Verdict::Stable
                } else {
                    Verdict::Insufficient
                },
                detectable,
                group: found.group,
                statistic: test.map(|test| test.statistic),
                p_value: test.map(|test| test.p_value),
                p_value_adjusted,
                effect_size,
                n_reference,
                n_current,
                new_categories: found.new_categories,
                lost_categories: found.lost_categories,
            }
        })
        .collect();
    verdicts.sort_by(|a, b| b.effect_size.unwrap_or(-1.0).total_cmp(&a.effect_size.unwrap_or(-1.0)));
    verdicts
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

fn in_range(range: Range) -> Expr {
    let at = |us| lit(ScalarValue::TimestampMicrosecond(Some(us), None));
    column("timestamp").gt_eq(at(range.from_us)).and(column("timestamp").lt(at(range.to_us)))
}

fn shown(range: Range) -> [String; 2] {
    [range.from_us, range.to_us].map(|us| {
        chrono::DateTime::from_timestamp_micros(us)
            .map_or_else(|| us.to_string(), |time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
    })
}
