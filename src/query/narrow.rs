//! Questions about some of the calls only: a named file or a statement, as it is, over the calls that fulfil
//! conditions. A condition is typed and stands on the plan, directly above the stored table, so that it holds below
//! every view, join and subquery, and rollups answer it where they can. What a column says is what the view of the calls
//! makes of it. It never becomes a part of a statement's text.

use arrow::{
    array::StringArray,
    compute::kernels::regexp::regexp_is_match_scalar,
    datatypes::{DataType, Field},
};
use datafusion::{
    common::{
        Column, Result as EngineResult, ScalarValue,
        tree_node::{Transformed, TreeNodeRecursion},
    },
    datasource::source_as_provider,
    execution::FunctionRegistry,
    functions_aggregate::expr_fn::count,
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Operator, binary_expr, cast, lit, utils::conjunction},
};
use serde::Deserialize;

use super::{
    Engine, LibraryKind, Range, engine::bind_named, error::from_engine, options::Options, planned::FilePlan,
    provider::StoredTable, rollup::Source, running::Rows,
};
use crate::{
    error::{Context, Error, Kind, Result},
    named::{NamedSql, ParamKind, ParamValue},
    record::{Table, col},
};

/// What a condition is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A column of the stored calls.
    Column(&'static str),
    /// A field of `attributes`.
    Attribute(String),
}

/// What stands before the name of a field of `attributes`.
const ATTRIBUTE: &str = "attributes.";

/// What a value is compared with. A value that is absent is the empty text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// It is this.
    Equal(String),
    /// It is not this.
    NotEqual(String),
    /// It is less: as a number, or by the alphabet where the column has texts.
    Less(String),
    /// It is greater.
    Greater(String),
    /// All of it matches the regular expression.
    Matches(String),
    /// It does not.
    NotMatches(String),
    /// It is one of these.
    OneOf(Vec<String>),
    /// It is none of these.
    NoneOf(Vec<String>),
}

/// A condition on a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What it is about.
    pub subject: Subject,
    /// What has to hold.
    pub comparison: Comparison,
}

/// What is asked.
#[derive(Debug, Clone)]
pub enum Question<'a> {
    /// A named file, with its arguments as text.
    Named {
        /// Its kind.
        kind: LibraryKind,
        /// Its name.
        name: &'a str,
        /// Its arguments.
        arguments: Vec<(&'a str, &'a str)>,
    },
    /// A statement that reads, with values for its `$name`s; values that it does not name are passed over.
    Sql {
        /// The statement.
        text: &'a str,
        /// The values.
        values: Vec<(String, ParamValue)>,
    },
}

/// Some of the rows of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Page {
    /// Rows that are passed over.
    pub offset: usize,
    /// Most rows.
    pub limit: Option<usize>,
}

/// An answer.
pub struct Answer {
    /// Its rows.
    pub rows: Rows,
    /// Whether the conditions hold for it; not where the question reads no calls.
    pub is_narrowed: bool,
}

impl Subject {
    /// A column that conditions may be about, or `attributes.` and the name of a field.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Invalid`] that says what there is.
    pub fn of(name: &str) -> Result<Self> {
        if let Some(field) = name.strip_prefix(ATTRIBUTE).filter(|field| !field.is_empty()) {
            return Ok(Self::Attribute(field.to_owned()));
        }
        filterable().map(|(column, _)| column).find(|column| *column == name).map(Self::Column).ok_or_else(|| {
            let names: Vec<&str> = filterable().map(|(column, _)| column).collect();
            let names = names.join(", ");
            Error::invalid(format!("{name} is no column to filter by; there are {names}, and {ATTRIBUTE}…"))
        })
    }
}

/// The columns that conditions may be about, and whether each has numbers.
pub fn filterable() -> impl Iterator<Item = (&'static str, bool)> {
    let fields = Table::AgentLogs.schema().fields().iter();
    fields.filter(|field| ![col::ATTRIBUTES, col::INGEST_SEQ].contains(&field.name().as_str())).filter_map(|field| {
        match field.data_type() {
            DataType::Utf8View | DataType::Boolean => Some((field.name().as_str(), false)),
            data_type if data_type.is_numeric() => Some((field.name().as_str(), true)),
            _ => None,
        }
    })
}

