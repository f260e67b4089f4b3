//! `GET /api/v1/drift?column=…&reference=FROM/TO&current=FROM/TO&by=…`.

use axum::Json;
use serde::Deserialize;

use super::{access::CallerEngine, error::Failure, params::Params};
use crate::{
    error::{Error, Result},
    named::parse_time,
    query::{DriftAnswer, DriftRequest, Range},
};

/// The query string.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftQuery {
    column: Option<String>,
    reference: Option<String>,
    current: Option<String>,
    by: Option<String>,
}

/// Compares a column between two ranges.
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
