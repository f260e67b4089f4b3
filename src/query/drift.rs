//! Has a column changed between two time ranges? One test a group, corrected for the number of
//! groups, with its effect size; too few values are said, not passed.

mod judge;
mod read;

use arrow::datatypes::DataType;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Condition, Engine, error::from_engine};
use crate::{
    drift::{DETECTABLE_MAX, FALSE_DISCOVERY_RATE, VALUES_MIN, Verdict},
    error::{Error, Result},
};

use judge::{judge, judge_binned};

/// A Kolmogorov-Smirnov distance below this is no change that matters, however certain it is.
const KS_EFFECT_MIN: f64 = 0.1;
/// The same for Cramér's V; Cohen's "small" effect.
const CRAMERS_V_MIN: f64 = 0.1;
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
    /// Whether numbers are compared value by value. Else they are compared by their quantile sketches, which rollups
    /// have, and value by value only where these do not tell each verdict.
    pub is_exact: bool,
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
    /// D or X²; the least that it can be where values were compared by their sketches.
    pub statistic: Option<f64>,
    /// As the test gives it for that statistic.
    pub p_value: Option<f64>,
    /// Corrected for the number of groups (Benjamini and Hochberg 1995).
    pub p_value_adjusted: Option<f64>,
    /// D or Cramér's V, 0 to 1; the least that it can be where values were compared by their sketches.
    pub effect_size: Option<f64>,
    /// The largest that it can be: the same where all values were compared.
    pub effect_size_max: Option<f64>,
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
    /// Whether all values were compared, and not their sketches.
    pub is_exact: bool,
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
    /// One a group that has values; the largest effect first.
    pub verdicts: Vec<DriftVerdict>,
}

/// What a column has, by its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    WholeNumbers,
    Numbers,
    Categories,
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
        let holds = self.holds(&request.column).await?;
        let numeric = holds != Holds::Categories;
        if let Some(by) = &request.by
            && self.holds(by).await? != Holds::Categories
        {
            return Err(Error::invalid(format!("by={by}: groups are made of categories, and {by} holds numbers")));
        }
        let effect_size_min = if numeric { KS_EFFECT_MIN } else { CRAMERS_V_MIN };
        let of_sketches = match numeric && !request.is_exact {
            true => judge_binned(&self.binned(&request, holds).await?, effect_size_min),
            false => None,
        };
        let is_exact = of_sketches.is_none();
        let mut verdicts = match of_sketches {
            Some(verdicts) => verdicts,
            None if numeric => judge(self.numbers(&request).await?, effect_size_min),
            None => judge(self.categories(&request).await?, effect_size_min),
        };
        // Of groups that do not carry the column there is nothing to say.
        verdicts.retain(|verdict| verdict.n_reference > 0 || verdict.n_current > 0);
        Ok(DriftAnswer {
            column: request.column,
            test: if numeric { "kolmogorov_smirnov" } else { "chi_squared" },
            is_exact,
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

    async fn holds(&self, column: &str) -> Result<Holds> {
        let table = self
            .context()
            .table_provider("agent_logs")
            .await
            .map_err(|error| from_engine("cannot find agent_logs", error))?;
        let schema = table.schema();
        let field =
            schema.field_with_name(column).map_err(|_| Error::invalid(format!("agent_logs has no column {column}")))?;
        match field.data_type() {
            data_type if data_type.is_integer() => Ok(Holds::WholeNumbers),
            data_type if data_type.is_numeric() => Ok(Holds::Numbers),
            DataType::Utf8 | DataType::Utf8View | DataType::Boolean => Ok(Holds::Categories),
            other => Err(Error::invalid(format!("column {column} of type {other} cannot be compared"))),
        }
    }
}

fn shown(range: Range) -> [String; 2] {
    [range.from_us, range.to_us].map(|us| {
        chrono::DateTime::from_timestamp_micros(us)
            .map_or_else(|| us.to_string(), |time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
    })
}
