//! Rows as bytes in the formats of the API, a batch at a time. Knows nothing of HTTP.

use std::{str::FromStr, sync::Arc};

use arrow::{
    array::RecordBatch,
    compute::cast,
    csv,
    datatypes::{DataType, Field, Schema, SchemaRef},
    ipc::writer::StreamWriter,
    json::{
        WriterBuilder,
        writer::{JsonArray, LineDelimited},
    },
};
use parquet::arrow::ArrowWriter;
use utoipa::ToSchema;

use crate::error::{Context, Error, Result};

/// Times are shown with their zone, which is always UTC: a reader must not have to guess.
pub(super) const TIMESTAMP_FORMAT: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";

/// A result format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ToSchema)]
#[schema(as = RowsFormat, rename_all = "lowercase")]
pub enum Format {
    /// One JSON array of row objects.
    #[default]
    Json,
    /// One JSON object a line.
    #[schema(rename = "jsonl")]
    JsonLines,
    /// RFC 4180 with a header line.
    Csv,
    /// Arrow IPC stream.
    Arrow,
    /// One Parquet file.
    Parquet,
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "json" => Self::Json,
            "jsonl" | "ndjson" => Self::JsonLines,
            "csv" => Self::Csv,
            "arrow" => Self::Arrow,
            "parquet" => Self::Parquet,
            other => {
                return Err(Error::invalid(format!("format {other} is not one of json, jsonl, csv, arrow, parquet")));
            }
        })
    }
}

impl Format {
    /// The media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonLines => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// A result that is being written; bytes are taken out as they come.
pub struct Output {
    schema: SchemaRef,
    encoder: Encoder,
}

enum Encoder {
    Json { bytes: Vec<u8>, first: bool },
    JsonLines(Vec<u8>),
    Csv { bytes: Vec<u8>, header: bool },
    Arrow(Box<StreamWriter<Vec<u8>>>),
    Parquet(Box<ArrowWriter<Vec<u8>>>),
}

impl Output {
    /// Starts a result with these columns.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Invalid`] that names a column which the format has no place for.
    pub fn new(format: Format, schema: &SchemaRef) -> Result<Self> {
        let odd = schema.fields().iter().find(|field| matches!(field.data_type(), DataType::Union(..)));
        if let Some(field) = odd.filter(|_| format != Format::Arrow) {
            return Err(Error::invalid(format!(
                "the column {} holds JSON values of any kind: say which, by json_get_str, json_get_int, json_get_float \
                 or json_get_bool, or take json_as_text",
                field.name()
            )));
        }
        let encoder = match format {
            Format::Json => Encoder::Json { bytes: b"[".to_vec(), first: true },
            Format::JsonLines => Encoder::JsonLines(Vec::new()),
            Format::Csv => Encoder::Csv { bytes: Vec::new(), header: true },
            Format::Arrow => Encoder::Arrow(Box::new(StreamWriter::try_new(Vec::new(), schema).map_err(no_place)?)),
            Format::Parquet => Encoder::Parquet(Box::new(
                ArrowWriter::try_new(Vec::new(), Arc::clone(schema), None).map_err(no_place)?,
            )),
        };
        let mut output = Self { schema: Arc::clone(schema), encoder };
        if format == Format::Csv {
            // A result without rows still has its header.
            output.write(&RecordBatch::new_empty(Arc::clone(schema)))?;
        }
        Ok(output)
    }

    /// Adds rows.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Invalid`] for a type that the format has no place for.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match &mut self.encoder {
            Encoder::Json { bytes, first } => {
                if batch.num_rows() == 0 {
                    return Ok(());
                }
                let builder =
                    WriterBuilder::new().with_explicit_nulls(true).with_timestamp_format(TIMESTAMP_FORMAT.to_owned());
                let mut writer = builder.build::<_, JsonArray>(Vec::new());
                writer.write(batch).map_err(no_place)?;
                writer.finish().map_err(no_place)?;
                let text = writer.into_inner();
                if !*first {
                    bytes.push(b',');
                }
                *first = false;
                // Each batch comes as an array of its own; the brackets are ours.
                bytes.extend_from_slice(&text[1..text.len() - 1]);
            }
            Encoder::JsonLines(bytes) => {
                let builder =
                    WriterBuilder::new().with_explicit_nulls(true).with_timestamp_format(TIMESTAMP_FORMAT.to_owned());
                let mut writer = builder.build::<_, LineDelimited>(bytes);
                writer.write(batch).map_err(no_place)?;
                writer.finish().map_err(no_place)?;
            }
            Encoder::Csv { bytes, header } => {
                let mut writer = csv::WriterBuilder::new()
                    .with_header(*header)
                    .with_timestamp_format(TIMESTAMP_FORMAT.to_owned())
                    .build(bytes);
                *header = false;
                writer.write(&flat(batch)?).map_err(no_place)?;
            }
            Encoder::Arrow(writer) => writer.write(batch).map_err(no_place)?,
            Encoder::Parquet(writer) => writer.write(batch).map_err(no_place)?,
        }
        Ok(())
    }

    /// The bytes that are ready.
    pub fn take(&mut self) -> Vec<u8> {
        match &mut self.encoder {
            Encoder::Json { bytes, .. } | Encoder::JsonLines(bytes) | Encoder::Csv { bytes, .. } => {
                std::mem::take(bytes)
            }
            Encoder::Arrow(writer) => std::mem::take(writer.get_mut()),
            // A Parquet file is small until its row group ends; its footer counts offsets itself.
            Encoder::Parquet(_) => Vec::new(),
        }
    }

    /// Ends the result; returns the last bytes.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        Ok(match &mut self.encoder {
            Encoder::Json { bytes, .. } => {
                bytes.extend_from_slice(b"]\n");
                std::mem::take(bytes)
            }
            Encoder::JsonLines(bytes) | Encoder::Csv { bytes, .. } => std::mem::take(bytes),
            Encoder::Arrow(writer) => {
                writer.finish().map_err(no_place)?;
                std::mem::take(writer.get_mut())
            }
            Encoder::Parquet(_) => {
                let Encoder::Parquet(writer) = self.encoder else { return Ok(Vec::new()) };
                writer.into_inner().map_err(no_place)?
            }
        })
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

/// Results are written into memory, so what fails there is a type that the format does not have.
fn no_place(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::invalid("a column has a type that the format has no place for: cast it, or take another format")
        .with_source(error)
}

/// CSV has no nested values: they become their text.
fn flat(batch: &RecordBatch) -> Result<RecordBatch> {
    if !batch.schema().fields().iter().any(|field| field.data_type().is_nested()) {
        return Ok(batch.clone());
    }
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() {
            fields.push(Field::new(field.name(), DataType::Utf8, true));
            columns.push(match cast(column, &DataType::Utf8) {
                Ok(text) => text,
                Err(_) => nested_text(column)?,
            });
        } else {
            fields.push(field.as_ref().clone());
            columns.push(Arc::clone(column));
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).context("cannot flatten nested columns for CSV")
}

fn nested_text(column: &arrow::array::ArrayRef) -> Result<arrow::array::ArrayRef> {
    let options = arrow::util::display::FormatOptions::default();
    let formatter = arrow::util::display::ArrayFormatter::try_new(column, &options)
        .context("cannot show a nested value as text")?;
    let texts: arrow::array::StringArray =
        (0..column.len()).map(|row| column.is_valid(row).then(|| formatter.value(row).to_string())).collect();
    Ok(Arc::new(texts))
}
