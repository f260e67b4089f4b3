//! `GET /api/v1/experiments` and `GET /api/v1/experiments/{id}?format=json|text`.

use axum::{
    Json,
    extract::Path,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{access::CallerEngine, error::Failure, params::Params};
use crate::{error::Error, query::ExperimentRequest};

/// The experiments of a range. The query string is that of the named query.
pub async fn list(
    CallerEngine(engine): CallerEngine,
    Params(parameters): Params<Vec<(String, String)>>,
) -> Result<Json<Value>, Failure> {
    let parameters = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Ok(Json(json!({ "experiments": engine.experiments(parameters).await? })))
}

/// One experiment, its variants compared.
pub async fn one(
    CallerEngine(engine): CallerEngine,
    Path(id): Path<String>,
    Params(parameters): Params<Vec<(String, String)>>,
) -> Result<Response, Failure> {
    let (format, rest): (Vec<_>, Vec<_>) = parameters.into_iter().partition(|(name, _)| name == "format");
    let as_text = match format.last().map_or("json", |(_, value)| value.as_str()) {
        "json" | "" => false,
        "text" => true,
        other => return Err(Error::invalid(format!("format={other} is not one of json, text")).into()),
    };
    let rest = rest.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let answer = engine.experiment(&ExperimentRequest::parse(&id, rest, engine.now_us())?).await?;
    Ok(if as_text {
        ([(CONTENT_TYPE, "text/plain; charset=utf-8")], answer.text()).into_response()
    } else {
        Json(answer).into_response()
    })
}
