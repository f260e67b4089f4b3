//! `driftline verify`.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use clap::Args;

use super::{Source, print};
use crate::{
    config::Config,
    daemon,
    error::{Context, Error, Result},
};

/// Flags of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Reads every row of every file as well, and compares it with what the tables' logs say
    #[arg(long)]
    content: bool,
    /// Sets damaged segments of the write-ahead log aside, so that the daemon starts with what is whole
    #[arg(long, conflicts_with_all = ["content", "json"])]
    quarantine: bool,
    /// Prints the report as JSON
    #[arg(long)]
    json: bool,
    /// A data directory that no server has open
    #[arg(long)]
    data: PathBuf,
    /// Settings as TOML; see docs/driftline.toml
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Exit code 1 where something is wrong, or was lost.
pub async fn run(args: VerifyArgs) -> Result<ExitCode> {
    let source = Source { url: None, data: Some(args.data), config: args.config, api_key: None };
    let config = source.directory()?.ok_or_else(|| Error::invalid("name a data directory with --data"))?;
    if args.quarantine { quarantine(&config).await } else { verify(&config, args.content, args.json).await }
}

async fn verify(config: &Config, content: bool, json: bool) -> Result<ExitCode> {
    let begun = Instant::now();
    let report = daemon::verify(config, content).await?;
    let text = if json {
        serde_json::to_string_pretty(&report).context("cannot write the report")? + "\n"
    } else {
        let verdict = match report.findings.len() {
            0 => "nothing is wrong".to_owned(),
            1 => "1 thing is wrong".to_owned(),
            count => format!("{count} things are wrong"),
        };
        let read = if content { "every row read" } else { "rows not read, --content does" };
        let seconds = begun.elapsed().as_secs_f64();
        format!("{report}{verdict}: {} bytes looked at in {seconds:.1} s, {read}\n", report.bytes())
    };
    print(text.as_bytes())?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says what was lost.
async fn quarantine(config: &Config) -> Result<ExitCode> {
    let losses = daemon::quarantine(config).await?.losses;
    if losses.is_empty() {
        print(b"the write-ahead log is whole\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let lines: String = losses.iter().map(|loss| format!("{loss}\n")).collect();
    print(lines.as_bytes())?;
    Ok(ExitCode::FAILURE)
}
