//! The Delta schema of a table, and how it grows: a version that knows more columns adds them at its
//! start, and files without them show nulls. A table that knows more than this version is refused.

use arrow::datatypes::{DataType, TimeUnit};
use deltalake_core::{
    DeltaTable,
    kernel::{ArrayType, DataType as DeltaType, MapType, PrimitiveType, StructField, StructType},
};

use super::file;
use crate::{
    error::{Context, Error, Kind, Result},
    record::{PARTITION, Table},
};

/// Adds the columns that the table lacks.
///
/// # Errors
///
/// [`Kind::Conflict`] when it has columns that this version does not know, or knows otherwise.
pub(super) async fn grow(delta: &mut DeltaTable, table: Table) -> Result<()> {
    let found = delta.snapshot().context("the table has no snapshot after loading")?.schema();
    let wanted = delta_columns(table)?;
    for column in found.fields() {
        let known = wanted.iter().find(|wanted| wanted.name() == column.name());
        if known.is_none_or(|known| known.data_type() != column.data_type()) {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "the column {} of {} is not as this version knows it: start the version that wrote it",
                    column.name(),
                    table.name()
                ),
            ));
        }
    }
    let missing: Vec<StructField> = wanted
        .into_iter()
        .filter(|column| found.field(column.name()).is_none())
        // Rows that are there have none.
        .map(|column| StructField::nullable(column.name(), column.data_type().clone()))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    tracing::info!(table = table.name(), columns = ?missing.iter().map(StructField::name).collect::<Vec<_>>(), "new columns");
    *delta = delta
        .clone()
        .add_columns()
        .with_fields(missing)
        .await
        .context(format!("cannot add columns to {}", table.name()))?;
    Ok(())
}

/// The Delta schema: the files' columns with the partition column after the time.
pub(super) fn delta_columns(table: Table) -> Result<Vec<StructField>> {
    let mut columns = file::file_schema(table)
        .fields()
        .iter()
        .map(|field| Ok(StructField::new(field.name(), delta_type(field.data_type())?, field.is_nullable())))
        .collect::<Result<Vec<_>>>()?;
    columns.insert(1, StructField::new(PARTITION, DeltaType::Primitive(PrimitiveType::Date), true));
    Ok(columns)
}

fn delta_type(data_type: &DataType) -> Result<DeltaType> {
    Ok(match data_type {
        DataType::Utf8 | DataType::Utf8View => DeltaType::Primitive(PrimitiveType::String),
        DataType::Int64 => DeltaType::Primitive(PrimitiveType::Long),
        DataType::Float64 => DeltaType::Primitive(PrimitiveType::Double),
        DataType::Boolean => DeltaType::Primitive(PrimitiveType::Boolean),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => DeltaType::Primitive(PrimitiveType::Timestamp),
        DataType::List(element) => {
            DeltaType::from(ArrayType::new(delta_type(element.data_type())?, element.is_nullable()))
        }
        DataType::Struct(fields) => {
            let fields = fields
                .iter()
                .map(|field| Ok(StructField::new(field.name(), delta_type(field.data_type())?, field.is_nullable())))
                .collect::<Result<Vec<_>>>()?;
            DeltaType::from(StructType::try_new(fields).context("a nested column is no Delta struct")?)
        }
        DataType::Map(entries, _) => {
            let DataType::Struct(fields) = entries.data_type() else {
                return Err(Error::new(Kind::Internal, "the entries of a map are a struct"));
            };
            DeltaType::from(MapType::new(
                delta_type(fields[0].data_type())?,
                delta_type(fields[1].data_type())?,
                fields[1].is_nullable(),
            ))
        }
        other => return Err(Error::new(Kind::Internal, format!("{other} has no Delta type"))),
    })
}