/// Greater offsets and limits name no rows that there are, and their sum has to stay a number.
const ROWS_MAX: usize = 1 << 53;

impl Page {
    /// Takes `offset` and `limit` out of arguments that are not the file's own. Where the file has a `limit` of its
    /// own, it is left to it, and grows by the offset.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Invalid`] for what is no whole number.
    pub fn taken(named: &NamedSql, arguments: &mut Vec<(String, String)>) -> Result<Self> {
        let own = |name: &str| named.params.iter().find(|param| param.name == name && param.kind == ParamKind::Int);
        let mut take = |name: &str| -> Result<Option<usize>> {
            let Some(at) = arguments.iter().position(|(given, _)| given == name) else { return Ok(None) };
            let text = arguments.remove(at).1;
            if text.trim().is_empty() {
                return Ok(None);
            }
            let number = text.trim().parse().ok().filter(|number| *number <= ROWS_MAX);
            let number = number.ok_or_else(|| {
                Error::invalid(format!("{name}={text} is no whole number such as 100, at most {ROWS_MAX}"))
            })?;
            Ok(Some(number))
        };
        if own("offset").is_some() {
            return Ok(Self::default());
        }
        let offset = take("offset")?.unwrap_or(0);
        let Some(param) = own("limit") else { return Ok(Self { offset, limit: take("limit")? }) };
        let limit = match take("limit")? {
            Some(limit) => Some(limit),
            None => param.default.as_deref().and_then(|default| default.parse().ok()),
        };
        if let Some(limit) = limit {
            arguments.push(("limit".to_owned(), limit.saturating_add(offset).to_string()));
        }
        Ok(Self { offset, limit: None })
    }

    fn of(self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if self == Self::default() {
            return Ok(plan);
        }
        let limited = LogicalPlanBuilder::from(plan).limit(self.offset, self.limit).and_then(LogicalPlanBuilder::build);
        limited.map_err(|error| from_engine("cannot take a page", error))
    }
}

#[derive(Deserialize)]
struct ValueRow {
    value: Option<String>,
}

impl Engine {
    /// Answers a question over those calls that fulfil all conditions. Of its columns of numbers only `figures` are
    /// computed, all where none is named.
    ///
    /// # Errors
    ///
    /// As [`Engine::sql`] and [`Engine::named`].
    pub async fn ask(
        &self,
        question: Question<'_>,
        conditions: &[Condition],
        figures: &[String],
        page: Page,
        options: Options,
    ) -> Result<Answer> {
        let (turn, plan, values) = match question {
            Question::Sql { text, values } => (self.turn().await?, self.plan(text).await?, values),
            Question::Named { kind, name, arguments } => {
                let entry = self.library().get(kind, name)?;
                let bound = entry.named.bind(arguments, self.now_us());
                let values = bound.map_err(|error| Error::invalid(format!("query {name}: {error}")))?;
                let turn = self.turn().await?;
                let FilePlan { whole, needed } = self.plan_of(entry).await?;
                (turn, if conditions.is_empty() { needed } else { whole }, values)
            }
        };
        let plan = bind_named(plan, values)?;
        let (plan, is_narrowed) = self.narrowed(plan, conditions).await?;
        let rows = self.run(page.of(with_figures(plan, figures)?)?, turn, options).await?;
        Ok(Answer { rows, is_narrowed })
    }

    /// The values of a column, or of a field of `attributes`, among the calls of a range that fulfil all conditions:
    /// the most frequent ones first.
    ///
    /// # Errors
    ///
    /// As [`Engine::sql`].
    pub async fn values_of(
        &self,
        subject: &Subject,
        range: Range,
        conditions: &[Condition],
        limit: usize,
    ) -> Result<Vec<String>> {
        let value = cast(self.value_of(subject)?, DataType::Utf8).alias("value");
        let at = |us| lit(ScalarValue::TimestampMicrosecond(Some(us), None));
        let time = || Expr::Column(Column::from_name(col::TIMESTAMP));
        let plan = async {
            let plan = self.context().table(Table::AgentLogs.name()).await?.into_unoptimized_plan();
            let by_calls = Expr::Column(Column::from_name("calls")).sort(false, false);
            let by_value = Expr::Column(Column::from_name("value")).sort(true, true);
            LogicalPlanBuilder::from(plan)
                .filter(time().gt_eq(at(range.from_us)).and(time().lt(at(range.to_us))))?
                .aggregate([value], [count(lit(1_i64)).alias("calls")])?
                .filter(Expr::Column(Column::from_name("value")).is_not_null())?
                .sort([by_calls, by_value])?
                .limit(0, Some(limit))?
                .build()
        };
        let plan = plan.await.map_err(|error| from_engine("cannot ask for values", error))?;
        let (plan, _) = self.narrowed(plan, conditions).await?;
        let rows: Vec<ValueRow> = self.run_plan(plan).await?.collect_as().await?;
        Ok(rows.into_iter().filter_map(|row| row.value).collect())
    }

