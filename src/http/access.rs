//! Who calls: the key of a request, and the caller that the gate makes of it. Every route but the two probes stands
//! behind it; handlers take the engine of their caller, and never that of everybody.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{
        HeaderMap, StatusCode, Uri,
        header::{AUTHORIZATION, HOST, HeaderName, ORIGIN},
        request::Parts,
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    App,
    connections::{Connection, Crowded, OfStatement},
    error::FailureAt,
};
use crate::{
    access::{Permission, Scope},
    error::{Error, Kind},
    gate::{Caller, Names, Reason},
    query::{Asker, Engine, asked_by},
};

/// What a group of routes needs of its callers.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    /// The scope of the key.
    pub permission: Permission,
    /// Whether a request is a statement, of which a key may run only so many.
    pub is_statement: bool,
}

/// Lets a request through to its handler, or answers it.
pub async fn admit(
    State((app, needs)): State<(App, Needs)>,
    path: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    if request.extensions().get::<Crowded>().is_some() {
        let most = app.clients.requests_max;
        let message = format!("{most} requests are open (clients.requests_max): try again in a moment");
        return FailureAt::new(request.uri().path(), Error::new(Kind::Busy, message)).into_response();
    }
    let what = path.map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    let key = key_of(request.headers());
    let names = names_of(request.headers(), request.uri());
    let admitted = async {
        app.gate.check_names(names, &app.hosts, &what).await?;
        let caller = app.gate.admit(key.as_deref(), needs.permission, &what).await?;
        let turn = if needs.is_statement { app.gate.statement(&caller, &what)? } else { None };
        Ok::<_, Error>((caller, turn))
    };
    let (caller, turn) = match admitted.await {
        Ok(admitted) => admitted,
        Err(error) => return FailureAt::new(request.uri().path(), error).into_response(),
    };
    let asker = asker(&caller, request.extensions().get::<Arc<Connection>>().map(Arc::as_ref));
    request.extensions_mut().insert(caller);
    let mut response = match asker {
        Some(asker) => asked_by(asker, next.run(request)).await,
        None => next.run(request).await,
    };
    if response.status() == StatusCode::FORBIDDEN {
        app.gate.note(Reason::Forbidden, &what, key.as_deref());
    }
    if needs.is_statement {
        response.extensions_mut().insert(OfStatement);
    }
    match turn {
        Some(turn) => response.map(|body| Body::new(Held { body, _turn: turn })),
        None => response,
    }
}

/// Who takes the turns of a request's statements. A request that came over no connection is a test's.
fn asker(caller: &Caller, connection: Option<&Connection>) -> Option<Asker> {
    let key = caller.key_id().map(|id| Asker::Key(id.to_owned()));
    key.or_else(|| connection.map(|connection| Asker::Http(connection.number())))
}

/// The host that a request asks for, in its first line (of HTTP/2, always) or in a header, and the page it comes from.
fn names_of<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Names<'a> {
    // What cannot be read is no name of ours.
    let header = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let authority = uri.authority().map(|authority| authority.as_str());
    Names { host: authority.or_else(|| header(HOST)), origin: header(ORIGIN) }
}

/// The key that a request carries.
pub fn key_of(headers: &HeaderMap) -> Option<String> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(rest.trim().to_owned());
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let pair = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
            // The user's name says nothing: Grafana and Prometheus want one.
            return pair.split_once(':').map(|(_, password)| password.to_owned());
        }
        return None;
    }
    headers.get("x-api-key")?.to_str().ok().map(|key| key.trim().to_owned())
}

/// The scope of the caller.
pub struct CallerScope(pub Scope);

impl<S: Send + Sync> FromRequestParts<S> for CallerScope {
    type Rejection = FailureAt;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, FailureAt> {
        // A route that forgot to stand behind the gate answers nobody.
        let caller = parts.extensions.get::<Caller>().ok_or_else(|| {
            FailureAt::new(parts.uri.path(), Error::new(Kind::Internal, "a request came around the gate"))
        })?;
        Ok(Self(caller.scope().clone()))
    }
}

/// The engine that sees what the caller may see.
pub struct CallerEngine(pub Arc<Engine>);

impl FromRequestParts<App> for CallerEngine {
    type Rejection = FailureAt;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, FailureAt> {
        let CallerScope(scope) = CallerScope::from_request_parts(parts, app).await?;
        let engine = app.engine_of_everybody.scoped(&scope).await;
        Ok(Self(engine.map_err(|error| FailureAt::new(parts.uri.path(), error))?))
    }
}

/// A body that keeps a statement's turn until it was sent.
struct Held {
    body: Body,
    _turn: OwnedSemaphorePermit,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_in_three_ways() {
        let check = |name: &'static str, value: &str, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(key_of(&headers).as_deref(), expected, "{name}: {value}");
        };
        check("authorization", "Bearer dl_a_b", Some("dl_a_b"));
        check("authorization", "bearer  dl_a_b ", Some("dl_a_b"));
        check("authorization", &format!("Basic {}", STANDARD.encode("grafana:dl_a_b")), Some("dl_a_b"));
        check("authorization", &format!("Basic {}", STANDARD.encode(":dl_a_b")), Some("dl_a_b"));
        check("authorization", &format!("Basic {}", STANDARD.encode("dl_a_b")), None);
        check("authorization", "Basic %%%", None);
        check("authorization", "Digest dl_a_b", None);
        check("authorization", "dl_a_b", None);
        check("x-api-key", "dl_a_b", Some("dl_a_b"));
    }
}
