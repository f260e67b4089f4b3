//! The URL map, on one page: which handlers there are, and what their callers need. A handler's own path stands at it, with
//! its description, and all of them are at `/docs`.

use axum::{Extension, Router, extract::DefaultBodyLimit, middleware};
use tower_http::{CompressionLevel, catch_panic::CatchPanicLayer, compression::CompressionLayer};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    access::{Needs, admit},
    anomalies, backtest, backup, connections, coverage, docs, drift, error, experiments, forecast, grafana, jaeger,
    keys, kpis, logs, maintenance, metrics,
    openapi::{self, Document},
    queries, reports, slo, sql, status,
};
use crate::access::Permission;

/// Every route.
pub fn routes(app: App) -> Router {
    let behind = |permission, is_statement, mut routes: OpenApiRouter<App>| {
        let needs = Needs { permission, is_statement };
        openapi::guard(routes.get_openapi_mut(), needs);
        routes.route_layer(middleware::from_fn_with_state((app.clone(), needs), admit))
    };
    let open = OpenApiRouter::with_openapi(openapi::outline())
        .routes(routes!(status::healthz))
        .routes(routes!(status::readyz));
    let ingest = OpenApiRouter::default().routes(routes!(logs::ingest));
    let statements = OpenApiRouter::default()
        .routes(routes!(sql::get, sql::post))
        .routes(routes!(queries::run))
        .routes(routes!(kpis::card))
        .routes(routes!(kpis::one))
        .routes(routes!(coverage::of_agents))
        .routes(routes!(drift::verdicts))
        .routes(routes!(anomalies::find))
        .routes(routes!(backtest::replay))
        .routes(routes!(experiments::list))
        .routes(routes!(experiments::one))
        .routes(routes!(forecast::forecast))
        .routes(routes!(slo::objectives))
        .routes(routes!(reports::cost))
        .routes(routes!(grafana::payload_options))
        .routes(routes!(grafana::query::query))
        .routes(routes!(grafana::values::variable))
        .routes(routes!(grafana::values::tag_values))
        .routes(routes!(jaeger::services))
        .routes(routes!(jaeger::operations))
        .routes(routes!(jaeger::operations_of))
        .routes(routes!(jaeger::search))
        .routes(routes!(jaeger::trace));
    let looks = OpenApiRouter::default()
        .routes(routes!(status::index))
        .routes(routes!(metrics::scrape))
        .routes(routes!(queries::list))
        .routes(routes!(grafana::health))
        .routes(routes!(grafana::health_with_slash))
        .routes(routes!(grafana::metrics))
        .routes(routes!(grafana::search))
        .routes(routes!(grafana::values::tag_keys))
        .routes(routes!(status::status))
        .routes(routes!(openapi::document))
        .routes(routes!(openapi::document_below_api))
        .routes(routes!(docs::without_slash))
        .routes(routes!(docs::page))
        .routes(routes!(docs::file));
    let administration = OpenApiRouter::default()
        .routes(routes!(maintenance::plan, maintenance::run))
        .routes(routes!(maintenance::forget))
        .routes(routes!(backup::write))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::revoke));
    let (routes, mut description) = open
        .merge(behind(Permission::Ingest, false, ingest))
        .merge(behind(Permission::Query, true, statements))
        .merge(behind(Permission::Query, false, looks))
        .merge(behind(Permission::Admin, false, administration))
        .split_for_parts();
    openapi::complete(&mut description, app.engine_of_everybody.library());
    routes
        .fallback(error::no_route)
        .method_not_allowed_fallback(error::no_method)
        .layer(Extension(Document::new(&description)))
        // Handlers bound their bodies themselves, with our own message.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn(connections::counted))
        // Readers are near, and a scrape has to be quick.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(middleware::from_fn_with_state(app.clone(), metrics::count))
        .layer(CatchPanicLayer::custom(error::panicked))
        .with_state(app)
}
