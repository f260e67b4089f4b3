//! `driftline check`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use crate::{
    clock::Clock,
    config::Config,
    daemon::Store,
    error::{Context, Result},
};

/// Flags of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Your SQL files: a directory with queries/, kpis/, views/, reports/, metrics/ and rollups/
    directory: Option<PathBuf>,
    /// Settings as TOML, which may name the directory
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Plans every file against empty tables; exit code 1 when one is wrong.
pub async fn run(args: CheckArgs) -> Result<ExitCode> {
    let empty = tempfile::tempdir().context("cannot make a temporary directory")?;
    let mut flags = vec![("server.data", empty.path().display().to_string())];
    flags.extend(args.directory.map(|directory| ("query.sql_directory", directory.display().to_string())));
    let config = Config::load(args.config.as_deref(), &flags)?;
    let (_, mut problems) = crate::query::Library::load(config.query.sql_directory.as_deref())?;
    let store = Store::open(&config, Clock::System).await?;
    problems.extend(store.engine.check().await);
    let files = store.engine.library().all().count();
    store.close().await?;
    for problem in &problems {
        println!("{problem}");
    }
    let noun = if problems.len() == 1 { "problem" } else { "problems" };
    println!("{files} files planned, {} {noun}", problems.len());
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
