//! One Delta table: opened or created, committed to with the WAL's seq, and seen as snapshots.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use chrono::NaiveDate;
use datafusion::common::Statistics;
use deltalake_core::{
    DeltaTable, DeltaTableBuilder,
    kernel::{
        Action, Add, ArrayType, DataType as DeltaType, MapType, PrimitiveType, StructField, StructType, Transaction,
        transaction::{CommitBuilder, CommitProperties},
    },
    logstore::LogStoreRef,
    operations::create::CreateBuilder,
    protocol::{DeltaOperation, SaveMode},
    table::state::DeltaTableState,
};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, path::Path};
use tokio::sync::Mutex;
use url::Url;

use super::{
    file::{self, Encoded},
    statistics,
    store::Storage,
};
use crate::{
    error::{Context, Error, Kind, Result},
    record::{PARTITION, Table},
};

/// The application id of the transaction that carries the highest committed WAL seq.
const WAL_APP_ID: &str = "driftline-wal";
/// Commits between checkpoints of the Delta log.
const CHECKPOINT_INTERVAL: u32 = 50;
/// Files that are encoded and uploaded at the same time.
const UPLOADS: usize = 4;

/// A committed file.
#[derive(Debug, Clone)]
pub struct DataFile {
    /// Where it is in the store.
    pub path: Path,
    /// Its length.
    pub bytes: u64,
    /// Its rows, where the log says so.
    pub rows: Option<usize>,
    /// Its partition: days since the epoch, UTC.
    pub day: i32,
    /// Exact bounds of the leading columns, in the order of [`query_schema`].
    pub statistics: Arc<Statistics>,
}

/// The table at one version.
#[derive(Debug)]
pub struct Snapshot {
    /// The Delta version.
    pub version: u64,
    /// Every row of the WAL up to this seq is in the files.
    pub committed_seq: u64,
    /// The files.
    pub files: Vec<DataFile>,
}

/// A table that is open for commits.
pub struct LakeTable {
    table: Table,
    url: Url,
    prefix: Path,
    store: Arc<dyn ObjectStore>,
    log_store: LogStoreRef,
    writer: Mutex<DeltaTableState>,
    snapshot: RwLock<Arc<Snapshot>>,
}

/// The columns that a query sees: the table's and its partition column.
pub fn query_schema(table: Table) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = table.schema().fields().to_vec();
    fields.push(Arc::new(Field::new(PARTITION, DataType::Date32, false)));
    Arc::new(Schema::new(fields))
}

impl LakeTable {
    /// Opens the table, or creates it where there is none.
    pub async fn open(storage: &Storage, table: Table) -> Result<Self> {
        let url = storage.table_url(table.name())?;
        let prefix = Path::from_url_path(url.path()).context("cannot read the table's path")?;
        let mut delta = DeltaTableBuilder::from_url(url.clone())
            .and_then(|builder| builder.with_storage_backend(Arc::clone(&storage.store), url.clone()).build())
            .context(format!("cannot reach the table {}", table.name()))?;
        if delta.verify_deltatable_existence().await.context("cannot look for the Delta log")? {
            delta.load().await.context(format!("cannot read the Delta log of {}", table.name()))?;
        } else {
            delta = create(&delta, table).await?;
        }
        let log_store = delta.log_store();
        let state = delta.snapshot().context("the table has no snapshot after loading")?.clone();
        let snapshot = read_snapshot(table, &prefix, &log_store, &state).await?;
        Ok(Self {
            table,
            url,
            prefix,
            store: Arc::clone(&storage.store),
            log_store,
            writer: Mutex::new(state),
            snapshot: RwLock::new(Arc::new(snapshot)),
        })
    }

    /// Which table it is.
    pub fn table(&self) -> Table {
        self.table
    }

