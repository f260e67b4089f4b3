//! Rows → one Parquet file in memory: sorted by time, small enough to prune, plain enough for every
//! reader. Never touches a store.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

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

use super::tags::LongColumns;
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
/// Rows that readers decode at once.
const BATCH_ROWS: usize = 8 * 1024;
/// Rows whose plain bytes are more, within so few of them, are divided among row groups, as what is decoded at once
/// never spans two.
const BATCH_BYTES: usize = 32 << 20;
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
    for part in parts(&batch) {
        if part.is_heavy {
            writer.flush().context("cannot end a row group")?;
        }
        writer.write(&part.rows).context("cannot encode a Parquet file")?;
        if part.is_heavy {
            writer.flush().context("cannot end a row group")?;
        }
    }
    let metadata = writer.close().context("cannot end a Parquet file")?;
    Ok(Encoded { bytes, metadata: Arc::new(metadata), rows: rows.num_rows() })
}

/// The columns of which as many rows as readers decode at once are too many bytes, and the bytes of a row there.
pub fn long_columns(metadata: &ParquetMetaData) -> LongColumns {
    let mut long = LongColumns::new();
    for group in metadata.row_groups() {
        for column in group.columns() {
            // Text that repeats is short in the file, and as long as ever in memory.
            let plain = column.unencoded_byte_array_data_bytes().unwrap_or_default().max(column.uncompressed_size());
            let bytes = usize::try_from(plain / group.num_rows().max(1)).unwrap_or_default();
            if bytes > BATCH_BYTES / BATCH_ROWS
                && let Some(name) = column.column_path().parts().first()
            {
                let most = long.entry(name.clone()).or_default();
                *most = bytes.max(*most);
            }
        }
    }
    long
}

/// Rows that are written in one go.
pub struct Part {
    /// The rows.
    pub rows: RecordBatch,
    /// They are of so many bytes that they need a row group of their own.
    pub is_heavy: bool,
}

/// The rows in the order in which they are, divided where a reader would have to decode too many bytes at once. A row
/// is never divided.
pub fn parts(rows: &RecordBatch) -> Vec<Part> {
    let mut parts = Vec::with_capacity(1);
    let mut light_from = 0;
    let light = |from, to| (from < to).then(|| Part { rows: rows.slice(from, to - from), is_heavy: false });
    for from in (0..rows.num_rows()).step_by(BATCH_ROWS) {
        let batch = rows.slice(from, BATCH_ROWS.min(rows.num_rows() - from));
        let bytes = plain_bytes(&batch);
        if bytes > BATCH_BYTES {
            parts.extend(light(light_from, from));
            let mut pieces = Vec::new();
            divide(&batch, 0..batch.num_rows(), bytes, &mut pieces);
            parts.extend(
                pieces
                    .into_iter()
                    .map(|(piece, _)| Part { rows: batch.slice(piece.start, piece.len()), is_heavy: true }),
            );
            light_from = from + BATCH_ROWS;
        }
    }
    parts.extend(light(light_from, rows.num_rows()));
    parts
}

/// Adds these rows, of so many bytes, to the pieces: halved until they are few enough, joined with the piece before
/// where that leaves them so.
fn divide(batch: &RecordBatch, rows: Range<usize>, bytes: usize, pieces: &mut Vec<(Range<usize>, usize)>) {
    if bytes > BATCH_BYTES && rows.len() > 1 {
        let middle = rows.start + rows.len() / 2;
        for half in [rows.start..middle, middle..rows.end] {
            let bytes = plain_bytes(&batch.slice(half.start, half.len()));
            divide(batch, half, bytes, pieces);
        }
        return;
    }
    match pieces.last_mut() {
        Some((before, so_far)) if *so_far + bytes <= BATCH_BYTES => {
            before.end = rows.end;
            *so_far += bytes;
        }
        _ => pieces.push((rows, bytes)),
    }
}

/// Bytes of the values themselves, in whatever buffers they lie.
fn plain_bytes(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(bytes_of).sum()
}

fn bytes_of(column: &ArrayRef) -> usize {
    let within = |values: &ArrayRef, offsets: &[i32]| match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => bytes_of(&values.slice(*first as usize, (last - first) as usize)),
        _ => 0,
    };
    match column.data_type() {
        // The low half of a view's low half is the text's length.
        DataType::Utf8View => column.as_string_view().views().iter().map(|view| *view as u32 as usize).sum(),
        DataType::Struct(_) => column.as_struct().columns().iter().map(bytes_of).sum(),
        DataType::List(_) => within(column.as_list::<i32>().values(), column.as_list::<i32>().value_offsets()),
        DataType::Map(..) => {
            let map = column.as_map();
            map.entries().columns().iter().map(|entries| within(entries, map.value_offsets())).sum()
        }
        _ => column.to_data().get_slice_memory_size().unwrap_or_default(),
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::decode::{Options, Shape, decode};

    /// So many records of a text of so many bytes each.
    fn records(texts: &[(usize, usize)]) -> RecordBatch {
        let lines = texts.iter().flat_map(|(records, bytes)| {
            let text = "y".repeat(*bytes);
            std::iter::repeat_n(format!("{{\"request_id\":\"r\",\"text\":\"{text}\"}}\n"), *records)
        });
        let options = Options {
            received_at_us: 1_778_752_800_000_000,
            record_bytes_max: 4 << 20,
            future_max_us: 0,
            oldest: crate::decode::Oldest::default(),
            shape: Shape::Lines,
            scope: crate::access::Scope::Everybody,
        };
        let decoded = decode(lines.collect::<String>().as_bytes(), options).unwrap();
        assert_eq!(decoded.rejects, []);
        let mut columns = decoded.records.columns().to_vec();
        columns.push(Arc::new(arrow::array::Int64Array::from_value(1, decoded.records.num_rows())));
        RecordBatch::try_new(Arc::clone(Table::AgentLogs.schema()), columns).unwrap()
    }

    #[test]
    fn what_is_decoded_at_once_is_bounded_by_bytes() {
        let check = |texts: &[(usize, usize)], expected: &[(usize, bool)]| {
            let rows = records(texts);
            let found: Vec<_> = parts(&rows).iter().map(|part| (part.rows.num_rows(), part.is_heavy)).collect();
            assert_eq!(found, expected, "{texts:?}");
            let encoded = encode(Table::AgentLogs, &rows).unwrap();
            assert_eq!(encoded.rows, rows.num_rows());
            let groups: Vec<_> = encoded.metadata.row_groups().iter().map(|group| group.num_rows() as usize).collect();
            assert_eq!(groups.iter().sum::<usize>(), rows.num_rows());
            let is_long = expected.iter().any(|part| part.1);
            let long = long_columns(&encoded.metadata);
            assert_eq!(long.keys().collect::<Vec<_>>(), if is_long { vec![col::ATTRIBUTES] } else { Vec::new() });
            assert!(long.values().all(|bytes| *bytes > 4_096), "{long:?}");
            let heavy = |rows: &usize| expected.contains(&(*rows, true));
            assert_eq!(groups.iter().filter(|rows| heavy(rows)).count(), expected.iter().filter(|part| part.1).count());
        };
        check(&[(20_000, 100)], &[(20_000, false)]);
        check(&[(12, 3 << 20)], &[(6, true), (6, true)]);
        check(
            &[(9_000, 100), (12, 3 << 20), (9_000, 100)],
            &[(8_192, false), (816, true), (7_376, true), (1_628, false)],
        );
    }
}
