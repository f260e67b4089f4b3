//! Errors as clients of Postgres read them. The one map from error kinds to SQLSTATE codes.

use pgwire::{
    error::{ErrorInfo, PgWireError},
    messages::response::ErrorResponse,
};

use crate::error::{Error, Kind};

/// An error on its way out.
#[derive(Debug)]
pub struct Failure {
    code: &'static str,
    message: String,
    hint: Option<&'static str>,
    is_fatal: bool,
}

const FORBIDDEN: &str = "42501";

/// What a message can fail with.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// An error of the protocol or of what a session may take.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, is_fatal: false }
    }

    /// With what to do about it.
    pub fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// After which the connection ends.
    pub fn fatal(mut self) -> Self {
        self.is_fatal = true;
        self
    }

    /// Whether the connection ends.
    pub fn is_fatal(&self) -> bool {
        self.is_fatal
    }

    /// Whether it is of something that the client's key may not do.
    pub fn is_forbidden(&self) -> bool {
        self.code == FORBIDDEN
    }

    /// The client gave the statement up.
    pub fn cancelled() -> Self {
        Self::new("57014", "canceling statement due to user request")
    }

    /// The message for the client.
    pub fn response(&self) -> ErrorResponse {
        let severity = if self.is_fatal { "FATAL" } else { "ERROR" };
        let mut info = ErrorInfo::new(severity.to_owned(), self.code.to_owned(), self.message.clone());
        info.severity_nonlocalized = Some(severity.to_owned());
        info.hint = self.hint.map(str::to_owned);
        info.into()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = code_of(error.kind(), &error.to_string());
        // Who is no longer let in has nothing more to say.
        let is_fatal = error.kind() == Kind::Unauthenticated;
        let message = match error.kind() {
            Kind::Internal | Kind::Corrupt => {
                tracing::error!(error = error.chain(), "a statement failed");
                error.to_string()
            }
            _ => error.chain(),
        };
        Self { is_fatal, ..Self::new(code, message) }
    }
}

impl From<PgWireError> for Failure {
    fn from(error: PgWireError) -> Self {
        let message = match &error {
            PgWireError::UserError(info) => info.message.clone(),
            error => error.to_string(),
        };
        let code = match &error {
            PgWireError::FailedToParseParameter(_) => "22P02",
            PgWireError::InvalidRustTypeForParameter(_) | PgWireError::ParameterIndexOutOfBound(_) => "22023",
            PgWireError::UserError(info) if info.code == "22023" => "22023",
            PgWireError::UserError(_) => "0A000",
            PgWireError::ApiError(_) => "XX000",
            _ => "08P01",
        };
        // What is no message, or cannot be sent, ends a connection; a value that cannot be read does not.
        Self { is_fatal: code == "08P01", ..Self::new(code, message) }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new("08006", error.to_string()).fatal()
    }
}

/// The engine tells what is wrong with a statement in words only; its clients act on codes.
const INVALID: &[(&str, &str)] = &[
    ("SQL is read-only here", "25006"),
    ("cannot read the statement", "42601"),
    ("unrecognized configuration parameter", "42704"),
    ("there is no parameter", "42P02"),
    ("table '", "42P01"),
    ("No field named", "42703"),
    ("Invalid function", "42883"),
    ("is not a valid", "22P02"),
    ("No function matches", "42883"),
    ("must appear in the GROUP BY", "42803"),
    ("must be in GROUP BY", "42803"),
    ("Ambiguous reference", "42702"),
    ("Divide by zero", "22012"),
    ("Cannot cast string", "22P02"),
    ("Error parsing", "22P02"),
    ("Cast error", "22P02"),
    ("verflow", "22003"),
    ("is not supported", "0A000"),
    ("not implemented", "0A000"),
    ("not yet implemented", "0A000"),
    ("This feature", "0A000"),
];

fn code_of(kind: Kind, message: &str) -> &'static str {
    match kind {
        Kind::Invalid => INVALID.iter().find(|(words, _)| message.contains(words)).map_or("42000", |(_, code)| code),
        Kind::Unauthenticated => "28P01",
        Kind::Forbidden => FORBIDDEN,
        Kind::TooMany => "53400",
        Kind::NotFound => "42704",
        Kind::TooLarge => "54000",
        Kind::Busy => "53300",
        Kind::Timeout => "57014",
        Kind::Exhausted => "53200",
        Kind::Conflict => "55000",
        Kind::Corrupt => "XX001",
        Kind::KeyReused | Kind::UnsupportedMedia | Kind::Internal => "XX000",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_codes() {
        let check = |kind: Kind, message: &str, expected: &str| {
            assert_eq!(Failure::from(Error::new(kind, message)).code, expected, "{message}");
        };
        check(
            Kind::Invalid,
            "INSERT is not allowed: SQL is read-only here; SELECT, EXPLAIN, SHOW and DESCRIBE are",
            "25006",
        );
        check(Kind::Invalid, "cannot read the statement: Expected: an expression, found: EOF", "42601");
        check(Kind::Invalid, "cannot plan the statement: table 'driftline.public.nothing' not found", "42P01");
        check(Kind::Invalid, "cannot plan the statement: No field named nothing.", "42703");
        check(Kind::Invalid, "cannot plan the statement: Invalid function 'nothing'.", "42883");
        check(Kind::Invalid, "the statement failed: Divide by zero error", "22012");
        check(Kind::Invalid, "something else", "42000");
        check(Kind::TooMany, "the key may be used 5 times in a second: slow down", "53400");
        check(Kind::Busy, "8 statements are running", "53300");
        check(Kind::Timeout, "the statement ran longer", "57014");
        check(Kind::Exhausted, "the result has more than 5 rows", "53200");
        assert!(Failure::from(Error::new(Kind::Unauthenticated, "the key was revoked")).is_fatal());
    }
}
