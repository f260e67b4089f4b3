//! What a file holds, without opening it: row count, and per column the least and greatest value and
//! the number of nulls. Written into the Delta log as its JSON, read back for pruning and for
//! answers that need no data.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use chrono::{DateTime, SecondsFormat};
use datafusion::{
    common::{ColumnStatistics, Statistics, stats::Precision},
    scalar::ScalarValue,
};
use parquet::file::{metadata::ParquetMetaData, statistics::Statistics as ChunkStatistics};
use serde_json::{Map, Value, json};

use crate::record::{PARTITION, col};

/// Delta's own default: statistics cover the leading columns only.
const LEADING_COLUMNS: usize = 32;
/// Parquet cuts longer text in its statistics; a cut bound is no exact value.
const EXACT_TEXT_BYTES_MAX: usize = 63;
/// Ids have no useful bounds.
const UNBOUNDED: [&str; 6] =
    [col::REQUEST_ID, col::SESSION_ID, col::TRACE_ID, col::SPAN_ID, col::PARENT_SPAN_ID, col::CORRELATION_ID];

/// The `stats` of a Delta `add` action.
pub fn to_delta(metadata: &ParquetMetaData, schema: &SchemaRef, rows: usize) -> String {
    let mut least = Map::new();
    let mut greatest = Map::new();
    let mut nulls = Map::new();
    for field in schema.fields().iter().take(LEADING_COLUMNS) {
        let Some(bounds) = bounds_of(metadata, field.name(), field.data_type()) else { continue };
        nulls.insert(field.name().clone(), json!(bounds.nulls));
        if let (Some(min), Some(max), false) = (bounds.min, bounds.max, UNBOUNDED.contains(&field.name().as_str())) {
            least.insert(field.name().clone(), min);
            greatest.insert(field.name().clone(), max);
        }
    }
    json!({ "numRecords": rows, "minValues": least, "maxValues": greatest, "nullCount": nulls }).to_string()
}

/// Statistics for the query engine, one entry a column of `schema` (the table's with its partition
/// column), from the `stats` of an `add` action and the partition's day.
pub fn from_delta(stats: Option<&str>, day: i32, schema: &SchemaRef, bytes: u64) -> (Option<usize>, Arc<Statistics>) {
    let stats: HashMap<String, Value> = stats.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let rows = stats.get("numRecords").and_then(Value::as_u64).map(|rows| rows as usize);
    let value_of = |group: &str, name: &str| stats.get(group).and_then(|values| values.get(name));
    let column_statistics = schema
        .fields()
        .iter()
        .map(|field| {
            let name = field.name();
            if name == PARTITION {
                let day = Precision::Exact(ScalarValue::Date32(Some(day)));
                return ColumnStatistics::new_unknown()
                    .with_min_value(day.clone())
                    .with_max_value(day)
                    .with_null_count(Precision::Exact(0));
            }
            let bound = |group| {
                value_of(group, name)
                    .and_then(|value| to_scalar(value, field.data_type()))
                    .map_or(Precision::Absent, Precision::Exact)
            };
            let nulls = value_of("nullCount", name)
                .and_then(Value::as_u64)
                .map_or(Precision::Absent, |nulls| Precision::Exact(nulls as usize));
            ColumnStatistics::new_unknown()
                .with_min_value(bound("minValues"))
                .with_max_value(bound("maxValues"))
                .with_null_count(nulls)
        })
        .collect();
    let statistics = Statistics {
        num_rows: rows.map_or(Precision::Absent, Precision::Exact),
        total_byte_size: Precision::Inexact(bytes as usize),
        column_statistics,
    };
    (rows, Arc::new(statistics))
}

struct Bounds {
    nulls: u64,
    min: Option<Value>,
    max: Option<Value>,
}

/// Bounds over all row groups, or `None` where a group does not know them. Bounds that do not hold for
/// every group are none: a reader passes over a file by them.
fn bounds_of(metadata: &ParquetMetaData, name: &str, data_type: &DataType) -> Option<Bounds> {
    let leaf = metadata
        .file_metadata()
        .schema_descr()
        .columns()
        .iter()
        .position(|column| column.path().parts().len() == 1 && column.name() == name)?;
    let mut bounds = Bounds { nulls: 0, min: None, max: None };
    let mut is_bounded = true;
    for group in metadata.row_groups() {
        let statistics = group.column(leaf).statistics()?;
        let nulls = statistics.null_count_opt()?;
        bounds.nulls += nulls;
        match chunk_bounds(statistics, data_type) {
            Some((min, max)) => {
                bounds.min = Some(pick(bounds.min, min, true));
                bounds.max = Some(pick(bounds.max, max, false));
            }
            // Where all is null there is nothing to bound.
            None => is_bounded &= i64::try_from(nulls) == Ok(group.num_rows()),
        }
    }
    Some(if is_bounded { bounds } else { Bounds { min: None, max: None, ..bounds } })
}

