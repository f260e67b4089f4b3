//! `GET /api/v1/coverage?from=…&to=…`.

use axum::Json;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{access::CallerEngine, error::Failure, params::Params};
use crate::{
    error::{Error, Result},
    kpi::Coverage,
    named::parse_time,
    query::Range,
};

/// The query string.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CoverageQuery {
    /// Start of the range.
    #[param(nullable = false, default = "now-7d")]
    from: Option<String>,
    /// Its end, exclusive.
    #[param(nullable = false, default = "now")]
    to: Option<String>,
}

/// Which fields each agent's calls carry, and what is blind for it.
#[utoipa::path(
    get, path = "/api/v1/coverage", tag = "analytics", operation_id = "coverage", params(CoverageQuery),
    responses(
        (status = 200, description = "Each agent with a call in the range", body = Coverage),
        (status = 400, description = "`invalid`: a field that is not here, or a time that is none"),
    ),
)]
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
