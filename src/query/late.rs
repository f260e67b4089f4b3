//! Late materialisation: where a statement has computed itself which few rows it wants, the Parquet
//! reader applies that filter before it decodes the other columns.
//!
//! The engine hands such filters to the reader anyway, but only to skip whole row groups by; whether
//! the reader also filters rows is one switch for all filters of a scan, and for filters that keep a
//! good part of a table it costs more than it saves. So the switch is thrown here, scan by scan, once
//! the plan shows what the filters are. Rows are filtered again above: this never changes an answer.
//!
//! The newest rows are the same case, and the one that each look at a log begins with: once a sort with a
//! limit has seen enough rows, it knows a bound, and what is beyond it is not worth decoding. Such a scan
//! reads its files from the end that the sort asks for, so that the bound is near the mark from the first
//! file on.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    common::{
        Result,
        config::ConfigOptions,
        tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion},
    },
    datasource::{
        physical_plan::{FileGroup, FileScanConfigBuilder, FileSource, ParquetSource},
        source::DataSourceExec,
    },
    physical_expr::{
        PhysicalExpr,
        expressions::{Column, DynamicFilterPhysicalExpr},
        scalar_subquery::ScalarSubqueryExpr,
        utils::collect_columns,
    },
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{ExecutionPlan, sorts::sort::SortExec},
};

use super::provider::LOOKED_UP;
use crate::record::col;

/// A sort that keeps no more rows than this is taken to keep few.
const FEW_ROWS: usize = 10_000;

/// The rule; it comes after those that hand filters down.
#[derive(Debug)]
pub struct LateMaterialisation;

impl PhysicalOptimizerRule for LateMaterialisation {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let bounds = bounds_of_sorts(&plan)?;
        plan.transform_down(|node| {
            Ok(match filtering_scan(&node, &bounds) {
                Some(scan) => Transformed::yes(scan),
                None => Transformed::no(node),
            })
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "late_materialisation"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The end of time that a sort with a limit wants first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Newest,
    /// The oldest, or it does not sort by time.
    AsTheyLie,
}

/// Filters by what sorts with few rows have seen, by their ids.
type Bounds = HashMap<u64, Wanted>;

fn bounds_of_sorts(plan: &Arc<dyn ExecutionPlan>) -> Result<Bounds> {
    let mut bounds = Bounds::new();
    plan.apply(|node| {
        let Some(sort) = node.downcast_ref::<SortExec>() else { return Ok(TreeNodeRecursion::Continue) };
        if sort.fetch().is_some_and(|rows| rows <= FEW_ROWS) {
            let first = sort.expr().first();
            let by_time = first.expr.downcast_ref::<Column>().is_some_and(|column| column.name() == col::TIMESTAMP);
            let wanted = if by_time && first.options.descending { Wanted::Newest } else { Wanted::AsTheyLie };
            let ids = sort.dynamic_expressions_produced().into_iter().filter_map(|made| made.expression_id());
            bounds.extend(ids.map(|id| (id, wanted)));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(bounds)
}

fn filtering_scan(node: &Arc<dyn ExecutionPlan>, bounds: &Bounds) -> Option<Arc<dyn ExecutionPlan>> {
    let (config, source) = node.downcast_ref::<DataSourceExec>()?.downcast_to_file_source::<ParquetSource>()?;
    let predicate = FileSource::filter(source)?;
    let bound = bound_of_a_sort(&predicate, bounds);
    if bound.is_none() && !keeps_few(&predicate) {
        return None;
    }
    let source = source.clone().with_pushdown_filters(true);
    let mut builder = FileScanConfigBuilder::from(config.clone()).with_source(Arc::new(source));
    if bound == Some(Wanted::Newest) {
        let newest_first = |group: &FileGroup| FileGroup::new(group.files().iter().rev().cloned().collect());
        builder = builder.with_file_groups(config.file_groups.iter().map(newest_first).collect());
    }
    Some(DataSourceExec::from_data_source(builder.build()))
}

/// Which rows the sort above wants that made a part of the filter.
fn bound_of_a_sort(predicate: &Arc<dyn PhysicalExpr>, bounds: &Bounds) -> Option<Wanted> {
    let mut found = None;
    let looked = predicate.apply(|part| {
        found = part.expression_id().and_then(|id| bounds.get(&id)).copied();
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    looked.ok().and(found)
}

/// Whether a part of the filter was computed by the statement to pick rows out: a bound from a
/// subquery (the top hundred's least value), or the keys of a join on a column of very many values.
fn keeps_few(predicate: &Arc<dyn PhysicalExpr>) -> bool {
    let computed = |part: &Arc<dyn PhysicalExpr>| {
        let joined = part.downcast_ref::<DynamicFilterPhysicalExpr>().is_some()
            && collect_columns(part).iter().all(|column| LOOKED_UP.contains(&column.name()));
        Ok(joined || part.downcast_ref::<ScalarSubqueryExpr>().is_some())
    };
    predicate.exists(computed).unwrap_or(false)
}
