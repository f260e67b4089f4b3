//! What jobs found, as tables: `drift_results`, `anomalies` and `anomaly_runs`. They hold what they are given, and
//! read nothing themselves.
//!
//! A run sees all tenants together. Callers that are bound to tenants see of it what was judged by the calls of one of
//! theirs alone, without the figures in which other tenants have a part; and nothing of `anomaly_runs`, which count all.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, Float64Array, Int64Array, ListBuilder, RecordBatch, StringViewArray, StringViewBuilder,
        TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use chrono::DateTime;
use datafusion::{
    catalog::{Session, TableProvider},
    common::Result as EngineResult,
    datasource::MemTable,
    logical_expr::{Expr, TableType},
    physical_plan::ExecutionPlan,
};
use serde::de::DeserializeOwned;

use super::{Engine, error::from_engine, scoped::Request};
use crate::{
    access::{Scope, Tenants},
    anomaly::{AnomalyRow, AnomalyRun},
    catalog::{KeptResult, ResultKind},
    drift::ResultRow,
    error::{Context, Result},
    record::col,
};

/// What a column has of each result.
enum Cells<R> {
    Times(fn(&R) -> Option<i64>),
    Texts(fn(&R) -> Option<String>),
    Lists(fn(&R) -> &[String]),
    Numbers(fn(&R) -> Option<f64>),
    Counts(fn(&R) -> Option<u64>),
}

use Cells::{Counts, Lists, Numbers, Texts, Times};

/// The tenant whose calls alone are behind a result; none where there are those of several.
const TENANT_ID: &str = col::TENANT_ID;

/// The columns of a table behind `run_at`, which all have.
type Columns<R> = &'static [(&'static str, Cells<R>)];

const DRIFT_RESULTS: Columns<ResultRow> = &[
    ("window_end", Times(|row| time_of(&row.window_end))),
    ("window_hours", Counts(|row| Some(row.window_hours.into()))),
    ("column_name", Texts(|row| Some(row.column.clone()))),
    ("slice_by", Texts(|row| Some(row.by.clone()))),
    ("slice", Texts(|row| row.slice.clone())),
    ("verdict", Texts(|row| Some(row.verdict.name().to_owned()))),
    ("effect", Numbers(|row| row.effect)),
    ("effect_max", Numbers(|row| row.effect_max)),
    ("detectable", Numbers(|row| row.detectable)),
    ("p", Numbers(|row| row.p)),
    ("q", Numbers(|row| row.q)),
    ("n_reference", Counts(|row| row.n_reference)),
    ("n_current", Counts(|row| row.n_current)),
    ("moved", Texts(|row| row.moved.clone())),
    ("moved_before", Numbers(|row| row.moved_before)),
    ("moved_after", Numbers(|row| row.moved_after)),
    ("before_p05", Numbers(|row| row.before_p05)),
    ("before_p50", Numbers(|row| row.before_p50)),
    ("before_p95", Numbers(|row| row.before_p95)),
    ("after_p05", Numbers(|row| row.after_p05)),
    ("after_p50", Numbers(|row| row.after_p50)),
    ("after_p95", Numbers(|row| row.after_p95)),
    ("began_at", Times(|row| row.began_at.as_deref().and_then(time_of))),
    ("segment_by", Texts(|row| row.segment_by.clone())),
    ("segment", Texts(|row| row.segment.clone())),
    ("changed_then", Texts(|row| row.changed_then.clone())),
    (TENANT_ID, Texts(|row| row.tenant().map(str::to_owned))),
];

