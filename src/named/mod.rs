//! Named SQL: a `.sql` file whose header says what it answers, what it takes and what it returns.
//!
//! This module turns one file's text into a [`NamedSql`], and a caller's arguments into typed
//! values. It never reads files, never asks the clock, never runs or rewrites SQL, and never puts
//! an argument into the text: values travel beside it as named parameters.
//!
//! # The header
//!
//! The file starts with `-- key: value` lines; a blank line or the first line of SQL ends them.
//!
//! ```text
//! -- question: What does each tenant cost, per day?
//! -- grain: day
//! -- param: from timestamp = now-7d -- start of the range, inclusive
//! -- param: tenant_id text = null -- only this tenant
//! -- param: trace_id text -- no default: required
//! -- column: cost_usd USD -- reported cost, else computed by the price list
//!
//! select …
//! ```
//!
//! | line | form |
//! |---|---|
//! | `question` | one sentence; required, once |
//! | `grain` | what one row stands for; at most once |
//! | `param` | `name type`, then optionally `= default`, then optionally `-- doc` |
//! | `column` | `name unit`, then optionally `-- doc` |
//! | any other key | kept as it is, in order, for the kind of file that knows it |
//!
//! Types are `timestamp`, `text`, `int`, `float` and `bool`; `text(hour|day)` takes only these. The default `null` is null, whatever
//! the type; the default of a text may stand in quotes, where a doubled quote means one. The SQL
//! uses a parameter as `$name`; every declared parameter is used and every used one declared.

mod bind;
mod header;
mod placeholder;
mod time;

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

pub use bind::{BindError, ParamValue};
pub use time::parse_time;

/// One file of named SQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = NamedQuery)]
pub struct NamedSql {
    /// The name it is called by: the file's, without its ending.
    pub name: String,
    /// The question it answers, in one sentence.
    pub question: String,
    /// What one row stands for.
    pub grain: Option<String>,
    /// Its parameters, in the order of the file.
    pub params: Vec<Param>,
    /// Its result's columns, in the order of the file.
    pub columns: Vec<ColumnDoc>,
    /// Header lines of other keys, in the order of the file.
    pub other: Vec<OtherLine>,
    /// The whole text, header included, so that line numbers in SQL errors are the file's own.
    #[serde(skip)]
    pub sql: String,
}

/// A declared parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = QueryParameter)]
pub struct Param {
    /// The name, without `$`.
    pub name: String,
    /// The type of its values.
    pub kind: ParamKind,
    /// The only values it takes; empty where any of its type will do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<String>,
    /// The default as it is written: `now-7d`, `'quoted'`, `null`.
    pub default: Option<String>,
    /// What it does.
    pub doc: String,
    /// It has no default, so the caller must give it.
    pub required: bool,
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[schema(as = QueryParameterKind)]
#[serde(rename_all = "lowercase")]
pub enum ParamKind {
    /// A point in time; see [`parse_time`].
    Timestamp,
    /// Any text, taken as it is.
    Text,
    /// A whole number of 64 bits.
    Int,
    /// A finite number.
    Float,
    /// `true` or `false`.
    Bool,
}

/// A header line whose key is for the kind of file that knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = QueryHeaderLine)]
pub struct OtherLine {
    /// What stands before the colon.
    pub key: String,
    /// What stands behind it.
    pub value: String,
    /// The line of the file, from 1.
    #[serde(skip)]
    pub line: usize,
}

/// A documented column of the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = QueryColumn)]
pub struct ColumnDoc {
    /// The column's name in the result.
    pub name: String,
    /// Its unit: USD, ms, count, ratio, tokens, time, text.
    pub unit: String,
    /// What it says.
    pub doc: String,
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderError {
    /// The line of the file, from 1.
    pub line: usize,
    /// What is wrong there, and what is expected.
    pub message: String,
}

impl NamedSql {
    /// Reads one file's text.
    pub fn parse(name: &str, text: &str) -> Result<Self, HeaderError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let header = header::read(text)?;
        let used = placeholder::scan(text)?;
        check_params(&header.params, &used)?;
        Ok(NamedSql {
            name: name.to_owned(),
            question: header.question,
            grain: header.grain,
            params: header.params.into_iter().map(|at| at.value).collect(),
            columns: header.columns.into_iter().map(|at| at.value).collect(),
            other: header.other,
            sql: text.to_owned(),
        })
    }
}

impl ParamKind {
    /// Every type, in the order they are listed to people.
    pub const ALL: [ParamKind; 5] =
        [ParamKind::Timestamp, ParamKind::Text, ParamKind::Int, ParamKind::Float, ParamKind::Bool];

    /// The name in a header.
    pub fn name(self) -> &'static str {
        match self {
            ParamKind::Timestamp => "timestamp",
            ParamKind::Text => "text",
            ParamKind::Int => "int",
            ParamKind::Float => "float",
            ParamKind::Bool => "bool",
        }
    }

    /// What a value of this type looks like, for messages.
    pub fn accepts(self) -> &'static str {
        match self {
            ParamKind::Timestamp => time::ACCEPTED,
            ParamKind::Text => "any text",
            ParamKind::Int => "a whole number such as 100",
            ParamKind::Float => "a number such as 0.5",
            ParamKind::Bool => "true or false",
        }
    }
}

