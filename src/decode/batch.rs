//! The growing columns of one batch: one builder a column, in the schema's order.
//! Knows Arrow's builders and the nested columns' JSON; nothing of spellings.

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, ListArray, MapArray, NullBufferBuilder, RecordBatch,
        StringBuilder, StringViewBuilder, StructArray, TimestampMicrosecondBuilder,
    },
    buffer::OffsetBuffer,
    datatypes::{DataType, Schema},
};

use super::{cast, row::Given, row::to_column_unit};
use crate::record::{RAG_CONTEXT_FIELDS, TOOL_CALL_FIELDS, Table, guardrail_check_entries, tool_call_item};

/// The columns of `agent_logs` that decoding fills: all but `ingest_seq`, which the WAL gives.
pub const COLUMNS: usize = 53;

/// How much of a value its column could take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// All of it.
    Whole,
    /// Some of it; the original must be kept beside.
    Partly,
    /// Nothing: the column is null.
    Not,
}

/// All columns of a batch.
pub struct Columns {
    /// One builder a column.
    pub builders: Vec<Column>,
}

impl Columns {
    /// Builders with room for so many rows.
    pub fn new(rows_estimate: usize) -> Self {
        let fields = &Table::AgentLogs.schema().fields()[..COLUMNS];
        Self { builders: fields.iter().map(|field| Column::new(field.data_type(), rows_estimate)).collect() }
    }

    /// The batch.
    pub fn finish(self) -> RecordBatch {
        let fields = Table::AgentLogs.schema().fields()[..COLUMNS].to_vec();
        let arrays = self.builders.into_iter().map(Column::finish).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .expect("each builder was made from its field and every row appends once to each")
    }
}

/// A growing column.
pub enum Column {
    /// µs since the epoch.
    Time(TimestampMicrosecondBuilder),
    /// Text.
    Text(StringViewBuilder),
    /// Whole numbers.
    Int(Int64Builder),
    /// Numbers.
    Float(Float64Builder),
    /// Yes or no.
    Flag(BooleanBuilder),
    /// `guardrail_checks`.
    Checks(Box<Checks>),
    /// `tool_calls`.
    Tools(Box<Tools>),
    /// `rag_context`.
    Rag(Box<Rag>),
}

impl Column {
    fn new(data_type: &DataType, rows: usize) -> Self {
        match data_type {
            DataType::Timestamp(..) => Self::Time(TimestampMicrosecondBuilder::with_capacity(rows)),
            DataType::Int64 => Self::Int(Int64Builder::with_capacity(rows)),
            DataType::Float64 => Self::Float(Float64Builder::with_capacity(rows)),
            DataType::Boolean => Self::Flag(BooleanBuilder::with_capacity(rows)),
            DataType::Map(..) => Self::Checks(Box::new(Checks::new(rows))),
            DataType::List(_) => Self::Tools(Box::new(Tools::new(rows))),
            DataType::Struct(_) => Self::Rag(Box::new(Rag::new(rows))),
            _ => Self::Text(texts(rows)),
        }
    }

    /// Appends a value, or null where it does not fit.
    pub fn append(&mut self, given: &Given<'_>) -> Fit {
        fn scalar<T>(value: Option<T>, append: impl FnOnce(Option<T>)) -> Fit {
            let fit = if value.is_some() { Fit::Whole } else { Fit::Not };
            append(value);
            fit
        }
        let raw = given.raw;
        match self {
            Self::Text(builder) => scalar(cast::text(raw), |value| builder.append_option(value)),
            Self::Int(builder) => scalar(cast::int(raw), |value| builder.append_option(value)),
            Self::Float(builder) => scalar(cast::float(raw), |value| {
                builder.append_option(value.map(|value| to_column_unit(value, given.slot.unit)));
            }),
            Self::Flag(builder) => scalar(cast::flag(raw), |value| builder.append_option(value)),
            Self::Checks(builder) => builder.append(raw),
            Self::Tools(builder) => builder.append(raw),
            Self::Rag(builder) => builder.append(raw),
            Self::Time(builder) => {
                builder.append_null();
                Fit::Not
            }
        }
    }

    /// Appends a whole number; other columns get null.
    pub fn append_int(&mut self, value: i64) {
        match self {
            Self::Time(builder) => builder.append_value(value),
            Self::Int(builder) => builder.append_value(value),
            other => other.append_null(),
        }
    }

    /// Appends a text; other columns get null.
    pub fn append_text(&mut self, value: &str) {
        match self {
            Self::Text(builder) => builder.append_value(value),
            other => other.append_null(),
        }
    }

