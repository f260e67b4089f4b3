//! Makes the sidecars that files lack: one statement over one file's calls each.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use arrow::array::RecordBatch;
use datafusion::logical_expr::LogicalPlanBuilder;

use super::{Level, Rollups, source::rows_of};
use crate::{
    error::{Context, Kind, Result},
    lake::{DataFile, Snapshot},
    query::{Engine, error::from_engine},
};

impl Rollups {
    /// Makes the sidecar of the newest file that lacks one and has been there for this long; whether there
    /// was such a file. One that cannot be made waits for the next round, and older ones come first.
    ///
    /// Files that ingest writes are joined soon: what is made of each at once is made in vain, and at full
    /// ingest it costs a sixth of its rate.
    pub async fn build_next(&self, engine: &Engine, settled: Duration) -> Result<bool> {
        let snapshot = self.lake.snapshot();
        let until_us = engine.now_us().saturating_sub(i64::try_from(settled.as_micros()).unwrap_or(i64::MAX));
        for level in &self.levels {
            // The newest first: these are asked for most.
            let lacking = snapshot.files.iter().rev().filter(|file| !level.has(file) && !self.has_failed(level, file));
            for file in lacking.filter(|file| file.written_us <= until_us) {
                match self.build(engine, level, &snapshot, file).await {
                    Ok(()) => return Ok(true),
                    // It is the machine that has no room, and not the file.
                    Err(error) if matches!(error.kind(), Kind::Exhausted | Kind::Busy) => return Err(error),
                    Err(error) => {
                        let (rollup, file_name, error) = (&level.definition.name, &file.name, error.chain());
                        tracing::error!(rollup, file = file_name, error, "a rollup failed; it will be tried again");
                        self.note_failed(level, file);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Begins a round: files that are gone take their sidecars with them, and those that failed are tried again.
    pub async fn begin(&self) -> Result<()> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clear();
        for level in &self.levels {
            self.lake.sweep_sidecars(&level.sidecars).await?;
        }
        Ok(())
    }

    fn has_failed(&self, level: &Level, file: &DataFile) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.iter().any(|(name, of)| *name == level.definition.name && *of == file.name)
    }

    fn note_failed(&self, level: &Level, file: &DataFile) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.insert((level.definition.name.clone(), file.name.clone()));
    }

    async fn build(&self, engine: &Engine, level: &Level, snapshot: &Arc<Snapshot>, file: &DataFile) -> Result<()> {
        let rows = self.table.rows_of(snapshot, vec![file.clone()]);
        let (groups, figures) = level.definition.parts();
        let plan = rows_of(rows, level.definition.unnested.as_deref(), level.definition.conditions())
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
