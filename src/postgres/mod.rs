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

use std::{collections::VecDeque, future::Future, sync::Arc, time::Duration};

use pgwire::api::{ConnectionManager, RandomPidSecretKeyGenerator};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{AbortHandle, JoinError, JoinSet},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use connection::Connection;

use crate::{config::PostgresConfig, gate::Gate, query::Engine, tls::Certificate};

/// Connections that are being let in at the same time; for a further one, the oldest is closed.
const HANDSHAKES_MAX: usize = 256;
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
    let (stopping, stopped) = watch::channel(false);
    let (mut newcomers, mut connections) = (Newcomers::default(), JoinSet::new());
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(ended) = connections.join_next() => note(&ended),
            Some(met) = newcomers.meetings.join_next() => match met {
                Ok(Some(connection)) => {
                    connections.spawn(Connection::serve(*connection, stopped.clone()));
                }
                Ok(None) => {}
                Err(error) => note(&Err(error)),
            },
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) => newcomers.meet(tcp, &server),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(newcomers);
    let _ = stopping.send(true);
    while connections.join_next().await.is_some() {}
}

fn note(ended: &Result<(), JoinError>) {
    if ended.as_ref().is_err_and(JoinError::is_panic) {
        tracing::error!("a connection panicked");
    }
}

/// Connections that are being let in.
#[derive(Default)]
struct Newcomers {
    meetings: JoinSet<Option<Box<Connection>>>,
    /// Of those that have not ended when another one comes, the oldest first.
    handles: VecDeque<AbortHandle>,
}

impl Newcomers {
    /// Begins to let one in. Where there are too many, the one that has taken the longest gives way: whoever says what
    /// is to be said is in at once.
    fn meet(&mut self, tcp: TcpStream, server: &Arc<Server>) {
        self.handles.retain(|handle| !handle.is_finished());
        if self.handles.len() >= HANDSHAKES_MAX
            && let Some(oldest) = self.handles.pop_front()
        {
            oldest.abort();
        }
        let server = Arc::clone(server);
        let met = async move { timeout(HANDSHAKE_MAX, startup::meet(tcp, &server)).await.ok().flatten().map(Box::new) };
        self.handles.push_back(self.meetings.spawn(met));
    }
}
