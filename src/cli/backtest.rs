//! `driftline backtest`.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Filters, Source, client, print};
use crate::{
    clock::Clock,
    daemon::Store,
    error::{Context, Result},
    query::BacktestRequest,
};

/// Rules to replay.
#[derive(Debug, Subcommand)]
pub enum BacktestCommand {
    /// The verdicts of `driftline drift`, run after run
    Drift(DriftArgs),
    /// The hours, and the sessions and calls, that `driftline anomalies` finds
    Anomalies(AnomaliesArgs),
    /// A KPI that leaves a bound
    Kpi(KpiArgs),
    /// Objectives whose allowance is used too fast
    Slo(SloArgs),
    /// Alerts of dashboards/prometheus/rules.yml that a KPI or drift says as well
    Alert(AlertArgs),
}

/// Flags of all of them.
#[derive(Debug, Args)]
struct Replayed {
    /// Start of the range (RFC 3339 or now-7d, today, …) [default: now-7d]
    #[arg(long)]
    from: Option<String>,
    /// End of the range [default: now]
    #[arg(long)]
    to: Option<String>,
    /// json instead of tables
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

/// Flags of rules without a length of time of their own.
#[derive(Debug, Args)]
struct Held {
    /// How long a series has to break the rule before it fires: 10m, 1h, … [default: 0s]
    #[arg(long = "for")]
    hold: Option<String>,
    #[command(flatten)]
    replayed: Replayed,
}

/// Flags of slices.
#[derive(Debug, Args)]
struct Sliced {
    /// What has series of its own: all, agent, tenant or model [default: all of a KPI, agent of anomalies]
    #[arg(long)]
    by: Option<String>,
    #[command(flatten)]
    filters: Filters,
}

/// Flags of `backtest drift`.
#[derive(Debug, Args)]
pub struct DriftArgs {
    /// Time from one run to the next, whole hours [default: 1h]
    #[arg(long)]
    step: Option<String>,
    /// Length of a window in hours: a part of a week, or whole weeks [default: 24]
    #[arg(long)]
    window_hours: Option<u32>,
    /// Earlier windows of the same hours of the week that each is compared with [default: 4]
    #[arg(long)]
    references: Option<u32>,
    /// What makes slices: all, agent_id, model, tenant_id, comma-separated [default: all four]
    #[arg(long)]
    by: Option<String>,
    /// Columns that are told, comma-separated, silent_model_change among them; all are judged [default: all]
    #[arg(long)]
    column: Option<String>,
    #[command(flatten)]
    held: Held,
}

/// Flags of `backtest anomalies`.
#[derive(Debug, Args)]
pub struct AnomaliesArgs {
    /// KPIs, parted by commas; traffic is the number of calls [default: one for each thing that goes wrong]
    #[arg(long)]
    kpi: Option<String>,
    /// The least score that is an anomaly, 0.1 to below 1 [default: 0.5]
    #[arg(long)]
    score_min: Option<f64>,
    /// Days before the week of an hour that it is judged by [default: 42]
    #[arg(long)]
    history_days: Option<u32>,
    #[command(flatten)]
    sliced: Sliced,
    #[command(flatten)]
    held: Held,
}

/// Flags of `backtest kpi`.
#[derive(Debug, Args)]
pub struct KpiArgs {
    /// The KPI
    name: String,
    /// It fires above this, in the KPI's unit [default: the KPI's own alert]
    #[arg(long, conflicts_with = "below", allow_negative_numbers = true)]
    above: Option<f64>,
    /// It fires below this
    #[arg(long, allow_negative_numbers = true)]
    below: Option<f64>,
    /// The time over which each figure is made: 10m, 1h, … [default: that of the KPI's alert, else 1h]
    #[arg(long)]
    window: Option<String>,
    /// Time from one moment to the next [default: 1m for windows of less than an hour, else the window]
    #[arg(long)]
    step: Option<String>,
    /// Windows with fewer samples say nothing [default: the KPI's own number]
    #[arg(long)]
    samples_min: Option<u64>,
    #[command(flatten)]
    sliced: Sliced,
    #[command(flatten)]
    held: Held,
}

/// Flags of `backtest slo`.
#[derive(Debug, Args)]
pub struct SloArgs {
    /// The objective [default: all of the settings]
    name: Option<String>,
    /// Time from one moment to the next, whole minutes [default: 1m]
    #[arg(long)]
    step: Option<String>,
    #[command(flatten)]
    held: Held,
}

/// Flags of `backtest alert`.
#[derive(Debug, Args)]
pub struct AlertArgs {
    /// The alert
    #[arg(required_unless_present = "all")]
    name: Option<String>,
    /// All that can be replayed
    #[arg(long, conflicts_with = "name")]
    all: bool,
    #[command(flatten)]
    replayed: Replayed,
}

type Parameters = Vec<(&'static str, String)>;

/// Prints when the rule would have fired.
pub async fn run(command: BacktestCommand) -> Result<ExitCode> {
    let (given, Replayed { from, to, json, source }) = command.taken_apart();
    let range = [("from", from), ("to", to)].into_iter().filter_map(|(name, value)| Some((name, value?)));
    let given: Parameters = given.into_iter().chain(range).collect();
    let parameters = given.iter().map(|(name, value)| (*name, value.as_str()));
    let body = match source.directory()? {
        Some(config) => {
            let store = Store::open_existing(&config, Clock::System).await?;
            let answers = match BacktestRequest::parse(parameters, store.engine.now_us()) {
                Ok(request) => store.engine.backtest(&request).await,
                Err(error) => Err(error),
            };
            store.close().await?;
            let answers = answers?;
            if json { client::pretty(&answers)? } else { answers.text() }
        }
        None => {
            let request = source.client()?.get(source.endpoint("/api/v1/backtest")?);
            let request = request.query(&parameters.collect::<Vec<_>>());
            client::text_or_json(request, json).await.context("the rule could not be replayed")?
        }
    };
    print(body.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

impl BacktestCommand {
    /// Parameters as the server has them, and what is common to all rules.
    fn taken_apart(self) -> (Parameters, Replayed) {
        let text = |name, value: Option<String>| (name, value);
        let (rule, own, held) = match self {
            Self::Drift(args) => {
                let own = vec![
                    text("step", args.step),
                    text("window_hours", args.window_hours.map(|hours| hours.to_string())),
                    text("references", args.references.map(|references| references.to_string())),
                    text("by", args.by),
                    text("column", args.column),
                ];
                ("drift", own, args.held)
            }
            Self::Anomalies(args) => {
                let own = [
                    text("kpi", args.kpi),
                    text("score_min", args.score_min.map(|score| score.to_string())),
                    text("history_days", args.history_days.map(|days| days.to_string())),
                ];
                ("anomalies", own.into_iter().chain(args.sliced.parameters()).collect(), args.held)
            }
            Self::Kpi(args) => {
                let own = [
                    text("name", Some(args.name)),
                    text("above", args.above.map(|bound| bound.to_string())),
                    text("below", args.below.map(|bound| bound.to_string())),
                    text("window", args.window),
                    text("step", args.step),
                    text("samples_min", args.samples_min.map(|samples| samples.to_string())),
                ];
                ("kpi", own.into_iter().chain(args.sliced.parameters()).collect(), args.held)
            }
            Self::Slo(args) => ("slo", vec![text("name", args.name), text("step", args.step)], args.held),
            // An alert holds for as long as the rules say.
            Self::Alert(args) => ("alert", vec![text("name", args.name)], Held { hold: None, replayed: args.replayed }),
        };
        let all = own.into_iter().chain([text("rule", Some(rule.to_owned())), text("for", held.hold)]);
        (all.filter_map(|(name, value)| Some((name, value?))).collect(), held.replayed)
    }
}

impl Sliced {
    fn parameters(self) -> impl Iterator<Item = (&'static str, Option<String>)> {
        let filters: Vec<_> = self.filters.parameters().map(|(name, value)| (name, Some(value.to_owned()))).collect();
        std::iter::once(("by", self.by)).chain(filters)
    }
}
