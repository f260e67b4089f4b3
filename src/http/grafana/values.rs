//! `POST /grafana/variable`, `/tag-keys` and `/tag-values`: what there is to choose from.

use axum::{Json, body::Body, extract::State};
use serde_json::{Value, json};

use super::{query::rows, read};
use crate::{
    error::{Error, Result},
    grafana::{ValuesRequest, Variable, variable as asked},
    http::{App, access::CallerEngine, error::GrafanaFailure},
    query::{Subject, filterable},
};

/// The columns by which ad-hoc filters may filter.
pub async fn tag_keys() -> Json<Vec<Value>> {
    let key = |(column, is_number): (&str, bool)| json!({ "type": if is_number { "number" } else { "string" }, "text": column });
    Json(filterable().map(key).collect())
}

/// The values of a column among the calls that the other filters let through.
pub async fn tag_values(
    State(app): State<App>,
    CallerEngine(engine): CallerEngine,
    body: Body,
) -> Result<Json<Vec<Value>>, GrafanaFailure> {
    let body = read(&app, body).await?;
    let request = ValuesRequest::of(&body, &app.grafana, engine.now_us())?;
    let key = request.key.as_deref().ok_or_else(|| Error::invalid("key is missing: a column of agent_logs"))?;
    let subject = Subject::of(key)?;
    // What is chosen for the key itself is being changed.
    let others: Vec<_> = request.filters.into_iter().filter(|condition| condition.subject != subject).collect();
    let values = engine.values_of(&subject, request.range, &others, app.grafana.values_max).await?;
    Ok(Json(values.into_iter().map(|value| json!({ "text": value })).collect()))
}

/// The values of a dashboard's variable.
pub async fn variable(
    State(app): State<App>,
    CallerEngine(engine): CallerEngine,
    body: Body,
) -> Result<Json<Vec<Value>>, GrafanaFailure> {
    let body = read(&app, body).await?;
    let request = ValuesRequest::of(&body, &app.grafana, engine.now_us())?;
    let values = match asked(&request, engine.library(), engine.now_us())? {
        Variable::Values(subject, conditions) => {
            engine.values_of(&subject, request.range, &conditions, app.grafana.values_max).await?
        }
        Variable::Rows(question, column) => {
            let (frame, _) = rows(&app, &engine, &question).await?;
            frame.texts(column.as_deref(), app.grafana.values_max)?
        }
    };
    Ok(Json(values.into_iter().map(|value| json!({ "__text": value, "__value": value })).collect()))
}