const ANOMALIES: Columns<AnomalyRow> = &[
    ("window_start", Times(|row| Some(row.window_start_us))),
    ("subject", Texts(|row| Some(row.subject.name().to_owned()))),
    ("kpi", Texts(|row| Some(row.kpi.clone()))),
    ("unit", Texts(|row| Some(row.unit.clone()))),
    ("slice_by", Texts(|row| Some(row.slice_by.clone()))),
    ("slice", Texts(|row| row.slice.clone())),
    ("value", Numbers(|row| Some(row.value))),
    ("expected", Numbers(|row| row.expected)),
    ("samples", Counts(|row| Some(row.samples))),
    ("score", Numbers(|row| row.score)),
    ("p_value", Numbers(|row| row.p_value)),
    ("measure", Texts(|row| row.measure.map(|measure| measure.name().to_owned()))),
    ("part_by", Texts(|row| row.part_by.clone())),
    ("part", Texts(|row| row.part.clone())),
    ("part_share", Numbers(|row| row.part_share)),
    ("session_id", Texts(|row| row.session_id.clone())),
    ("request_ids", Lists(|row| &row.request_ids)),
    (TENANT_ID, Texts(|row| row.tenant().map(str::to_owned))),
];

const ANOMALY_RUNS: Columns<AnomalyRun> = &[
    ("judged_from", Times(|run| Some(run.judged_from_us))),
    ("judged_to", Times(|run| Some(run.judged_to_us))),
    ("slice_by", Texts(|run| Some(run.slice_by.clone()))),
    ("kpis", Lists(|run| &run.kpis)),
    ("series_judged", Counts(|run| Some(run.series_judged))),
    ("series_insufficient", Counts(|run| Some(run.series_insufficient))),
    ("hours_judged", Counts(|run| Some(run.hours_judged))),
    ("anomalies", Counts(|run| Some(run.anomalies))),
    ("left_out", Counts(|run| Some(run.left_out))),
    ("not_judged", Lists(|run| &run.not_judged)),
];

/// The tables, with what they were given last.
pub struct ResultTables {
    drift: ResultTable<ResultRow>,
    anomalies: ResultTable<AnomalyRow>,
    anomaly_runs: ResultTable<AnomalyRun>,
}

impl ResultTables {
    /// Without any rows.
    pub fn new() -> Result<Self> {
        Ok(Self {
            drift: ResultTable::new(DRIFT_RESULTS)?,
            anomalies: ResultTable::new(ANOMALIES)?,
            anomaly_runs: ResultTable::new(ANOMALY_RUNS)?,
        })
    }

    /// What statements of a scope read, by name.
    pub fn tables(&self, scope: &Scope) -> Vec<(&'static str, Arc<dyn TableProvider>)> {
        let Some(tenants) = scope.tenants() else {
            return vec![
                ("drift_results", Arc::clone(&self.drift.table) as _),
                ("anomalies", Arc::clone(&self.anomalies.table) as _),
                ("anomaly_runs", Arc::clone(&self.anomaly_runs.table) as _),
            ];
        };
        vec![
            ("drift_results", Arc::new(OfTenants::new(&self.drift.of_tenants, tenants))),
            ("anomalies", Arc::new(OfTenants::new(&self.anomalies.of_tenants, tenants))),
        ]
    }
}

impl Engine {
    /// Shows these results of a kind, in place of those before.
    ///
    /// # Errors
    ///
    /// A result that is none of this version's.
    pub async fn show_results(&self, kind: ResultKind, kept: &[KeptResult]) -> Result<()> {
        let tables = self.result_tables();
        match kind {
            ResultKind::Drift => tables.drift.show(kept).await,
            ResultKind::Anomalies => tables.anomalies.show(kept).await,
            ResultKind::AnomalyRuns => tables.anomaly_runs.show(kept).await,
        }
    }
}

/// A result as the tenant may see it by whose calls alone it was found; none where there are those of several.
trait TenantsOwn: Sized {
    fn tenants_own(&self) -> Option<Self>;
}

impl TenantsOwn for ResultRow {
    // The correction is over all tests of the run.
    fn tenants_own(&self) -> Option<Self> {
        self.tenant()?;
        Some(Self { q: None, detectable: None, ..self.clone() })
    }
}

impl TenantsOwn for AnomalyRow {
    fn tenants_own(&self) -> Option<Self> {
        self.tenant()?;
        Some(self.clone())
    }
}

impl TenantsOwn for AnomalyRun {
    fn tenants_own(&self) -> Option<Self> {
        None
    }
}

