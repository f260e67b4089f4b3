//! What a plan reads: filters and projections over the stored calls, or over the elements of a list that calls
//! have, told in terms of the table's own columns. Views and aliases are seen through, so that two statements
//! that mean the same column say the same here. Never changes a plan.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    common::{
        Column, Result, UnnestOptions,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    datasource::{provider_as_source, source_as_provider},
    logical_expr::{
        Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, Unnest,
        utils::{conjunction, split_conjunction},
    },
};

use super::super::provider::{StoredTable, TableRows};
use crate::access::Scope;

/// Rows of the stored calls, in terms of the table's columns, which are unqualified.
pub struct Source {
    /// The list of calls whose elements the rows are; none where they are the calls themselves.
    pub unnested: Option<String>,
    /// Conditions that a row fulfils, all of them.
    pub filters: Vec<Expr>,
    /// Whose rows they are.
    pub scope: Scope,
    /// What the plan's columns are.
    columns: HashMap<Column, Expr>,
}

impl Source {
    /// What the plan reads, if it is nothing but filters and projections over the table.
    pub fn of(plan: &LogicalPlan, is_table: &dyn Fn(&StoredTable) -> bool) -> Option<Self> {
        match plan {
            LogicalPlan::TableScan(scan) if scan.fetch.is_none() && scan.filters.is_empty() => {
                let provider = source_as_provider(&scan.source).ok()?;
                let table = provider.as_ref().downcast_ref::<StoredTable>()?;
                if !is_table(table) {
                    return None;
                }
                let columns = scan.projected_schema.columns().into_iter();
                let columns = columns.map(|column| {
                    let own = Expr::Column(Column::new_unqualified(column.name.clone()));
                    (column, own)
                });
                let scope = table.scope().clone();
                Some(Self { unnested: None, filters: Vec::new(), scope, columns: columns.collect() })
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let inner = Self::of(&alias.input, is_table)?;
                let outside = alias.schema.columns().into_iter();
                let columns = outside
                    .zip(alias.input.schema().columns())
                    .map(|(outside, inside)| Some((outside, inner.columns.get(&inside)?.clone())))
                    .collect::<Option<_>>()?;
                Some(Self { columns, ..inner })
            }
            LogicalPlan::Projection(projection) => {
                let inner = Self::of(&projection.input, is_table)?;
                let columns = projection
                    .schema
                    .columns()
                    .into_iter()
                    .zip(&projection.expr)
                    .map(|(column, expr)| Some((column, inner.told(expr)?)))
                    .collect::<Option<_>>()?;
                Some(Self { columns, ..inner })
            }
            LogicalPlan::Filter(filter) => {
                let mut inner = Self::of(&filter.input, is_table)?;
                for condition in split_conjunction(&filter.predicate) {
                    let condition = inner.told(condition)?;
                    inner.filters.push(condition);
                }
                Some(inner)
            }
            LogicalPlan::Unnest(unnest) => Self::of(&unnest.input, is_table)?.unnested_by(unnest),
            _ => None,
        }
    }

    /// The elements of a list that these rows have.
    fn unnested_by(self, unnest: &Unnest) -> Option<Self> {
        let [(list, unnested)] = unnest.list_type_columns.as_slice() else { return None };
        let is_plain = unnest.struct_type_columns.is_empty() && unnested.depth == 1 && !unnest.options.preserve_nulls();
        if self.unnested.is_some() || !is_plain {
            return None;
        }
        let inputs = unnest.input.schema().columns();
        let Expr::Column(Column { name, .. }) = self.columns.get(&inputs[*list])? else { return None };
        let outputs = unnest.schema.columns().into_iter().zip(&unnest.dependency_indices);
        let columns = outputs
            .map(|(column, from)| match from == list {
                true => Some((column, Expr::Column(element(name)))),
                false => Some((column, self.columns.get(&inputs[*from])?.clone())),
            })
            .collect::<Option<_>>()?;
        Some(Self { unnested: Some(name.clone()), columns, ..self })
    }

