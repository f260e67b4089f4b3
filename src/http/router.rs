//! The URL map, on one page.

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use tower_http::{CompressionLevel, catch_panic::CatchPanicLayer, compression::CompressionLayer};

use super::{
    App, backup, coverage, drift, error, grafana, jaeger, kpis, logs, maintenance, metrics, queries, reports, sql,
    status,
};

/// Every route.
pub fn routes(app: App) -> Router {
    Router::new()
        .route("/", get(status::index))
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .route("/metrics", get(metrics::scrape))
        .route("/api/v1/logs", post(logs::ingest))
        .route("/api/v1/sql", get(sql::get).post(sql::post))
        .route("/api/v1/queries", get(queries::list))
        .route("/api/v1/queries/{name}", get(queries::run))
        .route("/api/v1/kpis", get(kpis::card))
        .route("/api/v1/kpis/{name}", get(kpis::one))
        .route("/api/v1/coverage", get(coverage::of_agents))
        .route("/api/v1/drift", get(drift::compare))
        .route("/api/v1/reports/cost", get(reports::cost))
        .route("/api/v1/maintenance", get(maintenance::plan).post(maintenance::run))
        .route("/api/v1/forget", post(maintenance::forget))
        .route("/api/v1/backup", post(backup::write))
        .route("/api/v1/status", get(status::status))
        .route("/grafana", get(grafana::health))
        .route("/grafana/", get(grafana::health))
        .route("/grafana/metrics", post(grafana::metrics))
        .route("/grafana/metric-payload-options", post(grafana::payload_options))
        .route("/grafana/search", post(grafana::search))
        .route("/grafana/query", post(grafana::query))
        .route("/grafana/variable", post(grafana::variable))
        .route("/grafana/tag-keys", post(grafana::tag_keys))
        .route("/grafana/tag-values", post(grafana::tag_values))
        .route("/jaeger/api/services", get(jaeger::services))
        .route("/jaeger/api/services/{service}/operations", get(jaeger::operations))
        .route("/jaeger/api/operations", get(jaeger::operations_of))
        .route("/jaeger/api/traces", get(jaeger::search))
        .route("/jaeger/api/traces/{id}", get(jaeger::trace))
        .fallback(error::no_route)
        .method_not_allowed_fallback(error::no_method)
        // Handlers bound their bodies themselves, with our own message.
        .layer(DefaultBodyLimit::disable())
        // Readers are near, and a scrape has to be quick.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(middleware::from_fn_with_state(app.clone(), metrics::count))
        .layer(CatchPanicLayer::custom(error::panicked))
        .with_state(app)
}
