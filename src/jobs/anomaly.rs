//! Judges each hour of all that is watched once it is over, and keeps what was found. An hour is judged again while
//! records of it may come late; what was found then takes the place of what was found before.

use std::{future::Future, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use super::{keep, repeat};
use crate::{
    anomaly::{AnomalyRow, AnomalyRun, Pace, due},
    catalog::{NewResults, ResultKind, Results},
    error::{Context, Result},
    query::{Engine, Range, Watched},
};

/// The first look comes so soon after a start, if not sooner.
const FIRST_MAX: Duration = Duration::from_secs(60);

/// What the job does.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often it is looked whether an hour is over.
    pub interval: Duration,
    /// When an hour is judged, and how often.
    pub pace: Pace,
    /// Days before the week of an hour by which it is judged.
    pub history_days: u32,
    /// Anomalies that are kept, the newest, and as many runs.
    pub results_max: u32,
    /// KPIs that are watched besides those that always are.
    pub kpis: Vec<String>,
}

/// Runs until the stop. A run that fails is tried again at the next interval; the results before stay.
pub async fn judge_anomalies(
    engine: Arc<Engine>,
    results: Results,
    settings: Settings,
    stop: impl Future<Output = ()>,
) {
    let first = settings.interval.min(FIRST_MAX);
    let failed = "hours were not judged; it will be tried again";
    repeat([first, settings.interval], failed, stop, || judge_hours(&engine, &results, &settings)).await;
}

/// One run over the hours that are due, if any are.
pub async fn judge_hours(engine: &Engine, results: &Results, settings: &Settings) -> Result<()> {
    let _alone = results.alone().await;
    let runs: Vec<(i64, AnomalyRun)> = read(results, ResultKind::AnomalyRuns).await?;
    let judged_to_us = runs.last().map(|(_, run)| run.judged_to_us);
    let Some((from_us, to_us)) = due(judged_to_us, engine.now_us(), settings.pace) else { return Ok(()) };
    let Watched { runs, anomalies } =
        engine.watch(Range { from_us, to_us }, settings.history_days, &settings.kpis).await?;
    for run in &runs {
        for not_judged in &run.not_judged {
            tracing::warn!(by = run.slice_by, reason = not_judged, "hours of a KPI were not judged");
        }
    }
    let before: Vec<(i64, AnomalyRow)> = read(results, ResultKind::Anomalies).await?;
    let is_replaced = |row: &AnomalyRow| runs.iter().any(|run| run.replaces(row));
    let replaced: Vec<i64> = before.iter().filter(|(_, row)| is_replaced(row)).map(|(id, _)| *id).collect();
    let (run_at_us, kept_max) = (engine.now_us(), settings.results_max);
    // The run comes last: where a stop comes between, these hours are judged again.
    let new = NewResults { run_at_us, results: &written(&anomalies)?, replaced: &replaced, kept_max };
    keep(engine, results, ResultKind::Anomalies, new).await?;
    let new = NewResults { run_at_us, results: &written(&runs)?, replaced: &[], kept_max };
    keep(engine, results, ResultKind::AnomalyRuns, new).await?;
    let hours: u64 = runs.iter().map(|run| run.hours_judged).sum();
    tracing::info!(hours, anomalies = anomalies.len(), "judged hours of KPIs");
    Ok(())
}

/// What is kept of a kind, each with its id. What another version kept and this one cannot read is as if it were not
/// there.
async fn read<R: DeserializeOwned>(results: &Results, kind: ResultKind) -> Result<Vec<(i64, R)>> {
    let kept = results.all(kind).await?;
    Ok(kept.iter().filter_map(|kept| Some((kept.id, serde_json::from_str(&kept.result).ok()?))).collect())
}

fn written<R: Serialize>(rows: &[R]) -> Result<Vec<String>> {
    rows.iter().map(serde_json::to_string).collect::<Result<_, _>>().context("cannot write what was found of hours")
}