    /// An expression of the plan in terms of the table's columns; none if it is more than a function of
    /// one row.
    pub fn told(&self, expr: &Expr) -> Option<Expr> {
        let mut is_told = !expr.is_volatile();
        let told = expr.clone().transform_down(|node| {
            Ok(match node {
                // Aliases inside say nothing about values.
                Expr::Alias(alias) => Transformed::yes(*alias.expr),
                Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::Placeholder(_) => {
                    is_told = false;
                    Transformed::no(node)
                }
                node => Transformed::no(node),
            })
        });
        let told = replace_columns(told.data().ok()?, &mut |column| {
            let told = self.columns.get(column).cloned();
            is_told &= told.is_some();
            told
        });
        told.ok().filter(|_| is_told)
    }
}

/// A plan of these rows, or of the elements of a list of theirs, that fulfil the conditions.
pub fn rows_of(
    rows: TableRows,
    unnested: Option<&str>,
    conditions: impl IntoIterator<Item = Expr>,
) -> Result<LogicalPlanBuilder> {
    let mut builder = LogicalPlanBuilder::scan(rows.table().name(), provider_as_source(Arc::new(rows)), None)?;
    if let Some(list) = unnested {
        let mut columns: Vec<Expr> = builder.schema().columns().into_iter().map(Expr::Column).collect();
        columns.push(Expr::Column(Column::new_unqualified(list)).alias(element(list).name));
        builder = builder.project(columns)?.unnest_column_with_options(element(list), unnesting())?;
    }
    match conjunction(conditions) {
        Some(condition) => builder.filter(condition),
        None => Ok(builder),
    }
}

/// What an element of a list is called; no column of the table has such a name.
fn element(list: &str) -> Column {
    Column::new_unqualified(format!("{list}[]"))
}

/// As `unnest` in a statement: what has no elements has no rows.
fn unnesting() -> UnnestOptions {
    UnnestOptions::new().with_preserve_nulls(false)
}

fn replace_columns(expr: Expr, replacement: &mut dyn FnMut(&Column) -> Option<Expr>) -> Result<Expr> {
    expr.transform_up(|node| {
        Ok(match &node {
            Expr::Column(column) => match replacement(column) {
                Some(told) => Transformed::yes(told),
                None => Transformed::no(node),
            },
            _ => Transformed::no(node),
        })
    })
    .data()
}

/// The rows of a plan's aggregate and what is asked of them.
pub struct Question {
    /// The rows.
    pub source: Source,
    /// The groups.
    pub groups: Vec<Expr>,
    /// The figures, each an aggregate function.
    pub figures: Vec<Expr>,
}

impl Question {
    /// What an aggregate asks, in terms of the table's columns.
    pub fn of(aggregate: &Aggregate, is_table: &dyn Fn(&StoredTable) -> bool) -> Option<Self> {
        let source = Source::of(&aggregate.input, is_table)?;
        let told = |exprs: &[Expr]| exprs.iter().map(|expr| source.told(expr)).collect::<Option<Vec<_>>>();
        let groups = told(&aggregate.group_expr)?;
        // Groups that stand twice are one column of the result.
        let columns = aggregate.group_expr.len() + aggregate.aggr_expr.len();
        if groups.iter().any(|group| matches!(group, Expr::GroupingSet(_)))
            || aggregate.schema.fields().len() != columns
        {
            return None;
        }
        let figures = told(&aggregate.aggr_expr)?;
        Some(Self { groups, figures, source })
    }
}

/// The one aggregate of a plan under projections that only name its columns: what they call each.
pub fn named_aggregate(plan: &LogicalPlan) -> Option<(&Aggregate, Vec<String>)> {
    let LogicalPlan::Projection(projection) = plan else { return None };
    let LogicalPlan::Aggregate(aggregate) = projection.input.as_ref() else { return None };
    let names: HashMap<Column, String> = projection
        .expr
        .iter()
        .zip(projection.schema.fields())
        .filter_map(|(expr, field)| match expr.clone().unalias_nested().data {
            Expr::Column(column) => Some((column, field.name().clone())),
            _ => None,
        })
        .collect();
    let ordered = aggregate.schema.columns().iter().map(|column| names.get(column).cloned()).collect::<Option<_>>();
    Some((aggregate, ordered?))
}
