//! `GET /api/v1/drift?column=…&reference=FROM/TO&current=FROM/TO&by=…`.

use axum::Json;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{access::CallerEngine, error::Failure, params::Params};
use crate::{
    error::{Error, Result},
    named::parse_time,
    query::{DriftAnswer, DriftRequest, Range},
};

/// The query string.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DriftQuery {
    /// A column of `agent_logs`: numbers are compared by Kolmogorov-Smirnov, texts and flags by chi-squared.
    #[param(required = true, nullable = false, example = "latency_ms")]
    column: Option<String>,
    /// The range that counts as normal, `FROM/TO`.
    #[param(nullable = false, default = "now-8d/now-1d")]
    reference: Option<String>,
    /// The range in question, `FROM/TO`.
    #[param(nullable = false, default = "now-1d/now")]
    current: Option<String>,
    /// A column of texts; each of its values is compared on its own, at most 1,000.
    #[param(nullable = false, example = "agent_id")]
    by: Option<String>,
}

/// Compares a column between two ranges.
#[utoipa::path(
    get, path = "/api/v1/drift", tag = "analytics", operation_id = "drift", params(DriftQuery),
    responses(
        (status = 200, description = "A verdict for each group", body = DriftAnswer),
        (status = 400, description = "`invalid`: no column, a column that is not there or cannot be compared, or a range that is none"),
    ),
)]
pub async fn compare(
    CallerEngine(engine): CallerEngine,
    Params(query): Params<DriftQuery>,
) -> Result<Json<DriftAnswer>, Failure> {
    let now_us = engine.now_us();
    let request = DriftRequest {
        column: query.column.ok_or_else(|| Error::invalid("column is missing: a column of agent_logs"))?,
        reference: range("reference", query.reference.as_deref().unwrap_or("now-8d/now-1d"), now_us)?,
        current: range("current", query.current.as_deref().unwrap_or("now-1d/now"), now_us)?,
        by: query.by,
    };
    Ok(Json(engine.drift(request).await?))
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
