//! Rows → one Parquet file in memory: sorted by time, small enough to prune, plain enough for every
//! reader. Never touches a store.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray},
    compute::{concat_batches, sort_to_indices, take_record_batch},
    datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType},
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, Encoding, ZstdLevel},
    file::{
        metadata::ParquetMetaData,
        properties::{EnabledStatistics, WriterProperties},
    },
    schema::types::ColumnPath,
};

use crate::{
    error::{Context, Result},
    lifecycle::Tier,
    record::{Table, col},
};

/// Rows of a row group: a reader's unit of pruning and of parallel work.
const ROW_GROUP_ROWS: usize = 128 * 1024;
/// The same for files as ingest writes them. They are joined soon, many at once, and each that is open holds
/// a row group in memory.
const HOT_ROW_GROUP_ROWS: usize = 32 * 1024;
/// Rows of a page of such files: of each column of each file that is open, one page is decoded.
const HOT_PAGE_ROWS: usize = 4 * 1024;
/// zstd level of files that are kept long. Measured: at level 3, 6 and 9 such files are 3 % larger than at
/// level 1, and take up to twice the time to write.
const WARM_LEVEL: i32 = 1;
const DAY_US: i64 = 86_400_000_000;

/// Columns looked up by one exact value: worth a Bloom filter.
const LOOKED_UP: [&str; 3] = [col::TRACE_ID, col::SESSION_ID, col::REQUEST_ID];

/// Columns of values that hardly repeat: a dictionary would only cost time.
const HARDLY_REPEATED: [&str; 10] = [
    col::REQUEST_ID,
    col::TRACE_ID,
    col::SPAN_ID,
    col::PARENT_SPAN_ID,
    col::CORRELATION_ID,
    col::SESSION_ID,
    col::COST_USD,
    col::LATENCY_MS,
    col::ATTRIBUTES,
    col::RAW,
];

/// A file's bytes and what its footer says.
pub struct Encoded {
    /// The file.
    pub bytes: Vec<u8>,
    /// Its footer.
    pub metadata: Arc<ParquetMetaData>,
    /// Its rows.
    pub rows: usize,
}

/// All rows in the order of the table's time column. Rows that come in order, the normal case, are
/// not copied one by one.
pub fn sort_by_time(table: Table, batches: &[RecordBatch]) -> Result<RecordBatch> {
    let schema = table.schema();
    let all = concat_batches(schema, batches).context("cannot join buffered batches")?;
    let times = all.column_by_name(table.time_column()).expect("every table has its time column");
    if times.as_primitive::<TimestampMicrosecondType>().values().is_sorted() {
        return Ok(all);
    }
    let order = sort_to_indices(times, None, None).context("cannot sort rows by time")?;
    take_record_batch(&all, &order).context("cannot sort rows by time")
}

/// Splits rows that are sorted by time at UTC midnight: day since the epoch → its rows.
pub fn split_by_day(table: Table, sorted: &RecordBatch) -> BTreeMap<i32, RecordBatch> {
    let times = sorted.column_by_name(table.time_column()).expect("every table has its time column");
    let times = times.as_primitive::<TimestampMicrosecondType>().values();
    let mut days = BTreeMap::new();
    let mut start = 0;
    while start < times.len() {
        let day = times[start].div_euclid(DAY_US);
        let end = start + times[start..].partition_point(|time| time.div_euclid(DAY_US) == day);
        days.insert(day as i32, sorted.slice(start, end - start));
        start = end;
    }
    days
}

/// Writes one file.
pub fn encode(table: Table, rows: &RecordBatch) -> Result<Encoded> {
    let batch = with_utc(rows)?;
    let properties = writer_properties(table, Tier::Hot, rows.num_rows())?;
    let mut bytes = Vec::with_capacity(rows.num_rows() * 100 + 16 * 1024);
    let mut writer =
        ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).context("cannot start a Parquet file")?;
    writer.write(&batch).context("cannot encode a Parquet file")?;
    let metadata = writer.close().context("cannot end a Parquet file")?;
    Ok(Encoded { bytes, metadata: Arc::new(metadata), rows: rows.num_rows() })
}

