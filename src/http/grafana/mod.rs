//! `/grafana`: Grafana's JSON datasource. Reads bodies within their bound, hands them to `grafana`, asks the engine
//! what comes of them, and answers in the plugin's shapes. Decides nothing.

pub mod query;
mod shapes;
pub mod values;

use axum::{Json, body::Body, extract::State};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{App, access::CallerEngine, error::GrafanaFailure};
use crate::{
    error::{Context, Kind, Result},
    grafana::{self, Options},
    query::Range,
};

/// Who is there.
#[derive(Serialize, ToSchema)]
pub struct GrafanaHealth {
    name: &'static str,
    version: &'static str,
}

/// A choice.
#[derive(Serialize, ToSchema)]
pub struct GrafanaChoice {
    label: String,
    value: String,
}

/// What the plugin's test looks for: that somebody is there.
#[utoipa::path(
    get, path = "/grafana", tag = "grafana", operation_id = "grafana_health",
    responses((status = 200, description = "Somebody is", body = GrafanaHealth)),
)]
pub async fn health() -> Json<GrafanaHealth> {
    Json(GrafanaHealth { name: "driftline", version: env!("CARGO_PKG_VERSION") })
}

/// The same with a slash, where the datasource was set up with one.
#[utoipa::path(
    get, path = "/grafana/", tag = "grafana", operation_id = "grafana_health_with_slash",
    responses((status = 200, description = "Somebody is", body = GrafanaHealth)),
)]
pub async fn health_with_slash() -> Json<GrafanaHealth> {
    health().await
}

/// Every metric with what it takes.
///
/// The body is not looked at.
#[utoipa::path(
    post, path = "/grafana/metrics", tag = "grafana", operation_id = "grafana_metrics",
    responses((status = 200, description = "Named queries, KPIs, gauges, and what is asked in other ways", body = Vec<shapes::Metric>)),
)]
pub async fn metrics(CallerEngine(engine): CallerEngine) -> Json<Vec<Value>> {
    Json(grafana::metrics(engine.library()))
}

/// The names of all metrics, as versions before 0.5 ask for them.
///
/// The body is not looked at.
#[utoipa::path(
    post, path = "/grafana/search", tag = "grafana", operation_id = "grafana_search",
    responses((status = 200, description = "The names", body = Vec<String>)),
)]
pub async fn search(CallerEngine(engine): CallerEngine) -> Json<Vec<Value>> {
    let metrics = grafana::metrics(engine.library());
    Json(metrics.into_iter().filter_map(|mut metric| metric.get_mut("value").map(Value::take)).collect())
}

/// What a field of a metric's payload may be set to.
#[utoipa::path(
    post, path = "/grafana/metric-payload-options", tag = "grafana", operation_id = "grafana_payload_options",
    request_body(content = shapes::PayloadOptions, description = "JSON whatever the content type says"),
    responses(
        (status = 200, description = "The values, at most `grafana.values_max` (1,000), the most frequent ones", body = Vec<GrafanaChoice>),
        (status = 400, description = "`invalid`: the body is not JSON"),
        (status = 404, description = "`not_found`: there is no such metric"),
        (status = 413, description = "`too_large`: the body is larger than 1 MiB (`grafana.body_bytes_max`)"),
    ),
)]
pub async fn payload_options(
    State(app): State<App>,
    CallerEngine(engine): CallerEngine,
    body: Body,
) -> Result<Json<Vec<GrafanaChoice>>, GrafanaFailure> {
    let body = read(&app, body).await?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let options = grafana::options_of(engine.library(), &text("metric"), &text("name"))?;
    let values = match options {
        Options::Listed(values) => values,
        Options::Values(subject) => {
            let to_us = engine.now_us();
            let range_us = i64::from(app.grafana.values_days) * 86_400_000_000;
            let range = Range { from_us: to_us.saturating_sub(range_us), to_us };
            engine.values_of(&subject, range, &[], app.grafana.values_max).await?
        }
    };
    Ok(Json(values.into_iter().map(|value| GrafanaChoice { label: value.clone(), value }).collect()))
}

/// A body as JSON; an empty one is nothing.
async fn read(app: &App, body: Body) -> Result<Value> {
    let most = app.grafana.body_bytes_max;
    let read = app.small_bodies.read(body, most, "that is grafana.body_bytes_max").await?;
    if read.bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&read.bytes).kind_context(Kind::Invalid, || "the body is not JSON".into())
}
