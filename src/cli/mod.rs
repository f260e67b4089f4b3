//! The command line: parses, calls the rooms, prints. The only room that speaks clap and prints to
//! the terminal.

mod anomalies;
mod backtest;
mod backup;
mod check;
mod client;
mod demo;
mod detect;
mod drift;
mod experiment;
mod forecast;
mod forget;
mod generate;
mod key;
mod load;
mod maintain;
mod query;
mod report;
mod serve;
mod slo;
mod verify;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use url::Url;

use crate::{
    config::Config,
    error::{Context, Kind, Result},
};

/// Cost, quality and drift analytics for AI agents, in one binary.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the daemon: ingest, SQL, metrics, reports
    Serve(serve::ServeArgs),
    /// Generates traffic with known incidents, ingests it, serves it, and says what to ask
    Demo(demo::DemoArgs),
    /// Loads log files (NDJSON or JSON; plain, gzip or zstd; - is standard input)
    Load(load::LoadArgs),
    /// Makes, lists and revokes the keys that callers need
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Runs SQL and prints the rows
    Query(query::QueryArgs),
    /// Prints a report
    #[command(subcommand)]
    Report(report::ReportCommand),
    /// Scores every row of a CSV file (timestamp, value) by the rows before it: 0 to 1, an anomaly from 0.5 on
    Detect(detect::DetectArgs),
    /// Finds the hours of KPIs, by agent, that their own past does not explain
    Anomalies(anomalies::AnomaliesArgs),
    /// Says when a rule would have fired over stored history
    #[command(subcommand)]
    Backtest(backtest::BacktestCommand),
    /// Judges which columns of which agents, models and tenants drift; exits with 3 where something does
    Drift(drift::DriftArgs),
    /// Compares an experiment's variants, or lists the experiments
    Experiment(experiment::ExperimentArgs),
    /// Says what the next 30, 60 or 90 days will cost, and what the month will have cost at its end
    Forecast(forecast::ForecastArgs),
    /// Says what is left of what may go wrong, how fast it is used, and when it is used up
    Slo(slo::SloArgs),
    /// Plans every named SQL file and says what is wrong in which file and line
    Check(check::CheckArgs),
    /// Joins, compresses and deletes committed files as their life cycle says
    Maintain(maintain::MaintainArgs),
    /// Deletes the records of one user or one tenant
    Forget(forget::ForgetArgs),
    /// Writes a copy of the data directory, while a server runs or without one
    Backup(backup::BackupArgs),
    /// Checks a data directory: write-ahead log, tables, files, receipts; says what is wrong
    Verify(verify::VerifyArgs),
    /// Writes realistic NDJSON, with incidents to switch on
    Generate(generate::GenerateArgs),
}

/// Where the data is: a running server or a data directory.
#[derive(Debug, Args)]
struct Source {
    /// A running server [default: http://127.0.0.1:7717]
    #[arg(long, conflicts_with = "data")]
    url: Option<String>,
    /// A data directory that no server has open
    #[arg(long)]
    data: Option<PathBuf>,
    /// Settings as TOML; see docs/driftline.toml
    #[arg(long)]
    config: Option<PathBuf>,
    /// The key for a running server. The variable keeps it out of the list of processes
    #[arg(long, env = "DRIFTLINE_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
}

/// Which calls are looked at.
#[derive(Debug, Args)]
struct Filters {
    /// Only this tenant
    #[arg(long)]
    tenant_id: Option<String>,
    /// Only this agent
    #[arg(long)]
    agent_id: Option<String>,
    /// Only this model
    #[arg(long)]
    model: Option<String>,
}

impl Filters {
    /// Parameters as the server has them.
    fn parameters(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let given = [("tenant_id", &self.tenant_id), ("agent_id", &self.agent_id), ("model", &self.model)];
        given.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

const DEFAULT_URL: &str = "http://127.0.0.1:7717";

impl Source {
    fn url(&self) -> &str {
        self.url.as_deref().unwrap_or(DEFAULT_URL).trim_end_matches('/')
    }

    /// The address of one of the server's paths.
    fn endpoint(&self, path: &str) -> Result<Url> {
        Url::parse(&format!("{}{path}", self.url())).kind_context(Kind::Invalid, || "--url is no URL".into())
    }

    /// A client of the server, with its key.
    fn client(&self) -> Result<reqwest::Client> {
        client::client(self.url(), self.api_key.as_deref())
    }

    /// The settings for the data directory, when there is one.
    fn directory(&self) -> Result<Option<Config>> {
        let Some(data) = &self.data else { return Ok(None) };
        let flags = [("server.data", data.display().to_string())];
        Config::load(self.config.as_deref(), &flags).map(Some)
    }
}

/// Runs the command and says how it went: 0 done, 1 failed, 2 wrong usage; reports have their own.
pub async fn run(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Serve(args) => serve::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Load(args) => load::run(args).await,
        Command::Key(command) => key::run(command).await,
        Command::Query(args) => query::run(args).await,
        Command::Report(command) => report::run(command).await,
        Command::Detect(args) => detect::run(&args),
        Command::Anomalies(args) => anomalies::run(args).await,
        Command::Backtest(command) => backtest::run(command).await,
        Command::Drift(args) => drift::run(args).await,
        Command::Experiment(args) => experiment::run(args).await,
        Command::Forecast(args) => forecast::run(args).await,
        Command::Slo(args) => slo::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Maintain(args) => maintain::run(args).await,
        Command::Forget(args) => forget::run(args).await,
        Command::Backup(args) => backup::run(args).await,
        Command::Verify(args) => verify::run(args).await,
        Command::Generate(args) => generate::run(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {}", error.chain());
        match error.kind() {
            Kind::Invalid => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    })
}

/// Writes to standard output; a reader that has gone away is not an error of ours.
fn print(bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => crate::error::Context::context(other, "cannot write to standard output"),
    }
}
