//! Rows as clients of Postgres read them: each column with its type, each value as text or in binary. What has parts,
//! as tool calls have, is text of JSON: no client reads the types that Postgres would make of it.

use std::{mem, pin::Pin, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, StringArray, StringBuilder},
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit},
    json::writer::{EncoderOptions, make_encoder},
};
use arrow_pg::{datatypes::field_into_pg_type, encode_recordbatch};
use futures::{Stream, StreamExt, stream};
use pgwire::{
    api::{Type, portal::Format, results::FieldInfo},
    messages::data::{DataRow, RowDescription},
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::error::{Failure, Result};
use crate::query::Rows;

/// A result on its way.
pub struct Answer {
    columns: Arc<Vec<FieldInfo>>,
    rows: Pin<Box<dyn Stream<Item = Result<DataRow>> + Send>>,
    /// When the time of its statement is up, which ends it however much of it was sent.
    until: Option<Instant>,
}

impl Answer {
    /// The rows of a statement; its key's turn ends with them. `described` are the columns that its client was told.
    pub fn new(
        rows: Rows,
        turn: Option<OwnedSemaphorePermit>,
        described: Option<&SchemaRef>,
        format: &Format,
    ) -> Result<Self> {
        let (found, until) = (rows.schema(), rows.deadline());
        let told = described.unwrap_or(&found);
        if told.fields().len() != found.fields().len() {
            return Err(Failure::new("0A000", "the columns of the statement have changed: prepare it again"));
        }
        let columns = Arc::new(columns(told, format)?);
        let told = Arc::clone(told);
        let batches = stream::unfold((rows, turn), |(mut rows, turn)| async move {
            rows.next().await.map(|batch| (batch, (rows, turn)))
        });
        let shown = Arc::clone(&columns);
        let rows = batches.flat_map(move |batch| {
            let encoded = batch.map_err(Failure::from).and_then(|batch| shaped(&batch, &told));
            match encoded {
                Ok(batch) => {
                    let rows = encode_recordbatch(Arc::clone(&shown), batch);
                    stream::iter(rows).map(|row| row.map_err(Failure::from)).boxed()
                }
                Err(failure) => stream::iter([Err(failure)]).boxed(),
            }
        });
        Ok(Self { columns, rows: Box::pin(rows.fuse()), until: Some(until) })
    }

    /// One row of one column of text.
    pub fn of_text(name: &str, value: &str) -> Result<Self> {
        let schema = text_schema(name);
        let columns = Arc::new(columns(&schema, &Format::UnifiedText)?);
        let array: ArrayRef = Arc::new(StringArray::from(vec![value]));
        let batch = RecordBatch::try_new(schema, vec![array]).map_err(|error| broken(&error))?;
        let rows = encode_recordbatch(Arc::clone(&columns), batch).map(|row| row.map_err(Failure::from));
        let rows: Vec<_> = rows.collect();
        Ok(Self { columns, rows: stream::iter(rows).boxed(), until: None })
    }

    /// The next row.
    pub async fn next(&mut self) -> Option<Result<DataRow>> {
        self.end_if_overdue(Instant::now());
        self.rows.next().await
    }

    /// When it has to end.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Gives back all that it holds, its key's turn as well, where its time is up; its client hears why.
    pub fn end_if_overdue(&mut self, now: Instant) {
        if self.until.is_some_and(|until| until <= now) {
            self.until = None;
            let failure = Failure::new("57014", "canceling statement due to statement timeout: its rows were not read");
            drop(mem::replace(&mut self.rows, stream::iter([Err(failure)]).boxed()));
        }
    }

    /// The message that goes before the rows.
    pub fn description(&self) -> RowDescription {
        description(&self.columns)
    }
}

/// One column of text.
pub fn text_schema(name: &str) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(name, DataType::Utf8, true)]))
}

/// The message that says what the columns are.
pub fn description(columns: &[FieldInfo]) -> RowDescription {
    RowDescription::new(columns.iter().map(Into::into).collect())
}

/// The columns of a result in the formats that its client asked for.
pub fn columns(schema: &Schema, format: &Format) -> Result<Vec<FieldInfo>> {
    if let Format::Individual(codes) = format
        && codes.len() != schema.fields().len()
    {
        let message = format!("{} formats for {} columns", codes.len(), schema.fields().len());
        return Err(Failure::new("08P01", message));
    }
    let column = |(at, field): (usize, &FieldRef)| {
        let kind = kind_of(field)?;
        let size = size_of(&kind);
        Ok(FieldInfo::new(field.name().clone(), None, None, kind, format.format_for(at)).with_type_size(size))
    };
    schema.fields().iter().enumerate().map(column).collect()
}

