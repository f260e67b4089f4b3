//! `/api/v1/keys`: the keys of the server, for administrators. A secret leaves once, in the answer that makes it.

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
};
use serde::{Deserialize, Serialize};

use super::{App, asked::asked, error::Failure};
use crate::{
    access::{KeyRecord, NewKey},
    error::Error,
};

/// The key that is wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRequest {
    name: String,
    scopes: String,
    #[serde(default)]
    tenants: Vec<String>,
    expires_in_days: Option<u32>,
}

/// A key that was made.
#[derive(Serialize)]
pub struct KeyMade {
    id: String,
    key: String,
}

/// A key as lists show it.
#[derive(Serialize)]
pub struct KeyShown {
    id: String,
    name: String,
    scopes: String,
    tenants: Vec<String>,
    state: &'static str,
    created_at_us: i64,
    expires_at_us: Option<i64>,
    used_at_us: Option<i64>,
    revoked_at_us: Option<i64>,
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
pub async fn list(State(app): State<App>) -> Result<Json<Vec<KeyShown>>, Failure> {
    let now_us = app.gate.now_us();
    Ok(Json(app.gate.list().await?.into_iter().map(|record| KeyShown::new(record, now_us)).collect()))
}

/// Makes one.
pub async fn create(State(app): State<App>, headers: HeaderMap, body: Body) -> Result<Json<KeyMade>, Failure> {
    let form = "{\"name\", \"scopes\"}, with \"tenants\" and \"expires_in_days\" if you like";
    let KeyRequest { name, scopes, tenants, expires_in_days } = asked(&app, &headers, body, form).await?;
    let expires_at_us = expires_in_days.map(|days| app.gate.now_us() + i64::from(days) * DAY_US);
    let key = NewKey::new(&name, &scopes, tenants, expires_at_us).map_err(Error::invalid)?;
    let token = app.gate.create(&key).await?;
    Ok(Json(KeyMade { id: token.id().to_owned(), key: token.reveal() }))
}

/// Ends one.
pub async fn revoke(State(app): State<App>, Path(id): Path<String>) -> Result<Json<serde_json::Value>, Failure> {
    app.gate.revoke(&id).await?;
    Ok(Json(serde_json::json!({ "revoked": id })))
}

const DAY_US: i64 = 86_400_000_000;
