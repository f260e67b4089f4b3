//! `/api/v1/backup`: a copy of the data directory on the server's own host.

use std::path::PathBuf;

use axum::{Json, body::Body, extract::State, http::HeaderMap};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{App, asked::asked, error::Failure};
use crate::{backup::Done, error::Context};

/// Where the backup goes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BackupRequest {
    /// A directory of the server's host that does not exist, or is empty.
    #[schema(value_type = String, example = "/var/backups/driftline/2026-05-14")]
    directory: PathBuf,
}

/// Writes a backup; the answer comes when it is done.
///
/// A copy of the data directory on the server's own host, made while it is in use.
#[utoipa::path(
    post, path = "/api/v1/backup", tag = "administration", operation_id = "backup",
    request_body(content = BackupRequest, description = "At most 64 KiB"),
    responses(
        (status = 200, description = "The backup is whole and on disk", body = Done),
        (status = 400, description = "`invalid`: the body is not JSON of this form, or no backup may go to the directory"),
        (status = 413, description = "`too_large`: the body is larger than 64 KiB"),
        (status = 415, description = "`unsupported_media_type`: the content type is not `application/json`"),
        (status = 409, description = "`conflict`: another backup is being written"),
    ),
)]
pub async fn write(State(app): State<App>, headers: HeaderMap, body: Body) -> Result<Json<Done>, Failure> {
    let request: BackupRequest = asked(&app, &headers, body, "{\"directory\"}").await?;
    // A client that goes away does not stop a backup in the middle of it.
    let run = tokio::spawn(async move { app.backup.run(&request.directory).await });
    Ok(Json(run.await.context("a backup stopped")??))
}
