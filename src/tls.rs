//! A certificate with its key, as every port takes it. Reads its two files once, and listens nowhere.

use std::{fs, path::Path, sync::Arc};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig, crypto,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        version::{TLS12, TLS13},
    },
};

use crate::error::{Context, Error, Kind, Result};

/// A certificate with its key.
#[derive(Clone)]
pub struct Certificate(Arc<ServerConfig>);

impl Certificate {
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
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .context("cannot set up TLS")?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .kind_context(Kind::Invalid, || {
                format!("{} and {} do not belong together", certificate.display(), key.display())
            })?;
        Ok(Self(Arc::new(config)))
    }

    /// TLS with it, for a port that speaks these protocols; clients may name one of them, or none.
    pub fn acceptor(&self, protocols: &[&str]) -> TlsAcceptor {
        let mut config = ServerConfig::clone(&self.0);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}
