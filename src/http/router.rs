//! The URL map, on one page.

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{delete, get, post},
};
use tower_http::{CompressionLevel, catch_panic::CatchPanicLayer, compression::CompressionLayer};

use super::{
    App,
    access::{Needs, admit},
    backup, connections, coverage, drift, error, experiments, grafana, jaeger, keys, kpis, logs, maintenance, metrics,
    queries, reports, sql, status,
};
use crate::access::Permission;

/// Every route.
pub fn routes(app: App) -> Router {
    let behind = |permission, is_statement, routes: Router<App>| {
        let needs = Needs { permission, is_statement };
        routes.route_layer(middleware::from_fn_with_state((app.clone(), needs), admit))
    };
    let open = Router::new().route("/healthz", get(status::healthz)).route("/readyz", get(status::readyz));
    let ingest = Router::new().route("/api/v1/logs", post(logs::ingest));
    let statements = Router::new()
        .route("/api/v1/sql", get(sql::get).post(sql::post))
        .route("/api/v1/queries/{name}", get(queries::run))
        .route("/api/v1/kpis", get(kpis::card))
        .route("/api/v1/kpis/{name}", get(kpis::one))
        .route("/api/v1/coverage", get(coverage::of_agents))
        .route("/api/v1/drift", get(drift::compare))
        .route("/api/v1/experiments", get(experiments::list))
        .route("/api/v1/experiments/{id}", get(experiments::one))
        .route("/api/v1/reports/cost", get(reports::cost))
        .route("/grafana/metric-payload-options", post(grafana::payload_options))
        .route("/grafana/query", post(grafana::query))
        .route("/grafana/variable", post(grafana::variable))
        .route("/grafana/tag-values", post(grafana::tag_values))
        .route("/jaeger/api/services", get(jaeger::services))
        .route("/jaeger/api/services/{service}/operations", get(jaeger::operations))
        .route("/jaeger/api/operations", get(jaeger::operations_of))
        .route("/jaeger/api/traces", get(jaeger::search))
        .route("/jaeger/api/traces/{id}", get(jaeger::trace));
    let looks = Router::new()
        .route("/", get(status::index))
        .route("/metrics", get(metrics::scrape))
        .route("/api/v1/queries", get(queries::list))
        .route("/grafana", get(grafana::health))
        .route("/grafana/", get(grafana::health))
        .route("/grafana/metrics", post(grafana::metrics))
        .route("/grafana/search", post(grafana::search))
        .route("/grafana/tag-keys", post(grafana::tag_keys))
        .route("/api/v1/status", get(status::status));
    let administration = Router::new()
        .route("/api/v1/maintenance", get(maintenance::plan).post(maintenance::run))
        .route("/api/v1/forget", post(maintenance::forget))
        .route("/api/v1/backup", post(backup::write))
        .route("/api/v1/keys", get(keys::list).post(keys::create))
        .route("/api/v1/keys/{id}", delete(keys::revoke));
    open.merge(behind(Permission::Ingest, false, ingest))
        .merge(behind(Permission::Query, true, statements))
        .merge(behind(Permission::Query, false, looks))
        .merge(behind(Permission::Admin, false, administration))
        .fallback(error::no_route)
        .method_not_allowed_fallback(error::no_method)
        // Handlers bound their bodies themselves, with our own message.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn(connections::counted))
        // Readers are near, and a scrape has to be quick.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(middleware::from_fn_with_state(app.clone(), metrics::count))
        .layer(CatchPanicLayer::custom(error::panicked))
        .with_state(app)
}