/// The schema of the files: the table's, its times marked as UTC so that every reader agrees.
pub fn file_schema(table: Table) -> SchemaRef {
    let fields: Vec<Field> = table
        .schema()
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Timestamp(unit, None) => {
                field.as_ref().clone().with_data_type(DataType::Timestamp(*unit, Some("UTC".into())))
            }
            _ => field.as_ref().clone(),
        })
        .collect();
    Arc::new(Schema::new(fields))
}

/// The same rows with their times marked as UTC; no value changes.
pub fn with_utc(rows: &RecordBatch) -> Result<RecordBatch> {
    let mut fields = Vec::with_capacity(rows.num_columns());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(rows.num_columns());
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        match column.as_primitive_opt::<TimestampMicrosecondType>() {
            Some(times) => {
                let times: TimestampMicrosecondArray = times.clone().with_timezone("UTC");
                fields.push(field.as_ref().clone().with_data_type(times.data_type().clone()));
                columns.push(Arc::new(times));
            }
            None => {
                fields.push(field.as_ref().clone());
                columns.push(Arc::clone(column));
            }
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).context("cannot mark times as UTC")
}

/// Hot files are written in a hurry and read most: measured against zstd at level 1, LZ4 takes 1.6
/// times the bytes and lets ingest run 1.5 times as fast. Later files are written once and kept long.
fn compression(tier: Tier) -> Result<Compression> {
    match tier {
        Tier::Hot => Ok(Compression::LZ4_RAW),
        Tier::Warm | Tier::Cold => {
            ZstdLevel::try_new(WARM_LEVEL).map(Compression::ZSTD).context("zstd does not know the level")
        }
    }
}

/// The compression in a file's name.
pub fn codec_name(tier: Tier) -> &'static str {
    match tier {
        Tier::Hot => "lz4",
        Tier::Warm | Tier::Cold => "zstd",
    }
}

/// Rows of a row group of a file that ingest writes or that becomes of others.
fn row_group_rows(tier: Tier, rows: usize) -> usize {
    if tier == Tier::Hot && rows < ROW_GROUP_ROWS { HOT_ROW_GROUP_ROWS } else { ROW_GROUP_ROWS }
}

/// Bytes of a row group of a file, about.
pub fn row_group_bytes(tier: Tier, rows: usize, bytes: u64) -> u64 {
    let rows = rows.max(1);
    bytes / rows as u64 * rows.min(row_group_rows(tier, rows)) as u64
}

/// How a file of so many rows is written.
pub fn writer_properties(table: Table, tier: Tier, rows: usize) -> Result<WriterProperties> {
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("driftline ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(compression(tier)?)
        .set_max_row_group_row_count(Some(row_group_rows(tier, rows)))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_column_statistics_enabled(ColumnPath::from(table.time_column()), EnabledStatistics::Page)
        .set_column_dictionary_enabled(ColumnPath::from(table.time_column()), false)
        .set_column_encoding(ColumnPath::from(table.time_column()), Encoding::DELTA_BINARY_PACKED);
    if row_group_rows(tier, rows) == HOT_ROW_GROUP_ROWS {
        builder = builder.set_data_page_row_count_limit(HOT_PAGE_ROWS);
    }
    for name in HARDLY_REPEATED {
        builder = builder.set_column_dictionary_enabled(ColumnPath::from(name), false);
    }
    for name in LOOKED_UP {
        let path = ColumnPath::from(name);
        builder = builder
            .set_column_bloom_filter_enabled(path.clone(), true)
            .set_column_bloom_filter_max_ndv(path, rows.clamp(1, ROW_GROUP_ROWS) as u64);
    }
    Ok(builder.build())
}
