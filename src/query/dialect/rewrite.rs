//! What questions to the catalogs say that the engine has no plan for, in other words. For questions to the catalogs
//! only, and only where it is known what is found: there are no defaults, sequences, collations, options, indexes and
//! constraints of our tables, so a look-up of one for each row finds nothing.

use std::ops::ControlFlow;

use datafusion::logical_expr::sqlparser::{
    ast::{
        AccessExpr, Array, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query,
        Select, SetExpr, Statement, TableFactor, Value, ValueWithSpan, VisitMut, VisitorMut, visit_expressions,
        visit_expressions_mut,
    },
    dialect::PostgreSqlDialect,
    parser::Parser,
};

/// A column that the catalogs lack.
const OPTIONS: &str = "reloptions";
/// Columns that are text here, and lists in Postgres.
const LISTS: [&str; 6] = ["indkey", "indclass", "indoption", "indcollation", "conkey", "confkey"];

/// Functions that say what was noted of something.
const COMMENTS: [&str; 3] = ["obj_description", "col_description", "shobj_description"];

/// Functions that find the number of a name, and where it is.
const NAMES: [(&str, &str); 3] = [
    ("to_regtype", "(select oid from pg_catalog.pg_type where typname = $1 order by oid limit 1)"),
    ("to_regnamespace", "(select oid from pg_catalog.pg_namespace where nspname = $1 limit 1)"),
    ("to_regclass", "(select oid from pg_catalog.pg_class where relname = split_part($1, '.', -1) limit 1)"),
];

/// The statement in other words.
pub fn rewrite(mut statement: Statement) -> Statement {
    let _ = statement.visit(&mut InOtherWords);
    statement
}

struct InOtherWords;

impl VisitorMut for InOtherWords {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if is_options(expr) || is_look_up(expr) || is_of_a_list(expr) {
            *expr = null();
        } else if is_in_a_list(expr) {
            // There are no constraints and no indexes whose columns it could be one of.
            *expr = Expr::Value(Value::Boolean(false).with_empty_span());
        } else if let Some(found) = oid_of(expr) {
            *expr = found;
        } else if let Expr::Function(function) = expr {
            unnest_texts(function);
            comment_on_nothing(function);
        } else if let Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } = expr {
            escape_by_backslash(pattern, escape_char);
        }
        ControlFlow::Continue(())
    }
}

fn null() -> Expr {
    Expr::Value(Value::Null.with_empty_span())
}

fn is_named(function: &Function, name: &str) -> bool {
    function.name.0.last().and_then(|part| part.as_ident()).is_some_and(|part| part.value.eq_ignore_ascii_case(name))
}

/// Whether an expression shows the options of a table.
fn is_options(expr: &Expr) -> bool {
    let is_column = |expr: &Expr| matches!(expr, Expr::CompoundIdentifier(parts) if parts.last().is_some_and(|part| part.value == OPTIONS));
    let is_text = matches!(expr, Expr::Function(function) if is_named(function, "array_to_string"));
    let mentions =
        || {
            let found = visit_expressions(expr, |expr| {
                if is_column(expr) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            found.is_break()
        };
    is_column(expr) || is_text && mentions()
}

/// Whether an expression is looked up anew for each row, as one value or as `array(select …)`.
fn is_look_up(expr: &Expr) -> bool {
    match expr {
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => looks_outside(query, &names(select)),
            _ => false,
        },
        Expr::Function(function) => {
            is_named(function, "array") && matches!(function.args, FunctionArguments::Subquery(_))
        }
        _ => false,
    }
}

/// Nothing has a comment, so the number of that which would have one, made of its name perhaps, need not be found.
fn comment_on_nothing(function: &mut Function) {
    if !COMMENTS.iter().any(|name| is_named(function, name)) {
        return;
    }
    let FunctionArguments::List(list) = &mut function.args else { return };
    list.args.iter_mut().for_each(|argument| *argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(null())));
}

fn is_list(expr: &Expr) -> bool {
    let name = match expr {
        Expr::CompoundIdentifier(parts) => parts.last(),
        Expr::Identifier(name) => Some(name),
        _ => None,
    };
    name.is_some_and(|name| LISTS.contains(&name.value.to_lowercase().as_str()))
}

