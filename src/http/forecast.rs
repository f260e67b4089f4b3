//! `GET /api/v1/forecast?metric=cost|input_tokens|output_tokens&days=30|60|90&backtest=true&format=json|text`.

use axum::response::Response;

use super::{
    access::CallerEngine,
    error::Failure,
    params::Params,
    shape::{Parameters, Shape},
};
use crate::{forecast::Answer, query::ForecastRequest};

/// What the days to come will bring, and the month's end against its budget.
pub async fn forecast(
    CallerEngine(engine): CallerEngine,
    Params(parameters): Params<Parameters>,
) -> Result<Response, Failure> {
    let (shape, rest) = Shape::of(parameters)?;
    let request = ForecastRequest::parse(rest.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
    Ok(shape.answer(&engine.forecast(&request).await?, Answer::text))
}
