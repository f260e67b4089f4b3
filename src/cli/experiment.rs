//! `driftline experiment`.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::{Source, client, print};
use crate::{
    clock::Clock,
    daemon::Store,
    error::{Context, Kind, Result},
    query::ExperimentRequest,
};

/// Flags of `experiment`.
#[derive(Debug, Args)]
pub struct ExperimentArgs {
    /// The experiment [default: lists those that have calls in the range, as JSON]
    id: Option<String>,
    /// Start of the range, inclusive (RFC 3339 or now-7d, today, …) [default: now-90d]
    #[arg(long)]
    from: Option<String>,
    /// End of the range, exclusive [default: now]
    #[arg(long)]
    to: Option<String>,
    /// Only this tenant
    #[arg(long)]
    tenant_id: Option<String>,
    /// Only this agent
    #[arg(long)]
    agent_id: Option<String>,
    /// What was randomised: user, session or call [default: the coarsest whose id the calls carry]
    #[arg(long)]
    unit: Option<String>,
    /// The variant that the others are compared with [default: the one called control]
    #[arg(long)]
    control: Option<String>,
    /// The split as it was meant, such as control=9,treatment=1 [default: equal]
    #[arg(long)]
    split: Option<String>,
    /// Days before the experiment that its users are known from; 0 for none [default: 28]
    #[arg(long)]
    before_days: Option<u32>,
    /// Units of both variants for which intervals are narrowest, chosen before the first look [default: 2000]
    #[arg(long)]
    planned_units: Option<u64>,
    /// json instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

/// Prints the comparison, or the list.
pub async fn run(args: ExperimentArgs) -> Result<ExitCode> {
    let given = args.parameters();
    let parameters: Vec<(&str, &str)> = given.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = match args.source.directory()? {
        Some(config) => {
            let store = Store::open_existing(&config, Clock::System).await?;
            let body = match &args.id {
                Some(id) => {
                    let request = ExperimentRequest::parse(id, parameters, store.engine.now_us())?;
                    let answer = store.engine.experiment(&request).await?;
                    if args.json { client::pretty(&answer)? } else { answer.text() }
                }
                None => client::pretty(&store.engine.experiments(parameters).await?)?,
            };
            store.close().await?;
            body
        }
        None => {
            let mut url = url::Url::parse(&format!("{}/api/v1/experiments", args.source.url()))
                .kind_context(Kind::Invalid, || "--url is no URL".into())?;
            if let (Some(id), Ok(mut path)) = (&args.id, url.path_segments_mut()) {
                // Pushed as one segment, whatever characters it has.
                path.push(id);
            }
            let format = (args.id.is_some() && !args.json).then_some(("format", "text"));
            let request = args.source.client()?.get(url).query(&parameters).query(&format.as_slice());
            let text = client::send(request).await?.text().await.context("the answer broke off")?;
            match (format, args.id.is_some()) {
                (Some(_), _) => text,
                (None, is_one) => {
                    let answer: Value = serde_json::from_str(&text).context("the answer is not JSON")?;
                    client::pretty(if is_one { &answer } else { &answer["experiments"] })?
                }
            }
        }
    };
    print(body.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

impl ExperimentArgs {
    /// Parameters as the server has them.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let text = |name, value: &Option<String>| value.clone().map(|value| (name, value));
        let given = [
            text("from", &self.from),
            text("to", &self.to),
            text("tenant_id", &self.tenant_id),
            text("agent_id", &self.agent_id),
            text("unit", &self.unit),
            text("control", &self.control),
            text("split", &self.split),
            self.before_days.map(|days| ("before_days", days.to_string())),
            self.planned_units.map(|units| ("planned_units", units.to_string())),
        ];
        given.into_iter().flatten().collect()
    }
}
