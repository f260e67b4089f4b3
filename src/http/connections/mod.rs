//! Connections of the main port: accepts them, speaks TLS where there is a certificate, hands them to hyper within
//! bounds, and ends those that the register tells to. Knows no route.

mod answer;
mod register;
mod rest;
mod socket;

use std::{convert::Infallible, future::Future, io, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request};
use hyper::{Version, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

pub use answer::{Crowded, OfStatement, counted};
pub use register::{Limits, Register};

use super::Tls;
use crate::config::ClientsConfig;
use register::Number;
use rest::{Taking, ToCome};
use socket::Socket;

/// How often it is looked who is overdue.
const LOOKED_EVERY: Duration = Duration::from_millis(250);
/// How long accepting rests after it failed: for want of file descriptors, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// What a client of HTTP/2 may send of a body before somebody reads it, for a request and for a connection. The
/// first times `clients.requests_max` is a sixteenth of the least memory.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    register: Arc<Register>,
    number: Number,
    door: Arc<Notify>,
}

impl Connection {
    /// None if there is no room.
    fn arrive(register: &Arc<Register>) -> Option<Arc<Self>> {
        let door = Arc::new(Notify::new());
        let number = register.arrive(&door, Instant::now())?;
        Some(Arc::new(Self { register: Arc::clone(register), number, door }))
    }

    /// What it is told from all others by.
    pub fn number(&self) -> Number {
        self.number
    }

    fn begin(&self) -> bool {
        self.register.begin(self.number, Instant::now())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.register.leave(self.number);
    }
}

/// Serves until the stop, then finishes what is open. As long as statements wait for their turn, slow readers of others'
/// results give way, one at a time.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    routes: Router,
    config: &ClientsConfig,
    register: Arc<Register>,
    statements_wait: impl Fn() -> bool,
    stop: impl Future<Output = ()>,
) {
    let (stopping, stopped) = watch::channel(false);
    let server = Arc::new(Server { builder: builder(config), tls, routes, stopped });
    let mut connections = JoinSet::new();
    let mut look = interval(LOOKED_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            _ = look.tick() => {
                register.close_overdue(Instant::now());
                if statements_wait() {
                    register.want_statement(Instant::now());
                }
                continue;
            }
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            // Without room it is closed at once.
            Ok((stream, _)) => {
                if let Some(connection) = Connection::arrive(&register) {
                    connections.spawn(Arc::clone(&server).run(stream, connection));
                }
            }
            // One that went away before it was accepted is no reason to wait.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let _ = stopping.send(true);
    register.close_waiting();
    loop {
        tokio::select! {
            _ = look.tick() => register.close_overdue(Instant::now()),
            ended = connections.join_next() => if ended.is_none() { return },
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn builder(config: &ClientsConfig) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // The register closes those whose head does not come, whatever they speak.
    builder.http1().header_read_timeout(None::<Duration>).max_buf_size(config.head_bytes_max.max(HEAD_BYTES_MIN));
    builder
        .http2()
        .max_concurrent_streams(config.streams_max)
        .max_header_list_size(u32::try_from(config.head_bytes_max).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    builder
}

/// The least that hyper works with.
const HEAD_BYTES_MIN: usize = 8 * 1024;

/// What all connections share.
struct Server {
    builder: Builder<TokioExecutor>,
    tls: Option<Tls>,
    routes: Router,
    stopped: watch::Receiver<bool>,
}

impl Server {
    /// A connection from its first byte to its last.
    async fn run(self: Arc<Self>, stream: TcpStream, connection: Arc<Connection>) {
        let door = Arc::clone(&connection.door);
        let stream = Socket::new(stream, Arc::clone(&connection));
        let served = async {
            match &self.tls {
                None => self.speak(stream, connection).await,
                // One whose handshake fails is the client's affair.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        self.speak(stream, connection).await;
                    }
                }
            }
        };
        tokio::select! {
            () = served => {}
            () = door.notified() => {}
        }
    }

    /// HTTP, until the client or the stop ends it.
    async fn speak(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, connection: Arc<Connection>) {
        let routes = TowerToHyperService::new(self.routes.clone());
        let to_come = ToCome::default();
        let stream = Taking::new(stream, to_come.clone());
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            // Over HTTP/2 an answer ends a stream of its own, and the connection stays.
            let watched = (request.version() < Version::HTTP_2).then(|| to_come.clone());
            let mut request: Request = request.map(|body| match &watched {
                Some(to_come) => to_come.watch(body),
                None => Body::new(body),
            });
            request.extensions_mut().insert(Arc::clone(&connection));
            let answered = hyper::service::Service::call(&routes, request);
            async move {
                let mut answer = answered.await.unwrap_or_else(|never| match never {});
                if let Some(to_come) = watched {
                    to_come.say(answer.headers_mut());
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let mut served = pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        let mut stopped = self.stopped.clone();
        tokio::select! {
            // What goes wrong on a connection is the client's affair.
            _ = served.as_mut() => return,
            // The sender lives as long as this.
            _ = stopped.wait_for(|stopped| *stopped) => served.as_mut().graceful_shutdown(),
        }
        let _ = served.await;
    }
}
