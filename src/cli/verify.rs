//! `driftline verify`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{Source, print};
use crate::{
    daemon,
    error::{Error, Result},
};

/// Flags of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Sets damaged segments of the write-ahead log aside, so that the daemon starts with what is whole
    #[arg(long, required = true)]
    quarantine: bool,
    /// A data directory that no server has open
    #[arg(long)]
    data: PathBuf,
    /// Settings as TOML; see docs/driftline.toml
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Says what was lost; exit code 1 where something was.
pub async fn run(args: VerifyArgs) -> Result<ExitCode> {
    let source = Source { url: None, data: Some(args.data), config: args.config };
    let config = source.directory()?.ok_or_else(|| Error::invalid("name a data directory with --data"))?;
    let losses = daemon::quarantine(&config).await?.losses;
    if losses.is_empty() {
        print(b"the write-ahead log is whole\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let lines: String = losses.iter().map(|loss| format!("{loss}\n")).collect();
    print(lines.as_bytes())?;
    Ok(ExitCode::FAILURE)
}
