//! `GET /api/v1/coverage?from=…&to=…`.

use axum::Json;
use serde::Deserialize;

use super::{access::CallerEngine, error::Failure, params::Params};
use crate::{
    error::{Error, Result},
    kpi::Coverage,
    named::parse_time,
    query::Range,
};

/// The query string.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoverageQuery {
    from: Option<String>,
    to: Option<String>,
}

/// Which fields each agent's calls carry, and what is blind for it; the last 7 days unless others are named.
pub async fn of_agents(
    CallerEngine(engine): CallerEngine,
    Params(query): Params<CoverageQuery>,
) -> Result<Json<Coverage>, Failure> {
    let now_us = engine.now_us();
    let time = |name: &str, text: Option<&str>, default: &str| {
        parse_time(text.filter(|text| !text.is_empty()).unwrap_or(default), now_us)
            .map_err(|reason| Error::invalid(format!("{name}: {reason}")))
    };
    let range = Range {
        from_us: time("from", query.from.as_deref(), "now-7d")?,
        to_us: time("to", query.to.as_deref(), "now")?,
    };
    Ok(Json(engine.coverage(range).await?))
}
