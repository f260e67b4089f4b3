//! One Delta table: opened or created, committed to with the WAL's seq, and seen as snapshots.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, Weak},
};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use bytes::Bytes;
use chrono::NaiveDate;
use datafusion::{
    common::{Statistics, stats::Precision},
    scalar::ScalarValue,
};
use deltalake_core::{
    DeltaTable,
    kernel::{
        Action, Add, Transaction,
        transaction::{CommitBuilder, CommitProperties},
    },
    logstore::LogStoreRef,
    operations::create::CreateBuilder,
    protocol::{DeltaOperation, SaveMode},
    table::state::DeltaTableState,
};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart, path::Path};
use tokio::sync::Mutex;
use url::Url;

use super::{
    file::{self, Encoded},
    run::Runs,
    schema, statistics,
    storage::{Place, Storage},
    tags::{self, LongColumns, Said},
    turn::Turn,
};
use crate::{
    error::{Context, Error, Kind, Result},
    lifecycle::{FileInfo, TenantSet, Tenants, Tier},
    record::{PARTITION, Table, col},
};

/// The application id of the transaction that carries the highest committed WAL seq.
const WAL_APP_ID: &str = "driftline-wal";
/// The application id of the transaction that counts the rows that were ever deleted.
pub(super) const DELETED_APP_ID: &str = "driftline-deleted";
/// Commits between checkpoints of the Delta log.
const CHECKPOINT_INTERVAL: u32 = 50;
pub(super) const DAY_US: i64 = 86_400_000_000;
/// Files that are encoded and uploaded at the same time.
const UPLOADS: usize = 4;
/// A file that is larger is written in parts.
const PUT_BYTES_MAX: usize = 16 << 20;
const PART_BYTES: usize = 8 << 20;

/// A committed file.
#[derive(Debug, Clone)]
pub struct DataFile {
    /// Its name in the Delta log: the path below the table's directory, or the whole of its URL where
    /// it is in the cold store; decoded.
    pub name: String,
    /// The store that has it.
    pub store: Arc<dyn ObjectStore>,
    /// Where it is in the store.
    pub path: Path,
    /// Its length.
    pub bytes: u64,
    /// Its rows, where the log says so.
    pub rows: Option<usize>,
    /// Its partition: days since the epoch, UTC.
    pub day: i32,
    /// When it was written, µs since the epoch, UTC.
    pub written_us: i64,
    /// How it is kept.
    pub tier: Tier,
    /// Whose rows were taken out of it.
    pub removed: TenantSet,
    /// Its columns of long texts, and the plain bytes of a row there.
    pub long: LongColumns,
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
    /// Rows that commits brought and that were deleted since.
    pub deleted_rows: u64,
    /// The files.
    pub files: Vec<DataFile>,
}

/// A table that is open for commits.
pub struct LakeTable {
    table: Table,
    pub(super) places: Places,
    pub(super) log_store: LogStoreRef,
    pub(super) writer: Mutex<DeltaTableState>,
    snapshots: RwLock<Snapshots>,
    /// Whose commits it may have, where others could make some.
    pub(super) runs: Option<Arc<Runs>>,
    /// The right to change the cold store, where others could have it too.
    pub(super) turn: Option<Arc<Turn>>,
}

/// The newest snapshot, and those that were the newest once: somebody may still read from them.
struct Snapshots {
    newest: Arc<Snapshot>,
    past: Vec<Weak<Snapshot>>,
}

/// Where a table's files are.
pub(super) struct Places {
    /// The Delta log and the files that are hot or warm.
    pub home: Place,
    /// The files that are cold, where there is a store for them.
    pub cold: Option<Place>,
}

/// The columns that a query sees: the table's and its partition column.
pub fn query_schema(table: Table) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = table.schema().fields().to_vec();
    fields.push(Arc::new(Field::new(PARTITION, DataType::Date32, false)));
    Arc::new(Schema::new(fields))
}

impl LakeTable {
    /// Opens the table, or creates it where there is none. Cold files are in a storage of their own.
    pub async fn open(storage: &Storage, cold: Option<&Storage>, table: Table) -> Result<Self> {
        let home = storage.place(table.name())?;
        let cold = cold.map(|storage| storage.place(table.name())).transpose()?;
        let places = Places { home, cold };
        let log_store = places.home.log_store();
        let mut delta = DeltaTable::new(Arc::clone(&log_store));
        if !exists(&delta).await?
            && let Err(error) = create(&log_store, table).await
        {
            // A store may have taken what it was sent and lost its answer.
            if !exists(&delta).await? {
                return Err(error);
            }
        }
        delta.load().await.context(format!("cannot read the Delta log of {}", table.name()))?;
        schema::grow(&mut delta, table).await?;
        let state = delta.snapshot().context("the table has no snapshot after loading")?.clone();
        let snapshot = read_snapshot(table, &places, &log_store, &state).await?;
        Ok(Self {
            table,
            places,
            log_store,
            writer: Mutex::new(state),
            snapshots: RwLock::new(Snapshots { newest: Arc::new(snapshot), past: Vec::new() }),
            runs: None,
            turn: None,
        })
    }

