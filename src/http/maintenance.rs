//! `/api/v1/maintenance`: what is due for the tables' files, and a pass on request.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::{App, error::Failure};
use crate::error::Context;

/// What a pass would do now, and what all passes since the start did.
pub async fn plan(State(app): State<App>) -> Json<Value> {
    Json(json!({ "due": app.maintainer.due(), "done": app.maintainer.done() }))
}

/// A pass; the answer comes when it is done.
pub async fn run(State(app): State<App>) -> Result<Json<Value>, Failure> {
    // A client that goes away does not stop a pass in the middle of it.
    let maintainer = app.maintainer;
    let pass = tokio::spawn(async move { maintainer.run().await });
    let done = pass.await.context("a maintenance pass stopped")??;
    Ok(Json(json!({ "done": done })))
}
