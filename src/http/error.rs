//! Errors as responses: `{"error":{"code","message"}}`, with what Grafana and clients of Jaeger look for beside it at
//! their paths. The one map from kinds to status codes.

use std::any::Any;

use axum::{
    Json,
    http::{
        HeaderValue, Method, StatusCode, Uri,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Error, Kind};

/// Seconds after which a busy server is worth another try, and a key that was used too often is full again.
const RETRY_AFTER_S: &str = "1";
/// How a key may be sent; a browser asks for it where it knows the second.
const CHALLENGES: [&str; 2] = ["Bearer realm=\"driftline\"", "Basic realm=\"driftline\", charset=\"UTF-8\""];

/// An error on its way out, of our own shape.
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
        respond(&self.0, Surface::Own)
    }
}

/// An error for Grafana.
#[derive(Debug)]
pub struct GrafanaFailure(pub Error);

impl From<Error> for GrafanaFailure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for GrafanaFailure {
    fn into_response(self) -> Response {
        respond(&self.0, Surface::Grafana)
    }
}

/// An error for clients of Jaeger.
#[derive(Debug)]
pub struct JaegerFailure(pub Error);

impl From<Error> for JaegerFailure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for JaegerFailure {
    fn into_response(self) -> Response {
        respond(&self.0, Surface::Jaeger)
    }
}

/// An error before a handler is reached, in the shape of its path.
#[derive(Debug)]
pub struct FailureAt(Surface, Error);

impl FailureAt {
    /// An error of a request to `path`.
    pub fn new(path: &str, error: Error) -> Self {
        Self(Surface::of(path), error)
    }
}

impl IntoResponse for FailureAt {
    fn into_response(self) -> Response {
        respond(&self.1, self.0)
    }
}

/// Whose clients read an error, and so the shape of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// Everybody else's: [`ErrorAnswer`].
    Own,
    /// Grafana's JSON datasource: [`GrafanaErrorAnswer`].
    Grafana,
    /// Jaeger's: [`JaegerErrorAnswer`].
    Jaeger,
}

impl Surface {
    /// That of a path.
    pub fn of(path: &str) -> Self {
        match path.split('/').nth(1) {
            Some("grafana") => Self::Grafana,
            Some("jaeger") => Self::Jaeger,
            _ => Self::Own,
        }
    }

    fn body(self, status: StatusCode, code: &'static str, message: &str) -> Response {
        let error = ErrorBody { code, message: message.to_owned() };
        match self {
            Self::Own => (status, Json(ErrorAnswer { error })).into_response(),
            Self::Grafana => (status, Json(GrafanaErrorAnswer { error, message: message.to_owned() })).into_response(),
            Self::Jaeger => {
                let errors = vec![JaegerError { code: status.as_u16(), msg: message.to_owned() }];
                (status, Json(JaegerErrorAnswer { data: None, error, errors })).into_response()
            }
        }
    }
}

/// The body of every answer with a status of 400 or more.
#[derive(Serialize, ToSchema)]
pub struct ErrorAnswer {
    error: ErrorBody,
}

/// An error below `/grafana`: Grafana shows `message`.
#[derive(Serialize, ToSchema)]
pub struct GrafanaErrorAnswer {
    error: ErrorBody,
    message: String,
}

/// An error below `/jaeger`: clients of Jaeger read `errors`.
#[derive(Serialize, ToSchema)]
pub struct JaegerErrorAnswer {
    /// Always null.
    #[schema(value_type = Option<Object>)]
    data: Option<()>,
    error: ErrorBody,
    errors: Vec<JaegerError>,
}

/// An error as Jaeger tells it.
#[derive(Serialize, ToSchema)]
struct JaegerError {
    /// The HTTP status.
    code: u16,
    msg: String,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
struct ErrorBody {
    /// For programs: it stays as it is.
    #[schema(value_type = String, example = "invalid")]
    code: &'static str,
    /// For people: what is wrong, where, and what to do.
    message: String,
}

fn respond(error: &Error, surface: Surface) -> Response {
    let status = status_of(error.kind());
    // What broke inside is for the log; what the sender did wrong is for the sender.
    let message = if status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(error = error.chain(), "request failed");
        error.to_string()
    } else {
        error.chain()
    };
    let mut response = surface.body(status, error.kind().code(), &message);
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
pub async fn no_route(uri: Uri) -> FailureAt {
    FailureAt::new(uri.path(), Error::new(Kind::NotFound, format!("there is nothing at {}", uri.path())))
}

/// No such method here.
pub async fn no_method(method: Method, uri: Uri) -> Response {
    let message = format!("{} does not take {method}", uri.path());
    Surface::of(uri.path()).body(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message)
}

/// A bug; the connection lives on.
#[allow(clippy::needless_pass_by_value)] // the shape that the layer asks for
pub fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request handler panicked");
    let message = "an internal error; the server's log says more";
    Surface::Own.body(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
}