/// Whether an expression is an element of a list, all of them with their places, or one of the two: of `list[1]`,
/// `_pg_expandarray(list)` and `(elements).n`.
fn is_of_a_list(expr: &Expr) -> bool {
    match expr {
        Expr::Function(function) => is_named(function, "_pg_expandarray"),
        Expr::CompoundFieldAccess { root, access_chain } => {
            // `table.list[1]` is read as fields and a place of `table`.
            let last_field = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(field) => Some(field),
                AccessExpr::Subscript(_) => None,
            });
            let is_element = matches!(access_chain.last(), Some(AccessExpr::Subscript(_)));
            let is_field = matches!(access_chain.as_slice(), [AccessExpr::Dot(_)]);
            is_element && is_list(last_field.unwrap_or(root)) || is_field && matches!(root.as_ref(), Expr::Nested(_))
        }
        _ => false,
    }
}

/// Whether an expression asks whether something is in a list: `any(list)`, or what the catalogs' own rules make of it.
fn is_in_a_list(expr: &Expr) -> bool {
    match expr {
        Expr::AnyOp { right, .. } => is_list(right),
        Expr::Function(function) if is_named(function, "array_contains") => match &function.args {
            FunctionArguments::List(list) => {
                matches!(list.args.first(), Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) if is_list(first))
            }
            _ => false,
        },
        _ => false,
    }
}

/// `to_regtype(name)` and its like, as a question to the catalog that knows the name.
fn oid_of(expr: &Expr) -> Option<Expr> {
    let Expr::Function(function) = expr else { return None };
    let (_, question) = NAMES.iter().find(|(name, _)| is_named(function, name))?;
    let FunctionArguments::List(list) = &function.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(name))] = list.args.as_slice() else { return None };
    with_value(question, name)
}

/// `pattern escape 'c'` as a pattern whose escape is the backslash, which is the only one that the engine knows.
fn escape_by_backslash(pattern: &mut Expr, escape_char: &mut Option<ValueWithSpan>) {
    let Some(Value::SingleQuotedString(escape)) = escape_char.as_ref().map(|escape| &escape.value) else { return };
    if escape.chars().count() != 1 || ["\\", "'"].contains(&escape.as_str()) {
        return;
    }
    // An escape that is escaped is itself, which is kept aside meanwhile.
    let question = format!(
        r"replace(replace(replace(replace($1, '\', '\\'), '{escape}{escape}', chr(1)), '{escape}', '\'), chr(1), '{escape}')"
    );
    if let Some(found) = with_value(&question, pattern) {
        (*pattern, *escape_char) = (found, None);
    }
}

