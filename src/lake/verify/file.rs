//! One data file against what the log says of it: its length, its footer, and through `content` its
//! rows. Never looks at another file.

use std::{panic::AssertUnwindSafe, sync::Arc};

use arrow::{compute::can_cast_types, datatypes::Schema};
use chrono::DateTime;
use datafusion::{common::stats::Precision, scalar::ScalarValue};
use futures::FutureExt;
use object_store::ObjectStoreExt;
use parquet::{
    arrow::async_reader::ParquetRecordBatchStreamBuilder,
    file::{metadata::ParquetMetaData, statistics::Statistics as ChunkStatistics},
};

use super::{
    super::{
        statistics,
        table::{DAY_US, DataFile, query_schema},
    },
    content,
    reader::ObjectReader,
};
use crate::{
    error::{Error, Kind, Result},
    record::{Table, col},
};

/// A file and what is known of it.
#[derive(Clone, Copy)]
pub struct File<'a> {
    /// Whose file it is.
    pub table: Table,
    /// What the log says of it.
    pub data: &'a DataFile,
    /// The seq through which the table has everything.
    pub committed_seq: u64,
}

/// An open file.
pub type Builder = ParquetRecordBatchStreamBuilder<ObjectReader>;

impl File<'_> {
    /// All that is wrong with it.
    pub async fn problems(&self, content: bool) -> Vec<String> {
        // The readers of a format panic at some damage that they were not made for.
        let looked = AssertUnwindSafe(self.look(content)).catch_unwind().await;
        looked.unwrap_or_else(|_| vec!["the file cannot be read: its reader gave up".to_owned()])
    }

    async fn look(&self, content: bool) -> Vec<String> {
        let builder = match self.open().await {
            Ok(builder) => builder,
            Err(error) => return vec![error.chain()],
        };
        let mut problems = self.schema_problems(builder.schema());
        problems.extend(self.footer_problems(builder.metadata()));
        if content {
            problems.extend(content::problems(self, builder).await);
        }
        problems
    }

    async fn open(&self) -> Result<Builder> {
        let corrupt = |what: String| Error::new(Kind::Corrupt, what);
        let found = self.data.store.head(&self.data.path).await.map_err(|error| match error {
            object_store::Error::NotFound { .. } => corrupt("the file is missing".to_owned()),
            error => corrupt("the file cannot be read".to_owned()).with_source(error),
        })?;
        if found.size != self.data.bytes {
            return Err(corrupt(format!("the file has {} bytes, the log says {}", found.size, self.data.bytes)));
        }
        let reader =
            ObjectReader { store: Arc::clone(&self.data.store), path: self.data.path.clone(), bytes: found.size };
        Builder::new(reader).await.map_err(|error| corrupt("the footer cannot be read".to_owned()).with_source(error))
    }

    /// Columns that cannot be read as the table's; one that is newer than the file is missing.
    fn schema_problems(&self, schema: &Schema) -> Vec<String> {
        let problem = |field: &Arc<arrow::datatypes::Field>| match schema.field_with_name(field.name()) {
            Ok(found) if !can_cast_types(found.data_type(), field.data_type()) => {
                Some(format!("the column {} is {}, not {}", field.name(), found.data_type(), field.data_type()))
            }
            Err(_) if !field.is_nullable() => Some(format!("the column {} is missing", field.name())),
            _ => None,
        };
        self.table.schema().fields().iter().filter_map(problem).collect()
    }

    /// What the footer says of the rows, against the log and against itself.
    fn footer_problems(&self, metadata: &ParquetMetaData) -> Vec<String> {
        let rows = usize::try_from(metadata.file_metadata().num_rows()).unwrap_or_default();
        let mut problems = Vec::new();
        match self.data.rows {
            Some(said) if said != rows => problems.push(format!("the footer counts {rows} rows, the log {said}")),
            Some(_) => {}
            None => problems.push("the log does not count its rows".to_owned()),
        }
        let text = statistics::to_delta(metadata, self.table.schema(), rows);
        let schema = query_schema(self.table);
        let (_, footer) = statistics::from_delta(Some(&text), self.data.day, &schema, self.data.bytes);
        for ((field, said), found) in
            schema.fields().iter().zip(&self.data.statistics.column_statistics).zip(&footer.column_statistics)
        {
            let bounds =
                [("least", &said.min_value, &found.min_value), ("greatest", &said.max_value, &found.max_value)];
            for (which, said, found) in bounds {
                // What the footer does not know, only the rows do.
                if let (Some(said), Some(found)) = (said.get_value(), found.get_value())
                    && !is_same(said, found)
                {
                    problems.push(differs(field.name(), which, said, found));
                }
            }
            if let (Precision::Exact(said), Precision::Exact(found)) = (&said.null_count, &found.null_count)
                && said != found
            {
                problems.push(format!("the column {} has {found} nulls, the log says {said}", field.name()));
            }
        }
        problems.extend(self.order_problem(metadata));
        if let Some((_, seq)) = bounds(metadata, col::INGEST_SEQ).into_iter().max_by_key(|(_, greatest)| *greatest)
            && seq > self.committed_seq as i64
        {
            problems.push(format!("has rows of batch {seq}, but the table counts only through {}", self.committed_seq));
        }
        problems
    }

    /// Row groups must follow each other in time, within the day.
    fn order_problem(&self, metadata: &ParquetMetaData) -> Option<String> {
        let groups = bounds(metadata, self.table.time_column());
        if groups.windows(2).any(|pair| pair[0].1 > pair[1].0) {
            return Some("its row groups do not follow each other in time".to_owned());
        }
        let (first_us, last_us) = (groups.first()?.0, groups.last()?.1);
        self.day_problem(first_us).or_else(|| self.day_problem(last_us))
    }

    /// A time that is not of the file's day.
    pub fn day_problem(&self, time_us: i64) -> Option<String> {
        (time_us.div_euclid(DAY_US) != i64::from(self.data.day)).then(|| {
            let time =
                DateTime::from_timestamp_micros(time_us).map_or_else(|| time_us.to_string(), |time| time.to_rfc3339());
            format!("has a row of {time}, which is not of its day")
        })
    }
}

/// The least and the greatest number of a column, by row group, where the footer says so.
fn bounds(metadata: &ParquetMetaData, name: &str) -> Vec<(i64, i64)> {
    let columns = metadata.file_metadata().schema_descr().columns();
    let Some(leaf) = columns.iter().position(|column| column.path().string() == name) else { return Vec::new() };
    let of_group = |group: &parquet::file::metadata::RowGroupMetaData| match group.column(leaf).statistics()? {
        ChunkStatistics::Int64(values) => Some((*values.min_opt()?, *values.max_opt()?)),
        _ => None,
    };
    metadata.row_groups().iter().filter_map(of_group).collect()
}

/// Whether two bounds are the same value: both zeros of a float are.
pub fn is_same(left: &ScalarValue, right: &ScalarValue) -> bool {
    match (left, right) {
        (ScalarValue::Float64(Some(left)), ScalarValue::Float64(Some(right))) => left == right,
        _ => left == right,
    }
}

/// A bound that is not what the log says.
pub fn differs(column: &str, which: &str, said: &ScalarValue, found: &ScalarValue) -> String {
    format!("the {which} {column} is {found}, the log says {said}")
}
