//! `driftline slo`.

use std::process::ExitCode;

use clap::Args;

use super::{Source, client, print};
use crate::{
    clock::Clock,
    daemon::Store,
    error::{Context, Result},
};

/// Flags of `slo`.
#[derive(Debug, Args)]
pub struct SloArgs {
    /// json instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

/// Prints the objectives as they stand.
pub async fn run(args: SloArgs) -> Result<ExitCode> {
    let body = match args.source.directory()? {
        Some(config) => {
            let store = Store::open_existing(&config, Clock::System).await?;
            let answers = store.engine.objectives().await?;
            store.close().await?;
            if args.json { client::pretty(&answers)? } else { answers.text() }
        }
        None => {
            let request = args.source.client()?.get(args.source.endpoint("/api/v1/slo")?);
            client::text_or_json(request, args.json).await.context("the objectives cannot be told")?
        }
    };
    print(body.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