/// The results of some tenants.
#[derive(Debug)]
struct OfTenants {
    all: Arc<MemTable>,
    tenants: Tenants,
}

impl OfTenants {
    fn new(all: &Arc<MemTable>, tenants: &Tenants) -> Self {
        Self { all: Arc::clone(all), tenants: tenants.clone() }
    }
}

#[async_trait::async_trait]
impl TableProvider for OfTenants {
    fn schema(&self) -> SchemaRef {
        self.all.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let schema = self.schema();
        let request = Request { state, schema: &schema, tenant: TENANT_ID, projection, filters: &[] };
        let read = self.all.scan(state, Some(&request.columns()?), &[], None).await?;
        request.fenced(&self.tenants, |_, _| Ok(read))
    }
}

struct ResultTable<R: 'static> {
    columns: Columns<R>,
    table: Arc<MemTable>,
    /// Those of one tenant each, as that tenant may see them.
    of_tenants: Arc<MemTable>,
}

impl<R: DeserializeOwned + TenantsOwn> ResultTable<R> {
    fn new(columns: Columns<R>) -> Result<Self> {
        let fields = columns.iter().map(|(name, cells)| Field::new(*name, cells.data_type(), true));
        let fields = std::iter::once(Field::new("run_at", time(), true)).chain(fields);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let empty = || {
            let table = MemTable::try_new(Arc::clone(&schema), vec![vec![]]);
            table.map(Arc::new).map_err(|error| from_engine("cannot make a table of results", error))
        };
        Ok(Self { columns, table: empty()?, of_tenants: empty()? })
    }

    async fn show(&self, kept: &[KeptResult]) -> Result<()> {
        let rows = kept.iter().map(|kept| serde_json::from_str(&kept.result));
        let rows: Vec<R> = rows.collect::<Result<_, _>>().context("cannot read a result of a job")?;
        let times = kept.iter().map(|kept| kept.run_at_us);
        let own = times.clone().zip(&rows).filter_map(|(run_at_us, row)| Some((run_at_us, row.tenants_own()?)));
        let (own_times, own_rows): (Vec<_>, Vec<_>) = own.unzip();
        let own = self.batch(own_times, &own_rows)?;
        let all = self.batch(times, &rows)?;
        for (table, batch) in [(&self.table, all), (&self.of_tenants, own)] {
            if let Some(batches) = table.batches.first() {
                *batches.write().await = vec![batch];
            }
        }
        Ok(())
    }

    fn batch(&self, run_at_us: impl IntoIterator<Item = i64>, rows: &[R]) -> Result<RecordBatch> {
        let run_at = run_at_us.into_iter().map(Some).collect::<TimestampMicrosecondArray>();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(run_at)];
        columns.extend(self.columns.iter().map(|(_, cells)| cells.of(rows)));
        RecordBatch::try_new(self.table.schema(), columns).context("cannot make rows of results")
    }
}

impl<R> Cells<R> {
    fn data_type(&self) -> DataType {
        match self {
            Times(_) => time(),
            Texts(_) => DataType::Utf8View,
            Lists(_) => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true))),
            Numbers(_) => DataType::Float64,
            Counts(_) => DataType::Int64,
        }
    }

    fn of(&self, rows: &[R]) -> ArrayRef {
        match self {
            Times(of) => Arc::new(rows.iter().map(of).collect::<TimestampMicrosecondArray>()),
            Texts(of) => Arc::new(rows.iter().map(of).collect::<StringViewArray>()),
            Lists(of) => {
                let mut lists = ListBuilder::new(StringViewBuilder::new());
                for row in rows {
                    lists.append_value(of(row).iter().map(Some));
                }
                Arc::new(lists.finish())
            }
            Numbers(of) => Arc::new(rows.iter().map(of).collect::<Float64Array>()),
            Counts(of) => {
                let counts = rows.iter().map(|row| of(row).and_then(|count| i64::try_from(count).ok()));
                Arc::new(counts.collect::<Int64Array>())
            }
        }
    }
}

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

fn time_of(text: &str) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros())
}
