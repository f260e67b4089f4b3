//! A stored table as the query engine sees it: one snapshot's Parquet files and the buffered rows
//! that the snapshot does not hold yet. Files that cannot match are left out by their statistics, buffered rows by their
//! times: a statement holds what it reads until it ends, while the buffer fills anew.
//!
//! The files mark times as UTC; the table shows them without a zone, which is UTC by definition. The
//! reader reinterprets, no value changes: grouping zoned times by hour costs several times the query.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    compute,
    datatypes::{DataType, SchemaRef, TimestampMicrosecondType},
};
use datafusion::{
    catalog::{Session, TableProvider},
    common::{
        ColumnStatistics, DFSchema, Result, ScalarValue, Statistics, pruning::PrunableStatistics, stats::Precision,
    },
    datasource::{TableType, memory::MemorySourceConfig, source::DataSourceExec},
    logical_expr::{Expr, Operator, TableProviderFilterPushDown, utils::conjunction},
    physical_expr::PhysicalExpr,
    physical_optimizer::pruning::PruningPredicateBuilder,
    physical_plan::{ExecutionPlan, union::UnionExec},
};

use super::scoped::{self, Request};
use crate::{
    access::Scope,
    buffer::Buffer,
    lake::{DataFile, LakeTable, Scan, Snapshot, query_schema},
    record::{Table, col},
};

/// Plain bytes of the longest rows that a statement's scans read, as far as files hold long texts; 0 where none does.
/// An extension of the statement's session.
#[derive(Debug, Default)]
pub struct LongestRow(AtomicUsize);

impl LongestRow {
    fn note(&self, bytes: usize) {
        self.0.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Bytes of the rows that were noted.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One stored table, as far as a scope sees it.
pub struct StoredTable {
    buffer: Arc<Buffer>,
    lake: Arc<LakeTable>,
    schema: SchemaRef,
    scope: Scope,
}

impl StoredTable {
    /// The table over its buffer and its files.
    pub fn new(buffer: Arc<Buffer>, lake: Arc<LakeTable>) -> Self {
        let schema = query_schema(lake.table());
        Self { buffer, lake, schema, scope: Scope::Everybody }
    }

    /// The table as a scope sees it; none where it tells no tenants apart and the scope is bound to some.
    pub fn scoped(&self, scope: &Scope) -> Option<Arc<Self>> {
        if scope.tenants().is_some() && self.schema.index_of(col::TENANT_ID).is_err() {
            return None;
        }
        let (buffer, lake, schema) = (Arc::clone(&self.buffer), Arc::clone(&self.lake), Arc::clone(&self.schema));
        Some(Arc::new(Self { buffer, lake, schema, scope: scope.clone() }))
    }

    /// Whose rows it shows.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What the table is called.
    pub fn table(&self) -> Table {
        self.lake.table()
    }

    /// All rows at this moment. Buffer first, snapshot second: see the buffer's own rule.
    pub fn rows(&self) -> TableRows {
        let buffered = self.buffer.rows(self.table());
        let snapshot = self.lake.snapshot();
        let waiting = buffered
            .into_iter()
            .filter(|rows| rows.through_seq > snapshot.committed_seq)
            .flat_map(|rows| rows.batches)
            .collect();
        let files = scoped::files_of(&self.scope, snapshot.files.clone(), &self.schema);
        let (schema, scope) = (Arc::clone(&self.schema), self.scope.clone());
        TableRows { table: self.table(), schema, scope, snapshot, files, waiting }
    }

    /// The rows of some files of a snapshot.
    pub fn rows_of(&self, snapshot: &Arc<Snapshot>, files: Vec<DataFile>) -> TableRows {
        let (schema, scope, snapshot) = (Arc::clone(&self.schema), self.scope.clone(), Arc::clone(snapshot));
        TableRows { table: self.table(), schema, scope, snapshot, files, waiting: Vec::new() }
    }
}

impl fmt::Debug for StoredTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredTable({})", self.table().name())
    }
}

#[async_trait::async_trait]
impl TableProvider for StoredTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Files are pruned by it; rows are filtered above.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.rows().scan(state, projection, filters, limit).await
    }
}

