//! `driftline forget`.

use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Source, client, print};
use crate::{
    clock::Clock,
    daemon::Store,
    error::{Context, Error, Result},
    maintain::{Forgotten, Subject},
};

/// Flags of `forget`.
#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// Whose records are to go, by `user_id`
    #[arg(long, required_unless_present = "tenant", conflicts_with = "tenant")]
    user: Option<String>,
    /// Whose records are to go, by `tenant_id`
    #[arg(long)]
    tenant: Option<String>,
    /// Says how many records would go, and changes nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    source: Source,
}

/// Deletes, or counts what would be deleted.
pub async fn run(args: ForgetArgs) -> Result<ExitCode> {
    let subject = match (args.user, args.tenant) {
        (Some(user), _) => Subject::UserId(user),
        (None, Some(tenant)) => Subject::TenantId(tenant),
        (None, None) => return Err(Error::invalid("name a --user or a --tenant")),
    };
    let forgotten = match args.source.directory()? {
        Some(config) => {
            let store = Store::open_existing(&config, Clock::System).await?;
            let forgotten = store.forgetter.forget(&subject, args.dry_run).await?;
            store.close().await?;
            forgotten
        }
        None => {
            let mut body = json!(subject);
            body["dry_run"] = args.dry_run.into();
            let request =
                args.source.client()?.post(format!("{}/api/v1/forget", args.source.url())).timeout(client::PASS_MAX);
            let answer: Value =
                client::send(request.json(&body)).await?.json().await.context("the server's answer is not JSON")?;
            Forgotten::deserialize(&answer["forgotten"]).context("the server's answer is not as expected")?
        }
    };
    let done = if args.dry_run { "would be deleted from" } else { "are deleted from" };
    let Forgotten { records, rejected_lines, files, results } = forgotten;
    let text = format!(
        "{records} records and {rejected_lines} rejected lines {done} {files} files, {results} results of jobs\n"
    );
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
