//! Judges all columns that are watched, again and again, and keeps what was found.

use std::{future::Future, sync::Arc, time::Duration};

use crate::{
    catalog::Results,
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
    tokio::pin!(stop);
    let mut pause = settings.interval.min(FIRST_MAX);
    loop {
        let done = tokio::select! {
            () = &mut stop => return,
            done = async {
                tokio::time::sleep(pause).await;
                judge_once(&engine, &results, &settings).await
            } => done,
        };
        if let Err(error) = done {
            tracing::error!(error = error.chain(), "drift was not judged; it will be tried again");
        }
        pause = settings.interval;
    }
}

/// One run.
pub async fn judge_once(engine: &Engine, results: &Results, settings: &Settings) -> Result<()> {
    let request = MonitorRequest::new(engine.now_us(), settings.window_hours, settings.references)?;
    let answer = engine.monitor(&request).await?;
    for left in &answer.left_out {
        tracing::warn!(by = left.by.name(), reason = left.reason, "drift left slices out");
    }
    let rows = answer.rows().iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
    let rows = rows.context("cannot write the results of drift")?;
    results.save_drift(engine.now_us(), &rows, settings.results_max).await?;
    engine.show_drift_results(&results.drift().await?).await?;
    tracing::info!(tests = answer.totals.tests, drifting = answer.totals.drifting, "judged drift");
    Ok(())
}