    /// The plan over those calls only, and whether it reads any.
    pub(super) async fn narrowed(&self, plan: LogicalPlan, conditions: &[Condition]) -> Result<(LogicalPlan, bool)> {
        if conditions.is_empty() {
            return Ok((plan, true));
        }
        let wrong = |error| from_engine("cannot read the view of the calls", error);
        let view = self.context().table(Table::AgentLogs.name()).await.map_err(wrong)?.into_unoptimized_plan();
        let all = conditions.iter().map(|condition| {
            let value = match &condition.subject {
                Subject::Column(name) => stored(&view, name),
                attribute => self.value_of(attribute)?,
            };
            told(condition, value)
        });
        let Some(condition) = conjunction(all.collect::<Result<Vec<_>>>()?) else { return Ok((plan, true)) };
        let mut reads_calls = false;
        let narrowed = plan.transform_down_with_subqueries(|node| {
            if !is_calls(&node)? {
                return Ok(Transformed::no(node));
            }
            reads_calls = true;
            let filtered = LogicalPlanBuilder::from(node).filter(condition.clone())?.build()?;
            // The table itself is below it now, and stays as it is.
            Ok(Transformed::new(filtered, true, TreeNodeRecursion::Jump))
        });
        let narrowed = narrowed.map_err(|error| from_engine("cannot filter the calls", error))?;
        Ok((narrowed.data, reads_calls))
    }

    fn value_of(&self, subject: &Subject) -> Result<Expr> {
        match subject {
            Subject::Column(name) => Ok(Expr::Column(Column::from_name(*name))),
            Subject::Attribute(field) => {
                let get = FunctionRegistry::udf(self.context(), "json_as_text")
                    .map_err(|error| from_engine("a function is missing", error))?;
                Ok(get.call(vec![Expr::Column(Column::from_name(col::ATTRIBUTES)), lit(field.as_str())]))
            }
        }
    }
}

/// The plan without its other columns of numbers. As it is where it has not all of these: whoever reads its rows says so.
fn with_figures(plan: LogicalPlan, figures: &[String]) -> Result<LogicalPlan> {
    let schema = plan.schema();
    if figures.is_empty() || !figures.iter().all(|name| schema.has_column_with_unqualified_name(name)) {
        return Ok(plan);
    }
    let is_asked = |field: &Field| !field.data_type().is_numeric() || figures.contains(field.name());
    let kept: Vec<Expr> =
        schema.iter().filter(|(_, field)| is_asked(field)).map(|(table, field)| Expr::from((table, field))).collect();
    let kept = LogicalPlanBuilder::from(plan).project(kept).and_then(LogicalPlanBuilder::build);
    kept.map_err(|error| from_engine("cannot take figures", error))
}

/// What the view of the calls makes of a column, in terms of the stored ones; the column itself where a view of the
/// user's own makes more of the table than its rows.
fn stored(view: &LogicalPlan, name: &str) -> Expr {
    let column = view.schema().columns().into_iter().find(|column| column.name == name);
    let source = Source::of(view, &|table| table.table() == Table::AgentLogs);
    let told = source.zip(column).and_then(|(source, column)| source.told(&Expr::Column(column)));
    told.unwrap_or_else(|| Expr::Column(Column::from_name(name)))
}