    /// Which table it is.
    pub fn table(&self) -> Table {
        self.table
    }

    /// The table's directory.
    pub fn url(&self) -> &Url {
        &self.places.home.url
    }

    /// The newest version.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.read().unwrap_or_else(PoisonError::into_inner).newest)
    }

    /// Commits rows whose highest WAL seq is `through_seq`, in one version: sorted files first, each
    /// on disk before the log names it. Rows that a commit already brought are not written again, so
    /// it is safe to call after a failure whose outcome is unknown.
    pub async fn commit(&self, batches: &[RecordBatch], through_seq: u64, now_us: i64) -> Result<()> {
        let mut state = self.writer.lock().await;
        if self.snapshot().committed_seq >= through_seq {
            return Ok(());
        }
        // An earlier attempt may have reached the log and failed after it.
        self.refresh(&mut state).await?;
        if self.snapshot().committed_seq >= through_seq {
            return Ok(());
        }
        let adds = self.write_files(batches, now_us).await?;
        let transaction = Transaction::new(WAL_APP_ID, seq_version(through_seq)?);
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: Some(vec![PARTITION.to_owned()]),
            predicate: None,
        };
        let properties = CommitProperties::default().with_application_transaction(transaction);
        let actions = adds.into_iter().map(Action::Add).collect();
        let committed = self.commit_actions(&mut state, properties, actions, operation).await;
        self.settle(&mut state, committed, |snapshot| snapshot.committed_seq >= through_seq).await
    }

    /// What became of a commit. One that failed may stand all the same: a store over the network may have
    /// taken it and lost its answer, and then the log says so.
    pub(super) async fn settle(
        &self,
        state: &mut DeltaTableState,
        committed: Result<()>,
        stands: impl FnOnce(&Snapshot) -> bool,
    ) -> Result<()> {
        let Err(error) = committed else { return Ok(()) };
        self.refresh(state).await.map_err(|_| Error::new(error.kind(), error.chain()))?;
        if !stands(&self.snapshot()) {
            return Err(error);
        }
        tracing::warn!(table = self.table.name(), error = error.chain(), "a commit stands whose answer was lost");
        Ok(())
    }

    /// Reads what the log says now.
    pub(super) async fn refresh(&self, state: &mut DeltaTableState) -> Result<()> {
        state
            .update(self.log_store.as_ref(), None)
            .await
            .context(format!("cannot refresh the Delta log of {}", self.table.name()))?;
        let snapshot = read_snapshot(self.table, &self.places, &self.log_store, state).await?;
        self.check_run(state, snapshot.committed_seq).await?;
        self.publish(snapshot);
        Ok(())
    }

    /// Commits actions on top of a state that was refreshed.
    pub(super) async fn commit_actions(
        &self,
        state: &mut DeltaTableState,
        properties: CommitProperties,
        actions: Vec<Action>,
        operation: DeltaOperation,
    ) -> Result<()> {
        let properties = match &self.runs {
            Some(runs) => properties.with_application_transaction(runs.transaction()),
            None => properties,
        };
        // The log is tended on its own: a commit that stands must not fail over an old file.
        let committed = CommitBuilder::from(properties.with_cleanup_expired_logs(Some(false)))
            .with_actions(actions)
            .build(Some(state.snapshot()), Arc::clone(&self.log_store), operation)
            .await
            .context(format!("cannot commit to the Delta table {}", self.table.name()))?;
        *state = committed.snapshot();
        let snapshot = read_snapshot(self.table, &self.places, &self.log_store, state).await?;
        self.publish(snapshot);
        Ok(())
    }

    /// The newest snapshot and those that somebody still reads from.
    pub(super) fn snapshots_in_use(&self) -> Vec<Arc<Snapshot>> {
        let snapshots = self.snapshots.read().unwrap_or_else(PoisonError::into_inner);
        let past = snapshots.past.iter().filter_map(Weak::upgrade);
        past.chain([Arc::clone(&snapshots.newest)]).collect()
    }

    fn publish(&self, snapshot: Snapshot) {
        let mut snapshots = self.snapshots.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut snapshots.newest, Arc::new(snapshot));
        snapshots.past.retain(|snapshot| snapshot.strong_count() > 0);
        snapshots.past.push(Arc::downgrade(&before));
    }

    async fn write_files(&self, batches: &[RecordBatch], now_us: i64) -> Result<Vec<Add>> {
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
                self.write_file(day, encoded, now_us).await
            })
            .buffered(UPLOADS)
            .try_collect()
            .await
    }

    async fn write_file(&self, day: i32, encoded: Encoded, now_us: i64) -> Result<Add> {
        let name = self.new_name(day, Tier::Hot)?;
        let home = &self.places.home;
        let path = home.path_of(&name);
        let bytes = encoded.bytes.len();
        let stats = statistics::to_delta(&encoded.metadata, self.table.schema(), encoded.rows);
        let tags = tags::of_hot(&file::long_columns(&encoded.metadata));
        put(home.store.as_ref(), &path, encoded.bytes.into()).await.map_err(|error| {
            let full = error_chain(&error).any(|text| text.contains("os error 28") || text.contains("os error 122"));
            let kind = if full { Kind::Busy } else { Kind::Internal };
            Error::new(kind, format!("cannot write the data file {path}")).with_source(error)
        })?;
        Ok(Add { tags, ..self.add(NewFile { name, day, bytes, stats, now_us })? })
    }

    /// A name that no file has.
    pub(super) fn new_name(&self, day: i32, tier: Tier) -> Result<String> {
        let codec = file::codec_name(tier);
        Ok(format!("{PARTITION}={}/part-{}.{codec}.parquet", date_of(day)?, uuid::Uuid::now_v7()))
    }

    /// The log's entry of a file that is in the store.
    pub(super) fn add(&self, file: NewFile) -> Result<Add> {
        Ok(Add {
            path: file.name,
            partition_values: HashMap::from([(PARTITION.to_owned(), Some(date_of(file.day)?.to_string()))]),
            size: file.bytes as i64,
            modification_time: file.now_us / 1_000,
            data_change: true,
            stats: Some(file.stats),
            ..Add::default()
        })
    }
}