/// The type of a column.
fn kind_of(field: &FieldRef) -> Result<Type> {
    if is_nested(field.data_type()) {
        return Ok(Type::TEXT);
    }
    if matches!(field.data_type(), DataType::Union(..)) {
        let message = format!(
            "the column {} holds JSON values of any kind: say which, by json_get_str, json_get_int, json_get_float or \
             json_get_bool, or take json_as_text",
            field.name()
        );
        return Err(Failure::new("0A000", message));
    }
    field_into_pg_type(field)
        .map_err(|_| Failure::new("0A000", format!("the column {} has a type that Postgres lacks", field.name())))
}

/// Bytes of a type's values, as `pg_type.typlen` has them; -1 where they differ.
fn size_of(kind: &Type) -> i16 {
    match *kind {
        Type::BOOL | Type::CHAR => 1,
        Type::INT2 => 2,
        Type::INT4 | Type::FLOAT4 | Type::DATE | Type::OID => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::TIME => 8,
        Type::INTERVAL => 16,
        _ => -1,
    }
}

/// Whether values have parts; a list of plain values is an array of Postgres.
fn is_nested(kind: &DataType) -> bool {
    match kind {
        DataType::Struct(_) | DataType::Map(..) => true,
        DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) => {
            is_nested(element.data_type()) || element.data_type().is_list()
        }
        _ => false,
    }
}

/// The batch with the types that its client was told, and JSON for what has parts.
fn shaped(batch: &RecordBatch, told: &SchemaRef) -> Result<RecordBatch> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut arrays = Vec::with_capacity(batch.num_columns());
    for (array, told) in batch.columns().iter().zip(told.fields()) {
        let (kind, array) = if is_nested(array.data_type()) {
            (DataType::Utf8, json(told, array)?)
        } else if field_into_pg_type(&Arc::new(Field::new("", array.data_type().clone(), true))).ok()
            == field_into_pg_type(&Arc::new(Field::new("", told.data_type().clone(), true))).ok()
        {
            (array.data_type().clone(), Arc::clone(array))
        } else {
            (told.data_type().clone(), cast(array, told.data_type()).map_err(|error| broken(&error))?)
        };
        let field = Field::new(told.name(), kind, true).with_metadata(told.metadata().clone());
        fields.push(field);
        arrays.push(array);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| broken(&error))
}

fn json(field: &FieldRef, array: &ArrayRef) -> Result<ArrayRef> {
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let field = Arc::new(Field::new(field.name(), array.data_type().clone(), true));
    let mut encoder = make_encoder(&field, array.as_ref(), &options).map_err(|error| broken(&error))?;
    let mut texts = StringBuilder::new();
    let mut text = Vec::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        encoder.encode(row, &mut text);
        texts.append_value(String::from_utf8_lossy(&text));
    }
    Ok(Arc::new(texts.finish()))
}

fn broken(error: &arrow::error::ArrowError) -> Failure {
    Failure::new("XX000", format!("cannot show the rows: {error}"))
}

/// The engine's type for a type that a client says a parameter has; none where it does not say, or there is none.
pub fn parameter_type(kind: Option<&Type>) -> Option<DataType> {
    let list = |element| DataType::List(Arc::new(Field::new_list_field(element, true)));
    Some(match *kind? {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        // What a client has as a decimal is compared with figures that are floats.
        Type::FLOAT8 | Type::NUMERIC => DataType::Float64,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::JSON | Type::JSONB | Type::UUID => {
            DataType::Utf8
        }
        Type::BYTEA => DataType::Binary,
        Type::DATE => DataType::Date32,
        Type::TIMESTAMP | Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::BOOL_ARRAY => list(DataType::Boolean),
        Type::INT2_ARRAY => list(DataType::Int16),
        Type::INT4_ARRAY => list(DataType::Int32),
        Type::INT8_ARRAY => list(DataType::Int64),
        Type::FLOAT4_ARRAY => list(DataType::Float32),
        Type::FLOAT8_ARRAY => list(DataType::Float64),
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY => list(DataType::Utf8),
        _ => return None,
    })
}

/// The type that a client is told of a parameter.
pub fn told_type(kind: &DataType) -> Type {
    kind_of(&Arc::new(Field::new("parameter", kind.clone(), true))).unwrap_or(Type::TEXT)
}