    /// Appends the JSON text of an object made of these fields; of no fields, null.
    pub fn append_attributes(&mut self, attributes: &[(Cow<'_, str>, &str)]) {
        let Self::Text(builder) = self else { return self.append_null() };
        if attributes.is_empty() {
            return builder.append_null();
        }
        let mut text = String::with_capacity(attributes.iter().map(|(key, raw)| key.len() + raw.len() + 4).sum());
        for (key, raw) in attributes {
            text.push(if text.is_empty() { '{' } else { ',' });
            if key.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
                text.push_str(&serde_json::Value::from(key.as_ref()).to_string());
            } else {
                text.push('"');
                text.push_str(key);
                text.push('"');
            }
            text.push(':');
            text.push_str(raw);
        }
        text.push('}');
        builder.append_value(text);
    }

    /// Appends null.
    pub fn append_null(&mut self) {
        match self {
            Self::Time(builder) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
            Self::Int(builder) => builder.append_null(),
            Self::Float(builder) => builder.append_null(),
            Self::Flag(builder) => builder.append_null(),
            Self::Checks(builder) => builder.rows.push(false, builder.values.len()),
            Self::Tools(builder) => builder.rows.push(false, builder.names.len()),
            Self::Rag(builder) => builder.append_null(),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Time(mut builder) => Arc::new(builder.finish()),
            Self::Text(mut builder) => Arc::new(builder.finish()),
            Self::Int(mut builder) => Arc::new(builder.finish()),
            Self::Float(mut builder) => Arc::new(builder.finish()),
            Self::Flag(mut builder) => Arc::new(builder.finish()),
            Self::Checks(builder) => builder.finish(),
            Self::Tools(builder) => builder.finish(),
            Self::Rag(builder) => builder.finish(),
        }
    }
}

/// A column of texts. Few rows get blocks of their size: the builder's own first one has 16 KiB, and each column of
/// each batch of one row would keep that as long as it waits for its commit.
fn texts(rows: usize) -> StringViewBuilder {
    const ROWS_MAX: usize = 128;
    const ROW_BYTES: usize = 64;
    let builder = StringViewBuilder::with_capacity(rows);
    match rows {
        ..ROWS_MAX => builder.with_fixed_block_size((rows.max(1) * ROW_BYTES) as u32),
        _ => builder,
    }
}

/// Offsets and validity of a column of lists. Arrow's own nested builders go through a dynamic
/// downcast for every value; these columns are in nearly every record.
pub struct Rows {
    offsets: Vec<i32>,
    valid: NullBufferBuilder,
}

impl Default for Rows {
    fn default() -> Self {
        Self { offsets: vec![0], valid: NullBufferBuilder::new(0) }
    }
}

impl Rows {
    /// Closes a row whose elements end at `end`.
    fn push(&mut self, valid: bool, end: usize) {
        self.offsets.push(i32::try_from(end).expect("a body of bounded size holds fewer than 2^31 elements"));
        self.valid.append(valid);
    }

    fn offsets(&self) -> OffsetBuffer<i32> {
        OffsetBuffer::new(self.offsets.clone().into())
    }
}

/// `guardrail_checks`: check name → outcome.
pub struct Checks {
    rows: Rows,
    keys: StringBuilder,
    values: TextCells,
}

impl Checks {
    fn new(rows: usize) -> Self {
        Self { rows: Rows::default(), keys: StringBuilder::with_capacity(rows, 0), values: TextCells::new(rows) }
    }

    fn append(&mut self, raw: &str) -> Fit {
        if !raw.starts_with('{') {
            self.rows.push(false, self.values.len());
            return Fit::Not;
        }
        let mut fit = Fit::Whole;
        // A key may still turn out to be no text, half a surrogate pair: it ends what can be read.
        for entry in sonic_rs::to_object_iter(raw) {
            let Ok((key, value)) = entry else {
                fit = Fit::Partly;
                break;
            };
            let value = value.as_raw_str();
            self.keys.append_value(key);
            match value {
                "null" => self.values.builder.append_null(),
                // An outcome that is an object stays its JSON text: the map holds text.
                _ => self.values.builder.append_value(cast::text(value).unwrap_or(Cow::Borrowed(value))),
            }
        }
        self.rows.push(true, self.values.len());
        fit
    }

    fn finish(mut self) -> ArrayRef {
        let entries_field = guardrail_check_entries();
        let DataType::Struct(fields) = entries_field.data_type().clone() else {
            unreachable!("the entries of a map are a struct")
        };
        let entries = StructArray::new(fields, vec![Arc::new(self.keys.finish()), self.values.finish()], None);
        Arc::new(MapArray::new(Arc::new(entries_field), self.rows.offsets(), entries, self.rows.valid.finish(), false))
    }
}

/// `tool_calls`: a list of {name, latency_ms, status}; plain names are accepted.
pub struct Tools {
    rows: Rows,
    names: TextCells,
    latencies: Float64Builder,
    statuses: TextCells,
}

impl Tools {
    fn new(rows: usize) -> Self {
        Self {
            rows: Rows::default(),
            names: TextCells::new(rows),
            latencies: Float64Builder::with_capacity(rows),
            statuses: TextCells::new(rows),
        }
    }

