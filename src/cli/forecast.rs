//! `driftline forecast`.

use std::process::ExitCode;

use clap::Args;

use super::{Filters, Source, client, print};
use crate::{
    clock::Clock,
    daemon::Store,
    error::{Context, Result},
    query::ForecastRequest,
};

/// Flags of `forecast`.
#[derive(Debug, Args)]
pub struct ForecastArgs {
    /// cost, input_tokens or output_tokens [default: cost]
    #[arg(long)]
    metric: Option<String>,
    /// 30, 60 or 90 [default: 30]
    #[arg(long)]
    days: Option<String>,
    #[command(flatten)]
    filters: Filters,
    /// Also what would have been said on earlier days, and what came
    #[arg(long)]
    backtest: bool,
    /// json instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

/// Prints the forecast.
pub async fn run(args: ForecastArgs) -> Result<ExitCode> {
    let parameters = args.parameters();
    let body = match args.source.directory()? {
        Some(config) => {
            let request = ForecastRequest::parse(parameters)?;
            let store = Store::open_existing(&config, Clock::System).await?;
            let answer = store.engine.forecast(&request).await?;
            store.close().await?;
            if args.json { client::pretty(&answer)? } else { answer.text() }
        }
        None => {
            let request = args.source.client()?.get(args.source.endpoint("/api/v1/forecast")?).query(&parameters);
            client::text_or_json(request, args.json).await.context("the forecast failed")?
        }
    };
    print(body.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

impl ForecastArgs {
    /// Parameters as the server has them.
    fn parameters(&self) -> Vec<(&str, &str)> {
        let given = [("metric", &self.metric), ("days", &self.days)];
        let given = given.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        given.chain(self.filters.parameters()).chain(self.backtest.then_some(("backtest", "true"))).collect()
    }
}
