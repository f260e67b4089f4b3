//! `GET /metrics`, and the count of requests that it shows.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{
        HeaderMap,
        header::{ACCEPT, CONTENT_TYPE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    App,
    access::{CallerEngine, CallerScope},
};
use crate::{
    config::MetricsConfig,
    metrics::{Family, Format, TOKEN_QUOTA, encode},
};

/// Requests by route and status. Bounded by the routes.
#[derive(Debug, Default)]
pub struct Requests(Mutex<BTreeMap<(String, u16), u64>>);

/// Tokens that tenants may use in 24 hours, as the settings say. Never enforced here.
#[derive(Debug)]
pub struct Quotas(Vec<(String, u64)>);

impl Quotas {
    /// The quotas of the tenants that have one.
    pub fn new(config: &MetricsConfig) -> Self {
        let quotas = config.tenants.iter().map(|(tenant, config)| (tenant.clone(), config.token_daily_quota));
        Self(quotas.collect())
    }

    fn family(&self) -> Family {
        let family = Family::gauge(TOKEN_QUOTA, "Tokens that a tenant may use in 24 hours, by the settings.");
        self.0.iter().fold(family, |family, (tenant, quota)| family.with(&[("tenant_id", tenant)], *quota as f64))
    }
}

/// Counts a request under its route, never under its path.
pub async fn count(State(app): State<App>, path: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let route = path.map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    let mut requests = app.requests.0.lock().unwrap_or_else(PoisonError::into_inner);
    *requests.entry((route, response.status().as_u16())).or_default() += 1;
    response
}

/// All families in the format that the scraper prefers. Never runs SQL: those of SQL files are as they were last
/// asked for.
///
/// OpenMetrics 1.0.0 for those that `Accept` it, text format 0.0.4 for all others. A key that is bound to tenants sees the
/// gauges of SQL files by the tenants' rows, from `metrics.sql_interval_s` after its first scrape on, and of all other
/// families the series that carry one of the tenants.
#[utoipa::path(
    get, path = "/metrics", tag = "prometheus", operation_id = "metrics",
    responses((status = 200, description = "Every family", content(
        (String = "text/plain"), (String = "application/openmetrics-text"),
    ))),
)]
pub async fn scrape(
    State(app): State<App>,
    CallerScope(scope): CallerScope,
    CallerEngine(engine): CallerEngine,
    headers: HeaderMap,
) -> Response {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::negotiate(accept);
    let mut families = app.ingestor.live_families();
    families.extend(own_families(&app));
    if let Some(tenants) = scope.tenants() {
        families = families.into_iter().filter_map(|family| family.of_tenants(|name| tenants.has(name))).collect();
    }
    // They were asked in the caller's scope.
    families.extend(engine.gauges().families().iter().cloned());
    ([(CONTENT_TYPE, format.content_type())], encode(&families, format)).into_response()
}

