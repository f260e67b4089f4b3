//! Tests of the families through rows in and text out. A row is a JSON object by column name; only
//! what a test is about is written down. This file never looks at the state in between.

#![allow(clippy::unwrap_used)]

mod bounds;
mod breakers;
mod exposition;
mod rows;
mod sessions;
mod totals;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringViewArray, StructArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::families::{BOUNDS_MAX, VARIANTS_MAX};
use super::*;
use crate::record::{TOOL_CALL_FIELDS, Table, col, tool_call_item};

/// When rows happen and arrive unless they say otherwise, and when expositions are asked for.
const NOW_US: i64 = 1_800_000_000_000_000;
const MINUTE_US: i64 = 60_000_000;

/// Observes rows and compares every sample line, in text 0.0.4, with what is expected. The module's
/// own counters are left out while they are zero, and requests, which every row moves, always.
#[track_caller]
fn check(rows: &[Json], expected: &str) {
    check_limited(Limits::default(), rows, expected);
}

#[track_caller]
fn check_limited(limits: Limits, rows: &[Json], expected: &str) {
    let mut live = LiveMetrics::new(limits);
    live.observe(&batch(rows));
    let samples = samples(&live);
    assert_eq!(samples.trim(), expected.trim(), "got:\n{samples}");
}

fn samples(live: &LiveMetrics) -> String {
    encode(&families(live), Format::Text004)
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter(|line| !(line.starts_with("driftline_") && line.ends_with(" 0")))
        .filter(|line| !line.contains("llm_requests_total"))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn families(live: &LiveMetrics) -> Vec<Family> {
    live.families(NOW_US)
}

/// Everything but sessions, which are seeded and not restored.
fn cumulative(live: &LiveMetrics) -> Vec<Family> {
    let mut families = families(live);
    families.retain(|family| family.kind != Kind::Gauge);
    families
}

/// Values of all cumulative series, by their written name.
fn values(live: &LiveMetrics) -> HashMap<String, f64> {
    encode(&cumulative(live), Format::Text004)
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// Rows as a batch of `agent_logs`. Missing columns are null, missing times are [`NOW_US`].
fn batch(rows: &[Json]) -> RecordBatch {
    let schema = Table::AgentLogs.schema();
    let columns = schema.fields().iter().map(|field| column(field, rows)).collect();
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

fn column(field: &Field, rows: &[Json]) -> ArrayRef {
    let values = rows.iter().map(|row| row.get(field.name()).filter(|value| !value.is_null()));
    match field.data_type() {
        DataType::Timestamp(..) => Arc::new(TimestampMicrosecondArray::from_iter_values(
            values.map(|value| value.map_or(NOW_US, |value| value.as_i64().unwrap())),
        )),
        DataType::Utf8View => {
            Arc::new(StringViewArray::from_iter(values.map(|value| value.map(|value| value.as_str().unwrap()))))
        }
        DataType::Float64 => Arc::new(Float64Array::from_iter(values.map(|value| value.map(any_float)))),
        DataType::Int64 if field.name() == col::INGEST_SEQ => {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|_| 1)))
        }
        DataType::Int64 => {
            Arc::new(Int64Array::from_iter(values.map(|value| value.map(|value| value.as_i64().unwrap()))))
        }
        DataType::List(_) if field.name() == col::TOOL_CALLS => Arc::new(tool_calls(rows)),
        other => new_null_array(other, rows.len()),
    }
}

fn tool_calls(rows: &[Json]) -> ListArray {
    let lists: Vec<Option<&Vec<Json>>> =
        rows.iter().map(|row| row.get(col::TOOL_CALLS).and_then(Json::as_array)).collect();
    let calls: Vec<&Json> = lists.iter().flatten().copied().flatten().collect();
    let text = |field: &str| -> ArrayRef {
        Arc::new(StringViewArray::from_iter(calls.iter().map(|call| call.get(field).and_then(Json::as_str))))
    };
    let latencies = calls.iter().map(|call| call.get("latency_ms").and_then(Json::as_f64));
    let columns = vec![text("name"), Arc::new(Float64Array::from_iter(latencies)), text("status")];
    let calls = StructArray::new(TOOL_CALL_FIELDS.clone(), columns, None);
    let offsets = OffsetBuffer::from_lengths(lists.iter().map(|list| list.map_or(0, Vec::len)));
    let valid = NullBuffer::from_iter(lists.iter().map(Option::is_some));
    ListArray::new(Arc::new(tool_call_item()), offsets, Arc::new(calls), Some(valid))
}

/// JSON has no NaN and no infinity, so a float may be text.
fn any_float(value: &Json) -> f64 {
    match value {
        Json::String(text) => text.parse().unwrap(),
        number => number.as_f64().unwrap(),
    }
}
