//! `GET /api/v1/slo?format=json|text`.

use axum::response::Response;
use utoipa::IntoParams;

use super::{
    access::CallerEngine,
    error::Failure,
    params::Params,
    shape::{Parameters, Shape},
};
use crate::{error::Error, slo::Answers};

/// How the answer is written.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "described and never made; `shape` reads the field")]
struct SloQuery {
    /// The format of the answer.
    #[param(default = "json", pattern = "^(json|text)?$")]
    format: Option<String>,
}

/// The objectives of the settings as they stand.
///
/// What is left of what may go wrong, how fast it is used, and when it is used up. A key that is bound to tenants sees
/// the objectives of its own.
#[utoipa::path(
    get, path = "/api/v1/slo", tag = "analytics", operation_id = "objectives", params(SloQuery),
    responses(
        (status = 200, description = "Each objective", content((Answers = "application/json"), (String = "text/plain"))),
        (status = 400, description = "`invalid`: a field that is not here, or a format that is none"),
    ),
)]
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
