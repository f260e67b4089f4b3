//! `GET /api/v1/anomalies`.

use axum::Json;
use utoipa::IntoParams;

use super::{access::CallerEngine, error::Failure, params::Params};
use crate::query::{AnomalyAnswer, AnomalyRequest};

/// What is looked at.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "described and never made; `query` reads the fields")]
struct AnomalyQuery {
    /// Start of the hours that are judged; at most 92 days before `to`.
    #[param(default = "now-24h")]
    from: Option<String>,
    /// Their end, exclusive; an hour that is not over is not judged.
    #[param(default = "now")]
    to: Option<String>,
    /// Days before the week of an hour that it is judged by.
    #[param(default = 42, minimum = 7, maximum = 182)]
    history_days: Option<i64>,
    /// KPIs, parted by commas, at most 40; `traffic` is the number of calls. Twelve of them where it is absent. Kinds of
    /// sessions and calls may stand among them: `runaway_sessions`, `tool_loops`, `retry_loops`, `stuck_calls`,
    /// `mispriced_calls`, `outlier_calls`.
    #[param(example = "traffic,error_rate")]
    kpi: Option<String>,
    /// What has series of its own.
    #[param(default = "agent", pattern = "^(all|agent|tenant|model)?$")]
    by: Option<String>,
    /// Only this one.
    tenant_id: Option<String>,
    /// Only this one.
    agent_id: Option<String>,
    /// Only this one.
    model: Option<String>,
    /// The least score that is an anomaly, from 0.1 to below 1.
    #[param(default = 0.5)]
    score_min: Option<f64>,
    /// Most anomalies, those with the highest scores.
    #[param(default = 20, minimum = 1, maximum = 100)]
    limit: Option<i64>,
}

/// Hours of KPIs that their own past does not explain, and sessions and calls that the others do not.
///
/// Each hour of each slice's series is judged by the hours before it. At most 500 series.
#[utoipa::path(
    get, path = "/api/v1/anomalies", tag = "analytics", operation_id = "anomalies", params(AnomalyQuery),
    responses(
        (status = 200, description = "The anomalies, the highest score first", body = AnomalyAnswer),
        (status = 400, description = "`invalid`: a field that is not here, or a value that does not fit; the message says why"),
        (status = 404, description = "`not_found`: there is no KPI of that name"),
    ),
)]
pub async fn find(
    CallerEngine(engine): CallerEngine,
    Params(parameters): Params<Vec<(String, String)>>,
) -> Result<Json<AnomalyAnswer>, Failure> {
    let parameters = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let request = AnomalyRequest::parse(parameters, engine.now_us())?;
    Ok(Json(engine.anomalies(&request).await?))
}
