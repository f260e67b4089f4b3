//! `/api/v1/maintenance`: what is due for the tables' files, and a pass on request. `/api/v1/forget`:
//! somebody's records go.

use axum::{Json, body::Body, extract::State, http::HeaderMap};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{App, asked::asked, error::Failure};
use crate::{
    error::{Context, Error},
    maintain::{Done, Due, Forgotten, Subject},
};

/// What is due, and what was done.
#[derive(Serialize, ToSchema)]
pub struct Plan {
    /// By all passes since the start.
    done: Done,
    /// What a pass would do now.
    due: Vec<Due>,
}

/// What a pass did.
#[derive(Serialize, ToSchema)]
pub struct Pass {
    done: Done,
}

/// What a pass would do now, and what all passes since the start did.
#[utoipa::path(
    get, path = "/api/v1/maintenance", tag = "administration", operation_id = "maintenance_plan",
    responses((status = 200, description = "The plan", body = Plan)),
)]
pub async fn plan(State(app): State<App>) -> Json<Plan> {
    Json(Plan { done: app.maintainer.done(), due: app.maintainer.due() })
}

/// Runs a pass of maintenance; the answer comes when it is done.
#[utoipa::path(
    post, path = "/api/v1/maintenance", tag = "administration", operation_id = "maintenance_run",
    responses((status = 200, description = "What it did", body = Pass)),
)]
pub async fn run(State(app): State<App>) -> Result<Json<Pass>, Failure> {
    // A client that goes away does not stop a pass in the middle of it.
    let maintainer = app.maintainer;
    let pass = tokio::spawn(async move { maintainer.run().await });
    let done = pass.await.context("a maintenance pass stopped")??;
    Ok(Json(Pass { done }))
}

/// Whose records are to go: one of `user_id` and `tenant_id`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ForgetRequest {
    user_id: Option<String>,
    tenant_id: Option<String>,
    /// Counts only.
    #[serde(default)]
    dry_run: bool,
}

/// What went, or would go.
#[derive(Serialize, ToSchema)]
pub struct Forgot {
    /// Nothing went: it was counted.
    dry_run: bool,
    forgotten: Forgotten,
}

impl ForgetRequest {
    fn subject(self) -> Result<Subject, Error> {
        match (self.user_id, self.tenant_id) {
            (Some(user), None) => Ok(Subject::UserId(user)),
            (None, Some(tenant)) => Ok(Subject::TenantId(tenant)),
            _ => Err(Error::invalid("name one of user_id and tenant_id")),
        }
    }
}

/// Deletes one user's or one tenant's records; the answer comes when no query sees them any more.
#[utoipa::path(
    post, path = "/api/v1/forget", tag = "administration", operation_id = "forget",
    request_body(content = ForgetRequest, description = "At most 64 KiB"),
    responses(
        (status = 200, description = "They are gone, or counted", body = Forgot),
        (status = 400, description = "`invalid`: the body is not JSON of this form, or names not exactly one of `user_id` and `tenant_id`"),
        (status = 413, description = "`too_large`: the body is larger than 64 KiB"),
        (status = 415, description = "`unsupported_media_type`: the content type is not `application/json`"),
        (status = 503, description = "`busy`: the records that wait could not be committed now, or too many requests are open or bodies being read"),
    ),
)]
pub async fn forget(State(app): State<App>, headers: HeaderMap, body: Body) -> Result<Json<Forgot>, Failure> {
    let form = "{\"user_id\"} or {\"tenant_id\"}, with \"dry_run\" if you like";
    let asked: ForgetRequest = asked(&app, &headers, body, form).await?;
    let dry_run = asked.dry_run;
    let subject = asked.subject()?;
    let work = tokio::spawn(async move { app.forgetter.forget(&subject, dry_run).await });
    let forgotten = work.await.context("the deletion stopped")??;
    Ok(Json(Forgot { dry_run, forgotten }))
}
