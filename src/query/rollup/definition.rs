//! What a rollup file says: by which columns it groups, which figures it keeps, and how what is asked of
//! calls is answered from its rows. Pure: plans and expressions in, expressions out.

use std::sync::Arc;

use arrow::datatypes::{Field, IntervalMonthDayNano, Schema, SchemaRef};
use datafusion::{
    common::{
        Column, Result as EngineResult, ScalarValue, internal_datafusion_err,
        tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion},
    },
    functions_aggregate::expr_fn::{max, min, sum},
    logical_expr::{
        Expr, LogicalPlan,
        expr::{AggregateFunction, ScalarFunction},
        utils::{conjunction, split_conjunction},
        when,
    },
};

use super::source::{Question, named_aggregate};
use crate::{
    query::{
        series::{Buckets, TIME_BUCKET, buckets_of},
        sketches,
    },
    record::{PARTITION, col},
    sketch,
};

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
        Self::ALL.into_iter().find(|grain| grain.name() == name)
    }

    /// All there are.
    pub const ALL: [Grain; 2] = [Grain::Hour, Grain::Day];

    /// What a file's header calls it, and `date_trunc`.
    pub fn name(self) -> &'static str {
        self.units()[0]
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

/// Why a statement is no rollup.
#[derive(Debug)]
pub struct NoRollup {
    /// The column that is why, if one is.
    pub column: Option<String>,
    /// A sentence.
    pub message: String,
}

/// A rollup.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Its file's name, and its grain's where the file has several.
    pub name: String,
    /// Its windows.
    pub grain: Grain,
    /// Its columns.
    pub schema: SchemaRef,
    /// The list of calls whose elements are counted, if not the calls themselves.
    pub unnested: Option<String>,
    /// What the counted rows fulfil.
    conditions: Vec<Expr>,
    window: String,
    dimensions: Vec<Kept>,
    measures: Vec<Kept>,
}

impl Definition {
    /// The rollup of a file whose plan was analyzed and simplified.
    ///
    /// # Errors
    ///
    /// Why the statement is no rollup.
    pub fn of(name: &str, grain: Grain, plan: &LogicalPlan) -> Result<Self, NoRollup> {
        let because = |message: &str| NoRollup { column: None, message: message.to_owned() };
        let no_rollup =
            || because("a rollup is one `select … from agent_logs group by …` that names each of its columns");
        let (aggregate, names) = named_aggregate(plan).ok_or_else(no_rollup)?;
        let Question { source, groups, figures } = Question::of(aggregate, &|_| true).ok_or_else(no_rollup)?;
        if source.filters.iter().flat_map(Expr::column_refs).any(|column| column.name == col::TIMESTAMP) {
            return Err(because("a rollup is of all time: it takes no condition on `timestamp`"));
        }
        let fields = aggregate.schema.fields();
        let exprs = groups.iter().chain(&figures);
        let mut kept = names.iter().zip(exprs).map(|(name, expr)| Kept { name: name.clone(), expr: expr.clone() });
        let dimensions: Vec<Kept> = kept.by_ref().take(groups.len()).collect();
        let measures: Vec<Kept> = kept.collect();
        if let Some(measure) = measures.iter().find(|measure| merge_of(&measure.expr).is_none()) {
            let message = format!("{} is no figure of which parts can be put together", measure.name);
            return Err(NoRollup { column: Some(measure.name.clone()), message });
        }
        let is_window = |dimension: &&Kept| truncated(&dimension.expr).is_some_and(|unit| unit == grain.name());
        let window = dimensions.iter().find(is_window).map(|window| window.name.clone());
        let window =
            window.ok_or_else(|| because(&format!("no column is date_trunc('{}', timestamp)", grain.name())))?;
        let columns =
            names.iter().zip(fields.iter()).map(|(name, field)| Field::new(name, field.data_type().clone(), true));
        let schema = Arc::new(Schema::new(columns.collect::<Vec<_>>()));
        let (unnested, conditions) = (source.unnested, source.filters);
        Ok(Self { name: name.to_owned(), grain, schema, unnested, conditions, window, dimensions, measures })
    }

    /// What it keeps, in full: other texts, or views that say something else, make other rows.
    pub fn fingerprint(&self) -> String {
        let kept = self.dimensions.iter().chain(&self.measures).map(|kept| format!("{}: {}", kept.name, kept.expr));
        let conditions = self.conditions.iter().map(|condition| format!("where {condition}"));
        let source = self.unnested.iter().map(|list| format!("from {list}"));
        source.chain(conditions).chain(kept).collect::<Vec<_>>().join("\n")
    }

    /// The conditions that its counted rows fulfil.
    pub fn conditions(&self) -> impl Iterator<Item = Expr> {
        self.conditions.iter().cloned()
    }

