//! The loops that run beside requests. Thin: what they do stands in the rooms they call.

mod anomaly;
mod drift;

use std::{future::Future, sync::Arc, time::Duration};

use crate::{
    catalog::{NewResults, ResultKind, Results},
    error::{Kind, Result},
    ingest::Ingestor,
    maintain::Maintainer,
    query::Engine,
};

pub use anomaly::{Settings as AnomalySettings, judge_anomalies, judge_hours};
pub use drift::{Settings as DriftSettings, judge_drift, judge_once};

/// Commits the buffer whenever it is large enough or old enough, until the stop. A flush that fails
/// is tried again at the next interval; its rows stay in the WAL and in queries. Where files are joined
/// meanwhile, no batches are taken while too many wait for that: they would only become more.
pub async fn flush(
    ingestor: Arc<Ingestor>,
    joined_by: Option<Arc<Maintainer>>,
    interval: Duration,
    stop: impl Future<Output = ()>,
) {
    tokio::pin!(stop);
    let mut held = false;
    ingestor.hold(held);
    loop {
        let flushed = tokio::select! {
            () = &mut stop => {
                ingestor.hold(false);
                return;
            }
            () = caught_up(joined_by.as_deref()), if held => Ok(()),
            () = ingestor.flush_wanted() => ingestor.flush_full().await,
            () = tokio::time::sleep(interval) => ingestor.flush().await,
        };
        if let Err(error) = flushed {
            tracing::error!(error = error.chain(), "flush failed; the rows are kept and it will be tried again");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let is_behind = joined_by.as_ref().is_some_and(|maintainer| maintainer.is_behind());
        if is_behind != held {
            held = is_behind;
            ingestor.hold(held);
            tracing::info!(held, "ingest waits for files to be joined");
        }
    }
}

async fn caught_up(maintainer: Option<&Maintainer>) {
    match maintainer {
        Some(maintainer) => maintainer.caught_up().await,
        None => std::future::pending().await,
    }
}

/// Looks what is due for the tables' files, again and again, until the stop; a pass that runs then ends
/// after its present action. A pass that fails is tried again at the next interval.
pub async fn maintain(maintainer: Arc<Maintainer>, interval: Duration, stop: impl Future<Output = ()>) {
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = maintainer.wanted() => {}
            () = tokio::time::sleep(interval) => {}
        }
        let pass = maintainer.run();
        tokio::pin!(pass);
        let (outcome, stopping) = tokio::select! {
            outcome = &mut pass => (outcome, false),
            () = &mut stop => {
                maintainer.stop();
                (pass.await, true)
            }
        };
        if let Err(error) = outcome {
            tracing::error!(error = error.chain(), "maintenance failed; it will be tried again");
        }
        if stopping {
            return;
        }
    }
}

/// Makes the rollups that settled files lack, one after the other, until the stop. One that fails is tried
/// again at the next interval; its calls are read as they are until then.
pub async fn roll_up(engine: Arc<Engine>, interval: Duration, settled: Duration, stop: impl Future<Output = ()>) {
    tokio::pin!(stop);
    let Some(rollups) = engine.rollups() else { return };
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = tokio::time::sleep(interval) => {}
        }
        if let Err(error) = rollups.begin().await {
            tracing::error!(error = error.chain(), "rollups of files that are gone stay for now");
        }
        loop {
            let built = tokio::select! {
                () = &mut stop => return,
                built = rollups.build_next(&engine, settled) => built,
            };
            match built {
                Ok(true) => {}
                Ok(false) => break,
                // Statements come first; what has no rollup is read as it is.
                Err(error) if matches!(error.kind(), Kind::Exhausted | Kind::Busy) => {
                    tracing::info!(error = error.chain(), "a rollup waits for memory or for its turn");
                    break;
                }
                Err(error) => {
                    tracing::error!(error = error.chain(), "rollups are not made for now");
                    break;
                }
            }
        }
    }
}

/// Asks for the gauges of SQL files, again and again, until the stop.
pub async fn refresh_gauges(
    engine: Arc<Engine>,
    interval: Duration,
    series_max: usize,
    stop: impl Future<Output = ()>,
) {
    tokio::pin!(stop);
    loop {
        let failed = tokio::select! {
            () = &mut stop => return,
            failed = engine.refresh_gauges(series_max) => failed,
        };
        for error in failed {
            tracing::warn!(error = error.chain(), "a gauge is left out; it will be tried again");
        }
        tokio::select! {
            () = &mut stop => return,
            () = tokio::time::sleep(interval) => {}
        }
    }
}

/// Runs after the first pause and then after each of the second, until the stop; a run in progress ends with it. One
/// that fails is logged with these words.
async fn repeat<F: Future<Output = Result<()>>>(
    [first, pause]: [Duration; 2],
    failed: &'static str,
    stop: impl Future<Output = ()>,
    run: impl Fn() -> F,
) {
    tokio::pin!(stop);
    let mut next = first;
    loop {
        let done = tokio::select! {
            () = &mut stop => return,
            done = async {
                tokio::time::sleep(next).await;
                run().await
            } => done,
        };
        if let Err(error) = done {
            tracing::error!(error = error.chain(), "{failed}");
        }
        next = pause;
    }
}

/// Keeps what a run found, and shows it with what is kept of the runs before.
async fn keep(engine: &Engine, results: &Results, kind: ResultKind, new: NewResults<'_>) -> Result<()> {
    results.save(kind, new).await?;
    engine.show_results(kind, &results.all(kind).await?).await
}
