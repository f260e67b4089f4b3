//! `/api/v1/backup`: a copy of the data directory on the server's own host.

use std::path::PathBuf;

use axum::{
    Json,
    body::{Body, to_bytes},
    extract::State,
    http::{HeaderMap, header::CONTENT_TYPE},
};
use serde::Deserialize;

use super::{App, error::Failure};
use crate::{
    backup::Done,
    error::{Context, Error, Kind},
};

/// Most bytes of a request.
const BODY_BYTES_MAX: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackupRequest {
    directory: PathBuf,
}

/// Writes a backup; the answer comes when it is done.
pub async fn write(State(app): State<App>, headers: HeaderMap, body: Body) -> Result<Json<Done>, Failure> {
    // No page of a browser can send this type without asking first.
    if headers.get(CONTENT_TYPE).is_none_or(|found| !found.as_bytes().starts_with(b"application/json")) {
        return Err(Error::new(Kind::UnsupportedMedia, "send {\"directory\"} as application/json").into());
    }
    let body = to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|_| Error::new(Kind::TooLarge, format!("the body is limited to {BODY_BYTES_MAX} bytes")))?;
    let request: BackupRequest =
        serde_json::from_slice(&body).kind_context(Kind::Invalid, || "the body is not {\"directory\"}".into())?;
    // A client that goes away does not stop a backup in the middle of it.
    let run = tokio::spawn(async move { app.backup.run(&request.directory).await });
    Ok(Json(run.await.context("a backup stopped")??))
}
