//! `driftline maintain`.

use std::process::ExitCode;

use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Source, client, print};
use crate::{
    clock::Clock,
    daemon::Store,
    error::{Context, Result},
    maintain::{Done, Due},
};

/// Flags of `maintain`.
#[derive(Debug, Args)]
pub struct MaintainArgs {
    /// Says what would be done, and does none of it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    source: Source,
}

/// One pass, or its plan.
pub async fn run(args: MaintainArgs) -> Result<ExitCode> {
    let text = match args.source.directory()? {
        Some(config) => {
            let store = Store::open_existing(&config, Clock::System).await?;
            let text = if args.dry_run { due(&store.maintainer.due()) } else { done(store.maintainer.run().await?) };
            store.close().await?;
            text
        }
        None => {
            let url = format!("{}/api/v1/maintenance", args.source.url());
            let server = args.source.client()?;
            let request = if args.dry_run { server.get(url) } else { server.post(url).timeout(client::PASS_MAX) };
            let answer: Value = client::send(request).await?.json().await.context("the server's answer is not JSON")?;
            if args.dry_run { due(&field::<Vec<Due>>(&answer, "due")?) } else { done(field(&answer, "done")?) }
        }
    };
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn field<T: DeserializeOwned>(answer: &Value, name: &str) -> Result<T> {
    T::deserialize(&answer[name]).context("the server's answer is not as expected")
}

fn due(due: &[Due]) -> String {
    if due.is_empty() {
        return "nothing is due\n".to_owned();
    }
    due.iter().map(|due| format!("{due}\n")).collect()
}

fn done(done: Done) -> String {
    format!(
        "{} actions, {} bytes rewritten, {} rows deleted at their age, {} files and {} log entries removed\n",
        done.actions, done.rewritten_bytes, done.deleted_rows, done.swept_files, done.trimmed_entries
    )
}
