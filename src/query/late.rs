//! Late materialisation: where a statement has computed itself which few rows it wants, the Parquet
//! reader applies that filter before it decodes the other columns.
//!
//! The engine hands such filters to the reader anyway, but only to skip whole row groups by; whether
//! the reader also filters rows is one switch for all filters of a scan, and for filters that keep a
//! good part of a table it costs more than it saves. So the switch is thrown here, scan by scan, once
//! the plan shows what the filters are. Rows are filtered again above: this never changes an answer.

use std::sync::Arc;

use datafusion::{
    common::{
        Result,
        config::ConfigOptions,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    datasource::{
        physical_plan::{FileScanConfigBuilder, FileSource, ParquetSource},
        source::DataSourceExec,
    },
    physical_expr::{
        PhysicalExpr, expressions::DynamicFilterPhysicalExpr, scalar_subquery::ScalarSubqueryExpr,
        utils::collect_columns,
    },
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::ExecutionPlan,
};

use super::provider::LOOKED_UP;

/// The rule; it comes after those that hand filters down.
#[derive(Debug)]
pub struct LateMaterialisation;

impl PhysicalOptimizerRule for LateMaterialisation {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_down(|node| {
            Ok(match filtering_scan(&node) {
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

fn filtering_scan(node: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let (config, source) = node.downcast_ref::<DataSourceExec>()?.downcast_to_file_source::<ParquetSource>()?;
    if !keeps_few(&FileSource::filter(source)?) {
        return None;
    }
    let source = source.clone().with_pushdown_filters(true);
    let config = FileScanConfigBuilder::from(config.clone()).with_source(Arc::new(source)).build();
    Some(DataSourceExec::from_data_source(config))
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
