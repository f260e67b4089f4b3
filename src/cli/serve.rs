//! `driftline serve`.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    clock::Clock,
    config::Config,
    daemon::Daemon,
    error::{Context, Result},
};

/// Flags of `serve`; every other setting is in the config file and the environment.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The data directory [default: driftline-data]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Address of the main port [default: 127.0.0.1:7717]
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Address of the port for clients of Postgres, or off [default: off]
    #[arg(long, value_name = "ADDR|off")]
    postgres_listen: Option<String>,
    /// Settings as TOML; see docs/driftline.toml
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Serves until SIGINT or SIGTERM, then commits everything.
pub async fn run(args: ServeArgs) -> Result<ExitCode> {
    let mut flags = Vec::new();
    flags.extend(args.data.map(|data| ("server.data", data.display().to_string())));
    flags.extend(args.listen.map(|listen| ("server.listen", listen.to_string())));
    flags.extend(args.postgres_listen.map(|listen| ("postgres.listen", listen)));
    let config = Config::load(args.config.as_deref(), &flags)?;
    let daemon = Daemon::start(&config, Clock::System).await?;
    eprintln!("listening on http://{}", daemon.address());
    if let Some(address) = daemon.postgres_address() {
        eprintln!("listening on postgresql://{address}/driftline");
    }
    until_signal().await?;
    eprintln!("stopping: open requests are finished and the buffer is committed");
    daemon.stop().await?;
    Ok(ExitCode::SUCCESS)
}

/// Returns at SIGINT or SIGTERM.
pub async fn until_signal() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
