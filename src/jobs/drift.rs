//! Judges all columns that are watched, again and again, and keeps what was found.

use std::{future::Future, sync::Arc, time::Duration};

use super::{keep, repeat};
use crate::{
    catalog::{NewResults, ResultKind, Results},
    error::{Context, Result},
    query::{Engine, MonitorRequest},
};

/// The first run comes so soon after a start, if not sooner.
const FIRST_MAX: Duration = Duration::from_secs(120);

/// What the job does.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How often.
    pub interval: Duration,
    /// Length of a window, hours.
    pub window_hours: u32,
    /// References of each.
    pub references: u32,
    /// Results that are kept, the newest.
    pub results_max: u32,
}

/// Runs until the stop. A run that fails is tried again at the next interval; the results before stay.
pub async fn judge_drift(engine: Arc<Engine>, results: Results, settings: Settings, stop: impl Future<Output = ()>) {
    let first = settings.interval.min(FIRST_MAX);
    let failed = "drift was not judged; it will be tried again";
    repeat([first, settings.interval], failed, stop, || judge_once(&engine, &results, &settings)).await;
}

/// One run.
pub async fn judge_once(engine: &Engine, results: &Results, settings: &Settings) -> Result<()> {
    let request = MonitorRequest::new(engine.now_us(), settings.window_hours, settings.references)?;
    let _alone = results.alone().await;
    let answer = engine.monitor(&request).await?;
    for left in &answer.left_out {
        tracing::warn!(by = left.by.name(), reason = left.reason, "drift left slices out");
    }
    // Where a run is more than is kept, the first rows go: not those that drift.
    let rows = answer.rows().iter().rev().map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
    let rows = rows.context("cannot write the results of drift")?;
    let (run_at_us, kept_max) = (engine.now_us(), settings.results_max);
    keep(engine, results, ResultKind::Drift, NewResults { run_at_us, results: &rows, replaced: &[], kept_max }).await?;
    tracing::info!(tests = answer.totals.tests, drifting = answer.totals.drifting, "judged drift");
    Ok(())
}