/// An expression with a value for its one parameter.
fn with_value(question: &str, value: &Expr) -> Option<Expr> {
    let mut found = Parser::new(&PostgreSqlDialect {}).try_with_sql(question).ok()?.parse_expr().ok()?;
    let _ = visit_expressions_mut(&mut found, |expr| {
        if matches!(expr, Expr::Value(value) if matches!(value.value, Value::Placeholder(_))) {
            *expr = value.clone();
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    Some(found)
}

/// `unnest(column)` of a column that is text here becomes `unnest(array[column])`, and `generate_subscripts(…)` of one
/// `unnest(array[1])`.
fn unnest_texts(function: &mut Function) {
    let is_counting = is_named(function, "generate_subscripts");
    if !is_counting && !is_named(function, "unnest") {
        return;
    }
    let FunctionArguments::List(list) = &mut function.args else { return };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) = list.args.first_mut() else { return };
    let is_text = match first {
        Expr::CompoundIdentifier(parts) => {
            parts.last().is_some_and(|part| LISTS.contains(&part.value.to_lowercase().as_str()))
        }
        Expr::Identifier(name) => LISTS.contains(&name.value.to_lowercase().as_str()),
        _ => false,
    };
    if !is_text {
        return;
    }
    let element =
        if is_counting { Expr::Value(Value::Number("1".to_owned(), false).with_empty_span()) } else { first.clone() };
    *first = Expr::Array(Array { elem: vec![element], named: true });
    list.args.truncate(1);
    function.name = ObjectName::from(vec![Ident::new("unnest")]);
}

/// What the tables of a selection are called.
fn names(select: &Select) -> Vec<String> {
    let tables = select
        .from
        .iter()
        .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    let name = |table: &TableFactor| match table {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. } => Some(alias.name.value.clone()),
        TableFactor::Table { name, .. } => {
            name.0.last().and_then(|part| part.as_ident()).map(|part| part.value.clone())
        }
        _ => None,
    };
    tables.filter_map(name).collect()
}

/// Whether a query names a column of a table that is none of these.
fn looks_outside(query: &Query, names: &[String]) -> bool {
    let found = visit_expressions(query, |expr| match expr {
        Expr::CompoundIdentifier(parts) if parts.len() > 1 && !names.contains(&parts[parts.len() - 2].value) => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn look_ups_of_a_row_find_nothing() {
        let check = |text: &str, expected: &str| {
            let statement = Parser::parse_sql(&PostgreSqlDialect {}, text).unwrap().remove(0);
            assert_eq!(rewrite(statement).to_string(), expected, "{text}");
        };
        check(
            "SELECT CASE WHEN a.x THEN (SELECT d.y FROM pg_attrdef d WHERE d.z = a.z) ELSE NULL END AS b FROM pg_attribute a",
            "SELECT CASE WHEN a.x THEN NULL ELSE NULL END AS b FROM pg_attribute a",
        );
        check(
            "SELECT (SELECT pg_catalog.pg_type.oid FROM pg_catalog.pg_type WHERE pg_catalog.pg_type.typname = 'a')",
            "SELECT (SELECT pg_catalog.pg_type.oid FROM pg_catalog.pg_type WHERE pg_catalog.pg_type.typname = 'a')",
        );
        check(
            "SELECT unnest(i.indkey), generate_subscripts(i.indkey, 1), unnest(i.other) FROM pg_index i",
            "SELECT unnest(ARRAY[i.indkey]), unnest(ARRAY[1]), unnest(i.other) FROM pg_index i",
        );
        check(
            "SELECT array_to_string(c.reloptions, ', '), c.reloptions, array_to_string(c.x, ', ') FROM pg_class c",
            "SELECT NULL, NULL, array_to_string(c.x, ', ') FROM pg_class c",
        );
        check(
            "SELECT oid FROM pg_type t WHERE t.oid = to_regtype('a') AND (t.x = 0 OR (SELECT c.y FROM c WHERE c.oid = t.x))",
            "SELECT oid FROM pg_type t WHERE t.oid = (SELECT oid FROM pg_catalog.pg_type WHERE typname = 'a' ORDER BY oid \
             LIMIT 1) AND (t.x = 0 OR NULL)",
        );
        check(
            "SELECT a FROM pg_namespace WHERE a NOT LIKE $1 ESCAPE '/' AND a LIKE 'x'",
            "SELECT a FROM pg_namespace WHERE a NOT LIKE replace(replace(replace(replace($1, '\\', '\\\\'), '//', chr(1)), \
             '/', '\\'), chr(1), '/') AND a LIKE 'x'",
        );
        check(
            "SELECT col_description(CAST(CAST(format('%I', a.b) AS REGCLASS) AS OID), a.n) FROM pg_attribute a",
            "SELECT col_description(NULL, NULL) FROM pg_attribute a",
        );
        check(
            "SELECT (information_schema._pg_expandarray(i.indkey)).n, c.conkey[1] FROM pg_index i, pg_constraint c \
             WHERE a.n = ANY(c.conkey) AND array_contains(c.confkey, a.n) AND a.n = (keys.both).x",
            "SELECT NULL, NULL FROM pg_index i, pg_constraint c WHERE false AND false AND a.n = NULL",
        );
        check("SELECT r.a, ARRAY(SELECT b.c FROM b WHERE b.d = r.a) AS e FROM r", "SELECT r.a, NULL AS e FROM r");
        check(
            "SELECT 1 FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.x = a.x)",
            "SELECT 1 FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.x = a.x)",
        );
    }
}
