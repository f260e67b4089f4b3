//! `GET /api/v1/drift`: all columns that are watched. With `column=…&reference=FROM/TO&current=FROM/TO&by=…`, one
//! column of two ranges.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{access::CallerEngine, error::Failure, params::Params};
use crate::{
    drift::{Answer, Verdict},
    error::{Error, Result},
    named::parse_time,
    query::{DriftAnswer, DriftRequest, Engine, MonitorRequest, Range},
};

/// The query string.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DriftQuery {
    /// A column of `agent_logs`, compared between two ranges: numbers by Kolmogorov-Smirnov, texts and flags by
    /// chi-squared. All columns that are watched are judged where it is absent.
    #[param(nullable = false, example = "latency_ms")]
    column: Option<String>,
    /// Of a comparison: the range that counts as normal, `FROM/TO`; `now-8d/now-1d` where it is absent.
    #[param(nullable = false)]
    reference: Option<String>,
    /// Of a comparison: the range in question, `FROM/TO`; `now-1d/now` where it is absent.
    #[param(nullable = false)]
    current: Option<String>,
    /// Of a comparison: a column of texts; each of its values is compared on its own, at most 1,000. Else which slices
    /// are judged, with commas: `all`, `agent_id`, `model`, `tenant_id`; all four where it is absent.
    #[param(nullable = false, example = "agent_id")]
    by: Option<String>,
    /// Of a comparison of numbers: `false` for one by their quantile sketches, which rollups have. Statistics are then
    /// bounds, and all values are compared only where these do not tell each verdict.
    #[param(nullable = false, default = "true")]
    exact: Option<String>,
    /// Of all columns: end of the newest window, taken down to the hour.
    #[param(nullable = false, default = "now")]
    to: Option<String>,
    /// Of all columns: length of a window, hours: a part of a week, or up to 13 whole weeks.
    #[param(nullable = false, default = "24")]
    window_hours: Option<String>,
    /// Of all columns: earlier windows of the same hours of the week that each is compared with, 2 to 26.
    #[param(nullable = false, default = "4")]
    references: Option<String>,
    /// Of all columns: `drifting` for those alone.
    #[param(nullable = false, default = "all")]
    verdict: Option<String>,
}

/// All verdicts, or those of a comparison.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum DriftVerdicts {
    /// Of all columns that are watched.
    Monitor(Box<Answer>),
    /// Of one column between two ranges.
    Comparison(Box<DriftAnswer>),
}

/// Judges all columns that are watched, or compares one between two ranges.
#[utoipa::path(
    get, path = "/api/v1/drift", tag = "analytics", operation_id = "drift", params(DriftQuery),
    responses(
        (status = 200, description = "A verdict for each column and slice; for each group of a comparison", body = DriftVerdicts),
        (status = 400, description = "`invalid`: a column that is not there or cannot be compared, a range that is none, or windows that have no same hours in other weeks"),
    ),
)]
pub async fn verdicts(
    CallerEngine(engine): CallerEngine,
    Params(query): Params<DriftQuery>,
) -> Result<Json<DriftVerdicts>, Failure> {
    let is_comparison = query.column.is_some() || query.reference.is_some() || query.current.is_some();
    let verdicts = if is_comparison {
        DriftVerdicts::Comparison(Box::new(compare(&engine, query).await?))
    } else {
        DriftVerdicts::Monitor(Box::new(monitor(&engine, query).await?))
    };
    Ok(Json(verdicts))
}

async fn monitor(engine: &Engine, query: DriftQuery) -> Result<Answer> {
    if query.exact.is_some() {
        return Err(Error::invalid(
            "exact is for a comparison of one column, which has column, reference, current, by",
        ));
    }
    let given = [
        ("by", &query.by),
        ("to", &query.to),
        ("window_hours", &query.window_hours),
        ("references", &query.references),
    ];
    let given = given.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
    let request = MonitorRequest::parse(given, engine.now_us())?;
    let is_all = match query.verdict.as_deref().unwrap_or("all") {
        "all" | "" => true,
        "drifting" => false,
        other => return Err(Error::invalid(format!("verdict={other} is not one of all, drifting"))),
    };
    let mut answer = engine.monitor(&request).await?;
    answer.verdicts.retain(|line| is_all || line.verdict == Verdict::Drifting);
    Ok(answer)
}

async fn compare(engine: &Engine, query: DriftQuery) -> Result<DriftAnswer> {
    let now_us = engine.now_us();
    let of_all = [
        ("to", &query.to),
        ("window_hours", &query.window_hours),
        ("references", &query.references),
        ("verdict", &query.verdict),
    ];
    if let Some((name, _)) = of_all.iter().find(|(_, value)| value.is_some()) {
        let message = "is for the verdicts on all columns; two ranges have column, reference, current, by, exact";
        return Err(Error::invalid(format!("{name} {message}")));
    }
    let request = DriftRequest {
        column: query.column.ok_or_else(|| Error::invalid("column is missing: a column of agent_logs"))?,
        reference: range("reference", query.reference.as_deref().unwrap_or("now-8d/now-1d"), now_us)?,
        current: range("current", query.current.as_deref().unwrap_or("now-1d/now"), now_us)?,
        by: query.by,
        is_exact: match query.exact.as_deref().unwrap_or("true") {
            "true" | "" => true,
            "false" => false,
            other => return Err(Error::invalid(format!("exact={other} is not one of true, false"))),
        },
        conditions: Vec::new(),
    };
    engine.drift(request).await
}

fn range(name: &str, text: &str, now_us: i64) -> Result<Range> {
    let (from, to) = text.split_once('/').ok_or_else(|| {
        Error::invalid(format!(
            "{name}={text} is no range: write FROM/TO, for instance now-8d/now-1d or 2026-05-01/2026-05-08"
        ))
    })?;
    let time = |text| parse_time(text, now_us).map_err(|reason| Error::invalid(format!("{name}: {reason}")));
    Ok(Range { from_us: time(from)?, to_us: time(to)? })
}