/// A file that is in the store and in no commit.
pub(super) struct NewFile {
    /// Its name in the Delta log.
    pub name: String,
    /// Its partition.
    pub day: i32,
    /// Its length.
    pub bytes: usize,
    /// The log's statistics of it.
    pub stats: String,
    /// When it was written, µs since the epoch, UTC.
    pub now_us: i64,
}

impl Places {
    /// Where the log's name of a file leads: whose it is, and its path there.
    fn find<'a>(&self, name: &'a str) -> Result<(&Place, &'a str)> {
        if !name.contains("://") {
            return Ok((&self.home, name));
        }
        let cold = self.cold.as_ref().and_then(|place| Some((place, name.strip_prefix(&place.absolute(""))?)));
        cold.ok_or_else(|| {
            Error::new(Kind::Conflict, format!("{name} is not in the cold store of the settings: see storage.cold_url"))
        })
    }

    /// Where files of a tier are written.
    pub fn of(&self, tier: Tier) -> Result<&Place> {
        match tier {
            Tier::Hot | Tier::Warm => Ok(&self.home),
            Tier::Cold => {
                self.cold.as_ref().ok_or_else(|| Error::invalid("there is no cold store: set storage.cold_url"))
            }
        }
    }

    /// What the log calls a file that is written.
    pub fn name_of(&self, tier: Tier, relative: &str) -> Result<String> {
        let place = self.of(tier)?;
        Ok(if tier == Tier::Cold { place.absolute(relative) } else { relative.to_owned() })
    }
}

impl DataFile {
    /// Its partition as the Delta log writes it.
    pub(super) fn date(&self) -> Option<String> {
        date_of(self.day).ok().map(|date| date.to_string())
    }

    /// What the life cycle looks at.
    pub fn info(&self, table: Table) -> FileInfo {
        let (first_us, last_us) = self.times();
        let rows = self.rows.unwrap_or_default() as u64;
        FileInfo {
            name: self.name.clone(),
            day: self.day,
            tier: self.tier,
            bytes: self.bytes,
            rows,
            first_us,
            last_us,
            written_us: self.written_us,
            tenants: self.tenants(table, rows),
            removed: self.removed.clone(),
        }
    }

    /// Whether a row may have this text in a column, as far as the log's bounds tell.
    pub fn may_hold(&self, table: Table, column: &str, wanted: &str) -> bool {
        let position = table.schema().index_of(column).ok();
        let Some(bounds) = position.and_then(|position| self.statistics.column_statistics.get(position)) else {
            return true;
        };
        let below = text(&bounds.min_value).is_some_and(|least| wanted < least.as_str());
        let above = text(&bounds.max_value).is_some_and(|greatest| wanted > greatest.as_str());
        !below && !above
    }

    fn tenants(&self, table: Table, rows: u64) -> Tenants {
        let Ok(position) = table.schema().index_of(col::TENANT_ID) else {
            return Tenants::from_statistics(None, rows, Some(rows));
        };
        let Some(bounds) = self.statistics.column_statistics.get(position) else { return Tenants::Unknown };
        let (least, greatest) = (text(&bounds.min_value), text(&bounds.max_value));
        let unnamed_rows = bounds.null_count.get_value().map(|nulls| *nulls as u64);
        Tenants::from_statistics(least.as_deref().zip(greatest.as_deref()), rows, unnamed_rows)
    }

