//! `/api/v1/backup`: a copy of the data directory on the server's own host.

use std::path::PathBuf;

use axum::{Json, body::Body, extract::State, http::HeaderMap};
use serde::Deserialize;

use super::{App, asked::asked, error::Failure};
use crate::{backup::Done, error::Context};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackupRequest {
    directory: PathBuf,
}

/// Writes a backup; the answer comes when it is done.
pub async fn write(State(app): State<App>, headers: HeaderMap, body: Body) -> Result<Json<Done>, Failure> {
    let request: BackupRequest = asked(&app, &headers, body, "{\"directory\"}").await?;
    // A client that goes away does not stop a backup in the middle of it.
    let run = tokio::spawn(async move { app.backup.run(&request.directory).await });
    Ok(Json(run.await.context("a backup stopped")??))
}
