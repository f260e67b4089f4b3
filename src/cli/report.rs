//! `driftline report`.

use std::process::ExitCode;

use chrono::{DateTime, Days, NaiveDate};
use clap::{Args, Subcommand};

use super::{Source, client, print};
use crate::{
    clock::Clock,
    daemon::Store,
    error::{Context, Error, Kind, Result},
    report::{Format, Verdict},
};

/// The reports.
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// What a day cost, against the days before it (exit code 3: no data, 4: a spike with --fail-on-spike)
    Cost(CostArgs),
}

/// Flags of `report cost`.
#[derive(Debug, Args)]
pub struct CostArgs {
    /// The UTC day [default: yesterday]
    #[arg(long)]
    day: Option<NaiveDate>,
    /// text, md, html, json or csv
    #[arg(long, default_value = "text")]
    format: Format,
    /// Exit code 4 when the day costs more than 150 % of the mean of the seven days before
    #[arg(long)]
    fail_on_spike: bool,
    #[command(flatten)]
    source: Source,
}

/// Exit code for a day without records.
const NO_DATA: u8 = 3;
/// Exit code for a cost spike.
const SPIKE: u8 = 4;

/// Prints the report.
pub async fn run(command: ReportCommand) -> Result<ExitCode> {
    let ReportCommand::Cost(args) = command;
    let day = match args.day {
        Some(day) => day,
        None => yesterday(Clock::System.now_us())?,
    };
    let (body, verdict) = match args.source.directory()? {
        Some(config) => {
            let store = Store::open_existing(&config, Clock::System).await?;
            let report = store.engine.cost_report(day).await?;
            let body = report.render(args.format).context("cannot render the report")?;
            store.close().await?;
            (body, format!("{:?}", report.verdict()))
        }
        None => {
            let request = args
                .source
                .client()?
                .get(format!("{}/api/v1/reports/cost", args.source.url()))
                .query(&[("day", day.to_string()), ("format", args.format.to_string())]);
            let response = client::send(request).await?;
            let verdict = response.headers().get("x-report-verdict").and_then(|value| value.to_str().ok());
            let verdict = verdict.unwrap_or_default().to_owned();
            (response.text().await.context("the report broke off")?, verdict)
        }
    };
    print(body.as_bytes())?;
    let is = |expected: Verdict| verdict.eq_ignore_ascii_case(&format!("{expected:?}"));
    Ok(if is(Verdict::NoData) {
        ExitCode::from(NO_DATA)
    } else if args.fail_on_spike && is(Verdict::CostSpike) {
        ExitCode::from(SPIKE)
    } else {
        ExitCode::SUCCESS
    })
}

fn yesterday(now_us: i64) -> Result<NaiveDate> {
    DateTime::from_timestamp_micros(now_us)
        .and_then(|now| now.date_naive().checked_sub_days(Days::new(1)))
        .ok_or_else(|| Error::new(Kind::Internal, "the clock is outside the calendar"))
}
