//! `GET /api/v1/experiments` and `GET /api/v1/experiments/{id}?format=json|text`.

use axum::{Json, response::Response};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    access::CallerEngine,
    error::Failure,
    params::{Named, Params},
    shape::{Parameters, Shape},
};
use crate::{
    experiment::{Answer, Unit},
    query::{ExperimentLine, ExperimentRequest},
};

/// The experiments that there are.
#[derive(Serialize, ToSchema)]
pub struct ExperimentsAnswer {
    experiments: Vec<ExperimentLine>,
}

/// What the list is limited to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "described and never made; the named query reads the fields")]
struct ExperimentsQuery {
    /// Start of the range.
    #[param(default = "now-90d")]
    from: Option<String>,
    /// Its end, exclusive.
    #[param(default = "now")]
    to: Option<String>,
    /// Only this one.
    tenant_id: Option<String>,
    /// Only this one.
    agent_id: Option<String>,
}

/// How an experiment is compared.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "described and never made; `query` reads the fields")]
struct ExperimentQuery {
    /// What was randomised; found out where it is absent.
    #[param(inline)]
    unit: Option<Unit>,
    /// The variant that the others are compared with; the one called `control`, `baseline`, `default`, `off`, `a` or `0`
    /// where it is absent.
    control: Option<String>,
    /// The shares as they were meant, as `control=9,treatment=1`; equal where it is absent.
    split: Option<String>,
    /// Days before the experiment that its users are known from; 0 for none.
    #[param(default = 28, minimum = 0, maximum = 366)]
    before_days: Option<i64>,
    /// Units of both variants for which intervals are narrowest.
    #[param(default = 2000, minimum = 100, maximum = 1000000000)]
    planned_units: Option<f64>,
    /// The format of the answer.
    #[param(default = "json", pattern = "^(json|text)?$")]
    format: Option<String>,
}

/// The experiments of a range.
///
/// At most 1,000 variants.
#[utoipa::path(
    get, path = "/api/v1/experiments", tag = "analytics", operation_id = "experiments", params(ExperimentsQuery),
    responses(
        (status = 200, description = "Each experiment with a call in the range", body = ExperimentsAnswer),
        (status = 400, description = "`invalid`: a field that is not here, or a time that is none"),
    ),
)]
pub async fn list(
    CallerEngine(engine): CallerEngine,
    Params(parameters): Params<Vec<(String, String)>>,
) -> Result<Json<ExperimentsAnswer>, Failure> {
    let parameters = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Ok(Json(ExperimentsAnswer { experiments: engine.experiments(parameters).await? }))
}

/// One experiment, its variants compared.
///
/// Intervals hold at all looks together. At most 20 variants.
#[utoipa::path(
    get, path = "/api/v1/experiments/{id}", tag = "analytics", operation_id = "experiment",
    params(("id" = String, Path, description = "The experiment", example = "exp-brief-summary-12"), ExperimentsQuery, ExperimentQuery),
    responses(
        (status = 200, description = "The comparisons", content((Answer = "application/json"), (String = "text/plain"))),
        (status = 400, description = "`invalid`: a field that is not here, a value that does not fit, or an experiment that cannot be compared; the message says why"),
        (status = 404, description = "`not_found`: the experiment has no call in the range"),
    ),
)]
pub async fn one(
    CallerEngine(engine): CallerEngine,
    Named(id): Named,
    Params(parameters): Params<Parameters>,
) -> Result<Response, Failure> {
    let (shape, rest) = Shape::of(parameters)?;
    let rest = rest.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let answer = engine.experiment(&ExperimentRequest::parse(&id, rest, engine.now_us())?).await?;
    Ok(shape.answer(&answer, Answer::text))
}