    /// The table's directory.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The newest version.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Commits rows whose highest WAL seq is `through_seq`, in one version: sorted files first, each
    /// on disk before the log names it. Rows that a commit already brought are not written again, so
    /// it is safe to call after a failure whose outcome is unknown.
    pub async fn commit(&self, batches: &[RecordBatch], through_seq: u64) -> Result<()> {
        let mut state = self.writer.lock().await;
        if self.snapshot().committed_seq >= through_seq {
            return Ok(());
        }
        // An earlier attempt may have reached the log and failed after it.
        state
            .update(self.log_store.as_ref(), None)
            .await
            .kind_context(Kind::Internal, || format!("cannot refresh the Delta log of {}", self.table.name()))?;
        let refreshed = read_snapshot(self.table, &self.prefix, &self.log_store, &state).await?;
        let done = refreshed.committed_seq >= through_seq;
        self.publish(refreshed);
        if done {
            return Ok(());
        }
        let adds = self.write_files(batches).await?;
        let transaction = Transaction::new(WAL_APP_ID, seq_version(through_seq)?);
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: Some(vec![PARTITION.to_owned()]),
            predicate: None,
        };
        let committed = CommitBuilder::from(CommitProperties::default().with_application_transaction(transaction))
            .with_actions(adds.into_iter().map(Action::Add).collect())
            .build(Some(state.snapshot()), Arc::clone(&self.log_store), operation)
            .await
            .context(format!("cannot commit to the Delta table {}", self.table.name()))?;
        *state = committed.snapshot();
        let snapshot = read_snapshot(self.table, &self.prefix, &self.log_store, &state).await?;
        self.publish(snapshot);
        Ok(())
    }

    fn publish(&self, snapshot: Snapshot) {
        *self.snapshot.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(snapshot);
    }

    async fn write_files(&self, batches: &[RecordBatch]) -> Result<Vec<Add>> {
        let table = self.table;
        let batches = batches.to_vec();
        let days = blocking(move || {
            let sorted = file::sort_by_time(table, &batches)?;
            Ok(file::split_by_day(table, &sorted))
        })
        .await?;
        stream::iter(days)
            .map(|(day, rows)| async move {
                let encoded = blocking(move || file::encode(table, &rows)).await?;
                self.write_file(day, encoded).await
            })
            .buffered(UPLOADS)
            .try_collect()
            .await
    }

    async fn write_file(&self, day: i32, encoded: Encoded) -> Result<Add> {
        let date = NaiveDate::from_epoch_days(day)
            .ok_or_else(|| Error::new(Kind::Internal, format!("day {day} is outside the calendar")))?;
        let relative = format!("{PARTITION}={date}/part-{}.lz4.parquet", uuid::Uuid::now_v7());
        let bytes = encoded.bytes.len();
        let stats = statistics::to_delta(&encoded.metadata, self.table.schema(), encoded.rows);
        let path = relative.split('/').fold(self.prefix.clone(), |path, part| path.join(part));
        self.store.put(&path, PutPayload::from(encoded.bytes)).await.map_err(|error| {
            let full = error_chain(&error).any(|text| text.contains("os error 28") || text.contains("os error 122"));
            let kind = if full { Kind::Busy } else { Kind::Internal };
            Error::new(kind, format!("cannot write the data file {path}")).with_source(error)
        })?;
        Ok(Add {
            path: relative,
            partition_values: HashMap::from([(PARTITION.to_owned(), Some(date.to_string()))]),
            size: bytes as i64,
            // The name's UUID carries the time; readers use this one for nothing but display.
            modification_time: uuid_millis(&path).unwrap_or_default(),
            data_change: true,
            stats: Some(stats),
            ..Add::default()
        })
    }
}

fn error_chain<'a>(error: &'a dyn std::error::Error) -> impl Iterator<Item = String> + 'a {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string)
}

fn uuid_millis(path: &Path) -> Option<i64> {
    let name = path.filename()?.strip_prefix("part-")?.strip_suffix(".lz4.parquet")?;
    let (seconds, nanos) = uuid::Uuid::parse_str(name).ok()?.get_timestamp()?.to_unix();
    Some(seconds as i64 * 1_000 + i64::from(nanos) / 1_000_000)
}

async fn create(empty: &DeltaTable, table: Table) -> Result<DeltaTable> {
    let columns = delta_columns(table)?;
    CreateBuilder::new()
        .with_log_store(empty.log_store())
        .with_table_name(table.name())
        .with_columns(columns)
        .with_partition_columns([PARTITION])
        .with_configuration([("delta.checkpointInterval", Some(CHECKPOINT_INTERVAL.to_string()))])
        .await
        .context(format!("cannot create the Delta table {}", table.name()))
}

