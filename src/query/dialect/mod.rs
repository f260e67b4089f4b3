//! SQL as clients of Postgres send it: their dialect, the catalogs that they ask, and what they say to a session.
//!
//! A statement about our tables is planned as it stands. Only one that asks the catalogs is rewritten before, as
//! clients' fixed questions need it: such a rewriting may change what an answer says, which nobody minds who lists
//! types, and everybody who adds up money.

mod command;
mod functions;
mod information;
mod listed;
mod rewrite;
mod session;
mod setting;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::{
    common::{
        ParamValues, ScalarValue,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    execution::context::SessionContext,
    logical_expr::{Expr, ExprSchemable, LogicalPlan, sqlparser::ast::Statement as SqlStatement},
    sql::parser::Statement,
};
use tokio::sync::OnceCell;

pub use command::Command;
pub use setting::default_of as default_setting;

use super::{
    engine::{Engine, bind},
    error::from_engine,
    guard,
    options::Options,
    running::Rows,
};
use crate::error::{Error, Kind, Result};

/// Values for the placeholders of a statement, `$1` first.
pub type Values = ParamValues;

/// A statement that asks for rows. Whether it may is decided when it is planned.
#[derive(Clone)]
pub struct Selection(Box<SqlStatement>);

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Selection")
    }
}

/// What is known of a statement before it runs.
#[derive(Debug, Clone)]
pub struct Description {
    /// The types of `$1`, `$2`, …
    pub parameters: Vec<DataType>,
    /// The columns of its result.
    pub schema: SchemaRef,
}

/// The session of one scope in which statements of clients are planned.
pub struct Dialect {
    reader: Arc<session::Reader>,
    context: SessionContext,
}

/// What the dialects of all scopes have in common; made when the first client comes.
pub type Shared = OnceCell<Arc<session::Reader>>;

impl Dialect {
    /// That of a scope: over its tables, and nothing else.
    pub async fn over(context: &SessionContext, shared: &Shared) -> Result<Self> {
        let wrong = |error| from_engine("cannot set up the catalogs", error);
        let reader =
            shared.get_or_try_init(|| async { session::Reader::new(context).map(Arc::new) }).await.map_err(wrong)?;
        let context = reader.session(context).await.map_err(wrong)?;
        Ok(Self { reader: Arc::clone(reader), context })
    }

    async fn plan(&self, engine: &Engine, question: &Selection) -> Result<LogicalPlan> {
        engine.plan_statement(&self.context, Statement::Statement(question.0.clone())).await
    }
}

impl Engine {
    /// What a text of statements says, one after the other.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] where it is no SQL, [`Kind::TooLarge`] where it is too deep.
    pub async fn read(&self, text: &str) -> Result<Vec<Command>> {
        guard::check_depth(text)?;
        let dialect = self.dialect().await?;
        let statements = dialect
            .reader
            .read(text, &dialect.context)
            .map_err(|error| from_engine("cannot read the statement", error.into()))?;
        Ok(statements.into_iter().map(command::of).collect())
    }

    /// The parameters and columns of a statement. `hints` are the types that the client said its parameters have; what
    /// the statement makes of them goes before.
    pub async fn describe(&self, question: &Selection, hints: &[Option<DataType>]) -> Result<Description> {
        let _turn = self.turn().await?;
        let plan = self.dialect().await?.plan(self, question).await?;
        let inferred = plan.get_parameter_types().map_err(|error| from_engine("cannot read the parameters", error))?;
        let parameters = parameters(&inferred, &wanted(&plan), hints)?;
        let nulls: Vec<ScalarValue> = parameters
            .iter()
            .map(|kind| ScalarValue::try_from(kind).map_err(|error| from_engine("cannot type a parameter", error)))
            .collect::<Result<_>>()?;
        let plan = if nulls.is_empty() { plan } else { bind(plan, ParamValues::from(nulls))? };
        Ok(Description { parameters, schema: SchemaRef::clone(plan.schema().inner()) })
    }

    /// Runs a statement, no longer than its client wants and than any may.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::sql`].
    pub async fn answer(
        &self,
        question: &Selection,
        values: Option<Values>,
        timeout: Option<Duration>,
    ) -> Result<Rows> {
        let turn = self.turn().await?;
        let plan = self.dialect().await?.plan(self, question).await?;
        let plan = match values {
            Some(values) if !matches!(&values, ParamValues::List(values) if values.is_empty()) => bind(plan, values)?,
            _ => plan,
        };
        // A client may put a portal aside.
        Ok(self.run_within(plan, turn, Options::default(), timeout).await?.giving_way())
    }
}

