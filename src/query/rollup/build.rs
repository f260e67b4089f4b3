//! Makes the sidecars that files lack: one statement over one file's calls each.

use std::{sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use datafusion::{datasource::provider_as_source, logical_expr::LogicalPlanBuilder};

use super::{Level, Rollups};
use crate::{
    error::{Context, Result},
    lake::{DataFile, Snapshot},
    query::{Engine, error::from_engine},
};

impl Rollups {
    /// Makes the sidecar of the newest file that lacks one and has been there for this long; whether there
    /// was such a file. Files that are gone take theirs with them.
    ///
    /// Files that ingest writes are joined soon: what is made of each at once is made in vain, and at full
    /// ingest it costs a sixth of its rate.
    pub async fn build_next(&self, engine: &Engine, settled: Duration) -> Result<bool> {
        let snapshot = self.lake.snapshot();
        let until_us = engine.now_us().saturating_sub(i64::try_from(settled.as_micros()).unwrap_or(i64::MAX));
        for level in &self.levels {
            // The newest first: these are asked for most.
            let mut lacking = snapshot.files.iter().rev().filter(|file| !level.has(file));
            if let Some(file) = lacking.find(|file| file.written_us <= until_us) {
                self.build(engine, level, &snapshot, file).await?;
                return Ok(true);
            }
        }
        for level in &self.levels {
            self.lake.sweep_sidecars(&level.sidecars).await?;
        }
        Ok(false)
    }

    async fn build(&self, engine: &Engine, level: &Level, snapshot: &Arc<Snapshot>, file: &DataFile) -> Result<()> {
        let rows = self.table.rows_of(snapshot, vec![file.clone()]);
        let (groups, figures) = level.definition.parts();
        let plan = LogicalPlanBuilder::scan(rows.table().name(), provider_as_source(Arc::new(rows)), None)
            .and_then(|builder| builder.aggregate(groups, figures))
            .and_then(LogicalPlanBuilder::build)
            .map_err(|error| from_engine("cannot plan a rollup", error))?;
        let batches = engine.run_plan(plan).await?.collect().await?;
        let schema = Arc::clone(&level.definition.schema);
        let named = |batch: RecordBatch| {
            RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec())
                .context("a rollup's rows are not as its columns say")
        };
        let batches = batches.into_iter().map(named).collect::<Result<_>>()?;
        level.sidecars.put(file, Arc::clone(&schema), batches).await
    }

    /// Files and how many of them have all of their rollups.
    pub fn progress(&self) -> (usize, usize) {
        let snapshot = self.lake.snapshot();
        let done = snapshot.files.iter().filter(|file| self.levels.iter().all(|level| level.has(file))).count();
        (snapshot.files.len(), done)
    }
}
