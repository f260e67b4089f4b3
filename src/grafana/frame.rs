//! Rows as columns of JSON values, with what Grafana has to know of each: whether it is a time, a number, a flag or a
//! text. Holds at most so many rows as it may.

use std::collections::HashSet;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type, Schema, TimeUnit, TimestampMillisecondType},
    util::display::{ArrayFormatter, FormatOptions},
};
use serde_json::{Number, Value};

use crate::error::{Context, Error, Kind, Result};

/// Whole numbers beyond this are not told apart by JSON's readers; they are sent as the nearest that is.
const WHOLE_MAX: i64 = 1 << 53;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// ms since 1970.
    Times,
    /// Numbers.
    Numbers,
    /// Truth values.
    Flags,
    /// Texts.
    Texts,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub holds: Holds,
    /// Its cells.
    pub cells: Vec<Value>,
}

/// Rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frame {
    /// Their columns, all of one length.
    pub columns: Vec<Column>,
}

/// A frame that is being read.
pub struct FrameBuilder {
    frame: Frame,
    rows: usize,
    rows_max: usize,
}

impl Holds {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => Self::Times,
            DataType::Boolean => Self::Flags,
            data_type if data_type.is_numeric() => Self::Numbers,
            _ => Self::Texts,
        }
    }

    /// Grafana's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Times => "time",
            Self::Numbers => "number",
            Self::Flags => "boolean",
            Self::Texts => "string",
        }
    }
}

impl FrameBuilder {
    /// No rows yet.
    pub fn new(schema: &Schema, rows_max: usize) -> Self {
        let column = |field: &arrow::datatypes::FieldRef| Column {
            name: field.name().clone(),
            holds: Holds::of(field.data_type()),
            cells: Vec::new(),
        };
        Self { frame: Frame { columns: schema.fields().iter().map(column).collect() }, rows: 0, rows_max }
    }

    /// Adds rows.
    ///
    /// # Errors
    ///
    /// [`Kind::Exhausted`] for more rows than there may be.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows();
        if self.rows > self.rows_max {
            let most = self.rows_max;
            let message = format!("more than {most} rows (grafana.rows_max): add a limit, filters or a shorter range");
            return Err(Error::new(Kind::Exhausted, message));
        }
        for (column, array) in self.frame.columns.iter_mut().zip(batch.columns()) {
            cells(column.holds, array, &mut column.cells)?;
        }
        Ok(())
    }

    /// The rows.
    pub fn finish(self) -> Frame {
        self.frame
    }
}

impl Frame {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |column| column.cells.len())
    }

    /// The different values of a column, or of the first one of texts, as texts and in the order of the rows.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] where there is no such column.
    pub fn texts(&self, name: Option<&str>, values_max: usize) -> Result<Vec<String>> {
        let is_wanted = |column: &&Column| match name {
            Some(name) => column.name == name,
            None => column.holds == Holds::Texts,
        };
        let column = self.columns.iter().find(is_wanted).ok_or_else(|| {
            let there: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
            Error::invalid(format!("there is no column of texts, or none of that name, among {}", there.join(", ")))
        })?;
        let mut seen = HashSet::new();
        let texts = column.cells.iter().filter_map(|cell| match cell {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        });
        Ok(texts.filter(|text| seen.insert(text.clone())).take(values_max).collect())
    }
}

/// A number as JSON has it; what is no number is null.
pub fn number(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

fn cells(holds: Holds, array: &ArrayRef, out: &mut Vec<Value>) -> Result<()> {
    let context = "cannot read the rows";
    let to = |data_type: &DataType| cast(array, data_type).context(context);
    match holds {
        Holds::Times => {
            let times = to(&DataType::Timestamp(TimeUnit::Millisecond, None))?;
            out.extend(times.as_primitive::<TimestampMillisecondType>().iter().map(Value::from));
        }
        Holds::Flags => out.extend(array.as_boolean().iter().map(Value::from)),
        Holds::Numbers if array.data_type().is_integer() && *array.data_type() != DataType::UInt64 => {
            let whole = |value: i64| match value.abs() <= WHOLE_MAX {
                true => Value::from(value),
                false => number(value as f64),
            };
            out.extend(
                to(&DataType::Int64)?.as_primitive::<Int64Type>().iter().map(|value| value.map_or(Value::Null, whole)),
            );
        }
        Holds::Numbers => {
            let numbers = to(&DataType::Float64)?;
            out.extend(numbers.as_primitive::<Float64Type>().iter().map(|value| value.map_or(Value::Null, number)));
        }
        Holds::Texts => match array.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                out.extend(to(&DataType::Utf8)?.as_string::<i32>().iter().map(Value::from));
            }
            _ => {
                let options = FormatOptions::default();
                let shown = ArrayFormatter::try_new(array, &options).context(context)?;
                let cell =
                    |row| if array.is_valid(row) { Value::from(shown.value(row).to_string()) } else { Value::Null };
                out.extend((0..array.len()).map(cell));
            }
        },
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BooleanArray, Date32Array, Float64Array, Int64Array, ListArray, StringViewArray, TimestampMicrosecondArray,
        UInt64Array,
    };
    use arrow::datatypes::Int64Type;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_type_becomes_json() {
        let arrays: Vec<(&str, ArrayRef)> = vec![
            ("time", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_778_760_000_123_456), None]))),
            ("day", Arc::new(Date32Array::from(vec![Some(1), None]))),
            ("float", Arc::new(Float64Array::from(vec![Some(0.5), Some(f64::NAN)]))),
            ("int", Arc::new(Int64Array::from(vec![Some(7), None]))),
            ("large", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None]))),
            ("flag", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("text", Arc::new(StringViewArray::from(vec![Some("a"), None]))),
            ("list", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1)]), None]))),
        ];
        let batch =
            RecordBatch::try_from_iter_with_nullable(arrays.into_iter().map(|(name, array)| (name, array, true)));
        let batch = batch.unwrap();
        let mut builder = FrameBuilder::new(&batch.schema(), 4);
        builder.add(&batch).unwrap();
        builder.add(&batch).unwrap();
        assert_eq!(builder.add(&batch).unwrap_err().kind(), Kind::Exhausted);
        let frame = builder.finish();
        let shown: Vec<Value> =
            frame.columns.iter().map(|column| json!([column.name, column.holds.name(), column.cells[..2]])).collect();
        assert_eq!(
            Value::from(shown),
            json!([
                ["time", "time", [1_778_760_000_123_i64, null]],
                ["day", "time", [86_400_000, null]],
                ["float", "number", [0.5, null]],
                ["int", "number", [7, null]],
                ["large", "number", [u64::MAX as f64, null]],
                ["flag", "boolean", [true, null]],
                ["text", "string", ["a", null]],
                ["list", "string", ["[1]", null]],
            ])
        );
        assert_eq!(frame.rows(), 4);
    }
}
