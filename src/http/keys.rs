//! `/api/v1/keys`: the keys of the server, for administrators. A secret leaves once, in the answer that makes it.

use axum::{Json, body::Body, extract::State, http::HeaderMap};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{App, asked::asked, error::Failure, params::Named};
use crate::{
    access::{KeyRecord, NewKey, expiry_us},
    error::Error,
};

/// The key that is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct KeyRequest {
    /// What lists call it.
    #[schema(example = "acme-agents")]
    name: String,
    /// Some of `ingest`, `query` and `admin`, with commas between them.
    #[schema(example = "ingest,query", pattern = "^ *(ingest|query|admin)( *, *(ingest|query|admin))* *$")]
    scopes: String,
    /// Whose rows it sees and writes; everybody's where it is empty.
    #[serde(default)]
    tenants: Vec<String>,
    /// Days from now; it never ends where this is absent.
    #[schema(maximum = 36500)]
    expires_in_days: Option<u32>,
}

/// A key that was made.
#[derive(Serialize, ToSchema)]
pub struct KeyMade {
    /// Its public id.
    id: String,
    /// The key, which is shown this once.
    key: String,
}

/// A key as lists show it.
#[derive(Serialize, ToSchema)]
pub struct KeyShown {
    /// Its public id.
    id: String,
    name: String,
    /// With commas between them.
    scopes: String,
    /// Whose rows it sees and writes; everybody's where it is empty.
    tenants: Vec<String>,
    /// `valid`, `expired` or `revoked`.
    state: &'static str,
    /// µs since 1970, as all times here.
    created_at_us: i64,
    expires_at_us: Option<i64>,
    used_at_us: Option<i64>,
    revoked_at_us: Option<i64>,
}

/// A key that ended.
#[derive(Serialize, ToSchema)]
pub struct KeyRevoked {
    /// Its public id.
    revoked: String,
}

impl KeyShown {
    fn new(record: KeyRecord, now_us: i64) -> Self {
        let state = record.ended(now_us).unwrap_or("valid");
        let KeyRecord { id, key, created_at_us, used_at_us, revoked_at_us, .. } = record;
        let tenants = key.scope.tenants().into_iter().flat_map(|tenants| tenants.names()).map(str::to_owned).collect();
        let (name, scopes, expires_at_us) = (key.name, key.permissions.to_string(), key.expires_at_us);
        Self { id, name, scopes, tenants, state, created_at_us, expires_at_us, used_at_us, revoked_at_us }
    }
}

/// All keys.
///
/// Those that ended are among them. Secrets are not: they are kept nowhere.
#[utoipa::path(
    get, path = "/api/v1/keys", tag = "administration", operation_id = "keys",
    responses((status = 200, description = "Every key, revoked and expired ones included", body = Vec<KeyShown>)),
)]
pub async fn list(State(app): State<App>) -> Result<Json<Vec<KeyShown>>, Failure> {
    let now_us = app.gate.now_us();
    Ok(Json(app.gate.list().await?.into_iter().map(|record| KeyShown::new(record, now_us)).collect()))
}

/// Makes a key.
///
/// It counts from the next request on. With the first one, every request needs a key.
#[utoipa::path(
    post, path = "/api/v1/keys", tag = "administration", operation_id = "key_create",
    request_body(content = KeyRequest, description = "At most 64 KiB"),
    responses(
        (status = 200, description = "The key, which is shown this once", body = KeyMade),
        (status = 400, description = "`invalid`: the body is not JSON of this form; a name that is empty or too long; a scope that is none; tenants with the scope `admin`"),
        (status = 413, description = "`too_large`: the body is larger than 64 KiB"),
        (status = 415, description = "`unsupported_media_type`: the content type is not `application/json`"),
    ),
)]
pub async fn create(State(app): State<App>, headers: HeaderMap, body: Body) -> Result<Json<KeyMade>, Failure> {
    let form = "{\"name\", \"scopes\"}, with \"tenants\" and \"expires_in_days\" if you like";
    let KeyRequest { name, scopes, tenants, expires_in_days } = asked(&app, &headers, body, form).await?;
    let expires_at_us = expires_in_days.map(|days| expiry_us(app.gate.now_us(), days)).transpose();
    let expires_at_us = expires_at_us.map_err(Error::invalid)?;
    let key = NewKey::new(&name, &scopes, tenants, expires_at_us).map_err(Error::invalid)?;
    let token = app.gate.create(&key).await?;
    Ok(Json(KeyMade { id: token.id().to_owned(), key: token.reveal() }))
}

/// Ends a key.
///
/// It counts from the next request on.
#[utoipa::path(
    delete, path = "/api/v1/keys/{id}", tag = "administration", operation_id = "key_revoke",
    params(("id" = String, Path, description = "The public id of the key", example = "4f1d0c2b9a877e31")),
    responses(
        (status = 200, description = "It is revoked", body = KeyRevoked),
        (status = 400, description = "`invalid`: the id is not UTF-8"),
        (status = 404, description = "`not_found`: there is no such key"),
    ),
)]
pub async fn revoke(State(app): State<App>, Named(id): Named) -> Result<Json<KeyRevoked>, Failure> {
    app.gate.revoke(&id).await?;
    Ok(Json(KeyRevoked { revoked: id }))
}
