//! Plans that read data files of one snapshot. The snapshot stays alive as long as such a plan does,
//! and with it the files: what a later commit takes out of the table is deleted only when nobody reads
//! it any more. Never decides which files to read.

use std::{fmt, sync::Arc};

use arrow::datatypes::{DataType, Field};
use datafusion::{
    common::{Result, ScalarValue, config::TableParquetOptions, internal_err},
    datasource::{
        listing::PartitionedFile,
        physical_plan::{
            FileGroup, FileScanConfigBuilder, ParquetFileReaderFactory, ParquetSource,
            parquet::CachedParquetFileReaderFactory,
        },
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    execution::{cache::cache_manager::FileMetadataCache, object_store::ObjectStoreUrl, runtime_env::RuntimeEnv},
    physical_expr::{LexOrdering, PhysicalSortExpr, expressions::Column},
    physical_plan::{ExecutionPlan, metrics::ExecutionPlanMetricsSet},
};
use object_store::{ObjectMeta, ObjectStore, path::Path};
use parquet::arrow::async_reader::AsyncFileReader;

use super::table::{DataFile, Snapshot, query_schema};
use crate::record::{PARTITION, Table};

/// What to read and how.
#[derive(Debug)]
pub struct Scan {
    /// Whose files they are.
    pub table: Table,
    /// What they are files of.
    pub snapshot: Arc<Snapshot>,
    /// The files, one list for each worker.
    pub groups: Vec<Vec<DataFile>>,
    /// The columns of [`query_schema`]; all where there is none.
    pub projection: Option<Vec<usize>>,
    /// Most rows.
    pub limit: Option<usize>,
    /// Whether the reader applies filters to rows before it decodes other columns.
    pub filters_rows: bool,
}

impl Scan {
    /// The plan. Rows of a group come in the order of time where its files do.
    pub fn plan(self, runtime: &RuntimeEnv, options: TableParquetOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let partition_column = Arc::new(Field::new(PARTITION, DataType::Date32, false));
        let table_schema = TableSchema::builder(Arc::clone(self.table.schema()))
            .with_table_partition_cols(vec![partition_column])
            .build();
        // The engine looks this one up, and always has it. The readers take each file's own store.
        let location = ObjectStoreUrl::local_filesystem();
        let footers = runtime.cache_manager.get_file_metadata_cache();
        let readers = PinningReaders::new(footers, self.snapshot);
        let source = ParquetSource::new(table_schema)
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(readers))
            .with_pushdown_filters(self.filters_rows);
        let time = Column::new_with_schema(self.table.time_column(), &query_schema(self.table))?;
        let ordering = LexOrdering::new([PhysicalSortExpr::new_default(Arc::new(time))]);
        let groups = self.groups.into_iter().map(|files| files.into_iter().map(partitioned).collect());
        let config = FileScanConfigBuilder::new(location, Arc::new(source))
            .with_file_groups(groups.map(FileGroup::new).collect())
            .with_projection_indices(self.projection)?
            .with_output_ordering(ordering.into_iter().collect())
            .with_limit(self.limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

fn partitioned(file: DataFile) -> PartitionedFile {
    let mut statistics = Arc::unwrap_or_clone(file.statistics);
    // The engine adds the partition column's statistics itself.
    statistics.column_statistics.pop();
    located(file.path, file.bytes, file.store)
        .with_partition_values(vec![ScalarValue::Date32(Some(file.day))])
        .with_statistics(Arc::new(statistics))
}

/// A file for [`PinningReaders`].
pub(super) fn located(location: Path, size: u64, store: Arc<dyn ObjectStore>) -> PartitionedFile {
    let last_modified = chrono::DateTime::UNIX_EPOCH;
    PartitionedFile::new_from_meta(ObjectMeta { location, last_modified, size, e_tag: None, version: None })
        .with_extension(Location(store))
}

/// The store that has a file.
struct Location(Arc<dyn ObjectStore>);

/// Readers that keep the snapshot they read from.
pub(super) struct PinningReaders {
    /// Footers are parsed once: a file never changes under its name.
    footers: Arc<FileMetadataCache>,
    _snapshot: Arc<Snapshot>,
}

impl PinningReaders {
    pub(super) fn new(footers: Arc<FileMetadataCache>, snapshot: Arc<Snapshot>) -> Self {
        Self { footers, _snapshot: snapshot }
    }
}

impl fmt::Debug for PinningReaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PinningReaders")
    }
}

impl ParquetFileReaderFactory for PinningReaders {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let Some(Location(store)) = file.extension::<Location>() else {
            return internal_err!("the scanned file {} has no store", file.path());
        };
        CachedParquetFileReaderFactory::new(Arc::clone(store), Arc::clone(&self.footers)).create_reader(
            partition_index,
            file,
            metadata_size_hint,
            metrics,
        )
    }
}
