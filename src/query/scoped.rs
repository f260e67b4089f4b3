//! The fence around a scope's rows: below everything that a statement can say.
//!
//! A condition in the plan would not do. The engine moves and merges conditions, so one of the statement's own
//! might be computed on rows of another tenant first, and tell of them by the error that it fails with:
//! `cast(user_id as int)` names the text that is no number. Nor would it do to filter at the scan and show the
//! scan: its files, its statistics and its counts of rows are those of all tenants.
//!
//! So a table's scan of a bound scope is one node without children. Inside it the rows are filtered by tenant, and
//! nobody sees in: no rule moves a condition or a limit into it, `EXPLAIN` shows its name, and it has no
//! statistics. To read less, it takes those of the statement's conditions that cannot fail and tell nothing: a
//! column compared with a constant.

use std::{fmt, sync::Arc};

use arrow::datatypes::SchemaRef;
use datafusion::{
    catalog::Session,
    common::{Column, DFSchema, Result, internal_datafusion_err, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext, context::ExecutionProps},
    logical_expr::{
        BinaryExpr, Expr, Operator, lit, physical_planning_context::PhysicalPlanningContext, utils::conjunction,
    },
    physical_expr::{PhysicalExpr, create_physical_expr},
    physical_optimizer::{PhysicalOptimizerRule, filter_pushdown::FilterPushdown},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
        filter::{FilterExec, FilterExecBuilder},
    },
};

use super::{late::LateMaterialisation, provider::prune};
use crate::{
    access::{Scope, Tenants},
    lake::DataFile,
    record::col,
};

/// What a bound scope asks of a table.
pub struct Request<'a> {
    /// The session.
    pub state: &'a dyn Session,
    /// The table's columns.
    pub schema: &'a SchemaRef,
    /// The column that names the tenant.
    pub tenant: &'a str,
    /// The columns that are wanted; all where there are none.
    pub projection: Option<&'a Vec<usize>>,
    /// Conditions that are computed again above the scan.
    pub filters: &'a [Expr],
}

impl Request<'_> {
    /// The columns to read: those that are wanted, and the tenant.
    pub fn columns(&self) -> Result<Vec<usize>> {
        let tenant = self.schema.index_of(self.tenant)?;
        let mut columns = self.projection.map_or_else(|| (0..self.schema.fields().len()).collect(), Clone::clone);
        if !columns.contains(&tenant) {
            columns.push(tenant);
        }
        Ok(columns)
    }

    /// The rows of these tenants. `read` plans all rows of the columns, left out what the conditions rule out.
    pub fn fenced(
        &self,
        tenants: &Tenants,
        read: impl FnOnce(&Vec<usize>, &[Expr]) -> Result<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = self.columns()?;
        let schema = Arc::new(self.schema.project(&columns)?);
        let has = |column: &Column| schema.index_of(&column.name).is_ok();
        let harmless = |filter: &&Expr| is_harmless(filter) && filter.column_refs().into_iter().all(has);
        let own = is_of(self.tenant, tenants);
        let filters: Vec<Expr> =
            std::iter::once(own.clone()).chain(self.filters.iter().filter(harmless).cloned()).collect();
        let all = read(&columns, &filters)?;
        let fields = DFSchema::try_from(Arc::clone(&schema))?;
        let filter = |exprs: Vec<Expr>| -> Result<Arc<dyn PhysicalExpr>> {
            let expr = conjunction(exprs).ok_or_else(|| internal_datafusion_err!("a fence without a condition"))?;
            self.state.create_physical_expr(expr, &fields)
        };
        // Inside, the engine's own rules hand the conditions to the readers of files.
        let narrowed: Arc<dyn ExecutionPlan> = Arc::new(FilterExec::try_new(filter(filters)?, all)?);
        let options = self.state.config_options();
        let narrowed = FilterPushdown::new().optimize(narrowed, options)?;
        let narrowed = LateMaterialisation.optimize(narrowed, options)?;
        // And once more, whatever became of the condition on the way: nothing else decides what comes out.
        let wanted = (0..self.projection.map_or(columns.len(), Vec::len)).collect::<Vec<_>>();
        let fence = FilterExecBuilder::new(filter(vec![own])?, narrowed).apply_projection(Some(wanted))?.build()?;
        Ok(Arc::new(Fenced { rows: Arc::new(fence) }))
    }
}

/// Rows of a scope that were kept to it already, so that nobody sees how they were found.
pub fn unseen(rows: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    Arc::new(Fenced { rows })
}

/// Files that may have rows of the scope.
pub fn files_of(scope: &Scope, files: Vec<DataFile>, schema: &SchemaRef) -> Vec<DataFile> {
    let Some(tenants) = scope.tenants().filter(|_| !files.is_empty()) else { return files };
    let predicate = DFSchema::try_from(Arc::clone(schema)).and_then(|fields| {
        create_physical_expr(
            &is_of(col::TENANT_ID, tenants),
            &fields,
            &ExecutionProps::new(),
            &PhysicalPlanningContext::default(),
        )
    });
    match predicate {
        Ok(predicate) => prune(files, &predicate, schema),
        // It only saves reading: the fence stands in any case.
        Err(_) => files,
    }
}

/// Whether a row is one of these tenants'. Rows without a tenant are nobody's.
fn is_of(column: &str, tenants: &Tenants) -> Expr {
    let column = || Expr::Column(Column::new_unqualified(column));
    let text = |name: &str| lit(datafusion::common::ScalarValue::Utf8View(Some(name.to_owned())));
    match tenants.only() {
        Some(tenant) => column().eq(text(tenant)),
        None => column().in_list(tenants.names().map(text).collect(), false),
    }
}

/// Whether a condition can be computed on anybody's rows without telling of them: it cannot fail, and what it
/// keeps is filtered by tenant anyway.
fn is_harmless(condition: &Expr) -> bool {
    let is_column = |expr: &Expr| matches!(expr, Expr::Column(_));
    let is_constant = |expr: &Expr| matches!(expr, Expr::Literal(..));
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
            is_harmless(left) && is_harmless(right)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let compares = matches!(
                op,
                Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
            );
            compares && (is_column(left) && is_constant(right) || is_constant(left) && is_column(right))
        }
        Expr::Between(between) => is_column(&between.expr) && is_constant(&between.low) && is_constant(&between.high),
        Expr::InList(list) => is_column(&list.expr) && list.list.iter().all(is_constant),
        Expr::IsNull(expr) | Expr::IsNotNull(expr) => is_column(expr),
        _ => false,
    }
}

/// The node that nobody sees into.
struct Fenced {
    rows: Arc<dyn ExecutionPlan>,
}

impl fmt::Debug for Fenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fenced")
    }
}

impl DisplayAs for Fenced {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TenantRowsExec")
    }
}

impl ExecutionPlan for Fenced {
    fn name(&self) -> &'static str {
        "TenantRowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.rows.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.rows.execute(partition, context)
    }
}