/// Some rows of a table: files of one snapshot, and rows that wait for their commit.
pub struct TableRows {
    table: Table,
    schema: SchemaRef,
    scope: Scope,
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// Files of the snapshot.
    pub files: Vec<DataFile>,
    /// Rows that are in none of its files.
    waiting: Vec<RecordBatch>,
}

impl TableRows {
    /// Whose rows they are.
    pub fn table(&self) -> Table {
        self.table
    }

    /// Other rows of the same snapshot.
    pub fn with(&self, files: Vec<DataFile>, waiting: Vec<RecordBatch>) -> Self {
        let (schema, scope, snapshot) = (Arc::clone(&self.schema), self.scope.clone(), Arc::clone(&self.snapshot));
        Self { table: self.table, schema, scope, snapshot, files, waiting }
    }

    /// The batches that wait whose times may be wanted, by their first and last, µs since the epoch, UTC.
    pub fn waiting_if(&self, is_wanted: impl Fn(i64, i64) -> bool) -> Vec<RecordBatch> {
        let wanted = |batch: &&RecordBatch| {
            times_of(batch, self.table.time_column()).is_none_or(|(first_us, last_us)| is_wanted(first_us, last_us))
        };
        self.waiting.iter().filter(wanted).cloned().collect()
    }

    /// All rows, whosever they are.
    fn plan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (files, waiting) = (self.files.clone(), self.waiting.clone());
        let predicate = match conjunction(filters.to_vec()) {
            Some(filter) => {
                let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
                Some(state.create_physical_expr(filter, &schema)?)
            }
            None => None,
        };
        let (files, waiting) = match &predicate {
            Some(predicate) => (prune(files, predicate, &self.schema), self.prune_waiting(waiting, predicate)),
            None => (files, waiting),
        };
        let mut parts: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        if let Some(longest) = state.config().get_extension::<LongestRow>() {
            let is_read = |name: &str| {
                let position = self.schema.index_of(name).ok();
                projection.is_none_or(|read| position.is_some_and(|position| read.contains(&position)))
            };
            let of_file = |file: &DataFile| {
                file.long.iter().filter(|(name, _)| is_read(name)).map(|(_, bytes)| *bytes).sum::<usize>()
            };
            longest.note(files.iter().map(of_file).max().unwrap_or_default());
        }
        if !files.is_empty() {
            let scan = Scan {
                table: self.table,
                snapshot: Arc::clone(&self.snapshot),
                groups: groups(files, state.config().target_partitions()),
                projection: projection.cloned(),
                limit,
                filters_rows: filters.iter().any(is_selective),
            };
            parts.push(scan.plan(state.runtime_env(), state.table_options().parquet.clone())?);
        }
        if !waiting.is_empty() || parts.is_empty() {
            // The columns that are read, and no others, stay in memory as long as the statement runs.
            let (waiting, schema) = match projection {
                Some(projection) => (
                    waiting.iter().map(|batch| batch.project(projection)).collect::<Result<_, _>>()?,
                    Arc::new(self.schema.project(projection)?),
                ),
                None => (waiting, Arc::clone(&self.schema)),
            };
            let partitions = spread(waiting, state.config().target_partitions());
            let memory = MemorySourceConfig::try_new(&partitions, schema, None)?;
            parts.push(DataSourceExec::from_data_source(memory.with_limit(limit)));
        }
        if parts.len() == 1 { Ok(parts.swap_remove(0)) } else { UnionExec::try_new(parts) }
    }

    fn prune_waiting(&self, batches: Vec<RecordBatch>, predicate: &Arc<dyn PhysicalExpr>) -> Vec<RecordBatch> {
        let name = self.table.time_column();
        let Ok(position) = self.schema.index_of(name) else { return batches };
        let DataType::Timestamp(_, zone) = self.schema.field(position).data_type() else { return batches };
        let time = |us: i64| Precision::Exact(ScalarValue::TimestampMicrosecond(Some(us), zone.clone()));
        let statistics_of = |batch: &RecordBatch| {
            let mut statistics = Statistics::new_unknown(&self.schema);
            if let Some((first_us, last_us)) = times_of(batch, name) {
                statistics.column_statistics[position] = ColumnStatistics {
                    min_value: time(first_us),
                    max_value: time(last_us),
                    ..ColumnStatistics::new_unknown()
                };
            }
            Arc::new(statistics)
        };
        let statistics = batches.iter().map(statistics_of).collect();
        kept(batches, statistics, predicate, &self.schema)
    }
}

