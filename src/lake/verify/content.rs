//! All rows of a data file against what the log says of them. Streams: what is in memory is a row group
//! at most.

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType},
};
use datafusion::{common::ColumnStatistics, scalar::ScalarValue};
use futures::TryStreamExt;

use super::file::{Builder, File, differs, is_same};
use crate::error::{Context, Kind, Result};

/// Rows of a batch.
const BATCH_ROWS: usize = 8_192;

/// What is wrong with the rows.
pub async fn problems(file: &File<'_>, builder: Builder) -> Vec<String> {
    let fields = file.table.schema().fields();
    let mut content = Content {
        rows: 0,
        last_us: i64::MIN,
        problem: None,
        columns: fields.iter().map(|_| Column::default()).collect(),
    };
    let mut problems = Vec::new();
    if let Err(error) = content.read(file, builder).await {
        problems.push(error.chain());
        return problems;
    }
    problems.extend(content.problem);
    if let Some(said) = file.data.rows.filter(|said| *said != content.rows) {
        problems.push(format!("{} rows can be read, the log says {said}", content.rows));
    }
    let said = &file.data.statistics.column_statistics;
    for ((field, said), column) in fields.iter().zip(said).zip(content.columns) {
        column.compare(field.name(), said, &mut problems);
    }
    problems
}

struct Content {
    rows: usize,
    last_us: i64,
    /// The first row that is out of order, or of another day.
    problem: Option<String>,
    columns: Vec<Column>,
}

impl Content {
    async fn read(&mut self, file: &File<'_>, builder: Builder) -> Result<()> {
        let mut batches = builder.with_batch_size(BATCH_ROWS).build().context("its rows cannot be read")?;
        loop {
            let context = || format!("its rows cannot be read, from {} on", self.rows);
            let Some(batch) = batches.try_next().await.kind_context(Kind::Corrupt, context)? else { return Ok(()) };
            self.observe(file, &batch)?;
            tokio::task::yield_now().await;
        }
    }

    fn observe(&mut self, file: &File<'_>, batch: &RecordBatch) -> Result<()> {
        for (field, column) in file.table.schema().fields().iter().zip(&mut self.columns) {
            match batch.column_by_name(field.name()) {
                None => column.nulls += batch.num_rows(),
                Some(values) => {
                    let context = || format!("the column {} cannot be read as {}", field.name(), field.data_type());
                    column.observe(&cast(values, field.data_type()).kind_context(Kind::Corrupt, context)?);
                }
            }
        }
        if let Some(times) = batch
            .column_by_name(file.table.time_column())
            .and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>())
        {
            for (row, time_us) in times.values().iter().enumerate() {
                if self.problem.is_none() {
                    let row = self.rows + row;
                    let order = (*time_us < self.last_us).then(|| format!("row {row} is older than the one before it"));
                    self.problem = order.or_else(|| file.day_problem(*time_us));
                }
                self.last_us = *time_us;
            }
        }
        self.rows += batch.num_rows();
        Ok(())
    }
}

/// What the rows say of a column.
#[derive(Default)]
struct Column {
    nulls: usize,
    bounds: Option<(ScalarValue, ScalarValue)>,
}

impl Column {
    fn observe(&mut self, values: &dyn Array) {
        self.nulls += values.logical_null_count();
        let Some((least, greatest)) = bounds(values) else { return };
        self.bounds = Some(match self.bounds.take() {
            None => (least, greatest),
            Some((held_least, held_greatest)) => (
                if least < held_least { least } else { held_least },
                if greatest > held_greatest { greatest } else { held_greatest },
            ),
        });
    }

    fn compare(self, name: &str, said: &ColumnStatistics, problems: &mut Vec<String>) {
        if let Some(nulls) = said.null_count.get_value().filter(|nulls| **nulls != self.nulls) {
            problems.push(format!("the column {name} holds {} nulls, the log says {nulls}", self.nulls));
        }
        let null = (ScalarValue::Null, ScalarValue::Null);
        let (least, greatest) = self.bounds.unwrap_or(null);
        for (which, said, found) in [("least", &said.min_value, least), ("greatest", &said.max_value, greatest)] {
            if let Some(said) = said.get_value().filter(|said| !is_same(said, &found)) {
                problems.push(differs(name, which, said, &found));
            }
        }
    }
}

/// The least and the greatest value, where the type has an order that the log knows.
fn bounds(values: &dyn Array) -> Option<(ScalarValue, ScalarValue)> {
    match values.data_type() {
        DataType::Int64 => {
            let (least, greatest) = extremes(values.as_primitive::<Int64Type>().iter().flatten(), |a, b| a < b)?;
            Some((ScalarValue::Int64(Some(least)), ScalarValue::Int64(Some(greatest))))
        }
        DataType::Timestamp(..) => {
            let times = values.as_primitive::<TimestampMicrosecondType>().iter().flatten();
            let (least, greatest) = extremes(times, |a, b| a < b)?;
            let scalar = |us| ScalarValue::TimestampMicrosecond(Some(us), None);
            Some((scalar(least), scalar(greatest)))
        }
        DataType::Float64 => {
            // What is no number has no place in the order.
            let numbers = values.as_primitive::<Float64Type>().iter().flatten().filter(|number| !number.is_nan());
            let (least, greatest) = extremes(numbers, |a, b| a < b)?;
            let scalar = |number| ScalarValue::Float64(Some(number));
            Some((scalar(least), scalar(greatest)))
        }
        DataType::Utf8View => {
            let (least, greatest) = extremes(values.as_string_view().iter().flatten(), |a, b| a < b)?;
            let scalar = |text: &str| ScalarValue::Utf8View(Some(text.to_owned()));
            Some((scalar(least), scalar(greatest)))
        }
        _ => None,
    }
}

fn extremes<T: Copy>(values: impl Iterator<Item = T>, is_less: impl Fn(T, T) -> bool) -> Option<(T, T)> {
    values.fold(None, |held, value| match held {
        None => Some((value, value)),
        Some((least, greatest)) => Some((
            if is_less(value, least) { value } else { least },
            if is_less(greatest, value) { value } else { greatest },
        )),
    })
}
