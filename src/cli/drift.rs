//! `driftline drift`.

use std::process::ExitCode;

use clap::Args;

use super::{Source, client, print};
use crate::{
    clock::Clock,
    daemon::Store,
    drift::Answer,
    error::{Context, Result},
    query::MonitorRequest,
};

/// Something drifts.
const DRIFTING: u8 = 3;

/// Flags of `drift`.
#[derive(Debug, Args)]
pub struct DriftArgs {
    /// End of the newest window (RFC 3339 or now-7d, today, …), taken down to the hour [default: now]
    #[arg(long)]
    to: Option<String>,
    /// Length of a window in hours: a part of a week, or whole weeks [default: 24]
    #[arg(long)]
    window_hours: Option<u32>,
    /// Earlier windows of the same hours of the week that each is compared with [default: 4]
    #[arg(long)]
    references: Option<u32>,
    /// What makes slices: all, agent_id, model, tenant_id, comma-separated [default: all four]
    #[arg(long)]
    by: Option<String>,
    /// json, with every verdict, instead of a table of those that drift
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

/// Prints the verdicts.
pub async fn run(args: DriftArgs) -> Result<ExitCode> {
    let given = args.parameters();
    let parameters: Vec<(&str, &str)> = given.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = match args.source.directory()? {
        Some(config) => {
            let store = Store::open_existing(&config, Clock::System).await?;
            let answer = match MonitorRequest::parse(parameters, store.engine.now_us()) {
                Ok(request) => store.engine.monitor(&request).await,
                Err(error) => Err(error),
            };
            store.close().await?;
            answer?
        }
        None => {
            let request = args.source.client()?.get(args.source.endpoint("/api/v1/drift")?).query(&parameters);
            let text = client::send(request).await?.text().await;
            let text = text.context("the answer broke off")?;
            serde_json::from_str::<Answer>(&text).context("the answer is none of this version's")?
        }
    };
    let body = if args.json {
        serde_json::to_string_pretty(&answer).map(|text| text + "\n").context("cannot write the answer")?
    } else {
        answer.text()
    };
    print(body.as_bytes())?;
    Ok(if answer.is_drifting() { ExitCode::from(DRIFTING) } else { ExitCode::SUCCESS })
}

impl DriftArgs {
    /// Parameters as the server has them.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let given = [
            self.to.clone().map(|to| ("to", to)),
            self.window_hours.map(|hours| ("window_hours", hours.to_string())),
            self.references.map(|references| ("references", references.to_string())),
            self.by.clone().map(|by| ("by", by)),
        ];
        given.into_iter().flatten().collect()
    }
}