fn chunk_bounds(statistics: &ChunkStatistics, data_type: &DataType) -> Option<(Value, Value)> {
    match statistics {
        ChunkStatistics::Int64(values) => {
            let (min, max) = (*values.min_opt()?, *values.max_opt()?);
            match data_type {
                DataType::Timestamp(TimeUnit::Microsecond, _) => Some((instant(min)?, instant(max)?)),
                _ => Some((json!(min), json!(max))),
            }
        }
        ChunkStatistics::Double(values) => {
            let (min, max) = (*values.min_opt()?, *values.max_opt()?);
            (min.is_finite() && max.is_finite()).then(|| (json!(min), json!(max)))
        }
        ChunkStatistics::ByteArray(values) => {
            let min = values.min_opt()?.as_utf8().ok()?;
            let max = values.max_opt()?.as_utf8().ok()?;
            let exact = min.len() <= EXACT_TEXT_BYTES_MAX && max.len() <= EXACT_TEXT_BYTES_MAX;
            exact.then(|| (json!(min), json!(max)))
        }
        _ => None,
    }
}

fn pick(held: Option<Value>, next: Value, least: bool) -> Value {
    let Some(held) = held else { return next };
    let next_is_less = match (&next, &held) {
        (Value::String(next), Value::String(held)) => next < held,
        (next, held) => match (next.as_i64(), held.as_i64()) {
            (Some(next), Some(held)) => next < held,
            _ => next.as_f64() < held.as_f64(),
        },
    };
    if next_is_less == least { next } else { held }
}

/// RFC 3339 in UTC, as the Delta protocol writes timestamps; of equal length, so text order is time
/// order.
fn instant(us: i64) -> Option<Value> {
    DateTime::from_timestamp_micros(us).map(|time| json!(time.to_rfc3339_opts(SecondsFormat::Micros, true)))
}

fn to_scalar(value: &Value, data_type: &DataType) -> Option<ScalarValue> {
    match data_type {
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            let us = DateTime::parse_from_rfc3339(value.as_str()?).ok()?.timestamp_micros();
            Some(ScalarValue::TimestampMicrosecond(Some(us), None))
        }
        DataType::Int64 => Some(ScalarValue::Int64(Some(value.as_i64()?))),
        DataType::Float64 => Some(ScalarValue::Float64(Some(value.as_f64()?))),
        DataType::Utf8View => Some(ScalarValue::Utf8View(Some(value.as_str()?.to_owned()))),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::{Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};

    use super::*;
    use crate::{lake::file, record::Table};

    /// The `raw` bounds of a file of rejected lines: so many of each text, in this order.
    fn raw_bounds(texts: &[(&str, usize)]) -> Value {
        let raw: Vec<&str> = texts.iter().flat_map(|(text, count)| std::iter::repeat_n(*text, *count)).collect();
        let rows = raw.len();
        let batch = RecordBatch::try_new(
            Arc::clone(Table::RejectedLogs.schema()),
            vec![
                Arc::new(TimestampMicrosecondArray::from_value(0, rows)),
                Arc::new(Int64Array::from_value(1, rows)),
                Arc::new(StringViewArray::from(vec!["why"; rows])),
                Arc::new(StringViewArray::from(raw)),
                Arc::new(Int64Array::from_value(1, rows)),
            ],
        )
        .unwrap();
        let encoded = file::encode(Table::RejectedLogs, &batch).unwrap();
        let stats = to_delta(&encoded.metadata, Table::RejectedLogs.schema(), encoded.rows);
        let stats: Value = serde_json::from_str(&stats).unwrap();
        assert_eq!((&stats["nullCount"]["raw"], &stats["maxValues"]["reason"]), (&json!(0), &json!("why")));
        json!([stats["minValues"]["raw"], stats["maxValues"]["raw"]])
    }

    #[test]
    fn bounds_hold_for_every_row_group_or_are_none() {
        let group = 128 * 1024;
        let long = "z".repeat(200);
        assert_eq!(raw_bounds(&[("b", 1), ("a", 1)]), json!(["a", "b"]));
        assert_eq!(raw_bounds(&[("b", group), ("a", 1)]), json!(["a", "b"]));
        // Parquet cuts the long text: what is known of the first group is not true of the second.
        assert_eq!(raw_bounds(&[("b", group), (&long, 1)]), json!([null, null]));
        assert_eq!(raw_bounds(&[(&long, group), ("b", 1)]), json!([null, null]));
    }
}
