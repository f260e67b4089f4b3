//! Errors as responses: `{"error":{"code","message"}}`. The one map from kinds to status codes.

use std::any::Any;

use axum::{
    Json,
    http::{
        HeaderValue, Method, StatusCode, Uri,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::error::{Error, Kind};

/// Seconds after which a busy server is worth another try, and a key that was used too often is full again.
const RETRY_AFTER_S: &str = "1";
/// How a key may be sent; a browser asks for it where it knows the second.
const CHALLENGES: [&str; 2] = ["Bearer realm=\"driftline\"", "Basic realm=\"driftline\", charset=\"UTF-8\""];

/// An error on its way out.
#[derive(Debug)]
pub struct Failure(pub Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

/// The status code of a kind.
pub fn status_of(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::TooMany => StatusCode::TOO_MANY_REQUESTS,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Timeout => StatusCode::REQUEST_TIMEOUT,
        Kind::Exhausted | Kind::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Corrupt | Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        respond(&self.0, body)
    }
}

/// An error for Grafana, which shows a `message` at the top.
#[derive(Debug)]
pub struct GrafanaFailure(pub Error);

impl From<Error> for GrafanaFailure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for GrafanaFailure {
    fn into_response(self) -> Response {
        respond(&self.0, |status, code, message| {
            (status, Json(json!({ "message": message, "error": { "code": code, "message": message } }))).into_response()
        })
    }
}

/// An error for clients of Jaeger, which read a list of them.
#[derive(Debug)]
pub struct JaegerFailure(pub Error);

impl From<Error> for JaegerFailure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for JaegerFailure {
    fn into_response(self) -> Response {
        respond(&self.0, |status, code, message| {
            let errors = json!([{ "code": status.as_u16(), "msg": message }]);
            let error = json!({ "code": code, "message": message });
            (status, Json(json!({ "data": null, "errors": errors, "error": error }))).into_response()
        })
    }
}

fn respond(error: &Error, body: impl FnOnce(StatusCode, &str, &str) -> Response) -> Response {
    let status = status_of(error.kind());
    // What broke inside is for the log; what the sender did wrong is for the sender.
    let message = if status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(error = error.chain(), "request failed");
        error.to_string()
    } else {
        error.chain()
    };
    let mut response = body(status, error.kind().code(), &message);
    let headers = response.headers_mut();
    match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        StatusCode::UNAUTHORIZED => {
            for scheme in CHALLENGES {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
            }
        }
        _ => {}
    }
    response
}

/// No such path.
pub async fn no_route(uri: Uri) -> Response {
    let error = Error::new(Kind::NotFound, format!("there is nothing at {}", uri.path()));
    match uri.path().split('/').nth(1) {
        Some("grafana") => GrafanaFailure(error).into_response(),
        Some("jaeger") => JaegerFailure(error).into_response(),
        _ => Failure(error).into_response(),
    }
}

/// No such method here.
pub async fn no_method(method: Method, uri: Uri) -> Response {
    body(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &format!("{} does not take {method}", uri.path()))
}

/// A bug; the connection lives on.
#[allow(clippy::needless_pass_by_value)] // the shape that the layer asks for
pub fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request handler panicked");
    body(StatusCode::INTERNAL_SERVER_ERROR, "internal", "an internal error; the server's log says more")
}

fn body(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({ "error": { "code": code, "message": message } }))).into_response()
}
