//! The port for clients of Postgres: psql, drivers, Grafana, Metabase. It speaks their protocol and decides nothing:
//! who is let in, what a statement may be, see and take, is decided where it is for every other way in.
//!
//! A connection is a task. `startup.rs` lets it in, `connection.rs` reads its messages one after the other.

mod answer;
mod connection;
mod error;
mod prepared;
mod session;
mod startup;
mod stream;

use std::{future::Future, sync::Arc, time::Duration};

use pgwire::api::{ConnectionManager, RandomPidSecretKeyGenerator};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use crate::{config::PostgresConfig, gate::Gate, query::Engine, tls::Certificate};

/// Connections that are being let in at the same time; further ones wait in the system's queue.
const HANDSHAKES_MAX: usize = 64;
/// How long letting one in may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long accepting rests after it failed: for want of file descriptors, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// As what the gate logs and counts what is asked here.
const WHAT: &str = "postgres";

/// What connections share.
pub struct Server {
    gate: Arc<Gate>,
    /// For connections that are being let in only: then they have the engine of their caller.
    engine_of_everybody: Arc<Engine>,
    tls: Option<TlsAcceptor>,
    seats: Arc<Semaphore>,
    connections_max: usize,
    idle_max: Option<Duration>,
    allow_unencrypted_keys: bool,
    cancels: Arc<ConnectionManager>,
    identities: RandomPidSecretKeyGenerator,
}

impl Server {
    /// A server over the rows of the engine's scope, which is everybody's.
    pub fn new(
        config: &PostgresConfig,
        certificate: Option<&Certificate>,
        gate: Arc<Gate>,
        engine: Arc<Engine>,
    ) -> Self {
        Self {
            gate,
            engine_of_everybody: engine,
            tls: certificate.map(|certificate| certificate.acceptor(&[stream::PROTOCOL])),
            seats: Arc::new(Semaphore::new(config.connections_max)),
            connections_max: config.connections_max,
            idle_max: (config.idle_timeout_s > 0).then(|| Duration::from_secs(config.idle_timeout_s)),
            allow_unencrypted_keys: config.allow_unencrypted_keys,
            cancels: Arc::new(ConnectionManager::new()),
            identities: RandomPidSecretKeyGenerator::default(),
        }
    }
}

/// Serves until the stop, then finishes the statements that run.
pub async fn serve(listener: TcpListener, server: Server, stop: impl Future<Output = ()> + Send) {
    let server = Arc::new(server);
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            Some(ended) = connections.join_next() => {
                if ended.is_err_and(|error| error.is_panic()) {
                    tracing::error!("a connection panicked");
                }
                continue;
            }
            accepted = accept(&listener, &handshakes) => accepted,
        };
        let Some((tcp, handshake)) = accepted else { continue };
        let (server, stopped) = (Arc::clone(&server), stopped.clone());
        connections.spawn(async move {
            // One that dawdles or breaks off is the client's affair.
            let met = timeout(HANDSHAKE_MAX, startup::meet(tcp, &server)).await;
            drop(handshake);
            if let Ok(Some(connection)) = met {
                connection.serve(stopped).await;
            }
        });
    }
    let _ = stopping.send(true);
    while connections.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    handshakes: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let handshake = Arc::clone(handshakes).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((tcp, _)) => Some((tcp, handshake)),
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}
