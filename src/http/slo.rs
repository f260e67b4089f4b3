//! `GET /api/v1/slo?format=json|text`.

use axum::response::Response;

use super::{
    access::CallerEngine,
    error::Failure,
    params::Params,
    shape::{Parameters, Shape},
};
use crate::{error::Error, slo::Answers};

/// The objectives of the settings as they stand.
pub async fn objectives(
    CallerEngine(engine): CallerEngine,
    Params(parameters): Params<Parameters>,
) -> Result<Response, Failure> {
    let (shape, rest) = Shape::of(parameters)?;
    if let Some((name, _)) = rest.first() {
        return Err(Error::invalid(format!("{name} is no parameter of the objectives; there is format")).into());
    }
    Ok(shape.answer(&engine.objectives().await?, Answers::text))
}
