//! What a statement may be: one that reads, decided on the parsed statement, never on its text; and one that is not too
//! deep, decided before it is parsed.

use datafusion::{
    logical_expr::sqlparser::{
        ast::Statement as SqlStatement,
        dialect::{GenericDialect, PostgreSqlDialect},
        keywords::Keyword,
        tokenizer::{Token, Tokenizer},
    },
    sql::parser::Statement,
};

use crate::error::{Error, Kind, Result};

/// Most operators that follow one another, and most set operations and joins. Each makes a tree of the statement one
/// deeper, and some thousand overflow the stack of the thread that walks it, which ends the process.
const DEPTH_MAX: usize = 500;

/// Lets a text through whose statements are not too deep. The parser bounds parentheses, and not `1+1+1+…`.
///
/// # Errors
///
/// [`Kind::TooLarge`].
pub fn check_depth(text: &str) -> Result<()> {
    // What is no token of one dialect may be one of the other; what is none of both, the parser refuses.
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize();
    let tokens = tokens.or_else(|_| Tokenizer::new(&GenericDialect {}, text).tokenize()).unwrap_or_default();
    if depth(&tokens) <= DEPTH_MAX {
        return Ok(());
    }
    Err(Error::new(
        Kind::TooLarge,
        format!(
            "a statement has at most {DEPTH_MAX} operators, set operations or joins one after the other: use IN for many values"
        ),
    ))
}

/// A statement, or what is between two parentheses of it.
#[derive(Default)]
struct Level {
    /// Set operations and joins.
    sets: usize,
    /// Operators since the last comma, and the deepest of the parentheses that were closed since.
    operators: usize,
    inner: usize,
    /// The deepest of what is between commas.
    deepest: usize,
}

impl Level {
    fn end_item(&mut self) {
        self.deepest = self.deepest.max(self.operators + self.inner);
        (self.operators, self.inner) = (0, 0);
    }

    fn depth(mut self) -> usize {
        self.end_item();
        self.sets + self.deepest
    }
}

/// How deep the tree of a statement may become, at most, with each operator, set operation and join one deeper.
fn depth(tokens: &[Token]) -> usize {
    let mut outer: Vec<Level> = Vec::new();
    let (mut level, mut deepest) = (Level::default(), 0);
    let close = |level: &mut Level, outer: &mut Vec<Level>| {
        let Some(around) = outer.pop() else { return false };
        let closed = std::mem::replace(level, around);
        level.inner = level.inner.max(closed.depth());
        true
    };
    for token in tokens.iter().chain([&Token::SemiColon]) {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => outer.push(std::mem::take(&mut level)),
            Token::RParen | Token::RBracket | Token::RBrace => {
                close(&mut level, &mut outer);
            }
            Token::Comma => level.end_item(),
            Token::SemiColon => {
                while close(&mut level, &mut outer) {}
                deepest = deepest.max(std::mem::take(&mut level).depth());
            }
            Token::Word(word) => match word.keyword {
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::JOIN => level.sets += 1,
                Keyword::AND
                | Keyword::OR
                | Keyword::XOR
                | Keyword::NOT
                | Keyword::IS
                | Keyword::IN
                | Keyword::BETWEEN
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::SIMILAR
                | Keyword::RLIKE
                | Keyword::REGEXP
                | Keyword::DIV
                | Keyword::AT
                | Keyword::COLLATE
                | Keyword::OVERLAPS
                | Keyword::NOTNULL
                | Keyword::MEMBER => level.operators += 1,
                _ => {}
            },
            Token::Whitespace(_) | Token::Period | Token::EOF | Token::Number(..) | Token::Placeholder(_) => {}
            Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::DollarQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::UnicodeStringLiteral(_) => {}
            _ => level.operators += 1,
        }
    }
    deepest
}

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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_a_statement_deep_is_counted() {
        let check = |text: &str, expected: usize| {
            let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize().unwrap();
            assert_eq!(depth(&tokens), expected, "{text}");
        };
        check("select 1", 0);
        check("select 1+1+1", 2);
        check("select 1+1, 1+1, 1+1+1", 2);
        check("select 1+(2+(3+4)+5)+6", 5);
        check("select (1+1)*(1+1+1), ((((1))))", 3);
        check("select (1+(1+1", 2);
        check("select a, b from t where c in (1, 2, 3, 4, 5) and d = 'x + y + z'", 3);
        check("select 1, 2 union select 1, 2 union select 3, 4", 2);
        check("select 1::int::int; select 1::int", 2);
        check("select 1) + 2) + 3", 2);
        check("select \"and\" /* + + + */ -- + +", 0);
    }

    #[test]
    fn what_is_too_deep_is_refused() {
        let chains = ["+1", " or 1=1", "::int", " is null", "->'a'", " union all select 1", " join a on true"];
        for chain in chains {
            let refused = check_depth(&format!("select 1{}", chain.repeat(100_000))).unwrap_err();
            assert_eq!(refused.kind(), Kind::TooLarge, "{chain}");
            check_depth(&format!("select 1{}", chain.repeat(100))).unwrap();
        }
        let many: Vec<String> = (0..100_000).map(|number| number.to_string()).collect();
        check_depth(&format!("select * from a where b in ({})", many.join(","))).unwrap();
        // What cannot be read is for the parser to refuse.
        check_depth("select 'a").unwrap();
    }
}
