//! Rollups: what `sql/rollups/` says about the calls of each hour and each day, and about their tools, kept so that questions over
//! months need not read months of calls.
//!
//! # Why they are always right
//!
//! A rollup is kept per data file, not per window: for each file of the table there is one small file, its
//! sidecar, with the figures of exactly its calls. Data files never change, so a sidecar is there or not and
//! never out of date. A statement takes one snapshot of the table and asks for each of its files: if there is
//! a sidecar, it is read, else the calls are; rows that wait for their commit are read as they are. So what
//! comes late, is deleted, joined or priced anew is another file without a sidecar, and counts at once and
//! once. Nothing here is a second truth: all sidecars can be lost, and are then made again.
//!
//! A sidecar's kind carries a hash of what the rollup keeps, told in the table's own columns: where its file
//! says something else, or a view that it stands on, nothing made before is used.

mod answers;
mod apart;
mod build;
mod cover;
mod days;
mod definition;
mod figures;
mod load;
mod rewrite;
mod source;

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    catalog::{Session, TableProvider},
    common::{Result as EngineResult, project_schema},
    datasource::{TableType, memory::MemorySourceConfig, source::DataSourceExec},
    error::DataFusionError,
    logical_expr::Expr,
    physical_plan::ExecutionPlan,
};

use super::{
    provider::{StoredTable, TableRows},
    scoped::Request,
};
use crate::{
    access::{Scope, Tenants},
    error::Result,
    lake::{DataFile, LakeTable, Sidecar, SidecarColumns, SidecarScan, Sidecars, Snapshot},
    record::col,
};

use answers::Answers;

pub use definition::Definition;
pub use load::load;
pub use rewrite::UseRollups;
pub use source::Source;

/// The rollups of the calls.
pub struct Rollups {
    table: Arc<StoredTable>,
    lake: Arc<LakeTable>,
    /// The coarsest first.
    levels: Vec<Arc<Level>>,
    answers: Arc<Answers>,
    /// Rollups that could not be made in this round, and of which files.
    failed: Mutex<HashSet<(String, String)>>,
}

/// One rollup and the files that have it.
#[derive(Debug)]
pub struct Level {
    definition: Definition,
    sidecars: Sidecars,
}

impl fmt::Debug for Rollups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.levels.iter().map(|level| &level.definition.name)).finish()
    }
}

impl Rollups {
    /// Rollups as they are in the store; so many bytes of their columns, and of answers that were made of them, stay in
    /// memory.
    pub async fn open(
        table: Arc<StoredTable>,
        lake: Arc<LakeTable>,
        definitions: Vec<Definition>,
        held_bytes_max: usize,
    ) -> Result<Self> {
        let kind = |definition: &Definition| {
            let hash = blake3::hash(definition.fingerprint().as_bytes()).to_hex();
            format!("rollup-{}-{}", definition.name, &hash[..16])
        };
        let kinds: Vec<String> = definitions.iter().map(kind).collect();
        lake.forget_other_sidecars(&kinds.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        let columns = Arc::new(SidecarColumns::new(held_bytes_max / 2));
        let mut levels = Vec::new();
        for (definition, kind) in definitions.into_iter().zip(kinds) {
            levels.push(Arc::new(Level { definition, sidecars: lake.sidecars(&kind, &columns).await? }));
        }
        levels.sort_by_key(|level| std::cmp::Reverse(level.definition.grain.us()));
        Ok(Self { table, lake, levels, answers: Arc::new(Answers::new(held_bytes_max / 2)), failed: Mutex::default() })
    }

    fn are_of(&self, table: &StoredTable) -> bool {
        table.table() == self.table.table()
    }

    /// The calls, as one statement of a scope sees them; none where the scope sees none of the table.
    fn view(&self, scope: &Scope) -> Option<TableRows> {
        Some(self.table.scoped(scope)?.rows())
    }
}

impl Level {
    fn has(&self, file: &DataFile) -> bool {
        self.sidecars.of(file).is_some()
    }

