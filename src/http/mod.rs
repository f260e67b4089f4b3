//! The main port. `router.rs` is the whole URL map; each noun has a file with its handlers; the only
//! map from error kinds to status codes is in `error.rs`. Handlers translate; they decide nothing.

mod access;
mod anomalies;
mod asked;
mod backtest;
mod backup;
mod bodies;
mod connections;
mod coverage;
mod docs;
mod drift;
mod error;
mod experiments;
mod forecast;
mod grafana;
mod jaeger;
mod keys;
mod kpis;
mod logs;
mod maintenance;
mod metrics;
mod openapi;
mod params;
mod queries;
mod reports;
mod router;
mod senders;
mod shape;
mod slo;
mod sql;
mod status;
mod tls;

use std::{future::Future, sync::Arc, time::Duration};

use tokio::net::TcpListener;

use bodies::Bodies;
use connections::{Limits, Register};
pub use tls::Tls;

use crate::{
    background::Background,
    backup::Backup,
    config::{Budget, ClientsConfig, Config, GrafanaConfig, JaegerConfig},
    forget::Forgetter,
    gate::Gate,
    ingest::Ingestor,
    maintain::Maintainer,
    query::Engine,
};

/// Bodies of statements and forms that are read at the same time, and what all of them may hold.
const SMALL_BODIES_MAX: usize = 64;
const SMALL_BODIES_BYTES_MAX: usize = 16 << 20;

/// What handlers share.
#[derive(Clone)]
pub struct App {
    gate: Arc<Gate>,
    ingestor: Arc<Ingestor>,
    /// For those only whose answers are of nobody's rows: handlers take the engine of their caller.
    engine_of_everybody: Arc<Engine>,
    maintainer: Arc<Maintainer>,
    backup: Arc<Backup>,
    forgetter: Arc<Forgetter>,
    background: Background,
    /// Of batches.
    bodies: Arc<Bodies>,
    body_bytes_max: usize,
    /// Of statements and all else.
    small_bodies: Arc<Bodies>,
    clients: Arc<ClientsConfig>,
    /// Names of this server beside loopback's.
    hosts: Arc<[String]>,
    register: Arc<Register>,
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
    /// The way out for somebody's records.
    pub forgetter: Arc<Forgetter>,
    /// The loops that run beside requests.
    pub background: Background,
}

impl App {
    /// Joins the rooms, within what bodies and answers may hold and how many connections there may be.
    pub fn new(config: &Config, budget: &Budget, connections_max: usize, rooms: Rooms) -> Self {
        let Rooms { gate, ingestor, engine, maintainer, backup, forgetter, background } = rooms;
        let clients = config.clients.clone();
        let limits = Limits {
            connections_max: connections_max.max(1),
            requests_max: clients.requests_max.max(1),
            answer_bytes_max: budget.answers,
            head_timeout: Duration::from_secs(clients.head_timeout_s),
            idle_timeout: Duration::from_secs(clients.idle_timeout_s),
            answer_timeout: Duration::from_secs(clients.answer_timeout_s),
        };
        let small_bodies_bytes_max = SMALL_BODIES_BYTES_MAX.max(config.grafana.body_bytes_max);
        let wait_max = Duration::from_millis(config.ingest.wait_ms_max);
        Self {
            gate,
            ingestor,
            engine_of_everybody: engine,
            maintainer,
            backup,
            forgetter,
            background,
            bodies: Arc::new(Bodies::new(config.ingest.concurrent_requests_max, budget.bodies, wait_max)),
            body_bytes_max: config.ingest.body_bytes_max,
            small_bodies: Arc::new(Bodies::new(SMALL_BODIES_MAX, small_bodies_bytes_max, wait_max)),
            clients: Arc::new(clients),
            hosts: config.server.host_names().map(str::to_owned).collect(),
            register: Arc::new(Register::new(limits)),
            requests: Arc::default(),
            quotas: Arc::new(metrics::Quotas::new(&config.metrics)),
            grafana: Arc::new(config.grafana.clone()),
            jaeger: Arc::new(config.jaeger.clone()),
        }
    }
}

/// Serves until the stop, then finishes what is open.
pub async fn serve(listener: TcpListener, tls: Option<Tls>, app: App, stop: impl Future<Output = ()>) {
    let (clients, register) = (Arc::clone(&app.clients), Arc::clone(&app.register));
    let engine = Arc::clone(&app.engine_of_everybody);
    let statements_wait = move || engine.keeps_waiting();
    connections::serve(listener, tls, router::routes(app), &clients, register, statements_wait, stop).await;
}
