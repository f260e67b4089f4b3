//! Who may reach the daemon at all: which addresses it takes without keys, its certificate, and the keys of a
//! directory for those who have the directory itself.

use std::{fs::File, net::SocketAddr};

use tokio::net::TcpListener;

use super::{CATALOG, hold, must_exist};
use crate::{
    catalog::Keys,
    config::{Config, ServerConfig},
    error::{Context, Error, Kind, Result},
    gate::Gate,
    tls::Certificate,
};

/// The keys of a directory, and its lock where no server has it open.
///
/// # Errors
///
/// [`Kind::NotFound`] when it is no data directory; nothing is created then. [`Kind::Conflict`] when a server of an
/// older version has it open, or a newer version wrote it.
pub async fn keys(config: &Config) -> Result<(Keys, Option<File>)> {
    let data = &config.server.data;
    must_exist(data)?;
    let catalog = data.join(CATALOG);
    // SQLite is made for several processes, so a server that runs is no obstacle. But only who is alone may change
    // the database's shape.
    match hold(File::options().create(true).truncate(false).write(true), data) {
        Ok(lock) => Ok((Keys::open(&catalog, true).await?, Some(lock))),
        Err(error) if error.kind() == Kind::Conflict => Ok((Keys::open(&catalog, false).await?, None)),
        Err(error) => Err(error),
    }
}

/// The certificate, where one is set.
///
/// # Errors
///
/// [`Kind::Invalid`] when only one of its files is set, or they are no certificate and its key.
pub fn certificate(server: &ServerConfig) -> Result<Option<Certificate>> {
    match (&server.tls_cert, &server.tls_key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Certificate::load(certificate, key).map(Some),
        _ => Err(Error::invalid("set both of server.tls_cert and server.tls_key, or none")),
    }
}

/// Connections that the process has files for: half of those that it may open, of which it takes as many as the system
/// gives.
pub fn connections_max(wanted: usize) -> usize {
    let Ok(files) = rlimit::increase_nofile_limit(u64::MAX) else { return wanted };
    let most = usize::try_from(files / 2).unwrap_or(usize::MAX).max(1);
    if wanted > most {
        tracing::warn!(
            open_files_max = files,
            connections_max = most,
            "fewer connections than clients.connections_max: the process may open few files (ulimit -n)"
        );
    }
    wanted.min(most)
}

/// A port that is bound, before anybody is served on it.
pub struct Port {
    /// For whoever serves it.
    pub listener: TcpListener,
    /// Where it is, which the system may have chosen.
    pub address: SocketAddr,
}

impl Port {
    /// Binds it.
    ///
    /// # Errors
    ///
    /// [`Kind::Conflict`] when somebody else has it.
    pub async fn bind(listen: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind(listen).await.kind_context(Kind::Conflict, || format!("cannot listen on {listen}"))?;
        let address = listener.local_addr().context("cannot tell the address")?;
        Ok(Self { listener, address })
    }
}

/// Whether the daemon may listen at an address.
///
/// # Errors
///
/// [`Kind::Invalid`] for an address that others reach, as long as there is no key.
pub async fn check(listen: SocketAddr, server: &ServerConfig, gate: &Gate) -> Result<()> {
    if listen.ip().is_loopback() {
        return Ok(());
    }
    let has_tls = server.tls_cert.is_some();
    if !gate.needs_keys().await? {
        if !server.allow_anonymous_network {
            return Err(Error::invalid(format!(
                "listening on {listen} would show every tenant's records to everybody: make a key first (driftline key \
                 create --name NAME --scope admin --data {}), or set server.allow_anonymous_network",
                server.data.display()
            )));
        }
        tracing::warn!(%listen, "there are no keys: whoever reaches the address may read, write and delete all");
    } else if !has_tls {
        tracing::warn!(%listen, "keys come unencrypted: set server.tls_cert and server.tls_key, or put TLS in front");
    }
    Ok(())
}