    /// How a scope is kept to its own rows of the rollup; an error where the rollup does not tell tenants apart.
    fn fence(&self, scope: &Scope) -> std::result::Result<Option<Fence>, NoTenants> {
        let Some(tenants) = scope.tenants() else { return Ok(None) };
        let tenant = self.definition.column_of(col::TENANT_ID).ok_or(NoTenants)?;
        Ok(Some(Fence { tenants: tenants.clone(), tenant }))
    }
}

/// The rollup has figures of several tenants in one row.
#[derive(Debug, Clone, Copy)]
struct NoTenants;

/// The only tenants whose rows of a rollup are seen, and the column that names them.
#[derive(Debug, Clone)]
pub struct Fence {
    tenants: Tenants,
    tenant: String,
}

/// A rollup's rows of some files of one snapshot.
pub struct RollupRows {
    level: Arc<Level>,
    snapshot: Arc<Snapshot>,
    sidecars: Vec<Sidecar>,
    fence: Option<Fence>,
    /// Whether a last column says in which of the files a row is. The rows are then read at once.
    is_numbered: bool,
}

impl fmt::Debug for RollupRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RollupRows({} of {} files)", self.level.definition.name, self.sidecars.len())
    }
}

#[async_trait::async_trait]
impl TableProvider for RollupRows {
    fn schema(&self) -> SchemaRef {
        let own = &self.level.definition.schema;
        if self.is_numbered { answers::with_file_number(own) } else { Arc::clone(own) }
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let Some(fence) = &self.fence else { return self.plan(state, projection).await };
        let schema = self.schema();
        let request = Request { state, schema: &schema, tenant: &fence.tenant, projection, filters: &[] };
        let read = self.plan(state, Some(&request.columns()?)).await?;
        request.fenced(&fence.tenants, |_, _| Ok(read))
    }
}

impl RollupRows {
    /// All rows, whosever they are.
    async fn plan(&self, state: &dyn Session, projection: Option<&Vec<usize>>) -> EngineResult<Arc<dyn ExecutionPlan>> {
        if self.is_numbered { self.read(state, projection).await } else { self.stream(state, projection) }
    }

    async fn read(&self, state: &dyn Session, projection: Option<&Vec<usize>>) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let schema = self.schema();
        let wanted = projection.map_or_else(|| (0..schema.fields().len()).collect(), Clone::clone);
        let own = &self.level.definition.schema;
        let columns: Vec<usize> = wanted.iter().copied().filter(|index| *index < own.fields().len()).collect();
        let read = self.level.sidecars.read(&self.sidecars, own, &columns).await;
        let read = read.map_err(|error| DataFusionError::External(Box::new(error)))?.into_iter().enumerate();
        let batches = read
            .map(|(number, rows)| answers::with_number(number, &rows, &wanted, &schema))
            .collect::<EngineResult<Vec<_>>>()?;
        let share = batches.len().div_ceil(state.config().target_partitions().max(1)).max(1);
        let partitions: Vec<_> = batches.chunks(share).map(<[RecordBatch]>::to_vec).collect();
        let memory = MemorySourceConfig::try_new(&partitions, project_schema(&schema, projection)?, None)?;
        Ok(DataSourceExec::from_data_source(memory))
    }

    fn stream(&self, state: &dyn Session, projection: Option<&Vec<usize>>) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let share = self.sidecars.len().div_ceil(state.config().target_partitions().max(1)).max(1);
        let scan = SidecarScan {
            snapshot: Arc::clone(&self.snapshot),
            groups: self.sidecars.chunks(share).map(<[Sidecar]>::to_vec).collect(),
            schema: self.schema(),
            projection: projection.cloned(),
        };
        scan.plan(&self.level.sidecars, state.runtime_env(), state.table_options().parquet.clone())
    }
}