    /// Least and greatest time of its rows, µs since the epoch; where the log does not say, of its day.
    pub fn times(&self) -> (i64, i64) {
        let start_us = i64::from(self.day) * DAY_US;
        // The time is the first column of every table.
        let bounds = self.statistics.column_statistics.first();
        let us = |bound: Option<&Precision<ScalarValue>>| match bound?.get_value()? {
            ScalarValue::TimestampMicrosecond(us, _) => *us,
            _ => None,
        };
        let first_us = us(bounds.map(|bounds| &bounds.min_value)).unwrap_or(start_us);
        let last_us = us(bounds.map(|bounds| &bounds.max_value)).unwrap_or(start_us + DAY_US - 1);
        (first_us, last_us)
    }
}

fn text(bound: &Precision<ScalarValue>) -> Option<String> {
    match bound.get_value()? {
        ScalarValue::Utf8View(text) => text.clone(),
        _ => None,
    }
}

fn date_of(day: i32) -> Result<NaiveDate> {
    NaiveDate::from_epoch_days(day)
        .ok_or_else(|| Error::new(Kind::Internal, format!("day {day} is outside the calendar")))
}

fn error_chain<'a>(error: &'a dyn std::error::Error) -> impl Iterator<Item = String> + 'a {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string)
}

/// Writes a file, a large one in parts: a store over the network would lose all of it to one timeout.
pub(super) async fn put(store: &dyn ObjectStore, path: &Path, bytes: Bytes) -> object_store::Result<()> {
    if bytes.len() <= PUT_BYTES_MAX {
        return store.put(path, PutPayload::from(bytes)).await.map(drop);
    }
    let upload = store.put_multipart(path).await?;
    let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
    writer.put(bytes);
    writer.finish().await.map(drop)
}

async fn exists(delta: &DeltaTable) -> Result<bool> {
    delta.verify_deltatable_existence().await.context(format!("cannot look for the Delta log at {}", delta.table_url()))
}

async fn create(log_store: &LogStoreRef, table: Table) -> Result<DeltaTable> {
    let columns = schema::delta_columns(table)?;
    CreateBuilder::new()
        .with_log_store(Arc::clone(log_store))
        .with_table_name(table.name())
        .with_columns(columns)
        .with_partition_columns([PARTITION])
        .with_configuration([("delta.checkpointInterval", Some(CHECKPOINT_INTERVAL.to_string()))])
        .await
        .context(format!("cannot create the Delta table {}", table.name()))
}

pub(super) async fn read_snapshot(
    table: Table,
    places: &Places,
    log_store: &LogStoreRef,
    state: &DeltaTableState,
) -> Result<Snapshot> {
    let count = async |app_id: &str| {
        let found = state.transaction_version(log_store.as_ref(), app_id).await;
        let found = found.context(format!("cannot read the transaction {app_id} of {}", table.name()))?;
        Ok::<_, Error>(found.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
    };
    let (committed_seq, deleted_rows) = (count(WAL_APP_ID).await?, count(DELETED_APP_ID).await?);
    let schema = query_schema(table);
    let mut files = Vec::with_capacity(state.log_data().num_files());
    for view in state.log_data().iter() {
        let relative = view.path();
        let day = partition_day(&view.partition_values_map()).or_else(|| day_of_path(&relative)).ok_or_else(|| {
            Error::new(Kind::Corrupt, format!("the file {relative} of {} has no partition day", table.name()))
        })?;
        let bytes = u64::try_from(view.size()).unwrap_or_default();
        let (rows, statistics) = statistics::from_delta(view.stats().as_deref(), day, &schema, bytes);
        let (place, within) = places.find(&relative)?;
        let (store, path) = (Arc::clone(&place.store), place.path_of(within));
        let written_us = view.modification_time().saturating_mul(1_000);
        #[allow(deprecated)] // the only way to a file's tags
        let tags = view.add_action().tags.unwrap_or_default();
        let Said { tier, removed, long } = tags::read(&tags);
        let name = relative.into_owned();
        files.push(DataFile { name, store, path, bytes, rows, day, written_us, tier, removed, long, statistics });
    }
    files.sort_by(|a, b| (a.day, &a.path).cmp(&(b.day, &b.path)));
    Ok(Snapshot { version: state.version(), committed_seq, deleted_rows, files })
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

pub(super) fn seq_version(seq: u64) -> Result<i64> {
    i64::try_from(seq).kind_context(Kind::Internal, || "the WAL seq left the range of Delta's versions".into())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("a flush worker stopped")?
}