impl fmt::Display for ParamKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for HeaderError {}

impl HeaderError {
    /// What is wrong on this line.
    pub fn new(line: usize, message: impl Into<String>) -> Self {
        HeaderError { line, message: message.into() }
    }
}

/// A value and the line of the file it stands on.
#[derive(Debug)]
struct At<T> {
    line: usize,
    value: T,
}

/// Declared and used parameters are the same set.
fn check_params(declared: &[At<Param>], used: &[At<&str>]) -> Result<(), HeaderError> {
    for at in used {
        if !declared.iter().any(|param| param.value.name == at.value) {
            let name = at.value;
            let message = format!("`${name}` is used, but no `-- param: {name} …` line declares it");
            return Err(HeaderError::new(at.line, message));
        }
    }
    for param in declared {
        let name = &param.value.name;
        if !used.iter().any(|at| at.value == name) {
            let message = format!("parameter `{name}` is declared, but the SQL never uses `${name}`");
            return Err(HeaderError::new(param.line, message));
        }
    }
    Ok(())
}

/// As much of a text as a message should repeat.
fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file is accepted (`Ok`), or refused with this message.
    #[track_caller]
    fn check(text: &str, expect: Result<(), &str>) {
        let got = NamedSql::parse("file", text).map(drop).map_err(|error| error.to_string());
        match (got, expect) {
            (Ok(()), Ok(())) => {}
            (Err(got), Err(expect)) if got.starts_with(expect) => {}
            (got, expect) => panic!("got {got:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn declared_and_used_parameters_agree() {
        check("-- question: q\nselect 1", Ok(()));
        check("-- question: q\n-- param: a int\nselect $a + $a", Ok(()));
        check("-- question: q\r\n-- param: a int\r\n\r\nselect $a\r\n", Ok(()));
        check("\u{feff}-- question: q\nselect 1", Ok(()));
        check("-- question: q\n\nselect\n  $b", Err("line 4: `$b` is used, but no"));
        check("-- question: q\nselect $1", Err("line 2: `$1` is used, but no"));
        check("-- question: q\n-- param: a int\nselect 1", Err("line 2: parameter `a` is declared, but"));
        check("-- question: q\n-- param: a int\nselect '$a' -- $a", Err("line 2: parameter `a` is declared"));
        check("-- question: q\nselect '$a', \"$b\", $x$ $c $x$ /* $d */ -- $e", Ok(()));
    }

    #[test]
    fn the_text_is_kept_whole() {
        let text = "-- question: What?\n-- grain: day\n-- for: 5m\n-- param: a int = 1 -- one\n\
                    -- column: x USD -- money\n\nselect $a as x\n";
        let file = NamedSql::parse("file", text).unwrap();
        assert_eq!(
            file,
            NamedSql {
                name: "file".into(),
                question: "What?".into(),
                grain: Some("day".into()),
                params: vec![Param {
                    name: "a".into(),
                    kind: ParamKind::Int,
                    one_of: vec![],
                    default: Some("1".into()),
                    doc: "one".into(),
                    required: false,
                }],
                columns: vec![ColumnDoc { name: "x".into(), unit: "USD".into(), doc: "money".into() }],
                other: vec![OtherLine { key: "for".into(), value: "5m".into(), line: 3 }],
                sql: text.into(),
            }
        );
    }

    #[test]
    fn every_shipped_file_is_documented() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
        let mut files = 0;
        for folder in ["views", "queries", "reports", "kpis", "metrics"] {
            for entry in std::fs::read_dir(root.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_stem().unwrap().to_str().unwrap();
                let file = NamedSql::parse(name, &std::fs::read_to_string(&path).unwrap())
                    .unwrap_or_else(|error| panic!("{folder}/{name}: {error}"));
                assert!(file.question.ends_with('?'), "{folder}/{name}: {}", file.question);
                assert!(file.grain.is_some() && !file.columns.is_empty(), "{folder}/{name}");
                assert!(file.params.iter().all(|param| !param.doc.is_empty()), "{folder}/{name}");
                assert!(file.columns.iter().all(|column| !column.doc.is_empty()), "{folder}/{name}");
                assert!(folder != "views" || file.params.is_empty(), "{folder}/{name}");
                files += 1;
            }
        }
        assert!(files > 30, "{files}");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = NamedSql::parse("file", &text);
        }

        #[test]
        fn nothing_like_a_file_makes_the_parser_panic(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("-- param: "), Just("-- column: "), Just("-- question: q"), Just("--"),
                    Just("a "), Just("int"), Just("text"), Just("timestamp"), Just(" = "), Just("null"),
                    Just("now-"), Just("7d"), Just("'"), Just("\""), Just(" -- "), Just("$"), Just("$a"),
                    Just("/*"), Just("*/"), Just("\n"), Just("\r\n"), Just("ü"), Just(":"), Just("select "),
                ],
                0..40,
            ),
            given in proptest::collection::vec(("[a-c]", any::<String>()), 0..3),
            now_us in any::<i64>(),
        ) {
            if let Ok(file) = NamedSql::parse("file", &parts.concat()) {
                let given = given.iter().map(|(name, text)| (name.as_str(), text.as_str()));
                let _ = file.bind(given, now_us);
            }
        }
    }
}