fn told(condition: &Condition, value: Expr) -> Result<Expr> {
    let comparison = &condition.comparison;
    if let Comparison::Matches(pattern) | Comparison::NotMatches(pattern) = comparison {
        // Told here, and not when the first row is read.
        let tried = regexp_is_match_scalar(&StringArray::from(vec![""]), &whole(pattern), None);
        tried.kind_context(Kind::Invalid, || "a filter's regular expression is wrong".into())?;
    }
    let Subject::Column(name) = &condition.subject else { return Ok(text_condition(value, comparison)) };
    match Table::AgentLogs.schema().field_with_name(name).map(Field::data_type) {
        Ok(data_type) if data_type.is_numeric() => number_condition(name, value, comparison),
        Ok(DataType::Boolean) => Ok(text_condition(cast(value, DataType::Utf8), comparison)),
        _ => Ok(text_condition(value, comparison)),
    }
}

fn is_calls(plan: &LogicalPlan) -> EngineResult<bool> {
    let LogicalPlan::TableScan(scan) = plan else { return Ok(false) };
    // Not every source is a provider of tables; those are not ours.
    let Ok(provider) = source_as_provider(&scan.source) else { return Ok(false) };
    Ok(provider.as_ref().downcast_ref::<StoredTable>().is_some_and(|table| table.table() == Table::AgentLogs))
}

fn text(value: &str) -> Expr {
    lit(ScalarValue::Utf8View(Some(value.to_owned())))
}

/// All of a value is matched, as a label of Prometheus is.
fn whole(pattern: &str) -> String {
    format!("^(?:{pattern})$")
}

fn text_condition(value: Expr, comparison: &Comparison) -> Expr {
    let is_absent = || value.clone().is_null();
    let whole = |pattern: &str| text(&whole(pattern));
    match comparison {
        Comparison::Equal(wanted) if wanted.is_empty() => is_absent().or(value.clone().eq(text(""))),
        Comparison::Equal(wanted) => value.eq(text(wanted)),
        Comparison::NotEqual(other) if other.is_empty() => value.not_eq(text("")),
        Comparison::NotEqual(other) => is_absent().or(value.clone().not_eq(text(other))),
        Comparison::Less(bound) => value.lt(text(bound)),
        Comparison::Greater(bound) => value.gt(text(bound)),
        Comparison::Matches(pattern) => binary_expr(value, Operator::RegexMatch, whole(pattern)),
        Comparison::NotMatches(pattern) => {
            is_absent().or(binary_expr(value.clone(), Operator::RegexNotMatch, whole(pattern)))
        }
        Comparison::OneOf(wanted) => {
            let list = value.clone().in_list(wanted.iter().map(|one| text(one)).collect(), false);
            if wanted.iter().any(String::is_empty) { is_absent().or(list) } else { list }
        }
        Comparison::NoneOf(others) => {
            let list = value.clone().in_list(others.iter().map(|one| text(one)).collect(), true);
            if others.iter().any(String::is_empty) { list } else { is_absent().or(list) }
        }
    }
}

fn number_condition(name: &str, value: Expr, comparison: &Comparison) -> Result<Expr> {
    let number = |text: &str| -> Result<Expr> {
        let parsed = text.trim().parse().ok().filter(|number: &f64| number.is_finite());
        let number = parsed.ok_or_else(|| Error::invalid(format!("{name} holds numbers, and {text} is none")))?;
        Ok(lit(number))
    };
    let numbers = |texts: &[String]| texts.iter().map(|text| number(text)).collect::<Result<Vec<_>>>();
    let is_absent = || value.clone().is_null();
    Ok(match comparison {
        Comparison::Equal(wanted) if wanted.is_empty() => is_absent(),
        Comparison::Equal(wanted) => value.eq(number(wanted)?),
        Comparison::NotEqual(other) if other.is_empty() => value.is_not_null(),
        Comparison::NotEqual(other) => is_absent().or(value.clone().not_eq(number(other)?)),
        Comparison::Less(bound) => value.lt(number(bound)?),
        Comparison::Greater(bound) => value.gt(number(bound)?),
        Comparison::OneOf(wanted) => value.in_list(numbers(wanted)?, false),
        Comparison::NoneOf(others) => is_absent().or(value.clone().in_list(numbers(others)?, true)),
        Comparison::Matches(_) | Comparison::NotMatches(_) => text_condition(cast(value, DataType::Utf8), comparison),
    })
}
