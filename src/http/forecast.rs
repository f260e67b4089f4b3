//! `GET /api/v1/forecast?metric=cost|input_tokens|output_tokens&days=30|60|90&backtest=true&format=json|text`.

use axum::response::Response;
use utoipa::IntoParams;

use super::{
    access::CallerEngine,
    error::Failure,
    params::Params,
    shape::{Parameters, Shape},
};
use crate::{
    forecast::{Answer, Metric},
    query::ForecastRequest,
};

/// What is forecast.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "described and never made; `query` reads the fields")]
struct ForecastQuery {
    /// What of the calls; `cost` where it is absent.
    #[param(inline)]
    metric: Option<Metric>,
    /// How many days: 30, 60 or 90.
    #[param(default = "30", pattern = "^(30|60|90)?$")]
    days: Option<String>,
    /// Only this one.
    tenant_id: Option<String>,
    /// Only this one.
    agent_id: Option<String>,
    /// Only this one.
    model: Option<String>,
    /// Also what would have been said on earlier days, and what came.
    #[param(default = false)]
    backtest: Option<bool>,
    /// The format of the answer.
    #[param(default = "json", pattern = "^(json|text)?$")]
    format: Option<String>,
}

/// What the days to come will bring, and the month's end against its budget.
///
/// A history that is too short is answered as `insufficient`, with how many days are there and how many are needed.
#[utoipa::path(
    get, path = "/api/v1/forecast", tag = "analytics", operation_id = "forecast", params(ForecastQuery),
    responses(
        (status = 200, description = "The forecast", content((Answer = "application/json"), (String = "text/plain"))),
        (status = 400, description = "`invalid`: a field that is not here, or a value that does not fit"),
    ),
)]
pub async fn forecast(
    CallerEngine(engine): CallerEngine,
    Params(parameters): Params<Parameters>,
) -> Result<Response, Failure> {
    let (shape, rest) = Shape::of(parameters)?;
    let request = ForecastRequest::parse(rest.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
    Ok(shape.answer(&engine.forecast(&request).await?, Answer::text))
}