async fn read_snapshot(
    table: Table,
    prefix: &Path,
    log_store: &LogStoreRef,
    state: &DeltaTableState,
) -> Result<Snapshot> {
    let committed =
        state.transaction_version(log_store.as_ref(), WAL_APP_ID).await.context("cannot read the committed WAL seq")?;
    let schema = query_schema(table);
    let mut files = Vec::with_capacity(state.log_data().num_files());
    for view in state.log_data().iter() {
        let relative = view.path();
        let day = partition_day(&view.partition_values_map()).or_else(|| day_of_path(&relative)).ok_or_else(|| {
            Error::new(Kind::Corrupt, format!("the file {relative} of {} has no partition day", table.name()))
        })?;
        let bytes = u64::try_from(view.size()).unwrap_or_default();
        let (rows, statistics) = statistics::from_delta(view.stats().as_deref(), day, &schema, bytes);
        let path = relative.split('/').fold(prefix.clone(), |path, part| path.join(part));
        files.push(DataFile { path, bytes, rows, day, statistics });
    }
    files.sort_by(|a, b| (a.day, &a.path).cmp(&(b.day, &b.path)));
    Ok(Snapshot {
        version: state.version(),
        committed_seq: committed.and_then(|seq| u64::try_from(seq).ok()).unwrap_or(0),
        files,
    })
}

fn partition_day(values: &HashMap<String, Option<String>>) -> Option<i32> {
    values.get(PARTITION)?.as_deref().and_then(parse_day)
}

fn day_of_path(path: &str) -> Option<i32> {
    path.split('/').find_map(|part| part.strip_prefix(PARTITION)?.strip_prefix('=')).and_then(parse_day)
}

fn parse_day(text: &str) -> Option<i32> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(|date| date.to_epoch_days())
}

fn seq_version(seq: u64) -> Result<i64> {
    i64::try_from(seq).kind_context(Kind::Internal, || "the WAL seq left the range of Delta's versions".into())
}

/// The Delta schema: the files' columns with the partition column after the time.
fn delta_columns(table: Table) -> Result<Vec<StructField>> {
    let mut columns = file::file_schema(table)
        .fields()
        .iter()
        .map(|field| Ok(StructField::new(field.name(), delta_type(field.data_type())?, field.is_nullable())))
        .collect::<Result<Vec<_>>>()?;
    columns.insert(1, StructField::new(PARTITION, DeltaType::Primitive(PrimitiveType::Date), true));
    Ok(columns)
}

fn delta_type(data_type: &DataType) -> Result<DeltaType> {
    Ok(match data_type {
        DataType::Utf8 | DataType::Utf8View => DeltaType::Primitive(PrimitiveType::String),
        DataType::Int64 => DeltaType::Primitive(PrimitiveType::Long),
        DataType::Float64 => DeltaType::Primitive(PrimitiveType::Double),
        DataType::Boolean => DeltaType::Primitive(PrimitiveType::Boolean),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => DeltaType::Primitive(PrimitiveType::Timestamp),
        DataType::List(element) => {
            DeltaType::from(ArrayType::new(delta_type(element.data_type())?, element.is_nullable()))
        }
        DataType::Struct(fields) => {
            let fields = fields
                .iter()
                .map(|field| Ok(StructField::new(field.name(), delta_type(field.data_type())?, field.is_nullable())))
                .collect::<Result<Vec<_>>>()?;
            DeltaType::from(StructType::try_new(fields).context("a nested column is no Delta struct")?)
        }
        DataType::Map(entries, _) => {
            let DataType::Struct(fields) = entries.data_type() else {
                return Err(Error::new(Kind::Internal, "the entries of a map are a struct"));
            };
            DeltaType::from(MapType::new(
                delta_type(fields[0].data_type())?,
                delta_type(fields[1].data_type())?,
                fields[1].is_nullable(),
            ))
        }
        other => return Err(Error::new(Kind::Internal, format!("{other} has no Delta type"))),
    })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("a flush worker stopped")?
}
