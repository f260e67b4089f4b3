//! TLS in front of the main port: a listener whose connections have shaken hands. A client that dawdles over its
//! handshake keeps nobody else waiting.

use std::{fs, io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::serve::Listener;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::AbortHandle,
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig, crypto,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        version::{TLS12, TLS13},
    },
    server::TlsStream,
};

use crate::error::{Context, Error, Kind, Result};

/// Handshakes at the same time; further connections wait in the system's queue.
const HANDSHAKES_MAX: usize = 256;
/// How long one may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long accepting rests after it failed: for want of file descriptors, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A certificate with its key.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    /// Reads both from PEM files.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] that names the file which cannot be read, holds no certificate or key, or does not fit the
    /// other.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self> {
        let read =
            |path: &Path| fs::read(path).kind_context(Kind::Invalid, || format!("cannot read {}", path.display()));
        let no_certificate = || format!("server.tls_cert: {} holds no PEM certificate", certificate.display());
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(certificate)?)
            .collect::<std::result::Result<_, _>>()
            .kind_context(Kind::Invalid, no_certificate)?;
        if chain.is_empty() {
            return Err(Error::invalid(no_certificate()));
        }
        let private = PrivateKeyDer::from_pem_slice(&read(key)?)
            .kind_context(Kind::Invalid, || format!("server.tls_key: {} holds no PEM private key", key.display()))?;
        // Named, because the tree has more than one.
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .context("cannot set up TLS")?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .kind_context(Kind::Invalid, || {
                format!("{} and {} do not belong together", certificate.display(), key.display())
            })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// A listener that speaks it.
    ///
    /// # Errors
    ///
    /// When the listener has no address.
    pub fn listen(self, listener: TcpListener) -> io::Result<TlsListener> {
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(1);
        let accepting = tokio::spawn(accept(listener, self.0, sender)).abort_handle();
        Ok(TlsListener { address, ready, accepting })
    }
}

/// A listener of connections that are ready.
pub struct TlsListener {
    address: SocketAddr,
    ready: mpsc::Receiver<Connection>,
    accepting: AbortHandle,
}

type Connection = (TlsStream<TcpStream>, SocketAddr);

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Connection {
        match self.ready.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, sender: mpsc::Sender<Connection>) {
    let room = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        tokio::spawn(async move {
            // One that fails is the client's affair.
            if let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                drop(permit);
                let _ = sender.send((stream, address)).await;
            }
        });
    }
}
