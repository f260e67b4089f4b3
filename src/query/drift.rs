//! Has a column changed between two time ranges? One test a group, corrected for the number of
//! groups, with its effect size; too few values are said, not passed.

use arrow::datatypes::DataType;
use datafusion::{
    common::{Column, ScalarValue},
    logical_expr::{Expr, LogicalPlanBuilder, lit},
};
use serde::{Deserialize, Serialize};

use super::{Engine, error::from_engine};
use crate::{
    error::{Error, Result},
    stats::{Outcome, TwoSampleTest, benjamini_hochberg, chi2_test, pool_rare},
};

/// Fewer values than this on a side say nothing about a distribution's shape.
const VALUES_MIN: u64 = 30;
/// The false discovery rate that verdicts keep to.
const FALSE_DISCOVERY_RATE: f64 = 0.01;
/// A Kolmogorov-Smirnov distance below this is no change that matters, however certain it is.
const KS_EFFECT_MIN: f64 = 0.1;
/// The same for Cramér's V; Cohen's "small" effect.
const CRAMERS_V_MIN: f64 = 0.1;
/// Expected counts below this make the chi-squared approximation poor (Cochran 1954).
const EXPECTED_MIN: f64 = 5.0;
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
}

/// What is said of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The distribution changed, surely enough and by enough to matter.
    Drift,
    /// No change that is both sure and large.
    Stable,
    /// Too few values on a side.
    Insufficient,
}

/// One group's verdict.
#[derive(Debug, Clone, Serialize)]
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
    /// Values in the reference range.
    pub n_reference: u64,
    /// Values in the current range.
    pub n_current: u64,
}

/// The answer to a drift request: the verdicts and everything needed to judge them.
#[derive(Debug, Clone, Serialize)]
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
    reference: u64,
    current: u64,
}

/// A group and how often each of its categories stands in the reference and in the current range.
type GroupCounts = (Option<String>, Vec<(u64, u64)>);

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
        let outcomes = if numeric { self.numbers(&request).await? } else { self.categories(&request).await? };
        if outcomes.len() > GROUPS_MAX {
            return Err(Error::invalid(format!("by makes more than {GROUPS_MAX} groups")));
        }
        let effect_size_min = if numeric { KS_EFFECT_MIN } else { CRAMERS_V_MIN };
        let verdicts = judge(outcomes, effect_size_min);
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

    async fn numbers(&self, request: &DriftRequest) -> Result<Vec<(Option<String>, Outcome)>> {
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
                (row.group, outcome)
            })
            .collect())
    }

    /// Counts come one row a category, so that rare ones can be pooled before the test.
    async fn categories(&self, request: &DriftRequest) -> Result<Vec<(Option<String>, Outcome)>> {
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
        let rows: Vec<CategoryRow> = self.grouped(request, vec![column(&request.column)], aggregates).await?;
        let mut groups: Vec<GroupCounts> = Vec::new();
        for row in rows {
            match groups.last_mut() {
                Some((group, counts)) if *group == row.group => counts.push((row.reference, row.current)),
                _ => groups.push((row.group, vec![(row.reference, row.current)])),
            }
        }
        Ok(groups.into_iter().map(|(group, counts)| (group, chi2_test(&pool_rare(&counts, EXPECTED_MIN)))).collect())
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
        self.run_plan(plan).await?.collect_as().await
    }

    fn aggregate(&self, name: &str) -> Result<std::sync::Arc<datafusion::logical_expr::AggregateUDF>> {
        datafusion::execution::FunctionRegistry::udaf(self.context(), name)
            .map_err(|error| from_engine("an aggregate is missing", error))
    }
}

/// Verdicts, corrected over all groups that had enough values.
fn judge(outcomes: Vec<(Option<String>, Outcome)>, effect_size_min: f64) -> Vec<DriftVerdict> {
    let enough = |test: &TwoSampleTest| test.n_reference.min(test.n_current) >= VALUES_MIN;
    let p_values: Vec<f64> = outcomes
        .iter()
        .filter_map(|(_, outcome)| match outcome {
            Outcome::Tested(test) if enough(test) => Some(test.p_value),
            _ => None,
        })
        .collect();
    let mut adjusted = benjamini_hochberg(&p_values).into_iter();
    let mut verdicts: Vec<DriftVerdict> = outcomes
        .into_iter()
        .map(|(group, outcome)| match outcome {
            Outcome::Tested(test) => {
                let p_value_adjusted = if enough(&test) { adjusted.next() } else { None };
                let verdict = match p_value_adjusted {
                    None => Verdict::Insufficient,
                    Some(p) if p <= FALSE_DISCOVERY_RATE && test.effect_size >= effect_size_min => Verdict::Drift,
                    Some(_) => Verdict::Stable,
                };
                DriftVerdict {
                    group,
                    verdict,
                    statistic: Some(test.statistic),
                    p_value: Some(test.p_value),
                    p_value_adjusted,
                    effect_size: Some(test.effect_size),
                    n_reference: test.n_reference,
                    n_current: test.n_current,
                }
            }
            Outcome::Insufficient { n_reference, n_current } => DriftVerdict {
                group,
                verdict: Verdict::Insufficient,
                statistic: None,
                p_value: None,
                p_value_adjusted: None,
                effect_size: None,
                n_reference,
                n_current,
            },
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