/// The first and the last time of a batch's rows, µs since the epoch, UTC.
pub(super) fn times_of(batch: &RecordBatch, name: &str) -> Option<(i64, i64)> {
    let times = batch.column_by_name(name)?.as_primitive_opt::<TimestampMicrosecondType>()?;
    Some((compute::min(times)?, compute::max(times)?))
}

impl fmt::Debug for TableRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableRows({}, {} files)", self.table.name(), self.files.len())
    }
}

#[async_trait::async_trait]
impl TableProvider for TableRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match self.scope.tenants() {
            None => self.plan(state, projection, filters, limit),
            Some(tenants) => {
                let request = Request { state, schema: &self.schema, tenant: col::TENANT_ID, projection, filters };
                // A limit is of the rows that are seen, and not of those that are read.
                request.fenced(tenants, |projection, filters| self.plan(state, Some(projection), filters, None))
            }
        }
    }
}

/// Whether a filter keeps so few rows that the reader should apply it itself, before it decodes the
/// other columns: one value of a column that has very many. For ranges, thresholds and groups that
/// large parts of a table fall in, that order costs more than it saves.
fn is_selective(filter: &Expr) -> bool {
    let looked_up = |column: &&datafusion::common::Column| LOOKED_UP.contains(&column.name.as_str());
    matches!(filter, Expr::BinaryExpr(comparison) if comparison.op == Operator::Eq)
        && filter.column_refs().iter().any(looked_up)
}

/// Columns of very many values.
pub(super) const LOOKED_UP: [&str; 6] =
    [col::TRACE_ID, col::SPAN_ID, col::SESSION_ID, col::REQUEST_ID, col::CORRELATION_ID, col::USER_ID];

/// The files whose statistics do not rule the predicate out.
pub(super) fn prune(files: Vec<DataFile>, predicate: &Arc<dyn PhysicalExpr>, schema: &SchemaRef) -> Vec<DataFile> {
    let statistics = files.iter().map(|file| Arc::clone(&file.statistics)).collect();
    kept(files, statistics, predicate, schema)
}

/// Those of which the statistics do not rule the predicate out; all where that cannot be said.
fn kept<T>(
    parts: Vec<T>,
    statistics: Vec<Arc<Statistics>>,
    predicate: &Arc<dyn PhysicalExpr>,
    schema: &SchemaRef,
) -> Vec<T> {
    if parts.is_empty() {
        return parts;
    }
    let pruning = PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema)).try_build(Arc::clone(predicate));
    let found = pruning.and_then(|pruning| pruning.prune(&PrunableStatistics::new(statistics, Arc::clone(schema))));
    let Ok(found) = found else { return parts };
    let is_kept = BooleanArray::from(found);
    parts.into_iter().zip(is_kept.iter()).filter(|(_, keep)| *keep != Some(false)).map(|(part, _)| part).collect()
}

/// Groups of about equal bytes, in the order of time, one for each worker.
fn groups(files: Vec<DataFile>, workers: usize) -> Vec<Vec<DataFile>> {
    let total: u64 = files.iter().map(|file| file.bytes).sum();
    let share = total.div_ceil(workers.max(1) as u64).max(1);
    let mut groups = Vec::with_capacity(workers);
    let mut group = Vec::new();
    let mut bytes = 0;
    for file in files {
        bytes += file.bytes;
        group.push(file);
        if bytes >= share {
            groups.push(std::mem::take(&mut group));
            bytes = 0;
        }
    }
    if !group.is_empty() {
        groups.push(group);
    }
    groups
}

fn spread(batches: Vec<RecordBatch>, workers: usize) -> Vec<Vec<RecordBatch>> {
    let workers = workers.clamp(1, batches.len().max(1));
    let mut partitions = vec![Vec::new(); workers];
    let per_worker = batches.len().div_ceil(workers).max(1);
    for (index, batch) in batches.into_iter().enumerate() {
        partitions[index / per_worker].push(batch);
    }
    partitions
}
