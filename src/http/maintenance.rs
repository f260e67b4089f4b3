//! `/api/v1/maintenance`: what is due for the tables' files, and a pass on request. `/api/v1/forget`:
//! somebody's records go.

use axum::{Json, body::Body, extract::State, http::HeaderMap};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{App, asked::asked, error::Failure};
use crate::{
    error::{Context, Error},
    maintain::Subject,
};

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

/// Whose records are to go.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Forget {
    user_id: Option<String>,
    tenant_id: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

impl Forget {
    fn subject(self) -> Result<Subject, Error> {
        match (self.user_id, self.tenant_id) {
            (Some(user), None) => Ok(Subject::UserId(user)),
            (None, Some(tenant)) => Ok(Subject::TenantId(tenant)),
            _ => Err(Error::invalid("name one of user_id and tenant_id")),
        }
    }
}

/// Deletes one user's or one tenant's records; the answer comes when no query sees them any more.
pub async fn forget(State(app): State<App>, headers: HeaderMap, body: Body) -> Result<Json<Value>, Failure> {
    let form = "{\"user_id\"} or {\"tenant_id\"}, with \"dry_run\" if you like";
    let asked: Forget = asked(&app, &headers, body, form).await?;
    let dry_run = asked.dry_run;
    let subject = asked.subject()?;
    let work = tokio::spawn(async move {
        app.ingestor.drain().await?;
        app.maintainer.forget(&subject, dry_run).await
    });
    let forgotten = work.await.context("the deletion stopped")??;
    Ok(Json(json!({ "forgotten": forgotten, "dry_run": dry_run })))
}