    /// What a statement asks beyond what its counted rows fulfil; none where these are not all that it asks for.
    pub fn beyond<'a>(&self, unnested: Option<&str>, asked: &'a [Expr]) -> Option<Vec<&'a Expr>> {
        let has_all = self.unnested.as_deref() == unnested && self.conditions.iter().all(|own| asked.contains(own));
        has_all.then(|| asked.iter().filter(|condition| !self.conditions.contains(condition)).collect())
    }

    /// The groups and figures of a row, in terms of calls, under the rollup's names.
    pub fn parts(&self) -> (Vec<Expr>, Vec<Expr>) {
        let named = |kept: &Kept| kept.expr.clone().alias(&kept.name);
        (self.dimensions.iter().map(named).collect(), self.measures.iter().map(named).collect())
    }

    /// What it calls a column of the calls that it groups by, if it does.
    pub fn column_of(&self, name: &str) -> Option<String> {
        let wanted = Expr::Column(Column::new_unqualified(name));
        self.dimensions.iter().find(|kept| kept.expr == wanted).map(|kept| kept.name.clone())
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
            if let Expr::ScalarFunction(function) = &node
                && self.is_of_windows(&node, function)
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

    /// Whether this is the start of a period of the call's time that is made of whole windows.
    fn is_of_windows(&self, node: &Expr, function: &ScalarFunction) -> bool {
        match truncated(node) {
            Some(unit) => self.grain.units().contains(&unit.as_str()),
            None => bucketed(function).is_some_and(|buckets| buckets.are_made_of(self.grain.us())),
        }
    }

    /// A figure's part in each row, in terms of the rollup's columns.
    pub fn of_rows(&self, figure: &Expr) -> Option<Expr> {
        let measure =
            |wanted: &Expr| self.measures.iter().find(|kept| kept.expr == *wanted).map(|kept| column(&kept.name));
        if let Some(found) = measure(figure) {
            return Some(found);
        }
        // The figure of some rows, of which it is the same for all behind a row here whether they are these.
        let Expr::AggregateFunction(function) = figure else { return None };
        let (mut of_row, mut others) = (Vec::new(), Vec::new());
        for condition in split_conjunction(function.params.filter.as_deref()?) {
            match self.of_row(condition) {
                Some(condition) => of_row.push(condition),
                None => others.push(condition.clone()),
            }
        }
        let mut of_more = function.clone();
        of_more.params.filter = conjunction(others).map(Box::new);
        when(conjunction(of_row)?, measure(&Expr::AggregateFunction(of_more))?).end().ok()
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
    /// They are merged as histograms; of nothing it is one of these buckets that counts nothing, which no merge knows.
    Histogram(sketch::Buckets),
}

impl Merge {
    /// The aggregate that puts these parts together.
    ///
    /// # Errors
    ///
    /// There is no aggregate of the name.
    pub fn of_parts(self, parts: Expr) -> EngineResult<Expr> {
        match self {
            Merge::Count | Merge::Sum => Ok(sum(parts)),
            Merge::Min => Ok(min(parts)),
            Merge::Max => Ok(max(parts)),
            Merge::Sketch(name) => merged(name, parts),
            Merge::Histogram(_) => merged("histogram_sketch_merge", parts),
        }
    }
}

fn merged(name: &str, parts: Expr) -> EngineResult<Expr> {
    let found = sketches::aggregates().into_iter().find(|aggregate| aggregate.name() == name);
    let found = found.ok_or_else(|| internal_datafusion_err!("there is no aggregate {name}"))?;
    Ok(found.call(vec![parts]))
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
        "histogram_sketch" => {
            let buckets = function.params.args.get(1)?.as_literal()?.try_as_str().flatten()?;
            sketch::Buckets::named(buckets).map(Merge::Histogram)
        }
        "minute_sketch" => Some(Merge::Sketch("minute_sketch_merge")),
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

/// The periods that a group tells calls apart by, if it does.
pub fn periods_of(group: &Expr) -> Option<Buckets> {
    if let Expr::ScalarFunction(function) = group
        && let Some(buckets) = bucketed(function)
    {
        return Some(buckets);
    }
    let is_date = matches!(group, Expr::Column(column) if column.name == PARTITION);
    let unit = if is_date { "day".to_owned() } else { truncated(group)? };
    let (months, days, hours) = match unit.as_str() {
        "hour" => (0, 0, 1),
        "day" => (0, 1, 0),
        "week" => (0, 7, 0),
        "month" => (1, 0, 0),
        "quarter" => (3, 0, 0),
        "year" => (12, 0, 0),
        _ => return None,
    };
    // Unless it is told otherwise, they begin where those of `date_trunc` do.
    Buckets::new(IntervalMonthDayNano::new(months, days, hours * Grain::Hour.us() * 1_000), None).ok()
}

/// The buckets, if this is `time_bucket(width, timestamp [, origin])`.
fn bucketed(function: &ScalarFunction) -> Option<Buckets> {
    let (width, origin) = match function.args.as_slice() {
        [width, Expr::Column(time)] if time.name == col::TIMESTAMP => (width, None),
        [width, Expr::Column(time), origin] if time.name == col::TIMESTAMP => (width, Some(origin)),
        _ => return None,
    };
    if function.name() == TIME_BUCKET { buckets_of(width, origin) } else { None }
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}
