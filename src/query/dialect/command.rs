//! What a statement is to a session: a question for rows, or one of the things that drivers say around their
//! questions. Pure; decided on the parsed statement.

use datafusion::logical_expr::sqlparser::ast::{Expr, Reset, Set, Statement, Value};

use super::Selection;

/// One statement.
#[derive(Debug, Clone)]
pub enum Command {
    /// Asks for rows.
    Rows(Selection),
    /// Sets a setting of the session, or puts it back where there is no value.
    Set(String, Option<String>),
    /// Puts all settings back.
    ResetAll,
    /// Asks for a setting.
    Show(String),
    /// Begins a transaction.
    Begin,
    /// Ends it.
    Commit,
    /// Ends it, and what failed in it.
    Rollback,
    /// Forgets what the session holds.
    DiscardAll,
    /// Forgets a prepared statement, or all.
    Deallocate(Option<String>),
    /// Means nothing where nothing is written; the name of the command.
    Harmless(&'static str),
}

/// What the statement is.
pub fn of(statement: Statement) -> Command {
    match statement {
        Statement::Set(set) => of_set(set),
        Statement::Reset(reset) => match reset.reset {
            Reset::ALL => Command::ResetAll,
            Reset::ConfigurationParameter(name) => Command::Set(setting_name(&name.to_string()), None),
        },
        Statement::ShowVariable { variable } => {
            let words: Vec<String> = variable.iter().map(|word| word.value.to_lowercase()).collect();
            Command::Show(setting_name(&words.join(" ")))
        }
        Statement::StartTransaction { .. } => Command::Begin,
        Statement::Commit { .. } => Command::Commit,
        Statement::Rollback { savepoint: None, .. } => Command::Rollback,
        Statement::Rollback { .. } => Command::Harmless("ROLLBACK"),
        Statement::Savepoint { .. } => Command::Harmless("SAVEPOINT"),
        Statement::ReleaseSavepoint { .. } => Command::Harmless("RELEASE"),
        Statement::UNLISTEN { .. } => Command::Harmless("UNLISTEN"),
        Statement::Discard { .. } => Command::DiscardAll,
        Statement::Deallocate { name, .. } => {
            Command::Deallocate((!name.value.eq_ignore_ascii_case("all")).then_some(name.value))
        }
        Statement::Close { .. } => Command::Harmless("CLOSE CURSOR"),
        other => Command::Rows(Selection(Box::new(other))),
    }
}

fn of_set(set: Set) -> Command {
    match set {
        Set::SingleAssignment { variable, values, .. } => {
            let values: Vec<String> = values.iter().map(value).collect();
            let value = values.join(", ");
            let value = (!value.eq_ignore_ascii_case("default")).then_some(value);
            Command::Set(setting_name(&variable.to_string()), value)
        }
        Set::SetTimeZone { value: zone, .. } => Command::Set("timezone".to_owned(), Some(value(&zone))),
        Set::SetNames { charset_name, .. } => Command::Set("client_encoding".to_owned(), Some(charset_name.value)),
        _ => Command::Harmless("SET"),
    }
}

/// A setting's value as it is shown: without quotes.
fn value(value: &Expr) -> String {
    match value {
        Expr::Value(literal) => match &literal.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        Expr::Identifier(name) => name.value.clone(),
        other => other.to_string(),
    }
}

/// The name of a setting, however it was written.
fn setting_name(text: &str) -> String {
    let name = text.trim_matches('"').to_lowercase();
    match name.as_str() {
        "time zone" => "timezone".to_owned(),
        "transaction isolation level" => "transaction_isolation".to_owned(),
        "session authorization" => "session_authorization".to_owned(),
        _ => name,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::logical_expr::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    #[test]
    fn drivers_say_more_than_questions() {
        let check = |text: &str, expected: &str| {
            let statement = Parser::parse_sql(&PostgreSqlDialect {}, text).unwrap().remove(0);
            assert_eq!(format!("{:?}", of(statement)), expected, "{text}");
        };
        check("select 1", "Rows(Selection)");
        check("insert into a values (1)", "Rows(Selection)");
        check("BEGIN ISOLATION LEVEL READ COMMITTED", "Begin");
        check("start transaction read only", "Begin");
        check("COMMIT", "Commit");
        check("rollback", "Rollback");
        check("savepoint a", "Harmless(\"SAVEPOINT\")");
        check("rollback to savepoint a", "Harmless(\"ROLLBACK\")");
        check("SET extra_float_digits = 3", r#"Set("extra_float_digits", Some("3"))"#);
        check("SET application_name = 'a b'", r#"Set("application_name", Some("a b"))"#);
        check("set session statement_timeout to '5s'", r#"Set("statement_timeout", Some("5s"))"#);
        check("set search_path to public, stored", r#"Set("search_path", Some("public, stored"))"#);
        check("set datestyle to default", r#"Set("datestyle", None)"#);
        check("set time zone 'UTC'", r#"Set("timezone", Some("UTC"))"#);
        check("set names 'UTF8'", r#"Set("client_encoding", Some("UTF8"))"#);
        check("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", r#"Harmless("SET")"#);
        check("show transaction isolation level", r#"Show("transaction_isolation")"#);
        check("SHOW TimeZone", r#"Show("timezone")"#);
        check("reset all", "ResetAll");
        check("discard all", "DiscardAll");
        check("deallocate all", "Deallocate(None)");
        check("deallocate s1", r#"Deallocate(Some("s1"))"#);
        check("close all", r#"Harmless("CLOSE CURSOR")"#);
        check("unlisten *", "Harmless(\"UNLISTEN\")");
    }
}
