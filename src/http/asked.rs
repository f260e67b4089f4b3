//! Small JSON bodies of requests that change something: bounded, and never from a page of a browser unasked.

use axum::{
    body::Body,
    http::{HeaderMap, header::CONTENT_TYPE},
};
use serde::de::DeserializeOwned;

use super::App;
use crate::error::{Context, Error, Kind, Result};

/// Most bytes of such a body.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What the body asks for; `form` says in the error what it should be.
///
/// # Errors
///
/// [`Kind::UnsupportedMedia`] for any content type but JSON: no page of a browser can send that one without
/// asking first. [`Kind::TooLarge`] and [`Kind::Invalid`].
pub async fn asked<T: DeserializeOwned>(app: &App, headers: &HeaderMap, body: Body, form: &str) -> Result<T> {
    if headers.get(CONTENT_TYPE).is_none_or(|found| !found.as_bytes().starts_with(b"application/json")) {
        return Err(Error::new(Kind::UnsupportedMedia, format!("send {form} as application/json")));
    }
    let read = app.small_bodies.read(body, BODY_BYTES_MAX, &format!("send {form}")).await?;
    serde_json::from_slice(&read.bytes).kind_context(Kind::Invalid, || format!("the body is not {form}"))
}
