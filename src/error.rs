//! The one error type: the kind says what the caller should do, the context what we were doing,
//! the source why. `Display` never prints the source; whoever handles the error logs the chain
//! once. This module never logs and knows no status code: HTTP maps kinds in one place of its own.

use std::{error::Error as StdError, fmt};

/// What a caller should do about an error. A kind is added only if a caller would act differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request is wrong; sending it again cannot help.
    Invalid,
    /// Nobody knows who asks: send a key that is valid.
    Unauthenticated,
    /// Who asks is known and may not: another key can.
    Forbidden,
    /// This sender asks too often: slow down.
    TooMany,
    /// The thing that was named does not exist.
    NotFound,
    /// The request is larger than the configured limit.
    TooLarge,
    /// The key that should name this request names another one; with a key of its own it can succeed.
    KeyReused,
    /// The content type or encoding is not one that is understood.
    UnsupportedMedia,
    /// A bound is reached (buffer, disk, memory, concurrency): try again after a while.
    Busy,
    /// The statement ran longer than it may.
    Timeout,
    /// The statement needs more memory or rows than it may have.
    Exhausted,
    /// Another process holds the data directory, or a newer version wrote it.
    Conflict,
    /// Stored bytes are not what was written.
    Corrupt,
    /// Everything else: I/O, bugs. Nothing the caller can change.
    Internal,
}

impl Kind {
    /// The stable code that APIs print.
    pub fn code(self) -> &'static str {
        match self {
            Kind::Invalid => "invalid",
            Kind::Unauthenticated => "unauthenticated",
            Kind::Forbidden => "forbidden",
            Kind::TooMany => "too_many_requests",
            Kind::NotFound => "not_found",
            Kind::TooLarge => "too_large",
            Kind::KeyReused => "idempotency_key_reused",
            Kind::UnsupportedMedia => "unsupported_media_type",
            Kind::Busy => "busy",
            Kind::Timeout => "timeout",
            Kind::Exhausted => "resources_exhausted",
            Kind::Conflict => "conflict",
            Kind::Corrupt => "corrupt",
            Kind::Internal => "internal",
        }
    }
}

/// An error of any room: kind, context, source.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    context: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of anything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error without a deeper cause.
    pub fn new(kind: Kind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    /// An error of the caller's input.
    pub fn invalid(context: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, context)
    }

    /// The same error with its cause.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the caller should do.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The context and every cause below it, for the log line of whoever handles the error and for
    /// people at a terminal.
    pub fn chain(&self) -> String {
        let mut text = self.context.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Adds what we were doing to somebody else's error.
pub trait Context<T> {
    /// Wraps the error as [`Kind::Internal`].
    fn context(self, context: impl Into<String>) -> Result<T>;
    /// Wraps the error as the given kind, with a context made only when it is needed.
    fn kind_context(self, kind: Kind, context: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for Result<T, E> {
    fn context(self, context: impl Into<String>) -> Result<T> {
        self.map_err(|error| Error::new(Kind::Internal, context).with_source(error))
    }

    fn kind_context(self, kind: Kind, context: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::new(kind, context()).with_source(error))
    }
}
