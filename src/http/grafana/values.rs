//! `POST /grafana/variable`, `/tag-keys` and `/tag-values`: what there is to choose from.

use axum::{Json, body::Body, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{query::rows, read, shapes};
use crate::{
    error::{Error, Result},
    grafana::{ValuesRequest, Variable, variable as asked},
    http::{App, access::CallerEngine, error::GrafanaFailure},
    query::{Subject, filterable},
};

/// A key that filters may have.
#[derive(Serialize, ToSchema)]
pub struct GrafanaTagKey {
    /// The column.
    text: &'static str,
    /// `number` or `string`.
    r#type: &'static str,
}

/// A value that a filter may have.
#[derive(Serialize, ToSchema)]
pub struct GrafanaTagValue {
    text: String,
}

/// A value that a variable may have.
#[derive(Serialize, ToSchema)]
pub struct GrafanaVariableValue {
    #[serde(rename = "__text")]
    text: String,
    #[serde(rename = "__value")]
    value: String,
}

/// The columns by which ad-hoc filters may filter.
///
/// The body is not looked at.
#[utoipa::path(
    post, path = "/grafana/tag-keys", tag = "grafana", operation_id = "grafana_tag_keys",
    responses((status = 200, description = "Every column", body = Vec<GrafanaTagKey>)),
)]
pub async fn tag_keys() -> Json<Vec<GrafanaTagKey>> {
    let key = |(text, is_number)| GrafanaTagKey { text, r#type: if is_number { "number" } else { "string" } };
    Json(filterable().map(key).collect())
}

/// The values of a column among the calls that the other filters let through.
#[utoipa::path(
    post, path = "/grafana/tag-values", tag = "grafana", operation_id = "grafana_tag_values",
    request_body(content = shapes::TagValues, description = "JSON whatever the content type says"),
    responses(
        (status = 200, description = "At most `grafana.values_max` (1,000), the most frequent ones", body = Vec<GrafanaTagValue>),
        (status = 400, description = "`invalid`: the body is not JSON, has no key, or a key, a filter or a range that is none"),
        (status = 413, description = "`too_large`: the body is larger than 1 MiB (`grafana.body_bytes_max`)"),
    ),
)]
pub async fn tag_values(
    State(app): State<App>,
    CallerEngine(engine): CallerEngine,
    body: Body,
) -> Result<Json<Vec<GrafanaTagValue>>, GrafanaFailure> {
    let body = read(&app, body).await?;
    let request = ValuesRequest::of(&body, &app.grafana, engine.now_us())?;
    let key = request.key.as_deref().ok_or_else(|| Error::invalid("key is missing: a column of agent_logs"))?;
    let subject = Subject::of(key)?;
    // What is chosen for the key itself is being changed.
    let others: Vec<_> = request.filters.into_iter().filter(|condition| condition.subject != subject).collect();
    let values = engine.values_of(&subject, request.range, &others, app.grafana.values_max).await?;
    Ok(Json(values.into_iter().map(|text| GrafanaTagValue { text }).collect()))
}

/// The values of a dashboard's variable.
#[utoipa::path(
    post, path = "/grafana/variable", tag = "grafana", operation_id = "grafana_variable",
    request_body(content = shapes::Variable, description = "JSON whatever the content type says"),
    responses(
        (status = 200, description = "At most `grafana.values_max` (1,000)", body = Vec<GrafanaVariableValue>),
        (status = 400, description = "`invalid`: the body is not JSON, or asks for no column and no query that there is"),
        (status = 404, description = "`not_found`: there is no such query"),
        (status = 413, description = "`too_large`: the body is larger than 1 MiB (`grafana.body_bytes_max`)"),
    ),
)]
pub async fn variable(
    State(app): State<App>,
    CallerEngine(engine): CallerEngine,
    body: Body,
) -> Result<Json<Vec<GrafanaVariableValue>>, GrafanaFailure> {
    let body = read(&app, body).await?;
    let request = ValuesRequest::of(&body, &app.grafana, engine.now_us())?;
    let values = match asked(&request, engine.library(), engine.now_us())? {
        Variable::Values(subject, conditions) => {
            engine.values_of(&subject, request.range, &conditions, app.grafana.values_max).await?
        }
        Variable::Rows(question, column) => {
            let (frame, _) = rows(&app, &engine, &question, &[]).await?;
            frame.texts(column.as_deref(), app.grafana.values_max)?
        }
    };
    Ok(Json(values.into_iter().map(|value| GrafanaVariableValue { text: value.clone(), value }).collect()))
}
