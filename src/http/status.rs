//! `/healthz`, `/readyz`, `/api/v1/status`, and what stands at `/`.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};
use serde_json::json;

use super::{App, access::CallerScope};

/// The process is alive.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether ingest is taken. Reads go on even when it is not.
pub async fn readyz(State(app): State<App>) -> Response {
    let status = app.ingestor.status();
    let problem = if status.wal_failed {
        Some("the write-ahead log failed: ingest is refused".to_owned())
    } else if let Some(error) = status.flush_error {
        Some(format!("the last flush failed: {error}"))
    } else {
        app.background
            .broken()
            .map(|(job, said)| format!("the background job {job} panicked and was started again: {said}"))
    };
    match problem {
        Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, problem + "\n").into_response(),
        None => "ready\n".into_response(),
    }
}

/// The books, and how the parts stand.
pub async fn status(State(app): State<App>, CallerScope(scope): CallerScope) -> Json<serde_json::Value> {
    // The books are of all tenants together.
    if scope.tenants().is_some() {
        return Json(json!({ "version": env!("CARGO_PKG_VERSION") }));
    }
    let status = app.ingestor.status();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "books": {
            "received": status.books.received(),
            "accepted": status.books.accepted,
            "rejected": status.books.rejected,
            "duplicate": status.books.duplicate,
            "committed": status.committed,
            "deleted": status.deleted,
            "buffered": status.buffered,
        },
        "last_seq": status.last_seq,
        "buffer_bytes": status.buffer_bytes,
        "wal_bytes": status.wal_bytes,
        "wal_failed": status.wal_failed,
        "flushes": status.flushes,
        "flush_error": status.flush_error,
        "clock_ahead_s": status.clock_ahead_us / 1_000_000,
    }))
}

/// Where to go from here.
pub async fn index() -> Html<&'static str> {
    Html(include_str!("../../templates/index.html"))
}
