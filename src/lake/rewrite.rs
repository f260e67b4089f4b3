//! Files → fewer files: the rows of some files of one day, joined in the order of time, less those that
//! are to go, split evenly. Streams: what is in memory is a row group of each file that is open, and one of
//! the new file.

use std::sync::Arc;

use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::filter_record_batch,
};
use datafusion::{
    config::TableParquetOptions,
    execution::{
        SendableRecordBatchStream, TaskContext,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    physical_expr::{LexOrdering, PhysicalSortExpr, expressions::Column},
    physical_plan::{execute_stream, sorts::sort_preserving_merge::SortPreservingMergeExec},
    prelude::SessionConfig,
};
use deltalake_core::kernel::Add;
use futures::TryStreamExt;
use object_store::buffered::BufWriter;
use parquet::arrow::AsyncArrowWriter;

use super::{
    file,
    scan::Scan,
    statistics,
    table::{DataFile, LakeTable, NewFile, Snapshot, query_schema},
    tags,
};
use crate::{
    error::{Context, Error, Kind, Result},
    lifecycle::{TenantSet, Tier},
};

/// Rows of a batch while files are joined: small, because each of many files holds one.
const BATCH_ROWS: usize = 1_024;
/// Page buffers, and a batch that holds on to them.
const READER_BYTES: u64 = 1 << 20;
const READING: &str = "cannot read the files that are written again";

/// Which rows stay.
pub type Keep = dyn Fn(&RecordBatch) -> Result<BooleanArray> + Send + Sync;

/// What is to be written again.
pub struct Rewrite<'a> {
    /// What the files are files of.
    pub snapshot: Arc<Snapshot>,
    /// The files, all of one day.
    pub files: Vec<DataFile>,
    /// How the new ones are kept.
    pub tier: Tier,
    /// Most new files.
    pub files_max: usize,
    /// Whose rows are known not to be in the new ones.
    pub removed: TenantSet,
    /// Which rows stay; all where there is none.
    pub keep: Option<&'a Keep>,
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Rewritten {
    /// The new files, in the store and in no commit.
    pub added: Vec<Add>,
    /// Rows in them.
    pub rows: usize,
}

/// Joins files within a budget of memory that is its own.
pub struct Rewriter {
    runtime: Arc<RuntimeEnv>,
    memory_bytes_max: usize,
}

impl Rewriter {
    /// With so much memory for the joins.
    pub fn new(memory_bytes_max: usize) -> Result<Self> {
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_limit(memory_bytes_max, 1.0)
            .build_arc()
            .context("cannot set up the joins of files")?;
        Ok(Self { runtime, memory_bytes_max })
    }

    /// Takes the first of these files, in the order of time, that can be joined at once: what is open
    /// together stays within the budget. At least two where there are two, or joining would not come to an
    /// end.
    pub fn take(&self, files: &mut Vec<DataFile>) -> Vec<DataFile> {
        // The new file's row group takes the rest.
        let bytes_max = self.memory_bytes_max as u64 / 4 * 3;
        files.sort_by_key(DataFile::times);
        let mut open: Vec<(i64, u64)> = Vec::new();
        let fits = |(position, file): &(usize, &DataFile)| {
            let (first_us, last_us) = file.times();
            let bytes = open_bytes(file);
            match open.iter_mut().find(|(end_us, _)| *end_us <= first_us) {
                Some(chain) => *chain = (last_us, chain.1.max(bytes)),
                None => open.push((last_us, bytes)),
            }
            *position < 2 || open.iter().map(|(_, bytes)| bytes).sum::<u64>() <= bytes_max
        };
        let count = files.iter().enumerate().take_while(fits).count();
        files.drain(..count).collect()
    }

    /// Rows of a file that would go.
    pub async fn count_going(
        &self,
        lake: &LakeTable,
        snapshot: Arc<Snapshot>,
        file: DataFile,
        column: usize,
        keep: &Keep,
    ) -> Result<usize> {
        let context = "cannot look for rows that are to go";
        let mut batches = self.read(lake, snapshot, vec![file], vec![column])?;
        let mut going = 0;
        while let Some(batch) = batches.try_next().await.context(context)? {
            going += batch.num_rows() - keep(&batch)?.true_count();
        }
        Ok(going)
    }

    /// Writes the files. The caller commits them, or leaves them to the next sweep.
    pub async fn rewrite(&self, lake: &LakeTable, rewrite: Rewrite<'_>, now_us: i64) -> Result<Rewritten> {
        let Some(day) = rewrite.files.first().map(|file| file.day) else { return Ok(Rewritten::default()) };
        if rewrite.tier == Tier::Cold {
            lake.begin_cold_change().await?;
        }
        let rows: usize = rewrite.files.iter().filter_map(|file| file.rows).sum();
        let all_known = rewrite.files.iter().all(|file| file.rows.is_some());
        let rows_max = rows.div_ceil(rewrite.files_max.max(1)).max(1);
        let columns = (0..lake.table().schema().fields().len()).collect();
        let mut batches = self.read(lake, rewrite.snapshot, rewrite.files, columns)?;
        let mut rewritten = Rewritten::default();
        let mut open: Option<Output> = None;
        let mut read = 0;
        while let Some(batch) = batches.try_next().await.context(READING)? {
            read += batch.num_rows();
            let mut batch = match rewrite.keep {
                Some(keep) => filter_record_batch(&batch, &keep(&batch)?).context("cannot leave out rows")?,
                None => batch,
            };
            while batch.num_rows() > 0 {
                let mut output = match open.take() {
                    Some(output) => output,
                    None => Output::create(lake, day, rewrite.tier, rows_max)?,
                };
                let taken = batch.num_rows().min(rows_max - output.rows);
                output.write(&batch.slice(0, taken)).await?;
                batch = batch.slice(taken, batch.num_rows() - taken);
                if output.rows < rows_max {
                    open = Some(output);
                } else {
                    rewritten.take(output.finish(lake, &rewrite.removed, now_us).await?);
                }
            }
        }
        if let Some(output) = open {
            rewritten.take(output.finish(lake, &rewrite.removed, now_us).await?);
        }
        // Whatever may go: a file must not be replaced that gave less than it has.
        if all_known && read != rows {
            return Err(Error::new(
                Kind::Corrupt,
                format!(
                    "files of {} gave {read} rows, the log says {rows}; none was replaced: stop the server and run \
                     `driftline verify --content --data DIR`, which names what is damaged",
                    lake.table().name()
                ),
            ));
        }
        Ok(rewritten)
    }

    /// Rows of files in the order of time, where their time is among the columns.
    fn read(
        &self,
        lake: &LakeTable,
        snapshot: Arc<Snapshot>,
        files: Vec<DataFile>,
        columns: Vec<usize>,
    ) -> Result<SendableRecordBatchStream> {
        let table = lake.table();
        let is_ordered = columns.first() == Some(&0);
        let groups = chains(files);
        let scan = Scan { table, snapshot, groups, projection: Some(columns), limit: None, filters_rows: false };
        let config = SessionConfig::new().with_batch_size(BATCH_ROWS);
        let mut plan = scan.plan(&self.runtime, TableParquetOptions::default()).context(READING)?;
        if is_ordered {
            let time = Column::new_with_schema(table.time_column(), &query_schema(table)).context(READING)?;
            let ordering =
                LexOrdering::new([PhysicalSortExpr::new_default(Arc::new(time))]).expect("one column is an ordering");
            plan = Arc::new(SortPreservingMergeExec::new(ordering, plan));
        }
        let task = TaskContext::default().with_session_config(config).with_runtime(Arc::clone(&self.runtime));
        execute_stream(plan, Arc::new(task)).context(READING)
    }
}

impl Rewritten {
    fn take(&mut self, (add, rows): (Add, usize)) {
        self.added.push(add);
        self.rows += rows;
    }
}

/// One file that is being written.
struct Output {
    name: String,
    day: i32,
    tier: Tier,
    writer: AsyncArrowWriter<BufWriter>,
    rows: usize,
}

impl Output {
    fn create(lake: &LakeTable, day: i32, tier: Tier, rows: usize) -> Result<Self> {
        let relative = lake.new_name(day, tier)?;
        let place = lake.places.of(tier)?;
        let store = BufWriter::new(Arc::clone(&place.store), place.path_of(&relative));
        let name = lake.places.name_of(tier, &relative)?;
        let properties = file::writer_properties(lake.table(), tier, rows)?;
        let writer = AsyncArrowWriter::try_new(store, file::file_schema(lake.table()), Some(properties))
            .context("cannot start a Parquet file")?;
        Ok(Self { name, day, tier, writer, rows: 0 })
    }

    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows();
        for part in file::parts(&file::with_utc(batch)?) {
            if part.is_heavy {
                self.writer.flush().await.context("cannot end a row group")?;
            }
            self.writer.write(&part.rows).await.context("cannot encode a Parquet file")?;
            if part.is_heavy {
                self.writer.flush().await.context("cannot end a row group")?;
            }
        }
        Ok(())
    }

    async fn finish(mut self, lake: &LakeTable, removed: &TenantSet, now_us: i64) -> Result<(Add, usize)> {
        let metadata = self.writer.finish().await.context(format!("cannot write the data file {}", self.name))?;
        let stats = statistics::to_delta(&metadata, lake.table().schema(), self.rows);
        let bytes = self.writer.bytes_written();
        let file = NewFile { name: self.name, day: self.day, bytes, stats, now_us };
        let mut add = lake.add(file)?;
        add.tags = Some(tags::write(self.tier, removed, &file::long_columns(&metadata)));
        Ok((add, self.rows))
    }
}

/// What a file takes while it is read: the bytes of one row group as they come, the pages of it that are
/// decoded, and what every reader takes.
fn open_bytes(file: &DataFile) -> u64 {
    file::row_group_bytes(file.tier, file.rows.unwrap_or(usize::MAX), file.bytes) * 2 + READER_BYTES
}

/// Files in as few lists as may be, so that in each one file begins where the one before has ended:
/// such a list is read file by file.
fn chains(mut files: Vec<DataFile>) -> Vec<Vec<DataFile>> {
    files.sort_by_key(DataFile::times);
    let mut chains: Vec<(i64, Vec<DataFile>)> = Vec::new();
    for file in files {
        let (first_us, last_us) = file.times();
        match chains.iter_mut().find(|(end_us, _)| *end_us <= first_us) {
            Some((end_us, chain)) => {
                *end_us = last_us;
                chain.push(file);
            }
            None => chains.push((last_us, vec![file])),
        }
    }
    chains.into_iter().map(|(_, chain)| chain).collect()
}
