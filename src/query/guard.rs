//! What a statement may be: one that reads. Decided on the parsed statement, never on its text.

use datafusion::{logical_expr::sqlparser::ast::Statement as SqlStatement, sql::parser::Statement};

use crate::error::{Error, Result};

/// Lets SELECT, EXPLAIN of a SELECT, SHOW and DESCRIBE through.
///
/// # Errors
///
/// [`crate::error::Kind::Invalid`] that names what is allowed.
pub fn check(statement: &Statement) -> Result<()> {
    if reads_only(statement) {
        return Ok(());
    }
    let words = statement.to_string();
    let verb: String = words.split_whitespace().next().unwrap_or("this").chars().take(20).collect();
    Err(Error::invalid(format!(
        "{} is not allowed: SQL is read-only here; SELECT, EXPLAIN, SHOW and DESCRIBE are",
        verb.to_uppercase()
    )))
}

fn reads_only(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(statement) => match statement.as_ref() {
            SqlStatement::Query(_)
            | SqlStatement::ShowTables { .. }
            | SqlStatement::ShowColumns { .. }
            | SqlStatement::ShowVariable { .. }
            | SqlStatement::ShowFunctions { .. }
            | SqlStatement::ExplainTable { .. } => true,
            SqlStatement::Explain { statement, .. } => matches!(statement.as_ref(), SqlStatement::Query(_)),
            _ => false,
        },
        Statement::Explain(explain) => reads_only(&explain.statement),
        _ => false,
    }
}
