//! What a rollup file says: by which columns it groups, which figures it keeps, and how what is asked of
//! calls is answered from its rows. Pure: plans and expressions in, expressions out.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::{
    common::{
        Column, ScalarValue,
        tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Expr, LogicalPlan, expr::AggregateFunction, when},
};

use super::source::{Question, named_aggregate};
use crate::record::col;

/// How long a window lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grain {
    /// An hour of UTC.
    Hour,
    /// A day of UTC.
    Day,
}

impl Grain {
    /// The grain of a file's header.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "hour" => Some(Grain::Hour),
            "day" => Some(Grain::Day),
            _ => None,
        }
    }

    /// Its length, µs.
    pub fn us(self) -> i64 {
        match self {
            Grain::Hour => 3_600_000_000,
            Grain::Day => 86_400_000_000,
        }
    }

    /// Units of `date_trunc` whose periods are made of whole windows.
    fn units(self) -> &'static [&'static str] {
        match self {
            Grain::Hour => &["hour", "day", "week", "month", "quarter", "year"],
            Grain::Day => &["day", "week", "month", "quarter", "year"],
        }
    }
}

/// A column of the rollup and what it is of the calls.
#[derive(Debug, Clone, PartialEq)]
struct Kept {
    name: String,
    expr: Expr,
}

/// A rollup.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Its file's name.
    pub name: String,
    /// Its windows.
    pub grain: Grain,
    /// Its columns.
    pub schema: SchemaRef,
    window: String,
    dimensions: Vec<Kept>,
    measures: Vec<Kept>,
}

impl Definition {
    /// The rollup of a file whose plan was analyzed and simplified.
    ///
    /// # Errors
    ///
    /// A sentence that says why the statement is no rollup.
    pub fn of(name: &str, grain: Grain, plan: &LogicalPlan) -> Result<Self, String> {
        let no_rollup = "a rollup is one `select … from agent_logs group by …` that names each of its columns";
        let (aggregate, names) = named_aggregate(plan).ok_or(no_rollup)?;
        let question = Question::of(aggregate, &|_| true).ok_or(no_rollup)?;
        if !question.source.filters.is_empty() {
            return Err("a rollup has all calls: it takes no `where`".to_owned());
        }
        let fields = aggregate.schema.fields();
        let exprs = question.groups.iter().chain(&question.figures);
        let mut kept = names.iter().zip(exprs).map(|(name, expr)| Kept { name: name.clone(), expr: expr.clone() });
        let dimensions: Vec<Kept> = kept.by_ref().take(question.groups.len()).collect();
        let measures: Vec<Kept> = kept.collect();
        if let Some(measure) = measures.iter().find(|measure| merge_of(&measure.expr).is_none()) {
            return Err(format!("{} is no figure of which parts can be put together", measure.name));
        }
        let window =
            dimensions.iter().find(|dimension| truncated(&dimension.expr).is_some_and(|unit| unit == name_of(grain)));
        let window =
            window.ok_or_else(|| format!("no column is date_trunc('{}', timestamp)", name_of(grain)))?.name.clone();
        let columns =
            names.iter().zip(fields.iter()).map(|(name, field)| Field::new(name, field.data_type().clone(), true));
        let schema = Arc::new(Schema::new(columns.collect::<Vec<_>>()));
        Ok(Self { name: name.to_owned(), grain, schema, window, dimensions, measures })
    }

    /// The groups and figures of a row, in terms of calls, under the rollup's names.
    pub fn parts(&self) -> (Vec<Expr>, Vec<Expr>) {
        let named = |kept: &Kept| kept.expr.clone().alias(&kept.name);
        (self.dimensions.iter().map(named).collect(), self.measures.iter().map(named).collect())
    }

    /// The column of the window's start.
    pub fn window(&self) -> Expr {
        column(&self.window)
    }

    /// A function of a call in terms of the rollup's columns, if it is the same for all calls of a row.
    pub fn of_row(&self, expr: &Expr) -> Option<Expr> {
        let mut is_same = true;
        let rewritten = expr.clone().transform_down(|node| {
            if let Some(kept) = self.dimensions.iter().find(|kept| kept.expr == node) {
                return Ok(Transformed::new(column(&kept.name), true, TreeNodeRecursion::Jump));
            }
            if let (Some(unit), Expr::ScalarFunction(function)) = (truncated(&node), &node)
                && self.grain.units().contains(&unit.as_str())
            {
                let mut coarser = function.clone();
                coarser.args[1] = self.window();
                return Ok(Transformed::new(Expr::ScalarFunction(coarser), true, TreeNodeRecursion::Jump));
            }
            is_same &= !matches!(node, Expr::Column(_));
            Ok(Transformed::no(node))
        });
        rewritten.data().ok().filter(|_| is_same)
    }

    /// A figure's part in each row, in terms of the rollup's columns.
    pub fn of_rows(&self, figure: &Expr) -> Option<Expr> {
        let measure =
            |wanted: &Expr| self.measures.iter().find(|kept| kept.expr == *wanted).map(|kept| column(&kept.name));
        if let Some(found) = measure(figure) {
            return Some(found);
        }
        // The figure of some calls, where which ones is the same for all calls of a row.
        let Expr::AggregateFunction(function) = figure else { return None };
        let filter = self.of_row(function.params.filter.as_deref()?)?;
        let mut unfiltered = function.clone();
        unfiltered.params.filter = None;
        when(filter, measure(&Expr::AggregateFunction(unfiltered))?).end().ok()
    }
}

/// How the parts of a figure are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// They are added; of nothing it is 0.
    Count,
    /// They are added; of nothing it is null.
    Sum,
    /// The least counts.
    Min,
    /// The greatest counts.
    Max,
    /// They are merged by the aggregate of this name.
    Sketch(&'static str),
}

/// How the parts of this figure are put together, if they can be.
pub fn merge_of(figure: &Expr) -> Option<Merge> {
    let function = plain(figure)?;
    match function.func.name() {
        "count" => Some(Merge::Count),
        "sum" => Some(Merge::Sum),
        "min" => Some(Merge::Min),
        "max" => Some(Merge::Max),
        "quantile_sketch" => Some(Merge::Sketch("quantile_sketch_merge")),
        "distinct_sketch" => Some(Merge::Sketch("distinct_sketch_merge")),
        "histogram_sketch" => Some(Merge::Sketch("histogram_sketch_merge")),
        _ => None,
    }
}

/// An aggregate function of all its rows in any order.
pub fn plain(figure: &Expr) -> Option<&AggregateFunction> {
    match figure {
        Expr::AggregateFunction(function)
            if !function.params.distinct
                && function.params.order_by.is_empty()
                && function.params.null_treatment.is_none() =>
        {
            Some(function)
        }
        _ => None,
    }
}

fn name_of(grain: Grain) -> &'static str {
    grain.units()[0]
}

/// The unit, if this is `date_trunc(unit, timestamp)`.
fn truncated(expr: &Expr) -> Option<String> {
    let Expr::ScalarFunction(function) = expr else { return None };
    let [Expr::Literal(ScalarValue::Utf8(Some(unit)) | ScalarValue::Utf8View(Some(unit)), _), Expr::Column(time)] =
        function.args.as_slice()
    else {
        return None;
    };
    (function.name() == "date_trunc" && time.name == col::TIMESTAMP).then(|| unit.to_ascii_lowercase())
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}