    fn append(&mut self, raw: &str) -> Fit {
        if !raw.starts_with('[') {
            self.rows.push(false, self.names.len());
            return Fit::Not;
        }
        let mut fit = Fit::Whole;
        for call in sonic_rs::to_array_iter(raw).flatten() {
            let call = call.as_raw_str();
            if call.starts_with('{') {
                fit = self.append_object(call, fit);
            } else {
                // No text, or one that holds half a surrogate pair.
                let name = cast::string(call);
                if name.is_none() {
                    fit = Fit::Partly;
                }
                self.names.builder.append_option(name);
                self.latencies.append_null();
                self.statuses.builder.append_null();
            }
        }
        self.rows.push(true, self.names.len());
        fit
    }

    fn append_object(&mut self, raw: &str, mut fit: Fit) -> Fit {
        let (mut name, mut latency, mut status) = (None, None, None);
        for entry in sonic_rs::to_object_iter(raw) {
            let Ok((key, value)) = entry else {
                fit = Fit::Partly;
                break;
            };
            let value = value.as_raw_str();
            let known = match key.as_ref() {
                _ if value == "null" => true,
                "name" | "tool" | "tool_name" => fill(&mut name, cast::text(value).map(Cow::into_owned)),
                "latency_ms" | "duration_ms" => fill(&mut latency, cast::float(value)),
                "status" => fill(&mut status, cast::text(value).map(Cow::into_owned)),
                "success" => {
                    let word = cast::flag(value).map(|ok| if ok { "success" } else { "error" }.to_owned());
                    fill(&mut status, word)
                }
                // The chat completion API's own form; its arguments have no column.
                "function" if value.starts_with('{') => {
                    let called = sonic_rs::to_object_iter(value)
                        .flatten()
                        .find(|(key, _)| key == "name")
                        .and_then(|(_, value)| cast::text(value.as_raw_str()).map(Cow::into_owned));
                    fill(&mut name, called);
                    false
                }
                _ => false,
            };
            if !known {
                fit = Fit::Partly;
            }
        }
        self.names.builder.append_option(name);
        self.latencies.append_option(latency);
        self.statuses.builder.append_option(status);
        fit
    }

    fn finish(mut self) -> ArrayRef {
        let calls = StructArray::new(
            TOOL_CALL_FIELDS.clone(),
            vec![self.names.finish(), Arc::new(self.latencies.finish()), self.statuses.finish()],
            None,
        );
        let offsets = self.rows.offsets();
        Arc::new(ListArray::new(Arc::new(tool_call_item()), offsets, Arc::new(calls), self.rows.valid.finish()))
    }
}

/// `rag_context`: one struct a row.
pub struct Rag {
    valid: NullBufferBuilder,
    chunks: Int64Builder,
    similarity: Float64Builder,
    latency: Float64Builder,
}

impl Rag {
    fn new(rows: usize) -> Self {
        Self {
            valid: NullBufferBuilder::new(rows),
            chunks: Int64Builder::with_capacity(rows),
            similarity: Float64Builder::with_capacity(rows),
            latency: Float64Builder::with_capacity(rows),
        }
    }

    fn append(&mut self, raw: &str) -> Fit {
        if !raw.starts_with('{') {
            self.append_null();
            return Fit::Not;
        }
        let mut fit = Fit::Whole;
        let (mut chunks, mut similarity, mut latency) = (None, None, None);
        for entry in sonic_rs::to_object_iter(raw) {
            let Ok((key, value)) = entry else {
                fit = Fit::Partly;
                break;
            };
            let value = value.as_raw_str();
            let known = match key.as_ref() {
                _ if value == "null" => true,
                "chunks_retrieved" => fill(&mut chunks, cast::int(value)),
                "top_similarity_score" => fill(&mut similarity, cast::float(value)),
                "retrieval_latency_ms" => fill(&mut latency, cast::float(value)),
                _ => false,
            };
            if !known {
                fit = Fit::Partly;
            }
        }
        self.valid.append(true);
        self.chunks.append_option(chunks);
        self.similarity.append_option(similarity);
        self.latency.append_option(latency);
        fit
    }

    fn append_null(&mut self) {
        self.valid.append(false);
        self.chunks.append_null();
        self.similarity.append_null();
        self.latency.append_null();
    }

    fn finish(mut self) -> ArrayRef {
        Arc::new(StructArray::new(
            RAG_CONTEXT_FIELDS.clone(),
            vec![Arc::new(self.chunks.finish()), Arc::new(self.similarity.finish()), Arc::new(self.latency.finish())],
            self.valid.finish(),
        ))
    }
}

/// Puts a value into a place of a nested column; says whether that loses nothing: neither the value nor one that was
/// there, under the same key or another that means the same.
fn fill<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let is_whole = place.is_none() && value.is_some();
    if value.is_some() {
        *place = value;
    }
    is_whole
}

/// A text column inside a nested one.
struct TextCells {
    builder: StringViewBuilder,
}

impl TextCells {
    fn new(rows: usize) -> Self {
        Self { builder: texts(rows) }
    }

    fn len(&self) -> usize {
        arrow::array::ArrayBuilder::len(&self.builder)
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}