fn own_families(app: &App) -> Vec<Family> {
    let status = app.ingestor.status();
    let books = status.books;
    let done = app.maintainer.done();
    let gauge = |name, help, value: f64| Family::gauge(name, help).with(&[], value);
    let counter = |name, help, value: f64| Family::counter(name, help).with(&[], value);
    let mut requests = Family::counter("driftline_http_requests_total", "HTTP requests answered.");
    for ((route, status), count) in app.requests.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        requests = requests.with(&[("route", route), ("status", &status.to_string())], *count as f64);
    }
    let mut files = Family::gauge("driftline_table_files", "Files of a table that its Delta log names.");
    let mut bytes = Family::gauge("driftline_table_bytes", "Bytes of a table's files.");
    for (table, count, size) in app.maintainer.sizes() {
        files = files.with(&[("table", table.name())], count as f64);
        bytes = bytes.with(&[("table", table.name())], size as f64);
    }
    let mut denied = Family::counter("driftline_http_denied_total", "Requests that were turned away, by why.");
    for (reason, count) in app.gate.denied() {
        denied = denied.with(&[("reason", reason)], count as f64);
    }
    let clients = app.register.counts();
    let mut connections = Family::counter(
        "driftline_http_connections_closed_total",
        "Connections that were closed on their clients since start, by why.",
    );
    for (reason, count) in clients.closed() {
        connections = connections.with(&[("reason", reason)], count as f64);
    }
    let mut panics =
        Family::counter("driftline_job_panics_total", "Panics of background jobs since start, each a bug.");
    for (job, became) in app.background.all() {
        panics = panics.with(&[("job_name", job)], became.panics as f64);
    }
    vec![
        app.quotas.family(),
        Family::counter("driftline_ingest_records_total", "Records and lines received, by what became of them.")
            .with(&[("outcome", "accepted")], books.accepted as f64)
            .with(&[("outcome", "rejected")], books.rejected as f64)
            .with(&[("outcome", "duplicate")], books.duplicate as f64),
        gauge("driftline_buffered_records", "Acknowledged records that wait for their commit.", status.buffered as f64),
        gauge(
            "driftline_committed_records",
            "Records in the committed table.",
            (status.committed - status.deleted) as f64,
        ),
        counter(
            "driftline_deleted_records_total",
            "Records that were committed and then deleted, at their age or on request.",
            status.deleted as f64,
        ),
        gauge(
            "driftline_buffer_bytes",
            "Memory of the records that wait for their commit.",
            status.buffer_bytes as f64,
        ),
        gauge("driftline_wal_bytes", "Size of the write-ahead log.", status.wal_bytes as f64),
        gauge(
            "driftline_wal_failed",
            "1 when the write-ahead log failed and ingest is refused.",
            f64::from(u8::from(status.wal_failed)),
        ),
        gauge(
            "driftline_flush_failed",
            "1 when the last flush to storage failed.",
            f64::from(u8::from(status.flush_error.is_some())),
        ),
        counter("driftline_flushes_total", "Flushes to storage since start.", status.flushes as f64),
        counter(
            "driftline_receipts_dropped_total",
            "Batches that were forgotten before their time since start, because there were too many to remember.",
            status.receipts_dropped as f64,
        ),
        gauge(
            "driftline_clock_ahead_seconds",
            "How far the clock stepped ahead of the time that passed; nothing is deleted by it until it is believed.",
            status.clock_ahead_us as f64 / 1e6,
        ),
        counter("driftline_maintenance_actions_total", "Steps of maintenance since start.", done.actions as f64),
        counter(
            "driftline_maintenance_rewritten_bytes_total",
            "Bytes of files that maintenance wrote again since start.",
            done.rewritten_bytes as f64,
        ),
        counter(
            "driftline_maintenance_removed_files_total",
            "Files that maintenance removed from the store since start.",
            done.swept_files as f64,
        ),
        gauge(
            "driftline_maintenance_waiting_files",
            "Files that waited to be joined at the last flush; above lifecycle.waiting_files_max, flushes wait.",
            app.maintainer.waiting_files() as f64,
        ),
        gauge(
            "driftline_maintenance_failed",
            "1 when the last pass of maintenance failed.",
            f64::from(u8::from(app.maintainer.failed())),
        ),
        gauge(
            "driftline_gauges_failed",
            "Families of SQL files that failed when they were last asked for, in whole or in part.",
            app.engine_of_everybody.gauges().failed() as f64,
        ),
        files,
        bytes,
        requests,
        denied,
        gauge("driftline_http_connections", "Open connections.", clients.connections as f64),
        gauge(
            "driftline_http_waiting_connections",
            "Open connections without an open request.",
            clients.waiting as f64,
        ),
        gauge("driftline_http_open_requests", "Requests whose answer is not handed over yet.", clients.requests as f64),
        gauge(
            "driftline_http_unread_bytes",
            "Memory of answers that wait for their readers.",
            clients.unread_bytes as f64,
        ),
        connections,
        panics,
        Family::gauge("driftline_build_info", "The running version.")
            .with(&[("version", env!("CARGO_PKG_VERSION"))], 1.0),
    ]
}
