//! What a request's address says: its query string and the name in its path. Mistakes are answered like every other
//! error.

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use super::error::FailureAt;
use crate::error::Error;

/// The query string as a `T`; what does not fit is a 400 with our own body.
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = FailureAt;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, FailureAt> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(FailureAt::new(parts.uri.path(), Error::invalid(rejection.body_text()))),
        }
    }
}

/// The name in the path of a route that has one; what is not UTF-8 is a 400 with our own body.
pub struct Named(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = FailureAt;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, FailureAt> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(rejection) => Err(FailureAt::new(parts.uri.path(), Error::invalid(rejection.body_text()))),
        }
    }
}
