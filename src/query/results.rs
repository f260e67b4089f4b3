//! The table `drift_results`: what the runs of the drift job found. It holds what it is given, and reads nothing
//! itself. Callers that are bound to tenants have no such table: a run sees all tenants together.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use chrono::DateTime;
use datafusion::{catalog::TableProvider, datasource::MemTable};

use super::{Engine, error::from_engine};
use crate::{
    catalog::KeptResult,
    drift::ResultRow,
    error::{Context, Result},
};

/// The table's name.
pub const DRIFT_RESULTS: &str = "drift_results";

/// The table of results, as they were given last.
pub struct DriftResults(Arc<MemTable>);

impl DriftResults {
    /// Without any.
    pub fn new() -> Result<Self> {
        let table = MemTable::try_new(schema(), vec![vec![]]);
        Ok(Self(Arc::new(table.map_err(|error| from_engine("cannot make the table of drift's results", error))?)))
    }

    /// What statements read.
    pub fn table(&self) -> Arc<dyn TableProvider> {
        Arc::clone(&self.0) as _
    }

    async fn replace(&self, rows: RecordBatch) {
        if let Some(batches) = self.0.batches.first() {
            *batches.write().await = vec![rows];
        }
    }
}

impl Engine {
    /// Shows these results of the drift job, in place of those before.
    ///
    /// # Errors
    ///
    /// A result that is none of this version's.
    pub async fn show_drift_results(&self, kept: &[KeptResult]) -> Result<()> {
        let rows = kept.iter().map(|kept| serde_json::from_str(&kept.result).map(|row| (kept.run_at_us, row)));
        let rows = rows.collect::<Result<Vec<(i64, ResultRow)>, _>>().context("cannot read a result of drift")?;
        self.drift_results().replace(batch(&rows)?).await;
        Ok(())
    }
}

fn schema() -> SchemaRef {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, None);
    let fields = [
        ("run_at", time()),
        ("window_end", time()),
        ("window_hours", DataType::Int64),
        ("column_name", DataType::Utf8View),
        ("slice_by", DataType::Utf8View),
        ("slice", DataType::Utf8View),
        ("verdict", DataType::Utf8View),
        ("effect", DataType::Float64),
        ("p", DataType::Float64),
        ("q", DataType::Float64),
        ("n_reference", DataType::Int64),
        ("n_current", DataType::Int64),
        ("moved", DataType::Utf8View),
        ("moved_before", DataType::Float64),
        ("moved_after", DataType::Float64),
        ("before_p50", DataType::Float64),
        ("after_p50", DataType::Float64),
        ("began_at", time()),
        ("changed_then", DataType::Utf8View),
    ];
    let fields = fields.into_iter().map(|(name, data_type)| Field::new(name, data_type, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn batch(rows: &[(i64, ResultRow)]) -> Result<RecordBatch> {
    let texts = |of: &dyn Fn(&ResultRow) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(|(_, row)| of(row)).collect::<StringViewArray>())
    };
    let numbers = |of: &dyn Fn(&ResultRow) -> Option<f64>| -> ArrayRef {
        Arc::new(rows.iter().map(|(_, row)| of(row)).collect::<Float64Array>())
    };
    let counts = |of: &dyn Fn(&ResultRow) -> Option<u64>| -> ArrayRef {
        let counts = rows.iter().map(|(_, row)| of(row).and_then(|count| i64::try_from(count).ok()));
        Arc::new(counts.collect::<Int64Array>())
    };
    let times = |of: &dyn Fn(&(i64, ResultRow)) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<TimestampMicrosecondArray>())
    };
    let columns = vec![
        times(&|(run_at_us, _)| Some(*run_at_us)),
        times(&|(_, row)| time_of(&row.window_end)),
        counts(&|row| Some(row.window_hours.into())),
        texts(&|row| Some(row.column.clone())),
        texts(&|row| Some(row.by.clone())),
        texts(&|row| row.slice.clone()),
        texts(&|row| Some(row.verdict.name().to_owned())),
        numbers(&|row| row.effect),
        numbers(&|row| row.p),
        numbers(&|row| row.q),
        counts(&|row| row.n_reference),
        counts(&|row| row.n_current),
        texts(&|row| row.moved.clone()),
        numbers(&|row| row.moved_before),
        numbers(&|row| row.moved_after),
        numbers(&|row| row.before_p50),
        numbers(&|row| row.after_p50),
        times(&|(_, row)| row.began_at.as_deref().and_then(time_of)),
        texts(&|row| row.changed_then.clone()),
    ];
    RecordBatch::try_new(schema(), columns).context("cannot make rows of drift's results")
}

fn time_of(text: &str) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros())
}
