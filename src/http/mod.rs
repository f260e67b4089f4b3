//! The main port. `router.rs` is the whole URL map; each noun has a file with its handlers; the only
//! map from error kinds to status codes is in `error.rs`. Handlers translate; they decide nothing.

mod bodies;
mod drift;
mod error;
mod logs;
mod maintenance;
mod metrics;
mod params;
mod queries;
mod reports;
mod router;
mod sql;
mod status;

use std::{future::Future, sync::Arc};

use tokio::net::TcpListener;

use bodies::Bodies;

use crate::{config::Config, ingest::Ingestor, maintain::Maintainer, query::Engine};

/// What handlers share.
#[derive(Clone)]
pub struct App {
    ingestor: Arc<Ingestor>,
    engine: Arc<Engine>,
    maintainer: Arc<Maintainer>,
    bodies: Arc<Bodies>,
    requests: Arc<metrics::Requests>,
}

impl App {
    /// The rooms behind the routes, and how many bytes of bodies they may hold.
    pub fn new(
        config: &Config,
        bodies_bytes_max: usize,
        ingestor: Arc<Ingestor>,
        engine: Arc<Engine>,
        maintainer: Arc<Maintainer>,
    ) -> Self {
        Self {
            ingestor,
            engine,
            maintainer,
            bodies: Arc::new(Bodies::new(&config.ingest, bodies_bytes_max)),
            requests: Arc::default(),
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
    app: App,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router::routes(app)).with_graceful_shutdown(stop).await
}
