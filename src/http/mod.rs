//! The main port. `router.rs` is the whole URL map; each noun has a file with its handlers; the only
//! map from error kinds to status codes is in `error.rs`. Handlers translate; they decide nothing.

mod access;
mod asked;
mod backup;
mod bodies;
mod coverage;
mod drift;
mod error;
mod experiments;
mod grafana;
mod jaeger;
mod keys;
mod kpis;
mod logs;
mod maintenance;
mod metrics;
mod params;
mod queries;
mod reports;
mod router;
mod sql;
mod status;
mod tls;

use std::{future::Future, sync::Arc};

use tokio::net::TcpListener;

use bodies::Bodies;
pub use tls::Tls;

use crate::{
    background::Background,
    backup::Backup,
    config::{Config, GrafanaConfig, JaegerConfig},
    gate::Gate,
    ingest::Ingestor,
    maintain::Maintainer,
    query::Engine,
};

/// What handlers share.
#[derive(Clone)]
pub struct App {
    gate: Arc<Gate>,
    ingestor: Arc<Ingestor>,
    /// For those only whose answers are of nobody's rows: handlers take the engine of their caller.
    engine_of_everybody: Arc<Engine>,
    maintainer: Arc<Maintainer>,
    backup: Arc<Backup>,
    background: Background,
    bodies: Arc<Bodies>,
    requests: Arc<metrics::Requests>,
    quotas: Arc<metrics::Quotas>,
    grafana: Arc<GrafanaConfig>,
    jaeger: Arc<JaegerConfig>,
}

/// The rooms behind the routes.
pub struct Rooms {
    /// Who is let in.
    pub gate: Arc<Gate>,
    /// The way in.
    pub ingestor: Arc<Ingestor>,
    /// The way out.
    pub engine: Arc<Engine>,
    /// The files' life cycle.
    pub maintainer: Arc<Maintainer>,
    /// Copies of the data directory.
    pub backup: Arc<Backup>,
    /// The loops that run beside requests.
    pub background: Background,
}

impl App {
    /// Joins the rooms; with how many bytes of bodies may be held.
    pub fn new(config: &Config, bodies_bytes_max: usize, rooms: Rooms) -> Self {
        let Rooms { gate, ingestor, engine, maintainer, backup, background } = rooms;
        Self {
            gate,
            ingestor,
            engine_of_everybody: engine,
            maintainer,
            backup,
            background,
            bodies: Arc::new(Bodies::new(&config.ingest, bodies_bytes_max)),
            requests: Arc::default(),
            quotas: Arc::new(metrics::Quotas::new(&config.metrics)),
            grafana: Arc::new(config.grafana.clone()),
            jaeger: Arc::new(config.jaeger.clone()),
        }
    }
}

/// Serves until the stop, then finishes what is open.
///
/// # Errors
///
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    app: App,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let routes = router::routes(app);
    match tls {
        Some(tls) => axum::serve(tls.listen(listener)?, routes).with_graceful_shutdown(stop).await,
        None => axum::serve(listener, routes).with_graceful_shutdown(stop).await,
    }
}