/// What placeholders have to be where they stand: `$1::text[]` says it, `x = any($1)` by the type of `x`, and `limit $1`
/// is a number of rows.
fn wanted(plan: &LogicalPlan) -> HashMap<String, DataType> {
    let mut wanted = HashMap::new();
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            let counts = [&limit.skip, &limit.fetch].into_iter().flatten().filter_map(|count| named(count));
            wanted.extend(counts.map(|name| (name.to_owned(), DataType::Int64)));
        }
        let input = node.inputs().first().map_or_else(|| node.schema(), |input| input.schema());
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                let found = match expr {
                    Expr::Cast(cast) => named(&cast.expr).map(|name| (name, cast.field.data_type().clone())),
                    Expr::ScalarFunction(function) if function.name() == "array_has" => {
                        match function.args.as_slice() {
                            [list, element] => named(list).zip(element.get_type(input).ok().map(list_of)),
                            _ => None,
                        }
                    }
                    _ => None,
                };
                if let Some((name, kind)) = found {
                    wanted.entry(name.to_owned()).or_insert(kind);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    wanted
}

fn named(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Placeholder(placeholder) => Some(&placeholder.id),
        _ => None,
    }
}

fn list_of(element: DataType) -> DataType {
    // Clients' lists are made of plain texts.
    let element = if element == DataType::Utf8View { DataType::Utf8 } else { element };
    DataType::List(Arc::new(Field::new_list_field(element, true)))
}

/// The types of `$1` to the highest.
fn parameters(
    inferred: &HashMap<String, Option<DataType>>,
    wanted: &HashMap<String, DataType>,
    hints: &[Option<DataType>],
) -> Result<Vec<DataType>> {
    let mut count = hints.len();
    let mut known = HashMap::new();
    for (name, kind) in inferred {
        let Some(number) = name.strip_prefix('$').and_then(|digits| digits.parse().ok()).filter(|number| *number > 0)
        else {
            return Err(Error::invalid(format!("there is no parameter {name}: they are $1, $2, …")));
        };
        if number > PARAMETERS_MAX {
            return Err(Error::new(Kind::TooLarge, format!("a statement has at most {PARAMETERS_MAX} parameters")));
        }
        count = count.max(number);
        known.insert(number, kind.clone().or_else(|| wanted.get(name).cloned()));
    }
    let kind = |number: usize| {
        let used = known.get(&number).cloned().flatten();
        parameter(used, hints.get(number - 1).cloned().flatten())
    };
    Ok((1..=count).map(kind).collect())
}

/// The type of a parameter: as the statement uses it, unless the client has a value of a type that would lose by that;
/// text where neither says.
fn parameter(used: Option<DataType>, hint: Option<DataType>) -> DataType {
    match (used, hint) {
        (Some(used), Some(hint)) => {
            let fits = hint == DataType::Utf8
                || hint.is_integer() && used.is_numeric()
                || hint.is_floating() && used.is_floating()
                || matches!((&hint, &used), (DataType::Timestamp(..), DataType::Timestamp(..)));
            if fits { used } else { hint }
        }
        (used, hint) => used.or(hint).unwrap_or(DataType::Utf8),
    }
}

/// What a message can count.
const PARAMETERS_MAX: usize = u16::MAX as usize;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_what_the_statement_makes_of_them() {
        let inferred = |names: &[(&str, Option<DataType>)]| {
            names.iter().map(|(name, kind)| ((*name).to_owned(), kind.clone())).collect::<HashMap<_, _>>()
        };
        let hints = [Some(DataType::Int16), Some(DataType::Float64)];
        let wanted = HashMap::from([("$1".to_owned(), DataType::Int8), ("$4".to_owned(), DataType::Date32)]);
        let used = inferred(&[("$1", Some(DataType::Int64)), ("$2", None), ("$4", None)]);
        let found = parameters(&used, &wanted, &hints);
        assert_eq!(found.unwrap(), [DataType::Int64, DataType::Float64, DataType::Utf8, DataType::Date32]);
        let wanted = HashMap::new();
        assert_eq!(parameters(&inferred(&[]), &wanted, &[]).unwrap(), []);
        // 1.5 is no whole number, whatever it is compared with.
        assert_eq!(parameter(Some(DataType::Int64), Some(DataType::Float64)), DataType::Float64);
        assert_eq!(parameter(Some(DataType::Float32), Some(DataType::Float64)), DataType::Float32);
        assert_eq!(parameter(Some(DataType::Utf8View), Some(DataType::Utf8)), DataType::Utf8View);
        assert_eq!(parameter(Some(DataType::Utf8View), Some(DataType::Date32)), DataType::Date32);
        for wrong in ["$0", "$name", "$70000"] {
            assert!(parameters(&inferred(&[(wrong, None)]), &wanted, &[]).is_err(), "{wrong}");
        }
    }
}
