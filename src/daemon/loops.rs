//! The loops that run beside requests, each as the settings say, or not at all. What they do stands in `jobs`.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle};

use super::{Store, settings, wait};
use crate::{background::Background, config::Config, jobs};

/// Starts them; they end at the stop.
pub(super) fn start(
    config: &Config,
    store: &Store,
    background: &Background,
    stopped: &watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    let interval = Duration::from_millis(config.buffer.flush_interval_ms.max(1));
    let (ingestor, stopping) = (Arc::clone(&store.ingestor), stopped.clone());
    let joined_by = (config.lifecycle.interval_s > 0).then(|| Arc::clone(&store.maintainer));
    let flush = move || jobs::flush(Arc::clone(&ingestor), joined_by.clone(), interval, wait(stopping.clone()));
    let mut loops = vec![background.spawn("flush", flush)];
    let interval = Duration::from_secs(config.lifecycle.interval_s);
    if !interval.is_zero() {
        let (maintainer, stopping) = (Arc::clone(&store.maintainer), stopped.clone());
        let maintain = move || jobs::maintain(Arc::clone(&maintainer), interval, wait(stopping.clone()));
        loops.push(background.spawn("maintain", maintain));
    }
    let interval = Duration::from_secs(config.metrics.sql_interval_s);
    if !interval.is_zero() {
        let series_max = config.metrics.label_sets_max;
        let (engine, stopping) = (Arc::clone(&store.engine), stopped.clone());
        let refresh = move || jobs::refresh_gauges(Arc::clone(&engine), interval, series_max, wait(stopping.clone()));
        loops.push(background.spawn("gauges", refresh));
    }
    let drift = settings::drift(config);
    if !drift.interval.is_zero() {
        let (engine, results, stopping) = (Arc::clone(&store.engine), store.results.clone(), stopped.clone());
        let judge = move || jobs::judge_drift(Arc::clone(&engine), results.clone(), drift, wait(stopping.clone()));
        loops.push(background.spawn("drift", judge));
    }
    let anomaly = settings::anomaly(config);
    if !anomaly.interval.is_zero() {
        let (engine, results, stopping) = (Arc::clone(&store.engine), store.results.clone(), stopped.clone());
        let judge = move || {
            jobs::judge_anomalies(Arc::clone(&engine), results.clone(), anomaly.clone(), wait(stopping.clone()))
        };
        loops.push(background.spawn("anomaly", judge));
    }
    let interval = Duration::from_secs(config.rollup.interval_s);
    if !interval.is_zero() {
        let settled = Duration::from_secs(config.rollup.settled_s);
        let (engine, stopping) = (Arc::clone(&store.engine), stopped.clone());
        let roll_up = move || jobs::roll_up(Arc::clone(&engine), interval, settled, wait(stopping.clone()));
        loops.push(background.spawn("roll_up", roll_up));
    }
    loops
}
