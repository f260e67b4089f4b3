//! `/healthz`, `/readyz`, `/api/v1/status`, and what stands at `/`.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{App, access::CallerScope};

/// The process is alive.
///
/// Open to everybody.
#[utoipa::path(
    get, path = "/healthz", tag = "operation", operation_id = "healthz",
    responses((status = 200, description = "`ok`", body = String, content_type = "text/plain")),
)]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether ingest is taken. Reads go on even when it is not.
///
/// Open to everybody: so it says what is wrong, and not the paths and addresses that an error names.
#[utoipa::path(
    get, path = "/readyz", tag = "operation", operation_id = "readyz",
    responses(
        (status = 200, description = "`ready`", body = String, content_type = "text/plain"),
        (status = 503, description = "What is wrong, as text", body = String, content_type = "text/plain"),
    ),
)]
pub async fn readyz(State(app): State<App>) -> Response {
    let status = app.ingestor.status();
    let problem = if status.wal_failed {
        Some("the write-ahead log failed: ingest is refused".to_owned())
    } else if status.flush_error.is_some() {
        Some("the last flush failed: flush_error of /api/v1/status says why, and the server's log".to_owned())
    } else {
        let broken = app.background.broken();
        broken.map(|job| format!("the background job {job} panicked and was started again: the server's log says why"))
    };
    match problem {
        Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, problem + "\n").into_response(),
        None => "ready\n".into_response(),
    }
}

/// What is told of a server.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum StatusAnswer {
    /// To a key of all tenants.
    Whole(Box<Status>),
    /// To one that is bound to tenants.
    Bound(Version),
}

/// How the parts of a server stand.
#[derive(Serialize, ToSchema)]
pub struct Status {
    books: Books,
    /// Memory of the records that wait for their commit, bytes.
    buffer_bytes: u64,
    /// How far the clock stepped ahead of the time that passed, seconds.
    clock_ahead_s: i64,
    /// Why the last flush failed; null where it did not.
    flush_error: Option<String>,
    /// Since the start.
    flushes: u64,
    /// The last batch that was acknowledged.
    last_seq: u64,
    version: &'static str,
    /// Size of the write-ahead log.
    wal_bytes: u64,
    /// The write-ahead log failed, and ingest is refused.
    wal_failed: bool,
}

/// What became of all records and lines: received = accepted + rejected + duplicate.
#[derive(Serialize, ToSchema)]
pub struct Books {
    accepted: u64,
    /// Accepted, and waiting for their commit.
    buffered: u64,
    /// Ever committed, the deleted ones included.
    committed: u64,
    deleted: u64,
    duplicate: u64,
    received: u64,
    rejected: u64,
}

/// The version alone.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Version {
    version: &'static str,
}

/// The books, and how the parts stand.
///
/// The books are of all tenants together: a key that is bound to tenants is told the version only.
#[utoipa::path(
    get, path = "/api/v1/status", tag = "operation", operation_id = "status",
    responses((status = 200, description = "How the server is", body = StatusAnswer)),
)]
pub async fn status(State(app): State<App>, CallerScope(scope): CallerScope) -> Json<StatusAnswer> {
    let version = env!("CARGO_PKG_VERSION");
    // The books are of all tenants together.
    if scope.tenants().is_some() {
        return Json(StatusAnswer::Bound(Version { version }));
    }
    let status = app.ingestor.status();
    let books = Books {
        accepted: status.books.accepted,
        buffered: status.buffered,
        committed: status.committed,
        deleted: status.deleted,
        duplicate: status.books.duplicate,
        received: status.books.received(),
        rejected: status.books.rejected,
    };
    Json(StatusAnswer::Whole(Box::new(Status {
        books,
        buffer_bytes: status.buffer_bytes,
        clock_ahead_s: status.clock_ahead_us / 1_000_000,
        flush_error: status.flush_error,
        flushes: status.flushes,
        last_seq: status.last_seq,
        version,
        wal_bytes: status.wal_bytes,
        wal_failed: status.wal_failed,
    })))
}

/// Where to go from here.
#[utoipa::path(
    get, path = "/", tag = "operation", operation_id = "index",
    responses((status = 200, description = "A page of links", body = String, content_type = "text/html")),
)]
pub async fn index() -> Html<&'static str> {
    Html(include_str!("../../templates/index.html"))
}
