//! An answer as JSON or as text, by the parameter `format`.

use axum::{
    Json,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::error::{Error, Result};

/// The parameters of a query string, as they came.
pub type Parameters = Vec<(String, String)>;

/// How an answer is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// For programs.
    Json,
    /// For people.
    Text,
}

impl Shape {
    /// The shape that is asked for, and the other parameters.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Invalid`] for any other.
    pub fn of(parameters: Parameters) -> Result<(Self, Parameters)> {
        let (format, rest): (Vec<_>, Vec<_>) = parameters.into_iter().partition(|(name, _)| name == "format");
        match format.last().map_or("json", |(_, value)| value.as_str()) {
            "json" | "" => Ok((Self::Json, rest)),
            "text" => Ok((Self::Text, rest)),
            other => Err(Error::invalid(format!("format={other} is not one of json, text"))),
        }
    }

    /// The answer in this shape.
    pub fn answer<T: Serialize>(self, answer: &T, text: impl FnOnce(&T) -> String) -> Response {
        match self {
            Self::Json => Json(answer).into_response(),
            Self::Text => ([(CONTENT_TYPE, "text/plain; charset=utf-8")], text(answer)).into_response(),
        }
    }
}
