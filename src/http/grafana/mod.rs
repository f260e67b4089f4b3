//! `/grafana`: Grafana's JSON datasource. Reads bodies within their bound, hands them to `grafana`, asks the engine
//! what comes of them, and answers in the plugin's shapes. Decides nothing.

mod query;
mod values;

pub use query::query;
pub use values::{tag_keys, tag_values, variable};

use axum::{Json, body::Body, extract::State};
use serde_json::{Value, json};

use super::{App, access::CallerEngine, error::GrafanaFailure};
use crate::{
    error::{Context, Kind, Result},
    grafana::{self, Options},
    query::Range,
};

/// What the plugin's test looks for: that somebody is there.
pub async fn health() -> Json<Value> {
    Json(json!({ "name": "driftline", "version": env!("CARGO_PKG_VERSION") }))
}

/// Every metric with what it takes.
pub async fn metrics(CallerEngine(engine): CallerEngine) -> Json<Vec<Value>> {
    Json(grafana::metrics(engine.library()))
}

/// The names of all metrics, as versions before 0.5 ask for them.
pub async fn search(CallerEngine(engine): CallerEngine) -> Json<Vec<Value>> {
    let metrics = grafana::metrics(engine.library());
    Json(metrics.into_iter().filter_map(|mut metric| metric.get_mut("value").map(Value::take)).collect())
}

/// What a field of a metric's payload may be set to.
pub async fn payload_options(
    State(app): State<App>,
    CallerEngine(engine): CallerEngine,
    body: Body,
) -> Result<Json<Vec<Value>>, GrafanaFailure> {
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
    Ok(Json(values.into_iter().map(|value| json!({ "label": value, "value": value })).collect()))
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
