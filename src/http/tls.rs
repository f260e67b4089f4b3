//! TLS in front of the main port. How long a handshake may take is the affair of `connections`.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::tls::Certificate;

/// TLS as HTTP is spoken in it.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    /// With this certificate.
    pub fn new(certificate: &Certificate) -> Self {
        Self(certificate.acceptor(&["h2", "http/1.1"]))
    }

    /// Shakes hands.
    ///
    /// # Errors
    ///
    /// When the client breaks off, or speaks no TLS that we know.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        self.0.accept(stream).await
    }
}
